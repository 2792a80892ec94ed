"""The one sender of what leaves the engine: takes due outbox rows, delivers, marks them sent.

Delivery here is a line in a file that is on disk before the row is marked, so a notice may
arrive twice after a crash and is never lost; its ``key`` tells a receiver which it has seen.
"""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import structlog
from sqlalchemy.exc import SQLAlchemyError

from domain.canonical import canonical_json
from ledger.books import Books
from ledger.records import OutboxRow

log = structlog.get_logger()

FIRST_RETRY = timedelta(seconds=5)
LONGEST_RETRY = timedelta(hours=1)


class Delivery(Protocol):
    """Where notices go. ``deliver`` raises ``OSError`` when it could not, and is called again."""

    async def deliver(self, notices: list[OutboxRow]) -> None: ...


class FileDelivery:
    """Appends one JSON line a notice, flushed to disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def deliver(self, notices: list[OutboxRow]) -> None:
        await asyncio.to_thread(self._append, notices)

    def _append(self, notices: list[OutboxRow]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            for notice in notices:
                line = {
                    "key": notice.key,
                    "topic": notice.topic,
                    "case_id": notice.case_id,
                    **json.loads(canonical_json(notice.body)),
                }
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


class NoticeSender:
    """Sends what is due, again and again, until it is stopped."""

    def __init__(self, books: Books, delivery: Delivery, *, idle_seconds: int = 1) -> None:
        self._books = books
        self._delivery = delivery
        self._idle_seconds = idle_seconds

    async def run(self) -> None:
        while True:
            try:
                sent = await self.send_due(datetime.now(UTC))
            except (OSError, SQLAlchemyError) as error:
                log.warning("notices_not_sent", error=type(error).__name__)
                sent = 0
            if sent == 0:
                await asyncio.sleep(self._idle_seconds)

    async def send_due(self, now: datetime, limit: int = 200) -> int:
        """Deliver what is due at wall-clock ``now``; answers how many were sent."""
        async with self._books.reading() as reading:
            due = await reading.due_outbox(now, limit)
        if not due:
            return 0
        try:
            await self._delivery.deliver(due)
        except OSError:
            async with self._books.transaction() as tx:
                for notice in due:
                    wait = min(FIRST_RETRY * 2**notice.attempts, LONGEST_RETRY)
                    await tx.mark_failed(notice.id, now, now + wait)
            raise
        async with self._books.transaction() as tx:
            await tx.mark_sent([notice.id for notice in due], now)
        return len(due)
