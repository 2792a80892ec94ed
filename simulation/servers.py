"""The servers of a whole local system, each a process of its own, for simulations and tests.

Everything listens on loopback on ports the system gives, and is stopped by its process id.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from temporalio.client import Client as TemporalClient

from domain.errors import Unreachable
from settings import ROOT, Settings
from simulation.processes import LOOPBACK, STARTS, STOP_SECONDS, HeldPort, temporal_command

START_SECONDS = 30
READY = b"worker_ready"


class Server:
    """One child process; ``log`` gets what it prints (default: nowhere)."""

    def __init__(self, log: Path | None = None) -> None:
        self._log = log
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None, "not started"
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def run(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start ``command``; it is a mistake while one runs."""
        assert not self.is_running, "already started"
        stream: Any = self._log.open("ab") if self._log else subprocess.DEVNULL
        try:
            self.process = subprocess.Popen(
                list(command),
                env=None if environment is None else dict(environment),
                cwd=ROOT,
                stdout=stream,
                stderr=stream,
                # a group of its own: Ctrl-C at the terminal is for the parent, which stops
                # its children in their order
                start_new_session=True,
            )
        finally:
            if self._log:
                stream.close()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL when it takes too long."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def kill9(self) -> int:
        """SIGKILL; answers the pid that is gone."""
        pid = self.pid
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_SECONDS)
        return pid


class TemporalServer(Server):
    """Temporal's development server, in memory or on a file, able to skip time.

    ``flags`` are further ones of its command.
    """

    def __init__(
        self, database: Path | None = None, log: Path | None = None, flags: Sequence[str] = ()
    ) -> None:
        super().__init__(log)
        self._flags = tuple(flags)
        self._held = HeldPort()
        self.port = self._held.number
        self.address = f"{LOOPBACK}:{self.port}"
        self._database = database

    async def start(self) -> None:
        """Raises :class:`Unreachable` when it does not come up.

        One that ends at once is started again, up to three times in all: see ``STARTS``.
        """
        command = [*temporal_command(self.port, database=self._database), *self._flags]
        for _ in range(STARTS):
            await asyncio.to_thread(self.run, command)
            if await self._came_up():
                return
            if self.is_running:
                break
        raise Unreachable(f"the Temporal server did not come up at {self.address}")

    async def _came_up(self) -> bool:
        for _ in range(START_SECONDS * 10):
            try:
                await TemporalClient.connect(self.address)
                return True
            except RuntimeError:
                if not self.is_running:
                    return False
                await asyncio.sleep(0.1)
        return False


class SandboxServer(Server):
    """The provider's double; ``arguments`` are further options of ``python -m sandbox``."""

    def __init__(self, *arguments: str, log: Path | None = None) -> None:
        super().__init__(log)
        self.url = ""
        self._arguments = arguments

    async def start(self) -> None:
        """Raises :class:`Unreachable` when it does not come up."""
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            port_file = Path(folder) / "port"
            command = [sys.executable, "-m", "sandbox", "--port-file", str(port_file)]
            self.run([*command, *self._arguments])
            deadline = time.monotonic() + START_SECONDS
            while time.monotonic() < deadline and self.is_running:
                if port_file.exists():
                    self.url = str(json.loads(port_file.read_text(encoding="utf-8"))["url"])
                    return
                time.sleep(0.02)
        self.stop()
        raise Unreachable("the sandbox did not come up")


class WorkerProcess(Server):
    """A worker in a process of its own, so that it can be killed like one.

    ``module`` is what the process runs, for a worker of another kind.
    """

    def __init__(
        self, environment: Mapping[str, str], module: str = "worker", log: Path | None = None
    ) -> None:
        super().__init__(log)
        self._environment = dict(environment)
        self._module = module

    def start(self, **extra: str) -> None:
        """``extra`` are further environment variables."""
        self.run([sys.executable, "-m", self._module], {**self._environment, **extra})

    async def ready(self) -> None:
        """Wait until it says in its log that it takes work. Raises :class:`Unreachable`."""
        assert self._log is not None, "a worker without a log cannot be waited for"
        for _ in range(START_SECONDS * 20):
            if READY in await asyncio.to_thread(self._log.read_bytes):
                return
            if not self.is_running:
                break
            await asyncio.sleep(0.05)
        raise Unreachable(f"a worker did not come up; see {self._log}")


def signing_keys(key: Ed25519PrivateKey) -> dict[str, str]:
    """Both halves as settings carry them."""
    return {
        "actor_signing_key": base64.b64encode(key.private_bytes_raw()).decode(),
        "actor_verify_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
    }


def environment_of(settings: Settings, temporal_address: str) -> dict[str, str]:
    """What a process of ours must be told to join this system."""
    environment = dict(os.environ)
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        text = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
        environment[f"REDRESS_{name.upper()}"] = text
    environment["TEMPORAL_ADDRESS"] = temporal_address
    environment["PYTHONPATH"] = str(ROOT)
    return environment
