"""The books, opened: transactions that write and seal, and readings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import Unreachable
from ledger.engines import WRITES, engine_for, shown, sqlite_file, unreachable
from ledger.migrate import current_revision, newest_revision
from ledger.reading import Reading
from ledger.writing import BookTransaction


def wall_clock() -> datetime:
    """When a row was written: the only clock the books read, and no deadline comes from it."""
    return datetime.now(UTC)


class Books:
    """One per process; safe to share between tasks. Close it at the end."""

    def __init__(self, engine: AsyncEngine, url: str, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self.url = url
        self._clock = clock
        self._writers: set[asyncio.Task[Any]] = set()
        # SQLite has one writer at a time; waiting here is fair, its busy handler is a lottery
        self._turn = asyncio.Lock() if engine.dialect.name == "sqlite" else None

    @classmethod
    async def open(cls, url: str, *, clock: Callable[[], datetime] = wall_clock) -> Books:
        """Connect to books that are migrated to this code's revision.

        Raises ``Unreachable`` when the database does not answer or has another revision; the
        text names the address without its password, and the remedy. ``clock`` dates rows.
        """
        file = sqlite_file(url)
        if file is not None and not file.exists():
            raise Unreachable(f"there are no books at {shown(url)}: migrate first, to create them")
        engine = engine_for(url)
        try:
            async with engine.connect() as connection:
                revision = await connection.run_sync(current_revision)
        except (DBAPIError, OSError) as error:
            await engine.dispose()
            raise unreachable(url, error) from error
        if revision != newest_revision():
            await engine.dispose()
            raise Unreachable(
                f"the books at {shown(url)} are at revision {revision or 'none'}, this code "
                f"needs {newest_revision()}: migrate them first, as the owner of the schema"
            )
        return cls(engine, url, clock)

    async def close(self) -> None:
        await self._engine.dispose()

    @property
    def is_sqlite(self) -> bool:
        return self._turn is not None

    def __str__(self) -> str:
        return shown(self.url)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[BookTransaction]:
        """Write: all of it is committed and sealed at the end, or nothing on an error.

        Serialisation failures, deadlocks and a busy database come out as SQLAlchemy's
        ``DBAPIError``: the caller's retry begins the transaction anew. A transaction within a
        transaction of the same task raises ``RuntimeError``, since it would wait for itself.
        """
        task = asyncio.current_task()
        if task is None or task in self._writers:
            raise RuntimeError("this task has a transaction open already; use that one")
        async with AsyncExitStack() as stack:
            if self._turn is not None:
                await stack.enter_async_context(self._turn)
            self._writers.add(task)
            stack.callback(self._writers.discard, task)
            connection = await stack.enter_async_context(self._engine.connect())
            await connection.execution_options(**{WRITES: True})
            async with connection.begin():
                transaction = BookTransaction(connection, self._clock)
                yield transaction
                await transaction.seal()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reading]:
        """Read: everything in it sees the books as they were at its first statement."""
        async with self._engine.connect() as connection:
            if not self.is_sqlite:
                await connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            async with connection.begin():
                yield Reading(connection)

    async def checkpoint(self) -> bool:
        """SQLite: fold the write-ahead log into the file and empty it, so that overwritten
        key material does not linger there. False when a reader stood in the way: the log is
        then emptied by a later checkpoint. Nothing to do on PostgreSQL."""
        if self._turn is None:
            return True
        async with self._turn, self._engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver = raw.driver_connection
            if driver is None:
                return False
            ((busy, _, _),) = await driver.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
            return not busy
