"""The kill runner: a scenario, a point at which its worker dies by SIGKILL, and a judgement.

    runner = KillRunner(world)
    async with runner.lanes(3) as lanes:
        reference = await lanes.run_unkilled(scenario)
        deaths = await lanes.run_all(scenario, points, reference)

A scenario is a coroutine over a :class:`Lane`: it opens a case, does what people and banks do,
and calls :meth:`Lane.calm` wherever the case waits. It never knows that its worker dies. Each
lane has one worker process at a time, on a task queue of its own; the successor of one case
is the victim of the next. Workers are forked from a server that has imported everything, so
that a successor is there in a fraction of a second.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from difflib import ndiff
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from typing import Any

from temporalio.client import Client as TemporalClient
from temporalio.client import WorkflowExecutionStatus

from client import Client
from domain.cases import CaseKind, case_id_for
from tests.reliability import kill_worker
from tests.reliability.kill_worker import ShortTasks
from tests.stack import SIGNING_KEY
from tests.workflows.builders import a_charge, a_request
from tests.workflows.world import Case, World, chain_of, new_queue

CASE_SECONDS = 90

LONG_ENOUGH_TRIES = 5
"""Runs until a history has as many events as the reference's."""

FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(["tests.reliability.kill_worker"])

Scenario = Callable[["Lane"], Awaitable[Case]]
Between = Callable[[Case], Awaitable[None]]


@dataclass(frozen=True)
class KillPoint:
    """Where to die (see ``kill_worker``), the how manieth time it is reached, in which case (2 is
    the one by which the first goes on), what the provider does wrong with that one's order, and
    what happens before the successor starts."""

    point: str = ""
    after_event: int = 0
    occurrence: int = 1
    nth_case: int = 1
    fault: dict[str, Any] = field(default_factory=dict)
    between: Between | None = None

    def __str__(self) -> str:
        times = f" (time {self.occurrence})" if self.occurrence > 1 else ""
        where = self.point + times if self.point else f"after event {self.after_event}"
        return where + (f" of case {self.nth_case}" if self.nth_case > 1 else "")


@dataclass(frozen=True)
class End:
    """A case that has ended, what the books hold of it, and its money movements at the provider."""

    case: Case
    account: dict[str, Any]
    effects: int


@dataclass(frozen=True)
class Death:
    """One killed run: who died, who went on, and how the case ended and each by which it went
    on."""

    point: KillPoint
    ends: tuple[End, ...]
    killed: tuple[int, ...]
    successor: int
    seconds: float


class Lane:
    """One worker process at a time, and the cases that it serves."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self._plan_file = world.stack.folder / f"kill-plan-{number}.json"
        self._plan_file.write_text("", encoding="utf-8")
        self._environment = {
            **world.stack.environment,
            "KILL_QUEUE": new_queue(),
            "KILL_PLAN": str(self._plan_file),
        }
        stack = world.stack
        config: Any = {**stack.temporal.config(), "interceptors": [ShortTasks()]}
        self.client = Client(
            TemporalClient(**config),
            stack.books,
            stack.keyring,
            SIGNING_KEY,
            attempt_seconds=stack.settings.attempt_seconds,
            task_queue=self._environment["KILL_QUEUE"],
            evidence=stack.client.evidence_store,
        )
        self._log = world.stack.folder / f"lane-{number}.log"
        self._process: ForkServerProcess | None = None
        self._watch: asyncio.Task[None] | None = None
        self._point = KillPoint()
        self._victim: Case | None = None
        self.killed: list[int] = []

    # -- the process -----------------------------------------------------------------

    @property
    def pid(self) -> int:
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    async def start(self) -> None:
        self._start_worker()
        self._watch = asyncio.create_task(self._succeed())

    async def stop(self) -> None:
        assert self._watch is not None
        self._watch.cancel()
        with suppress(asyncio.CancelledError):
            await self._watch
        assert self._process is not None
        self._process.kill()
        await asyncio.to_thread(self._process.join, 10)

    def _start_worker(self) -> None:
        self._process = FORKS.Process(
            target=kill_worker.main, args=(self._environment, str(self._log)), daemon=True
        )
        self._process.start()

    async def _succeed(self) -> None:
        """When the worker is gone, see that it is, and start the next one."""
        while True:
            assert self._process is not None
            code, gone = self._process.exitcode, self.pid
            if code is None:
                await asyncio.sleep(0.02)
                continue
            log = self._log.read_text(encoding="utf-8") if self._log.exists() else ""
            assert code == -signal.SIGKILL, f"worker {gone} ended with {code}: {log[-2000:]}"
            assert_gone(gone)
            self._plan_file.write_text("", encoding="utf-8")
            if self._point.between is not None and self._victim is not None:
                await self._point.between(self._victim)
            self._start_worker()
            assert self.pid != gone
            self.killed.append(gone)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()

    # -- what scenarios call ---------------------------------------------------------

    async def open(
        self,
        charge: dict[str, Any] | None = None,
        *,
        fault: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Case:
        """Open the case under the lane's plan; ``fault`` is on its order whoever dies."""
        request = a_request(**{**await a_charge(self.world.stack, **(charge or {})), **fields})
        case, *later = (
            Case(self.client.case(case_id), request["customer"], request["charge"])
            for case_id in _case_ids(request["request_id"], self._point.nth_case)
        )
        self._victim = (case, *later)[-1]
        for cursed, wrong in ((case, fault), (self._victim, self._point.fault)):
            if wrong:
                await self.world.fault(cursed, **wrong)
        self._write_plan(self._victim.id)
        await self.client.open_refund(request)
        return case

    def _write_plan(self, case_id: str) -> None:
        point = self._point
        if not (point.point or point.after_event):
            return
        plan = {
            "case_id": case_id,
            "point": point.point,
            "after_event": point.after_event,
            "occurrence": point.occurrence,
        }
        ready = self._plan_file.with_suffix(".new")
        ready.write_text(json.dumps(plan), encoding="utf-8")
        ready.replace(self._plan_file)

    async def calm(self, case: Case) -> None:
        """The case waits for somebody: with event N behind it, the worker is killed here."""
        await self.world.clock.until_idle(case.handle.workflow)
        wanted = self._point.after_event
        is_victim = self._victim is not None and self._victim.id == case.id
        if wanted and is_victim and not self.killed:
            described = await case.handle.workflow.describe()
            if described.history_length >= wanted:
                self.kill()
                while not self.killed:  # noqa: ASYNC110 (a process, not an event)
                    await asyncio.sleep(0.02)
                await self.world.clock.until_idle(case.handle.workflow)

    # -- running ---------------------------------------------------------------------

    async def run_to_death(self, scenario: Scenario, point: KillPoint) -> Death:
        """Run again a case whose history was shorter than the event to die after: whether the
        bank's two messages meet in one workflow task is a race, and worth three events."""
        for _ in range(LONG_ENOUGH_TRIES):
            death = await self.run(scenario, point)
            if death.killed or not point.after_event:
                break
        return death

    async def run(self, scenario: Scenario, point: KillPoint) -> Death:
        started = time.monotonic()
        self._point, self._victim, self.killed = point, None, []
        running = asyncio.ensure_future(scenario(self))
        assert self._watch is not None
        done, _ = await asyncio.wait(
            {running, self._watch}, timeout=CASE_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        if running not in done:
            running.cancel()
            if self._watch in done:
                await self._watch
            raise AssertionError(f"{point}: the case did not end within {CASE_SECONDS} s")
        ends = [await self._end(case) for case in await chain_of(self.world, await running)]
        return Death(
            point=point,
            ends=tuple(ends),
            killed=tuple(self.killed),
            successor=self.pid,
            seconds=time.monotonic() - started,
        )

    async def _end(self, case: Case) -> End:
        await self.calm(case)
        described = await case.handle.workflow.describe()
        assert described.status is WorkflowExecutionStatus.COMPLETED
        return End(case, await self.world.account(case), await self.world.effects(case))


def _case_ids(request_id: str, count: int) -> list[str]:
    """Ids of the case of a request and of those by which it goes on of itself."""
    ids = [case_id_for(CaseKind.REFUND, request_id)]
    while len(ids) < count:
        ids.append(case_id_for(CaseKind.REFUND, f"{ids[-1]}:alternative"))
    return ids


class Lanes:
    def __init__(self, lanes: list[Lane]) -> None:
        self._lanes = lanes

    async def run_unkilled(self, scenario: Scenario) -> Death:
        return await self._lanes[0].run(scenario, KillPoint())

    async def run_all(self, scenario: Scenario, points: Iterable[KillPoint]) -> list[Death]:
        """Every point once, as many at a time as there are lanes."""
        waiting = list(reversed(list(points)))
        deaths: list[Death] = []

        async def drive(lane: Lane) -> None:
            while waiting:
                deaths.append(await lane.run_to_death(scenario, waiting.pop()))

        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(drive(lane))
        return deaths


@asynccontextmanager
async def running_lanes(world: World, count: int) -> AsyncIterator[Lanes]:
    lanes = [Lane(world, number) for number in range(count)]
    try:
        for lane in lanes:
            await lane.start()
        yield Lanes(lanes)
    finally:
        for lane in lanes:
            await lane.stop()


def faults_of(death: Death, reference: Death) -> list[str]:
    """What is wrong with a killed run; empty when it is as if nobody had died."""
    found = []
    if not death.killed:
        found.append("nobody died: the point was never reached")
    if death.successor in death.killed:
        found.append("the successor is the worker that died")
    if len(death.ends) != len(reference.ends):
        found.append(f"{len(death.ends)} cases, not {len(reference.ends)}")
    for end, unkilled in zip(death.ends, reference.ends, strict=False):
        found += [f"{end.case.id}: {fault}" for fault in _differences(end, unkilled)]
    return [f"{death.point}: {fault}" for fault in found]


def _differences(end: End, reference: End) -> Iterator[str]:
    if end.effects != reference.effects:
        yield f"{end.effects} money movements at the provider, not {reference.effects}"
    for name, unkilled in reference.account.items():
        if end.account[name] != unkilled:
            lines = ndiff(_lines(unkilled), _lines(end.account[name]))
            changed = "\n".join(line for line in lines if line[0] in "+-")
            yield f"{name} differs (- unkilled, + killed):\n{changed}"


def _lines(value: object) -> list[str]:
    return json.dumps(value, indent=1, sort_keys=True).splitlines()


def assert_gone(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        raise AssertionError(f"process {pid} is still there")
