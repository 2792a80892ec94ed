"""Double entry for money that moves in three steps: hold, then post or void; later reversal.

Pure. Every transaction sums to zero per currency (I3). A hold lies on a pending account
against a clearing account, both of which are zero again when the case ends; only a post
touches the accounts that finance reads. A mistake is corrected by a new transaction.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.decisions import RefundMethod
from domain.money import Money, total

PENDING_REFUNDS = "pending:refunds"
CLEARING_REFUNDS = "clearing:refunds"
PROVIDER = "provider:stripe"
CUSTOMER_CREDIT = "liability:customer_credit"

TRANSIENT_PREFIXES = ("pending:", "clearing:")
"""Accounts that hold money between two steps of a case, and nothing once it has ended."""

EXPENSE_PREFIX = "expense:"

OUTSIDE_REASON = "outside"
"""The expense of refunds whose reason we were never told."""


class TransactionKind(StrEnum):
    HOLD = "hold"
    POST = "post"
    VOID = "void"
    REVERSAL = "reversal"
    OUTSIDE = "outside"
    """Money that the provider moved without us: nothing was held before it."""


class Entry(BaseModel):
    """One leg; a positive amount debits the account, a negative one credits it."""

    model_config = ConfigDict(frozen=True)

    account: str = Field(pattern=r"^[a-z]+(:[a-z0-9_]+)+$")
    amount: Money


class LedgerTransaction(BaseModel):
    """Entries that stand or fall together; unique on ``(case_id, step)``.

    ``at`` is the case's instant (UTC); ``provider_id`` is the provider's object when there
    is one. Raises ``ValueError`` when the entries do not sum to zero in each currency.
    """

    model_config = ConfigDict(frozen=True)

    case_id: str = Field(min_length=1)
    step: str = Field(min_length=1)
    kind: TransactionKind
    entries: tuple[Entry, ...] = Field(min_length=2)
    provider_id: str = ""
    at: datetime

    @model_validator(mode="after")
    def _sums_to_zero(self) -> Self:
        for currency in sorted({entry.amount.currency for entry in self.entries}):
            left = total(
                (e.amount for e in self.entries if e.amount.currency == currency), currency
            )
            if left:
                raise ValueError(f"{self.case_id}:{self.step} does not balance: {left} too much")
        return self


def _pending(amount: Money) -> tuple[Entry, Entry]:
    return (
        Entry(account=PENDING_REFUNDS, amount=amount),
        Entry(account=CLEARING_REFUNDS, amount=-amount),
    )


def _real(amount: Money, method: RefundMethod, reason: str) -> tuple[Entry, Entry]:
    if method is RefundMethod.ACCOUNT_CREDIT:
        return (
            Entry(account=f"expense:credits:{reason}", amount=amount),
            Entry(account=CUSTOMER_CREDIT, amount=-amount),
        )
    return (
        Entry(account=f"expense:refunds:{reason}", amount=amount),
        Entry(account=PROVIDER, amount=-amount),
    )


def _positive(amount: Money) -> Money:
    if amount.amount_minor <= 0:
        raise ValueError(f"only a positive amount moves, not {amount}")
    return amount


def hold(case_id: str, step: str, amount: Money, at: datetime) -> LedgerTransaction:
    """Set ``amount`` aside. Money back and account credit are held on the same accounts."""
    return LedgerTransaction(
        case_id=case_id,
        step=step,
        kind=TransactionKind.HOLD,
        entries=_pending(_positive(amount)),
        at=at,
    )


def void(case_id: str, step: str, amount: Money, at: datetime) -> LedgerTransaction:
    """Undo a hold of which nothing reached the customer."""
    return LedgerTransaction(
        case_id=case_id,
        step=step,
        kind=TransactionKind.VOID,
        entries=_pending(-_positive(amount)),
        at=at,
    )


def post(
    case_id: str,
    step: str,
    amount: Money,
    method: RefundMethod,
    reason: str,
    provider_id: str,
    at: datetime,
) -> LedgerTransaction:
    """The provider took the order: the hold is lifted and the expense is booked."""
    return LedgerTransaction(
        case_id=case_id,
        step=step,
        kind=TransactionKind.POST,
        entries=(*_pending(-_positive(amount)), *_real(amount, method, reason)),
        provider_id=provider_id,
        at=at,
    )


def outside(
    case_id: str, step: str, amount: Money, method: RefundMethod, provider_id: str, at: datetime
) -> LedgerTransaction:
    """Money that moved at the provider, and that no case accounts for."""
    return LedgerTransaction(
        case_id=case_id,
        step=step,
        kind=TransactionKind.OUTSIDE,
        entries=_real(_positive(amount), method, OUTSIDE_REASON),
        provider_id=provider_id,
        at=at,
    )


def reversal(
    case_id: str,
    step: str,
    amount: Money,
    method: RefundMethod,
    reason: str,
    provider_id: str,
    at: datetime,
) -> LedgerTransaction:
    """The money came back after it was posted (the bank would not take it)."""
    return LedgerTransaction(
        case_id=case_id,
        step=step,
        kind=TransactionKind.REVERSAL,
        entries=_real(-_positive(amount), method, reason),
        provider_id=provider_id,
        at=at,
    )
