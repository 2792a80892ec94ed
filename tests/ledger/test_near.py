"""SQLite in the loop's own thread: what must leave it, and what must not."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from ledger.books import Books
from ledger.engines import sqlite_file
from ledger.near import LONG, NearConnection
from tests.ledger.builders import opened
from tests.ledger.conftest import Place


@pytest.fixture
async def books(sqlite_place: Place) -> AsyncIterator[Books]:
    books = await Books.open(sqlite_place.url)
    yield books
    await books.close()


class Rounds:
    """Counts how often the event loop came round to others."""

    def __init__(self) -> None:
        self.seen = 0

    @asynccontextmanager
    async def counted(self) -> AsyncIterator[Rounds]:
        task = asyncio.create_task(self._count())
        try:
            yield self
        finally:
            task.cancel()

    async def _count(self) -> None:
        while True:
            self.seen += 1
            await asyncio.sleep(0)


async def many_rounds() -> None:
    for _ in range(1000):
        await asyncio.sleep(0)


@contextmanager
def another_writer(books: Books) -> Iterator[sqlite3.Connection]:
    """Another process, as far as SQLite knows, in the middle of a transaction."""
    file = sqlite_file(books.url)
    assert file is not None
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        other.close()


async def test_statements_of_a_transaction_let_nobody_in_between(books: Books) -> None:
    async with Rounds().counted() as rounds, books.transaction() as tx:
        await asyncio.sleep(0)
        before = rounds.seen
        assert await tx.append_event(opened("refund-1", request_id="req-1"))
        assert await tx.case("refund-1") is not None
        assert rounds.seen == before


async def test_statements_of_a_reading_let_nobody_in_between(books: Books) -> None:
    async with Rounds().counted() as rounds, books.reading() as reading:
        await asyncio.sleep(0)
        before = rounds.seen
        await reading.head()
        await reading.case("refund-1")
        assert rounds.seen == before


async def test_the_loop_goes_on_while_ended_cases_are_walked(books: Books) -> None:
    async with Rounds().counted() as rounds, books.reading() as reading:
        await asyncio.sleep(0)
        before = rounds.seen
        assert await reading.unarchived() == []
        assert rounds.seen > before


async def test_a_long_question_is_fetched_in_the_thread_and_the_next_one_is_not(
    books: Books,
) -> None:
    file = sqlite_file(books.url)
    connection = NearConnection(file, check_same_thread=False)
    await connection
    seen: list[str] = []

    def told(name: str) -> int:
        seen.append(f"{name} {threading.current_thread() is threading.main_thread()}")
        return 1

    await connection.create_function("told", 1, told)
    for sql in (f"SELECT {LONG} told('long') FROM (VALUES (1), (2))", "SELECT told('short')"):
        async with connection.cursor() as cursor:
            await cursor.execute(sql)
            assert {row[0] for row in await cursor.fetchall()} == {1}
    await connection.close()
    assert seen == ["long False", "long False", "short True"]


async def test_the_loop_goes_on_while_a_transaction_waits_for_another_writer(books: Books) -> None:
    async def write() -> None:
        async with books.transaction() as tx:
            await tx.append_event(opened("refund-1", request_id="req-1"))

    with another_writer(books) as other:
        writing = asyncio.create_task(write())
        await many_rounds()
        assert not writing.done()
        other.execute("COMMIT")
        await writing
    async with books.reading() as reading:
        assert (await reading.head()).seq == 1


async def test_a_writer_cancelled_while_it_waits_leaves_no_lock_behind(books: Books) -> None:
    async def write(case_id: str) -> None:
        async with books.transaction() as tx:
            await tx.append_event(opened(case_id, request_id=case_id))

    with another_writer(books) as other:
        cancelled = asyncio.create_task(write("refund-1"))
        await many_rounds()
        cancelled.cancel()
        await many_rounds()
        other.execute("COMMIT")
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    await write("refund-2")
    async with books.reading() as reading:
        assert await reading.case("refund-1") is None
        assert await reading.case("refund-2") is not None
    with another_writer(books):
        pass  # nobody holds the file's lock any more
