"""The tools of the fault regime find what they are for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError
from temporalio.testing import ActivityEnvironment

from domain.cases import CaseKind
from ledger.books import Books
from ledger.migrate import migrate
from tests.ledger.builders import opened
from tests.reliability.effects import tally
from tests.reliability.faulty_books import FaultyBooks
from tests.stack import new_database

NOW = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
async def database_url(tmp_path: Path) -> str:
    url = new_database(tmp_path)
    await migrate(url, app_role=None)
    return url


@pytest.fixture
async def books(database_url: str) -> AsyncIterator[FaultyBooks]:
    books = await FaultyBooks.open(database_url)
    assert isinstance(books, FaultyBooks)
    yield books
    await books.close()


def moved(case_id: str, effect: str = "re_1") -> dict[str, Any]:
    return {"params": {"metadata": {"case_id": case_id}}, "effects": [effect]}


async def test_movements_that_are_double_or_not_in_the_books_are_counted_and_told(
    books: Books,
) -> None:
    sums = {"by_currency": {"usd": {"refunded": 300, "credited": 0}}}
    journal = {"entries": [moved("refund-a"), moved("refund-a"), moved("refund-b")]}

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=journal if "journal" in request.url.path else sums)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        counted = await tally(books, http, "http://sandbox")
    assert counted.double == ("refund-a",)
    assert counted.unwanted == ("refund-a", "refund-b")
    assert (counted.books, counted.provider) == ({}, {"usd": 300})
    assert len(counted.faults) == 4


@pytest.mark.parametrize(
    ("status", "effect", "again"),
    [
        ("failed", "cbtxn_1", ()),
        ("succeeded", "cbtxn_1", ("refund-a",)),
        ("succeeded", "re_2", ("refund-a",)),
        ("canceled", "re_2", ()),
    ],
)
async def test_what_is_given_twice_along_a_chain_is_told_unless_it_came_back(
    books: Books, status: str, effect: str, again: tuple[str, ...]
) -> None:
    async with books.transaction() as tx:
        for row in (
            opened("refund-a"),
            opened("refund-b", alternative_to="refund-a"),
            opened("refund-c", appeal_of="refund-b"),
        ):
            await tx.append_event(row)
    journal = {"entries": [moved("refund-a"), moved("refund-c", effect)]}

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        told: dict[str, Any] = journal if "journal" in path else {"by_currency": {}}
        return httpx.Response(200, json={"status": status} if "refunds" in path else told)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        counted = await tally(books, http, "http://sandbox")
    assert counted.again == again
    assert counted.double == ()
    assert any("goes on from it" in fault for fault in counted.faults) is bool(again)


@pytest.mark.parametrize(
    ("kind", "stands"), [("busy", False), ("dropped", False), ("answer_lost", True)]
)
@pytest.mark.parametrize("statements", [1, 3, 1_000])
async def test_a_made_up_fault_leaves_the_books_as_a_real_one_would(
    books: FaultyBooks, monkeypatch: pytest.MonkeyPatch, kind: str, stands: bool, statements: int
) -> None:
    monkeypatch.setattr(books, "_fault", lambda *kinds: (kind, statements))

    async def write() -> None:
        async with books.transaction() as tx:
            await tx.register_request(
                request_id="r", kind=CaseKind.REFUND, body_hash="h", case_id="c",
                customer="cus_1", at=NOW,
            )  # fmt: skip

    with pytest.raises(OperationalError, match="made up"):
        await ActivityEnvironment().run(write)
    monkeypatch.undo()
    async with books.reading() as reading:
        assert (await reading.request("r") is not None) is stands


async def test_only_activities_of_a_cursed_case_fail_and_only_so_often(books: FaultyBooks) -> None:
    environment = ActivityEnvironment()
    books.rate = 1

    async def read() -> None:
        async with books.reading():
            pass

    await read()
    await environment.run(read)
    books.curse(environment.info.workflow_id or "", "seed")
    for _ in range(books.most):
        with pytest.raises(OperationalError):
            await environment.run(read)
    await environment.run(read)
    await read()
    assert books.struck == {"busy": books.most}
