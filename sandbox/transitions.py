"""Every status a refund or a chargeback may take, and from where; nothing else happens.

Each row names the page of docs.stripe.com that it was read from. ``None`` is "does not exist yet".
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import BrokenMoneyRule


@dataclass(frozen=True)
class Transition:
    before: str | None
    after: str
    cause: str
    events: tuple[str, ...]
    source: str  # path on docs.stripe.com


REFUND: tuple[Transition, ...] = (
    Transition(
        None,
        "succeeded",
        "a card refund is submitted to the bank at once",
        ("refund.created", "charge.refunded"),
        "docs.stripe.com/refunds",
    ),
    Transition(
        None,
        "pending",
        "balance too low, an instrument that settles later, or pm_card_pendingRefund",
        ("refund.created", "charge.refunded"),
        "docs.stripe.com/testing#refunds",
    ),
    Transition(
        None,
        "requires_action",
        "the customer has to give bank details by e-mail",
        ("refund.created", "charge.refunded"),
        "docs.stripe.com/api/refunds/object#refund_object-next_action",
    ),
    Transition(
        "requires_action",
        "pending",
        "the customer gave bank details",
        ("refund.updated", "charge.refund.updated"),
        "docs.stripe.com/api/refunds/object#refund_object-status",
    ),
    Transition(
        "requires_action",
        "succeeded",
        "the customer gave bank details and the transfer was made",
        ("refund.updated", "charge.refund.updated"),
        "docs.stripe.com/api/refunds/object#refund_object-status",
    ),
    Transition(
        "requires_action",
        "canceled",
        "canceled through the API, which only this status allows",
        ("refund.updated", "charge.refund.updated"),
        "docs.stripe.com/api/refunds/cancel",
    ),
    Transition(
        "requires_action",
        "failed",
        "the customer never gave bank details",
        ("refund.failed", "refund.updated", "charge.refund.updated"),
        "docs.stripe.com/refunds#failed-refunds",
    ),
    Transition(
        "pending",
        "succeeded",
        "the balance or the bank allowed it",
        ("refund.updated", "charge.refund.updated"),
        "docs.stripe.com/testing#refunds",
    ),
    Transition(
        "pending",
        "failed",
        "the bank refused it, or a chargeback overtook it",
        ("refund.failed", "refund.updated", "charge.refund.updated"),
        "docs.stripe.com/api/refunds/object#refund_object-failure_reason",
    ),
    Transition(
        "pending",
        "canceled",
        "canceled by hand before it was submitted",
        ("refund.updated", "charge.refund.updated"),
        "docs.stripe.com/refunds#cancel-refund",
    ),
    Transition(
        "succeeded",
        "failed",
        "the bank sent the money back days later",
        ("refund.failed", "refund.updated", "charge.refund.updated"),
        "docs.stripe.com/refunds#failed-refunds",
    ),
)

_OPENED = ("charge.dispute.created",)
_WITHDRAWN = ("charge.dispute.created", "charge.dispute.funds_withdrawn")
_UPDATED = ("charge.dispute.updated",)
_CLOSED = ("charge.dispute.closed",)
_WON = ("charge.dispute.closed", "charge.dispute.funds_reinstated")
_LIFE = "docs.stripe.com/disputes/how-disputes-work"
_STATUS = "docs.stripe.com/api/disputes/object#dispute_object-status"

DISPUTE: tuple[Transition, ...] = (
    Transition(None, "needs_response", "the issuer withdraws the funds", _WITHDRAWN, _LIFE),
    Transition(None, "under_review", "opened with the response already sent", _WITHDRAWN, _STATUS),
    Transition(None, "lost", "opened and decided at once", _WITHDRAWN, _STATUS),
    Transition(
        None,
        "warning_needs_response",
        "an inquiry: the issuer asks, no funds move",
        _OPENED,
        "docs.stripe.com/disputes/how-disputes-work#inquiries",
    ),
    Transition(
        None,
        "prevented",
        "resolved before it became a dispute",
        _OPENED,
        "docs.stripe.com/disputes/prevention",
    ),
    Transition(
        "needs_response",
        "under_review",
        "evidence was submitted",
        _UPDATED,
        "docs.stripe.com/api/disputes/update",
    ),
    Transition(
        "needs_response",
        "lost",
        "closed by us, or due_by passed without a response",
        _CLOSED,
        "docs.stripe.com/api/disputes/close",
    ),
    Transition(
        "needs_response",
        "won",
        "the cardholder withdrew",
        _WON,
        "docs.stripe.com/disputes/withdrawing",
    ),
    Transition("under_review", "won", "the issuer decides for us", _WON, _LIFE),
    Transition("under_review", "lost", "the issuer decides for the cardholder", _CLOSED, _LIFE),
    Transition(
        "warning_needs_response",
        "warning_under_review",
        "evidence was submitted to the inquiry",
        _UPDATED,
        "docs.stripe.com/disputes/how-disputes-work#inquiries",
    ),
    Transition(
        "warning_needs_response",
        "warning_closed",
        "120 days passed without escalation",
        _CLOSED,
        "docs.stripe.com/disputes/how-disputes-work#inquiries",
    ),
    Transition(
        "warning_under_review",
        "warning_closed",
        "120 days passed without escalation",
        _CLOSED,
        "docs.stripe.com/disputes/how-disputes-work#inquiries",
    ),
    Transition(
        "warning_needs_response",
        "needs_response",
        "the inquiry escalates to a chargeback",
        ("charge.dispute.updated", "charge.dispute.funds_withdrawn"),
        "docs.stripe.com/disputes/how-disputes-work#inquiries",
    ),
    Transition(
        "warning_under_review",
        "needs_response",
        "the inquiry escalates to a chargeback",
        ("charge.dispute.updated", "charge.dispute.funds_withdrawn"),
        "docs.stripe.com/disputes/how-disputes-work#inquiries",
    ),
)

TABLES: dict[str, tuple[Transition, ...]] = {"refund": REFUND, "dispute": DISPUTE}
_BY_STEP: dict[tuple[str, str | None, str], Transition] = {
    (kind, row.before, row.after): row for kind, rows in TABLES.items() for row in rows
}


def transition(kind: str, before: str | None, after: str) -> Transition:
    try:
        return _BY_STEP[kind, before, after]
    except KeyError:
        raise BrokenMoneyRule(f"a {kind} never goes from {before} to {after}") from None


def may_become(kind: str, before: str | None, after: str) -> bool:
    return (kind, before, after) in _BY_STEP
