"""All state: rows by kind and id, in memory, and behind them (optionally) one SQLite file.

A request's whole effect lies in one transaction: ``commit`` writes every touched row before the
answer leaves, ``rollback`` restores every touched row. Rows are plain JSON.
"""

from __future__ import annotations

import json
import marshal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Place = tuple[str, str]  # kind, id

# Fields by which rows are looked up. They never change once the row exists.
INDEXED: dict[str, tuple[str, ...]] = {
    "payment_intent": ("customer",),
    "charge": ("customer", "payment_intent"),
    "refund": ("charge", "payment_intent"),
    "dispute": ("charge", "payment_intent"),
    "customer_balance_transaction": ("customer",),
    "balance_transaction": ("source", "type"),
    "event": ("type",),
    "_due": ("customer",),
    "_delivery": ("event", "endpoint", "mode"),
}


def copy_json(value: Any) -> Any:
    """A deep copy; marshal is several times faster than deepcopy for plain JSON."""
    return marshal.loads(marshal.dumps(value))


class Store:
    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._rows: dict[str, dict[str, Json]] = {}
        self._order: dict[Place, int] = {}
        self._index: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
        self._next = 1
        self._undo: dict[Place, Json | None] = {}
        self._db: sqlite3.Connection | None = None
        if path is not None:
            self._db = self._open(path)

    def _open(self, path: Path) -> sqlite3.Connection:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode=WAL")
        # NORMAL survives a killed process; only a power cut could lose the last commits.
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute(
            "CREATE TABLE IF NOT EXISTS rows (kind TEXT NOT NULL, id TEXT NOT NULL,"
            " seq INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID"
        )
        for kind, id, seq, body in db.execute("SELECT kind, id, seq, body FROM rows ORDER BY seq"):
            self._place(kind, id, json.loads(body), seq)
            self._next = seq + 1
        return db

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    # reading

    def get(self, kind: str, id: str) -> Json | None:
        """The live row. Change it only after ``edit``."""
        return self._rows.get(kind, {}).get(id)

    def all(self, kind: str) -> list[Json]:
        """Every row of a kind, oldest first."""
        return list(self._rows.get(kind, {}).values())

    def oldest(self, kind: str) -> str | None:
        """The id of the first row of a kind that is still there."""
        return next(iter(self._rows.get(kind, {})), None)

    def count(self, kind: str) -> int:
        return len(self._rows.get(kind, {}))

    def where(self, kind: str, field: str, value: str) -> list[Json]:
        """Rows by an indexed field, oldest first."""
        rows = self._rows.get(kind, {})
        return [rows[id] for id in self._index.get((kind, field), {}).get(value, {})]

    def keys_of(self, kind: str, field: str) -> list[str]:
        """Values of an indexed field that have at least one row."""
        return list(self._index.get((kind, field), {}))

    def sequence(self, kind: str, id: str) -> int:
        """Order of creation, which breaks ties between equal ``created`` seconds."""
        return self._order[kind, id]

    def serial(self) -> int:
        """A number greater than every one given before."""
        self._next += 1
        return self._next - 1

    @property
    def touched(self) -> list[Place]:
        return list(self._undo)

    # writing

    def add(self, kind: str, id: str, row: Json) -> Json:
        if id in self._rows.get(kind, {}):
            raise ValueError(f"{kind} {id} exists")
        self._undo.setdefault((kind, id), None)
        self._place(kind, id, row, self._next)
        self._next += 1
        return row

    def edit(self, kind: str, id: str) -> Json:
        """The live row, remembered as it was, so that a rollback restores it."""
        row = self._rows[kind][id]
        if (kind, id) not in self._undo:
            self._undo[kind, id] = copy_json(row)
        return row

    def remove(self, kind: str, id: str) -> None:
        row = self._rows[kind][id]
        self._undo.setdefault((kind, id), copy_json(row))
        self._displace(kind, id)

    def clear(self) -> None:
        self._rows.clear()
        self._order.clear()
        self._index.clear()
        self._undo.clear()
        if self._db is not None:
            self._db.execute("DELETE FROM rows")

    def commit(self) -> None:
        if self._db is not None and self._undo:
            self._db.execute("BEGIN IMMEDIATE")
            for kind, id in self._undo:
                row = self.get(kind, id)
                if row is None:
                    self._db.execute("DELETE FROM rows WHERE kind = ? AND id = ?", (kind, id))
                else:
                    self._db.execute(
                        "INSERT INTO rows (kind, id, seq, body) VALUES (?, ?, ?, ?)"
                        " ON CONFLICT (kind, id) DO UPDATE SET seq = excluded.seq,"
                        " body = excluded.body",
                        (kind, id, self._order[kind, id], json.dumps(row)),
                    )
            self._db.execute("COMMIT")
        self._undo.clear()

    def rollback(self) -> None:
        for (kind, id), before in self._undo.items():
            order = self._order.get((kind, id))
            if order is not None:
                self._displace(kind, id)
            if before is not None:
                if order is None:
                    order = self._next
                    self._next += 1
                self._place(kind, id, before, order)
        self._undo.clear()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self._undo:
            raise RuntimeError("transactions do not nest")
        try:
            yield
        except BaseException:
            self.rollback()
            raise
        self.commit()

    def _place(self, kind: str, id: str, row: Json, order: int) -> None:
        self._rows.setdefault(kind, {})[id] = row
        self._order[kind, id] = order
        for field in INDEXED.get(kind, ()):
            value = row.get(field)
            if value is not None:
                self._index.setdefault((kind, field), {}).setdefault(value, {})[id] = None

    def _displace(self, kind: str, id: str) -> None:
        row = self._rows[kind].pop(id)
        del self._order[kind, id]
        for field in INDEXED.get(kind, ()):
            value = row.get(field)
            if value is not None:
                ids = self._index[kind, field][value]
                del ids[id]
                if not ids:
                    del self._index[kind, field][value]
