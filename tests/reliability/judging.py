"""What must hold of a life at its end: of each case, of their chain, of all books at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import select

from audit.verify import verify
from domain.approvals import DeskAction, RefusalCode
from domain.cards import has_card_number
from domain.cases import CaseEvent, CaseKind, EventKind, Outcome, Status, case_id_for
from domain.evidence import Information
from domain.linked import ALTERNATIVE_STEP
from domain.money import Money
from domain.provider import DEAD_REFUNDS, Chargeback, ChargeFacts
from domain.refunds import Authority
from ledger import tables as t
from ledger.evidence import inquiry_of
from ledger.postings import TRANSIENT_PREFIXES
from ledger.projection import CaseRow, slots_of
from ledger.records import StoredEvent
from simulation.checks import LATEST_SECONDS, VIOLATION
from tests.reliability.effects import GAVE, Tally, tally
from tests.reliability.lives import SECRET, Ground, Lived, Met
from tests.workflows.world import Case, World

LATEST = timedelta(seconds=LATEST_SECONDS)


async def judged(world: World, lived: Lived) -> None:
    """Write down beside a life what broke in it, and what it met."""
    judge = _Judge(world, lived)
    await judge.requests()
    rows = [await judge.case(case) for case in lived.cases]
    if lived.cases:
        await judge.chain({row.case_id: row for row in rows if row is not None})


class _Judge:
    def __init__(self, world: World, lived: Lived) -> None:
        self.world, self.lived = world, lived

    def must(self, holds: bool, id: str, what: object) -> None:
        if not holds:
            self.lived.faults.append(f"{id}: {what}")

    async def requests(self) -> None:
        """Every refusal that was heard is on record, and refused input leaves nothing else."""
        dead = {case_id_for(CaseKind.REFUND, each): each for each in self.lived.invalid}
        ids = {*dead, *(case.id for case in self.lived.cases)}
        async with self.world.stack.books.reading() as reading:
            refused = [each for id in ids for each in await reading.refused_attempts(id)]
            left = [
                request_id
                for case_id, request_id in dead.items()
                if await reading.case(case_id) is None and await reading.request(request_id)
            ]
        told = self.lived.told + self.lived.invalid.total()
        self.must(len(refused) == told, "I12", f"{told} refusals were heard, {refused}")
        self.must(not any(has_card_number(x.message) for x in refused), "I11", "a card number")
        self.must(not left, "I10", f"refused input left {left} behind")
        for case_id in dead.keys() - {case.id for case in self.lived.cases}:
            self.must(
                not await self._orders(case_id), "I2", f"refused input moved money: {case_id}"
            )
        late = (DeskAction.EVIDENCE.value, RefusalCode.CLOSED.value)
        self.lived.met[Met.LATE_EVIDENCE] += sum((x.action, x.code) == late for x in refused)

    async def case(self, case: Case) -> CaseRow | None:
        """The invariants of one case."""
        async with self.world.stack.books.reading() as reading:
            row = await reading.case(case.id)
            events = await reading.events(case.id)
            transactions = await reading.ledger_transactions(case.id)
            known = await reading.request(row.request_id) if row else None
            notices = {notice.topic for notice in await reading.outbox_of_case(case.id)}
        if row is None:
            self.must(False, "I6", f"{case.id}: decided, and not in the books")
            return None
        self.must(row.status is Status.CLOSED and row.outcome is not None, "I6", row.status)
        self.must(known is not None and known.case_id == case.id, "I10", "not registered")
        orders = len(await self._orders(case.id))
        posts = sum(tx.kind.value == "post" for tx in transactions)
        self.must(orders == posts == (row.outcome in GAVE), "I2",
                  f"{row.outcome}: {orders} at the provider, {posts} in the ledger")  # fmt: skip
        sums: Counter[str] = Counter()
        for tx in transactions:
            for entry in tx.entries:
                if entry.account.startswith(TRANSIENT_PREFIXES):
                    sums[entry.account] += entry.amount.amount_minor
        self.must(not any(sums.values()), "I3", f"left on transient accounts: {dict(sums)}")
        self._judge_instants(row, events)
        self._judge_questions(events)
        owes = any(e.kind is EventKind.CLOSED and e.body.get("goes_on") for e in events)
        is_paid = any(e.step == ALTERNATIVE_STEP for e in events)
        is_known = "case.alternative_refused" in notices
        self.must(not owes or is_paid or is_known, "I6", f"{case.id} owes, and nobody knows")
        self.lived.effects += orders
        if row.outcome is not None:
            self.lived.outcomes.append(row.outcome)
        return row

    def _judge_instants(self, row: CaseRow, events: Sequence[StoredEvent]) -> None:
        for instant in instants_of(events, row.closed_at):
            late = min((event.occurred_at - instant for event in events
                        if event.occurred_at >= instant), default=None)  # fmt: skip
            self.must(late is not None and late <= LATEST, "I7", f"{instant}: {late} late")
        expiry = min((slot.expires_at for slot in slots_of(events)), default=None)
        if row.outcome is Outcome.EXPIRED and row.closed_at is not None and expiry is not None:
            self.must(row.closed_at >= expiry, "I7", f"expired at {row.closed_at}, not {expiry}")

    def _judge_questions(self, events: Sequence[StoredEvent]) -> None:
        for number, event in enumerate(events):
            asked = inquiry_of(events[:number])
            if event.kind is not EventKind.DECIDED or asked.until is None:
                continue
            is_silent = asked.information is Information.SILENT
            self.lived.met[Met.SILENCE if is_silent else Met.ANSWER] += 1
            is_early = is_silent and event.occurred_at < asked.until
            self.must(not is_early, "I7", f"taken for silent before {asked.until}")
            is_late = event.occurred_at > asked.until + LATEST
            self.must(not is_late, "I7", f"asked until {asked.until}, then {event.occurred_at}")

    # -- a chain -----------------------------------------------------------------------

    async def chain(self, rows: dict[str, CaseRow]) -> None:
        """The invariants of a first case with all by which it goes on, and of their charge."""
        for row in rows.values():
            await self._judge_link(row, rows)
        charge = await self.world.stack.provider.charge(self.lived.cases[0].charge)
        credited = [
            -int(entry["params"]["amount"])
            for row in rows.values()
            if row.outcome is Outcome.CREDITED
            for entry in await self._orders(row.case_id)
        ]
        ours = [refund for refund in charge.alive_refunds if refund.case_id in rows]
        standing = [*(refund.amount.amount_minor for refund in ours), *credited]
        self.must(len(standing) <= 1, "I2", f"given more than once along the chain: {standing}")
        async with self.world.stack.books.reading() as reading:
            found = await reading.execute(
                select(t.cases.c.request_id).where(
                    t.cases.c.charge == charge.id, t.cases.c.kind == CaseKind.EXCEPTION.value
                )
            )
        self._judge_charge(charge, sum(credited), rows, {each.request_id for each in found})

    async def _judge_link(self, row: CaseRow, rows: dict[str, CaseRow]) -> None:
        first_id = row.goes_on_from
        is_first = row.case_id == self.lived.cases[0].id
        self.must(is_first is (first_id is None), "I13", f"{row.case_id} goes on from {first_id}")
        if first_id is None:
            return
        if first_id not in rows:
            self.must(False, "I13", f"{row.case_id} goes on from {first_id}, which nobody lived")
            return
        first = rows[first_id]
        async with self.world.stack.books.reading() as reading:
            opened = await reading.event(row.case_id, "open")
            closing = await reading.event(first_id, "close")
            granted = await reading.decision(first_id)
        assert opened is not None
        assert closing is not None
        assert granted is not None
        came_back = first.outcome is Outcome.FAILED_AT_BANK
        named = opened.body["authorised_by"]
        expected = granted.authority(row.charge) if came_back and row.alternative_to else None
        authority = named and Authority.model_validate(named, strict=False)
        self.must(authority == expected, "I4", f"{row.case_id} carries out {named}")
        if expected is not None and row.amount_minor is not None:
            paid = Money(amount_minor=row.amount_minor, currency=row.currency)
            self.must(not expected.amount < paid, "I4", f"{paid} of {expected.amount} granted")
        by_itself = bool(closing.body.get("goes_on"))
        later = Met.FALLBACK if by_itself else Met.ACCEPTANCE
        self.lived.met[Met.APPEAL if row.appeal_of else later] += 1

    def _judge_charge(
        self, charge: ChargeFacts, credited: int, rows: dict[str, CaseRow], known: set[str]
    ) -> None:
        """I1: beyond what was captured only by the provider's doing, and then finance knows
        (``known``: the exceptions on record, by what they are about)."""
        refunded = sum(refund.amount.amount_minor for refund in charge.alive_refunds)
        given, captured = refunded + credited, charge.captured.amount_minor
        self.must(given <= captured, "I1", f"{given} given of {captured} captured")
        lost = {each.id for each in charge.disputes if each.status is Chargeback.LOST}
        taken = {each.id for each in charge.disputes if each.status is Chargeback.OPEN} | lost
        if self.lived.course.news and given:
            self.must(lost <= known, "I1", f"{given} given and {lost} lost, and no exception")
            opened = {f"{each}:opened" for each in taken}
            self.must(opened <= known, "I1", f"{given} given before {taken}, and no exception")
        for refund in charge.refunds:
            if refund.status in DEAD_REFUNDS and refund.case_id in rows:
                outcome = rows[refund.case_id].outcome
                is_known = outcome is Outcome.FAILED_AT_BANK or f"{refund.id}:failed" in known
                self.must(is_known, "I1", f"the refund is {refund.status}, the case {outcome}")

    async def _orders(self, case_id: str) -> list[dict[str, Any]]:
        """By the key of its one order; the whole journal is counted at the end."""
        found = await self.world.stack.control(f"journal?effects=true&key={case_id}:send")
        entries: list[dict[str, Any]] = found["entries"]
        return entries


def instants_of(events: Sequence[CaseEvent], closed_at: datetime | None) -> list[datetime]:
    """When something of the case itself had to happen before it ended."""
    instants: list[datetime] = []
    for event in events:
        if event.kind is EventKind.ACCEPTED:
            looks = event.body["looks"] + event.body["trace_looks"]
            instants += [datetime.fromisoformat(text) for text in looks]
    return [at for at in instants if closed_at is not None and at < closed_at]


async def judged_together(ground: Ground, lives: Sequence[Lived]) -> tuple[Tally, list[str]]:
    """What must hold of all books at once (the proof, the sums, the totals, nothing in the
    clear): both sides counted, and what is wrong."""
    world = ground.world
    report = await verify(world.stack.books, evidence=world.stack.settings.evidence_dir)
    found = [str(finding) for finding in report.findings]
    async with httpx.AsyncClient(timeout=60) as http:
        counted = await tally(world.stack.books, http, world.stack.sandbox_url)
    found += counted.faults
    ended = Counter(outcome for lived in lives for outcome in lived.outcomes)
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
