"""One living world for all tests of whole cases; each case has a customer of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger.books import Books
from ledger.migrate import migrate
from tests.stack import TemporalServer
from tests.workflows.world import WebProcess, World, living_world
from web.store import open_books


@pytest.fixture(scope="session")
async def world(temporal_server: TemporalServer) -> AsyncIterator[World]:
    async with living_world(temporal_server.address) as world:
        yield world
        await world.assert_sound()


@pytest.fixture(scope="module")
async def web(world: World) -> AsyncIterator[WebProcess]:
    async with WebProcess(world) as web:
        yield web


@pytest.fixture
async def fresh_books(tmp_path: Path) -> AsyncIterator[Books]:
    """Books with nothing in them."""
    url = f"sqlite+aiosqlite:///{tmp_path}/books.db"
    await migrate(url, app_role=None)
    async with open_books(url) as books:
        yield books
