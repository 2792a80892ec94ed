"""Books with cases in them: every builder has a plain default, tests override what matters."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.findings import Finding
from audit.verify import VerifyReport
from decisions import Pack
from domain.actors import ENGINE, Actor, Role, sign
from domain.approvals import Verdict
from domain.canonical import canonical_json, instant, plain
from domain.cases import CaseEvent, CaseKind, EventKind, Outcome
from domain.decisions import Decision, RefundMethod
from domain.money import Money
from ledger import postings
from ledger.books import Books
from ledger.engines import sqlite_file
from ledger.records import ApprovalRow, RefusedAttempt, ReservationScope
from ledger.tables import APPEND_ONLY
from ledger.writing import BookTransaction
from tests.postgres import connect_to

AT = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
EDGE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
"""Signs for people here, and for nobody else."""


def policy(version: int = 3, *, agent_each: int = 5_000, repin: tuple[int, ...] = ()) -> Pack:
    """A policy that lets an agent approve so many cents at once, and 60.00 USD a day."""
    limits = {
        Role.AGENT: (agent_each, 6_000),
        Role.LEAD: (1_000_000, 10_000_000),
        Role.FINANCE: (1_000_000, 10_000_000),
    }
    outputs = {"verdict": {"type": "enum", "values": ["approve"]}}
    rule = {"id": "ALL", "why": "everybody", "when": {}, "then": {"verdict": "approve"}}
    return Pack.from_content(
        canonical_json(
            {
                "format": 1,
                "policy": "refund",
                "version": version,
                "effective_from": "2026-01-01",
                "owner": "tests",
                "currencies": ["usd"],
                "inputs": {"age_days": {"type": "days", "min": 0, "max": 1000}},
                "tables": [{"table": "all", "hit": "first", "outputs": outputs, "rules": [rule]}],
                "authority": [
                    {"role": role, "kind": "refund", "each": {"usd": each}, "per_day": {"usd": day}}
                    for role, (each, day) in limits.items()
                ],
                **({"repin": repin} if repin else {}),
            }
        )
    )


POLICY_TEXT = policy().content
POLICY_HASH = policy().hash
DIGEST = hashlib.sha256(b"what was shown").hexdigest()
AGENT = Actor(id="agent-1", role=Role.AGENT)
LEAD = Actor(id="lead-1", role=Role.LEAD)
FINANCE = Actor(id="finance-1", role=Role.FINANCE)


def usd(amount_minor: int) -> Money:
    return Money(amount_minor=amount_minor, currency="usd")


def event(
    kind: EventKind,
    body: dict[str, Any],
    *,
    case_id: str = "refund-a",
    step: str = "",
    at: datetime = AT,
    actor: Actor = ENGINE,
) -> CaseEvent:
    return CaseEvent(
        case_id=case_id,
        step=step or kind.value,
        kind=kind,
        occurred_at=at,
        actor=actor,
        body=plain(body),
        policy="refund",
        policy_version=3,
        policy_hash=POLICY_HASH,
        workflow_id=case_id,
        run_id="run-1",
    )


def opened_body(**overrides: Any) -> dict[str, Any]:
    body = {
        "kind": CaseKind.REFUND,
        "request_id": "req-1",
        "customer": "cus_ann",
        "charge": "ch_1",
        "amount": None,
        "currency": "usd",
        "reason": "courtesy",
        "language": "en",
        "jurisdiction": "US",
        "text": "",
        "requested_by": AGENT,
        "authorised_by": None,
        "desk": "billing",
        "priority": "normal",
        "business_key": None,
    }
    return {**body, **overrides}


def opened(case_id: str = "refund-a", **overrides: Any) -> CaseEvent:
    return event(EventKind.OPENED, opened_body(**overrides), case_id=case_id)


def slot(id: str = "lead", **overrides: Any) -> dict[str, Any]:
    made = {
        "id": id,
        "roles": [Role.LEAD, Role.FINANCE],
        "excluded": [AGENT.id],
        "digest": DIGEST,
        "expires_at": instant(AT + timedelta(days=3)),
        "remind_at": [],
    }
    return {**made, **overrides}


def decided_body(**overrides: Any) -> dict[str, Any]:
    body = {
        "verdict": "approve",
        "rule": "courtesy-small",
        "why": "a courtesy within the limit",
        "amount": usd(2500),
        "method": RefundMethod.ORIGINAL,
        "destination": "pm_1",
        "digest": DIGEST,
        "slots": [slot()],
        "reason_key": "courtesy",
    }
    return {**body, **overrides}


def accepted_body(**overrides: Any) -> dict[str, Any]:
    body = {
        "provider_id": "re_1",
        "amount": usd(2500),
        "method": RefundMethod.ORIGINAL,
        "looks": [instant(AT + timedelta(days=n)) for n in (7, 14)],
        "trace_looks": [],
        "expected": ["2026-12-08", "2026-12-15"],
    }
    return {**body, **overrides}


def approval(**overrides: Any) -> ApprovalRow:
    """What a person said, with the edge's signature over it unless one is given."""
    row: dict[str, Any] = {
        "case_id": "refund-a",
        "slot": "lead",
        "verdict": Verdict.APPROVE,
        "actor": LEAD,
        "digest": DIGEST,
        "amount": usd(2500),
        "policy_hash": POLICY_HASH,
        "note": "",
        "at": AT + timedelta(hours=1),
    } | overrides
    signed = sign(
        EDGE_KEY,
        actor=row["actor"],
        action=row["verdict"].value,
        case_id=row["case_id"],
        digest=row["digest"],
        click_id="click-1",
        at=row["at"],
    )
    return ApprovalRow(**{"signature_json": canonical_json(signed), **row})


def refused_attempt(**overrides: Any) -> RefusedAttempt:
    row: dict[str, Any] = {
        "case_id": "refund-a",
        "action": "approve",
        "actor": AGENT,
        "code": "self_approval",
        "message": "the requester may not approve",
        "request_id": "click-1",
        "at": AT,
    }
    return RefusedAttempt(**{**row, **overrides})


def decision(**overrides: Any) -> Decision:
    made: dict[str, Any] = {
        "policy": "refund",
        "version": 3,
        "hash": POLICY_HASH,
        "rule": "courtesy-small",
        "why": "a courtesy within the limit",
        "fired": (),
        "trace": (),
        "facts": {"age_days": 3},
        "outputs": {"verdict": "approve"},
    }
    return Decision(**{**made, **overrides})


@dataclass(frozen=True)
class Refund:
    """A refund case, written as the engine writes it, one step per method."""

    case_id: str = "refund-a"
    customer: str = "cus_ann"
    charge: str = "ch_1"
    amount: Money = Money(amount_minor=2500, currency="usd")  # noqa: RUF009 - frozen
    method: RefundMethod = RefundMethod.ORIGINAL
    provider_id: str = "re_1"
    business_key: str | None = None
    text: str = ""
    slots: tuple[str, ...] = ("lead",)
    captured: Money | None = None
    remainder: Money | None = None
    """What its decision was told of its charge, where its policy asked."""

    def event(
        self,
        kind: EventKind,
        body: dict[str, Any],
        days: int,
        actor: Actor = ENGINE,
        step: str = "",
    ) -> CaseEvent:
        at = AT + timedelta(days=days)
        return event(kind, body, case_id=self.case_id, at=at, actor=actor, step=step)

    async def open_and_decide(self, tx: BookTransaction) -> None:
        await tx.lock_charge(self.charge)
        body = opened_body(
            customer=self.customer,
            charge=self.charge,
            request_id=f"req-{self.case_id}",
            business_key=self.business_key,
            text=self.text,
        )
        await tx.append_event(self.event(EventKind.OPENED, body, 0, AGENT))
        await tx.keep_policy("refund", 3, POLICY_HASH, POLICY_TEXT)
        told = {"captured": self.captured, "remainder": self.remainder}
        facts = {"age_days": 3} | {name: plain(said) for name, said in told.items() if said}
        body = decided_body(
            amount=self.amount, method=self.method, slots=[slot(id) for id in self.slots]
        )
        made = plain({name: body[name] for name in ("amount", "digest", "slots")})
        await tx.record_decision(
            case_id=self.case_id,
            step="decide",
            decision=decision(facts=facts),
            outcome={"made": made},
            at=AT,
        )
        await tx.append_event(self.event(EventKind.DECIDED, body, 0))
        await tx.post(postings.hold(self.case_id, "hold", self.amount, AT))
        for scope, key in (
            (ReservationScope.CHARGE, self.charge),
            (ReservationScope.CONCESSIONS, self.customer),
        ):
            await tx.reserve(
                case_id=self.case_id, step="hold", scope=scope, key=key, amount=self.amount, at=AT
            )

    async def approve(
        self, tx: BookTransaction, by: Actor = LEAD, slot: str = "lead", left: int | None = None
    ) -> None:
        """``left`` are the slots that its event says are open after it, unless as they stand."""
        given = approval(
            case_id=self.case_id, slot=slot, actor=by, amount=self.amount, at=AT + timedelta(days=1)
        )
        await tx.record_approval(given)
        if left is None:
            left = len(self.slots) - 1 - self.slots.index(slot)
        body = {"slot": slot, "verdict": "approve", "approver": by, "note": "", "slots_left": left}
        step = f"approve:{slot}"
        await tx.append_event(self.event(EventKind.APPROVAL_RECORDED, body, 1, by, step))

    async def accept(self, tx: BookTransaction) -> None:
        body = accepted_body(provider_id=self.provider_id, amount=self.amount, method=self.method)
        await tx.append_event(self.event(EventKind.ACCEPTED, body, 2))
        at = AT + timedelta(days=2)
        await tx.post(
            postings.post(
                self.case_id, "post", self.amount, self.method, "courtesy", self.provider_id, at
            )
        )
        await tx.settle_reservations(self.case_id, "hold")
        await tx.enqueue(
            case_id=self.case_id,
            topic="case.accepted",
            key=f"{self.case_id}:accepted",
            body={"customer": self.customer},
            at=at,
        )

    async def confirm(self, tx: BookTransaction) -> None:
        body = {"confirmed_by": "silence", "reference": ""}
        await tx.append_event(self.event(EventKind.CONFIRMED, body, 16))
        await self.close(tx, Outcome.REFUNDED, 16)

    async def fail(self, tx: BookTransaction, **ending: Any) -> None:
        """The bank returns the money after it was posted; ``ending`` is what the end says more."""
        body = {"provider_status": "failed", "failure_reason": "account_closed"}
        await tx.append_event(self.event(EventKind.FAILED, body, 9))
        at = AT + timedelta(days=9)
        await tx.post(
            postings.reversal(
                self.case_id, "reversal", self.amount, self.method, "courtesy", self.provider_id, at
            )
        )
        await tx.release_reservations(self.case_id, "hold")
        await self.close(tx, Outcome.FAILED_AT_BANK, 9, **ending)

    async def void(self, tx: BookTransaction, outcome: Outcome = Outcome.EXPIRED) -> None:
        """The case ends before any money moved."""
        at = AT + timedelta(days=3)
        await tx.post(postings.void(self.case_id, "void", self.amount, at))
        await tx.release_reservations(self.case_id, "hold")
        await self.close(tx, outcome, 3)

    async def close(self, tx: BookTransaction, outcome: Outcome, days: int, **ending: Any) -> None:
        body = {"outcome": outcome, "reason_key": "", "rule": "", "amount": self.amount, **ending}
        await tx.append_event(self.event(EventKind.CLOSED, body, days))

    async def settling(self, books: Books) -> None:
        """Up to where the bank has the money."""
        async with books.transaction() as tx:
            await self.open_and_decide(tx)
        if self.slots:
            async with books.transaction() as tx:
                await self.approve(tx)
        async with books.transaction() as tx:
            await self.accept(tx)

    async def refunded(self, books: Books) -> None:
        """The whole case, one transaction per step, as the engine does it."""
        await self.settling(books)
        async with books.transaction() as tx:
            await self.confirm(tx)


def numbered(count: int, **overrides: Any) -> list[Refund]:
    """Refunds of distinct cases on distinct charges."""
    made = (
        Refund(case_id=f"refund-{n:03}", charge=f"ch_{n}", provider_id=f"re_{n}")
        for n in range(count)
    )
    return [replace(refund, **overrides) for refund in made]


@dataclass(frozen=True)
class Vandal:
    """Somebody with the owner's password and raw SQL; SQLite or PostgreSQL."""

    url: str

    def run(self, *statements: str) -> None:
        """Drop the triggers, do the deed, and put nothing back."""
        names = [table.name for table in APPEND_ONLY]
        if self.file is not None:
            verbs = ("update", "delete")
            dropped = [f"DROP TRIGGER IF EXISTS {n}_refuses_{v}" for n in names for v in verbs]
        else:
            dropped = [f"DROP TRIGGER IF EXISTS {n}_refuses_change ON {n}" for n in names]
        self.attempt(*dropped, *statements)

    def attempt(self, *statements: str) -> None:
        """Run with the triggers as they are."""
        if self.file is not None:
            with closing(sqlite3.connect(self.file, isolation_level=None)) as connection:
                connection.execute("PRAGMA recursive_triggers=ON")
                for statement in statements:
                    connection.execute(statement)
            return
        with connect_to(self.url) as server:
            for statement in statements:
                server.execute(statement.encode())

    @property
    def file(self) -> Path | None:
        return sqlite_file(self.url)


def without_guards(report: VerifyReport) -> list[Finding]:
    """What a report found in the rows: a vandal's dropped triggers are findings of their own."""
    return [finding for finding in report.findings if finding.invariant != "guard"]
