"""The row that lists and queues read: a fold over a case's events. Pure.

Status is derived from the last lifecycle event and set by nobody. The same fold writes the
row beside each event, rebuilds all rows from the events, and proves the two equal (I8).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from domain.actors import Actor
from domain.approvals import ApprovalSlot
from domain.canonical import parse_instant
from domain.cases import CaseEvent, CaseKind, Channel, EventKind, Outcome, Status

SENDING_PATIENCE = timedelta(hours=23)
"""How long an order may be on its way to the provider: it may forget an idempotency key
after 24 hours, so by then the order has been looked up or given up."""

WaitsFor = Literal["", "customer", "approval", "provider", "bank", "trace"]


class CaseRow(BaseModel):
    """One case as lists show it. Amounts in minor units of ``currency``, instants in UTC.

    ``due_at`` is when whatever it waits for must have happened; ``expected_from`` and
    ``expected_to`` are the local dates the customer was told. ``assignee`` is who holds it, empty
    while it lies in the desk's queue. ``channel`` is how the customer asked, None where that was
    not told; ``first_response_due`` is None where the policy has no such clock, which the first
    answer of substance stops (``first_responded_at``). ``appeal_of`` names the case whose no is
    appealed, ``alternative_to`` the one whose money is paid another way. ``events`` counts the
    events folded into the row.
    """

    model_config = ConfigDict(frozen=True)

    case_id: str
    kind: CaseKind
    request_id: str
    customer: str
    charge: str
    currency: str
    amount_minor: int | None = None
    reason: str
    status: Status = Status.OPEN
    outcome: Outcome | None = None
    waits_for: WaitsFor = ""
    due_at: datetime | None = None
    expected_from: date | None = None
    expected_to: date | None = None
    desk: str
    priority: str
    assignee: str = ""
    language: str
    jurisdiction: str
    policy: str = ""
    policy_version: int = 0
    policy_hash: str = ""
    rule: str = ""
    reason_key: str = ""
    method: str = ""
    provider_id: str = ""
    digest: str = ""
    opened_at: datetime
    closed_at: datetime | None = None
    business_key: str | None = None
    channel: Channel | None = None
    first_response_due: datetime | None = None
    first_responded_at: datetime | None = None
    appeal_of: str | None = None
    alternative_to: str | None = None
    events: int = 0

    @property
    def goes_on_from(self) -> str | None:
        """The case before it in a chain."""
        return self.appeal_of or self.alternative_to

    def is_unanswered(self, now: datetime) -> bool:
        """Whether the customer should have had a first answer before ``now`` and has none."""
        return (
            self.status is not Status.CLOSED
            and self.first_responded_at is None
            and self.first_response_due is not None
            and self.first_response_due < now
        )


def project(row: CaseRow | None, event: CaseEvent) -> CaseRow:
    """``row`` after ``event``.

    Raises ``ValueError`` when a case begins with another event than ``opened``, is opened
    twice, or the event's body lacks what its kind must say.
    """
    try:
        changed = _opened(event) if row is None else row.model_copy(update=_changes(row, event))
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"{event.case_id}:{event.step}: a {event.kind.value} event without {error}"
        ) from error
    update: dict[str, Any] = {"events": changed.events + 1}
    if changed.first_responded_at is None and is_answer(event):
        update["first_responded_at"] = event.occurred_at
    if event.policy_hash:
        update["policy"] = event.policy
        update["policy_version"] = event.policy_version
        update["policy_hash"] = event.policy_hash
    return changed.model_copy(update=update)


def fold(events: Iterable[CaseEvent]) -> CaseRow | None:
    """The row of a case from all its events in order; None without events."""
    row: CaseRow | None = None
    for event in events:
        row = project(row, event)
    return row


def slots_of(events: Iterable[CaseEvent]) -> tuple[ApprovalSlot, ...]:
    """The approval slots of a case, filled ones too, each with whom it was handed to last."""
    slots: dict[str, ApprovalSlot] = {}
    for event in events:
        if event.kind is EventKind.DECIDED:
            slots = {
                slot.id: slot for slot in map(ApprovalSlot.model_validate, event.body["slots"])
            }
        elif event.kind is EventKind.DELEGATED:
            slot = slots[event.body["slot"]]
            delegate = Actor.model_validate(event.body["to"])
            slots[slot.id] = slot.model_copy(update={"delegate": delegate})
    return tuple(slots.values())


def _opened(event: CaseEvent) -> CaseRow:
    if event.kind is not EventKind.OPENED:
        raise ValueError(f"{event.case_id} begins with {event.kind.value}, not with opened")
    body = event.body
    return CaseRow(
        case_id=event.case_id,
        kind=CaseKind(body["kind"]),
        request_id=body["request_id"],
        customer=body["customer"],
        charge=body["charge"],
        currency=body["currency"],
        amount_minor=_minor(body.get("amount")),
        reason=body["reason"],
        desk=body["desk"],
        priority=body["priority"],
        language=body["language"],
        jurisdiction=body["jurisdiction"],
        business_key=body.get("business_key"),
        channel=Channel(body["channel"]) if body.get("channel") else None,
        first_response_due=_instant(body.get("first_response_due")),
        appeal_of=body.get("appeal_of"),
        alternative_to=body.get("alternative_to"),
        opened_at=event.occurred_at,
    )


def is_answer(event: CaseEvent) -> bool:
    """Whether the customer was told something of substance: by the notice of an order, of an
    end or of what is wanted of them, or by staff. An acknowledgement is none, nor is the
    customer's own withdrawal."""
    if event.kind is EventKind.CLOSED:
        return event.body["outcome"] not in (Outcome.WITHDRAWN, Outcome.RECORDED)
    return event.kind in (
        EventKind.ACCEPTED, EventKind.ANSWERED, EventKind.INFORMATION_REQUESTED,
    )  # fmt: skip


def _changes(row: CaseRow, event: CaseEvent) -> dict[str, Any]:
    body = event.body
    match event.kind:
        case EventKind.OPENED:
            raise ValueError(f"{event.case_id} was opened already")
        case EventKind.DECIDED:
            return _decided(event)
        case EventKind.INFORMATION_REQUESTED:
            return {
                "status": Status.AWAITING_INFORMATION,
                "waits_for": "customer",
                "due_at": parse_instant(body["until"]),
            }
        case EventKind.APPROVAL_RECORDED:
            return _sending(event) if body["slots_left"] == 0 else {}
        case EventKind.ACCEPTED:
            return _accepted(event)
        case EventKind.LOOKED:
            next_look = body.get("next_look_at")
            return {"due_at": parse_instant(next_look)} if next_look else {}
        case EventKind.TRACE_OPENED:
            return {
                "status": Status.TRACING,
                "waits_for": "trace",
                "due_at": parse_instant(body["next_look_at"]),
            }
        case EventKind.TRANSFERRED:
            return {"desk": body["desk"], "assignee": ""}
        case EventKind.ASSIGNED:
            return {"assignee": body["to"]}
        case EventKind.CHARGEBACK_SEEN:
            return {"priority": body["priority"]}
        case EventKind.NOTICED:
            return {"amount_minor": _minor(body["amount"]), "provider_id": body["provider_id"]}
        case EventKind.CLOSED:
            return _closed(row, event)
        case (
            EventKind.DECLINE_RECORDED
            | EventKind.REMINDED
            | EventKind.ESCALATED
            | EventKind.DELEGATED
            | EventKind.CONTACTED
            | EventKind.ANSWERED
            | EventKind.EVIDENCE_ADDED
            | EventKind.REPINNED  # what was decided stays under the policy it was decided by
            | EventKind.OUTCOME_UNKNOWN  # still sending; a late alarm changes no later status
            | EventKind.CONFIRMED
            | EventKind.FAILED
            | EventKind.LINKED
            | EventKind.SURVEYED
        ):
            return {}


def _decided(event: CaseEvent) -> dict[str, Any]:
    body = event.body
    changes: dict[str, Any] = {
        "rule": body["rule"],
        "reason_key": body.get("reason_key") or "",
        "method": body.get("method") or "",
        "digest": body.get("digest") or "",
    }
    if body["verdict"] != "approve":
        return changes
    changes["amount_minor"] = _minor(body["amount"])
    if not body["slots"]:
        return changes | _sending(event)
    return changes | {
        "status": Status.AWAITING_APPROVAL,
        "waits_for": "approval",
        "due_at": min(parse_instant(slot["expires_at"]) for slot in body["slots"]),
    }


def _sending(event: CaseEvent) -> dict[str, Any]:
    return {
        "status": Status.SENDING,
        "waits_for": "provider",
        "due_at": event.occurred_at + SENDING_PATIENCE,
    }


def _accepted(event: CaseEvent) -> dict[str, Any]:
    body = event.body
    looks = body.get("looks") or []
    expected = body.get("expected") or [None, None]
    return {
        "status": Status.SETTLING,
        "waits_for": "bank",
        "due_at": parse_instant(looks[0]) if looks else None,
        "provider_id": body["provider_id"],
        "amount_minor": _minor(body["amount"]),
        "method": body["method"],
        "expected_from": _day(expected[0]),
        "expected_to": _day(expected[1]),
    }


def _closed(row: CaseRow, event: CaseEvent) -> dict[str, Any]:
    body = event.body
    amount = body.get("amount")
    return {
        "status": Status.CLOSED,
        "outcome": Outcome(body["outcome"]),
        "waits_for": "",
        "due_at": None,
        "closed_at": event.occurred_at,
        "reason_key": body.get("reason_key") or row.reason_key,
        "rule": body.get("rule") or row.rule,
        "amount_minor": row.amount_minor if amount is None else _minor(amount),
    }


def _minor(money: dict[str, Any] | None) -> int | None:
    return None if money is None else int(money["amount_minor"])


def _instant(text: str | None) -> datetime | None:
    return None if text is None else parse_instant(text)


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
