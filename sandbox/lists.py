"""Stripe's lists: newest first, cursors, ``has_more`` (docs.stripe.com/api/pagination)."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import invalid, missing
from .store import Json
from .world import World

MAX_LIMIT = 100
DEFAULT_LIMIT = 10


def page(world: World, rows: Iterable[Json], params: Json, url: str) -> Json:
    limit = params.get("limit", DEFAULT_LIMIT)
    if not 1 <= limit <= MAX_LIMIT:
        bound = "greater than or equal to 1" if limit < 1 else f"less than or equal to {MAX_LIMIT}"
        raise invalid(
            f"This value must be {bound} (it currently is '{limit}').",
            code="parameter_invalid_integer",
            param="limit",
        )
    after, before = params.get("starting_after"), params.get("ending_before")
    if after is not None and before is not None:
        raise invalid("You may only specify one of: starting_after, ending_before.")
    found = sorted(
        (row for row in rows if _created_fits(row, params.get("created"))),
        key=lambda row: (row["created"], world.store.sequence(row["object"], row["id"])),
        reverse=True,
    )
    places = {row["id"]: place for place, row in enumerate(found)}
    if after is not None:
        start = _place(places, after, "starting_after") + 1
        data, has_more = found[start : start + limit], len(found) > start + limit
    elif before is not None:
        end = _place(places, before, "ending_before")
        start = max(0, end - limit)
        data, has_more = found[start:end], start > 0
    else:
        data, has_more = found[:limit], len(found) > limit
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def _place(places: dict[str, int], id: str, param: str) -> int:
    if id not in places:
        raise missing("object", id, param=param, in_path=False)
    return places[id]


def _created_fits(row: Json, bounds: dict[str, int] | None) -> bool:
    if bounds is None:
        return True
    created: int = row["created"]
    return (
        created == bounds.get("eq", created)
        and created > bounds.get("gt", created - 1)
        and created >= bounds.get("gte", created)
        and created < bounds.get("lt", created + 1)
        and created <= bounds.get("lte", created)
    )
