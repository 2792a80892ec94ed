"""The real stack for tests: Temporal's server, our sandbox, books, and workers by process.

Everything listens on loopback on ports the system gives, and is stopped by process id.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import make_url
from temporalio.client import Client as TemporalClient
from temporalio.worker import Worker

from activities.provider import Provider
from client import Client
from decisions.library import Library
from ledger.books import Books
from ledger.engines import sqlite_file
from ledger.evidence import EvidenceStore
from ledger.keys import Keyring
from ledger.migrate import migrate
from settings import ROOT, Settings
from simulation.servers import TemporalServer, WorkerProcess, environment_of, signing_keys
from tests.postgres import postgres_server, rows_of
from tests.sandbox_process import SandboxProcess
from worker import build_worker
from workflows.converter import sealing_converter

__all__ = [
    "API_KEY", "MASTER_KEY", "SIGNING_KEY", "WEBHOOK_SECRET", "Stack", "TemporalServer",
    "WorkerProcess", "copied_database", "environment_of", "new_database",
    "running_stack", "settings_for",
]  # fmt: skip

API_KEY = "sk_test_redress"
WEBHOOK_SECRET = "whsec_redress"
MASTER_KEY = base64.b64encode(bytes(range(32))).decode()
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))

DATABASE = "REDRESS_TEST_DATABASE"
"""The variable that says where tests of whole cases keep their books: ``sqlite`` (unless told), or
``postgresql``."""
BOOKS_FILE = "books.db"


def new_database(folder: Path, database: str = "") -> str:
    """The address of new books with nothing in them: a file of ``folder``, or a database of this
    run's PostgreSQL. ``database`` is for tests of both."""
    wanted = database or os.environ.get(DATABASE, "sqlite")
    if wanted == "sqlite":
        return f"sqlite+aiosqlite:///{folder}/{BOOKS_FILE}"
    assert wanted == "postgresql", f"{DATABASE}: {wanted}; allowed: sqlite, postgresql"
    server = postgres_server()
    return server.url(server.new_database())


def copied_database(url: str, folder: Path) -> str:
    """The address of a copy in ``folder``, or beside it, of books that nobody has open."""
    file = sqlite_file(url)
    if file is not None:
        return f"sqlite+aiosqlite:///{shutil.copy(file, folder / BOOKS_FILE)}"
    server = postgres_server()
    return server.url(server.new_database(str(make_url(url).database)))


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
    sandbox_pid: int
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

    async def kept(self) -> dict[str, bytes]:
        """All that the stack has written down, by the file it lies in; ``books`` are the books."""
        files = [
            path
            for path in self.folder.rglob("*")
            if path.is_file() and not path.name.startswith(BOOKS_FILE)
        ]
        found = {str(path.relative_to(self.folder)): await bytes_of(path) for path in files}
        return {**found, "books": await self.kept_books()}

    async def kept_books(self) -> bytes:
        """SQLite: every byte of its files. PostgreSQL: every row; its files keep what a row was
        before until VACUUM, and may hold what a row is only compressed."""
        file = sqlite_file(self.books.url)
        if file is None:
            return await asyncio.to_thread(rows_of, self.books.url)
        return await bytes_of(*file.parent.glob(f"{file.name}*"))

    async def effects(self, case_id: str) -> list[dict[str, Any]]:
        """Money movements that the provider made for a case, by its journal."""
        journal = (await self.control("journal?effects=true"))["entries"]
        return [
            entry
            for entry in journal
            if entry["effects"]
            and (entry["params"].get("metadata") or {}).get("case_id") == case_id
        ]


async def bytes_of(*files: Path) -> bytes:
    """Read by another process: closing a file of SQLite's here would drop this process's locks
    on it (a rule of POSIX), and another process could then delete the log we write to."""
    read = await asyncio.create_subprocess_exec("cat", *map(str, files), stdout=subprocess.PIPE)
    return (await read.communicate())[0]


def settings_for(folder: Path, database_url: str, sandbox_url: str, **overrides: Any) -> Settings:
    values: dict[str, Any] = {
        "database_url": database_url,
        "stripe_api_key": API_KEY,
        "stripe_base_url": sandbox_url,
        "stripe_webhook_secret": WEBHOOK_SECRET,
        "master_key": MASTER_KEY,
        **signing_keys(SIGNING_KEY),
        "policies": ROOT / "policies",
        "notices_file": folder / "notices.jsonl",
        "archive": folder / "archive",
        "evidence_dir": folder / "evidence",
        "attempt_seconds": 5,
        **overrides,
    }
    return Settings(**values)


@asynccontextmanager
async def running_stack(
    temporal_address: str, database_url: str = "", **overrides: Any
) -> AsyncIterator[Stack]:
    """Books (:func:`new_database` unless given), a sandbox and clients, beside a running Temporal
    server."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="redress-")))
        url = database_url or new_database(folder)
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
        # let go of idle connections before the sandbox does (5 s), or the two may cross
        limits = httpx.Limits(keepalive_expiry=2)
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30, limits=limits))
        yield Stack(
            settings=settings,
            temporal=temporal,
            books=books,
            keyring=keyring,
            provider=provider,
            library=Library.load(settings.policies),
            client=Client(
                temporal,
                books,
                keyring,
                SIGNING_KEY,
                attempt_seconds=settings.attempt_seconds,
                evidence=EvidenceStore(keyring, settings.evidence_dir, settings.evidence_limits()),
            ),
            sandbox_url=sandbox.url,
            http=http,
            folder=folder,
            temporal_address=temporal_address,
            sandbox_pid=sandbox.pid,
            environment=environment_of(settings, temporal_address),
        )
