"""Refunds: docs.stripe.com/refunds, docs.stripe.com/api/refunds.

Every change of status goes through ``move``, which obeys the table in ``transitions.py``.
"""

from __future__ import annotations

from .balance import book
from .calls import Call
from .clock import add_business_days
from .currencies import may_be_charged, worded
from .errors import invalid, refused
from .instruments import BY_LAST4, Instrument, destination_details
from .lists import page
from .params import (
    INTEGER,
    METADATA,
    PAGE,
    TEXT,
    TEXTS,
    Spec,
    merged_metadata,
    one_of,
)
from .store import Json, copy_json
from .transitions import transition
from .world import World, random_id

CREATE: Spec = {
    "charge": TEXT,
    "payment_intent": TEXT,
    "amount": INTEGER,
    "reason": one_of("duplicate", "fraudulent", "requested_by_customer"),
    "metadata": METADATA,
    "instructions_email": TEXT,
    "expand": TEXTS,
}
LIST: Spec = {**PAGE, "charge": TEXT, "payment_intent": TEXT}
WRITE: Spec = {"metadata": METADATA, "expand": TEXTS}

# docs.stripe.com/api/refunds/object#refund_object-failure_reason
FAILURE_REASONS = (
    "lost_or_stolen_card",
    "expired_or_canceled_card",
    "charge_for_pending_refund_disputed",
    "insufficient_funds",
    "declined",
    "merchant_request",
    "unknown",
)
ALIVE = ("pending", "requires_action", "succeeded")
ACTION_DAYS = 45  # an unanswered e-mail: docs.stripe.com/refunds#failed-refunds


# creating


def create(world: World, call: Call) -> Json:
    params = call.params
    charge = _charge(world, params)
    amount = _amount(world, charge, params)
    now = world.clocks.now(call.customer)
    instrument = instrument_of(charge)
    id = random_id("re_")
    behaviour = _behaviour(world, charge, instrument)
    status = {
        "pending": "pending",
        "low_balance": "pending",
        "stuck": "pending",
        "pending_fails": "pending",
        "requires_action": "requires_action",
    }.get(behaviour, "succeeded")
    row: Json = {
        "id": id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "destination_details": destination_details(instrument, arrives=status == "succeeded"),
        "metadata": merged_metadata({}, params.get("metadata")),
        "payment_intent": charge["payment_intent"],
        "reason": params.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
    }
    if status == "pending":
        row["pending_reason"] = "insufficient_funds" if behaviour == "low_balance" else "processing"
    if status == "requires_action":
        row["next_action"] = _next_action(params.get("instructions_email"), now)
    world.add(row, call.customer, moves_money=True)
    kind = "refund" if instrument.type == "card" else "payment_refund"
    row["balance_transaction"] = book(
        world,
        call.customer,
        amount=-amount,
        currency=charge["currency"],
        type=kind,
        category="refund",
        source=id,
        created=now,
        description="REFUND FOR CHARGE",
    )["id"]
    _give_back(world, charge, amount)
    transition("refund", None, status)
    world.emit("refund.created", row, call.customer)
    world.emit("charge.refunded", charge, call.customer, previous=_before(charge, amount))
    _schedule(world, row, behaviour, call.customer, now)
    return row


def _charge(world: World, params: Json) -> Json:
    if "charge" in params and "payment_intent" in params:
        raise invalid("You may only specify one of these parameters: charge, payment_intent.")
    if "charge" in params:
        charge = world.find("charge", params["charge"], param="charge", in_path=False)
    elif "payment_intent" in params:
        id = params["payment_intent"]
        intent = world.find("payment_intent", id, param="payment_intent", in_path=False)
        found = world.store.get("charge", intent["latest_charge"] or "")
        if found is None or found["status"] != "succeeded" or not found["captured"]:
            raise refused(
                f"This PaymentIntent ({id}) does not have a successful charge to refund.",
                param="payment_intent",
            )
        charge = found
    else:
        raise invalid(
            "One of the following params should be provided for this request: payment_intent or "
            "charge."
        )
    if charge["status"] != "succeeded" or not charge["captured"]:
        raise refused(
            f"Charge {charge['id']} was not captured: there is nothing to refund.", param="charge"
        )
    return charge


def _amount(world: World, charge: Json, params: Json) -> int:
    """docs.stripe.com/error-codes#charge-disputed, #charge-already-refunded."""
    amount: int | None = params.get("amount")
    if amount is not None and amount < 1:
        raise invalid(
            "This value must be greater than or equal to 1.",
            code="parameter_invalid_integer",
            param="amount",
        )
    if blocked_by_dispute(world, charge):
        raise refused(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.",
            code="charge_disputed",
        )
    currency = charge["currency"]
    remaining: int = charge["amount_captured"] - charge["amount_refunded"]
    if remaining <= 0:
        raise refused(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
        )
    if amount is None:
        return remaining
    if amount > charge["amount"]:
        raise refused(
            f"Refund amount ({worded(amount, currency)}) is greater than charge amount "
            f"({worded(charge['amount'], currency)})",
            param="amount",
        )
    if amount > remaining:
        raise refused(
            f"Refund amount ({worded(amount, currency)}) is greater than unrefunded amount on "
            f"charge ({worded(remaining, currency)})",
            param="amount",
        )
    if amount != remaining and not may_be_charged(amount, currency):
        raise refused(f"Invalid amount for {currency}: {amount}", param="amount")
    return amount


def blocked_by_dispute(world: World, charge: Json) -> bool:
    """A chargeback took the money already: docs.stripe.com/disputes/how-disputes-work."""
    return any(
        not dispute["is_charge_refundable"]
        for dispute in world.store.where("dispute", "charge", charge["id"])
    )


def instrument_of(charge: Json) -> Instrument:
    details = charge["payment_method_details"]
    inner = details[details["type"]]
    key = (details["type"], inner.get("brand") or "visa", inner.get("last4") or "")
    return BY_LAST4[key]


def _behaviour(world: World, charge: Json, instrument: Instrument) -> str:
    """The charge's own behaviour (seeded), else the setting, else the test card's."""
    hint = world.store.get("_refund_behaviour", charge["id"])
    chosen = str(hint["behaviour"]) if hint else world.settings.refund_behaviour
    return instrument.refund if chosen == "by_instrument" else chosen


def _next_action(email: str | None, now: int) -> Json:
    sent = {"email_sent_at": now, "email_sent_to": email or "customer@example.com"}
    return {
        "display_details": {"email_sent": sent, "expires_at": now + ACTION_DAYS * 86_400},
        "type": "display_details",
    }


def _before(charge: Json, amount: int) -> Json:
    """What charge.refunded says of before: only what changed."""
    previous: Json = {"amount_refunded": charge["amount_refunded"] - amount}
    if charge["refunded"]:
        previous["refunded"] = False
    return previous


def _give_back(world: World, charge: Json, amount: int) -> None:
    """``amount`` is negative when a refund failed and the charge has it again."""
    charge = world.edit(charge)
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]


# what happens later


def _schedule(world: World, row: Json, behaviour: str, customer: str, now: int) -> None:
    act = {
        "arrives": "refund_arrives",
        "reference_unavailable": "refund_reference_unavailable",
        "pending": "refund_succeeds",
        "low_balance": "refund_succeeds",
        "fails": "refund_fails",
        "pending_fails": "refund_fails",
    }.get(behaviour)
    if act is not None:
        due = add_business_days(now, world.settle_days(row["id"]))
        world.clocks.schedule(customer, due, act, row["id"])
    if behaviour == "requires_action":
        expires = row["next_action"]["display_details"]["expires_at"]
        world.clocks.schedule(customer, expires, "refund_action_expires", row["id"])


def arrives(world: World, id: str) -> None:
    """The network reports the reference: docs.stripe.com/refunds#tracing-a-refund."""
    row = world.find("refund", id, param="id")
    if row["status"] == "succeeded":
        set_reference(world, row, "available", None)


def reference_unavailable(world: World, id: str) -> None:
    row = world.find("refund", id, param="id")
    if row["status"] == "succeeded":
        set_reference(world, row, "unavailable", None)


def succeeds(world: World, id: str) -> None:
    row = world.find("refund", id, param="id")
    if row["status"] == "pending":
        move(world, row, "succeeded")
        customer = world.customer_of(row)
        due = add_business_days(world.clocks.now(customer), world.settle_days(id))
        world.clocks.schedule(customer, due, "refund_arrives", id)


def fails(world: World, id: str) -> None:
    row = world.find("refund", id, param="id")
    if row["status"] in ALIVE:
        move(world, row, "failed", reason=world.settings.refund_failure_reason)


def action_expires(world: World, id: str) -> None:
    row = world.find("refund", id, param="id")
    if row["status"] == "requires_action":
        move(world, row, "failed", reason="unknown")


def set_reference(world: World, row: Json, status: str, reference: str | None) -> None:
    details = row["destination_details"]
    inner = details.get(details["type"])
    if inner is None or inner.get("reference_status") != "pending":
        return
    row = world.edit(row)
    previous = {"destination_details": copy_json(row["destination_details"])}
    inner = row["destination_details"][details["type"]]
    inner["reference_status"] = status
    if status == "available":
        inner["reference"] = reference or acquirer_reference(row["id"])
    _updated(world, row, previous)


def acquirer_reference(id: str) -> str:
    """23 digits like a card network's ARN, the same for the same refund."""
    number = 0
    for letter in id:
        number = (number * 131 + ord(letter)) % 10**22
    return f"7{number:022d}"


def move(world: World, row: Json, after: str, *, reason: str | None = None) -> Json:
    """Change of status, with its money and its events, as the table allows."""
    step = transition("refund", row["status"], after)
    row = world.edit(row)
    customer = world.customer_of(row)
    previous: Json = {"status": row["status"]}
    row["status"] = after
    if "pending_reason" in row:
        previous["pending_reason"] = row.pop("pending_reason")
    if "next_action" in row:
        previous["next_action"] = row.pop("next_action")
    if after == "pending":
        row["pending_reason"] = "processing"
        previous.setdefault("pending_reason", None)
    inner = row["destination_details"].get("card")
    if inner is not None and inner["type"] == "pending" and after == "succeeded":
        previous["destination_details"] = copy_json(row["destination_details"])
        inner["type"] = "refund"
    if after in ("failed", "canceled"):
        row["failure_reason"] = reason or ("merchant_request" if after == "canceled" else "unknown")
        charge = world.charge_of(row)
        row["failure_balance_transaction"] = book(
            world,
            customer,
            amount=row["amount"],
            currency=row["currency"],
            type="refund_failure"
            if charge["payment_method_details"]["type"] == "card"
            else "payment_failure_refund",
            category="refund_failure",
            source=row["id"],
            created=world.clocks.now(customer),
            description="REFUND FAILURE",
        )["id"]
        previous.update(failure_reason=None, failure_balance_transaction=None)
        _give_back(world, charge, -row["amount"])
    for type in step.events:
        world.emit(type, row, customer, previous=None if type == "refund.failed" else previous)
    return row


def _updated(world: World, row: Json, previous: Json) -> None:
    customer = world.customer_of(row)
    world.emit("refund.updated", row, customer, previous=previous)
    world.emit("charge.refund.updated", row, customer, previous=previous)


# the other endpoints


def retrieve(world: World, call: Call) -> Json:
    return world.find("refund", call.ids["refund"], param="refund")


def update(world: World, call: Call) -> Json:
    """Metadata only: docs.stripe.com/api/refunds/update."""
    row = world.edit(retrieve(world, call))
    before = copy_json(row["metadata"])
    row["metadata"] = merged_metadata(row["metadata"], call.params.get("metadata"))
    if row["metadata"] != before:
        _updated(world, row, {"metadata": before})
    return row


def cancel(world: World, call: Call) -> Json:
    """docs.stripe.com/api/refunds/cancel: only from requires_action."""
    row = retrieve(world, call)
    if row["status"] != "requires_action":
        raise refused(
            f"Refund {row['id']} has status {row['status']} and cannot be canceled: only refunds "
            "with status requires_action can be."
        )
    return move(world, row, "canceled")


def list_all(world: World, call: Call) -> Json:
    params = call.params
    rows = world.store.all("refund")
    for name in ("charge", "payment_intent"):
        if name in params:
            rows = world.store.where("refund", name, params[name])
    return page(world, rows, params, "/v1/refunds")
