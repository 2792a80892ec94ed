"""Does the chain hold: is every row that was written still there, as it was written?

What this finds by itself: a row or link that was changed, deleted, inserted, moved, dated
back, or cut off at the end while the head stayed. What it cannot: whoever may write every
table can cut the tail and set the head back, or compute the whole chain anew; both leave
books that are consistent in themselves. Only a head kept elsewhere (``expected_head``, from
an earlier report or export) shows that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from sqlalchemy import Table, and_, func, select, text

from audit.findings import Findings
from ledger import tables as t
from ledger.chain import GENESIS, Head, hash_of_link, hash_of_row, hash_of_transaction
from ledger.reading import Reading


async def check_chain(reading: Reading, found: Findings, expected_head: Head | None) -> Head:
    """Every link's number and hash, the head row, and the head kept elsewhere.

    Returns the last link as it is in the books. A break is reported where it is, once: the
    walk goes on from what the link says.
    """
    last = Head(seq=0, hash=GENESIS)
    seen_expected = expected_head is None or expected_head.seq == 0
    async for row in reading.stream(select(t.chain_links).order_by(t.chain_links.c.seq)):
        seq = int(row["seq"])
        where = f"{row['entry_table']} {row['entry_id']}"
        if seq != last.seq + 1:
            found.add(
                "chain",
                "chain_links",
                where,
                f"the sequence goes from {last.seq} to {seq}: links between are missing",
                seq=seq,
            )
        elif row["prev_hash"] != last.hash:
            found.add(
                "chain",
                "chain_links",
                where,
                "it does not follow the link before it: one of the two was changed or moved",
                seq=seq,
            )
        if row["hash"] != _hash_of_link(row):
            found.add("chain", "chain_links", where, "its hash does not fit what it says", seq=seq)
        if expected_head is not None and seq == expected_head.seq:
            seen_expected = True
            if row["hash"] != expected_head.hash:
                found.add(
                    "chain",
                    "chain_links",
                    where,
                    "its hash is not the one that was kept elsewhere: the chain was written anew",
                    seq=seq,
                )
        last = Head(seq=seq, hash=row["hash"])
    head = await reading.head()
    if head != last:
        found.add(
            "chain",
            "chain_head",
            "1",
            f"the head says {head.seq} {head.hash[:12]}, the last link is "
            f"{last.seq} {last.hash[:12]}: links at the end were removed or added",
        )
    if expected_head is not None and not seen_expected:
        found.add(
            "chain",
            "chain_links",
            f"seq {expected_head.seq}",
            f"the books end at {last.seq}, but were at {expected_head.seq} before: "
            "the end was cut off, or an old copy was put in their place",
        )
    return last


def _hash_of_link(row: Mapping[str, Any]) -> str:
    return hash_of_link(
        seq=row["seq"],
        entry_table=row["entry_table"],
        entry_id=row["entry_id"],
        entry_hash=row["entry_hash"],
        prev_hash=row["prev_hash"],
    )


async def check_rows(reading: Reading, found: Findings) -> None:
    """Every append-only row against its one link, and every link against its row."""
    for table in t.CHAINED:
        hashed = _transactions(reading) if table is t.ledger_transactions else _rows(reading, table)
        async for row_id, actual, link in hashed:
            if link is None:
                found.add(
                    "chain",
                    table.name,
                    row_id,
                    "it has no link: it was not written by the engine, or its link is gone",
                )
            elif actual != link["entry_hash"]:
                found.add(
                    "chain",
                    table.name,
                    row_id,
                    "it is not what was sealed: the row was changed",
                    seq=link["seq"],
                )
        await _check_links_of(reading, table, found)
    await _check_strays(reading, found)


_Hashed = AsyncIterator[tuple[str, str, Mapping[str, Any] | None]]


async def _rows(reading: Reading, table: Table) -> _Hashed:
    link = t.chain_links.c
    statement = (
        select(table, link.seq.label("link_seq"), link.entry_hash.label("link_hash"))
        .outerjoin_from(table, t.chain_links, _is_link_of(table))
        .order_by(table.c.id)
    )
    async for row in reading.stream(statement):
        own = {column.name: row[column.name] for column in table.columns}
        yield str(row["id"]), hash_of_row(own), _link(row)


async def _transactions(reading: Reading) -> _Hashed:
    """As :func:`_rows`, each transaction hashed with its entries."""
    table, entry, link = t.ledger_transactions, t.ledger_entries.c, t.chain_links.c
    statement = (
        select(
            table,
            entry.account,
            entry.amount_minor,
            entry.currency,
            link.seq.label("link_seq"),
            link.entry_hash.label("link_hash"),
        )
        .outerjoin_from(table, t.ledger_entries, entry.transaction_id == table.c.id)
        .outerjoin(t.chain_links, _is_link_of(table))
        .order_by(table.c.id, entry.ordinal)
    )
    first: Mapping[str, Any] | None = None
    entries: list[Mapping[str, Any]] = []
    async for row in reading.stream(statement):
        if first is not None and row["id"] != first["id"]:
            yield _hashed_transaction(first, entries)
            first, entries = None, []
        first = row if first is None else first
        if row["account"] is not None:
            entries.append(row)
    if first is not None:
        yield _hashed_transaction(first, entries)


def _hashed_transaction(
    row: Mapping[str, Any], entries: list[Mapping[str, Any]]
) -> tuple[str, str, Mapping[str, Any] | None]:
    own = {column.name: row[column.name] for column in t.ledger_transactions.columns}
    return str(row["id"]), hash_of_transaction(own, entries), _link(row)


def _is_link_of(table: Table) -> Any:
    link = t.chain_links.c
    return and_(link.entry_table == table.name, link.entry_id == table.c.id)


def _link(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if row["link_seq"] is None:
        return None
    return {"seq": row["link_seq"], "entry_hash": row["link_hash"]}


async def _check_links_of(reading: Reading, table: Table, found: Findings) -> None:
    link = t.chain_links.c
    orphans = (
        select(link.seq, link.entry_id)
        .outerjoin_from(t.chain_links, table, table.c.id == link.entry_id)
        .where(link.entry_table == table.name, table.c.id.is_(None))
        .order_by(link.seq)
    )
    async for row in reading.stream(orphans):
        found.add(
            "chain",
            table.name,
            row["entry_id"],
            "it was sealed and is gone: the row was deleted",
            seq=row["seq"],
        )


async def _check_strays(reading: Reading, found: Findings) -> None:
    link, entry = t.chain_links.c, t.ledger_entries.c
    names = [table.name for table in t.CHAINED]
    for row in await reading.execute(
        select(link.seq, link.entry_table, link.entry_id)
        .where(link.entry_table.not_in(names))
        .limit(100)
    ):
        found.add(
            "chain",
            "chain_links",
            row.entry_id,
            f"it seals a row of {row.entry_table}, which is no table of the record",
            seq=row.seq,
        )
    for row in await reading.execute(
        select(link.entry_table, link.entry_id, func.count().label("links"))
        .group_by(link.entry_table, link.entry_id)
        .having(func.count() > 1)
        .limit(100)
    ):
        found.add("chain", row.entry_table, row.entry_id, f"it has {row.links} links, not one")
    parents = select(t.ledger_transactions.c.id)
    for row in await reading.execute(
        select(entry.transaction_id, entry.ordinal)
        .where(entry.transaction_id.not_in(parents))
        .limit(100)
    ):
        found.add(
            "chain",
            "ledger_entries",
            f"{row.transaction_id}#{row.ordinal}",
            "it belongs to no transaction: it was inserted, or its transaction deleted",
        )


async def check_guards(reading: Reading, found: Findings) -> None:
    """The triggers that refuse changes are in place on every append-only table."""
    if reading.is_sqlite:
        question = text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        verbs = ["update", "delete"]
    else:
        question = text("SELECT tgname AS name FROM pg_trigger WHERE tgenabled = 'A'")
        verbs = ["change"]
    present = {row.name for row in await reading.execute(question)}
    for table in t.APPEND_ONLY:
        for verb in verbs:
            name = f"{table.name}_refuses_{verb}"
            if name not in present:
                found.add("guard", table.name, name, "the trigger that refuses changes is gone")
