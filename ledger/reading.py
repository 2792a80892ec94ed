"""Reading the books: typed questions, no SQL for anyone else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Executable,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    case,
    func,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.approvals import Verdict
from domain.canonical import instant
from domain.cases import CaseEvent, CaseKind, EventKind, Outcome, Status
from domain.decisions import RefundMethod
from domain.linked import ALTERNATIVE_STEP
from domain.money import Money, total
from ledger import tables as t
from ledger.chain import Head
from ledger.near import LONG
from ledger.projection import CaseRow
from ledger.records import (
    ApprovalRow,
    ArchiveRow,
    Balance,
    CaseTotal,
    CustomerHistory,
    InboxRow,
    OutboxRow,
    RefusedAttempt,
    RegisteredRequest,
    Reservation,
    ReservationScope,
    ReservationState,
    StoredDecision,
    StoredEvent,
    StoredTransaction,
)
from ledger.rows import (
    approval_of,
    case_of,
    decision_of,
    event_of,
    inbox_of,
    money_of,
    outbox_of,
    refused_attempt_of,
    reservation_of,
    sums_of,
    transactions_of,
)

NOT_GIVEN = (Outcome.FAILED_AT_BANK.value, Outcome.REJECTED_BY_PROVIDER.value)
"""Ends of a refund case after which the customer has nothing."""


NEVER = "9999"
"""After every instant as the books write one."""


def events_with_links() -> Select[Any]:
    e, link = t.case_events, t.chain_links
    joined = (link.c.entry_table == e.name) & (link.c.entry_id == e.c.id)
    return select(
        e,
        func.coalesce(link.c.seq, 0).label("seq"),
        func.coalesce(link.c.hash, "").label("hash"),
    ).outerjoin_from(e, link, joined)


# the questions of every transaction, built once: building costs more than asking
_CASE = select(t.cases).where(t.cases.c.case_id == bindparam("id"))
_CASE_FOR_UPDATE = _CASE.with_for_update()
_HAS_EVENT = select(t.case_events.c.id).where(
    t.case_events.c.case_id == bindparam("case_id"), t.case_events.c.step == bindparam("step")
)
_EVENT = events_with_links().where(
    t.case_events.c.case_id == bindparam("case_id"), t.case_events.c.step == bindparam("step")
)
_DECISION = select(t.decisions).where(
    t.decisions.c.case_id == bindparam("case_id"), t.decisions.c.step == bindparam("step")
)
_LAST_DECISION = (
    select(t.decisions)
    .where(t.decisions.c.case_id == bindparam("case_id"))
    # decide, decide#2 ... decide#10: their instants need not ascend where a case was reopened
    .order_by(func.length(t.decisions.c.step).desc(), t.decisions.c.step.desc())
    .limit(1)
)
_APPROVALS = (
    select(t.approvals)
    .where(t.approvals.c.case_id == bindparam("case_id"))
    .order_by(t.approvals.c.at, t.approvals.c.slot)
)
_RESERVED = (
    select(t.reservations)
    .where(
        t.reservations.c.scope == bindparam("scope"),
        t.reservations.c.key == bindparam("key"),
        t.reservations.c.currency == bindparam("currency"),
        t.reservations.c.state != ReservationState.RELEASED.value,
    )
    .order_by(t.reservations.c.case_id, t.reservations.c.step, t.reservations.c.scope)
)
_DECIDED_ON_CHARGE = (
    select(t.case_events.c.case_id, t.case_events.c.body)
    .join(t.reservations, t.reservations.c.case_id == t.case_events.c.case_id)
    .where(
        t.reservations.c.scope == ReservationScope.CHARGE.value,
        t.reservations.c.key == bindparam("charge"),
        t.reservations.c.currency == bindparam("currency"),
        t.reservations.c.state != ReservationState.RELEASED.value,
        t.case_events.c.kind == EventKind.DECIDED.value,
    )
    .order_by(t.case_events.c.case_id, t.case_events.c.ordinal)
)
_ENDED_ON_CHARGE = (
    select(t.cases)
    .where(t.cases.c.charge == bindparam("charge"), t.cases.c.status == Status.CLOSED.value)
    .order_by(t.cases.c.closed_at, t.cases.c.case_id)
)
_REFUNDED = select(t.cases.c.amount_minor, t.cases.c.currency).where(
    t.cases.c.customer == bindparam("customer"),
    t.cases.c.kind == CaseKind.REFUND.value,
    t.cases.c.opened_at >= bindparam("since"),
    t.cases.c.provider_id != "",
    t.cases.c.outcome.is_(None) | t.cases.c.outcome.not_in(NOT_GIVEN),
)
_CONCEDED = select(t.reservations.c.amount_minor, t.reservations.c.currency).where(
    t.reservations.c.scope == ReservationScope.CONCESSIONS.value,
    t.reservations.c.key == bindparam("customer"),
    t.reservations.c.at >= bindparam("since"),
    t.reservations.c.state != ReservationState.RELEASED.value,
)
_REQUEST = select(t.requests).where(t.requests.c.request_id == bindparam("request_id"))
_HEAD = select(t.chain_head.c.seq, t.chain_head.c.hash).where(t.chain_head.c.id == 1)
_HEAD_FOR_UPDATE = _HEAD.with_for_update()


@dataclass(frozen=True, slots=True)
class Counted:
    """Which events a counter asks for: those of kind ``of`` from ``since`` to ``until``, both
    included (UTC), whose case shows one of the words for every field of ``where``.

    ``per`` says whose cases: ``customer``'s own, those of them about the ``subscription`` or
    ``account`` named ``key``, or those that the ``agent`` named ``key`` opened. ``where`` names
    columns of ``cases``; its outcome ``open`` is a case that has not ended. Nothing of the case
    ``but_for`` counts.
    """

    of: EventKind
    since: datetime
    until: datetime
    where: tuple[tuple[str, tuple[str, ...]], ...]
    per: str
    customer: str
    key: str
    but_for: str = ""


IDS_AT_ONCE = 500
"""In one statement: a database takes only so many parameters."""


class Reading:
    """Questions on one connection. Instants come out in UTC, amounts as ``Money``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.is_sqlite = connection.dialect.name == "sqlite"

    # --- cases ---------------------------------------------------------------------------

    async def case(self, case_id: str, *, for_update: bool = False) -> CaseRow | None:
        statement = _CASE_FOR_UPDATE if for_update else _CASE
        row = (await self._connection.execute(statement, {"id": case_id})).first()
        return _case(None if row is None else row._asdict())

    async def cases(
        self,
        *,
        status: Status | None = None,
        kind: CaseKind | None = None,
        due_before: datetime | None = None,
        customer: str | None = None,
        charge: str | None = None,
        outcome: Outcome | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[CaseRow]:
        """Cases that fit every filter, by case id; ``after`` is the last id of the page before.

        ``due_before`` fits what a case waits for, and a first answer that nobody gave.
        """
        c = t.cases.c
        filters: list[ColumnElement[bool]] = _cases_where(kind, due_before, customer, charge)
        if status is not None:
            filters.append(c.status == status.value)
        if outcome is not None:
            filters.append(c.outcome == outcome.value)
        return await self._cases(filters, after, limit)

    async def open_cases(
        self,
        *,
        kind: CaseKind | None = None,
        due_before: datetime | None = None,
        customer: str | None = None,
        charge: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[CaseRow]:
        """Cases that have not ended; filters and paging as in :meth:`cases`."""
        filters = _cases_where(kind, due_before, customer, charge)
        filters.append(t.cases.c.status != Status.CLOSED.value)
        return await self._cases(filters, after, limit)

    async def owing(self) -> list[str]:
        """Cases that ended with money to be paid another way, by none so far."""
        closing, link = t.case_events.alias(), t.case_events.alias()
        statement = (
            select(closing.c.case_id, closing.c.body)
            .join(t.cases, t.cases.c.case_id == closing.c.case_id)
            .outerjoin(
                link, and_(link.c.case_id == closing.c.case_id, link.c.step == ALTERNATIVE_STEP)
            )
            .where(
                t.cases.c.outcome == Outcome.FAILED_AT_BANK.value,
                closing.c.step == "close",
                link.c.case_id.is_(None),
            )
            .order_by(closing.c.case_id)
        )
        return [
            str(row["case_id"])
            for row in await self._all(statement)
            if json.loads(row["body"]).get("goes_on")
        ]

    async def _cases(
        self, filters: list[ColumnElement[bool]], after: str | None, limit: int
    ) -> list[CaseRow]:
        if after is not None:
            filters.append(t.cases.c.case_id > after)
        statement = select(t.cases).where(*filters).order_by(t.cases.c.case_id).limit(limit)
        return [case_of(row) for row in await self._all(statement)]

    async def by_urgency(
        self,
        *,
        status: Status | None = None,
        kind: CaseKind | None = None,
        due_before: datetime | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[CaseRow]:
        """Cases that fit every filter: what is due first, then those that wait for nothing, the
        last changed first.

        ``after`` is the last id of the page before, and an id of the books; a case that moved in
        between may come twice, or not at all.
        """
        c, e = t.cases.c, t.case_events.c
        due = _due()
        changed = (
            select(e.occurred_at)
            .where(e.case_id == c.case_id, e.ordinal == c.events)
            .correlate(t.cases)
            .scalar_subquery()
        )
        keys = select(due.label("due"), changed.label("changed"), c.case_id)
        filters = _cases_where(kind, due_before, None, None)
        if status is not None:
            filters.append(c.status == status.value)
        if after is not None:
            last = await self._first(keys.where(c.case_id == after))
            if last is None:
                raise LookupError(f"{after} is not in the books")
            later = (changed == last["changed"]) & (c.case_id > after)
            later = (due == last["due"]) & ((changed < last["changed"]) | later)
            filters.append((due > last["due"]) | later)
        statement = (
            select(t.cases).where(*filters).order_by(due, changed.desc(), c.case_id).limit(limit)
        )
        return [case_of(row) for row in await self._all(statement)]

    async def open_case_on(self, kind: CaseKind, business_key: str) -> str | None:
        """The id of the open case of this kind on one thing, if there is one."""
        c = t.cases.c
        statement = select(c.case_id).where(
            c.kind == kind.value,
            c.business_key == business_key,
            c.status != Status.CLOSED.value,
        )
        row = await self._first(statement)
        return None if row is None else str(row["case_id"])

    async def case_of_provider_object(self, provider_id: str) -> CaseRow | None:
        """The case that ordered this object of the provider (a refund's id). An exception, by which
        one that no case ordered is booked, is none."""
        c = t.cases.c
        statement = select(t.cases).where(
            c.provider_id == provider_id,
            c.provider_id != "",
            c.kind != CaseKind.EXCEPTION.value,
        )
        return _case(await self._first(statement))

    async def orders_on(self, charge: str) -> dict[str, str]:
        """By case on a charge, the provider's object that it ordered; cases whose order is not in
        the books are left out, unless it can be no refund: credit is under an empty id."""
        c = t.cases.c
        is_credit = c.method == RefundMethod.ACCOUNT_CREDIT.value
        statement = select(c.case_id, c.provider_id).where(
            c.charge == charge,
            c.kind != CaseKind.EXCEPTION.value,
            (c.provider_id != "") | is_credit,
        )
        return {row["case_id"]: row["provider_id"] for row in await self._all(statement)}

    async def ended_on_charge(self, charge: str) -> list[CaseRow]:
        """Ended cases on a charge, oldest end first."""
        rows = await self._all(_ENDED_ON_CHARGE, {"charge": charge})
        return [case_of(row) for row in rows]

    async def customer_history(self, customer: str, since: datetime) -> CustomerHistory:
        """What the customer was given at or after ``since``; see :class:`CustomerHistory`."""
        asked = {"customer": customer, "since": instant(since)}
        refunds = await self._all(_REFUNDED, asked)
        concessions = await self._all(_CONCEDED, asked)
        return CustomerHistory(
            refunds=len(refunds),
            refunded=sums_of(refunds),
            concessions=len(concessions),
            conceded=sums_of(concessions),
        )

    async def count_events(self, asked: Counted) -> int:
        """How many events fit; see :class:`Counted`."""
        return len(await self._counted(asked))

    async def sum_of_cases(self, asked: Counted, currency: str) -> Money:
        """The amounts in ``currency`` of the cases of the events that fit, each event once;
        a case that has no amount yet adds nothing."""
        rows = await self._counted(asked)
        return total(
            (
                money_of(row)
                for row in rows
                if row["currency"] == currency and row["amount_minor"] is not None
            ),
            currency,
        )

    async def _counted(self, asked: Counted) -> list[Mapping[str, Any]]:
        e, c, first = t.case_events.c, t.cases.c, t.case_events.alias("first_events")
        owner = first.c.actor_id if asked.per == "agent" else c.customer
        filters = [
            e.kind == asked.of.value,
            e.occurred_at >= instant(asked.since),
            e.occurred_at <= instant(asked.until),
            owner == (asked.key if asked.per == "agent" else asked.customer),
            e.case_id != asked.but_for,
        ]
        for field, words in asked.where:
            fits: ColumnElement[bool] = t.cases.c[field].in_(words)
            if field == "outcome" and Status.OPEN.value in words:
                fits = fits | c.outcome.is_(None)
            filters.append(fits)
        opening = (first.c.case_id == e.case_id) & (first.c.kind == EventKind.OPENED.value)
        statement = (
            select(c.amount_minor, c.currency, first.c.body)
            .select_from(t.case_events)
            .join(t.cases, c.case_id == e.case_id)
            .join(first, opening)
            .where(*filters)
        )
        rows = await self._all(statement)
        if asked.per in ("customer", "agent"):
            return list(rows)
        # a thing is named in the body of the event that opened its case, which is no column
        return [row for row in rows if json.loads(row["body"]).get(asked.per) == asked.key]

    # --- the record ----------------------------------------------------------------------

    async def events(self, case_id: str) -> list[StoredEvent]:
        """A case's account, oldest first."""
        e = t.case_events.c
        statement = events_with_links().where(e.case_id == case_id).order_by(e.ordinal)
        return [event_of(row) for row in await self._all(statement)]

    async def event(self, case_id: str, step: str) -> CaseEvent | None:
        row = await self._first(_EVENT, {"case_id": case_id, "step": step})
        return None if row is None else event_of(row)

    async def has_event(self, case_id: str, step: str) -> bool:
        found = await self._connection.execute(_HAS_EVENT, {"case_id": case_id, "step": step})
        return found.first() is not None

    async def decision(self, case_id: str, step: str | None = None) -> StoredDecision | None:
        """The decision of one step; without a step the one that stands, which is the last."""
        row = await (
            self._first(_LAST_DECISION, {"case_id": case_id})
            if step is None
            else self._first(_DECISION, {"case_id": case_id, "step": step})
        )
        return None if row is None else decision_of(row)

    async def policy_content(self, hash: str) -> str | None:
        statement = select(t.policy_contents.c.content).where(t.policy_contents.c.id == hash)
        row = await self._first(statement)
        return None if row is None else str(row["content"])

    async def approvals(self, case_id: str) -> list[ApprovalRow]:
        """Verdicts on a case, by instant."""
        rows = await self._all(_APPROVALS, {"case_id": case_id})
        return [approval_of(row) for row in rows]

    async def approved_on(
        self, actor_id: str, currency: str, kind: CaseKind, start: datetime, end: datetime
    ) -> Money:
        """What this person said yes to in ``[start, end)``, cases of one kind, one currency."""
        a, c = t.approvals.c, t.cases.c
        statement = (
            select(a.amount_minor, a.currency)
            .join_from(t.approvals, t.cases, a.case_id == c.case_id)
            .where(
                a.actor_id == actor_id,
                a.currency == currency,
                a.verdict == Verdict.APPROVE.value,
                a.at >= instant(start),
                a.at < instant(end),
                c.kind == kind.value,
            )
        )
        return total((money_of(row) for row in await self._all(statement)), currency)

    async def refused_attempts(self, case_id: str | None = None) -> list[RefusedAttempt]:
        """Refused attempts, of one case or all, by instant."""
        r = t.refused_attempts.c
        statement = select(t.refused_attempts).order_by(r.at, r.id)
        if case_id is not None:
            statement = statement.where(r.case_id == case_id)
        return [refused_attempt_of(row) for row in await self._all(statement)]

    async def runs_of_case(self, case_id: str) -> list[str]:
        """The runs of the case's own workflow that wrote its events, first first; several when
        it was reset, or taken up again from the books."""
        e = t.case_events.c
        statement = (
            select(e.run_id)
            .where(e.case_id == case_id, e.workflow_id == case_id, e.run_id != "")
            .group_by(e.run_id)
            .order_by(func.min(e.ordinal))
        )
        return [row["run_id"] for row in await self._all(statement)]

    async def unarchived(self, *, after: str = "", limit: int = 100) -> list[CaseRow]:
        """Ended cases of which a run of :meth:`runs_of_case` is not archived, by case id after
        ``after``; those that never had a workflow have nothing to archive. Walks the ended cases
        until ``limit`` are found."""
        c, a, e = t.cases.c, t.archives.c, t.case_events.c
        archived = select(a.id).where(a.case_id == e.case_id, a.run_id == e.run_id)
        statement = (
            select(t.cases)
            .where(
                c.status == Status.CLOSED.value,
                c.case_id > after,
                select(e.id)
                .where(
                    e.case_id == c.case_id,
                    e.workflow_id == c.case_id,
                    e.run_id != "",
                    ~archived.correlate(t.case_events).exists(),
                )
                .correlate(t.cases)
                .exists(),
            )
            .order_by(c.case_id)
            .limit(limit)
            .prefix_with(LONG)
        )
        return [case_of(row) for row in await self._all(statement)]

    async def archives(self, case_id: str) -> list[ArchiveRow]:
        a = t.archives.c
        statement = select(t.archives).where(a.case_id == case_id).order_by(a.at, a.id)
        return [ArchiveRow(**row) for row in await self._all(statement)]

    async def has_key(self, customer: str, key_id: str) -> bool:
        """Whether the key is, or was before it was destroyed, one of this customer's."""
        k = t.customer_keys.c
        statement = select(k.id).where(k.id == key_id, k.customer == customer)
        return await self._first(statement) is not None

    async def is_destroyed(self, key_id: str) -> bool:
        """Whether there was such a key and it is no more."""
        k = t.customer_keys.c
        statement = select(k.id).where(k.id == key_id, k.wrapped.is_(None))
        return await self._first(statement) is not None

    # --- money ---------------------------------------------------------------------------

    async def reservations(
        self, scope: ReservationScope, key: str, currency: str
    ) -> list[Reservation]:
        """What is held or posted on one account, by case and step."""
        asked = {"scope": scope.value, "key": key, "currency": currency}
        return [reservation_of(row) for row in await self._all(_RESERVED, asked)]

    async def tax_shares(self, charge: str, currency: str) -> dict[str, Money]:
        """The tax that each case holding or having posted money of a charge was decided to give
        back, by case id; cases that were decided before shares were told have none."""
        rows = await self._all(_DECIDED_ON_CHARGE, {"charge": charge, "currency": currency})
        told = {row["case_id"]: json.loads(row["body"]).get("tax") for row in rows}
        return {case_id: Money.model_validate(tax) for case_id, tax in told.items() if tax}

    async def reservations_of_case(self, case_id: str) -> list[Reservation]:
        """All of a case's reservations, released ones included, by step."""
        r = t.reservations.c
        statement = select(t.reservations).where(r.case_id == case_id).order_by(r.step, r.scope)
        return [reservation_of(row) for row in await self._all(statement)]

    async def ledger_transactions(
        self, case_id: str | None = None, *, after: str | None = None, limit: int | None = None
    ) -> list[StoredTransaction]:
        """Transactions with their entries, of one case or all, by id ("{case_id}:{step}").

        ``after`` is the last id of the page before, ``limit`` counts transactions.
        """
        tx, e = t.ledger_transactions, t.ledger_entries
        page = select(tx).order_by(tx.c.id)
        if case_id is not None:
            page = page.where(tx.c.case_id == case_id)
        if after is not None:
            page = page.where(tx.c.id > after)
        wanted = (page if limit is None else page.limit(limit)).subquery()
        statement = (
            select(wanted, e.c.account, e.c.amount_minor, e.c.currency)
            .join_from(wanted, e, wanted.c.id == e.c.transaction_id)
            .order_by(wanted.c.id, e.c.ordinal)
        )
        return transactions_of(await self._all(statement))

    async def trial_balance(self) -> list[Balance]:
        """Every account's sum per currency, by account; they sum to zero per currency."""
        e = t.ledger_entries.c
        statement = (
            select(e.account, e.currency, func.sum(e.amount_minor).label("amount_minor"))
            .group_by(e.account, e.currency)
            .order_by(e.account, e.currency)
        )
        return [Balance(**row) for row in await self._all(statement)]

    async def totals(self) -> list[CaseTotal]:
        """Cases and their amounts by kind, status, outcome and currency."""
        c = t.cases.c
        group = (c.kind, c.status, c.outcome, c.currency)
        statement = (
            select(
                *group,
                func.count().label("cases"),
                func.coalesce(func.sum(c.amount_minor), 0).label("amount_minor"),
            )
            .group_by(*group)
            .order_by(*group)
        )
        return [CaseTotal(**row) for row in await self._all(statement)]

    # --- doors ---------------------------------------------------------------------------

    async def request(self, request_id: str) -> RegisteredRequest | None:
        row = await self._first(_REQUEST, {"request_id": request_id})
        return None if row is None else RegisteredRequest(**row)

    async def registered(self, case_ids: Sequence[str]) -> set[str]:
        """Those of these cases whose request is written down."""
        of_case = t.requests.c.case_id
        found: set[str] = set()
        for start in range(0, len(case_ids), IDS_AT_ONCE):
            some = of_case.in_(case_ids[start : start + IDS_AT_ONCE])
            found |= {row["case_id"] for row in await self._all(select(of_case).where(some))}
        return found

    async def inbox(
        self, state: str = "received", *, after: InboxRow | None = None, limit: int = 100
    ) -> list[InboxRow]:
        """Provider events in one state, oldest first; ``after`` is the last of the page before."""
        i = t.inbox.c
        statement = select(t.inbox).where(i.state == state)
        if after is not None:
            at = instant(after.received_at)
            later = (i.received_at == at) & (i.event_id > after.event_id)
            statement = statement.where((i.received_at > at) | later)
        statement = statement.order_by(i.received_at, i.event_id).limit(limit)
        return [inbox_of(row) for row in await self._all(statement)]

    async def due_outbox(self, now: datetime, limit: int = 100) -> list[OutboxRow]:
        """What is to be sent by ``now``, in the order it was written."""
        o = t.outbox.c
        statement = (
            select(t.outbox)
            .where(o.sent_at.is_(None), o.next_try_at <= instant(now))
            .order_by(o.id)
            .limit(limit)
        )
        return [outbox_of(row) for row in await self._all(statement)]

    async def outbox_of_case(self, case_id: str) -> list[OutboxRow]:
        o = t.outbox.c
        statement = select(t.outbox).where(o.case_id == case_id).order_by(o.id)
        return [outbox_of(row) for row in await self._all(statement)]

    # --- the whole -----------------------------------------------------------------------

    async def head(self, *, for_update: bool = False) -> Head:
        """The last link of the chain; seq 0 in new books."""
        row = await self._first(_HEAD_FOR_UPDATE if for_update else _HEAD)
        if row is None:
            raise ValueError("chain_head has lost its row")
        return Head(**row)

    async def counts(self) -> dict[str, int]:
        """Rows per table."""
        found: dict[str, int] = {}
        for table in (*t.APPEND_ONLY, *t.MUTABLE):
            found[table.name] = await self._count(table)
        return found

    async def stream(
        self, statement: Select[Any], *, page_size: int = 500
    ) -> AsyncIterator[dict[str, Any]]:
        """Rows one by one, at most ``page_size`` of them in memory."""
        paged = statement.execution_options(yield_per=page_size)
        result = await self._connection.stream(paged)
        try:
            async for row in result:
                yield row._asdict()
        finally:
            await result.close()

    async def execute(self, statement: Executable) -> Sequence[Row[Any]]:
        """Run another question. For the rooms that read the books only."""
        rows: Sequence[Row[Any]] = (await self._connection.execute(statement)).all()
        return rows

    async def _count(self, table: Table) -> int:
        counted = await self._connection.execute(select(func.count()).select_from(table))
        return int(counted.scalar_one())

    async def _all(
        self, statement: Select[Any], asked: Mapping[str, Any] | None = None
    ) -> Sequence[Mapping[str, Any]]:
        found = await self._connection.execute(statement, asked)
        return [row._asdict() for row in found]

    async def _first(
        self, statement: Select[Any], asked: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any] | None:
        row = (await self._connection.execute(statement, asked)).first()
        return None if row is None else row._asdict()


def _due() -> ColumnElement[str]:
    """When a case is due: what it waits for, or a first answer that nobody gave, whichever is
    earlier."""
    c = t.cases.c
    waits = func.coalesce(c.due_at, NEVER)
    is_unanswered = (c.status != Status.CLOSED.value) & c.first_responded_at.is_(None)
    answer = func.coalesce(c.first_response_due, NEVER)
    return case((is_unanswered & (answer < waits), answer), else_=waits)


def _cases_where(
    kind: CaseKind | None,
    due_before: datetime | None,
    customer: str | None,
    charge: str | None,
) -> list[ColumnElement[bool]]:
    c = t.cases.c
    filters: list[ColumnElement[bool]] = []
    if kind is not None:
        filters.append(c.kind == kind.value)
    if due_before is not None:
        filters.append(_due() < instant(due_before))
    if customer is not None:
        filters.append(c.customer == customer)
    if charge is not None:
        filters.append(c.charge == charge)
    return filters


def _case(row: Mapping[str, Any] | None) -> CaseRow | None:
    return None if row is None else case_of(row)
