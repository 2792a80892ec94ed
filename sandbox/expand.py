"""``expand[]``: ids in an answer replaced by their objects (docs.stripe.com/api/expanding_objects).

Works on copies: stored rows hold ids only.
"""

from __future__ import annotations

from collections.abc import Iterable

from .errors import invalid
from .store import Json, copy_json
from .world import World

MAX_DEPTH = 4

# object -> field -> kind of the object that stands behind the id
EXPANDABLE: dict[str, dict[str, str]] = {
    "charge": {
        "customer": "customer",
        "payment_intent": "payment_intent",
        "balance_transaction": "balance_transaction",
        "failure_balance_transaction": "balance_transaction",
    },
    "payment_intent": {
        "customer": "customer",
        "latest_charge": "charge",
        "payment_method": "payment_method",
    },
    "refund": {
        "charge": "charge",
        "payment_intent": "payment_intent",
        "balance_transaction": "balance_transaction",
        "failure_balance_transaction": "balance_transaction",
    },
    "dispute": {"charge": "charge", "payment_intent": "payment_intent"},
    "customer_balance_transaction": {"customer": "customer"},
    "payment_method": {"customer": "customer"},
    "balance_transaction": {"source": ""},
    "customer": {},
    "event": {},
    "webhook_endpoint": {},
}
PREFIX_KIND = {"re_": "refund", "ch_": "charge", "py_": "charge", "du_": "dispute"}


def expanded(world: World, answer: Json, paths: Iterable[str]) -> Json:
    answer = copy_json(answer)
    for path in paths:
        parts = path.split(".")
        if len(parts) > MAX_DEPTH + 1:
            raise invalid(f"You cannot expand more than {MAX_DEPTH} levels of a property.")
        if answer.get("object") == "list":
            if parts[0] != "data" or len(parts) < 2:
                raise _cannot(path)
            for row in answer["data"]:
                _expand(world, row, parts[1:], path)
        else:
            _expand(world, answer, parts, path)
    return answer


def _expand(world: World, row: Json, parts: list[str], path: str) -> None:
    field, rest = parts[0], parts[1:]
    if row.get("object") == "charge" and field == "refunds":
        rows = world.store.where("refund", "charge", row["id"])
        row.setdefault(
            "refunds",
            {
                "object": "list",
                "data": copy_json(rows[::-1][:10]),
                "has_more": len(rows) > 10,
                "url": f"/v1/charges/{row['id']}/refunds",
            },
        )
        if rest[:1] == ["data"] and len(rest) > 1:
            for refund in row["refunds"]["data"]:
                _expand(world, refund, rest[1:], path)
        return
    kinds = EXPANDABLE.get(row.get("object", ""), {})
    if field not in kinds:
        raise _cannot(path)
    value = row.get(field)
    if isinstance(value, str):
        kind = kinds[field] or PREFIX_KIND.get(value[:3], "")
        found = world.store.get(kind, value)
        if found is None:
            return
        value = row[field] = copy_json(found)
    if rest and isinstance(value, dict):
        _expand(world, value, rest, path)


def _cannot(path: str) -> Exception:
    return invalid(f"This property cannot be expanded ({path}).", param="expand")
