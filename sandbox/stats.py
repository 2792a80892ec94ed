"""Sums over the books, so that a test or a demo sees at a glance what moved."""

from __future__ import annotations

from .store import Json, Store

KINDS = (
    "customer",
    "payment_intent",
    "charge",
    "refund",
    "dispute",
    "customer_balance_transaction",
    "event",
)


def _nothing() -> Json:
    return {"refunds": 0, "refunded": 0, "failed": 0, "credits": 0, "credited": 0}


def stats(store: Store) -> Json:
    """Amounts in minor units by currency. ``refunded`` counts refunds that are alive, ``failed``
    those that failed or were canceled, ``credited`` is positive for credit to the customer."""
    sums: dict[str, Json] = {}
    by_customer: dict[str, dict[str, Json]] = {}
    for row in store.all("refund"):
        charge = store.get("charge", row["charge"]) or {}
        alive = row["status"] not in ("failed", "canceled")
        for place in _places(sums, by_customer, charge.get("customer") or "", row["currency"]):
            place["refunds"] += 1
            place["refunded" if alive else "failed"] += row["amount"]
    for row in store.all("customer_balance_transaction"):
        for place in _places(sums, by_customer, row["customer"], row["currency"]):
            place["credits"] += 1
            place["credited"] -= row["amount"]
    return {
        "effects": store.count("refund") + store.count("customer_balance_transaction"),
        "objects": {kind: store.count(kind) for kind in KINDS},
        "requests": store.count("_journal"),
        "by_currency": sums,
        "by_customer": by_customer,
    }


def _places(
    sums: dict[str, Json], by_customer: dict[str, dict[str, Json]], customer: str, currency: str
) -> tuple[Json, Json]:
    return (
        sums.setdefault(currency, _nothing()),
        by_customer.setdefault(customer, {}).setdefault(currency, _nothing()),
    )
