"""One Temporal server for the whole run; everything else is made anew where it is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.stack import TemporalServer


@pytest.fixture(scope="session")
async def temporal_server() -> AsyncIterator[TemporalServer]:
    server = TemporalServer()
    await server.start()
    yield server
    server.stop()
