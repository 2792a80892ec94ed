"""Webhook endpoints: docs.stripe.com/api/webhook_endpoints.

The signing secret is in the answer to the creation only; it is stored beside the object.
"""

from __future__ import annotations

from . import API_VERSION
from .calls import Call
from .errors import invalid
from .lists import page
from .params import BOOLEAN, METADATA, PAGE, TEXT, TEXTS, UNSETTABLE, Param, Spec, merged_metadata
from .store import Json
from .world import World, random_id

CREATE: Spec = {
    "url": Param("text", required=True),
    "enabled_events": Param("texts", required=True),
    "api_version": TEXT,
    "description": UNSETTABLE,
    "metadata": METADATA,
    "expand": TEXTS,
}
WRITE: Spec = {
    "url": TEXT,
    "enabled_events": TEXTS,
    "description": UNSETTABLE,
    "disabled": BOOLEAN,
    "metadata": METADATA,
    "expand": TEXTS,
}
LIST: Spec = {name: param for name, param in PAGE.items() if name != "created"}


def register(world: World, url: str, enabled_events: list[str], secret: str | None = None) -> Json:
    """Answers the endpoint with its ``secret`` (whsec_...)."""
    row: Json = {
        "id": random_id("we_"),
        "object": "webhook_endpoint",
        "api_version": API_VERSION,
        "application": None,
        "created": world.clocks.now(""),
        "description": None,
        "enabled_events": enabled_events,
        "livemode": False,
        "metadata": {},
        "status": "enabled",
        "url": url,
    }
    world.add(row, "")
    secret = secret or random_id("whsec_", 32)
    world.store.add("_secret", row["id"], {"secret": secret})
    return row | {"secret": secret}


def create(world: World, call: Call) -> Json:
    params = call.params
    if params.get("api_version", API_VERSION) != API_VERSION:
        raise invalid(f"Invalid Stripe API version: {params['api_version']}", param="api_version")
    answer = register(world, params["url"], params["enabled_events"])
    row = world.store.edit("webhook_endpoint", answer["id"])
    row["description"] = params.get("description")
    row["metadata"] = merged_metadata({}, params.get("metadata"))
    return row | {"secret": answer["secret"]}


def retrieve(world: World, call: Call) -> Json:
    id = call.ids["webhook_endpoint"]
    return world.find("webhook_endpoint", id, param="webhook_endpoint")


def update(world: World, call: Call) -> Json:
    params = call.params
    row = world.edit(retrieve(world, call))
    for name in ("url", "enabled_events", "description"):
        if name in params:
            row[name] = params[name]
    if "disabled" in params:
        row["status"] = "disabled" if params["disabled"] else "enabled"
    row["metadata"] = merged_metadata(row["metadata"], params.get("metadata"))
    return row


def delete(world: World, call: Call) -> Json:
    row = retrieve(world, call)
    world.store.remove("webhook_endpoint", row["id"])
    for delivery in world.store.where("_delivery", "endpoint", row["id"]):
        world.store.remove("_delivery", delivery["id"])
    return {"id": row["id"], "object": "webhook_endpoint", "deleted": True}


def list_all(world: World, call: Call) -> Json:
    return page(world, world.store.all("webhook_endpoint"), call.params, "/v1/webhook_endpoints")
