"""A clock per customer, and what falls due on it.

``now(customer) = wall clock + offset(customer)``; the offset starts at 0, is moved by control
routes and is stored, so it survives a restart. It plays the part of Stripe's test clocks
(docs.stripe.com/billing/testing/test-clocks), but for every object and in both directions.
The customer ``""`` is the account itself: objects that belong to nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from .store import Json, Store

ACCOUNT = ""


class CannotGoBack(Exception):
    """The customer already has an object that is later than the instant asked for."""


def add_business_days(instant: int, days: int) -> int:
    """Monday to Friday at the same time of day, as banks count (docs.stripe.com/refunds)."""
    moment = datetime.fromtimestamp(instant, UTC)
    while days > 0:
        moment += timedelta(days=1)
        if moment.weekday() < 5:
            days -= 1
    return int(moment.timestamp())


def iso(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat().replace("+00:00", "Z")


def parse_instant(value: object) -> int:
    """ISO 8601 with an offset, or whole seconds since the epoch."""
    if isinstance(value, bool):
        raise ValueError("an instant is an ISO 8601 text or whole seconds")
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError(f"{value!r} has no UTC offset")
        return int(moment.timestamp())
    raise ValueError("an instant is an ISO 8601 text or whole seconds")


class Clocks:
    def __init__(self, store: Store, wall: Callable[[], float] = time.time) -> None:
        self._store = store
        self.wall = wall
        self._frozen: dict[str, int] = {}

    def offset(self, customer: str) -> int:
        row = self._store.get("_clock", customer)
        return int(row["offset"]) if row else 0

    def now(self, customer: str) -> int:
        """Whole seconds, UTC; while due things fire, the instant at which they fell due."""
        frozen = self._frozen.get(customer)
        return int(self.wall()) + self.offset(customer) if frozen is None else frozen

    def latest(self, customer: str) -> int:
        """Creation of the customer's latest object that a request or the clock made."""
        row = self._store.get("_clock", customer)
        return int(row["latest"]) if row else 0

    def note(self, customer: str, created: int) -> None:
        """Remember the latest object: the clock may not be set back before it."""
        if created > self.latest(customer):
            self._edit(customer)["latest"] = created

    def set_to(self, customer: str, instant: int) -> None:
        if instant < self.now(customer) and instant < self.latest(customer):
            raise CannotGoBack(
                f"{customer or 'the account'} has an object of {iso(self.latest(customer))}, "
                f"later than {iso(instant)}"
            )
        self._edit(customer)["offset"] = instant - int(self.wall())

    @contextmanager
    def frozen(self, customer: str, instant: int) -> Iterator[None]:
        self._frozen[customer] = instant
        try:
            yield
        finally:
            del self._frozen[customer]

    # what falls due

    def schedule(self, customer: str, at: int, act: str, object_id: str) -> None:
        id = f"due_{self._store.serial():012d}"
        self._store.add(
            "_due",
            id,
            {"id": id, "customer": customer, "at": at, "act": act, "object": object_id},
        )

    def next_due(self, customer: str, upto: int | None = None) -> Json | None:
        """The earliest thing due (by ``upto``); things due together keep their order."""
        rows = self._store.where("_due", "customer", customer)
        rows = [row for row in rows if upto is None or row["at"] <= upto]
        return min(rows, key=lambda row: (row["at"], row["id"]), default=None)

    def customers_with_due(self) -> list[str]:
        return [
            customer
            for customer in self._store.keys_of("_due", "customer")
            if self.next_due(customer, self.now(customer)) is not None
        ]

    def _edit(self, customer: str) -> Json:
        if self._store.get("_clock", customer) is None:
            return self._store.add("_clock", customer, {"offset": 0, "latest": 0})
        return self._store.edit("_clock", customer)
