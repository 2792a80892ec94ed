"""The projection from the events alone: compare it with ``cases``, or write it anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import delete, insert, text

from audit.case_checks import differing
from audit.case_files import case_files
from audit.findings import Findings
from domain.canonical import plain
from domain.errors import RedressError
from ledger import tables as t
from ledger.books import Books
from ledger.projection import CaseRow, fold
from ledger.reading import Reading

INSERT_PAGE = 200


class Difference(BaseModel):
    """A case whose row is not the fold of its events: field -> (in the row, by the events).

    A missing row, or a row without events, differs in ``case_id``.
    """

    model_config = ConfigDict(frozen=True)

    case_id: str
    fields: dict[str, tuple[Any, Any]]

    def __str__(self) -> str:
        if "case_id" in self.fields:
            row, _ = self.fields["case_id"]
            return (
                f"{self.case_id}: is not in the list"
                if row is None
                else f"{self.case_id}: has no events"
            )
        said = (
            f"{name} is {row!r}, by the events {folded!r}"
            for name, (row, folded) in self.fields.items()
        )
        return f"{self.case_id}: {'; '.join(said)}"


class IllegibleEvents(RedressError):
    """Events that cannot be read or do not fit together: nothing is rebuilt from them."""


async def compare_projection(books: Books) -> list[Difference]:
    """Cases whose row differs from their events; empty when the two agree."""
    differences: list[Difference] = []
    async with books.reading() as reading:
        async for row, folded in _both(reading):
            if row is None or folded is None:
                present = row or folded
                if present is not None:
                    ids = (row.case_id if row else None, folded.case_id if folded else None)
                    differences.append(Difference(case_id=present.case_id, fields={"case_id": ids}))
            elif row != folded:
                fields = {
                    name: (plain(getattr(row, name)), plain(getattr(folded, name)))
                    for name in differing(row, folded)
                }
                differences.append(Difference(case_id=row.case_id, fields=fields))
    return differences


async def rebuild(books: Books) -> int:
    """Write ``cases`` anew from the events, in one transaction; returns the rows written.

    Writers wait meanwhile. Repeatable. Raises ``IllegibleEvents`` and changes nothing when
    the events themselves are damaged.
    """
    written = 0
    async with books.transaction() as transaction:
        if not books.is_sqlite:
            await transaction.execute(text("LOCK TABLE cases IN EXCLUSIVE MODE"))
        await transaction.execute(delete(t.cases))
        page: list[dict[str, Any]] = []
        async for _, folded in _both(transaction.reading):
            if folded is not None:
                page.append(plain(folded))
            if len(page) == INSERT_PAGE:
                await transaction.execute(insert(t.cases).values(page))
                written += len(page)
                page = []
        if page:
            await transaction.execute(insert(t.cases).values(page))
            written += len(page)
    return written


async def _both(reading: Reading) -> AsyncIterator[tuple[CaseRow | None, CaseRow | None]]:
    """Each case as its row has it and as its events have it."""
    found = Findings()
    async for file in case_files(reading, found):
        illegible = [x for x in found.found if x.table == "case_events"]
        if illegible:
            raise IllegibleEvents(f"nothing can be rebuilt: {illegible[0]}")
        try:
            folded = fold(file.events)
        except ValueError as error:
            raise IllegibleEvents(f"nothing can be rebuilt: {error}") from error
        yield file.row, folded
