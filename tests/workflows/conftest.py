"""One living world for all tests of whole cases; each case has a customer of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.stack import TemporalServer
from tests.workflows.world import World, living_world


@pytest.fixture(scope="session")
async def world(temporal_server: TemporalServer) -> AsyncIterator[World]:
    async with living_world(temporal_server.address) as world:
        yield world
        await world.assert_sound()
