"""All that the books hold about one case, gathered in pages so that memory stays bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Select, Table, select, union

from audit.findings import Findings
from domain.approvals import Verdict
from domain.cases import EventKind
from ledger import tables as t
from ledger.projection import CaseRow
from ledger.reading import Reading, events_with_links
from ledger.records import ApprovalRow, Reservation, StoredDecision, StoredEvent, StoredTransaction
from ledger.rows import (
    approval_of,
    case_of,
    decision_of,
    event_of,
    reservation_of,
    transactions_of,
)

PAGE = 200

T = TypeVar("T")


@dataclass
class CaseFile:
    """One case: its account in order, and what else was written of it.

    ``is_legible`` is False when a row of it could not even be read; that is a finding of its
    own, and nothing is concluded from the rest.
    """

    case_id: str
    row: CaseRow | None = None
    events: list[StoredEvent] = field(default_factory=list)
    decisions: list[StoredDecision] = field(default_factory=list)
    approvals: list[ApprovalRow] = field(default_factory=list)
    transactions: list[StoredTransaction] = field(default_factory=list)
    reservations: list[Reservation] = field(default_factory=list)
    is_legible: bool = True

    def of_kind(self, kind: EventKind) -> list[StoredEvent]:
        return [event for event in self.events if event.kind is kind]

    def yes_to(self, slot: str) -> ApprovalRow | None:
        for approval in self.approvals:
            if approval.slot == slot and approval.verdict is Verdict.APPROVE:
                return approval
        return None


async def case_files(reading: Reading, found: Findings) -> AsyncIterator[CaseFile]:
    """Every case that any table of the record or the projection names, by id."""
    after = ""
    while ids := await _next_ids(reading, after):
        files = {case_id: CaseFile(case_id) for case_id in ids}
        await _fill(reading, files, found)
        for case_id in ids:
            yield files[case_id]
        after = ids[-1]


async def _next_ids(reading: Reading, after: str) -> list[str]:
    tables = (t.cases, t.case_events, t.ledger_transactions, t.approvals, t.reservations)
    named = union(*[select(x.c.case_id).where(x.c.case_id > after) for x in tables]).subquery()
    page = select(named.c.case_id).order_by(named.c.case_id).limit(PAGE)
    return [str(row.case_id) for row in await reading.execute(page)]


async def _fill(reading: Reading, files: dict[str, CaseFile], found: Findings) -> None:
    def of_page(table: Table, *order: str) -> Select[Any]:
        by = [table.c[name] for name in ("case_id", *order)]
        return select(table).where(table.c.case_id.in_(list(files))).order_by(*by)

    page = _Page(reading, files, found)
    events = events_with_links().where(t.case_events.c.case_id.in_(list(files)))
    in_order = events.order_by(t.case_events.c.case_id, t.case_events.c.ordinal)
    for event_file, event in await page.read("case_events", in_order, event_of):
        event_file.events.append(event)
    for case_file, row in await page.read("cases", of_page(t.cases), case_of):
        case_file.row = row
    for file, decision in await page.read("decisions", of_page(t.decisions, "step"), decision_of):
        file.decisions.append(decision)
    for file, approval in await page.read("approvals", of_page(t.approvals, "slot"), approval_of):
        file.approvals.append(approval)
    held = of_page(t.reservations, "step", "scope")
    for file, reservation in await page.read("reservations", held, reservation_of):
        file.reservations.append(reservation)
    await _fill_transactions(page)


async def _fill_transactions(page: _Page) -> None:
    tx, entry = t.ledger_transactions, t.ledger_entries.c
    statement = (
        select(tx, entry.account, entry.amount_minor, entry.currency)
        .join_from(tx, t.ledger_entries, entry.transaction_id == tx.c.id)
        .where(tx.c.case_id.in_(list(page.files)))
        .order_by(tx.c.id, entry.ordinal)
    )
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for row in await page.reading.execute(statement):
        lines.setdefault(row.id, []).append(row._asdict())
    for group in lines.values():
        file = page.files[group[0]["case_id"]]
        made = page.made("ledger_transactions", file, group[0]["id"], transactions_of, group)
        file.transactions.extend(made or [])


@dataclass(frozen=True)
class _Page:
    reading: Reading
    files: dict[str, CaseFile]
    found: Findings

    async def read(
        self, table: str, statement: Select[Any], make: Callable[[Mapping[str, Any]], T]
    ) -> list[tuple[CaseFile, T]]:
        read: list[tuple[CaseFile, T]] = []
        for row in await self.reading.execute(statement):
            values = row._asdict()
            file = self.files[values["case_id"]]
            made = self.made(table, file, str(values.get("id", file.case_id)), make, values)
            if made is not None:
                read.append((file, made))
        return read

    def made(
        self, table: str, file: CaseFile, row_id: str, make: Callable[[Any], T], value: Any
    ) -> T | None:
        """A record, or None and a finding: an altered row need not even be readable."""
        try:
            return make(value)
        except (ValueError, KeyError, TypeError) as error:
            first_line = str(error).splitlines()[0]
            self.found.add("I8", table, row_id, f"it cannot be read: {first_line}")
            file.is_legible = False
            return None
