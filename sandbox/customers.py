"""Customers and their credit balance.

docs.stripe.com/api/customers, docs.stripe.com/billing/customer/balance: a negative balance is
credit for the customer; every change is a transaction that can never be deleted.
"""

from __future__ import annotations

from .calls import Call
from .currencies import known
from .errors import refused
from .lists import page
from .params import INTEGER, METADATA, PAGE, TEXT, UNSETTABLE, Param, Spec, merged_metadata
from .store import Json, copy_json
from .world import World, random_id

FIELDS = ("name", "email", "phone", "description")
ADDRESS = Param(
    "object",
    fields=dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"), UNSETTABLE),
)
WRITE: Spec = {
    **dict.fromkeys(FIELDS, UNSETTABLE),
    "address": ADDRESS,
    "metadata": METADATA,
    "expand": Param("texts"),
}
LIST: Spec = {**PAGE, "email": TEXT}
CREDIT: Spec = {
    "amount": Param("integer", required=True),
    "currency": Param("text", required=True),
    "description": UNSETTABLE,
    "metadata": METADATA,
    "expand": Param("texts"),
}
CREDIT_UPDATE: Spec = {
    "description": UNSETTABLE,
    "metadata": METADATA,
    "expand": Param("texts"),
}
CREDIT_LIST: Spec = {**PAGE, "limit": INTEGER}


def blank(id: str, created: int) -> Json:
    return {
        "id": id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": created,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "email": None,
        "invoice_prefix": id[-8:].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def _write(row: Json, params: Json) -> None:
    for name in FIELDS:
        if name in params:
            row[name] = params[name]
    if "address" in params:
        names = ("city", "country", "line1", "line2", "postal_code", "state")
        row["address"] = {name: params["address"].get(name) for name in names}
    row["metadata"] = merged_metadata(row["metadata"], params.get("metadata"))


def create(world: World, call: Call) -> Json:
    id = random_id("cus_", 14)
    row = blank(id, world.clocks.now(id))
    _write(row, call.params)
    world.add(row, id)
    world.emit("customer.created", row, id)
    return row


def retrieve(world: World, call: Call) -> Json:
    return world.find("customer", call.ids["customer"], param="id")


def update(world: World, call: Call) -> Json:
    row = world.edit(retrieve(world, call))
    before = copy_json(row)
    _write(row, call.params)
    changed = {name: before[name] for name in before if before[name] != row[name]}
    if changed:
        world.emit("customer.updated", row, row["id"], previous=changed)
    return row


def list_all(world: World, call: Call) -> Json:
    email = call.params.get("email")
    rows = [row for row in world.store.all("customer") if email is None or row["email"] == email]
    return page(world, rows, call.params, "/v1/customers")


# the credit balance


def create_credit(world: World, call: Call) -> Json:
    """docs.stripe.com/api/customer_balance_transactions/create: a negative amount is credit."""
    params = call.params
    customer = retrieve(world, call)
    currency = known(params["currency"])
    if customer["currency"] not in (None, currency):
        raise refused(
            "You cannot combine currencies on a single customer. This customer has had a balance "
            f"transaction with currency {customer['currency']}",
            param="currency",
        )
    customer = world.edit(customer)
    previous = {"balance": customer["balance"]}
    if customer["currency"] is None:
        previous["currency"] = None
        customer["currency"] = currency
    customer["balance"] += params["amount"]
    row: Json = {
        "id": random_id("cbtxn_"),
        "object": "customer_balance_transaction",
        "amount": params["amount"],
        "checkout_session": None,
        "created": world.clocks.now(customer["id"]),
        "credit_note": None,
        "currency": currency,
        "customer": customer["id"],
        "description": params.get("description"),
        "ending_balance": customer["balance"],
        "invoice": None,
        "livemode": False,
        "metadata": merged_metadata({}, params.get("metadata")),
        "type": "adjustment",
    }
    world.add(row, customer["id"], moves_money=True)
    world.emit("customer.updated", customer, customer["id"], previous=previous)
    return row


def retrieve_credit(world: World, call: Call) -> Json:
    customer = retrieve(world, call)
    row = world.find("customer_balance_transaction", call.ids["transaction"], param="transaction")
    if row["customer"] != customer["id"]:
        world.find("customer_balance_transaction", "", param="transaction")
    return row


def update_credit(world: World, call: Call) -> Json:
    row = world.edit(retrieve_credit(world, call))
    if "description" in call.params:
        row["description"] = call.params["description"]
    row["metadata"] = merged_metadata(row["metadata"], call.params.get("metadata"))
    return row


def list_credits(world: World, call: Call) -> Json:
    customer = retrieve(world, call)
    rows = world.store.where("customer_balance_transaction", "customer", customer["id"])
    return page(world, rows, call.params, f"/v1/customers/{customer['id']}/balance_transactions")
