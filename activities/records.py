"""Writing a case's account: events with their workflow, and ending a case in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from temporalio import activity

from activities.contract import (
    ALARM_UNKNOWN,
    EXPIRE_CASE,
    REMIND_APPROVERS,
    RecordActivities,
)
from domain.actors import ENGINE, Actor
from domain.approvals import ApprovalSlot
from domain.canonical import plain
from domain.cases import CaseEvent, EventKind, Outcome, Status
from domain.messages import RemindInput
from domain.money import Money
from domain.refunds import ExpireInput, UnknownInput
from ledger import postings
from ledger.books import Books
from ledger.projection import CaseRow, slots_of
from ledger.reading import Reading
from ledger.records import RefusedAttempt
from ledger.writing import BookTransaction

HOLD = "hold"
POST = "post"
VOID = "void"
REVERSAL = "reversal"

CUSTOMER_NOTICE = "customer"
FINANCE_NOTICE = "finance"
DESK_NOTICE = "desk"


def case_event(
    case: CaseRow, step: str, kind: EventKind, now: datetime, body: Mapping[str, Any],
    actor: Actor = ENGINE,
) -> CaseEvent:  # fmt: skip
    """An event of a case, with the policy it is pinned to and the workflow that wrote it, if
    one did."""
    info = activity.info() if activity.in_activity() else None
    return CaseEvent(
        case_id=case.case_id,
        step=step,
        kind=kind,
        occurred_at=now,
        actor=actor,
        body=plain(body),
        policy=case.policy,
        policy_version=case.policy_version,
        policy_hash=case.policy_hash,
        workflow_id=(info and info.workflow_id) or "",
        run_id=(info and info.workflow_run_id) or "",
    )


async def existing_case(books: Reading | BookTransaction, case_id: str) -> CaseRow:
    case = await books.case(case_id)
    if case is None:
        raise LookupError(f"{case_id} is not in the books")
    return case


async def locked_case(tx: BookTransaction, case_id: str) -> CaseRow:
    """The case as it is once nobody else can move or end it."""
    case = await existing_case(tx, case_id)
    await tx.lock_charge(case.charge)
    return await existing_case(tx, case_id)


def amount_of(case: CaseRow) -> Money:
    if case.amount_minor is None:
        raise ValueError(f"{case.case_id} has no amount yet")
    return Money(amount_minor=case.amount_minor, currency=case.currency)


async def close(
    tx: BookTransaction,
    case: CaseRow,
    outcome: Outcome,
    now: datetime,
    *,
    actor: Actor = ENGINE,
    reason_key: str = "",
    ending: Mapping[str, Any] | None = None,
) -> None:
    """End a case: the closing event and the customer's notice of it.

    ``ending`` says how the customer may come back to it.
    """
    body = {
        "outcome": outcome,
        "reason_key": reason_key or case.reason_key,
        "rule": case.rule,
        "amount": None if case.amount_minor is None else amount_of(case),
        **(ending or {}),
    }
    await tx.append_event(case_event(case, "close", EventKind.CLOSED, now, body, actor))
    await notify(tx, case, f"case.closed.{outcome.value}", now, body)


async def void_and_close(
    tx: BookTransaction,
    case: CaseRow,
    outcome: Outcome,
    now: datetime,
    *,
    actor: Actor = ENGINE,
    reason_key: str = "",
    ending: Mapping[str, Any] | None = None,
) -> None:
    """End a case whose money never moved: undo the hold and give back what it reserved."""
    amount = amount_of(case)
    await tx.post(postings.void(case.case_id, VOID, amount, now))
    await tx.release_reservations(case.case_id, HOLD)
    await close(tx, case, outcome, now, actor=actor, reason_key=reason_key, ending=ending)


async def record_refusal(tx: BookTransaction, attempt: RefusedAttempt) -> None:
    """Put a refused attempt on record; a retried activity finds it there already.

    ``attempt.at`` is the case's instant, which a retry repeats.
    """
    if attempt not in await tx.reading.refused_attempts(attempt.case_id):
        await tx.record_refused_attempt(attempt)


async def notify(
    tx: BookTransaction,
    case: CaseRow,
    topic: str,
    now: datetime,
    body: Mapping[str, Any],
    *,
    to: str = CUSTOMER_NOTICE,
    ordinal: int = 0,
) -> None:
    """Put a notice into the outbox, in the transaction of the event that it tells of."""
    await tx.enqueue(
        case_id=case.case_id,
        topic=topic,
        key=f"{case.case_id}:{topic}:{to}:{ordinal}",
        body=plain({"to": to, "language": case.language, "customer": case.customer, **body}),
        at=now,
    )


async def open_slots(reading: Reading, case: CaseRow) -> dict[str, ApprovalSlot]:
    """The slots that a waiting case still needs filled, by id; none of another case."""
    if case.status is not Status.AWAITING_APPROVAL:
        return {}
    filled = {row.slot for row in await reading.approvals(case.case_id)}
    slots = slots_of(await reading.events(case.case_id))
    return {slot.id: slot for slot in slots if slot.id not in filled}


class Records(RecordActivities):
    """Events that no provider and no policy has a part in."""

    def __init__(self, books: Books) -> None:
        self._books = books

    @activity.defn(name=EXPIRE_CASE)
    async def expire_case(self, expired: ExpireInput) -> None:
        async with self._books.transaction() as tx:
            case = await locked_case(tx, expired.case_id)
            if case.outcome is None:
                await void_and_close(
                    tx, case, Outcome.EXPIRED, expired.now, reason_key="approval_expired"
                )

    @activity.defn(name=ALARM_UNKNOWN)
    async def alarm_unknown(self, unknown: UnknownInput) -> None:
        async with self._books.transaction() as tx:
            case = await locked_case(tx, unknown.case_id)
            if case.status is not Status.SENDING:  # it is known, only its word came too late
                return
            body = {"since": unknown.now, "why": unknown.why}
            event = case_event(case, "unknown", EventKind.OUTCOME_UNKNOWN, unknown.now, body)
            if await tx.append_event(event):
                await notify(tx, case, "case.outcome_unknown", unknown.now, body, to=FINANCE_NOTICE)

    @activity.defn(name=REMIND_APPROVERS)
    async def remind_approvers(self, remind: RemindInput) -> None:
        async with self._books.transaction() as tx:
            case = await locked_case(tx, remind.case_id)
            slots = await open_slots(tx.reading, case)
            waiting = [slots[name] for name in remind.reminded if name in slots]
            if waiting:
                body = {
                    "slots": [{"id": s.id, "roles": s.roles_at(remind.now)} for s in waiting],
                    "expires_at": min(slot.expires_at for slot in waiting),
                }
                event = f"remind:{remind.ordinal}", EventKind.REMINDED, "case.reminded"
                await _tell_desk(tx, case, remind, *event, body)
            for slot in (slots[name] for name in remind.escalated if name in slots):
                body = {"slot": slot.id, "to": slot.escalates_to, "expires_at": slot.expires_at}
                event = f"escalate:{slot.id}", EventKind.ESCALATED, f"case.escalated.{slot.id}"
                await _tell_desk(tx, case, remind, *event, body)


async def _tell_desk(
    tx: BookTransaction,
    case: CaseRow,
    remind: RemindInput,
    step: str,
    kind: EventKind,
    topic: str,
    body: Mapping[str, Any],
) -> None:
    if await tx.append_event(case_event(case, step, kind, remind.now, body)):
        told = {"desk": case.desk, **body}
        await notify(
            tx, case, topic, remind.now, told, to=DESK_NOTICE, ordinal=remind.ordinal
        )  # fmt: skip
