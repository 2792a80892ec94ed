"""Payment intents and payment methods.

docs.stripe.com/api/payment_intents, docs.stripe.com/payments/paymentintents/lifecycle,
docs.stripe.com/api/payment_methods.
"""

from __future__ import annotations

from . import charges, disputes
from .calls import Call
from .currencies import known, may_be_charged
from .errors import StripeError, invalid, missing
from .instruments import INSTRUMENTS, Instrument, method_details, of_method
from .lists import page
from .params import (
    BOOLEAN,
    METADATA,
    NEEDED_INTEGER,
    NEEDED_TEXT,
    PAGE,
    TEXT,
    TEXTS,
    UNSETTABLE,
    Spec,
    merged_metadata,
    object_of,
    one_of,
)
from .store import Json, copy_json
from .world import World, random_id

# docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
MAX_AMOUNT = 99_999_999

CREATE: Spec = {
    "amount": NEEDED_INTEGER,
    "currency": NEEDED_TEXT,
    "customer": TEXT,
    "payment_method": TEXT,
    "confirm": BOOLEAN,
    "off_session": BOOLEAN,
    "description": TEXT,
    "metadata": METADATA,
    "receipt_email": UNSETTABLE,
    "return_url": TEXT,
    "capture_method": one_of("automatic", "automatic_async"),
    "setup_future_usage": one_of("off_session", "on_session"),
    "statement_descriptor": TEXT,
    "statement_descriptor_suffix": TEXT,
    "automatic_payment_methods": object_of(
        {"enabled": BOOLEAN, "allow_redirects": one_of("always", "never")}
    ),
    "payment_method_types": TEXTS,
    "expand": TEXTS,
}
WRITE: Spec = {
    "description": TEXT,
    "metadata": METADATA,
    "receipt_email": UNSETTABLE,
    "expand": TEXTS,
}
LIST: Spec = {**PAGE, "customer": TEXT}


def build_method(id: str, instrument: Instrument, created: int, customer: str | None) -> Json:
    return {
        "id": id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
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
        "created": created,
        "customer": customer,
        "livemode": False,
        "metadata": {},
        "type": instrument.type,
        instrument.type: method_details(instrument),
    }


def build_intent(
    *,
    id: str,
    amount: int,
    currency: str,
    customer: str | None,
    created: int,
    payment_method: str | None = None,
    type: str = "card",
    **fields: object,
) -> Json:
    intent: Json = {
        "id": id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"{id}_secret_{random_id('', 16)}",
        "confirmation_method": "automatic",
        "created": created,
        "currency": currency,
        "customer": customer,
        "description": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": payment_method,
        "payment_method_options": {},
        "payment_method_types": [type],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_confirmation" if payment_method else "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    }
    intent.update(fields)
    return intent


def create(world: World, call: Call) -> Json:
    params, customer, now = call.params, call.customer, world.clocks.now(call.customer)
    currency = known(params["currency"])
    _check_amount(params["amount"], currency)
    if "customer" in params:
        world.find("customer", params["customer"], param="customer", in_path=False)
    method = _method(world, params, now)
    instrument = of_method(method) if method else None
    intent = build_intent(
        id=random_id("pi_"),
        amount=params["amount"],
        currency=currency,
        customer=params.get("customer"),
        created=now,
        payment_method=method["id"] if method else None,
        type=instrument.type if instrument else "card",
        metadata=merged_metadata({}, params.get("metadata")),
        **{
            name: params[name]
            for name in (
                "description",
                "receipt_email",
                "setup_future_usage",
                "statement_descriptor",
                "statement_descriptor_suffix",
                "capture_method",
            )
            if name in params
        },
    )
    if "automatic_payment_methods" in params:
        intent["automatic_payment_methods"] = {
            "allow_redirects": "always",
            "enabled": True,
            **params["automatic_payment_methods"],
        }
    world.add(intent, customer)
    world.emit("payment_intent.created", intent, customer)
    if params.get("confirm"):
        if instrument is None:
            raise invalid(
                "You cannot confirm this PaymentIntent because it's missing a payment method.",
                code="payment_intent_unexpected_state",
            )
        _confirm(world, intent, instrument, customer, now)
    return intent


def _check_amount(amount: int, currency: str) -> None:
    if amount < 1:
        raise invalid(
            "This value must be greater than or equal to 1.",
            code="parameter_invalid_integer",
            param="amount",
        )
    if amount > MAX_AMOUNT:
        raise invalid(
            "Amount must be no more than 99999999", code="amount_too_large", param="amount"
        )
    if not may_be_charged(amount, currency):
        raise invalid(
            f"Invalid amount: {currency} amounts must not have a fraction that the card networks "
            "cannot settle.",
            param="amount",
        )


def _method(world: World, params: Json, now: int) -> Json | None:
    """A test token makes a fresh payment method, as in docs.stripe.com/testing."""
    given = params.get("payment_method")
    if given is None:
        return None
    found = world.store.get("payment_method", given)
    if found is not None:
        return found
    if given not in INSTRUMENTS:
        raise missing("PaymentMethod", given, param="payment_method", in_path=False)
    keeps = params.get("customer") if "setup_future_usage" in params else None
    method = build_method(random_id("pm_"), INSTRUMENTS[given], now, keeps)
    world.store.add("payment_method", method["id"], method)
    return method


def _confirm(world: World, intent: Json, instrument: Instrument, customer: str, now: int) -> None:
    charge = charges.build(
        world, id=random_id("ch_"), intent=intent, instrument=instrument, created=now
    )
    intent = world.edit(intent)
    intent["latest_charge"] = charge["id"]
    if instrument.decline:
        _decline(world, intent, charge, instrument, customer)
    intent["amount_received"] = intent["amount"]
    intent["status"] = "succeeded"
    world.emit("charge.succeeded", charge, customer)
    world.emit("payment_intent.succeeded", intent, customer)
    if instrument.dispute:
        disputes.open_dispute(
            world,
            charge,
            status="warning_needs_response" if instrument.inquiry else "needs_response",
            reason=instrument.dispute,
        )


def _decline(
    world: World, intent: Json, charge: Json, instrument: Instrument, customer: str
) -> None:
    """docs.stripe.com/declines/card: a 402 that the idempotency key keeps."""
    assert instrument.decline is not None
    code, decline_code = instrument.decline
    method = world.store.get("payment_method", intent["payment_method"])
    problem: Json = {
        "charge": charge["id"],
        "code": code,
        "decline_code": decline_code,
        "doc_url": "https://stripe.com/docs/error-codes/card-declined",
        "message": "Your card was declined.",
        "payment_method": copy_json(method),
        "type": "card_error",
    }
    intent.update(status="requires_payment_method", payment_method=None, last_payment_error=problem)
    world.emit("charge.failed", charge, customer)
    world.emit("payment_intent.payment_failed", intent, customer)
    raise Declined(problem, copy_json(intent))


class Declined(StripeError):
    """A decline: an error to the caller, but what happened stays on the books."""

    keeps_effects = True

    def __init__(self, problem: Json, intent: Json) -> None:
        details = {
            name: value
            for name, value in problem.items()
            if name not in ("message", "type", "code", "doc_url")
        }
        super().__init__(
            402,
            problem["message"],
            type="card_error",
            code=problem["code"],
            payment_intent=intent,
            **details,
        )


def retrieve(world: World, call: Call) -> Json:
    return world.find("payment_intent", call.ids["intent"], param="intent")


def update(world: World, call: Call) -> Json:
    row = world.edit(retrieve(world, call))
    for name in ("description", "receipt_email"):
        if name in call.params:
            row[name] = call.params[name]
    row["metadata"] = merged_metadata(row["metadata"], call.params.get("metadata"))
    return row


def list_all(world: World, call: Call) -> Json:
    customer = call.params.get("customer")
    rows = (
        world.store.all("payment_intent")
        if customer is None
        else world.store.where("payment_intent", "customer", customer)
    )
    return page(world, rows, call.params, "/v1/payment_intents")


def retrieve_method(world: World, call: Call) -> Json:
    """A stored payment method, or the test token itself."""
    id = call.ids["payment_method"]
    if id in INSTRUMENTS:
        return build_method(id, INSTRUMENTS[id], world.clocks.now(""), None)
    return world.find("payment_method", id, param="payment_method")
