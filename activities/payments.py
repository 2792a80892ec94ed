"""Money at the provider: ordered once, posted once, and looked at until it has arrived.

What may go wrong between two lines, and what holds then:

* dies before the order: the hold stands; the next attempt looks, finds nothing, orders;
* dies after the order, or the answer is lost: the next attempt looks and finds the refund by
  its metadata, whatever became of the idempotency key (which guards the first 24 hours);
* dies late: another attempt ended the case, and what this one ordered is booked as found outside;
* the workflow is reset, or started again from the books: its first attempt looks as any other;
* dies after the post is committed: the next attempt reads the books and answers from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.authority import is_given_elsewhere
from activities.contract import LOOK_AT_REFUND, SEND_REFUND, PaymentActivities
from activities.facts import remainder_of
from activities.linked import ending
from activities.provider import NoSuchObject, Provider, ProviderMisconfigured, ProviderRefusal
from activities.records import (
    FINANCE_NOTICE,
    HOLD,
    POST,
    REVERSAL,
    amount_of,
    case_event,
    close,
    existing_case,
    locked_case,
    notify,
    void_and_close,
)
from domain.approvals import Verdict
from domain.canonical import instant, parse_instant
from domain.cases import CaseEvent, CaseKind, EventKind, Outcome, Status, case_id_for
from domain.deadlines import Settlement
from domain.decisions import RefundMethod, RefundVerdict
from domain.provider import SEND, Chargeback, ChargeFacts, ProviderRefund, RefundStatus
from domain.refunds import (
    LookInput,
    LookResult,
    RefundDecision,
    SendInput,
    SendResult,
    SendStatus,
)
from ledger import postings
from ledger.books import Books
from ledger.in_words import bank_letter, status_in_words
from ledger.linked import begun_by
from ledger.projection import CaseRow
from ledger.reading import Reading
from ledger.records import OUTSIDE
from ledger.writing import BookTransaction

FROZEN_BY = frozenset({Chargeback.OPEN, Chargeback.LOST, Chargeback.UNKNOWN})
"""The chargeback interlock: a refund beside one of these would be lost twice."""


class _Dates(NamedTuple):
    """When money that is ordered at an instant is looked for, traced and expected; account credit
    has arrived. Instants are UTC, the days local."""

    looks: tuple[datetime, ...] = ()
    trace_looks: tuple[datetime, ...] = ()
    expected: tuple[date, ...] = ()

    @classmethod
    def of(cls, made: RefundDecision, settlement: Settlement, now: datetime) -> _Dates:
        """Raises ``ValueError`` past the days that the calendar knows."""
        if made.method is RefundMethod.ACCOUNT_CREDIT:
            return cls()
        return cls(
            settlement.instants(now), settlement.trace_instants(now), settlement.expected_dates(now)
        )


class Payments(PaymentActivities):
    """Orders refunds and credits, and looks where they are."""

    def __init__(self, books: Books, provider: Provider) -> None:
        self._books = books
        self._provider = provider

    # -- send ------------------------------------------------------------------------

    @activity.defn(name=SEND_REFUND)
    async def send_refund(self, order: SendInput) -> SendResult:
        async with self._books.reading() as reading:
            case = await existing_case(reading, order.case_id)
            before = await self._already_sent(reading, case)
            if before is not None:
                return before
            made, settlement = await self._pinned(reading, case, order)
        # before any order: past the end of its calendar it has no dates, and could not be booked
        dates = _Dates.of(made, settlement, order.now)
        try:
            return await self._send(order, case, made, dates)
        except ProviderMisconfigured as error:
            raise ApplicationError(str(error), type="ProviderMisconfigured") from error

    async def _send(
        self, order: SendInput, case: CaseRow, made: RefundDecision, dates: _Dates
    ) -> SendResult:
        """Look, then judge, then order: no attempt knows whether it is the first."""
        is_credit = made.method is RefundMethod.ACCOUNT_CREDIT
        charge = await self._provider.charge(case.charge)
        try:
            found = await self._find(case, charge, made, is_credit=is_credit)
        except NoSuchObject:
            return await self._refused_by_provider(case, order, "customer_gone")
        if found is None:
            why_not = await self._why_not_now(case, charge, is_credit=is_credit)
            if why_not is not None:
                return await self._refused_by_provider(case, order, why_not)
            try:
                found = await self._order(case, made, is_credit=is_credit)
            except ProviderRefusal as refusal:
                return await self._refused_by_provider(case, order, refusal.code)
        return await self._accepted(case, order, made, dates, found, charge.descriptor)

    async def _find(
        self, case: CaseRow, charge: ChargeFacts, made: RefundDecision, *, is_credit: bool
    ) -> str | None:
        found = (
            await self._provider.find_credit(case.customer, case.case_id)
            if is_credit
            else charge.refund_of(case.case_id)
        )
        if found is None:
            return None
        if found.amount != made.amount:
            # of a decision that the books lost, or of another hand: neither amount is the truth
            raise ApplicationError(
                f"the provider gave {found.amount} for this case ({found.id}), "
                f"and the decision is {made.amount}",
                type="AmountDiffers",
            )
        return found.id

    async def _order(self, case: CaseRow, made: RefundDecision, *, is_credit: bool) -> str:
        if is_credit:
            return await self._provider.order_credit(
                customer_id=case.customer, amount=made.amount, case_id=case.case_id, step=SEND
            )
        refund = await self._provider.order_refund(
            charge_id=case.charge,
            amount=made.amount,
            case_id=case.case_id,
            step=SEND,
            reason=case.reason,
        )
        return refund.id

    async def _why_not_now(
        self, case: CaseRow, charge: ChargeFacts, *, is_credit: bool
    ) -> str | None:
        """Days may lie between decision and order: judge the charge again.

        A refund settles a bank's inquiry; credit does not, and is lost when a chargeback follows.
        """
        is_asked = is_credit and charge.chargeback is Chargeback.INQUIRY
        if is_asked or charge.chargeback in FROZEN_BY or not charge.is_refundable:
            return "charge_disputed"
        async with self._books.reading() as reading:
            remainder = await remainder_of(reading, charge, but_for=case.case_id)
            if await _is_listed_as_given(reading, case, charge):
                return "given_otherwise"
            if await is_given_elsewhere(reading, case.case_id):
                return "given_otherwise"
        return "remainder_changed" if remainder < amount_of(case) else None

    async def _pinned(
        self, reading: Reading, case: CaseRow, order: SendInput
    ) -> tuple[RefundDecision, Settlement]:
        """The decision that is carried out; its digest and its approvals must still fit it."""
        stored = await reading.decision(case.case_id)
        if stored is None:
            raise LookupError(f"{case.case_id} was never decided")
        made = RefundDecision.model_validate(stored.outcome["made"])
        recorded = await reading.approvals(case.case_id) if made.slots else []
        approvals = {
            row.slot
            for row in recorded
            if row.verdict is Verdict.APPROVE and row.digest == made.digest
        }
        missing = {slot.id for slot in made.slots} - approvals
        is_granted = made.verdict is RefundVerdict.APPROVE
        if not is_granted or made.digest != order.digest or missing:
            raise ApplicationError(
                f"{case.case_id}: approvals do not cover what is to be sent (missing: "
                f"{', '.join(sorted(missing)) or 'none'}; digest {order.digest[:12]}; decided: "
                f"{made.verdict})",
                type="NotApproved",
                non_retryable=True,
            )
        return made, Settlement.model_validate(stored.outcome["settlement"])

    async def _already_sent(self, reading: Reading, case: CaseRow) -> SendResult | None:
        accepted = await reading.event(case.case_id, "accept")
        if accepted is None:
            if case.outcome is None:
                return None
            return SendResult(status=SendStatus.REFUSED, outcome=case.outcome)
        return SendResult(
            status=SendStatus.ACCEPTED,
            provider_id=accepted.body["provider_id"],
            outcome=case.outcome if case.outcome is Outcome.CREDITED else None,
            looks=tuple(parse_instant(text) for text in accepted.body["looks"]),
            trace_looks=tuple(parse_instant(text) for text in accepted.body["trace_looks"]),
            looked=sum(
                event.kind is EventKind.LOOKED for event in await reading.events(case.case_id)
            ),
        )

    async def _accepted(
        self,
        case: CaseRow,
        order: SendInput,
        made: RefundDecision,
        dates: _Dates,
        provider_id: str,
        descriptor: str,
    ) -> SendResult:
        is_credit = made.method is RefundMethod.ACCOUNT_CREDIT
        body = {
            "provider_id": provider_id,
            "amount": made.amount,
            "tax": made.tax,
            "method": made.method,
            "descriptor": descriptor,
            "looks": [instant(at) for at in dates.looks],
            "trace_looks": [instant(at) for at in dates.trace_looks],
            "expected": [day.isoformat() for day in dates.expected],
        }
        async with self._books.transaction() as tx:
            case = await locked_case(tx, case.case_id)
            before = await self._already_sent(tx.reading, case)
            if before is not None:
                if before.status is SendStatus.REFUSED:
                    await self._have_it_booked(tx, case, order.now)
                return before
            outside = await tx.case(case_id_for(CaseKind.EXCEPTION, provider_id))
            if outside is not None:
                return await self._given_before(tx, case, order, outside)
            if await tx.reading.case_of_provider_object(provider_id) is not None:
                return await _reject(tx, case, order, "ordered_by_another")
            await tx.append_event(case_event(case, "accept", EventKind.ACCEPTED, order.now, body))
            await tx.post(
                postings.post(
                    case.case_id,
                    POST,
                    made.amount,
                    made.method,
                    case.reason,
                    provider_id,
                    order.now,
                )
            )
            await tx.settle_reservations(case.case_id, HOLD)
            await notify(tx, case, "case.accepted", order.now, body)
            if is_credit:
                await close(tx, case, Outcome.CREDITED, order.now)
        return SendResult(
            status=SendStatus.ACCEPTED,
            provider_id=provider_id,
            outcome=Outcome.CREDITED if is_credit else None,
            looks=dates.looks,
            trace_looks=dates.trace_looks,
        )

    async def _have_it_booked(self, tx: BookTransaction, case: CaseRow, now: datetime) -> None:
        """An attempt that was given up for late moved money after another had ended the case."""
        await tx.take_inbox(
            event_id=f"{case.case_id}:{SEND}",
            event_type="refund.updated",
            object_ids=[case.case_id],
            at=now,
            state=OUTSIDE,
        )

    async def _refused_by_provider(self, case: CaseRow, order: SendInput, code: str) -> SendResult:
        async with self._books.transaction() as tx:
            case = await locked_case(tx, case.case_id)
            before = await self._already_sent(tx.reading, case)
            if before is not None:  # by another attempt, which knew more or was quicker
                return before
            return await _reject(tx, case, order, code)

    async def _given_before(
        self, tx: BookTransaction, case: CaseRow, order: SendInput, outside: CaseRow
    ) -> SendResult:
        """What was found in the case's name is booked already, as nobody's order: the name was
        written on it later, or was off it for a while. The customer has it, and it is booked once.
        """
        link = {"case_id": outside.case_id, "why": outside.reason}
        step = f"link:{outside.case_id}"
        await tx.append_event(case_event(case, step, EventKind.LINKED, order.now, link))
        return await _reject(tx, case, order, "booked_outside")

    # -- look ------------------------------------------------------------------------

    @activity.defn(name=LOOK_AT_REFUND)
    async def look_at_refund(self, look: LookInput) -> LookResult:
        step = f"look#{look.ordinal}"
        async with self._books.reading() as reading:
            case = await existing_case(reading, look.case_id)
            if case.outcome is not None:
                return await _as_ended(reading, case)
            accepted = await reading.event(case.case_id, "accept")
        if accepted is None:
            raise LookupError(f"{case.case_id} was never accepted by the provider")
        refund = await self._provider.refund(case.provider_id)
        later = [
            text
            for text in accepted.body["looks"] + accepted.body["trace_looks"]
            if text > instant(look.now)
        ]
        async with self._books.transaction() as tx:
            case = await locked_case(tx, look.case_id)
            body = {
                "ordinal": look.ordinal,
                "provider_status": refund.status,
                "next_look_at": later[0] if later else None,
            }
            looked = case_event(case, step, EventKind.LOOKED, look.now, body)
            if case.outcome is None:
                # a run that was reset looks under a number that is on record: its word counts too
                await tx.append_event(looked)
                await self._conclude(tx, case, look, accepted, refund, later)
            return await _as_ended(tx.reading, await existing_case(tx, look.case_id))

    async def _conclude(
        self,
        tx: BookTransaction,
        case: CaseRow,
        look: LookInput,
        accepted: CaseEvent,
        refund: ProviderRefund,
        later: list[str],
    ) -> None:
        """What the provider's word means on this day; ends the case when it is known."""
        if not refund.is_alive:
            await self._failed(tx, case, look, refund)
            return
        is_overdue = look.at_maximum or case.status is Status.TRACING
        silent = is_overdue and refund.status is RefundStatus.SUCCEEDED
        if refund.reference or silent:
            body = {
                "confirmed_by": "reference" if refund.reference else "silence",
                "reference": refund.reference,
            }
            event = case_event(case, "confirm", EventKind.CONFIRMED, look.now, body)
            await tx.append_event(event)
            await close(tx, case, Outcome.REFUNDED, look.now)
        elif look.last:
            await close(tx, case, Outcome.UNCONFIRMED, look.now, reason_key="unconfirmed")
        elif look.at_maximum:
            # a case that was taken up again after its last look has none ahead
            next_look = later[0] if later else max(accepted.body["trace_looks"])
            body = {"next_look_at": next_look, "reference": refund.id}
            event = case_event(case, "trace", EventKind.TRACE_OPENED, look.now, body)
            await tx.append_event(event)
            case = await existing_case(tx, case.case_id)
            told = {
                **body,
                "in_words": status_in_words(case, accepted_at=accepted.occurred_at),
                "letter": bank_letter(case, accepted),
            }
            await notify(tx, case, "case.trace_opened", look.now, told)
            await notify(tx, case, "case.trace_opened", look.now, told, to=FINANCE_NOTICE)

    async def _failed(
        self, tx: BookTransaction, case: CaseRow, look: LookInput, refund: ProviderRefund
    ) -> None:
        body = {"provider_status": refund.status, "failure_reason": refund.failure_reason}
        await tx.append_event(case_event(case, "fail", EventKind.FAILED, look.now, body))
        await tx.post(
            postings.reversal(
                case.case_id,
                REVERSAL,
                amount_of(case),
                RefundMethod(case.method),
                case.reason,
                refund.id,
                look.now,
            )
        )
        await tx.release_reservations(case.case_id, HOLD)
        goes_on = await self._fallback(tx.reading, case, look.now)
        await close(
            tx, case, Outcome.FAILED_AT_BANK, look.now, reason_key="failed_at_bank", ending=goes_on
        )
        await notify(tx, case, "case.failed_at_bank", look.now, body, to=FINANCE_NOTICE)

    async def _fallback(
        self, reading: Reading, case: CaseRow, now: datetime
    ) -> Mapping[str, Any] | None:
        """The next way in the policy's order, and whether it needs the customer's word first."""
        stored = await reading.decision(case.case_id)
        opened = await reading.event(case.case_id, "open")
        if stored is None or opened is None:
            raise LookupError(f"{case.case_id} was never decided")
        settlement = Settlement.model_validate(stored.outcome["settlement"])
        tried = opened.body.get("alternative")
        way = settlement.fallback_after(RefundMethod(tried) if tried else None)
        if way is None:
            return None
        until = settlement.calendar.instant_after(now, settlement.alternative_days)
        agreed = way is RefundMethod.ORIGINAL or bool(opened.body.get("consents_to_credit"))
        offered = ending(alternatives=(way.value,), alternative_until=until)
        return {**offered, "goes_on": agreed}


async def _is_listed_as_given(reading: Reading, case: CaseRow, charge: ChargeFacts) -> bool:
    """Whether a refund that no case ordered stands in the name of this one, which would have taken
    it for its own order were it not to give credit, or in the name of one that it goes on from,
    where the books have not heard of it yet."""
    ordered = (await reading.orders_on(charge.id)).values()
    before = await begun_by(reading, case.case_id)
    unheard_of = [
        refund.id
        for refund in charge.alive_refunds
        if refund.case_id in before
        and refund.id not in ordered
        and await reading.event(refund.case_id, _booking_of(refund)) is None
    ]
    return bool(unheard_of)


def _booking_of(refund: ProviderRefund) -> str:
    """The step by which a case names the exception that a refund is booked by."""
    return f"link:{case_id_for(CaseKind.EXCEPTION, refund.id)}"


async def _reject(tx: BookTransaction, case: CaseRow, order: SendInput, code: str) -> SendResult:
    """End a case for which nothing can be ordered, and have finance hear why."""
    outcome = Outcome.REJECTED_BY_PROVIDER
    reason_key = _REASON_KEYS.get(code, "provider_refused")
    await void_and_close(tx, case, outcome, order.now, reason_key=reason_key)
    await notify(tx, case, "case.rejected", order.now, {"code": code}, to=FINANCE_NOTICE)
    return SendResult(status=SendStatus.REFUSED, reason=code, outcome=outcome)


async def _as_ended(reading: Reading, case: CaseRow) -> LookResult:
    """What a look came to, from the books: a repeated one must say the same."""
    closing = await reading.event(case.case_id, "close") if case.outcome else None
    goes_on = closing is not None and bool(closing.body.get("goes_on"))
    return LookResult(outcome=case.outcome, goes_on=goes_on)


_REASON_KEYS = {
    "charge_disputed": "charge_disputed",
    "charge_already_refunded": "already_refunded",
    "remainder_changed": "already_refunded",
    "given_otherwise": "already_refunded",
    "booked_outside": "already_refunded",
    "ordered_by_another": "already_refunded",
}
