"""One living machine for the tests of the commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.entrances.machine import Dev


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    machine = Dev(tmp_path_factory.mktemp("machine"))
    machine.start()
    yield machine
    machine.stop()


@pytest.fixture(scope="session")
def samples(dev: Dev) -> dict[str, dict[str, Any]]:
    """The sample cases by request id, as they were when the machine came up."""
    return {each["request_id"]: each for each in dev.command("list", "--json").json}
