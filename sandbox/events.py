"""Events, as they are read back: docs.stripe.com/api/events (kept 30 days there, for ever here)."""

from __future__ import annotations

from .calls import Call
from .errors import invalid
from .lists import page
from .params import BOOLEAN, PAGE, TEXT, TEXTS, Spec
from .store import Json
from .world import World

LIST: Spec = {**PAGE, "type": TEXT, "types": TEXTS, "delivery_success": BOOLEAN}


def type_matches(pattern: str, type: str) -> bool:
    """``*`` is every type; ``refund.*`` is every type below."""
    return pattern in ("*", type) or (pattern.endswith(".*") and type.startswith(pattern[:-1]))


def retrieve(world: World, call: Call) -> Json:
    return world.find("event", call.ids["id"], param="id")


def list_all(world: World, call: Call) -> Json:
    params = call.params
    if "type" in params and "types" in params:
        raise invalid("You may only specify one of these parameters: type, types.")
    wanted = params.get("types") or [params.get("type", "*")]
    rows = [
        row
        for row in world.store.all("event")
        if any(type_matches(pattern, row["type"]) for pattern in wanted)
        and params.get("delivery_success", row["pending_webhooks"] == 0)
        == (row["pending_webhooks"] == 0)
    ]
    return page(world, rows, params, "/v1/events")
