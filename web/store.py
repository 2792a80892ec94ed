"""The web's own mutable tables: the inbox of provider events. Its one door to the books."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from domain.cases import CaseKind
from ledger.books import Books
from ledger.projection import CaseRow
from ledger.records import InboxRow


@asynccontextmanager
async def open_books(url: str) -> AsyncIterator[Books]:
    """The books, closed again at the end."""
    books = await Books.open(url)
    try:
        yield books
    finally:
        await books.close()


class Inbox:
    """Events of the provider: stored first, acted on later, each once."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def take(
        self, event_id: str, event_type: str, about: tuple[str, ...], at: datetime, state: str
    ) -> bool:
        """Write an event down in its first state; False when it is there already."""
        async with self._books.transaction() as tx:
            return await tx.take_inbox(
                event_id=event_id, event_type=event_type, object_ids=list(about), at=at, state=state
            )

    async def waiting(self, after: InboxRow | None = None) -> list[InboxRow]:
        """A page of events that nobody has acted on yet, oldest first."""
        async with self._books.reading() as reading:
            return await reading.inbox("received", after=after)

    async def finish(self, event_id: str, state: str) -> None:
        async with self._books.transaction() as tx:
            await tx.finish_inbox(event_id, state)

    async def case(self, case_id: str) -> CaseRow | None:
        async with self._books.reading() as reading:
            return await reading.case(case_id)

    async def open_cases(self, charge: str) -> list[CaseRow]:
        """The refunds of a charge that have not ended."""
        async with self._books.reading() as reading:
            return await reading.open_cases(kind=CaseKind.REFUND, charge=charge)

    async def is_ready(self) -> bool:
        """Whether the books answer."""
        async with self._books.reading() as reading:
            await reading.head()
        return True
