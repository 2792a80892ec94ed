"""One sandbox process for all tests of the sandbox, emptied before each; every run is refereed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.referee import referee
from tests.sandbox.box import Box
from tests.sandbox_process import SandboxProcess


@pytest.fixture(scope="session")
async def sandbox_url() -> AsyncIterator[str]:
    async with SandboxProcess() as process:
        yield process.url


@pytest.fixture(scope="session")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as made:
        yield made


@pytest.fixture
async def box(sandbox_url: str, client: httpx.AsyncClient) -> AsyncIterator[Box]:
    made = Box(sandbox_url, client)
    await made.control("reset")
    yield made
    if made.refereed:
        violations = referee().check_journal(await made.journal())
        assert violations == []
