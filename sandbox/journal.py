"""Every request under /v1, in order, with what it moved: the witness for "exactly one refund"."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .store import Json, Store


@dataclass
class Entry:
    """``status`` and ``response`` are what was, or without the fault would have been, answered."""

    seq: int
    request_id: str
    at_ms: int
    method: str
    path: str
    params: Json = field(default_factory=dict)
    idempotency_key: str | None = None
    customer: str = ""
    customer_now: int | None = None
    replayed: bool = False
    fault: str | None = None
    answered: bool = True
    status: int | None = None
    response: Json | None = None
    effects: list[str] = field(default_factory=list)

    def as_json(self) -> Json:
        return dict(vars(self))


class Journal:
    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, entry: Entry, *, limit: int = 0) -> None:
        """``limit``: the oldest entries beyond it are forgotten; 0 keeps all."""
        self._store.add("_journal", f"{entry.seq:012d}", entry.as_json())
        while limit and self._store.count("_journal") > limit:
            oldest = self._store.oldest("_journal")
            assert oldest is not None
            self._store.remove("_journal", oldest)

    def find(
        self,
        *,
        method: str | None = None,
        path: str | None = None,
        customer: str | None = None,
        key: str | None = None,
        since: int = 0,
        effects: bool = False,
        status_from: int = 0,
    ) -> list[Json]:
        """In order of arrival. ``path`` is a regular expression; ``since`` a seq, exclusive;
        ``status_from`` the least status answered (500: what went wrong at the provider)."""
        pattern = re.compile(path) if path else None
        rows = [
            row
            for row in self._store.all("_journal")
            if row["seq"] > since
            and method in (None, row["method"])
            and (pattern is None or pattern.fullmatch(row["path"]))
            and customer in (None, row["customer"])
            and key in (None, row["idempotency_key"])
            and (row["effects"] or not effects)
            and (row["status"] or 0) >= status_from
        ]
        return sorted(rows, key=lambda row: row["seq"])
