"""A whole local system for one run: Temporal, sandbox, books and workers, in one folder.

The folder keeps the books, the notices, the processes' logs and ``simulation.env``: the
settings with which any command of ours reads these books afterwards.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from temporalio.client import Client as TemporalClient

from client import Client
from domain.errors import InvalidRequest, Unreachable
from files import write_whole
from ledger.books import Books
from ledger.evidence import EvidenceStore
from ledger.keys import Keyring
from ledger.migrate import migrate
from settings import Settings
from simulation.clock import CaseClock
from simulation.driving import Provider
from simulation.servers import (
    SandboxServer,
    TemporalServer,
    WorkerProcess,
    environment_of,
    signing_keys,
)
from workflows.converter import sealing_converter

PROVIDER_SECONDS = 120
MADE = ("books.db", "books.db-wal", "books.db-shm", "notices.jsonl", "simulation.env")


@dataclass(frozen=True)
class System:
    """What a run talks to. ``environment`` is that of every process of it."""

    client: Client
    clock: CaseClock
    provider: Provider
    settings: Settings
    environment: dict[str, str]
    logs: tuple[Path, ...]
    workers: tuple[WorkerProcess, ...]

    def check_alive(self) -> None:
        """Raises :class:`Unreachable` when a worker has ended, naming its log."""
        for worker in self.workers:
            if not worker.is_running:
                raise Unreachable(f"a worker has ended by itself; see {self.logs[-1].parent}")


@asynccontextmanager
async def running_system(
    folder: Path, *, policies: Path, workers: int = 1, slots: int = 50, seed: int = 0
) -> AsyncIterator[System]:
    """Start everything in ``folder`` (of an earlier run there, the files go), stop it at the end.

    Raises :class:`Unreachable` naming the part that does not come up.
    """
    folder, policies = _cleared(folder, policies)
    log = folder / "log"
    url = f"sqlite+aiosqlite:///{folder}/books.db"
    async with AsyncExitStack() as stack:
        await migrate(url, app_role=None)
        temporal = TemporalServer(log=log / "temporal.log")
        stack.callback(temporal.stop)
        sandbox = SandboxServer("--seed", str(seed), log=log / "sandbox.log")
        stack.callback(sandbox.stop)
        await asyncio.gather(temporal.start(), sandbox.start())
        settings = _settings(folder, url, sandbox.url, policies, slots)
        environment = environment_of(settings, temporal.address)
        _keep(folder / "simulation.env", environment)
        started = []
        for number in range(1, workers + 1):
            worker = WorkerProcess(environment, log=log / f"worker-{number}.log")
            worker.start()
            stack.callback(worker.stop)
            started.append(worker)
        await asyncio.gather(*(worker.ready() for worker in started))
        books = await Books.open(url)
        stack.push_async_callback(books.close)
        keyring = Keyring(books, settings.master_key_bytes())
        connection = await TemporalClient.connect(
            temporal.address, data_converter=sealing_converter(keyring)
        )
        http = await stack.enter_async_context(
            httpx.AsyncClient(timeout=PROVIDER_SECONDS, trust_env=False)
        )
        yield System(
            client=Client(
                connection,
                books,
                keyring,
                settings.signing_key(),
                attempt_seconds=settings.attempt_seconds,
                evidence=EvidenceStore(keyring, settings.evidence_dir, settings.evidence_limits()),
            ),
            clock=CaseClock(connection),
            provider=Provider(sandbox.url, http),
            settings=settings,
            environment=environment,
            logs=tuple(sorted(log.glob("*.log"))),
            workers=tuple(started),
        )


def _cleared(folder: Path, policies: Path) -> tuple[Path, Path]:
    """Both paths in full, the folder without what an earlier run left."""
    if not policies.is_dir():
        raise InvalidRequest("policies", f"{policies} is no directory", "a policies directory")
    log = folder / "log"
    log.mkdir(parents=True, exist_ok=True)
    for path in [*(folder / name for name in MADE), *log.glob("*.log")]:
        path.unlink(missing_ok=True)
    return folder.resolve(), policies.resolve()


def _settings(folder: Path, url: str, sandbox: str, policies: Path, slots: int) -> Settings:
    values: dict[str, object] = {
        "database_url": url,
        "stripe_api_key": "sk_test_simulation",
        "stripe_base_url": sandbox,
        "stripe_webhook_secret": f"whsec_{secrets.token_hex(16)}",
        "master_key": base64.b64encode(secrets.token_bytes(32)).decode(),
        **signing_keys(Ed25519PrivateKey.generate()),
        "policies": policies,
        "allow_drafts": True,  # they are tried on cases before they are released
        "notices_file": folder / "notices.jsonl",
        "archive": folder / "archive",
        "evidence_dir": folder / "evidence",
        "worker_slots": slots,
    }
    return Settings.model_validate(values)


def _keep(file: Path, environment: dict[str, str]) -> None:
    """Only what names this system, and readable by its owner alone: keys are in it."""
    ours = {k: v for k, v in environment.items() if k.startswith("REDRESS_") and v}
    write_whole(file, "".join(f"{k}={v}\n" for k, v in sorted(ours.items())), 0o600)
