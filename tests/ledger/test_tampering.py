"""Somebody edits, deletes, inserts, reorders, back-dates or truncates the books (F15)."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from audit import findings
from audit.verify import VerifyReport, verify
from ledger.books import Books
from ledger.chain import GENESIS, Head, hash_of_link, hash_of_row
from ledger.tables import case_events
from tests.ledger.builders import (
    numbered,
    refused_attempt,
    without_guards,
)
from tests.ledger.conftest import Place


def sentences(report: VerifyReport, invariant: str) -> list[str]:
    return [str(finding) for finding in report.findings if finding.invariant == invariant]


async def two_refunds(books: Books) -> None:
    for refund in numbered(2):
        await refund.refunded(books)
    async with books.transaction() as tx:
        await tx.record_refused_attempt(refused_attempt(case_id="refund-000"))


EDITS = {
    "an edited body": (
        "UPDATE case_events SET body = replace(body, '2500', '2501') "
        "WHERE id = 'refund-000:decided'",
        "case_events",
        "refund-000:decided",
    ),
    "a back-dated event": (
        "UPDATE case_events SET occurred_at = '2026-11-01T00:00:00.000000Z' "
        "WHERE id = 'refund-000:opened'",
        "case_events",
        "refund-000:opened",
    ),
    "a back-dated recording": (
        "UPDATE approvals SET recorded_at = '2026-11-01T00:00:00.000000Z' "
        "WHERE id = 'refund-000:lead'",
        "approvals",
        "refund-000:lead",
    ),
    "another approver": (
        "UPDATE approvals SET actor_id = 'lead-9' WHERE id = 'refund-000:lead'",
        "approvals",
        "refund-000:lead",
    ),
    "an edited amount": (
        "UPDATE ledger_entries SET amount_minor = amount_minor * 2 "
        "WHERE transaction_id = 'refund-000:hold'",
        "ledger_transactions",
        "refund-000:hold",
    ),
    "entries that changed places": (
        "UPDATE ledger_entries SET ordinal = 10 - ordinal WHERE transaction_id = 'refund-000:post'",
        "ledger_transactions",
        "refund-000:post",
    ),
    "a deleted event": (
        "DELETE FROM case_events WHERE id = 'refund-000:accepted'",
        "case_events",
        "refund-000:accepted",
    ),
    "a deleted refused attempt": (
        "DELETE FROM refused_attempts",
        "refused_attempts",
        "",
    ),
    "an inserted approval": (
        "INSERT INTO approvals SELECT 'refund-000:more', case_id, 'more', verdict, actor_id, "
        "actor_role, digest, amount_minor, currency, policy_hash, signature_json, note, at, "
        "recorded_at FROM approvals WHERE id = 'refund-000:lead'",
        "approvals",
        "refund-000:more",
    ),
    "an added entry": (
        "INSERT INTO ledger_entries VALUES ('refund-000:hold', 9, 'pending:refunds', 0, 'usd')",
        "ledger_transactions",
        "refund-000:hold",
    ),
    "an edited decision": (
        "UPDATE decisions SET outcome = '{\"made\":1}' WHERE id = 'refund-000:decide'",
        "decisions",
        "refund-000:decide",
    ),
    "an edited policy": (
        "UPDATE policy_contents SET content = 'name: refund'",
        "policy_contents",
        "",
    ),
    "a deleted link": (
        "DELETE FROM chain_links WHERE entry_id = 'refund-001:opened'",
        "case_events",
        "refund-001:opened",
    ),
    "a link that seals another row": (
        "UPDATE chain_links SET entry_id = 'refund-001:nothing' "
        "WHERE entry_id = 'refund-001:opened'",
        "chain_links",
        "refund-001:nothing",
    ),
    "a link of no table": (
        "UPDATE chain_links SET entry_table = 'cases' WHERE entry_id = 'refund-001:opened'",
        "chain_links",
        "refund-001:opened",
    ),
    "an unreadable event": (
        "UPDATE case_events SET body = '{' WHERE id = 'refund-000:decided'",
        "case_events",
        "refund-000:decided",
    ),
}


@pytest.mark.parametrize("name", EDITS)
async def test_an_edit_by_raw_sql_is_found_at_its_row(
    name: str, sqlite_place: Place, sqlite_books: Books
) -> None:
    await two_refunds(sqlite_books)
    assert (await verify(sqlite_books)).is_clean
    statement, table, row = EDITS[name]
    sqlite_place.vandal.run("PRAGMA foreign_keys=OFF", statement)
    found = without_guards(await verify(sqlite_books))
    assert any(f.table == table and row in f.row for f in found), found


async def test_edits_are_found_on_both_databases(place: Place, books: Books) -> None:
    await two_refunds(books)
    assert (await verify(books)).is_clean
    place.vandal.run(
        EDITS["another approver"][0],
        EDITS["an edited amount"][0],
        EDITS["a deleted event"][0],
        EDITS["an added entry"][0],
    )
    report = await verify(books)
    found = {(f.table, f.row) for f in report.findings if f.invariant == "chain"}
    assert found == {
        ("approvals", "refund-000:lead"),
        ("ledger_transactions", "refund-000:hold"),
        ("case_events", "refund-000:accepted"),
    }
    assert {f.table for f in report.findings if f.invariant == "guard"} >= {"approvals"}


async def test_insert_or_replace_past_the_triggers_is_found(
    sqlite_place: Place, sqlite_books: Books
) -> None:
    await two_refunds(sqlite_books)
    assert sqlite_place.vandal.file is not None
    with closing(sqlite3.connect(sqlite_place.vandal.file, isolation_level=None)) as raw:
        # a connection that is not ours: recursive triggers are off, nothing stops it
        raw.execute(
            "INSERT OR REPLACE INTO approvals SELECT id, case_id, slot, verdict, 'lead-9', "
            "actor_role, digest, amount_minor, currency, policy_hash, signature_json, note, at, "
            "recorded_at FROM approvals WHERE id = 'refund-000:lead'"
        )
    report = await verify(sqlite_books)
    assert [(f.invariant, f.table, f.row) for f in report.findings] == [
        ("chain", "approvals", "refund-000:lead"),
        ("I5", "approvals", "refund-000:lead"),
    ]
    assert report.findings[0].seq is not None
    assert "the row was changed" in report.findings[0].sentence


async def test_two_rows_that_swapped_places_are_found(
    sqlite_place: Place, sqlite_books: Books
) -> None:
    await two_refunds(sqlite_books)
    sqlite_place.vandal.run(
        "UPDATE chain_links SET seq = -1 WHERE seq = 3",
        "UPDATE chain_links SET seq = 3 WHERE seq = 4",
        "UPDATE chain_links SET seq = 4 WHERE seq = -1",
    )
    found = sentences(await verify(sqlite_books), "chain")
    assert any("does not follow the link before it" in sentence for sentence in found)


async def test_a_duplicated_link_is_found(sqlite_place: Place, sqlite_books: Books) -> None:
    await two_refunds(sqlite_books)
    columns = "seq, entry_table, entry_id, entry_hash, prev_hash, hash"
    sqlite_place.vandal.run(
        "ALTER TABLE chain_links RENAME TO old_links",
        f"CREATE TABLE chain_links AS SELECT {columns} FROM old_links",
        f"INSERT INTO chain_links SELECT 999, {columns[5:]} FROM old_links WHERE seq = 2",
    )
    found = sentences(await verify(sqlite_books), "chain")
    assert any("it has 2 links, not one" in sentence for sentence in found)


async def cut_tail(place: Place, books: Books, *, fix_head: bool) -> None:
    """Remove the last case whole, with its links, as if it had never been."""
    async with books.reading() as reading:
        cut = min(e.seq for e in await reading.events("refund-001"))
    of_case = [
        f"DELETE FROM {table} WHERE case_id = 'refund-001'"
        for table in ("cases", "reservations", "case_events", "approvals", "decisions")
    ]
    place.vandal.run(
        "DELETE FROM ledger_entries WHERE transaction_id LIKE 'refund-001:%'",
        "DELETE FROM ledger_transactions WHERE case_id = 'refund-001'",
        "DELETE FROM refused_attempts",
        *of_case,
        f"DELETE FROM chain_links WHERE seq >= {cut}",
    )
    if fix_head:
        place.vandal.run(
            "UPDATE chain_head SET seq = (SELECT max(seq) FROM chain_links), hash = "
            "(SELECT hash FROM chain_links ORDER BY seq DESC LIMIT 1)"
        )


async def test_a_cut_tail_is_found_by_the_head_row(place: Place, books: Books) -> None:
    await two_refunds(books)
    await cut_tail(place, books, fix_head=False)
    found = without_guards(await verify(books))
    assert [(f.table, f.invariant) for f in found] == [("chain_head", "chain")]


async def test_a_cut_tail_with_its_head_set_back_needs_a_head_kept_elsewhere(
    place: Place, books: Books
) -> None:
    await two_refunds(books)
    kept = (await verify(books)).head
    await cut_tail(place, books, fix_head=True)
    assert without_guards(await verify(books)) == []  # consistent in itself: nothing to see
    found = without_guards(await verify(books, expected_head=kept))
    assert [f.sentence for f in found] == [
        f"the books end at {(await verify(books)).head.seq}, but were at {kept.seq} before: "
        "the end was cut off, or an old copy was put in their place"
    ]


async def test_a_chain_written_anew_needs_a_head_kept_elsewhere(
    sqlite_place: Place, sqlite_books: Books
) -> None:
    await two_refunds(sqlite_books)
    kept = (await verify(sqlite_books)).head
    sqlite_place.vandal.run(
        "UPDATE case_events SET actor_id = 'agent-9' WHERE id = 'refund-000:opened'"
    )
    assert sqlite_place.vandal.file is not None
    write_chain_anew(str(sqlite_place.vandal.file))
    assert without_guards(await verify(sqlite_books)) == []
    found = sentences(await verify(sqlite_books, expected_head=kept), "chain")
    assert len(found) == 1
    assert "written anew" in found[0]
    assert (
        await verify(sqlite_books, expected_head=Head(seq=0, hash=GENESIS))
    ).head.seq == kept.seq


def write_chain_anew(file: str) -> None:
    """What an attacker with the code and every password can do."""
    with closing(sqlite3.connect(file, isolation_level=None)) as raw:
        raw.row_factory = sqlite3.Row
        columns = ", ".join(case_events.columns.keys())
        row = raw.execute(
            f"SELECT {columns} FROM case_events WHERE id = 'refund-000:opened'"
        ).fetchone()
        raw.execute(
            "UPDATE chain_links SET entry_hash = ? WHERE entry_id = 'refund-000:opened'",
            [hash_of_row(dict(row))],
        )
        last = GENESIS
        for link in raw.execute("SELECT * FROM chain_links ORDER BY seq").fetchall():
            new = hash_of_link(
                seq=link["seq"],
                entry_table=link["entry_table"],
                entry_id=link["entry_id"],
                entry_hash=link["entry_hash"],
                prev_hash=last,
            )
            raw.execute(
                "UPDATE chain_links SET prev_hash = ?, hash = ? WHERE seq = ?",
                [last, new, link["seq"]],
            )
            last = new
        raw.execute("UPDATE chain_head SET hash = ?", [last])


async def test_a_report_keeps_a_bounded_number_of_findings(
    sqlite_place: Place, sqlite_books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_refunds(sqlite_books)
    sqlite_place.vandal.run("UPDATE case_events SET run_id = 'x'")
    monkeypatch.setattr(findings, "MOST_FINDINGS", 3)
    report = await verify(sqlite_books)
    assert len(report.findings) == 3
    assert report.dropped > 0
