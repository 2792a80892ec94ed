"""Customers with charges of the past (or the future), made at once and without events.

Idempotent by the ids given: what exists already is left as it is and answered again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from . import charges, customers, payments
from .clock import parse_instant
from .currencies import KNOWN
from .instruments import INSTRUMENTS, Instrument
from .settings import REFUND_BEHAVIOURS
from .store import Json
from .world import World, random_id

CUSTOMER_FIELDS = {"id", "name", "email", "phone", "description", "metadata", "charges", "clock_at"}
CUSTOMER_FIELDS |= {"created"}
CHARGE_FIELDS = {
    "id",
    "amount",
    "currency",
    "created",
    "payment_method",
    "description",
    "statement_descriptor",
    "metadata",
    "captured",
    "refund_behaviour",
}


class BadSeed(ValueError):
    """Nothing was seeded."""


def seed(world: World, given: Json) -> list[Json]:
    """Answers ``[{"id": "cus_...", "charges": ["ch_...", ...]}, ...]`` in the given order."""
    wanted = given.get("customers")
    if set(given) != {"customers"} or not isinstance(wanted, list):
        raise BadSeed('a seed is {"customers": [...]}')
    return [_customer(world, each, f"customers[{n}]") for n, each in enumerate(wanted)]


def _customer(world: World, given: Json, where: str) -> Json:
    _fields(given, CUSTOMER_FIELDS, where)
    id = _id(given, "cus_", where) or random_id("cus_", 14)
    if world.store.get("customer", id) is None:
        if "clock_at" in given:
            world.clocks.set_to(id, _instant(given["clock_at"], where))
        created = _instant(given["created"], where) if "created" in given else None
        row = customers.blank(id, world.clocks.now(id) if created is None else created)
        for name in customers.FIELDS:
            row[name] = _text(given, name, where)
        row["metadata"] = _metadata(given, where)
        world.store.add("customer", id, row)
    return {"id": id, "charges": list(_charges(world, id, given.get("charges", []), where))}


def _charges(world: World, customer: str, given: object, where: str) -> Iterator[str]:
    if not isinstance(given, list):
        raise BadSeed(f"{where}.charges is a list")
    for n, each in enumerate(given):
        yield _charge(world, customer, each, f"{where}.charges[{n}]")


def _charge(world: World, customer: str, given: Json, where: str) -> str:
    _fields(given, CHARGE_FIELDS, where)
    id = _id(given, "ch_", where) or random_id("ch_")
    existing = world.store.get("charge", id)
    if existing is not None:
        if existing["customer"] != customer:
            raise BadSeed(f"{where}: {id} belongs to {existing['customer']}")
        return id
    amount, currency = given.get("amount"), given.get("currency", "usd")
    if type(amount) is not int or amount < 1:
        raise BadSeed(f"{where}.amount is a whole number of minor units, at least 1")
    if currency not in KNOWN:
        raise BadSeed(f"{where}.currency is one of Stripe's, in lower case")
    token = given.get("payment_method", "pm_card_visa")
    if token not in INSTRUMENTS:
        raise BadSeed(f"{where}.payment_method is one of {', '.join(INSTRUMENTS)}")
    instrument = INSTRUMENTS[token]
    created = _instant(given["created"], where) if "created" in given else None
    created = world.clocks.now(customer) if created is None else created
    captured = given.get("captured", True)
    if not isinstance(captured, bool):
        raise BadSeed(f"{where}.captured is true or false")
    intent = payments.build_intent(
        id="pi_" + id.removeprefix("ch_"),
        amount=amount,
        currency=currency,
        customer=customer,
        created=created,
        payment_method=_method(world, customer, instrument, created),
        type=instrument.type,
        description=_text(given, "description", where),
        statement_descriptor=_text(given, "statement_descriptor", where),
        metadata=_metadata(given, where),
    )
    world.store.add("payment_intent", intent["id"], intent)
    charge = charges.build(
        world, id=id, intent=intent, instrument=instrument, created=created, captured=captured
    )
    succeeded = charge["status"] == "succeeded"
    intent.update(
        latest_charge=id,
        amount_received=charge["amount_captured"],
        amount_capturable=amount if succeeded and not captured else 0,
        capture_method="automatic_async" if captured else "manual",
        status=("succeeded" if captured else "requires_capture")
        if succeeded
        else "requires_payment_method",
    )
    _remember_behaviour(world, id, given.get("refund_behaviour"), where)
    return id


def _remember_behaviour(world: World, id: str, behaviour: object, where: str) -> None:
    if behaviour is None:
        return
    if behaviour not in REFUND_BEHAVIOURS:
        raise BadSeed(f"{where}.refund_behaviour is one of {', '.join(REFUND_BEHAVIOURS)}")
    world.store.add("_refund_behaviour", id, {"behaviour": behaviour})


def _method(world: World, customer: str, instrument: Instrument, created: int) -> str:
    """One payment method per customer and instrument, under the same id at every seeding."""
    id = (
        f"pm_{customer.removeprefix('cus_')}{instrument.token.removeprefix('pm_').replace('_', '')}"
    )
    if world.store.get("payment_method", id) is None:
        method = payments.build_method(id, instrument, created, customer)
        world.store.add("payment_method", id, method)
    return id


# checking what was given


def _fields(given: object, known: set[str], where: str) -> None:
    if not isinstance(given, dict):
        raise BadSeed(f"{where} is an object")
    for name in given:
        if name not in known:
            raise BadSeed(f"{where} has no {name!r}: {', '.join(sorted(known))}")


def _id(given: Json, prefix: str, where: str) -> str | None:
    id = given.get("id")
    if id is None:
        return None
    if not isinstance(id, str) or not re.fullmatch(re.escape(prefix) + r"\w{1,200}", id):
        raise BadSeed(f"{where}.id begins with {prefix}")
    return id


def _text(given: Json, name: str, where: str) -> str | None:
    text = given.get(name)
    if text is not None and not isinstance(text, str):
        raise BadSeed(f"{where}.{name} is a text")
    return text


def _metadata(given: Json, where: str) -> dict[str, str]:
    metadata = given.get("metadata") or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise BadSeed(f"{where}.metadata maps texts to texts")
    return dict(metadata)


def _instant(value: object, where: str) -> int:
    try:
        return parse_instant(value)
    except ValueError as error:
        raise BadSeed(f"{where}: {error}") from None
