"""The account's balance transactions: every movement, with sign, fee and source.

docs.stripe.com/api/balance_transactions/object, docs.stripe.com/reports/balance-transaction-types.
"""

from __future__ import annotations

from .calls import Call
from .clock import add_business_days
from .lists import page
from .params import PAGE, TEXT, Spec
from .store import Json
from .world import World, random_id

LIST: Spec = {**PAGE, "currency": TEXT, "source": TEXT, "type": TEXT}
DISPUTE_FEE = 1500
PAYOUT_DAYS = 2


def processing_fee(amount: int) -> int:
    """2.9 % and 30 minor units (stripe.com/pricing), never more than the payment."""
    return min(amount, (amount * 29 + 500) // 1000 + 30)


def book(
    world: World,
    customer: str,
    *,
    amount: int,
    currency: str,
    type: str,
    category: str,
    source: str,
    created: int,
    fee: int = 0,
    description: str | None = None,
) -> Json:
    """``amount`` is signed, minor units: positive came to the account, negative left it."""
    fees = [
        {
            "amount": fee,
            "application": None,
            "currency": currency,
            "description": "Dispute fee" if category == "dispute" else "Stripe processing fees",
            "type": "stripe_fee",
        }
    ]
    available_on = add_business_days(created, PAYOUT_DAYS)
    row: Json = {
        "id": random_id("txn_"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": available_on,
        "balance_type": "payments",
        "created": created,
        "currency": currency,
        "description": description,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": fees if fee else [],
        "net": amount - fee,
        "reporting_category": category,
        "source": source,
        "status": "available" if available_on <= world.clocks.now(customer) else "pending",
        "type": type,
    }
    world.store.add("balance_transaction", row["id"], row)
    return row


def retrieve(world: World, call: Call) -> Json:
    return world.find("balance_transaction", call.ids["id"], param="id")


def list_all(world: World, call: Call) -> Json:
    params = call.params
    if "source" in params:
        rows = world.store.where("balance_transaction", "source", params["source"])
    elif "type" in params:
        rows = world.store.where("balance_transaction", "type", params["type"])
    else:
        rows = world.store.all("balance_transaction")
    rows = [
        row
        for row in rows
        if row["type"] == params.get("type", row["type"])
        and row["currency"] == params.get("currency", row["currency"])
    ]
    return page(world, rows, params, "/v1/balance_transactions")
