"""A sandbox as a process of its own, for any test: started, killed, restarted, stopped by pid.

    with SandboxProcess(state_path=tmp_path / "sandbox.db") as sandbox:
        sandbox.url, sandbox.kill9(), sandbox.restart()

    async with SandboxProcess() as sandbox: ...

The address stays the same over restarts, because clients keep it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 20


class SandboxProcess:
    """``arguments`` are further options of ``python -m sandbox``."""

    def __init__(self, state_path: Path | None = None, *arguments: str) -> None:
        self.state_path = state_path
        self.arguments = arguments
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self, state_path: Path | None = None) -> SandboxProcess:
        assert self._process is None, "already started"
        if state_path is not None:
            self.state_path = state_path
        port = urlsplit(self.url).port or 0
        with tempfile.TemporaryDirectory() as folder:
            port_file = Path(folder) / "port"
            command = [sys.executable, "-m", "sandbox", "--port", str(port)]
            command += ["--port-file", str(port_file), *self.arguments]
            if self.state_path is not None:
                command += ["--state", str(self.state_path)]
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
            self.url = self._announced(port_file)
        return self

    def _announced(self, port_file: Path) -> str:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if port_file.exists():
                return str(json.loads(port_file.read_text(encoding="utf-8"))["url"])
            code = self._process.poll()
            if code is not None:
                self._process = None
                raise RuntimeError(f"the sandbox ended with {code} before it listened")
            time.sleep(0.02)
        self.kill9()
        raise TimeoutError("the sandbox did not listen")

    def kill9(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        assert self._process is not None, "not started"
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> int | None:
        """SIGTERM; answers the exit code, or None if nothing was running."""
        if self._process is None:
            return None
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._process = None
        return code

    def restart(self) -> SandboxProcess:
        """Stop if it runs, and start again at the same address and on the same state."""
        self.stop()
        return self.start()

    def __enter__(self) -> SandboxProcess:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> SandboxProcess:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.stop)
