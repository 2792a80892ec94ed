"""What a refund is decided on: from the provider's answer, the books and the request.

docs/facts.md says how each fact is computed. Nothing here knows a rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from domain.cases import ASKED_IN_VAIN
from domain.errors import InvalidRequest
from domain.money import Money, refundable_remainder, smallest_step, tax_share, total
from domain.provider import ChargeFacts, ProviderRefund
from domain.refunds import DecideInput, RefundRequest
from ledger.evidence import Inquiry, inquiry_of
from ledger.reading import Reading
from ledger.records import ReservationScope

YEAR = timedelta(days=365)

TWINS = "twin_charge_hours"
"""The one fact that costs a call of its own; asked for when the pack reads it."""

TAX_ATTRIBUTE = "tax_minor"
"""How a caller tells the tax in a charge, in minor units, where the provider does not know it; a
pack that takes it declares it."""


def case_behind(refund: ProviderRefund, orders: Mapping[str, str]) -> str:
    """The case that ordered a refund, empty where none did: by ``orders`` of the books
    (:meth:`Reading.orders_on`), and by the name on it only where they know no order of that case.
    """
    for case_id, ordered in orders.items():
        if ordered == refund.id:
            return case_id
    return "" if refund.claimed_by in orders else refund.claimed_by


async def remainder_of(reading: Reading, charge: ChargeFacts, *, but_for: str = "") -> Money:
    """What may still be refunded of a charge: the provider's view and our own, each cent once.

    What the provider lists already of our holds and posts counts on its side only, also what it
    lists as failed: that money is back. ``but_for`` leaves one case's own hold out. Call it under
    the charge's lock.
    """
    currency = charge.captured.currency
    orders = await reading.orders_on(charge.id) if charge.refunds else {}
    listed: dict[str, Money] = defaultdict(lambda: Money.zero(currency))
    for refund in charge.refunds:
        listed[case_behind(refund, orders)] += refund.amount
    ours = await reading.reservations(ReservationScope.CHARGE, charge.id, currency)
    return refundable_remainder(
        charge.captured,
        (refund.amount for refund in charge.alive_refunds),
        (r.amount - min(r.amount, listed[r.case_id]) for r in ours if r.case_id != but_for),
    )


def asked_amount(request: RefundRequest, charge: ChargeFacts, remainder: Money) -> Money:
    if request.amount_minor is None:
        amount = remainder
    else:
        amount = Money(amount_minor=request.amount_minor, currency=request.currency)
    if not remainder:
        raise InvalidRequest(
            "charge", f"nothing is left to refund of {charge.captured}", "a charge with a remainder"
        )
    if remainder < amount:
        raise InvalidRequest(
            "amount_minor",
            f"{amount} is more than what is left",
            f"1 to {remainder.amount_minor} ({remainder})",
        )
    if not amount.is_in_steps and amount != remainder:
        step = smallest_step(amount.currency)
        raise InvalidRequest(
            "amount_minor",
            f"the provider takes no {amount}",
            f"a multiple of {step}, or all that is left ({remainder})",
        )
    return amount


async def facts_of(
    reading: Reading,
    asked: DecideInput,
    charge: ChargeFacts,
    twins: tuple[datetime, ...],
    amount: Money,
    remainder: Money,
) -> dict[str, Any]:
    """The facts of a refund by name; docs/facts.md says how each is computed."""
    request = asked.request
    inquiry = await inquiry_before(reading, asked)
    history = await reading.customer_history(request.customer, asked.now - YEAR)
    ended = await reading.ended_on_charge(charge.id)
    return {
        "reason": request.reason.value,
        "amount": amount,
        "remainder": remainder,
        "captured": charge.captured,
        "charge_age_days": (asked.now - charge.created_at).days,
        "charge_status_captured": charge.is_captured,
        "instrument": charge.instrument.value,
        "instrument_refundable": charge.instrument_refundable,
        TWINS: _hours_to_twin(charge, twins),
        "tenure_days": (asked.now - (charge.customer_since or asked.now)).days,
        "refunds_12m": history.refunds,
        "concessions_12m": history.concessions,
        "refusals_same_charge": sum(case.outcome in ASKED_IN_VAIN for case in ended),
        "chargeback": charge.chargeback.value,
        "charge_refundable": charge.is_refundable,
        "channel": request.channel.value,
        "jurisdiction": request.jurisdiction,
        "requester_role": request.requested_by.role.value,
        "linked": request.authorised_by is not None,
        "consents_to_credit": request.consents_to_credit,
        "information": inquiry.information.value,
        "evidence_items": inquiry.items,
        "appeal": request.appeal_of is not None,
        "alternative": request.alternative.value if request.alternative else "none",
    }


async def inquiry_before(reading: Reading, asked: DecideInput) -> Inquiry:
    """What the customer was asked and what was given before this decision; a case is in the
    books from its first decision on."""
    return inquiry_of(await reading.events(asked.case_id) if asked.ordinal > 1 else ())


def _tax_of(request: RefundRequest, charge: ChargeFacts) -> Money:
    """The tax in the charge: what the provider says, else the request's attribute, else none."""
    if charge.tax is not None:
        return charge.tax
    asked = request.attributes.get(TAX_ATTRIBUTE)
    if asked is None:
        return Money.zero(request.currency)
    allowed = f"a whole number from 0 to {charge.captured.amount_minor} ({charge.captured})"
    if type(asked) is not int or not 0 <= asked <= charge.captured.amount_minor:
        raise InvalidRequest(f"attributes.{TAX_ATTRIBUTE}", "not the tax in this charge", allowed)
    return Money(amount_minor=asked, currency=request.currency)


async def tax_share_of(
    reading: Reading, request: RefundRequest, charge: ChargeFacts, remainder: Money, amount: Money
) -> Money:
    """The tax in ``amount``, beside what earlier refunds of the charge were said to hold."""
    tax = _tax_of(request, charge)
    if not tax or not amount:
        return Money.zero(request.currency)
    refunded = charge.captured - remainder
    shares = await reading.tax_shares(charge.id, request.currency)
    orders = await reading.orders_on(charge.id)
    theirs = total(
        (r.amount for r in charge.alive_refunds if case_behind(r, orders) not in shares),
        request.currency,
    )
    stated = total(shares.values(), request.currency) + tax_share(
        tax, charge.captured,
        refunded=Money.zero(request.currency), stated=Money.zero(request.currency), amount=theirs,
    )  # fmt: skip
    return tax_share(tax, charge.captured, refunded=refunded, stated=stated, amount=amount)


def _hours_to_twin(charge: ChargeFacts, twins: tuple[datetime, ...]) -> int | None:
    """Whole hours to the nearest other charge of the same amount; None without one.

    A duplicate is found here, not believed.
    """
    gaps = [abs(at - charge.created_at) for at in twins]
    return int(min(gaps) / timedelta(hours=1)) if gaps else None
