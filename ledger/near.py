"""SQLite called where it is asked: only what waits for a lock or the disk goes to a thread.

A statement on a file takes some microseconds, and the way to aiosqlite's thread and back a round
of the event loop: three or four a statement, fifty a transaction, while the one writer that there
can be holds back the next. Here a transaction leaves the loop twice, to begin and to commit. A
question that reads a whole table would hold the loop up meanwhile: one that a worker asks begins
with :data:`LONG` and goes to the thread, answer and all. Commands have nothing else to do, and
ask theirs without.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import aiosqlite

T = TypeVar("T")

BEGIN_TO_WRITE = "BEGIN IMMEDIATE"
WAITING = (BEGIN_TO_WRITE, "PRAGMA")
"""How statements begin that may wait for another connection."""

LONG = "/* long */"
"""After its SELECT, marks a question that walks a table (``.prefix_with(LONG)``)."""

_LONG_QUESTION = f"SELECT {LONG}"

CHUNK = 64


class NearConnection(aiosqlite.Connection):
    """A connection of aiosqlite whose thread is spared what does not wait.

    All of its methods and its cursors' come by ``_execute``. What is in the thread when its
    waiter is cancelled goes on there, so until it is done everything queues behind it: calls on
    one connection never change their order.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(partial(sqlite3.connect, *args, **options), CHUNK)
        self._thread.daemon = True
        self._writes = False
        self._in_thread: deque[None] = deque()
        self._walking: sqlite3.Cursor | None = None

    async def _execute(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        if self._running and not self._in_thread and self._is_quick(fn, args):
            return fn(*args, **kwargs)
        if args[:1] == (BEGIN_TO_WRITE,):
            self._writes = True
        self._in_thread.append(None)
        answer: T = await super()._execute(self._last, fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        if fn.__name__ in ("commit", "rollback"):
            self._writes = False
        return answer

    def _last(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        try:
            return fn(*args, **kwargs)
        finally:
            self._in_thread.pop()

    def _is_quick(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        cursor = getattr(fn, "__self__", None)
        if isinstance(cursor, sqlite3.Cursor):
            text = str(args[0]) if args else ""
            if text.startswith(_LONG_QUESTION):
                self._walking = cursor  # SQLite walks on as rows are fetched
            return cursor is not self._walking and not text.startswith(WAITING)
        if fn.__name__ in ("commit", "rollback"):
            return not self._writes  # nothing to bring to the disk
        return fn.__name__ == "cursor"
