"""A world whose workers are processes of their own, in short attempts and without a cache; and a
Temporal server that a test may kill."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.stack import TemporalServer
from tests.workflows.world import WebProcess, World, empty_world


@pytest.fixture(scope="session")
async def killing_world(temporal_server: TemporalServer) -> AsyncIterator[World]:
    async with (
        empty_world(temporal_server.address, attempt_seconds=2, worker_cache=0) as world,
        WebProcess(world),
    ):
        yield world


@pytest.fixture
async def own_server() -> AsyncIterator[TemporalServer]:
    server = TemporalServer()
    await server.start()
    yield server
    server.stop()
