"""Stored decisions are decided again: clean books come out the same, edited ones are named."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from audit import replay as replays
from audit.replay import ReplayReport, replay
from decisions import Pack
from domain.canonical import canonical_json
from domain.money import Money
from ledger.books import Books
from tests.decisions.builders import POLICIES, REFUND_FACTS, SMALL, SMALL_FACTS
from tests.ledger.builders import AT
from tests.ledger.conftest import Place

REFUND = Pack.load(POLICIES / "refund" / "v1.yaml")
TENURE = Pack.from_text(SMALL)


async def decided(books: Books, case_id: str, pack: Pack, facts: dict[str, Any]) -> None:
    """Write a decision as the engine does: its policy's content beside it."""
    async with books.transaction() as tx:
        await tx.keep_policy(pack.name, pack.version, pack.hash, pack.content)
        decision = pack.decide(facts, AT)
        await tx.record_decision(
            case_id=case_id, step="decide", decision=decision, outcome={}, at=AT
        )


async def some_decisions(books: Books) -> None:
    """Two policies; an automatic answer, a refusal, an amount in another currency."""
    dollars, won = (Money(amount_minor=n, currency=c) for n, c in ((2500, "usd"), (90000, "krw")))
    await decided(books, "refund-a", REFUND, REFUND_FACTS)
    await decided(books, "refund-b", REFUND, {**REFUND_FACTS, "chargeback": "open"})
    in_won = {**REFUND_FACTS, "amount": won, "remainder": won, "captured": won}
    await decided(books, "refund-c", REFUND, in_won)
    await decided(books, "refund-d", TENURE, {**SMALL_FACTS, "price": dollars})


async def test_every_decision_comes_out_again_under_its_own_policy(sqlite_books: Books) -> None:
    assert await replay(sqlite_books) == ReplayReport(
        decisions=0, policies=0, differences=(), dropped=0
    )
    await some_decisions(sqlite_books)
    done: list[int] = []
    report = await replay(sqlite_books, progress=done.append)
    assert report.is_clean
    assert (report.decisions, report.policies) == (4, 2)
    assert sum(done) == 4


EDITS: dict[str, tuple[Callable[[dict[str, Any]], Any], set[str]]] = {
    "another rule": (lambda d: d.update(rule="TOO_OLD"), {"rule"}),
    "another output": (lambda d: d["outputs"].update(route="auto"), {"outputs"}),
    "a line of the trace is gone": (lambda d: d["trace"].pop(), {"trace"}),
    "a fact that changes a line of the trace": (
        lambda d: d["facts"].update(charge_age_days=13), {"trace"},
    ),
    "a fact that the policy does not know": (
        lambda d: d["facts"].update(weather="fine"), {"facts"},
    ),
    "another reason": (lambda d: d["fired"][0].update(why="because"), {"fired"}),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
async def test_an_edited_decision_is_named_with_what_differs(
    name: str, sqlite_books: Books, sqlite_place: Place
) -> None:
    await some_decisions(sqlite_books)
    change, fields = EDITS[name]
    rewrite(sqlite_place, change)
    report = await replay(sqlite_books)
    [difference] = report.differences
    assert (difference.case_id, difference.step) == ("refund-a", "decide")
    assert set(difference.fields) == fields
    assert str(difference).startswith("refund-a decide (refund v1 ")


def rewrite(place: Place, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the stored decision of refund-a by raw SQL."""
    assert place.vandal.file is not None
    with closing(sqlite3.connect(place.vandal.file)) as raw:
        [text] = raw.execute("SELECT decision FROM decisions WHERE case_id = 'refund-a'").fetchone()
    decision = json.loads(text)
    change(decision)
    quoted = canonical_json(decision).replace("'", "''")
    place.vandal.run(f"UPDATE decisions SET decision = '{quoted}' WHERE case_id = 'refund-a'")


async def test_a_column_that_says_otherwise_than_its_decision_is_named(
    sqlite_books: Books, sqlite_place: Place
) -> None:
    await some_decisions(sqlite_books)
    sqlite_place.vandal.run("UPDATE decisions SET rule = 'SMALL' WHERE case_id = 'refund-a'")
    [difference] = (await replay(sqlite_books)).differences
    assert difference.fields == {"column rule": ("SMALL", "REASONED")}


@pytest.mark.parametrize(
    ("deed", "problem"),
    [
        ("UPDATE policy_contents SET content = replace(content, '540', '541')",
         "its text was changed"),
        ("UPDATE policy_contents SET content = replace(content, 'chargeback', 'bank')",
         "its text was changed"),
        ("UPDATE policy_contents SET content = substr(content, 2)", "does not load"),
        ("DELETE FROM policy_contents", "is not kept"),
    ],
)  # fmt: skip
async def test_a_policy_that_was_changed_or_is_gone_is_named_for_each_of_its_cases(
    deed: str, problem: str, sqlite_books: Books, sqlite_place: Place
) -> None:
    await some_decisions(sqlite_books)
    sqlite_place.vandal.run(f"{deed} WHERE id = '{REFUND.hash}'")
    report = await replay(sqlite_books)
    assert [d.case_id for d in report.differences] == ["refund-a", "refund-b", "refund-c"]
    assert all(problem in d.problem for d in report.differences)


async def test_facts_that_are_gone_and_text_that_is_no_decision_are_named(
    sqlite_books: Books, sqlite_place: Place
) -> None:
    await some_decisions(sqlite_books)
    rewrite(sqlite_place, lambda d: d["facts"].pop("linked"))
    sqlite_place.vandal.run("UPDATE decisions SET decision = '{}' WHERE case_id = 'refund-b'")
    first, second = (await replay(sqlite_books)).differences
    assert "cannot be decided again: linked: is missing" in first.problem
    assert "cannot be read" in second.problem


async def test_differences_beyond_the_most_are_counted(
    sqlite_books: Books, sqlite_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await some_decisions(sqlite_books)
    monkeypatch.setattr(replays, "MOST_FINDINGS", 3)
    sqlite_place.vandal.run("UPDATE decisions SET rule = 'X'")
    report = await replay(sqlite_books)
    assert (len(report.differences), report.dropped, report.is_clean) == (3, 1, False)
