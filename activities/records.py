"""Writing a case's account: events with their workflow, and ending a case in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from temporalio import activity

from activities.contract import ALARM_UNKNOWN, EXPIRE_CASE, RecordActivities
from domain.actors import ENGINE, Actor
from domain.canonical import plain
from domain.cases import CaseEvent, EventKind, Outcome
from domain.money import Money
from domain.refunds import ExpireInput
from ledger import postings
from ledger.books import Books
from ledger.projection import CaseRow
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
    """An event of an open case, with the policy it is pinned to and the workflow that wrote it."""
    info = activity.info()
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
        workflow_id=info.workflow_id or "",
        run_id=info.workflow_run_id or "",
    )


async def existing_case(books: Reading | BookTransaction, case_id: str) -> CaseRow:
    case = await books.case(case_id)
    if case is None:
        raise LookupError(f"{case_id} is not in the books")
    return case


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
) -> None:
    """End a case: the closing event and the customer's notice of it."""
    body = {
        "outcome": outcome,
        "reason_key": reason_key or case.reason_key,
        "rule": case.rule,
        "amount": None if case.amount_minor is None else amount_of(case),
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
) -> None:
    """End a case whose money never moved: undo the hold and give back what it reserved."""
    amount = amount_of(case)
    await tx.post(postings.void(case.case_id, VOID, amount, now))
    await tx.release_reservations(case.case_id, HOLD)
    await close(tx, case, outcome, now, actor=actor, reason_key=reason_key)


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


class Records(RecordActivities):
    """Events that no provider and no policy has a part in."""

    def __init__(self, books: Books) -> None:
        self._books = books

    @activity.defn(name=EXPIRE_CASE)
    async def expire_case(self, expired: ExpireInput) -> None:
        async with self._books.transaction() as tx:
            case = await existing_case(tx, expired.case_id)
            await tx.lock_charge(case.charge)
            case = await existing_case(tx, expired.case_id)
            if case.outcome is None:
                await void_and_close(
                    tx, case, Outcome.EXPIRED, expired.now, reason_key="approval_expired"
                )

    @activity.defn(name=ALARM_UNKNOWN)
    async def alarm_unknown(self, expired: ExpireInput) -> None:
        async with self._books.transaction() as tx:
            case = await existing_case(tx, expired.case_id)
            body = {"since": expired.now}
            unknown = case_event(case, "unknown", EventKind.OUTCOME_UNKNOWN, expired.now, body)
            if await tx.append_event(unknown):
                await notify(tx, case, "case.outcome_unknown", expired.now, body, to=FINANCE_NOTICE)
