"""Everything on one machine, for `starter.py dev`: Temporal with its UI, the sandbox, the books,
the worker and the web app, as children of this process, on loopback.

One folder holds all that it makes: ``dev.env`` (the settings of every process, keys included;
made once, mode 0600), ``dev.json`` (what runs where), the books, both servers' files and
``log/``. The next start continues from there, on the same ports where they are free.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from dotenv import dotenv_values
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeTaskQueueRequest
from temporalio.client import Client as TemporalClient
from temporalio.service import RPCError

from domain.errors import InvalidRequest, RedressError
from files import write_whole
from ledger.migrate import migrate
from settings import DEV_FILE, ROOT, VAR
from simulation.processes import LOOPBACK, STARTS, Child, HeldPort, temporal_command
from workflows.connection import TASK_QUEUE

NAMESPACE = "default"
READY_SECONDS = 120
PORTS = ("temporal", "temporal_ui", "sandbox", "web")

OWN = (
    "REDRESS_DATABASE_URL", "REDRESS_OWNER_DATABASE_URL", "REDRESS_STRIPE_API_KEY",
    "REDRESS_STRIPE_BASE_URL", "REDRESS_STRIPE_WEBHOOK_SECRET", "REDRESS_MASTER_KEY",
    "REDRESS_ACTOR_SIGNING_KEY", "REDRESS_ACTOR_VERIFY_KEY", "TEMPORAL_ADDRESS",
    "TEMPORAL_NAMESPACE", "TEMPORAL_API_KEY", "TEMPORAL_PROFILE",
)  # fmt: skip
"""What this machine brings itself. Variables win over files, so one of these set from outside
would lead some process elsewhere."""

MADE = ("books.db", "temporal.db", "sandbox.db", "notices.jsonl", "dev.json", DEV_FILE)
"""The files that a machine makes, besides ``log/``; a fresh start removes these and no others."""

Tell = Callable[[str, str, str], object]
"""Told of each part: its name, what it is reached at, and how long it took."""


class MachineError(RedressError):
    """A part did not start, or ended by itself. ``tail`` is the end of its log."""

    def __init__(self, part: str, what: str, log: Path, tail: str) -> None:
        super().__init__(f"{part} {what}")
        self.part, self.log, self.tail = part, log, tail


class Machine:
    """One per folder at a time. ``async with`` a started one, then :meth:`watch` it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.children: list[Child] = []
        self.ports: dict[str, int] = {}
        self._held: dict[str, HeldPort] = {}
        self._lock: IO[str] | None = None

    # -- what a caller asks ----------------------------------------------------------

    def url(self, part: str) -> str:
        return f"http://{LOOPBACK}:{self.ports[part]}"

    @property
    def temporal_address(self) -> str:
        return f"{LOOPBACK}:{self.ports['temporal']}"

    @property
    def state_file(self) -> Path:
        return self.folder / "dev.json"

    @property
    def settings_file(self) -> Path:
        return self.folder / DEV_FILE

    def claim(self, environment: Mapping[str, str]) -> None:
        """Take the folder. Raises :class:`InvalidRequest` naming who has it, or the variable
        that would lead a process elsewhere."""
        known = dotenv_values(self.settings_file)
        for name in OWN:
            if environment.get(name) and environment[name] != known.get(name):
                raise InvalidRequest(
                    name, "is set, but `dev` brings its own", f"unset {name} for this command"
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = (self.folder / "dev.lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read().strip() or "unknown"
            lock.close()
            raise InvalidRequest(
                "var",
                f"`dev` runs already in {self.folder}, as process {pid}",
                f"kill {pid} to end it, or another folder by --var",
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def clear(self) -> list[str]:
        """Remove what a machine made here; answers the names. Nothing else is touched."""
        self._end_orphans()
        removed: list[str] = []
        if not self.settings_file.exists() and not self.state_file.exists():
            return removed
        for name in MADE:
            for path in sorted(self.folder.glob(f"{name}*")):
                if path.name in (name, f"{name}-wal", f"{name}-shm"):
                    path.unlink()
                    removed.append(path.name)
        for path in sorted((self.folder / "log").glob("*.log*")):
            path.unlink()
            removed.append(f"log/{path.name}")
        return removed

    # -- starting --------------------------------------------------------------------

    async def start(self, tell: Tell) -> None:
        """Bring every part up, each after those that it needs.

        Raises :class:`MachineError` for the part that did not come; the caller stops the rest.
        """
        self._end_orphans()
        self._write_settings()
        environment = {**os.environ, VAR: str(self.folder)}
        await _together(
            self._part("temporal", temporal_command(
                self.ports["temporal"], ui_port=self.ports["temporal_ui"],
                database=self.folder / "temporal.db",
            ), environment, self._temporal_answers, tell, self.url("temporal_ui")),
            self._part("sandbox", [
                sys.executable, "-m", "sandbox", "--port", str(self.ports["sandbox"]),
                "--state", str(self.folder / "sandbox.db"),
            ], environment, self._sandbox_answers, tell, self.url("sandbox")),
            self._books(tell),
        )  # fmt: skip
        await self._register_endpoint()
        await _together(
            self._part("worker", [sys.executable, str(ROOT / "worker.py")],
                       environment, self._worker_polls, tell, f"task queue {TASK_QUEUE}"),
            self._part("web", [
                sys.executable, "-m", "uvicorn", "web.app:create", "--factory",
                "--host", LOOPBACK, "--port", str(self.ports["web"]),
                "--no-access-log", "--timeout-graceful-shutdown", "2",
            ], environment, self._web_is_ready, tell, self.url("web")),
        )  # fmt: skip

    async def _part(
        self,
        name: str,
        command: list[str],
        environment: Mapping[str, str],
        is_ready: Callable[[], Awaitable[bool]],
        tell: Tell,
        reached_at: str,
    ) -> None:
        began = monotonic()
        child = Child(
            name, command, self.folder / "log" / f"{name}.log",
            environment=environment, folder=ROOT,
        )  # fmt: skip
        if child.log.exists():  # what it said in its last life stays beside
            child.log.replace(child.log.with_name(f"{child.log.name}.1"))
        await self._begin(child)
        self.children.append(child)
        self._write_state()
        starts = 1
        while not await is_ready():
            if child.exit_code is not None:
                if starts < STARTS and child.found_port_taken():
                    starts += 1
                    await self._begin(child)
                    self._write_state()
                    continue
                raise MachineError(
                    name, f"ended with code {child.exit_code} instead of starting",
                    child.log, child.log_tail(),
                )  # fmt: skip
            if monotonic() - began > READY_SECONDS:
                raise MachineError(
                    name, f"is not ready after {READY_SECONDS} seconds", child.log, child.log_tail()
                )
            await asyncio.sleep(0.1)
        tell(name, reached_at, f"{monotonic() - began:.1f} s")

    async def _begin(self, child: Child) -> None:
        try:
            await child.start()
        except OSError as error:
            raise MachineError(child.name, f"cannot be started: {error}", child.log, "") from error

    async def _books(self, tell: Tell) -> None:
        began = monotonic()
        revision = await migrate(self._books_url())
        tell("books", f"revision {revision}", f"{monotonic() - began:.1f} s")

    def _books_url(self) -> str:
        return f"sqlite+aiosqlite:///{self.folder / 'books.db'}"

    # -- readiness -------------------------------------------------------------------

    async def _temporal_answers(self) -> bool:
        try:
            client = await TemporalClient.connect(self.temporal_address, namespace=NAMESPACE)
            await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=NAMESPACE)
            )
        except (RPCError, RuntimeError):
            return False
        return True

    async def _worker_polls(self) -> bool:
        client = await TemporalClient.connect(self.temporal_address, namespace=NAMESPACE)
        for kind in (
            TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        ):
            answer = await client.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=NAMESPACE,
                    task_queue=TaskQueue(name=TASK_QUEUE),
                    task_queue_type=kind,
                )
            )
            worker = next((each for each in self.children if each.name == "worker"), None)
            ours = f"{worker.pid}@" if worker else ""
            # a poller of the last run is remembered for minutes
            if not any(poller.identity.startswith(ours) for poller in answer.pollers):
                return False
        return True

    async def _sandbox_answers(self) -> bool:
        return await self._is_ok(f"{self.url('sandbox')}/_sandbox/health")

    async def _web_is_ready(self) -> bool:
        return await self._is_ok(f"{self.url('web')}/readyz")

    async def _is_ok(self, url: str) -> bool:
        try:
            async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
                return (await http.get(url)).status_code == 200
        except httpx.HTTPError:
            return False

    async def _register_endpoint(self) -> None:
        """Tell the sandbox where our web app is; an endpoint of an earlier port moves along,
        with what is still to be delivered to it."""
        values = dotenv_values(self.settings_file)
        url = f"{self.url('web')}/webhooks/stripe"
        async with httpx.AsyncClient(
            base_url=self.url("sandbox"), timeout=10, trust_env=False,
            headers={"Authorization": f"Bearer {values['REDRESS_STRIPE_API_KEY']}"},
        ) as http:  # fmt: skip
            known = (await http.get("/v1/webhook_endpoints")).raise_for_status().json()["data"]
            if not known:
                body = {"url": url, "secret": values["REDRESS_STRIPE_WEBHOOK_SECRET"]}
                answer = await http.post("/_sandbox/webhooks/endpoint", json=body)
                answer.raise_for_status()
            elif known[0]["url"] != url:
                answer = await http.post(
                    f"/v1/webhook_endpoints/{known[0]['id']}", data={"url": url}
                )
                answer.raise_for_status()

    # -- ending ----------------------------------------------------------------------

    async def watch(self) -> MachineError:
        """Wait until a child ends by itself; answers which."""
        ends = {asyncio.create_task(child.ended()): child for child in self.children}
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ends:
                task.cancel()
        child = ends[done.pop()]
        return MachineError(
            child.name, f"(process {child.pid}) ended by itself with code {child.exit_code}",
            child.log, child.log_tail(),
        )  # fmt: skip

    async def stop(self) -> None:
        """End every child, those first that others do not need, and give the folder back."""
        order = {"web": 0, "worker": 0, "sandbox": 1, "temporal": 1}
        for turn in (0, 1):
            await asyncio.gather(
                *(child.stop() for child in self.children if order[child.name] == turn)
            )
        self.children = []
        if self.ports:
            self._write_state()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _end_orphans(self) -> None:
        """Processes of a `dev` that was killed still run: end those that are certainly ours."""
        for child in self._state().get("processes", []):
            if command_of(child["pid"]) == child["command"]:
                for ending in (signal.SIGTERM, signal.SIGKILL):
                    if _is_gone_after(ending, child["pid"], child["command"]):
                        break

    # -- files -----------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads(self.state_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def _write_state(self) -> None:
        state = {
            "pid": os.getpid() if self.children else None,
            "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "ports": self.ports,
            "temporal": self.temporal_address,
            **{part: self.url(part) for part in ("temporal_ui", "sandbox", "web")},
            "processes": [
                {"name": each.name, "pid": each.pid, "command": " ".join(each.command)}
                for each in self.children
            ],
        }
        write_whole(self.state_file, json.dumps(state, indent=2) + "\n", 0o644)

    def _write_settings(self) -> None:
        """``dev.env``: the keys of before, or new ones, and this run's addresses.

        Raises :class:`InvalidRequest` when there are books whose keys are not here.
        """
        before = dotenv_values(self.settings_file)
        if not before and (self.folder / "books.db").exists():
            raise InvalidRequest(
                "var",
                f"{self.folder / 'books.db'} is there without {DEV_FILE}, which holds its keys",
                "the file back in its place, or another folder by --var",
            )
        ports = self._state().get("ports", {})
        self._held = {part: HeldPort(ports.get(part, 0)) for part in PORTS}
        self.ports = {part: port.number for part, port in self._held.items()}
        keys = {name: before.get(name) or value for name, value in _new_keys().items()}
        values = {
            "REDRESS_DATABASE_URL": self._books_url(),
            "REDRESS_NOTICES_FILE": str(self.folder / "notices.jsonl"),
            "REDRESS_ARCHIVE": str(self.folder / "archive"),
            "REDRESS_EVIDENCE_DIR": str(self.folder / "evidence"),
            "REDRESS_STRIPE_BASE_URL": self.url("sandbox"),
            **keys,
            "TEMPORAL_ADDRESS": self.temporal_address,
            "TEMPORAL_NAMESPACE": NAMESPACE,
            # a profile of the user's own, with its certificates, is for another server
            "TEMPORAL_CONFIG_FILE": os.devnull,
        }
        lines = ["# Made by `starter.py dev` for this machine alone; keys are made once."]
        lines += [f"{name}='{value}'" for name, value in values.items()]
        write_whole(self.settings_file, "\n".join(lines) + "\n", 0o600)


async def _together(*works: Coroutine[Any, Any, None]) -> None:
    """All at once; the first that fails ends the others, and is what the caller sees."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _new_keys() -> dict[str, str]:
    signing = Ed25519PrivateKey.generate()
    private = signing.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = signing.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {
        "REDRESS_STRIPE_API_KEY": f"sk_test_{secrets.token_hex(12)}",
        "REDRESS_STRIPE_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(16)}",
        "REDRESS_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "REDRESS_ACTOR_SIGNING_KEY": base64.b64encode(private).decode(),
        "REDRESS_ACTOR_VERIFY_KEY": base64.b64encode(public).decode(),
    }


def _is_gone_after(ending: signal.Signals, pid: int, command: str) -> bool:
    os.kill(pid, ending)
    for _ in range(100):
        if command_of(pid) != command:
            return True
        sleep(0.1)
    return False


def command_of(pid: int) -> str:
    """The command line of a process; empty when there is none (also for one that has ended and
    waits for its parent to notice)."""
    try:
        said = subprocess.run(
            ["ps", "-ww", "-o", "stat=,args=", "-p", str(pid)],
            capture_output=True, text=True, check=False,
        ).stdout.strip()  # fmt: skip
    except FileNotFoundError:  # a small machine without ps: then nothing is certain
        return ""
    state, _, command = said.partition(" ")
    return "" if state.startswith("Z") else command.strip()
