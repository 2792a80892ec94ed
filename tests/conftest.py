"""One Temporal server for the whole run; everything else is made anew where it is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.stack import TemporalServer

APART = ("tests/reliability/", "tests/tools/")
"""Where a test takes minutes and needs no other of its file: each goes to the core that is free."""

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # how long an example takes says how busy the machine is


class _ByFile(LoadFileScheduling):  # type: ignore[misc]  # a library without types
    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(APART) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _ByFile:
    """Files over the cores, and long tests one by one."""
    return _ByFile(config, log)


@pytest.fixture(scope="session")
async def temporal_server() -> AsyncIterator[TemporalServer]:
    server = TemporalServer()
    await server.start()
    yield server
    server.stop()
