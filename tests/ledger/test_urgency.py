"""The list of cases: what is due first, then the rest by their last change, page by page."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain.cases import CaseKind, Outcome, Status
from ledger.books import Books
from tests.ledger.builders import AT, Refund, opened

SETTLES = ("refund-e", "refund-b")
"""They are looked at on the same day, by their id the other way round."""


async def cases_of_all_kinds(books: Books) -> None:
    """One waits for three days, two until the seventh, two have ended, one was just opened."""
    for case_id in SETTLES:
        await Refund(case_id=case_id, charge=f"ch_{case_id}", customer=case_id).settling(books)
    waiting, void, gone = (
        Refund(case_id=case_id, charge=f"ch_{case_id}", customer=case_id)
        for case_id in ("refund-d", "refund-a", "refund-c")
    )
    for case in (waiting, void, gone):
        async with books.transaction() as tx:
            await case.open_and_decide(tx)
    async with books.transaction() as tx:
        await void.void(tx)
    async with books.transaction() as tx:
        await gone.close(tx, Outcome.WITHDRAWN, 2)
    async with books.transaction() as tx:
        await tx.append_event(opened("refund-f", charge="ch_f", request_id="req-f"))


ORDER = ["refund-d", "refund-b", "refund-e", "refund-a", "refund-c", "refund-f"]


async def test_what_is_due_first_comes_first_then_the_last_changed(books: Books) -> None:
    await cases_of_all_kinds(books)
    async with books.reading() as reading:
        assert [case.case_id for case in await reading.by_urgency()] == ORDER


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 7])
async def test_pages_of_any_length_are_the_whole_list(sqlite_books: Books, limit: int) -> None:
    await cases_of_all_kinds(sqlite_books)
    found: list[str] = []
    async with sqlite_books.reading() as reading:
        while page := await reading.by_urgency(after=found[-1] if found else None, limit=limit):
            assert len(page) <= limit
            found += [case.case_id for case in page]
    assert found == ORDER


async def test_pages_go_on_in_the_same_order_on_both_databases(books: Books) -> None:
    await cases_of_all_kinds(books)
    async with books.reading() as reading:
        for place, case_id in enumerate(ORDER):
            rest = [case.case_id for case in await reading.by_urgency(after=case_id)]
            assert rest == ORDER[place + 1 :]
        with pytest.raises(LookupError, match="refund-nowhere"):
            await reading.by_urgency(after="refund-nowhere")


async def test_filters_keep_the_order(sqlite_books: Books) -> None:
    await cases_of_all_kinds(sqlite_books)
    due = AT + timedelta(days=3)
    async with sqlite_books.reading() as reading:

        async def ids(**asked: object) -> list[str]:
            return [case.case_id for case in await reading.by_urgency(**asked)]  # type: ignore[arg-type]

        assert await ids(status=Status.SETTLING) == ORDER[1:3]
        assert await ids(status=Status.CLOSED, after="refund-a") == ["refund-c"]
        assert await ids(kind=CaseKind.EXCEPTION) == []
        assert await ids(due_before=due) == [], "before, not at"
        assert await ids(due_before=due + timedelta(microseconds=1)) == ["refund-d"]
