"""Charges: what was taken from a customer, and what went back.

docs.stripe.com/api/charges/object.
"""

from __future__ import annotations

from .balance import book, processing_fee
from .calls import Call
from .instruments import Instrument, charge_details
from .lists import page
from .params import METADATA, PAGE, TEXT, UNSETTABLE, Param, Spec, merged_metadata
from .store import Json, copy_json
from .world import World

DESCRIPTOR = "SANDBOX SHOP"
LIST: Spec = {**PAGE, "customer": TEXT, "payment_intent": TEXT}
WRITE: Spec = {
    "description": UNSETTABLE,
    "metadata": METADATA,
    "receipt_email": UNSETTABLE,
    "expand": Param("texts"),
}


def build(
    world: World,
    *,
    id: str,
    intent: Json,
    instrument: Instrument,
    created: int,
    captured: bool = True,
) -> Json:
    """The charge of a payment intent, with its balance transaction when captured."""
    amount, currency = intent["amount"], intent["currency"]
    customer = intent["customer"] or ""
    declined = instrument.decline
    taken = captured and declined is None
    row: Json = {
        "id": id,
        "object": "charge",
        "amount": amount,
        "amount_captured": amount if taken else 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": {
            "address": {
                "city": None,
                "country": None,
                "line1": None,
                "line2": None,
                "postal_code": None,
                "state": None,
            },
            "email": None,
            "name": None,
            "phone": None,
            "tax_id": None,
        },
        "calculated_statement_descriptor": (
            intent["statement_descriptor"] or DESCRIPTOR if instrument.type == "card" else None
        ),
        "captured": taken,
        "created": created,
        "currency": currency,
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": declined[0] if declined else None,
        "failure_message": "Your card was declined." if declined else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": copy_json(intent["metadata"]),
        "on_behalf_of": None,
        "outcome": _outcome(declined),
        "paid": declined is None,
        "payment_intent": intent["id"],
        "payment_method": intent["payment_method"],
        "payment_method_details": charge_details(instrument, amount),
        "radar_options": {},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source_transfer": None,
        "statement_descriptor": intent["statement_descriptor"],
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": "failed" if declined else "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }
    world.store.add("charge", id, row)
    if taken:
        kind = "charge" if instrument.type == "card" else "payment"
        row["balance_transaction"] = book(
            world,
            customer,
            amount=amount,
            currency=currency,
            type=kind,
            category="charge",
            source=id,
            created=created,
            fee=processing_fee(amount),
            description=intent["description"],
        )["id"]
    return row


def _outcome(declined: tuple[str, str] | None) -> Json:
    """docs.stripe.com/api/charges/object#charge_object-outcome"""
    outcome: Json = {
        "advice_code": "try_again_later" if declined else None,
        "network_advice_code": None,
        "network_decline_code": "05" if declined else None,
        "network_status": "declined_by_network" if declined else "approved_by_network",
        "reason": declined[1] if declined else None,
        "risk_level": "normal",
        "risk_score": 20,
        "seller_message": (
            "The bank did not return any further details with this decline."
            if declined
            else "Payment complete."
        ),
        "type": "issuer_declined" if declined else "authorized",
    }
    return outcome


def retrieve(world: World, call: Call) -> Json:
    return world.find("charge", call.ids["charge"], param="id")


def update(world: World, call: Call) -> Json:
    row = world.edit(retrieve(world, call))
    before = copy_json(row)
    for name in ("description", "receipt_email"):
        if name in call.params:
            row[name] = call.params[name]
    row["metadata"] = merged_metadata(row["metadata"], call.params.get("metadata"))
    changed = {name: before[name] for name in before if before[name] != row[name]}
    if changed:
        world.emit("charge.updated", row, call.customer, previous=changed)
    return row


def list_all(world: World, call: Call) -> Json:
    params = call.params
    if "payment_intent" in params:
        rows = world.store.where("charge", "payment_intent", params["payment_intent"])
    elif "customer" in params:
        rows = world.store.where("charge", "customer", params["customer"])
    else:
        rows = world.store.all("charge")
    rows = [row for row in rows if params.get("customer", row["customer"]) == row["customer"]]
    return page(world, rows, params, "/v1/charges")
