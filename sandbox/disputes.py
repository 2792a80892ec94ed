"""Chargebacks, which Stripe calls disputes.

docs.stripe.com/disputes/how-disputes-work, docs.stripe.com/api/disputes. Every change of status
goes through ``move``, which obeys the table in ``transitions.py``.
"""

from __future__ import annotations

from . import refunds
from .balance import DISPUTE_FEE, book
from .calls import Call
from .errors import refused
from .lists import page
from .params import BOOLEAN, METADATA, PAGE, TEXT, TEXTS, UNSETTABLE, Param, Spec, merged_metadata
from .store import Json, copy_json
from .transitions import transition
from .world import World, random_id

DAY = 86_400
REASONS = (
    "bank_cannot_process",
    "check_returned",
    "credit_not_processed",
    "customer_initiated",
    "debit_not_authorized",
    "duplicate",
    "fraudulent",
    "general",
    "incorrect_account_details",
    "insufficient_funds",
    "noncompliant",
    "product_not_received",
    "product_unacceptable",
    "subscription_canceled",
    "unrecognized",
)
# docs.stripe.com/api/disputes/evidence_object
EVIDENCE = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
)
WRITE: Spec = {
    "evidence": Param("object", fields=dict.fromkeys(EVIDENCE, UNSETTABLE)),
    "metadata": METADATA,
    "submit": BOOLEAN,
    "expand": TEXTS,
}
LIST: Spec = {**PAGE, "charge": TEXT, "payment_intent": TEXT}

AWAITING = ("needs_response", "warning_needs_response")
CLOSED = ("won", "lost", "warning_closed", "prevented")
NO_FUNDS_MOVED = ("warning_needs_response", "warning_under_review", "warning_closed", "prevented")


def open_dispute(
    world: World,
    charge: Json,
    *,
    status: str = "needs_response",
    reason: str = "fraudulent",
    amount: int | None = None,
    is_charge_refundable: bool | None = None,
    due_by: int | None = None,
) -> Json:
    """The issuer disputes a charge now, on its customer's clock; amounts in minor units."""
    step = transition("dispute", None, status)
    settings = world.settings
    customer = world.customer_of(charge)
    now = world.clocks.now(customer)
    inquiry = status in NO_FUNDS_MOVED
    awaiting = status in AWAITING
    if due_by is None and awaiting:
        due_by = now + settings.dispute_response_days * DAY
    refundable = inquiry if is_charge_refundable is None else is_charge_refundable
    row: Json = {
        "id": random_id("du_"),
        "object": "dispute",
        "amount": charge["amount"] if amount is None else amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(EVIDENCE), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": due_by,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": refundable,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "status": status,
    }
    details = charge["payment_method_details"]
    if details["type"] == "card":
        row["payment_method_details"] = {
            "card": {
                "brand": details["card"]["brand"],
                "case_type": "inquiry" if inquiry else "chargeback",
                "network": details["card"]["network"],
                "network_reason_code": "83" if reason == "fraudulent" else "13.7",
            },
            "type": "card",
        }
    world.add(row, customer)
    world.edit(charge)["disputed"] = True
    for type in step.events:
        if type == "charge.dispute.funds_withdrawn":
            _withdraw(world, row, customer)
        world.emit(type, row, customer)
    if awaiting and due_by is not None:
        world.clocks.schedule(customer, due_by, "dispute_due", row["id"])
    if inquiry and awaiting:
        closes = now + settings.inquiry_days * DAY
        world.clocks.schedule(customer, closes, "dispute_inquiry_closes", row["id"])
    if status == "under_review":
        _schedule_outcome(world, row, customer, "dispute_resolves")
    if not inquiry:
        _overtake_pending_refunds(world, charge)
    return row


def _overtake_pending_refunds(world: World, charge: Json) -> None:
    """docs.stripe.com/refunds#failed-refunds: charge_for_pending_refund_disputed."""
    for refund in world.store.where("refund", "charge", charge["id"]):
        if refund["status"] == "pending":
            refunds.move(world, refund, "failed", reason="charge_for_pending_refund_disputed")


def _withdraw(world: World, row: Json, customer: str) -> None:
    _book(world, row, customer, -row["amount"], "dispute", DISPUTE_FEE)


def _book(world: World, row: Json, customer: str, amount: int, category: str, fee: int) -> None:
    booked = book(
        world,
        customer,
        amount=amount,
        currency=row["currency"],
        type="adjustment",
        category=category,
        source=row["id"],
        created=world.clocks.now(customer),
        fee=fee,
        description=f"Chargeback {'withdrawal' if amount < 0 else 'reversal'} for {row['charge']}",
    )
    world.edit(row)["balance_transactions"].append(copy_json(booked))


def move(world: World, row: Json, after: str) -> Json:
    step = transition("dispute", row["status"], after)
    row = world.edit(row)
    customer = world.customer_of(row)
    previous: Json = {"status": row["status"]}
    row["status"] = after
    refundable = {"won": True, "warning_closed": True, "needs_response": False, "lost": False}
    if refundable.get(after, row["is_charge_refundable"]) != row["is_charge_refundable"]:
        previous["is_charge_refundable"] = row["is_charge_refundable"]
        row["is_charge_refundable"] = refundable[after]
    escalated = "charge.dispute.funds_withdrawn" in step.events
    if escalated:
        row["evidence_details"]["due_by"] = (
            world.clocks.now(customer) + world.settings.dispute_response_days * DAY
        )
        if "payment_method_details" in row:
            row["payment_method_details"]["card"]["case_type"] = "chargeback"
        world.clocks.schedule(customer, row["evidence_details"]["due_by"], "dispute_due", row["id"])
    for type in step.events:
        if type == "charge.dispute.funds_withdrawn":
            _withdraw(world, row, customer)
        if type == "charge.dispute.funds_reinstated":
            _book(world, row, customer, row["amount"], "dispute_reversal", 0)
        world.emit(
            type, row, customer, previous=previous if type == "charge.dispute.updated" else None
        )
    if escalated:
        _overtake_pending_refunds(world, world.charge_of(row))
    return row


# what happens later


def due_passes(world: World, id: str) -> None:
    """No response by ``due_by``: the dispute is lost; an inquiry stays open."""
    row = world.find("dispute", id, param="dispute")
    due_by = row["evidence_details"]["due_by"]
    if row["status"] in AWAITING and world.clocks.now(world.customer_of(row)) >= (due_by or 0):
        world.edit(row)["evidence_details"]["past_due"] = True
        if row["status"] == "needs_response":
            move(world, row, "lost")


def inquiry_closes(world: World, id: str) -> None:
    row = world.find("dispute", id, param="dispute")
    if row["status"] in ("warning_needs_response", "warning_under_review"):
        move(world, row, "warning_closed")


def resolves(world: World, id: str) -> None:
    _resolve(world, id, world.settings.dispute_outcome)


def wins(world: World, id: str) -> None:
    _resolve(world, id, "won")


def loses(world: World, id: str) -> None:
    _resolve(world, id, "lost")


def _resolve(world: World, id: str, outcome: str) -> None:
    row = world.find("dispute", id, param="dispute")
    if row["status"] == "under_review":
        move(world, row, outcome)


def _schedule_outcome(world: World, row: Json, customer: str, act: str) -> None:
    decided = world.clocks.now(customer) + world.settings.dispute_review_days * DAY
    world.clocks.schedule(customer, decided, act, row["id"])


# the endpoints


def retrieve(world: World, call: Call) -> Json:
    return world.find("dispute", call.ids["dispute"], param="dispute")


def update(world: World, call: Call) -> Json:
    """Evidence is staged (``submit=false``) or submitted, once.

    docs.stripe.com/api/disputes/update; ``winning_evidence`` and ``losing_evidence`` decide the
    outcome as in docs.stripe.com/testing#disputes.
    """
    params = call.params
    row = retrieve(world, call)
    before = copy_json(row)
    if params.get("evidence") or params.get("submit"):
        if row["status"] not in AWAITING:
            raise refused(f"This dispute is already {row['status']}: evidence cannot be changed.")
        if row["evidence_details"]["past_due"]:
            raise refused("The deadline for evidence on this dispute has passed.")
    row = world.edit(row)
    row["metadata"] = merged_metadata(row["metadata"], params.get("metadata"))
    row["evidence"].update(params.get("evidence", {}))
    details = row["evidence_details"]
    details["has_evidence"] = any(row["evidence"][name] is not None for name in EVIDENCE)
    if params.get("submit", bool(params.get("evidence"))):
        details["submission_count"] += 1
        after = "under_review" if row["status"] == "needs_response" else "warning_under_review"
        move(world, row, after)
        if after == "under_review":
            act = {
                "winning_evidence": "dispute_wins",
                "losing_evidence": "dispute_loses",
            }.get(row["evidence"]["uncategorized_text"] or "", "dispute_resolves")
            _schedule_outcome(world, row, call.customer, act)
        return row
    changed = {name: before[name] for name in before if before[name] != row[name]}
    if changed:
        world.emit("charge.dispute.updated", row, call.customer, previous=changed)
    return row


def close(world: World, call: Call) -> Json:
    """docs.stripe.com/api/disputes/close: accepted, and so lost; cannot be undone."""
    row = retrieve(world, call)
    if row["status"] != "needs_response":
        raise refused(f"This dispute has status {row['status']} and cannot be closed.")
    return move(world, row, "lost")


def list_all(world: World, call: Call) -> Json:
    params = call.params
    rows = world.store.all("dispute")
    for name in ("charge", "payment_intent"):
        if name in params:
            rows = world.store.where("dispute", name, params[name])
    return page(world, rows, params, "/v1/disputes")
