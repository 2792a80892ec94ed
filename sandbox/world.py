"""What every endpoint works with: the rows, the clocks, the settings and the events it emits."""

from __future__ import annotations

import random
import string
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from . import API_VERSION
from .clock import ACCOUNT, Clocks
from .errors import missing
from .settings import Settings
from .store import Json, Store, copy_json

ALPHABET = string.ascii_letters + string.digits
_dice = random.Random()  # ids must differ, not be secret


def random_id(prefix: str, length: int = 24) -> str:
    return prefix + "".join(_dice.choices(ALPHABET, k=length))


@dataclass
class Origin:
    """What caused the present change: a request, or (both None) the clock or a control route."""

    request_id: str | None = None
    idempotency_key: str | None = None
    effects: list[str] = field(default_factory=list)


class World:
    def __init__(
        self, store: Store, settings: Settings, wall: Callable[[], float] = time.time
    ) -> None:
        self.store = store
        self.clocks = Clocks(store, wall)
        self.first_settings = settings
        self.origin = Origin()
        self.on_event: Callable[[Json], None] = lambda event: None

    @property
    def settings(self) -> Settings:
        row = self.store.get("_settings", "settings")
        return self.first_settings.changed(row) if row else self.first_settings

    def change_settings(self, change: Json) -> Settings:
        after = self.settings.changed(change)
        if self.store.get("_settings", "settings") is None:
            self.store.add("_settings", "settings", {})
        row = self.store.edit("_settings", "settings")
        row.clear()
        row.update(after.as_json())
        return after

    @contextmanager
    def caused_by(self, origin: Origin) -> Iterator[Origin]:
        before, self.origin = self.origin, origin
        try:
            yield origin
        finally:
            self.origin = before

    # rows

    def add(self, row: Json, customer: str, *, moves_money: bool = False) -> Json:
        """A new object, dated ``row["created"]`` on the customer's clock."""
        self.store.add(row["object"], row["id"], row)
        self.clocks.note(customer, row["created"])
        if moves_money:
            self.origin.effects.append(row["id"])
        return row

    def find(self, kind: str, id: str, *, param: str, in_path: bool = True) -> Json:
        row = self.store.get(kind, id)
        if row is None:
            raise missing(kind.replace("_", " "), id, param=param, in_path=in_path)
        return row

    def edit(self, row: Json) -> Json:
        return self.store.edit(row["object"], row["id"])

    def customer_of(self, row: Json) -> str:
        """The customer on whose clock an object lives."""
        match row["object"]:
            case "customer":
                return str(row["id"])
            case "refund" | "dispute":
                charge = self.store.get("charge", row["charge"])
                return str((charge or {}).get("customer") or ACCOUNT)
            case _:
                return str(row.get("customer") or ACCOUNT)

    def charge_of(self, row: Json) -> Json:
        charge = self.store.get("charge", row["charge"])
        assert charge is not None
        return charge

    def settle_days(self, id: str) -> int:
        """Business days until a bank answers: by chance, but the same for the same id and seed."""
        settings = self.settings
        return random.Random(f"{settings.seed}:{id}").randint(
            settings.settle_days_min, settings.settle_days_max
        )

    # events

    def emit(self, type: str, row: Json, customer: str, *, previous: Json | None = None) -> None:
        """docs.stripe.com/api/events/object: a snapshot of the object as it is now."""
        data: Json = {"object": copy_json(row)}
        if previous is not None:
            data["previous_attributes"] = copy_json(previous)
        event: Json = {
            "id": random_id("evt_"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.clocks.now(customer),
            "data": data,
            "livemode": False,
            "pending_webhooks": 0,
            "request": {
                "id": self.origin.request_id,
                "idempotency_key": self.origin.idempotency_key,
            },
            "type": type,
        }
        self.add(event, customer)
        self.on_event(event)
