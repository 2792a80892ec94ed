"""A machine whose parts do not come up at once: what is tried again, and what is said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from simulation import machine as module
from simulation.machine import Machine, MachineError
from simulation.processes import STARTS, temporal_command

TAKEN = "Failed to start gRPC listener: listen tcp 127.0.0.1:1: bind: address already in use"
PANIC = f"{TAKEN}\npanic: runtime error: invalid memory address\n\ngoroutine 1 [running]:\n"
STACK = "go.uber.org/dig.(*Container).Invoke(0x0?)\n" * 200

FAILING_FIRST = """
import os, sys
starts, failures, said, *command = sys.argv[1:]
with open(starts, "a+") as file:
    file.write("start\\n")
    file.seek(0)
    count = len(file.readlines())
if count <= int(failures):
    sys.exit(said)
os.execv(command[0], command)
"""


def failing_first(
    monkeypatch: pytest.MonkeyPatch, folder: Path, times: int, said: str = PANIC + STACK
) -> Path:
    """Temporal's real server behind a program that says ``said`` and ends, so many times.
    Answers the file with a line for each start."""
    starts = folder / "starts"

    def command(port: int, *, ui_port: int, database: Path) -> list[str]:
        real = temporal_command(port, ui_port=ui_port, database=database)
        return [sys.executable, "-c", FAILING_FIRST, str(starts), str(times), said, *real]

    monkeypatch.setattr(module, "temporal_command", command)
    return starts


async def started(folder: Path) -> list[str]:
    """The parts that came up; all of them are ended again."""
    machine, up = Machine(folder), []
    try:
        await machine.start(lambda part, reached_at, took: up.append(part))
    finally:
        await machine.stop()
    return up


async def test_a_server_whose_port_was_taken_meanwhile_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = failing_first(monkeypatch, tmp_path, STARTS - 1)
    assert set(await started(tmp_path)) == {"temporal", "sandbox", "books", "worker", "web"}
    assert len(starts.read_text().splitlines()) == STARTS


async def test_one_whose_port_stays_taken_is_given_up_with_the_reason_instead_of_a_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = failing_first(monkeypatch, tmp_path, STARTS)
    with pytest.raises(MachineError, match="temporal ended with code 1") as failed:
        await started(tmp_path)
    assert len(starts.read_text().splitlines()) == STARTS
    assert failed.value.tail.endswith(f"{TAKEN}\npanic: runtime error: invalid memory address")


async def test_one_that_ends_for_another_reason_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = failing_first(monkeypatch, tmp_path, 1, "Error: the file is not a database")
    with pytest.raises(MachineError) as failed:
        await started(tmp_path)
    assert len(starts.read_text().splitlines()) == 1
    assert failed.value.tail == "Error: the file is not a database"
