"""A command that needs no books and no Temporal does not wait for them to be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from settings import ROOT
from tests.entrances.machine import environment

CHECK = ("policy", "check", str(ROOT / "policies" / "refund" / "v1.yaml"))


def imported(folder: Path, *arguments: str) -> set[str]:
    """The outermost packages that a command imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(ROOT / "starter.py"), *arguments],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize(
    ("arguments", "needed", "unneeded"),
    [
        (("--help",), "typer", {"sqlalchemy", "alembic", "temporalio", "decisions"}),
        (("list", "--help"), "typer", {"sqlalchemy", "alembic", "temporalio", "decisions"}),
        (CHECK, "decisions", {"sqlalchemy", "alembic", "temporalio"}),
    ],
    ids=["help", "help of a command", "policy check"],
)
def test_light_commands_import_light(
    tmp_path: Path, arguments: tuple[str, ...], needed: str, unneeded: set[str]
) -> None:
    found = imported(tmp_path, *arguments)
    assert needed in found
    assert not found & unneeded
