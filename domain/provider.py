"""What a payment provider says, in our words.

The provider's own status words are open sets that grow with its API; ours are closed, and
each ends in ``unknown``, which is recorded and shown instead of guessed.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from domain.money import Money

API_VERSION = "2026-08-26.dahlia"
"""Of Stripe's API: every request asks for it, and events of another one are read with care."""


SEND = "send"
"""The step that stands in the metadata of every refund and credit that a case orders."""


class RefundStatus(StrEnum):
    PENDING = "pending"
    REQUIRES_ACTION = "requires_action"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    UNKNOWN = "unknown"


DEAD_REFUNDS = frozenset({RefundStatus.FAILED, RefundStatus.CANCELED})
"""Refunds whose money came back to us: they take nothing from the charge."""


class Chargeback(StrEnum):
    """Where a charge stands with the card network, over all its disputes.

    ``open`` freezes concessions; ``inquiry`` makes a refund urgent; ``unknown`` freezes too.
    """

    NONE = "none"
    INQUIRY = "inquiry"
    OPEN = "open"
    WON = "won"
    LOST = "lost"
    UNKNOWN = "unknown"


class Instrument(StrEnum):
    CARD = "card"
    BANK_DEBIT = "bank_debit"
    OTHER = "other"


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True)


class ProviderRefund(_Fact):
    """A refund as the provider lists it. ``case_id`` is ours, from its metadata, or empty;
    ``charge`` is empty for a refund of something else, ``created_at`` is UTC.

    ``reference`` is the bank's own number once it is available: the only proof of arrival
    that the provider has. ``case_id`` and ``step`` are what its metadata says, empty where they
    do not.
    """

    id: str
    charge: str
    status: RefundStatus
    amount: Money
    created_at: datetime
    case_id: str
    reference: str
    failure_reason: str
    step: str = ""

    @property
    def is_alive(self) -> bool:
        """It takes from the charge."""
        return self.status not in DEAD_REFUNDS

    @property
    def claimed_by(self) -> str:
        """The case that the name on it makes it a refund of, empty for none. One that failed or
        was canceled is of a case only if the case ordered it: what a hand made and took back gave
        nothing, and stands for nothing."""
        return self.case_id if self.is_alive or self.step == SEND else ""


class ProviderDispute(_Fact):
    """One of the card network's procedures on a charge; ``amount`` is what the bank asks for.

    ``respond_by`` is the provider's own deadline for evidence, None where it names none. Instants
    are UTC, in whole seconds.
    """

    id: str
    status: Chargeback
    amount: Money
    created_at: datetime
    respond_by: datetime | None


class ProviderCredit(_Fact):
    """Account credit that the provider holds for a customer."""

    id: str
    amount: Money


class ChargeFacts(_Fact):
    """A charge with everything around it that a refund is decided by. Instants are UTC.

    ``customer_since`` is None when the provider has no such customer any more. ``tax`` is the
    part of ``captured`` that is tax; None when the provider does not say.
    """

    id: str
    customer: str
    customer_since: datetime | None
    captured: Money
    tax: Money | None
    is_captured: bool
    is_refundable: bool
    created_at: datetime
    instrument: Instrument
    instrument_refundable: bool
    chargeback: Chargeback
    disputes: tuple[ProviderDispute, ...]
    refunds: tuple[ProviderRefund, ...]
    descriptor: str

    @property
    def alive_refunds(self) -> list[ProviderRefund]:
        """The refunds that take from the charge, whoever made them."""
        return [refund for refund in self.refunds if refund.is_alive]

    def refund_of(self, case_id: str) -> ProviderRefund | None:
        """The refund that this case ordered, whatever became of it, or that stands in its name."""
        return next((refund for refund in self.refunds if refund.claimed_by == case_id), None)

    def as_before(self, case_id: str) -> ChargeFacts:
        """The charge as if this case had ordered nothing."""
        others = tuple(refund for refund in self.refunds if refund.case_id != case_id)
        return self.model_copy(update={"refunds": others})
