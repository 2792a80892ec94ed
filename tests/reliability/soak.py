"""A chaos soak: whole cases while everything that can die does, again and again.

Three worker processes live 0.2 to 2 seconds from the moment they take work, Temporal's server
and PostgreSQL are killed in turn and come back on their files, and one provider request in ten
goes wrong. People and callers are in this process and are patient: who gets no answer asks again
in the same words. Then comes calm, and everything must end.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, TypeVar

import httpx
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client as TemporalClient
from temporalio.client import WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError

from client import CaseHandle
from domain.cases import CaseKind, Status, case_id_for
from domain.errors import Refused, Unreachable
from ledger.projection import CaseRow, slots_of
from simulation.servers import READY, TemporalServer
from tests.postgres import MortalPostgres
from tests.reliability import kill_worker
from tests.reliability.kill_worker import ShortTasks
from tests.reliability.killing import FORKS, assert_gone
from tests.stack import Stack, running_stack
from tests.workflows.builders import FINANCE, LARGE, LEAD, MEDIUM, SMALL, a_charge, a_request
from tests.workflows.world import POLICIES, World
from workflows.connection import TASK_QUEUE

T = TypeVar("T")

WORKERS = 3
LIFE_SECONDS = (0.2, 2.0)
AT_ONCE = 12
AHEAD = timedelta(days=60)
"""Farther than any bank takes: the provider has its last word before the case asks."""

CALM_SECONDS = 300
NO_LONGER_TASKS = (
    "--dynamic-config-value",
    'history.workflowTaskRetryMaxInterval="1s"',
)
"""A workflow task whose workers died again and again is given ever longer (ten minutes at the
most) before it counts as lost: here a death is no sign of a task that is too long."""

ERROR_KINDS = [
    "status_503", "status_429", "status_409", "reset_before", "lost_after_commit", "truncated",
    "html",
]  # fmt: skip

UNANSWERED = (
    Unreachable,
    RPCError,
    SQLAlchemyError,
    OSError,
    httpx.HTTPError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)


@dataclass(frozen=True)
class SoakPlan:
    """Both servers die in ``outage_every`` seconds, in turn; the storm lasts until three quarters
    of the cases have ended and each server has died ``outages`` times. The last cases wait for
    that, or a fast machine would be done before."""

    cases: int
    seed: int
    outage_every: float
    outages: int
    error_rate: float = 0.1


@dataclass
class Storm:
    """What died, by what it was. Every pid is of a process that is gone."""

    killed: dict[str, list[int]] = field(
        default_factory=lambda: {"worker": [], "temporal": [], "postgres": []}
    )

    def __str__(self) -> str:
        return ", ".join(f"{len(pids)} times {name}" for name, pids in self.killed.items())


class Crew:
    """The workers: each is followed by another when it dies, whoever killed it."""

    def __init__(self, environment: dict[str, str], folder: Path, storm: Storm, seed: int) -> None:
        self._environment = environment
        self._folder = folder
        self._storm = storm
        self._dice = random.Random(f"{seed}:workers")
        self._lives = 0
        self.is_calm = False

    async def keep(self, number: int) -> None:
        """One place in the crew, for ever."""
        while True:
            self._lives += 1
            log = self._folder / f"soak-worker-{number}-{self._lives}.log"
            process = FORKS.Process(
                target=kill_worker.main_as_it_is,
                args=(self._environment, str(log)),
                daemon=True,
            )
            process.start()
            try:
                await self._live(process, log)
            finally:
                process.kill()
                await asyncio.to_thread(process.join, 10)
            log.unlink(missing_ok=True)

    async def _live(self, process: ForkServerProcess, log: Path) -> None:
        """Until it is killed at its instant, or ended by itself since a server was away."""
        dies_at: float | None = None
        while _exit_code(process) is None:
            if dies_at is None and await asyncio.to_thread(_is_ready, log):
                dies_at = time.monotonic() + self._dice.uniform(*LIFE_SECONDS)
            if dies_at is not None and not self.is_calm and time.monotonic() > dies_at:
                process.kill()
                await asyncio.to_thread(process.join, 10)
            await asyncio.sleep(0.02)
        if _exit_code(process) == -signal.SIGKILL and process.pid is not None:
            assert_gone(process.pid)
            self._storm.killed["worker"].append(process.pid)


def _exit_code(process: ForkServerProcess) -> int | None:
    return process.exitcode


def _is_ready(log: Path) -> bool:
    return log.exists() and READY in log.read_bytes()


class Soak:
    def __init__(
        self, plan: SoakPlan, world: World, temporal: TemporalServer, postgres: MortalPostgres
    ) -> None:
        self.plan, self.world = plan, world
        self.temporal, self.postgres = temporal, postgres
        self.storm = Storm()
        self.crew = Crew(world.stack.environment, world.stack.folder, self.storm, plan.seed)
        self.ended = 0
        self.has_had_its_fill = asyncio.Event()

    async def run(self) -> None:
        """Every case to its end, through the storm and the calm after it."""
        chance = {"seed": self.plan.seed, "rate": self.plan.error_rate, "kinds": ERROR_KINDS}
        await self.world.stack.control("faults", {"random": chance})
        crew = [asyncio.create_task(self.crew.keep(number)) for number in range(WORKERS)]
        outages = asyncio.create_task(self._outages())
        lives = asyncio.ensure_future(self._live_all())
        try:
            await asyncio.wait({lives, outages, *crew}, return_when=asyncio.FIRST_COMPLETED)
            for task in (outages, *crew):
                if task.done():
                    await task  # the storm's end, or what went wrong in it
            self.crew.is_calm = True
            async with asyncio.timeout(CALM_SECONDS):
                await lives
        finally:
            for task in (lives, outages, *crew):
                task.cancel()
            await asyncio.gather(lives, outages, *crew, return_exceptions=True)

    async def _outages(self) -> None:
        """Each server in turn, until the storm has had its fill."""
        number = 0
        while self.ended < self.plan.cases * 3 // 4 or number < 2 * self.plan.outages:
            await asyncio.sleep(self.plan.outage_every / 2)
            number += 1
            if number % 2:
                self.storm.killed["temporal"].append(self.temporal.kill9())
                await self.temporal.start()
            else:
                self.storm.killed["postgres"].append(await asyncio.to_thread(self.postgres.kill9))
                await asyncio.to_thread(self.postgres.start)
            if number == 2 * self.plan.outages:
                self.has_had_its_fill.set()

    async def _live_all(self) -> None:
        waiting = list(reversed(range(self.plan.cases)))

        async def take() -> None:
            while waiting:
                number = waiting.pop()
                if len(waiting) < self.plan.cases // 5:
                    await self.has_had_its_fill.wait()
                await self._live(number)
                self.ended += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, self.plan.cases)):
                group.create_task(take())

    # -- one case --------------------------------------------------------------------

    async def _live(self, number: int) -> None:
        dice = random.Random(f"{self.plan.seed}:{number}")
        world = self.world
        charge = await a_charge(
            world.stack, refund_behaviour=dice.choice(["arrives", "silent", "pending", "fails"])
        )
        request = a_request(
            **charge,
            request_id=f"soak-{self.plan.seed}-{number}-{charge['customer']}",
            amount_minor=dice.choice([SMALL, SMALL, MEDIUM, LARGE]),
            consents_to_credit=dice.random() < 0.2,
        )
        handle = world.client.case(case_id_for(CaseKind.REFUND, request["request_id"]))
        await patiently(lambda: world.client.open_refund(request))
        row = await self._reached(handle, Status.OPEN)
        if row.status is Status.AWAITING_APPROVAL:
            for slot, by in zip(await self._slots(handle), (LEAD, FINANCE), strict=False):
                await self._approve(handle, slot, by)
        await self._reached(handle, Status.AWAITING_APPROVAL, Status.SENDING)
        until = (datetime.now(UTC) + AHEAD).isoformat()
        moved = {"customer": request["customer"], "to": until, "or_later": True}
        await world.stack.control("clock", moved)
        while (await self._reached(handle)).status is not Status.CLOSED:
            try:
                async with asyncio.timeout(10):
                    await world.clock.run_out(handle.workflow)
            except (*UNANSWERED, TimeoutError, RuntimeError):
                # RuntimeError: a skip that was asked for before the server died is overridden
                _heed_cancellation()

    async def _slots(self, handle: CaseHandle) -> list[str]:
        async def read() -> list[str]:
            async with self.world.stack.books.reading() as reading:
                return [slot.id for slot in slots_of(await reading.events(handle.case_id))]

        return await patiently(read)

    async def _approve(self, handle: CaseHandle, slot: str, by: Any) -> None:
        click = f"{handle.case_id}-{slot}"
        try:
            await patiently(lambda: handle.approve(by, slot=slot, click_id=click))
        except Refused:
            # a worker recorded it and died before the case knew: the books have it
            async with self.world.stack.books.reading() as reading:
                given = [row.slot for row in await reading.approvals(handle.case_id)]
            if slot not in given:
                raise

    async def _reached(self, handle: CaseHandle, *behind: Status) -> CaseRow:
        """The case's row once it has left these statuses."""
        while True:
            row = await patiently(handle.row)
            if row is not None and row.status not in behind:
                return row
            await asyncio.sleep(0.2)


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer: the same question each time."""
    while True:
        try:
            async with asyncio.timeout(20):
                return await ask()
        except (*UNANSWERED, TimeoutError):
            _heed_cancellation()
            await asyncio.sleep(0.3)


def _heed_cancellation() -> None:
    """A call to Temporal that is cancelled may end in an error of its own instead."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@asynccontextmanager
async def soaking_world(plan: SoakPlan, folder: Path) -> AsyncIterator[Soak]:
    """Servers of the soak's own, each on files; nothing of them is left afterwards."""
    postgres = await asyncio.to_thread(MortalPostgres)
    temporal = TemporalServer(folder / "temporal.db", folder / "temporal.log", NO_LONGER_TASKS)
    try:
        await temporal.start()
        url = postgres.running.url(postgres.running.new_database())
        async with running_stack(
            temporal.address,
            url,
            policies=POLICIES,
            attempt_seconds=3,
            worker_cache=0,
            worker_slots=10,
        ) as stack:
            yield Soak(plan, World(_in_short_tasks(stack), TASK_QUEUE), temporal, postgres)
    finally:
        temporal.stop()
        await asyncio.to_thread(postgres.stop)


def _in_short_tasks(stack: Stack) -> Stack:
    config: Any = {**stack.temporal.config(), "interceptors": [ShortTasks()]}
    stack.temporal = TemporalClient(**config)
    return stack
