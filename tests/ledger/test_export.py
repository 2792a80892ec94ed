"""Files for finance: whole or not there, and equal to the books."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from audit.export import Manifest, export
from audit.rebuild import IllegibleEvents, compare_projection, rebuild
from audit.verify import verify
from domain.errors import InvalidRequest
from ledger.books import Books
from ledger.reading import Reading
from tests.ledger.builders import Refund, numbered, refused_attempt
from tests.ledger.conftest import Place


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


async def fill(books: Books) -> None:
    done, failed, waiting = numbered(3)
    await done.refunded(books)
    await failed.settling(books)
    async with books.transaction() as tx:
        await failed.fail(tx)
    async with books.transaction() as tx:
        await waiting.open_and_decide(tx)
        await tx.record_refused_attempt(refused_attempt(message="=HYPERLINK(1)"))


async def test_an_exports_sums_are_the_sums_of_the_books(books: Books, tmp_path: Path) -> None:
    await fill(books)
    told: list[tuple[str, int]] = []
    out = tmp_path / "export"
    manifest = await export(books, out, progress=lambda name, rows: told.append((name, rows)))
    assert Manifest.model_validate(json.loads((out / "manifest.json").read_text())) == manifest
    counts = (await verify(books)).counts
    rows = {file.name: file.rows for file in manifest.files}
    assert rows == {
        "cases.csv": counts["cases"],
        "events.csv": counts["case_events"],
        "ledger.csv": counts["ledger_entries"],
        "approvals.csv": counts["approvals"],
        "refused_attempts.csv": counts["refused_attempts"],
        "decisions.csv": counts["decisions"],
    }
    assert dict(told) == rows
    for file in manifest.files:
        assert hashlib.sha256((out / file.name).read_bytes()).hexdigest() == file.sha256
        assert len(rows_of(out / file.name)) == file.rows
    sums: Counter[tuple[str, str]] = Counter()
    for row in rows_of(out / "ledger.csv"):
        sums[row["account"], row["currency"]] += int(row["amount_minor"])
    assert sums == {(b.account, b.currency): b.amount_minor for b in manifest.balances}
    assert (await verify(books, expected_head=manifest.head)).is_clean
    assert rows_of(out / "refused_attempts.csv")[0]["message"] == "'=HYPERLINK(1)"


async def test_no_export_is_written_over_anything(sqlite_books: Books, tmp_path: Path) -> None:
    out = tmp_path / "export"
    out.mkdir()
    await export(sqlite_books, out)
    before = (out / "manifest.json").read_bytes()
    for taken in (out, out / "manifest.json"):
        with pytest.raises(InvalidRequest, match="not empty"):
            await export(sqlite_books, taken)
    assert (out / "manifest.json").read_bytes() == before


async def test_an_export_that_fails_leaves_nothing(
    sqlite_books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(sqlite_books)

    async def broken(self: Reading) -> Any:
        raise ConnectionError

    monkeypatch.setattr(Reading, "totals", broken)
    (tmp_path / "to").mkdir()
    with pytest.raises(ConnectionError):
        await export(sqlite_books, tmp_path / "to" / "export")
    assert list((tmp_path / "to").iterdir()) == []


async def test_the_case_list_is_rebuilt_from_the_events_alone(place: Place, books: Books) -> None:
    await fill(books)
    assert await compare_projection(books) == []
    async with books.reading() as reading:
        before = await reading.cases()
    place.vandal.attempt(
        "UPDATE cases SET status = 'open', assignee = 'me' WHERE case_id = 'refund-000'",
        "DELETE FROM cases WHERE case_id = 'refund-001'",
        "INSERT INTO cases (case_id, kind, request_id, customer, charge, currency, reason, status, "
        "waits_for, desk, priority, assignee, language, jurisdiction, policy, policy_version, "
        "policy_hash, rule, reason_key, method, provider_id, digest, opened_at, events) VALUES "
        "('refund-zzz', 'refund', '', '', '', 'usd', '', 'open', '', '', '', '', '', '', '', 0, "
        "'', '', '', '', '', '', '2026-12-01T09:30:00.000000Z', 1)",
    )
    differences = {d.case_id: d.fields for d in await compare_projection(books)}
    assert differences == {
        "refund-000": {"status": ("open", "closed"), "assignee": ("me", "")},
        "refund-001": {"case_id": (None, "refund-001")},
        "refund-zzz": {"case_id": ("refund-zzz", None)},
    }
    for _ in range(2):
        assert await rebuild(books) == 3
    assert await compare_projection(books) == []
    async with books.reading() as reading:
        assert await reading.cases() == before
    assert (await verify(books)).is_clean


async def test_nothing_is_rebuilt_from_damaged_events(
    sqlite_place: Place, sqlite_books: Books
) -> None:
    await Refund().settling(sqlite_books)
    for damage in ("UPDATE case_events SET body = '{}'", "UPDATE case_events SET body = '{'"):
        sqlite_place.vandal.run(damage)
        with pytest.raises(IllegibleEvents, match="nothing can be rebuilt"):
            await rebuild(sqlite_books)
    async with sqlite_books.reading() as reading:
        assert await reading.case("refund-a") is not None
