"""Writing into the books: one transaction, its locks, and the links that seal it.

Every method may be repeated: a second identical call changes nothing, so that an activity
that is retried after its commit was lost writes once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Executable, Row, Table, bindparam, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningInsert

from domain.approvals import RefusalCode
from domain.canonical import canonical_json, instant, plain, sha256_of
from domain.cases import AFTER_THE_END, CaseEvent, CaseKind, Status
from domain.decisions import Decision
from domain.errors import Refused
from domain.money import Money
from ledger import tables as t
from ledger.chain import Head, Link, hash_of_row, hash_of_transaction, next_link
from ledger.locks import Locks, Rank
from ledger.postings import LedgerTransaction
from ledger.projection import CaseRow, project
from ledger.reading import Reading
from ledger.records import (
    AlreadyOpen,
    ApprovalRow,
    ArchiveRow,
    RefusedAttempt,
    RegisteredRequest,
    ReservationScope,
    ReservationState,
)

# built once: building a statement costs more than running it
_INSERT_CASE = t.cases.insert()
_UPDATE_CASE = update(t.cases).where(t.cases.c.case_id == bindparam("of_case"))
_INSERT_ENTRIES = t.ledger_entries.insert()
_INSERT_LINKS = t.chain_links.insert()
_UPDATE_HEAD = update(t.chain_head).where(t.chain_head.c.id == 1)


@cache
def _insert_statement(table: Table, on: tuple[str, ...], is_sqlite: bool) -> ReturningInsert[Any]:
    insert = (sqlite if is_sqlite else postgresql).insert(table)
    key: Sequence[ColumnElement[Any]] = list(table.primary_key.columns)
    statement: ReturningInsert[Any] = insert.on_conflict_do_nothing(index_elements=on).returning(
        *key
    )
    return statement


def _changed(row: CaseRow | None, event: CaseEvent) -> CaseRow:
    """``row`` after ``event``. Raises ``Refused`` after the end, ``ValueError`` as ``project``."""
    if row is not None and row.status is Status.CLOSED and event.kind not in AFTER_THE_END:
        raise Refused(
            RefusalCode.CLOSED,
            f"{event.case_id} has ended ({row.outcome}): no {event.kind.value} after it",
        )
    return project(row, event)


class BookTransaction:
    """One database transaction on the books; made by ``Books.transaction``.

    Locks are taken in the house's one order (charge, concessions, budget; the cases that
    events are appended to; the chain's head at the seal), or two transactions could wait
    for each other. ``reading`` is the same connection and sees what was written.
    """

    def __init__(self, connection: AsyncConnection, clock: Callable[[], datetime]) -> None:
        self._connection = connection
        self._clock = clock
        self._is_sqlite = connection.dialect.name == "sqlite"
        self._locks = Locks(connection)
        self._cases: dict[str, CaseRow] = {}
        self._unsealed: list[tuple[str, str, str]] = []
        self.reading = Reading(connection)

    # --- locks ---------------------------------------------------------------------------

    async def lock_charge(self, charge: str) -> None:
        """Hold back every other transaction on this charge until the end of this one."""
        await self._locks.take(Rank.CHARGE, f"charge:{charge}")

    async def lock_concessions(self, customer: str, currency: str) -> None:
        await self._locks.take(Rank.CONCESSIONS, f"concessions:{customer}:{currency}")

    async def lock_budget(self, actor_id: str, currency: str, day: date) -> None:
        await self._locks.take(Rank.BUDGET, f"budget:{actor_id}:{currency}:{day.isoformat()}")

    # --- the record ----------------------------------------------------------------------

    async def append_event(self, event: CaseEvent) -> bool:
        """Append to the case's account and fold it into ``cases``.

        False when ``(case_id, step)`` is there already: then nothing changes. Raises
        ``Refused`` (closed) after the end, but for :data:`AFTER_THE_END`, ``AlreadyOpen`` when
        the business key has an open case, ``ValueError`` when the event does not fit its kind.
        """
        self._locks.complete()
        row = self._cases.get(event.case_id) or await self.reading.case(
            event.case_id, for_update=not self._is_sqlite
        )
        try:
            changed = _changed(row, event)
        except (Refused, ValueError):
            if await self.reading.has_event(event.case_id, event.step):
                return False
            raise
        if row is None:
            await self._assert_not_open(changed)
        inserted = await self._append(
            t.case_events,
            {
                "id": f"{event.case_id}:{event.step}",
                "case_id": event.case_id,
                "step": event.step,
                "ordinal": changed.events,
                "kind": event.kind.value,
                "occurred_at": instant(event.occurred_at),
                "actor_id": event.actor.id,
                "actor_role": event.actor.role.value,
                "body": canonical_json(event.body),
                "policy": event.policy,
                "policy_version": event.policy_version,
                "policy_hash": event.policy_hash,
                "workflow_id": event.workflow_id,
                "run_id": event.run_id,
            },
            on=["case_id", "step"],
        )
        if not inserted:  # another transaction opened the case while this one waited for it
            return False
        values = plain(changed)
        if row is None:
            await self._connection.execute(_INSERT_CASE, values)
        else:
            await self._connection.execute(_UPDATE_CASE, {**values, "of_case": event.case_id})
        self._cases[event.case_id] = changed
        return True

    async def case(self, case_id: str) -> CaseRow | None:
        """The case as this transaction has left it."""
        row = self._cases.get(case_id) or await self.reading.case(case_id)
        if row is not None and self._is_sqlite:  # nobody else can write until the end
            self._cases[case_id] = row
        return row

    async def _assert_not_open(self, row: CaseRow) -> None:
        if row.business_key is None:
            return
        other = await self.reading.open_case_on(row.kind, row.business_key)
        if other is not None:
            raise AlreadyOpen(other, row.business_key)

    async def post(self, transaction: LedgerTransaction) -> bool:
        """Write a balanced transaction; False when ``(case_id, step)`` is there already."""
        row = {
            "id": f"{transaction.case_id}:{transaction.step}",
            "case_id": transaction.case_id,
            "step": transaction.step,
            "kind": transaction.kind.value,
            "provider_id": transaction.provider_id,
            "at": instant(transaction.at),
            "recorded_at": instant(self._clock()),
        }
        if not await self.insert_once(t.ledger_transactions, row, on=["case_id", "step"]):
            return False
        entries = [
            {
                "transaction_id": row["id"],
                "ordinal": ordinal,
                "account": entry.account,
                "amount_minor": entry.amount.amount_minor,
                "currency": entry.amount.currency,
            }
            for ordinal, entry in enumerate(transaction.entries, start=1)
        ]
        await self._connection.execute(_INSERT_ENTRIES, entries)
        self._unsealed.append(
            (t.ledger_transactions.name, row["id"], hash_of_transaction(row, entries))
        )
        return True

    async def record_decision(
        self,
        *,
        case_id: str,
        step: str,
        decision: Decision,
        outcome: dict[str, Any],
        at: datetime,
    ) -> bool:
        """Keep what the policy said and what was made of it, once per ``(case_id, step)``."""
        return await self._append(
            t.decisions,
            {
                "id": f"{case_id}:{step}",
                "case_id": case_id,
                "step": step,
                "policy": decision.policy,
                "policy_version": decision.version,
                "policy_hash": decision.hash,
                "rule": decision.rule,
                "decision": canonical_json(decision),
                "outcome": canonical_json(outcome),
                "at": instant(at),
            },
            on=["case_id", "step"],
        )

    async def keep_policy(self, pack_name: str, version: int, hash: str, content: str) -> None:
        """Keep the text that a decision was made by, once per hash.

        ``hash`` is SHA-256 (hex) over the text's UTF-8 bytes; audit verify recomputes it.
        """
        await self._append(
            t.policy_contents,
            {"id": hash, "policy": pack_name, "version": version, "content": content},
            on=["id"],
        )

    async def record_approval(self, approval: ApprovalRow) -> bool:
        """One verdict per slot; False when the slot has one already, whoever's it is."""
        return await self._append(
            t.approvals,
            {
                "id": f"{approval.case_id}:{approval.slot}",
                "case_id": approval.case_id,
                "slot": approval.slot,
                "verdict": approval.verdict.value,
                "actor_id": approval.actor.id,
                "actor_role": approval.actor.role.value,
                "digest": approval.digest,
                "amount_minor": approval.amount.amount_minor,
                "currency": approval.amount.currency,
                "policy_hash": approval.policy_hash,
                "signature_json": approval.signature_json,
                "note": approval.note,
                "at": instant(approval.at),
            },
            on=["case_id", "slot"],
        )

    async def record_refused_attempt(self, attempt: RefusedAttempt) -> None:
        """Keep what was asked and refused; the same attempt at the same instant is one row."""
        actor = attempt.actor
        await self._append(
            t.refused_attempts,
            {
                "id": sha256_of(attempt),
                "case_id": attempt.case_id,
                "action": attempt.action,
                "actor_id": actor.id if actor else None,
                "actor_role": actor.role.value if actor else None,
                "code": attempt.code,
                "message": attempt.message,
                "request_id": attempt.request_id,
                "at": instant(attempt.at),
            },
            on=["id"],
        )

    async def record_archive(self, archive: ArchiveRow) -> bool:
        """Name the file that keeps a workflow run's history; once per run."""
        values = {
            "id": f"{archive.workflow_id}:{archive.run_id}",
            **plain(archive),
        }
        return await self._append(t.archives, values, on=["id"])

    # --- reservations --------------------------------------------------------------------

    async def reserve(
        self,
        *,
        case_id: str,
        step: str,
        scope: ReservationScope,
        key: str,
        amount: Money,
        at: datetime,
    ) -> bool:
        """Hold ``amount`` on an account (``key`` is the charge, the customer, or the actor's
        day) until it is settled or released.

        False when this step reserved already, be it released since: a step reserves once.
        """
        values = {
            "case_id": case_id,
            "step": step,
            "scope": scope.value,
            "key": key,
            "amount_minor": amount.amount_minor,
            "currency": amount.currency,
            "state": ReservationState.HELD.value,
            "at": instant(at),
        }
        return await self.insert_once(t.reservations, values, on=["case_id", "step", "scope"])

    async def settle_reservations(self, case_id: str, step: str) -> None:
        """held -> posted: the money moved."""
        await self._turn_reservations(
            case_id, step, [ReservationState.HELD], ReservationState.POSTED
        )

    async def release_reservations(self, case_id: str, step: str) -> None:
        """held or posted -> released: it did not move, or it came back."""
        await self._turn_reservations(
            case_id,
            step,
            [ReservationState.HELD, ReservationState.POSTED],
            ReservationState.RELEASED,
        )

    async def _turn_reservations(
        self,
        case_id: str,
        step: str,
        states: Sequence[ReservationState],
        to: ReservationState,
    ) -> None:
        r = t.reservations.c
        await self._connection.execute(
            update(t.reservations)
            .where(r.case_id == case_id, r.step == step, r.state.in_([s.value for s in states]))
            .values(state=to.value)
        )

    # --- doors ---------------------------------------------------------------------------

    async def register_request(
        self,
        *,
        request_id: str,
        kind: CaseKind,
        body_hash: str,
        case_id: str,
        customer: str,
        at: datetime,
    ) -> RegisteredRequest:
        """Write down which case a request stands for, or say what it stood for already.

        The caller compares ``body_hash``: the same id with another body is refused.
        """
        values = {
            "request_id": request_id,
            "kind": kind.value,
            "body_hash": body_hash,
            "case_id": case_id,
            "customer": customer,
            "created_at": instant(at),
        }
        if await self.insert_once(t.requests, values, on=["request_id"]):
            return RegisteredRequest(**values, is_new=True)
        known = await self.reading.request(request_id)
        if known is None:
            raise RuntimeError(f"request {request_id} was forgotten while it was registered")
        return known

    async def forget_request(self, request_id: str) -> None:
        """Drop a request whose input never became a case; one that did is kept for ever."""
        known = await self.reading.request(request_id)
        if known is not None and await self.reading.case(known.case_id) is None:
            mine = t.requests.c.request_id == request_id
            await self._connection.execute(t.requests.delete().where(mine))

    async def take_inbox(
        self,
        *,
        event_id: str,
        event_type: str,
        object_ids: list[str],
        at: datetime,
        state: str = "received",
    ) -> bool:
        """Take in a provider's event; False when it came before."""
        values = {
            "event_id": event_id,
            "event_type": event_type,
            "object_ids": canonical_json(object_ids),
            "received_at": instant(at),
            "state": state,
        }
        return await self.insert_once(t.inbox, values, on=["event_id"])

    async def finish_inbox(self, event_id: str, state: str) -> None:
        mine = t.inbox.c.event_id == event_id
        await self._connection.execute(update(t.inbox).where(mine).values(state=state))

    async def enqueue(
        self, *, case_id: str, topic: str, key: str, body: dict[str, Any], at: datetime
    ) -> None:
        """Have something leave the engine, once per ``key``; the first body stands."""
        values = {
            "case_id": case_id,
            "topic": topic,
            "key": key,
            "body": canonical_json(body),
            "created_at": instant(at),
            "attempts": 0,
            "next_try_at": instant(at),
        }
        await self.insert_once(t.outbox, values, on=["key"])

    async def mark_sent(self, ids: Sequence[int], at: datetime) -> None:
        """Rows that were sent before keep their instant."""
        mine = t.outbox.c.id.in_(ids), t.outbox.c.sent_at.is_(None)
        await self._connection.execute(update(t.outbox).where(*mine).values(sent_at=instant(at)))

    async def mark_failed(self, id: int, at: datetime, next_try_at: datetime) -> None:
        """Count a failed try made at ``at``; not again before ``next_try_at``.

        Counted once per ``at``: a try is due at or before its instant, so a repeat of the same
        mark finds the row due later already.
        """
        o = t.outbox.c
        mine = o.id == id, o.sent_at.is_(None), o.next_try_at <= instant(at)
        await self._connection.execute(
            update(t.outbox)
            .where(*mine)
            .values(attempts=o.attempts + 1, next_try_at=instant(next_try_at))
        )

    # --- sealing -------------------------------------------------------------------------

    async def _append(self, table: Table, values: Mapping[str, Any], *, on: list[str]) -> bool:
        row = {**values, "recorded_at": instant(self._clock())}
        if not await self.insert_once(table, row, on=on):
            return False
        self._unsealed.append((table.name, row["id"], hash_of_row(row)))
        return True

    async def insert_once(self, table: Table, values: Mapping[str, Any], *, on: list[str]) -> bool:
        """Insert unless a row with the same ``on`` columns is there. For the ledger's rooms."""
        statement = _insert_statement(table, tuple(on), self._is_sqlite)
        return (await self._connection.execute(statement, values)).first() is not None

    async def execute(self, statement: Executable) -> Sequence[Row[Any]]:
        """Run a statement on mutable tables. For the ledger's own rooms."""
        result = await self._connection.execute(statement)
        return result.all() if result.returns_rows else []

    async def seal(self) -> None:
        """Link every appended row to the chain. ``Books.transaction`` calls it before commit.

        The head is locked here, last, and for as short as possible: every writer needs it.
        """
        if not self._unsealed:
            return
        head = await self.reading.head(for_update=True)
        links: list[Link] = []
        for entry_table, entry_id, entry_hash in self._unsealed:
            link = next_link(head, entry_table, entry_id, entry_hash)
            links.append(link)
            head = Head(seq=link.seq, hash=link.hash)
        await self._connection.execute(_INSERT_LINKS, [link.model_dump() for link in links])
        await self._connection.execute(_UPDATE_HEAD, head.model_dump())
        self._unsealed.clear()
