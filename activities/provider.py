"""Stripe, read and ordered from in our words. The only file that knows its library.

The error table, in the order in which it is read:

====================================  ==============================================
what Stripe answers                   what it means here
====================================  ==============================================
authentication, permission            the key is wrong: the worker stops, loudly
400/402/404 with a business code      a refusal: a value, never retried
400 idempotency_error                 our own bug (one key, two bodies): never retried
429, 409, 5xx, no answer at all       unknown or busy: Temporal retries, looking first
an answer of another shape            the same: what it says cannot be relied on
====================================  ==============================================

Facts behind it: docs.stripe.com/api/errors, /api/idempotent_requests, /refunds, /disputes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import stripe
from pydantic import BaseModel, ConfigDict, ValidationError
from stripe import StripeClient

from domain.errors import RedressError
from domain.money import LARGEST_MINOR, Money
from domain.provider import (
    API_VERSION,
    Chargeback,
    ChargeFacts,
    Instrument,
    ProviderCredit,
    ProviderDispute,
    ProviderRefund,
    RefundStatus,
)

_CHARGEBACKS = {
    "warning_needs_response": Chargeback.INQUIRY,
    "warning_under_review": Chargeback.INQUIRY,
    "warning_closed": Chargeback.NONE,
    "needs_response": Chargeback.OPEN,
    "under_review": Chargeback.OPEN,
    "won": Chargeback.WON,
    "prevented": Chargeback.WON,
    "lost": Chargeback.LOST,
    "charge_refunded": Chargeback.NONE,
}
_WORST_FIRST = (
    Chargeback.LOST,
    Chargeback.OPEN,
    Chargeback.UNKNOWN,
    Chargeback.INQUIRY,
    Chargeback.WON,
)

_BANK_DEBITS = frozenset(
    {
        "sepa_debit",
        "us_bank_account",
        "bacs_debit",
        "acss_debit",
        "au_becs_debit",
        "nz_bank_account",
    }
)
_NOT_REFUNDABLE = frozenset({"boleto", "oxxo"})
"""Voucher methods that Stripe cannot send money back through (docs.stripe.com/refunds)."""


MOST_DIGITS = len(str(LARGEST_MINOR)) - 1
"""Of an amount that was written into metadata as text."""


class ProviderRefusal(RedressError):
    """The provider answered no, finally: ``code`` is its word for why."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the provider refused: {code}")
        self.code = code


class ProviderUnavailable(RedressError):
    """No answer that can be relied on. The order may or may not have been carried out."""


class ProviderMisconfigured(RedressError):
    """Our own fault: a wrong key, or one idempotency key with two bodies."""


class NoSuchObject(RedressError):
    """The provider knows no object of this id."""


class _Answer(BaseModel):
    """What we read of an object of Stripe's; the library's own take a third of a call's time."""

    model_config = ConfigDict(frozen=True, strict=True)


A = TypeVar("A", bound=_Answer)


class _Page(_Answer, Generic[A]):
    data: list[A]
    has_more: bool


class _Credit(_Answer):
    id: str
    amount: int
    currency: str
    metadata: dict[str, str] | None = None


class _Refund(_Answer):
    id: str
    charge: str | None = None
    status: str | None = None
    amount: int
    currency: str
    created: int
    metadata: dict[str, str] | None = None
    destination_details: dict[str, Any] | None = None
    failure_reason: str | None = None


class _EvidenceDetails(_Answer):
    due_by: int | None = None


class _Dispute(_Answer):
    id: str
    status: str
    amount: int
    currency: str
    created: int
    is_charge_refundable: bool
    evidence_details: _EvidenceDetails


class _Customer(_Answer):
    id: str
    created: int | None = None
    deleted: bool = False


class _Instrument(_Answer):
    type: str


class _Charge(_Answer):
    id: str
    status: str
    amount: int
    amount_captured: int
    currency: str
    captured: bool
    created: int
    disputed: bool
    customer: _Customer | str | None = None
    refunds: _Page[_Refund] | None = None
    payment_method_details: _Instrument | None = None
    calculated_statement_descriptor: str | None = None
    metadata: dict[str, str] | None = None


def refund_status(word: str | None) -> RefundStatus:
    """Stripe's status words are an open set; a new one is unknown, not an error."""
    try:
        return RefundStatus(word or "")
    except ValueError:
        return RefundStatus.UNKNOWN


def chargeback_of(words: list[str]) -> Chargeback:
    """The gravest of a charge's disputes; ``appeal_*`` and new words are unknown."""
    found = {_CHARGEBACKS.get(word, Chargeback.UNKNOWN) for word in words}
    return next((status for status in _WORST_FIRST if status in found), Chargeback.NONE)


def instrument_of(kind: str) -> Instrument:
    if kind == "card":
        return Instrument.CARD
    return Instrument.BANK_DEBIT if kind in _BANK_DEBITS else Instrument.OTHER


def _id(id: str) -> str:
    """An object's id as a part of a path; it may have come from outside."""
    return quote(id, safe="")


def _at(epoch: int) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)


def _since(customer: _Customer) -> datetime | None:
    return None if customer.deleted or customer.created is None else _at(customer.created)


def _written(on: _Charge | _Refund | _Credit, key: str) -> str:
    """What stands in an object's metadata, or empty."""
    return (on.metadata or {}).get(key, "")


def _tax_of(charge: _Charge, captured: Money) -> Money | None:
    """The tax in a charge: our billing writes it beside the charge, as ``tax_minor``.

    The charge itself has no field for it, and only some charges have an invoice. What is no
    whole number from 0 to the amount captured tells nothing.
    """
    written = _written(charge, "tax_minor")
    if not (written.isascii() and written.isdigit() and len(written) <= MOST_DIGITS):
        return None
    tax = Money(amount_minor=int(written), currency=captured.currency)
    return tax if tax <= captured else None


def _refund(refund: _Refund) -> ProviderRefund:
    reference = ""
    # The bank's reference sits under the name of whichever instrument it was.
    for destination in (refund.destination_details or {}).values():
        if isinstance(destination, dict) and destination.get("reference_status") == "available":
            reference = str(destination.get("reference") or "")
    return ProviderRefund(
        id=refund.id,
        charge=refund.charge or "",
        status=refund_status(refund.status),
        amount=Money(amount_minor=refund.amount, currency=refund.currency),
        created_at=_at(refund.created),
        case_id=_written(refund, "case_id"),
        step=_written(refund, "step"),
        reference=reference,
        failure_reason=refund.failure_reason or "",
    )


def _dispute(dispute: _Dispute) -> ProviderDispute:
    due_by = dispute.evidence_details.due_by
    return ProviderDispute(
        id=dispute.id,
        status=chargeback_of([dispute.status]),
        amount=Money(amount_minor=dispute.amount, currency=dispute.currency),
        created_at=_at(dispute.created),
        respond_by=_at(due_by) if due_by else None,
    )


class Provider:
    """Reads and orders at Stripe; every order carries an idempotency key and metadata."""

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str | None = None,
        timeout_seconds: int = 20,
        on_misconfigured: Callable[[str], None] | None = None,
    ) -> None:
        self._http = stripe.HTTPXClient(timeout=timeout_seconds)
        self._client = StripeClient(
            api_key,
            stripe_version=API_VERSION,
            max_network_retries=0,
            http_client=self._http,
            base_addresses={"api": base_url} if base_url else {},
        )
        self._on_misconfigured = on_misconfigured

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def _ask(self, kind: type[A], method: str, path: str, **params: Any) -> A:
        try:
            answer = await self._client.raw_request_async(method, f"/v1/{path}", **params)
            return kind.model_validate(answer.data)
        except ValidationError as error:
            field = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise ProviderUnavailable(f"an answer of another shape: {field}") from None
        except (stripe.AuthenticationError, stripe.PermissionError) as error:
            if self._on_misconfigured:
                self._on_misconfigured("the payment provider refuses our key")
            raise ProviderMisconfigured("the payment provider refuses our key") from error
        except stripe.IdempotencyError as error:
            raise ProviderMisconfigured("one idempotency key was used for two orders") from error
        except stripe.InvalidRequestError as error:
            if error.code == "resource_missing":
                raise NoSuchObject(str(error.param or "id")) from error
            raise ProviderRefusal(error.code or "invalid_request") from error
        except stripe.CardError as error:
            raise ProviderRefusal(error.code or "card_error") from error
        except stripe.StripeError as error:
            raise ProviderUnavailable(
                f"{type(error).__name__} {error.http_status or ''}"
            ) from error

    async def charge(self, charge_id: str) -> ChargeFacts:
        """A charge with its customer, refunds and chargeback. Raises :class:`NoSuchObject`.

        Every refund is among them, dead ones too: what a case has ordered is known by them.
        """
        charge = await self._ask(
            _Charge, "get", f"charges/{_id(charge_id)}", expand=["customer", "refunds"]
        )
        refunds = await self._refunds_of(charge)
        disputes: list[_Dispute] = []
        if charge.disputed:
            found = await self._ask(_Page[_Dispute], "get", "disputes", charge=charge_id, limit=100)
            disputes = found.data
        details = charge.payment_method_details
        kind = details.type if details else "other"
        known = charge.customer if isinstance(charge.customer, _Customer) else None
        captured = Money(amount_minor=charge.amount_captured, currency=charge.currency)
        return ChargeFacts(
            id=charge.id,
            customer=known.id if known else "",
            customer_since=None if known is None else _since(known),
            captured=captured,
            tax=_tax_of(charge, captured),
            is_captured=charge.captured and charge.status == "succeeded",
            is_refundable=all(dispute.is_charge_refundable for dispute in disputes),
            created_at=_at(charge.created),
            instrument=instrument_of(kind),
            instrument_refundable=kind not in _NOT_REFUNDABLE,
            chargeback=chargeback_of([dispute.status for dispute in disputes]),
            disputes=tuple(_dispute(dispute) for dispute in disputes),
            refunds=refunds,
            descriptor=charge.calculated_statement_descriptor or "",
        )

    async def _refunds_of(self, charge: _Charge) -> tuple[ProviderRefund, ...]:
        """All refunds of a charge, whoever made them; the charge brings the newest ten along."""
        page = charge.refunds
        if page is None:
            raise ProviderUnavailable("the charge came without its refunds")
        refunds = [_refund(refund) for refund in page.data]
        while page.has_more:
            page = await self._ask(
                _Page[_Refund],
                "get",
                "refunds",
                charge=charge.id,
                limit=100,
                starting_after=page.data[-1].id,
            )
            refunds += [_refund(refund) for refund in page.data]
        return tuple(refunds)

    async def twins_of(self, charge: ChargeFacts) -> tuple[datetime, ...]:
        """Instants of the customer's other charges of the same amount, of the newest hundred."""
        charges = await self._ask(
            _Page[_Charge], "get", "charges", customer=charge.customer, limit=100
        )
        return tuple(
            _at(other.created)
            for other in charges.data
            if other.id != charge.id
            and other.status == "succeeded"
            and Money(amount_minor=other.amount, currency=other.currency) == charge.captured
        )

    async def refund(self, refund_id: str) -> ProviderRefund:
        return _refund(await self._ask(_Refund, "get", f"refunds/{_id(refund_id)}"))

    async def order_refund(
        self, *, charge_id: str, amount: Money, case_id: str, step: str, reason: str
    ) -> ProviderRefund:
        """Order a refund to the original instrument."""
        return _refund(
            await self._ask(
                _Refund,
                "post",
                "refunds",
                charge=charge_id,
                amount=amount.amount_minor,
                metadata={"case_id": case_id, "step": step, "reason": reason},
                idempotency_key=f"{case_id}:{step}",
            )
        )

    async def find_credit(self, customer_id: str, case_id: str) -> ProviderCredit | None:
        """The credit that this case gave, if the provider has it; a debit in its name is none."""
        path = f"customers/{_id(customer_id)}/balance_transactions"
        after: dict[str, str] = {}
        while True:
            page = await self._ask(_Page[_Credit], "get", path, limit=100, **after)
            for transaction in page.data:
                if transaction.amount < 0 and _written(transaction, "case_id") == case_id:
                    owed = Money(amount_minor=transaction.amount, currency=transaction.currency)
                    return ProviderCredit(id=transaction.id, amount=-owed)
            if not page.has_more:
                return None
            after = {"starting_after": page.data[-1].id}

    async def order_credit(
        self, *, customer_id: str, amount: Money, case_id: str, step: str
    ) -> str:
        """Credit the customer's balance (negative at Stripe: we owe); answers its id."""
        made = await self._ask(
            _Credit,
            "post",
            f"customers/{_id(customer_id)}/balance_transactions",
            amount=(-amount).amount_minor,
            currency=amount.currency,
            metadata={"case_id": case_id, "step": step},
            idempotency_key=f"{case_id}:{step}",
        )
        return made.id
