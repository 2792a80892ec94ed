"""Whole cases from seeds: each drawn course is lived through on real servers, then judged.

The workflow, the activities, Temporal with its clock skipped, the provider's double and the
books are the real ones; the worker is in this process, so that many seeds fit beside each
other. Faults come from the course: the provider's from the sandbox, the database's from
:mod:`tests.reliability.faulty_books`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import httpx
from sqlalchemy import select
from structlog.testing import capture_logs

from activities.outside import OutsideNews
from audit.verify import verify
from client import CaseHandle
from domain.actors import Actor, Role
from domain.approvals import Answer
from domain.cards import has_card_number
from domain.cases import CaseKind, EventKind, Outcome, Status, case_id_for
from domain.errors import InvalidRequest, Refused
from domain.provider import DEAD_REFUNDS, Chargeback
from ledger import tables as t
from ledger.postings import TRANSIENT_PREFIXES
from ledger.projection import slots_of
from ledger.records import OUTSIDE, StoredEvent
from simulation.checks import LATEST_SECONDS, VIOLATION
from tests.reliability.courses import Course, Does, Turn, course_of
from tests.reliability.effects import GAVE, Tally, tally
from tests.reliability.faulty_books import FaultyBooks
from tests.workflows.builders import SERVICE, a_charge, a_request
from tests.workflows.world import BY_HAND, Case, World, empty_world
from web.store import Inbox
from web.webhooks import RECEIVED, Postman

AT_ONCE = 20
CASE_SECONDS = 120
FAULT_RATE = 0.1
NATURALLY = 0.05
"""Seconds to wait for a timer at which a case stands (see ``simulation/driving.py``)."""

FRUITLESS = 400
SECRET = "the words of a customer"
"""What each customer wrote; it is nowhere to be found afterwards (I11)."""


@dataclass
class Lived:
    """What became of one seed. ``told`` counts refusals that callers heard of."""

    seed: int
    case: Case | None
    outcome: Outcome | None = None
    is_invalid: bool = False
    effects: int = 0
    told: int = 0
    seconds: float = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ground:
    """What all seeds of a run share."""

    world: World
    books: FaultyBooks
    inbox: Inbox
    postman: Postman


@asynccontextmanager
async def ground_for_seeds(temporal_address: str) -> AsyncIterator[Ground]:
    """A world with its worker on faulty books, and those who carry the provider's news."""
    async with empty_world(temporal_address, attempt_seconds=10, workflow_sandbox=False) as world:
        books = await FaultyBooks.open(world.stack.books.url)
        assert isinstance(books, FaultyBooks)
        books.rate = FAULT_RATE
        cursed = replace(world.stack, books=books)
        inbox = Inbox(world.stack.books)
        postman = Postman(inbox, world.stack.temporal, idle_seconds=0.5)
        news = OutsideNews(world.stack.books, world.stack.provider, idle_seconds=0.2)
        async with cursed.worker(task_queue=world.queue):
            beside = [asyncio.create_task(postman.run()), asyncio.create_task(news.run())]
            try:
                with _said_quietly():
                    yield Ground(world, books, inbox, postman)
            finally:
                for task in beside:
                    task.cancel()
        await books.close()


@contextmanager
def _said_quietly() -> Iterator[None]:
    """Without the traceback of every fault that was asked for: writing them takes longer than
    the lives do."""
    loggers = [logging.getLogger("temporalio.activity"), logging.getLogger("temporalio.workflow")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with capture_logs():
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


class Life:
    """One course, lived."""

    def __init__(self, ground: Ground, course: Course) -> None:
        self.ground, self.course, self.world = ground, course, ground.world
        self._doing = "opening"
        self._told = 0
        self._news = 0
        self._seen: set[datetime] = set()
        self._before: dict[datetime, int] = {}
        self._outside_refunds: list[str] = []

    async def lived(self) -> Lived:
        """The course to its end; an error on the way is a fault, and ends nobody else's life."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(CASE_SECONDS):
                lived = await self._live()
        except Exception as error:
            why = f"{type(error).__name__}: {error} (at {self._doing})"
            lived = Lived(self.course.seed, getattr(self, "case", None), faults=[why])
        lived.seconds = time.monotonic() - began
        return lived

    async def _live(self) -> Lived:
        course, world = self.course, self.world
        charge = await a_charge(
            world.stack,
            amount=course.captured,
            currency=course.currency,
            refund_behaviour=course.behaviour,
        )
        self.fields = a_request(
            **charge,
            request_id=f"seed-{course.seed}-{charge['customer']}",
            amount_minor=course.asked,
            currency=course.currency,
            reason=course.reason.value,
            policy=course.policy,
            consents_to_credit=course.credit,
            text=f"{SECRET} {course.seed}",
        )
        case_id = case_id_for(CaseKind.REFUND, self.fields["request_id"])
        self.handle: CaseHandle = world.client.case(case_id)
        self.case = Case(self.handle, charge["customer"], charge["charge"])
        lived = Lived(course.seed, self.case)
        self.ground.books.curse(case_id, f"{course.seed}:database")
        await self._ask_for_faults()
        try:
            await world.client.open_refund(self.fields)
            await self.handle.decided(timedelta(seconds=CASE_SECONDS))
        except InvalidRequest:
            lived.is_invalid = True
        else:
            await self._idle()
            for turn in course.turns:
                await self._take(turn)
            self._doing = "its end"
            await self._live_to(None)
            await self._tell_what_failed_outside()
            # ended is ended
            await self._say(self.handle.approve(self._person(SERVICE), click_id=self._click()))
            lived.outcome = (await world.row(self.case)).outcome
        lived.told = self._told
        return lived

    async def _ask_for_faults(self) -> None:
        for fault in self.course.order_faults:
            await self.world.fault(self.case, **fault)
        path = f"/v1/charges/{self.case.charge}"
        for fault in self.course.read_faults:
            await self.world.stack.control("faults", {"method": "GET", "path": path, **fault})

    # -- turns -----------------------------------------------------------------------

    async def _take(self, turn: Turn) -> None:
        if (await self.world.row(self.case)).status is Status.CLOSED:
            return
        self._doing = turn.does.name
        await _TURNS[turn.does](self, turn)
        await self._idle()

    async def _approve(self, turn: Turn) -> None:
        await self._say(self.handle.approve(self._person(turn.by), click_id=self._click()))

    async def _judge(self, turn: Turn) -> None:
        given = self.handle.judge(turn.action, self._person(turn.by), click_id=self._click())
        await self._say(given)

    async def _stale(self, turn: Turn) -> None:
        by, click = self._person(turn.by), self._click()
        await self._say(self.handle.approve(by, digest="0" * 64, click_id=click))

    async def _contact(self, turn: Turn) -> None:
        by, click = self._person(turn.by), self._click()
        await self._say(self.handle.contact(by, turn.channel, SECRET, click_id=click))

    async def _transfer(self, turn: Turn) -> None:
        by, click = self._person(turn.by), self._click()
        await self._say(self.handle.transfer(by, turn.desk, click_id=click))

    async def _delegate(self, turn: Turn) -> None:
        by, to = self._person(turn.by), self._person(turn.to)
        await self._say(self.handle.delegate(by, to, click_id=self._click()))

    async def _ask_again(self, turn: Turn) -> None:
        again = await self.world.client.open_refund(self.fields)
        assert again.case_id == self.case.id, "I10: the same request is another case"

    async def _reuse(self, turn: Turn) -> None:
        other = {**self.fields, "language": "ko"}
        try:
            await self.world.client.open_refund(other)
        except Refused:
            self._told += 1
        else:
            raise AssertionError("I10: a request id was taken for another body")

    async def _wait(self, turn: Turn) -> None:
        await self._live_to(await self._now() + timedelta(hours=turn.hours))

    async def _dispute(self, turn: Turn) -> None:
        dispute = await self._provider(f"charges/{self.case.charge}/dispute", {})
        for status in ("under_review", turn.word) if turn.word else ():
            await self._provider(f"disputes/{dispute.get('id')}", {"status": status})
        await self._tell("charge.dispute.created", self.case.charge)

    async def _inquire(self, turn: Turn) -> None:
        asked = {"status": "warning_needs_response"}
        dispute = await self._provider(f"charges/{self.case.charge}/dispute", asked)
        if turn.word:
            await self._provider(f"disputes/{dispute.get('id')}", {"status": turn.word})
        await self._tell("charge.dispute.created", self.case.charge)

    async def _outside(self, turn: Turn) -> None:
        answer = await self.world.stack.http.post(
            f"{self.world.stack.sandbox_url}/v1/refunds",
            data={"charge": self.case.charge, "amount": str(turn.amount)},
            headers=BY_HAND,
        )
        if answer.status_code == 200:
            self._outside_refunds.append(str(answer.json()["id"]))
            await self._tell("refund.created", self._outside_refunds[-1], OUTSIDE, at_least=1)

    async def _tell_what_failed_outside(self) -> None:
        for id in self._outside_refunds:
            found = await self.world.stack.http.get(
                f"{self.world.stack.sandbox_url}/v1/refunds/{id}", headers=BY_HAND
            )
            if found.raise_for_status().json()["status"] in DEAD_REFUNDS:
                await self._tell("refund.failed", id, OUTSIDE, at_least=1)

    async def _bank(self, turn: Turn) -> None:
        row = await self.world.row(self.case)
        if not row.provider_id.startswith("re_"):
            return
        word = {"status": "failed"} if turn.word == "failed" else {"reference": "7" + "0" * 22}
        await self._provider(f"refunds/{row.provider_id}", word)
        await self._tell("refund.updated", self.case.id)

    async def _provider(self, path: str, body: dict[str, str]) -> dict[str, str]:
        """What the bank does; what it may not do in this state, it does not."""
        url = f"{self.world.stack.sandbox_url}/_sandbox/{path}"
        answer = await self.world.stack.http.post(url, json=body)
        assert answer.status_code in (200, 400, 409), answer.text
        found: dict[str, str] = answer.json()
        return found

    async def _tell(
        self, type: str, subject: str, state: str = RECEIVED, *, at_least: int = 0
    ) -> None:
        """The provider's webhook, as often as the course has it, and what it leads to."""
        told: list[str] = []
        for _ in range(max(self.course.news, at_least)):
            self._news += 1
            id = f"evt_{self.case.id}_{self._news}"
            await self.ground.inbox.take(id, type, subject, datetime.now(UTC), state)
            self.ground.postman.wake()
            told.append(id)
        async with asyncio.timeout(CASE_SECONDS):
            while await self._wait_in_inbox(told):  # noqa: ASYNC110 (rows, not an event)
                await asyncio.sleep(0.1)
        await self._idle()

    async def _wait_in_inbox(self, events: Sequence[str]) -> bool:
        i = t.inbox.c
        waiting = select(i.event_id).where(i.event_id.in_(events), i.state.in_([RECEIVED, OUTSIDE]))
        async with self.world.stack.books.reading() as reading:
            return bool(events and await reading.execute(waiting))

    def _person(self, who: Actor) -> Actor:
        """Their day's limits are this seed's alone."""
        if who.role is Role.SERVICE:
            return who
        return who.model_copy(update={"id": f"{who.id}-{self.case.customer}"})

    def _click(self) -> str:
        self._news += 1
        return f"click-{self.case.customer}-{self._news}"

    async def _say(self, saying: Awaitable[Answer]) -> None:
        try:
            await saying
        except Refused:
            self._told += 1

    # -- time ------------------------------------------------------------------------

    async def _now(self) -> datetime:
        return await self.world.clock.now(self.handle.workflow)

    async def _idle(self) -> bool:
        return await self.world.clock.until_idle(self.handle.workflow)

    async def _live_to(self, at: datetime | None) -> None:
        """Let provider and case live until ``at`` (None: the case's end), deadline by deadline."""
        fruitless = 0
        while await self._idle():
            row = await self.world.row(self.case)
            if row.status is Status.CLOSED:
                return
            due = await self._next_instant()
            if at is not None and due > at:
                await self.world.advance(self.case, at)
                return
            before = self._before.setdefault(due, row.events)
            await self.world.advance(self.case, due)
            if await self._happened(before):
                self._seen.add(due)
                fruitless = 0
                continue
            fruitless += 1
            assert fruitless < FRUITLESS, f"I6: nothing happens at {due}, {row.status.value}"
            await asyncio.sleep(NATURALLY)

    async def _next_instant(self) -> datetime:
        """The case's next deadline or call, by the books."""
        row = await self.world.row(self.case)
        assert row.due_at is not None, f"I6: {row.status.value} without a deadline"
        calls: list[datetime] = []
        if row.status is Status.AWAITING_APPROVAL:
            async with self.world.stack.books.reading() as reading:
                filled = {given.slot for given in await reading.approvals(self.case.id)}
            for slot in slots_of(await self.world.events(self.case)):
                if slot.id not in filled:
                    calls += [*slot.remind_at, *([slot.escalates_at] if slot.escalates_at else [])]
        return min((at for at in calls if at not in self._seen), default=row.due_at)

    async def _happened(self, before: int) -> bool:
        """Whether the case went on at its instant, at which it may stand for a moment."""
        await self._idle()
        return (await self.world.row(self.case)).events > before


_TURNS: dict[Does, Callable[[Life, Turn], Awaitable[None]]] = {
    Does.APPROVE: Life._approve,
    Does.JUDGE: Life._judge,
    Does.STALE: Life._stale,
    Does.CONTACT: Life._contact,
    Does.TRANSFER: Life._transfer,
    Does.DELEGATE: Life._delegate,
    Does.ASK_AGAIN: Life._ask_again,
    Does.REUSE: Life._reuse,
    Does.WAIT: Life._wait,
    Does.DISPUTE: Life._dispute,
    Does.INQUIRY: Life._inquire,
    Does.OUTSIDE: Life._outside,
    Does.BANK: Life._bank,
}


async def live_all(ground: Ground, seeds: Iterable[int]) -> list[Lived]:
    """Every seed, many at once; a life that fails is a fault of its own and ends nobody else's."""
    waiting = list(reversed(list(seeds)))
    ended: list[tuple[Life, Lived]] = []

    async def take() -> None:
        while waiting:
            life = Life(ground, course_of(waiting.pop()))
            ended.append((life, await life.lived()))

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(take())
    # what is left of the faults is not for the judge
    await ground.world.stack.http.delete(f"{ground.world.stack.sandbox_url}/_sandbox/faults")
    for life, lived in ended:
        if not lived.faults:
            lived.faults += await judged(ground.world, life, lived)
    return [lived for _, lived in ended]


# -- judging -----------------------------------------------------------------------------


async def judged(world: World, life: Life, lived: Lived) -> list[str]:
    """The invariants of one case at its end."""
    case, course = life.case, life.course
    found: list[str] = []

    def must(holds: bool, id: str, what: object) -> None:
        if not holds:
            found.append(f"{id}: {what}")

    async with world.stack.books.reading() as reading:
        row = await reading.case(case.id)
        events = await reading.events(case.id)
        transactions = await reading.ledger_transactions(case.id)
        refused = await reading.refused_attempts(case.id)
        known = await reading.request(life.fields["request_id"])
        exceptions = await reading.execute(
            select(t.cases.c.case_id).where(
                t.cases.c.charge == case.charge, t.cases.c.kind == CaseKind.EXCEPTION.value
            )
        )
    lived.effects = await effects_of(world, case)
    must(len(refused) == lived.told + lived.is_invalid, "I12", f"{lived.told} told, {refused}")
    must(not any(has_card_number(each.message) for each in refused), "I11", "a card number")
    if lived.is_invalid:
        must(row is None and known is None, "I10", "refused input left something behind")
        must(lived.effects == 0, "I2", "refused input moved money")
        return found
    if row is None:
        return [*found, "I6: decided, and not in the books"]
    must(row.status is Status.CLOSED and row.outcome is not None, "I6", row.status)
    must(known is not None and known.case_id == case.id, "I10", "the request is not registered")
    posts = sum(tx.kind.value == "post" for tx in transactions)
    must(lived.effects == posts == (row.outcome in GAVE), "I2",
         f"{row.outcome}: {lived.effects} at the provider, {posts} in the ledger")  # fmt: skip
    sums: Counter[str] = Counter()
    for tx in transactions:
        for entry in tx.entries:
            if entry.account.startswith(TRANSIENT_PREFIXES):
                sums[entry.account] += entry.amount.amount_minor
    must(not any(sums.values()), "I3", f"left on transient accounts: {dict(sums)}")
    for instant in instants_of(events, row.closed_at):
        late = min((abs((event.occurred_at - instant).total_seconds())
                    for event in events if event.occurred_at >= instant), default=None)  # fmt: skip
        must(late is not None and late <= LATEST_SECONDS, "I7", f"{instant}: {late} s late")
    expiry = min((slot.expires_at for slot in slots_of(events)), default=None)
    if row.outcome is Outcome.EXPIRED and row.closed_at is not None and expiry is not None:
        must(row.closed_at >= expiry, "I7", f"expired at {row.closed_at}, not {expiry}")
    found += await within_captured(world, case, course, is_known=bool(exceptions))
    return found


def instants_of(events: Sequence[StoredEvent], closed_at: datetime | None) -> list[datetime]:
    """When something of the case itself had to happen before it ended."""
    instants: list[datetime] = []
    for event in events:
        if event.kind is EventKind.ACCEPTED:
            looks = event.body["looks"] + event.body["trace_looks"]
            instants += [datetime.fromisoformat(text) for text in looks]
    return [at for at in instants if closed_at is not None and at < closed_at]


async def within_captured(world: World, case: Case, course: Course, *, is_known: bool) -> list[str]:
    """I1: beyond what was captured only by the provider's doing, and then finance knows
    (``is_known``: an exception on the charge is on record)."""
    facts = await world.stack.provider.charge(case.charge)
    ours = [refund for refund in facts.refunds if refund.case_id]
    credit = [] if ours else await world.stack.effects(case.id)
    given = sum(refund.amount.amount_minor for refund in facts.alive_refunds)
    given += sum(-int(each["params"]["amount"]) for each in credit)
    found = []
    if given > course.captured:
        found.append(f"I1: {given} given of {course.captured} captured")
    lost = sum(
        dispute.amount.amount_minor
        for dispute in facts.disputes
        if dispute.status is Chargeback.LOST
    )
    if course.news and lost and given and not is_known:
        found.append(f"I1: {given} given and {lost} lost, and no exception is on record")
    dead = [refund for refund in ours if refund.status in DEAD_REFUNDS]
    row = await world.row(case)
    if dead and row.outcome is not Outcome.FAILED_AT_BANK:
        found.append(f"I1: the refund is {dead[0].status}, the case {row.outcome}")
    return found


async def effects_of(world: World, case: Case) -> int:
    """By the key of its one order; the whole journal is counted at the end."""
    found = await world.stack.control(f"journal?effects=true&key={case.id}:send")
    return len(found["entries"])


async def judged_together(ground: Ground, lives: Sequence[Lived]) -> tuple[Tally, list[str]]:
    """What must hold of all books at once (the proof, the sums, the totals, nothing in the
    clear): both sides counted, and what is wrong."""
    world = ground.world
    report = await verify(world.stack.books)
    found = [str(finding) for finding in report.findings]
    async with httpx.AsyncClient(timeout=60) as http:
        counted = await tally(world.stack.books, http, world.stack.sandbox_url)
    found += counted.faults
    ended = Counter(lived.outcome for lived in lives if lived.outcome is not None)
    async with world.stack.books.reading() as reading:
        totals = [each for each in await reading.totals() if each.kind is CaseKind.REFUND]
    in_books: Counter[Outcome | None] = Counter()
    for each in totals:
        in_books[each.outcome] += each.cases
    if in_books != ended:
        found.append(f"I12: {dict(in_books)} in the books, {dict(ended)} lived")
    broken = (await world.stack.control("journal?status_from=500"))["entries"]
    found += [
        f"I1: the provider's own alarm: {entry['response']['error']['message']}"
        for entry in broken
        if ((entry["response"] or {}).get("error") or {}).get("code") == VIOLATION
    ]
    for name, content in (await world.stack.kept()).items():
        if SECRET.encode() in content:
            found.append(f"I11: {name} holds what a customer wrote")
    return counted, found
