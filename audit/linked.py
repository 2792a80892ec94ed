"""Cases that go on from others: does the first one name them, and were they let?"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from audit.case_files import CaseFile
from audit.findings import Findings
from domain.approvals import Verdict
from domain.cases import EventKind, is_exception
from domain.decisions import RefundVerdict
from domain.linked import ALTERNATIVE_REFUSED, ALTERNATIVE_STEP, APPEAL_STEP, alternative_id
from domain.money import Money, total
from domain.refunds import Authority
from ledger.linked import way_taken, went_before
from ledger.reading import Reading
from ledger.records import ReservationScope, ReservationState

A_DAY = timedelta(days=1)
"""After so long what was owed at an end is overdue."""


_LETS_GO = frozenset({EventKind.DECIDED, EventKind.APPROVAL_RECORDED})
"""The last of them has the money go."""


async def check_linked(
    reading: Reading, file: CaseFile, found: Findings, now: datetime | None
) -> None:
    """I13: the case that an appeal or an alternative names, names it in turn, and has ended. I4:
    money that moved on another case's decision moved on exactly that one, of the same charge and
    customer, with its approvals; of what was granted once, no more moved than that; and a claim is
    given one way only. I5: nobody who said no, or asked, decided what follows. I6: what a case owes
    at its end is paid by another, by ``now``, or finance was told why it cannot be.
    """
    if not file.is_legible or not file.events or file.events[0].kind is not EventKind.OPENED:
        return
    body = file.events[0].body
    for field, step in (("appeal_of", APPEAL_STEP), ("alternative_to", ALTERNATIVE_STEP)):
        first = body.get(field)
        if first is None:
            continue
        link = await reading.event(first, step)
        if link is None or link.body["case_id"] != file.case_id:
            _add(found, "I13", file, f"it goes on from {first}, which does not name it")
        elif await reading.event(first, "close") is None:
            _add(found, "I13", file, f"it goes on from {first}, which has not ended")
        await _check_judges(reading, file, first, found, with_verdicts=field == "appeal_of")
    if body.get("appeal_of") or body.get("alternative_to") or body.get("authorised_by"):
        await _check_one_way(reading, file, found)
    if not body.get("authorised_by"):
        await _check_drawn(reading, file, found)
    await _check_owing(reading, file, found, now)
    if body.get("authorised_by") and file.of_kind(EventKind.ACCEPTED):
        await _check_authority(reading, file, body["authorised_by"], found)


async def _check_judges(
    reading: Reading, file: CaseFile, first: str, found: Findings, *, with_verdicts: bool
) -> None:
    before = {row.actor.id for row in await reading.approvals(first)} if with_verdicts else set()
    opened = await reading.event(first, "open")
    asked = {str(opened.body["requested_by"]["id"])} if opened else set()
    for row in file.approvals:
        if row.actor.id in before:
            _add(found, "I5", file, f"{row.actor.id} judged {first} and its appeal")
        elif row.actor.id in asked:
            _add(found, "I5", file, f"{row.actor.id} asked in {first} and judged what follows")


async def _check_drawn(reading: Reading, file: CaseFile, found: Findings) -> None:
    """Own movements and those of the cases that carry this decision out, within what it granted."""
    granted = [
        Money.model_validate(e.body["amount"])
        for e in file.of_kind(EventKind.DECIDED)
        if e.body["verdict"] == RefundVerdict.APPROVE
    ]
    if not granted:
        return
    currency = granted[-1].currency
    drawn = await reading.reservations(ReservationScope.AUTHORITY, file.case_id, currency)
    own = [
        each.amount
        for each in file.reservations
        if each.scope is ReservationScope.CHARGE and each.state is not ReservationState.RELEASED
    ]
    ours = [each.amount for each in drawn if not is_exception(each.case_id)]
    moved = total([*ours, *own], currency)
    if ours and granted[-1] < moved:
        _add(found, "I4", file, f"{moved} moved, or is held, on {granted[-1]} that it granted")


async def _check_one_way(reading: Reading, file: CaseFile, found: Findings) -> None:
    if not file.of_kind(EventKind.ACCEPTED) or file.of_kind(EventKind.FAILED):
        return
    # what others gave when it was on its way already was theirs to leave
    let_go = [e for e in file.events if e.kind in _LETS_GO]
    before = let_go[-1].seq if let_go else None
    other = await way_taken(reading, file.case_id, before=before)
    other = other or await went_before(reading, file.case_id, before=before)
    if other is not None:
        _add(found, "I4", file, f"it moved money, and so did {other}, or may yet, for the same")


async def _check_owing(
    reading: Reading, file: CaseFile, found: Findings, now: datetime | None
) -> None:
    closing = file.of_kind(EventKind.CLOSED)
    is_owing = bool(closing) and closing[-1].body.get("goes_on")
    is_late = bool(closing) and now is not None and closing[-1].occurred_at + A_DAY < now
    if not is_owing or not is_late or ALTERNATIVE_STEP in {e.step for e in file.events}:
        return
    outbox = await reading.outbox_of_case(file.case_id)
    told = {row.body["case"] for row in outbox if row.topic == ALTERNATIVE_REFUSED}
    if alternative_id(file.case_id) not in told:
        sentence = "it ended with money to be paid another way, and no case pays it: `reopen` does"
        _add(found, "I6", file, sentence)


async def _check_authority(
    reading: Reading, file: CaseFile, said: dict[str, Any], found: Findings
) -> None:
    authority = Authority.model_validate(said, strict=False)
    stored = await reading.decision(authority.case_id)
    if stored is None or stored.hash != authority.decision_hash:
        _add(found, "I4", file, f"money moved on a decision that {authority.case_id} did not make")
        return
    made = stored.outcome["made"]
    said_yes = {
        row.slot
        for row in await reading.approvals(authority.case_id)
        if row.verdict is Verdict.APPROVE and row.digest == authority.approval_digest
    }
    if made["digest"] != authority.approval_digest or {s["id"] for s in made["slots"]} - said_yes:
        _add(found, "I4", file, f"money moved on what was not approved in {authority.case_id}")
    case, mine = await reading.case(authority.case_id), file.events[0].body
    of = None if case is None else (case.customer, case.charge, case.charge)
    granted = Money.model_validate(made["amount"])
    if of != (mine["customer"], mine["charge"], authority.charge) or granted != authority.amount:
        _add(found, "I4", file, f"money moved on what {authority.case_id} decided of another thing")


def _add(found: Findings, invariant: str, file: CaseFile, sentence: str) -> None:
    event = file.events[0]
    where = f"{event.case_id}:{event.step}"
    found.add(invariant, "case_events", where, sentence, seq=event.seq or None)
