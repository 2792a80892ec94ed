"""Books whose database fails by chance: busy, dropped in mid-transaction, answer lost.

Only the engine's activities are struck, each case by dice of its own, so that what happens to
one case does not depend on the others beside it. Real statements run before a drop and real
commits before a lost answer; what is made up is the error alone, as SQLAlchemy raises it.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity

from ledger.books import Books
from ledger.reading import Reading
from ledger.writing import BookTransaction

KINDS = ("busy", "dropped", "answer_lost")
LONGEST = 12
"""Statements after which a transaction is dropped at the latest: the money path has more."""

_statements_left: ContextVar[list[int] | None] = ContextVar("_statements_left", default=None)


def failed(statement: str, why: str) -> OperationalError:
    return OperationalError(statement, None, sqlite3.OperationalError(f"{why} (made up)"))


class FaultyBooks(Books):
    """``rate`` is the chance of a fault in each transaction or reading of an activity, ``most``
    how many a case gets: each attempt more waits twice as long. ``struck`` counts by kind."""

    rate = 0.0
    most = 2

    def __init__(self, engine: AsyncEngine, *rest: Any) -> None:
        super().__init__(engine, *rest)
        self.struck: Counter[str] = Counter()
        self._dice: dict[str, random.Random] = {}
        self._left: Counter[str] = Counter()
        event.listen(engine.sync_engine, "before_cursor_execute", _maybe_drop)

    def curse(self, case_id: str, seed: str) -> None:
        """Have this case's activities fail by these dice from now on."""
        self._dice[case_id] = random.Random(seed)
        self._left[case_id] = self.most

    def _fault(self, *kinds: str) -> tuple[str, int]:
        """What befalls the next transaction or reading, and after how many statements."""
        case_id = activity.info().workflow_id or "" if activity.in_activity() else ""
        dice = self._dice.get(case_id)
        if dice is None or self._left[case_id] == 0 or dice.random() >= self.rate:
            return "", 0
        self._left[case_id] -= 1
        kind = dice.choice(kinds)
        self.struck[kind] += 1
        return kind, dice.randint(1, LONGEST)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[BookTransaction]:
        kind, statements = self._fault(*KINDS)
        if kind == "busy":
            raise failed("BEGIN IMMEDIATE", "database is locked")
        _statements_left.set([statements] if kind == "dropped" else None)
        try:
            async with super().transaction() as transaction:
                yield transaction
                if kind == "dropped":
                    raise failed("COMMIT", "the connection was closed")
        finally:
            _statements_left.set(None)
        if kind == "answer_lost":
            raise failed("COMMIT", "the connection was closed, and the commit stands")

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reading]:
        if self._fault("busy")[0]:
            raise failed("BEGIN", "database is locked")
        async with super().reading() as reading:
            yield reading


def _maybe_drop(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
    left = _statements_left.get()
    if left is not None:
        left[0] -= 1
        if left[0] <= 0:
            raise failed(statement, "the connection was closed")
