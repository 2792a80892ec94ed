"""A living system for tests of whole cases: stack, worker, clocks, and what is checked at the end.

``World`` drives cases; ``Case`` is one of them. Each world listens on a task queue of its own,
so that worlds beside one Temporal server never take each other's work.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select
from temporalio.api.enums.v1 import EventType

from activities.outside import OutsideNews
from audit.verify import verify
from client import CaseHandle, Client
from domain.actors import Actor
from domain.canonical import plain
from domain.cases import Status
from domain.linked import ALTERNATIVE_STEP, APPEAL_STEP
from domain.refunds import RefundResult
from ledger import tables as t
from ledger.projection import CaseRow
from ledger.records import StoredEvent
from settings import ROOT
from simulation.clock import CaseClock
from simulation.processes import HeldPort
from tests.referee import Referee
from tests.stack import SIGNING_KEY, WEBHOOK_SECRET, Stack, running_stack
from tests.workflows.builders import LEAD, a_charge, a_request

POLICIES = Path(__file__).resolve().parent / "policies"
PATIENCE = timedelta(seconds=60)
BY_HAND = {"Authorization": "Bearer sk_test_by_hand"}
"""A key for the provider that is not the engine's."""

_queues = itertools.count(1)


@dataclass(frozen=True)
class Case:
    """A case with what it is about."""

    handle: CaseHandle
    customer: str
    charge: str

    @property
    def id(self) -> str:
        return self.handle.case_id


class World:
    """One stack, seen by a test."""

    def __init__(self, stack: Stack, queue: str) -> None:
        self.stack = stack
        self.queue = queue
        self.clock = CaseClock(stack.temporal)
        self.client = self.another_client()

    def another_client(self) -> Client:
        """As a second process of the same settings would have; it shares no queue with others."""
        return Client(
            self.stack.temporal,
            self.stack.books,
            self.stack.keyring,
            SIGNING_KEY,
            attempt_seconds=self.stack.settings.attempt_seconds,
            task_queue=self.queue,
            evidence=self.stack.client.evidence_store,
        )

    # -- opening ---------------------------------------------------------------------

    async def open(
        self,
        charge: Mapping[str, Any] | None = None,
        *,
        start_delay: timedelta | None = None,
        **fields: Any,
    ) -> Case:
        """Seed a charge of a new customer and ask for it; ``fields`` override the request."""
        seeded = await a_charge(self.stack, **(charge or {}))
        request = a_request(**{**seeded, **fields})
        handle = await self.client.open_refund(request, start_delay=start_delay)
        return Case(handle, request["customer"], request["charge"])

    async def open_decided(self, charge: Mapping[str, Any] | None = None, **fields: Any) -> Case:
        case = await self.open(charge, **fields)
        await case.handle.decided(PATIENCE)
        return case

    async def open_settling(self, charge: Mapping[str, Any] | None = None, **fields: Any) -> Case:
        """A case whose money is under way, approved by a lead where that is asked."""
        case = await self.open_decided(charge, **fields)
        if (await self.row(case)).status is Status.AWAITING_APPROVAL:
            await case.handle.approve(LEAD)
        await self.until(case, Status.SETTLING)
        return case

    # -- looking ---------------------------------------------------------------------

    async def row(self, case: Case) -> CaseRow:
        row = await case.handle.row()
        assert row is not None, f"{case.id} is not in the books"
        return row

    async def until(self, case: Case, *statuses: Status) -> CaseRow:
        """Wait until the books show one of these statuses."""
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while True:
                row = await case.handle.row()
                if row is not None and row.status in statuses:
                    return row
                await asyncio.sleep(0.02)

    async def result(self, case: Case) -> RefundResult:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            return await case.handle.result()

    async def events(self, case: Case) -> list[StoredEvent]:
        async with self.stack.books.reading() as reading:
            return await reading.events(case.id)

    async def steps(self, case: Case) -> list[str]:
        return [event.step for event in await self.events(case)]

    async def signals(self, case: Case) -> int:
        """How many signals lie in the case's history."""
        history = await case.handle.workflow.fetch_history()
        signaled = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
        return sum(event.event_type == signaled for event in history.events)

    async def refused_attempts(self, case: Case) -> list[tuple[str, str]]:
        """Action and code of each refused attempt on record."""
        async with self.stack.books.reading() as reading:
            return [(a.action, a.code) for a in await reading.refused_attempts(case.id)]

    # -- time ------------------------------------------------------------------------

    async def move_provider_to(self, case: Case, instant: datetime) -> None:
        moved = {"customer": case.customer, "to": instant.isoformat(), "or_later": True}
        await self.stack.control("clock", moved)

    async def advance(self, case: Case, instant: datetime) -> bool:
        """Let provider and case live until ``instant``; False when the case ended before."""
        await self.move_provider_to(case, instant)
        return await self.clock.advance_to(case.handle.workflow, instant)

    async def advance_past(self, case: Case, instant: datetime) -> bool:
        return await self.advance(case, instant + timedelta(seconds=1))

    async def looks(self, case: Case) -> tuple[list[datetime], list[datetime]]:
        """Instants of the settlement's looks and of the trace's, by the books."""
        (accepted,) = [e for e in await self.events(case) if e.step == "accept"]
        found = [
            [datetime.fromisoformat(text) for text in accepted.body[name]]
            for name in ("looks", "trace_looks")
        ]
        return found[0], found[1]

    async def calm(self, case: Case) -> None:
        """Wait until nothing of the case is in flight."""
        async with asyncio.timeout(PATIENCE.total_seconds()):
            await self.clock.until_idle(case.handle.workflow)

    # -- the provider ----------------------------------------------------------------

    async def refund_id(self, case: Case) -> str:
        return (await self.row(case)).provider_id

    async def at_bank(self, case: Case, **change: Any) -> None:
        """Something happens to the case's refund (``status``, ``reference`` …)."""
        await self.stack.control(f"refunds/{await self.refund_id(case)}", change)

    async def effects(self, case: Case) -> int:
        return len(await self.stack.effects(case.id))

    async def fault(self, case: Case, **fault: Any) -> None:
        """A fault on the order of this case alone."""
        body = {"metadata[case_id]": case.id}
        await self.stack.control("faults", {"method": "POST", "body": body, **fault})

    async def outside_refund(self, case: Case, amount: int, *, case_id: str = "") -> str:
        """Somebody refunds the same charge by hand, or another system does that has a ``case_id``
        of its own; answers the refund's id."""
        named = {"metadata[case_id]": case_id} if case_id else {}
        answer = await self.stack.http.post(
            f"{self.stack.sandbox_url}/v1/refunds",
            data={"charge": case.charge, "amount": str(amount), **named},
            headers=BY_HAND,
        )
        answer.raise_for_status()
        return str(answer.json()["id"])

    async def plan(self, **wanted: Any) -> None:
        """What becomes of the webhooks from here on."""
        await self.delivered()
        await self.stack.control("webhooks/plan", wanted)

    async def delivered(self) -> None:
        left = await self.stack.control("webhooks/flush", {"timeout_seconds": 20, "hurry": True})
        assert left["pending"] == 0

    async def dispute(self, case: Case, **fields: Any) -> str:
        """The bank disputes the charge; answers the dispute's id."""
        made = await self.stack.control(f"charges/{case.charge}/dispute", fields)
        return str(made["id"])

    async def turn(self, dispute: str, status: str) -> None:
        await self.stack.control(f"disputes/{dispute}", {"status": status})

    async def noted(self) -> None:
        """Have the worker look into all that the provider has told of so far."""
        await self.delivered()
        async with asyncio.timeout(20):
            while await self.inbox("received"):  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.05)
        news = OutsideNews(self.stack.books, self.stack.provider)
        while await news.note_due():
            pass

    async def inbox(self, state: str) -> list[str]:
        """Ids of the provider's events in one state."""
        async with self.stack.books.reading() as reading:
            return [row.event_id for row in await reading.inbox(state, limit=10_000)]

    # -- what must hold --------------------------------------------------------------

    async def assert_sound(self) -> None:
        """The books prove themselves, and no exchange with the provider was against its API."""
        report = await verify(self.stack.books)
        assert report.is_clean, "\n".join(str(finding) for finding in report.findings)
        journal = (await self.stack.control("journal"))["entries"]
        assert Referee().check_journal(as_the_client_saw(journal)) == []

    async def counts(self) -> dict[str, int]:
        """Rows per table."""
        async with self.stack.books.reading() as reading:
            return await reading.counts()

    async def account(self, case: Case) -> dict[str, Any]:
        """All that the books hold of a case, with ids and instants made alike.

        Two cases that went the same way have equal accounts.
        """
        async with self.stack.books.reading() as reading:
            row = await reading.case(case.id)
            o = t.outbox.c
            outbox = select(o.topic, o.key).where(o.case_id == case.id).order_by(o.id)
            found = {
                "row": plain(row),
                "events": [
                    [e.ordinal, e.step, e.kind, e.actor, e.body]
                    for e in await reading.events(case.id)
                ],
                "money": [
                    [x.step, x.kind, x.provider_id, x.entries]
                    for x in await reading.ledger_transactions(case.id)
                ],
                "reservations": await reading.reservations_of_case(case.id),
                "approvals": [
                    [a.slot, a.verdict, a.actor, a.amount] for a in await reading.approvals(case.id)
                ],
                "refused": await reading.refused_attempts(case.id),
                "notices": [[r.topic, r.key] for r in await reading.execute(outbox)],
                "decided": getattr(await reading.decision(case.id), "outcome", None),
            }
        alike: dict[str, Any] = json.loads(_alike(json.dumps(plain(found)), case, row))
        return alike


async def chain_of(world: World, case: Case) -> list[Case]:
    """A case and those by which it goes on, by the links in the books."""
    chain = [case]
    for each in chain:  # those that follow are appended meanwhile
        for event in await world.events(each):
            if event.step in (APPEAL_STEP, ALTERNATIVE_STEP):
                handle = world.client.case(event.body["case_id"])
                chain.append(Case(handle, case.customer, case.charge))
    return chain


async def next_case(world: World, case: Case) -> Case:
    """The case by which one goes on; its decision writes the link."""
    async with asyncio.timeout(60):
        while len(chain := await chain_of(world, case)) == 1:  # noqa: ASYNC110 (rows, not an event)
            await asyncio.sleep(0.02)
    return chain[1]


def as_the_client_saw(journal: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The journal without what a test did by hand or by a made-up fault."""
    return [dict(entry) for entry in journal if entry["fault"] is None and entry["path"] != "/"]


_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|\+00:00)")
_DAY = re.compile(r'"\d{4}-\d\d-\d\d"')
_HASH = re.compile(r'"[0-9a-f]{64}"')
_REFUND = re.compile(r"\b(?:re|cbtxn)_\w+")
_SEALED = re.compile(r"sealed:v1:[^\"]+")
_REFERENCE = re.compile(r'"7\d{22}"')
_DISPUTE = re.compile(r"\bdu_\w+")
_OTHER_CASE = re.compile(r"\b(refund|exception)-[a-z2-7]{26}\b")


def _alike(text: str, case: Case, row: CaseRow | None) -> str:
    names = {case.id: "CASE", case.customer: "CUSTOMER", case.charge: "CHARGE"}
    if row is not None:
        names[row.request_id] = "REQUEST"
    for name, alike in names.items():
        text = text.replace(name, alike)
    for pattern, alike in (
        (_INSTANT, "INSTANT"),
        (_DAY, '"DAY"'),
        (_HASH, '"HASH"'),
        (_REFUND, "MOVEMENT"),
        (_REFERENCE, '"REFERENCE"'),
        (_SEALED, "SEALED"),
        (_DISPUTE, "DISPUTE"),
        (_OTHER_CASE, r"OTHER \1"),
    ):
        text = pattern.sub(alike, text)
    return text


def new_queue() -> str:
    return f"redress-test-{os.getpid()}-{next(_queues)}"


@asynccontextmanager
async def empty_world(
    temporal_address: str, database_url: str = "", **overrides: Any
) -> AsyncIterator[World]:
    """A world without a worker."""
    settings = {"policies": POLICIES, "workflow_sandbox": True, **overrides}
    async with running_stack(temporal_address, database_url, **settings) as stack:
        yield World(stack, new_queue())


@asynccontextmanager
async def living_world(
    temporal_address: str, database_url: str = "", **overrides: Any
) -> AsyncIterator[World]:
    """A world with a worker in this process."""
    async with (
        empty_world(temporal_address, database_url, **overrides) as world,
        world.stack.worker(task_queue=world.queue),
    ):
        yield world


def utc_now() -> datetime:
    return datetime.now(UTC)


def person(actor: Actor, id: str) -> Actor:
    """The same role, another person."""
    return actor.model_copy(update={"id": id})


class WebProcess:
    """The web app as a process of its own, registered at the sandbox for its webhooks."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._held = HeldPort()
        self.port = self._held.number
        self.url = f"http://127.0.0.1:{self.port}"
        self._endpoint = ""
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> WebProcess:
        stack = self._world.stack
        await self.start()
        made = await stack.control(
            "webhooks/endpoint", {"url": f"{self.url}/webhooks/stripe", "secret": WEBHOOK_SECRET}
        )
        self._endpoint = f"{stack.sandbox_url}/v1/webhook_endpoints/{made['id']}"
        return self

    async def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "web.app:create", "--factory"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning"]
        stack = self._world.stack
        with (stack.folder / "web.log").open("ab") as log:
            self._process = await asyncio.to_thread(
                subprocess.Popen, command, env=stack.environment, cwd=ROOT, stdout=log, stderr=log
            )
        async with asyncio.timeout(30):
            while not await self._is_ready():  # noqa: ASYNC110 (a process, not an event)
                await asyncio.sleep(0.1)

    async def _is_ready(self) -> bool:
        try:
            answer = await self._world.stack.http.get(f"{self.url}/readyz")
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    async def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait, 20)
            self._process = None

    @property
    def log(self) -> str:
        return (self._world.stack.folder / "web.log").read_text(encoding="utf-8")

    async def __aexit__(self, *error: object) -> None:
        await self._world.delivered()
        answer = await self._world.stack.http.delete(self._endpoint, headers=BY_HAND)
        answer.raise_for_status()
        await self.stop()
