"""The hash chain over the append-only rows. Pure.

A row's ``entry_hash`` is SHA-256 over its canonical columns; a link's ``hash`` is SHA-256
over its number, what it covers and the hash before it. So a changed, missing, moved or added
row breaks a link, and everything after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from domain.canonical import sha256_of

GENESIS = "0" * 64
"""The ``prev_hash`` of link 1, and the head's hash before it."""

ENTRY_COLUMNS = ("account", "amount_minor", "currency")


class Head(BaseModel):
    """The last link: its number and hash. Kept outside, it dates everything before it."""

    model_config = ConfigDict(frozen=True)

    seq: int
    hash: str


class Link(BaseModel):
    model_config = ConfigDict(frozen=True)

    seq: int
    entry_table: str
    entry_id: str
    entry_hash: str
    prev_hash: str
    hash: str


def hash_of_row(row: Mapping[str, Any]) -> str:
    """Over all columns as they are stored: text, integers and null."""
    return sha256_of(row)


def hash_of_transaction(row: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> str:
    """A ledger transaction with its entries, which are given in their own order."""
    lines = [{name: entry[name] for name in ENTRY_COLUMNS} for entry in entries]
    return sha256_of({"row": row, "entries": lines})


def hash_of_link(
    *, seq: int, entry_table: str, entry_id: str, entry_hash: str, prev_hash: str
) -> str:
    return sha256_of(
        {
            "seq": seq,
            "table": entry_table,
            "id": entry_id,
            "entry_hash": entry_hash,
            "prev_hash": prev_hash,
        }
    )


def next_link(head: Head, entry_table: str, entry_id: str, entry_hash: str) -> Link:
    seq = head.seq + 1
    return Link(
        seq=seq,
        entry_table=entry_table,
        entry_id=entry_id,
        entry_hash=entry_hash,
        prev_hash=head.hash,
        hash=hash_of_link(
            seq=seq,
            entry_table=entry_table,
            entry_id=entry_id,
            entry_hash=entry_hash,
            prev_hash=head.hash,
        ),
    )
