"""The real stack for tests: Temporal's server, our sandbox, books, and workers by process.

Everything listens on loopback on ports the system gives, and is stopped by process id.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from temporalio.client import Client as TemporalClient
from temporalio.worker import Worker

from activities.provider import Provider
from client import Client
from decisions.library import Library
from domain.errors import Unreachable
from ledger.books import Books
from ledger.keys import Keyring
from ledger.migrate import migrate
from settings import ROOT, Settings
from simulation.clock import SERVER_FLAGS
from tests.sandbox_process import SandboxProcess
from worker import build_worker
from workflows.connection import SEARCH_ATTRIBUTES
from workflows.converter import sealing_converter

API_KEY = "sk_test_redress"
WEBHOOK_SECRET = "whsec_redress"
MASTER_KEY = base64.b64encode(bytes(range(32))).decode()
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TemporalServer:
    """A development server on a file (or in memory), as a process of ours."""

    def __init__(self, database: Path | None = None) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._database = database
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        command = [
            str(Path(sys.executable).parent / "temporal"), "server", "start-dev", "--headless",
            "--ip", "127.0.0.1", "--port", str(self.port), "--log-level", "error",
            *SERVER_FLAGS,
        ]  # fmt: skip
        for attribute in SEARCH_ATTRIBUTES:
            command += ["--search-attribute", f"{attribute.name}=Keyword"]
        if self._database is not None:
            command += ["--db-filename", str(self._database)]
            command += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=1"]
        self._process = await asyncio.to_thread(
            subprocess.Popen, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(200):
            try:
                await TemporalClient.connect(self.address)
                return
            except RuntimeError:
                await asyncio.sleep(0.1)
        raise Unreachable(f"the Temporal server did not come up at {self.address}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None


@dataclass
class Stack:
    """One living system; :func:`running_stack` makes it."""

    settings: Settings
    temporal: TemporalClient
    books: Books
    keyring: Keyring
    provider: Provider
    library: Library
    client: Client
    sandbox_url: str
    http: httpx.AsyncClient
    folder: Path
    temporal_address: str
    environment: dict[str, str] = field(default_factory=dict)

    def worker(self, **how: Any) -> Worker:
        """A worker in this process."""
        return build_worker(
            self.temporal, self.settings, self.books, self.provider, self.library, **how
        )

    async def control(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask the sandbox's control routes."""
        url = f"{self.sandbox_url}/_sandbox/{path}"
        answer = await (self.http.get(url) if body is None else self.http.post(url, json=body))
        answer.raise_for_status()
        return answer.json()

    async def effects(self, case_id: str) -> list[dict[str, Any]]:
        """Money movements that the provider made for a case, by its journal."""
        journal = (await self.control("journal?effects=true"))["entries"]
        return [
            entry
            for entry in journal
            if entry["effects"]
            and (entry["params"].get("metadata") or {}).get("case_id") == case_id
        ]


def settings_for(folder: Path, database_url: str, sandbox_url: str, **overrides: Any) -> Settings:
    public = base64.b64encode(SIGNING_KEY.public_key().public_bytes_raw()).decode()
    values: dict[str, Any] = {
        "database_url": database_url,
        "stripe_api_key": API_KEY,
        "stripe_base_url": sandbox_url,
        "stripe_webhook_secret": WEBHOOK_SECRET,
        "master_key": MASTER_KEY,
        "actor_signing_key": base64.b64encode(SIGNING_KEY.private_bytes_raw()).decode(),
        "actor_verify_key": public,
        "policies": ROOT / "policies",
        "notices_file": folder / "notices.jsonl",
        "attempt_seconds": 5,
        **overrides,
    }
    return Settings(**values)


def environment_of(settings: Settings, temporal_address: str) -> dict[str, str]:
    """What a process of ours must be told to join this stack."""
    environment = dict(os.environ)
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        text = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
        environment[f"REDRESS_{name.upper()}"] = text
    environment["TEMPORAL_ADDRESS"] = temporal_address
    environment["PYTHONPATH"] = str(ROOT)
    return environment


@asynccontextmanager
async def running_stack(
    temporal_address: str, database_url: str = "", **overrides: Any
) -> AsyncIterator[Stack]:
    """Books (SQLite unless given), a sandbox and clients, beside a running Temporal server."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="redress-")))
        url = database_url or f"sqlite+aiosqlite:///{folder}/books.db"
        await migrate(url, app_role=None)
        books = await Books.open(url)
        stack.push_async_callback(books.close)
        sandbox = SandboxProcess()
        await asyncio.to_thread(sandbox.start)
        stack.callback(sandbox.stop)
        settings = settings_for(folder, url, sandbox.url, **overrides)
        keyring = Keyring(books, settings.master_key_bytes())
        temporal = await TemporalClient.connect(
            temporal_address, data_converter=sealing_converter(keyring)
        )
        provider = Provider(API_KEY, base_url=sandbox.url)
        stack.push_async_callback(provider.close)
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
        yield Stack(
            settings=settings,
            temporal=temporal,
            books=books,
            keyring=keyring,
            provider=provider,
            library=Library.load(settings.policies),
            client=Client(
                temporal, books, keyring, SIGNING_KEY, attempt_seconds=settings.attempt_seconds
            ),
            sandbox_url=sandbox.url,
            http=http,
            folder=folder,
            temporal_address=temporal_address,
            environment=environment_of(settings, temporal_address),
        )


class WorkerProcess:
    """A worker in a process of its own, so that it can be killed like one."""

    def __init__(self, environment: Mapping[str, str], module: str = "worker") -> None:
        self._environment = dict(environment)
        self._module = module
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **extra: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", self._module],
            env={**self._environment, **extra},
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill9(self) -> int:
        """SIGKILL; answers the pid that is gone."""
        assert self.process is not None
        pid = self.process.pid
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        return pid

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
