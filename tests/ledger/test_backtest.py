"""Two versions over the decisions of the books: whose facts are used, and that all are counted."""

from __future__ import annotations

from audit.backtest import backtest, stored_decisions
from decisions import Pack
from decisions.transitions import Transitions
from ledger.books import Books
from tests.decisions.builders import POLICIES, REFUND_FACTS, changed
from tests.ledger.test_replay import REFUND, decided, some_decisions

TEXT = (POLICIES / "refund" / "v1.yaml").read_text(encoding="utf-8")
STRICTER = Pack.from_text(
    changed("verdict: approve, reason: null}\n      - id: TOO_OLD",
            "verdict: refuse, reason: refund.too_old}\n      - id: TOO_OLD",
            TEXT).replace("expect: {rule: INQUIRY, verdict: approve,", "expect: {rule: INQUIRY,"),
    root=POLICIES,
)  # fmt: skip
"""Refuses where the shipped version approves: on a bank's inquiry."""


async def counted(books: Books, after: Pack) -> Transitions:
    async with books.reading() as reading:
        assert await stored_decisions(reading, "refund") == 4
        assert await stored_decisions(reading, "small") == 1
        return await backtest(reading, REFUND, after)


async def test_every_decision_of_the_policy_is_counted_and_no_other(sqlite_books: Books) -> None:
    await some_decisions(sqlite_books)
    await decided(sqlite_books, "refund-e", REFUND, {**REFUND_FACTS, "chargeback": "inquiry"})
    same = await counted(sqlite_books, REFUND)
    assert (same.total.cases, same.changed.cases) == (4, 0)
    found = await counted(sqlite_books, STRICTER)
    assert found.outcomes["verdict"]["approve", "refuse"].samples == ["refund-e"]
    assert found.changed.cases == 1
    assert str(found.changed.money["amount", "usd"]) == "-25.00 USD"
    assert found.changed.approvals == -1
