"""Rows of the tables as records: the one place that knows both shapes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from domain.actors import Actor
from domain.decisions import Decision
from domain.money import Money, total
from ledger.postings import Entry
from ledger.projection import CaseRow
from ledger.records import (
    ApprovalRow,
    InboxRow,
    OutboxRow,
    RefusedAttempt,
    Reservation,
    StoredDecision,
    StoredEvent,
    StoredTransaction,
)


def case_of(row: Mapping[str, Any]) -> CaseRow:
    return CaseRow.model_validate(row)


def event_of(row: Mapping[str, Any]) -> StoredEvent:
    return StoredEvent(**{**row, "body": json.loads(row["body"]), "actor": actor_of(row)})


def approval_of(row: Mapping[str, Any]) -> ApprovalRow:
    return ApprovalRow(**row, actor=actor_of(row), amount=money_of(row))


def reservation_of(row: Mapping[str, Any]) -> Reservation:
    return Reservation(**row, amount=money_of(row))


def outbox_of(row: Mapping[str, Any]) -> OutboxRow:
    return OutboxRow(**{**row, "body": json.loads(row["body"])})


def actor_of(row: Mapping[str, Any]) -> Actor:
    return Actor(id=row["actor_id"], role=row["actor_role"])


def money_of(row: Mapping[str, Any]) -> Money:
    return Money(amount_minor=row["amount_minor"], currency=row["currency"])


def sums_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Money]:
    amounts = [money_of(row) for row in rows]
    return {
        currency: total((a for a in amounts if a.currency == currency), currency)
        for currency in sorted({amount.currency for amount in amounts})
    }


def transactions_of(rows: Iterable[Mapping[str, Any]]) -> list[StoredTransaction]:
    """Transactions from rows of transaction and entry columns, in order."""
    found: list[StoredTransaction] = []
    for _, lines in groupby(rows, key=lambda row: row["id"]):
        group = list(lines)
        entries = tuple(Entry(account=row["account"], amount=money_of(row)) for row in group)
        found.append(StoredTransaction(**{**group[0], "entries": entries}))
    return found


def decision_of(row: Mapping[str, Any]) -> StoredDecision:
    return StoredDecision(
        case_id=row["case_id"],
        step=row["step"],
        decision=Decision.model_validate_json(row["decision"]),
        outcome=json.loads(row["outcome"]),
        at=row["at"],
    )


def refused_attempt_of(row: Mapping[str, Any]) -> RefusedAttempt:
    return RefusedAttempt(**row, actor=actor_of(row) if row["actor_id"] else None)


def inbox_of(row: Mapping[str, Any]) -> InboxRow:
    return InboxRow(**{**row, "object_ids": json.loads(row["object_ids"])})
