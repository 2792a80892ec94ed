"""What the books hold of a decision already: a repeated attempt, or a workflow that starts in
mid-case, is answered from here and decides nothing anew."""

from __future__ import annotations

from activities.records import existing_case
from domain.approvals import Action, Verdict
from domain.cases import CaseEvent, EventKind, Outcome, Status
from domain.refunds import DecideInput, RecordVerdictInput, RefundDecision, RefundProgress
from ledger.evidence import inquiry_of
from ledger.projection import slots_of
from ledger.reading import Reading


async def verdict_before(
    reading: Reading, given: RecordVerdictInput, step: str
) -> CaseEvent | None:
    """The event of this verdict, if it is on record; a withdrawal is told by the closing one."""
    if given.action is not Action.WITHDRAW:
        return await reading.event(given.case_id, step)
    closing = await reading.event(given.case_id, "close")
    withdrawn = closing is not None and closing.body["outcome"] == Outcome.WITHDRAWN
    return closing if withdrawn else None


async def is_decided(reading: Reading, asked: DecideInput) -> bool:
    """Whether this decision is made, or the case has ended without it."""
    if await reading.has_event(asked.case_id, asked.step):
        return True
    if asked.ordinal == 1:
        return False
    return (await existing_case(reading, asked.case_id)).outcome is not None


async def progress_of(reading: Reading, case_id: str) -> RefundProgress:
    """The decision that stands, which is the last, and what came of it."""
    case = await existing_case(reading, case_id)
    events = await reading.events(case_id)
    decisions = [event for event in events if event.kind is EventKind.DECIDED]
    names = RefundDecision.model_fields
    made = {name: value for name, value in decisions[-1].body.items() if name in names}
    slots = slots_of(events)
    inquiry = inquiry_of(events)
    asks = case.status is Status.AWAITING_INFORMATION
    filled = {
        row.slot: row.actor.id
        for row in await reading.approvals(case.case_id)
        if row.verdict is Verdict.APPROVE
    }
    closing = await reading.event(case.case_id, "close")
    goes_on = closing is not None and bool(closing.body.get("goes_on"))
    return RefundProgress.model_validate(
        {
            **made,
            "slots": slots,
            "filled": filled,
            "outcome": case.outcome,
            "goes_on": goes_on,
            "ordinal": len(decisions),
            "asked_until": inquiry.until if asks else None,
            "is_answered": inquiry.is_answered and asks,
        },
        strict=False,
    )
