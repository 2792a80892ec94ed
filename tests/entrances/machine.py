"""A machine of `starter.py dev` as a process, and the commands beside it, as a user has them."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from settings import ROOT
from simulation.machine import command_of

UP_SECONDS = 180


def environment(**extra: str) -> dict[str, str]:
    """This process's variables without any setting of the product or of Temporal."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("REDRESS_", "TEMPORAL_"))
    }
    return {**kept, **extra}


@dataclass(frozen=True)
class Answer:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def command(folder: Path, *arguments: str, **extra: str) -> Answer:
    """Run ``starter.py`` in ``folder`` to its end."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "starter.py"), *arguments],
        cwd=folder,
        env=environment(**extra),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def asked(folder: Path, answer: str, *arguments: str) -> Answer:
    """As :func:`command`, at a terminal at which somebody types ``answer``."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        done = subprocess.run(
            [sys.executable, str(ROOT / "starter.py"), *arguments],
            cwd=folder,
            env=environment(),
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    return Answer(done.returncode, done.stdout, done.stderr)


class Dev:
    """`starter.py dev` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "dev.out"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it and wait until it says what to try."""
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "starter.py"), "dev", *options],
                cwd=self.folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + UP_SECONDS
        while "Ctrl-C ends all of it" not in self.said():
            assert self._process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            (self.folder / "var" / "dev.json").read_text(encoding="utf-8")
        )
        return found

    def children(self) -> dict[str, int]:
        return {each["name"]: each["pid"] for each in self.state["processes"]}

    def interrupt(self) -> int:
        """Ctrl-C; answers the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(60)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.interrupt()

    def command(self, *arguments: str, **extra: str) -> Answer:
        return command(self.folder, *arguments, **extra)


def is_alive(pid: int) -> bool:
    """Whether the process runs: one that has ended may keep its number for seconds, until
    whoever took it over notices."""
    return command_of(pid) != ""
