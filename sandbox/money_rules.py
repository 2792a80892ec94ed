"""Rules of money that hold after every request; a breach is a bug of the sandbox itself.

Only what the request touched is checked, so the cost does not grow with the books.
"""

from __future__ import annotations

from .errors import BrokenMoneyRule
from .store import Json, Store

DEAD = ("failed", "canceled")


def check(store: Store) -> None:
    charges: set[str] = set()
    customers: set[str] = set()
    for kind, id in store.touched:
        row = store.get(kind, id)
        if row is None:
            if not kind.startswith("_") and kind != "webhook_endpoint":
                _fail(f"{kind} {id} vanished")
            continue
        if kind == "charge":
            charges.add(id)
        elif kind in ("refund", "dispute"):
            charges.add(row["charge"])
        elif kind == "customer":
            customers.add(id)
        elif kind == "customer_balance_transaction":
            customers.add(row["customer"])
        elif kind == "balance_transaction":
            _balance_transaction(row)
    for id in charges:
        _charge(store, id)
    for id in customers:
        _customer(store, id)


def _fail(message: str) -> None:
    raise BrokenMoneyRule(message)


def _balance_transaction(row: Json) -> None:
    if row["net"] != row["amount"] - row["fee"]:
        _fail(f"{row['id']}: net is not amount less fee")
    if row["fee"] != sum(fee["amount"] for fee in row["fee_details"]):
        _fail(f"{row['id']}: fee is not the sum of its details")


def _booked(store: Store, source: str) -> int:
    return sum(row["amount"] for row in store.where("balance_transaction", "source", source))


def _charge(store: Store, id: str) -> None:
    charge = store.get("charge", id)
    if charge is None:
        raise BrokenMoneyRule(f"charge {id} vanished")
    refunded = 0
    for refund in store.where("refund", "charge", id):
        alive = refund["status"] not in DEAD
        refunded += refund["amount"] if alive else 0
        if refund["amount"] <= 0:
            _fail(f"{refund['id']}: amount {refund['amount']}")
        if refund["currency"] != charge["currency"]:
            _fail(f"{refund['id']}: another currency than {id}")
        if _booked(store, refund["id"]) != (-refund["amount"] if alive else 0):
            _fail(f"{refund['id']}: balance transactions do not sum to what it moved")
    captured = charge["amount_captured"]
    if refunded > captured:
        _fail(f"{id}: refunds of {refunded} exceed the captured {captured}")
    if charge["amount_refunded"] != refunded:
        _fail(f"{id}: amount_refunded {charge['amount_refunded']}, refunds sum to {refunded}")
    if charge["refunded"] != (captured > 0 and refunded == captured):
        _fail(f"{id}: refunded is {charge['refunded']} at {refunded} of {captured}")
    if _booked(store, id) != captured:
        _fail(f"{id}: balance transactions do not sum to the captured {captured}")
    for dispute in store.where("dispute", "charge", id):
        moved = {"won": 0, "needs_response": -1, "under_review": -1, "lost": -1}
        if _booked(store, dispute["id"]) != moved.get(dispute["status"], 0) * dispute["amount"]:
            _fail(f"{dispute['id']}: balance transactions do not fit status {dispute['status']}")


def _customer(store: Store, id: str) -> None:
    customer = store.get("customer", id)
    if customer is None:
        raise BrokenMoneyRule(f"customer {id} vanished")
    balance = 0
    for row in store.where("customer_balance_transaction", "customer", id):
        balance += row["amount"]
        if row["ending_balance"] != balance:
            _fail(f"{row['id']}: ending_balance {row['ending_balance']}, sum is {balance}")
    if customer["balance"] != balance:
        _fail(f"{id}: balance {customer['balance']}, transactions sum to {balance}")
