"""Real databases that fail: read-only, cut off in mid-transaction, put back from an old back-up."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from sqlalchemy import event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from ledger.books import Books
from ledger.engines import sqlite_file
from tests.postgres import connect_to, postgres_server

T = TypeVar("T")

SECONDS = 30


def name_of(url: str) -> str:
    return str(make_url(url).database)


def terminate_sessions(server: psycopg.Connection, database: str) -> None:
    """End every other session on the database, and wait until it has ended."""
    server.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE datname = %s AND pid <> pg_backend_pid()",
        [database],
    )


# -- read-only ---------------------------------------------------------------------------


class BreakableBooks(Books):
    """Books that a test makes read-only while they are open.

    SQLite knows no such thing for a file that somebody has open (and a file's permissions hold
    back no superuser): each connection is told as it is taken. PostgreSQL is told once, for
    all, as a failover or a full disk does it, and who is connected loses the connection.
    """

    def __init__(self, engine: AsyncEngine, *rest: Any) -> None:
        super().__init__(engine, *rest)
        self._refuses = False
        if self.is_sqlite:
            event.listen(engine.sync_engine, "checkout", self._tell)

    def _tell(self, connection: Any, *rest: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA query_only={'ON' if self._refuses else 'OFF'}")
        cursor.close()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        self._refuse(True)
        try:
            yield
        finally:
            self._refuse(False)

    def _refuse(self, refuses: bool) -> None:
        self._refuses = refuses
        if not self.is_sqlite:
            set_read_only(self.url, refuses)


WRITE_VERSION = 18
"""Byte of an SQLite file that says who may write it: above 2, nobody who knows the format of today
(sqlite.org/fileformat.html, "File format version numbers")."""


def set_read_only(url: str, refuses: bool = True) -> None:
    """For everybody; an SQLite file must not be open."""
    file = sqlite_file(url)
    if file is not None:
        content = bytearray(file.read_bytes())
        content[WRITE_VERSION] = 3 if refuses else 2
        file.write_bytes(content)
        return
    with postgres_server().connect("postgres") as server:
        setting = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
        word = sql.SQL("on" if refuses else "off")
        server.execute(setting.format(sql.Identifier(name_of(url)), word))
        terminate_sessions(server, name_of(url))


# -- cut off -----------------------------------------------------------------------------


async def dropped_once(url: str, doing: Awaitable[T]) -> T:
    """What ``doing`` comes to when the next transaction on these books loses its connection, with
    all of it written and nothing committed: it waits for the chain's head, its last lock."""
    with connect_to(url) as holder, connect_to(url) as executioner:
        with holder.transaction():
            holder.execute("SELECT 1 FROM chain_head FOR UPDATE")
            waits = asyncio.ensure_future(doing)
            try:
                await _terminate_who_waits(executioner)
            except BaseException:
                waits.cancel()
                raise
        return await waits


async def _terminate_who_waits(executioner: psycopg.Connection) -> None:
    who_waits = (
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(SECONDS):
        while not executioner.execute(who_waits).fetchall():  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.02)


# -- put back ----------------------------------------------------------------------------


class BackUp:
    """A copy of books that nobody had open, and has open when they are put back."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._file = sqlite_file(url)
        if self._file is not None:
            self._copy = shutil.copy(self._file, folder / "back-up.db")
        else:
            with postgres_server().connect("postgres") as server:
                terminate_sessions(server, name_of(url))
            self._copy = postgres_server().new_database(name_of(url))

    def put_back(self) -> None:
        if self._file is not None:
            shutil.copy(self._copy, self._file)
            return
        name, copy = sql.Identifier(name_of(self._url)), sql.Identifier(str(self._copy))
        with postgres_server().connect("postgres") as server:
            terminate_sessions(server, name_of(self._url))
            server.execute(sql.SQL("DROP DATABASE {}").format(name))
            server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, copy))


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[BreakableBooks]:
    books = await BreakableBooks.open(url)
    assert isinstance(books, BreakableBooks)
    try:
        yield books
    finally:
        await books.close()
