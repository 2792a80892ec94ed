"""One course, lived on real servers: its first case, and every case by which that goes on."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import select

from client import CaseHandle
from domain.actors import Actor, Role
from domain.approvals import Answer
from domain.cases import CaseKind, Outcome, Status, case_id_for
from domain.decisions import RefundMethod
from domain.errors import InvalidRequest, Refused
from domain.provider import DEAD_REFUNDS
from ledger import tables as t
from ledger.projection import slots_of
from ledger.records import OUTSIDE
from tests.reliability.case_time import CaseTime
from tests.reliability.courses import GENEROUS, NEWS, OF_ANYBODY, SAID_BEFORE, Course, Does, Turn
from tests.reliability.faulty_books import FaultyBooks
from tests.workflows.builders import FINANCE, LEAD, PICTURE, SERVICE, a_charge, a_request
from tests.workflows.world import BY_HAND, Case, World
from web.store import Inbox
from web.webhooks import RECEIVED, Postman

LIFE_SECONDS = 180
SECRET = "the words of a customer"
"""What each customer wrote; it is nowhere to be found afterwards (I11)."""

FILES = {"receipt.png": PICTURE, "letter.txt": SECRET.encode()}


@dataclass(frozen=True)
class Ground:
    """What all seeds of a run share."""

    world: World
    books: FaultyBooks
    inbox: Inbox
    postman: Postman


class Met(StrEnum):
    """What a life may meet beyond one case that is decided at once; by the books."""

    APPEAL = "appeal"
    ACCEPTANCE = "acceptance"
    FALLBACK = "fallback"
    ANSWER = "answer"
    SILENCE = "silence"
    LATE_EVIDENCE = "evidence after the end"


@dataclass
class Lived:
    """What became of one course. ``cases`` are those that began, in their order; ``told`` counts
    refusals that callers heard of, ``invalid`` by request id those that were refused as input. The
    judge adds ``outcomes``, ``effects`` at the provider, and what was ``met``."""

    course: Course
    cases: list[Case] = field(default_factory=list)
    told: int = 0
    invalid: Counter[str] = field(default_factory=Counter)
    outcomes: list[Outcome] = field(default_factory=list)
    effects: int = 0
    met: Counter[Met] = field(default_factory=Counter)
    seconds: float = 0
    faults: list[str] = field(default_factory=list)


class Life:
    def __init__(self, ground: Ground, course: Course) -> None:
        self.ground, self.course, self.world = ground, course, ground.world
        self.lived = Lived(course)
        self._doing = "opening"
        self._number = 0
        self._cursed: set[str] = set()
        self._outside_refunds: list[str] = []

    async def live(self) -> Lived:
        """The course to its end; an error on the way is a fault, and ends nobody else's life."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(LIFE_SECONDS):
                await self._live()
        except Exception as error:
            why = f"{type(error).__name__}: {error} (at {self._doing})"
            self.lived.faults.append(why)
        self.lived.seconds = time.monotonic() - began
        return self.lived

    async def _live(self) -> None:
        await self._open()
        for case in self.lived.cases:  # those that follow are appended meanwhile
            is_first = case is self.lived.cases[0]
            await self._live_through(case, self.course.turns if is_first else self.course.again)
        await self._tell_what_went_unheard()

    async def _open(self) -> None:
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
        self.customer, self.charge = charge["customer"], charge["charge"]
        request_id = self.fields["request_id"]
        self.first_id = await self._expect(request_id)
        path = f"/v1/charges/{self.charge}"
        for fault in course.read_faults:
            await world.stack.control("faults", {"method": "GET", "path": path, **fault})
        await self._begin(await world.client.open_refund(self.fields), request_id)

    async def _expect(self, request_id: str) -> str:
        """Faults of database and provider for the case of a request, before it begins."""
        case_id = case_id_for(CaseKind.REFUND, request_id)
        if case_id not in self._cursed:
            self.ground.books.curse(case_id, f"{self.course.seed}:database:{len(self._cursed)}")
            self._cursed.add(case_id)
            for fault in self.course.order_faults:
                await self.world.fault(self._as_case(case_id), **fault)
        return case_id

    def _as_case(self, case_id: str) -> Case:
        return Case(self.world.client.case(case_id), self.customer, self.charge)

    async def _begin(self, handle: CaseHandle, request_id: str) -> None:
        """Live through this case too, once it is decided."""
        try:
            await handle.decided(timedelta(seconds=LIFE_SECONDS))
        except InvalidRequest:
            self.lived.invalid[request_id] += 1
        else:
            if handle.case_id not in {case.id for case in self.lived.cases}:
                self.lived.cases.append(self._as_case(handle.case_id))

    async def _live_through(self, case: Case, turns: Sequence[Turn]) -> None:
        self.case, self.time = case, await CaseTime.of(self.world, case)
        self._has_ended = False
        if self.course.policy == GENEROUS:
            for request in ("appeal", "alternative"):
                await self._expect(f"{case.id}:{request}")
        await self.time.idle()
        for turn in turns:
            await self._take(turn)
        self._doing = "its end"
        await self.time.live_to_the_end()
        for turn in self.course.ends:
            await self._take(turn)
        await self._is_closed()
        # ended is ended
        await self._say(case.handle.approve(self._person(SERVICE), click_id=self._click()))

    async def _is_closed(self) -> bool:
        """Whether the case has ended; the case by which it goes on of itself has begun then."""
        if (await self.world.row(self.case)).status is not Status.CLOSED:
            return False
        if not self._has_ended:
            self._has_ended = True
            assert not await self.time.idle(), "I6: closed in the books, and its workflow waits"
            async with self.world.stack.books.reading() as reading:
                closing = await reading.event(self.case.id, "close")
            if closing is not None and closing.body.get("goes_on"):
                request_id = f"{self.case.id}:alternative"
                next_id = case_id_for(CaseKind.REFUND, request_id)
                await self._begin(self.world.client.case(next_id), request_id)
        return True

    # -- turns -----------------------------------------------------------------------

    async def _take(self, turn: Turn) -> None:
        if await self._is_closed() and turn.does not in OF_ANYBODY:
            return
        self._doing = turn.does.name
        await _TURNS[turn.does](self, turn)
        await self.time.idle()

    async def _approve(self, turn: Turn) -> None:
        await self._say(self.case.handle.approve(self._person(turn.by), click_id=self._click()))

    async def _approve_together(self, turn: Turn) -> None:
        """Everybody who is asked presses at the same moment."""
        slots = slots_of(await self.world.events(self.case))
        pressed = [
            self.case.handle.approve(self._person(by), slot=slot.id, click_id=self._click())
            for slot, by in zip(slots, (LEAD, FINANCE), strict=False)
        ]
        await asyncio.gather(*map(self._say, pressed))

    async def _judge(self, turn: Turn) -> None:
        by, click = self._person(turn.by), self._click()
        await self._say(self.case.handle.judge(turn.action, by, click_id=click))

    async def _stale(self, turn: Turn) -> None:
        by, click = self._person(turn.by), self._click()
        await self._say(self.case.handle.approve(by, digest="0" * 64, click_id=click))

    async def _contact(self, turn: Turn) -> None:
        by, click = self._person(turn.by), self._click()
        await self._say(self.case.handle.contact(by, turn.channel, SECRET, click_id=click))

    async def _transfer(self, turn: Turn) -> None:
        by, click = self._person(turn.by), self._click()
        await self._say(self.case.handle.transfer(by, turn.desk, click_id=click))

    async def _delegate(self, turn: Turn) -> None:
        by, to = self._person(turn.by), self._person(turn.to)
        await self._say(self.case.handle.delegate(by, to, click_id=self._click()))

    async def _give(self, turn: Turn) -> None:
        by, click, file = self._person(turn.by), self._click(), FILES.get(turn.word)
        item = {"text": f"{SECRET}: {turn.word}"} if file is None else {"name": turn.word}
        await self._say(self.case.handle.evidence(by, file=file, click_id=click, **item))

    async def _appeal(self, turn: Turn) -> None:
        text = {NEWS: f"{SECRET} and more", SAID_BEFORE: self.fields["text"]}.get(turn.word, "")
        by, click = self._person(turn.by), self._click()
        await self._go_on(self.case.handle.appeal(by, text, click_id=click), "appeal")

    async def _accept(self, turn: Turn) -> None:
        by, click = self._person(turn.by), self._click()
        way = RefundMethod(turn.word)
        await self._go_on(self.case.handle.accept(by, way, click_id=click), "alternative")

    async def _go_on(self, opening: Awaitable[CaseHandle], request: str) -> None:
        try:
            handle = await opening
        except Refused:
            self.lived.told += 1
        else:
            await self._begin(handle, f"{self.case.id}:{request}")

    async def _ask_again(self, turn: Turn) -> None:
        again = await self.world.client.open_refund(self.fields)
        assert again.case_id == self.first_id, "I10: the same request is another case"

    async def _reuse(self, turn: Turn) -> None:
        other = {**self.fields, "language": "ko"}
        try:
            await self.world.client.open_refund(other)
        except Refused:
            self.lived.told += 1
        else:
            raise AssertionError("I10: a request id was taken for another body")

    async def _wait(self, turn: Turn) -> None:
        await self.time.live_for(turn.hours)

    async def _dispute(self, turn: Turn) -> None:
        dispute = await self._provider(f"charges/{self.charge}/dispute", {})
        for status in ("under_review", turn.word) if turn.word else ():
            await self._provider(f"disputes/{dispute.get('id')}", {"status": status})
        await self._tell("charge.dispute.created", self.charge)

    async def _inquire(self, turn: Turn) -> None:
        asked = {"status": "warning_needs_response"}
        dispute = await self._provider(f"charges/{self.charge}/dispute", asked)
        if turn.word:
            await self._provider(f"disputes/{dispute.get('id')}", {"status": turn.word})
        await self._tell("charge.dispute.created", self.charge)

    async def _outside(self, turn: Turn) -> None:
        answer = await self.world.stack.http.post(
            f"{self.world.stack.sandbox_url}/v1/refunds",
            data={"charge": self.charge, "amount": str(turn.amount)},
            headers=BY_HAND,
        )
        if answer.status_code == 200:
            self._outside_refunds.append(str(answer.json()["id"]))
            await self._tell("refund.created", self._outside_refunds[-1], state=OUTSIDE, at_least=1)

    async def _tell_what_went_unheard(self) -> None:
        """Refunds by hand that failed, those of a case that had ended when the bank sent them back,
        and chargebacks that were lost because nobody answered in time."""
        refunds: list[tuple[str, ...]] = [(id,) for id in self._outside_refunds]
        for case in self.lived.cases:
            row = await self.world.row(case)
            if row.provider_id.startswith("re_") and row.outcome is not Outcome.FAILED_AT_BANK:
                refunds.append((case.id, self.charge, row.provider_id))
        for about in refunds:
            if (await self._as_it_is(f"refunds/{about[-1]}"))["status"] in DEAD_REFUNDS:
                await self._tell("refund.failed", *about, state=OUTSIDE, at_least=1)
        disputes = await self._as_it_is(f"disputes?charge={self.charge}")
        if any(dispute["status"] == "lost" for dispute in disputes["data"]):
            await self._tell("charge.dispute.closed", self.charge)

    async def _as_it_is(self, path: str) -> dict[str, Any]:
        """An object at the provider, past the faults of the course."""
        found = await self.world.stack.http.get(
            f"{self.world.stack.sandbox_url}/v1/{path}", headers=BY_HAND
        )
        answer: dict[str, Any] = found.raise_for_status().json()
        return answer

    async def _bank(self, turn: Turn) -> None:
        row = await self.world.row(self.case)
        if not row.provider_id.startswith("re_"):
            return
        word = {"status": "failed"} if turn.word == "failed" else {"reference": "7" + "0" * 22}
        await self._provider(f"refunds/{row.provider_id}", word)
        await self._tell("refund.updated", self.case.id, self.charge, row.provider_id)

    async def _provider(self, path: str, body: dict[str, str]) -> dict[str, str]:
        """What the bank does; what it may not do in this state, it does not."""
        url = f"{self.world.stack.sandbox_url}/_sandbox/{path}"
        answer = await self.world.stack.http.post(url, json=body)
        assert answer.status_code in (200, 400, 409), answer.text
        found: dict[str, str] = answer.json()
        return found

    async def _tell(self, type: str, *about: str, state: str = RECEIVED, at_least: int = 0) -> None:
        """The provider's webhook, as often as the course has it, and what it leads to."""
        told: list[str] = []
        for _ in range(max(self.course.news, at_least)):
            id = f"evt_{self.first_id}_{self._next()}"
            await self.ground.inbox.take(id, type, about, datetime.now(UTC), state)
            self.ground.postman.wake()
            told.append(id)
        async with asyncio.timeout(LIFE_SECONDS):
            while await self._wait_in_inbox(told):  # noqa: ASYNC110 (rows, not an event)
                await asyncio.sleep(0.1)
        await self.time.idle()

    async def _wait_in_inbox(self, events: Sequence[str]) -> bool:
        i = t.inbox.c
        waiting = select(i.event_id).where(i.event_id.in_(events), i.state.in_([RECEIVED, OUTSIDE]))
        async with self.world.stack.books.reading() as reading:
            return bool(events and await reading.execute(waiting))

    def _person(self, who: Actor) -> Actor:
        """Their day's limits are this seed's alone."""
        if who.role is Role.SERVICE:
            return who
        return who.model_copy(update={"id": f"{who.id}-{self.customer}"})

    def _click(self) -> str:
        return f"click-{self.customer}-{self._next()}"

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _say(self, saying: Awaitable[Answer]) -> None:
        try:
            await saying
        except Refused:
            self.lived.told += 1


_TURNS: dict[Does, Callable[[Life, Turn], Awaitable[None]]] = {
    Does.APPROVE: Life._approve,
    Does.APPROVE_TOGETHER: Life._approve_together,
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
    Does.EVIDENCE: Life._give,
    Does.APPEAL: Life._appeal,
    Does.ACCEPT: Life._accept,
}
