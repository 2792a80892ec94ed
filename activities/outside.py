"""What the provider does without us: refunds made by hand, and turns of a chargeback.

Webhooks say where to look; what counts is what the provider answers then, so their number and
order make no difference. Nothing here moves money: what moved is booked once per object of the
provider, as an exception that finance is told of (docs/decisions/0021).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import structlog
from sqlalchemy.exc import SQLAlchemyError

from activities.authority import root_of
from activities.facts import case_behind
from activities.payments import FROZEN_BY
from activities.provider import (
    NoSuchObject,
    Provider,
    ProviderMisconfigured,
    ProviderRefusal,
    ProviderUnavailable,
)
from activities.records import (
    DESK_NOTICE,
    FINANCE_NOTICE,
    HOLD,
    REVERSAL,
    case_event,
    existing_case,
    notify,
)
from domain.actors import ENGINE
from domain.canonical import plain
from domain.cases import (
    CaseEvent,
    CaseKind,
    Desk,
    EventKind,
    Language,
    Outcome,
    Status,
    case_id_for,
    is_case_id,
)
from domain.decisions import RefundMethod
from domain.linked import FAILED_LATE, OUTSIDE_CREDIT, OUTSIDE_REFUND, OUTSIDE_REFUND_FAILED
from domain.money import Money, total
from domain.provider import (
    Chargeback,
    ChargeFacts,
    ProviderCredit,
    ProviderDispute,
    ProviderRefund,
)
from domain.texts import money_in_words, say
from ledger import postings
from ledger.books import Books
from ledger.projection import CaseRow
from ledger.records import OUTSIDE, InboxRow, ReservationScope, ReservationState
from ledger.writing import BookTransaction

log = structlog.get_logger()

DISPUTE_EVENTS = "charge.dispute."

_OVER = frozenset({Chargeback.WON, Chargeback.NONE})
"""A dispute that took nothing and takes nothing any more."""

_MONEY_GONE = frozenset({Outcome.REFUNDED, Outcome.UNCONFIRMED})

URGENT = "urgent"
"""Priority of a refund while the bank only asks: paid in time, it settles the inquiry."""


class OutsideNews:
    """Looks into the provider's events that concern no single case, until it is stopped.

    Several workers may do so at once: all that is written is written once, under the charge's
    lock.
    """

    def __init__(self, books: Books, provider: Provider, *, idle_seconds: float = 1) -> None:
        self._books = books
        self._provider = provider
        self._idle_seconds = idle_seconds

    async def run(self) -> None:
        while True:
            try:
                done = await self.note_due()
            except (SQLAlchemyError, OSError) as error:
                log.warning("outside_news_wait", error=type(error).__name__)
                done = 0
            if done == 0:
                await asyncio.sleep(self._idle_seconds)

    async def note_due(self) -> int:
        """Look into what is in the inbox, oldest first; answers how many events are done with.

        An event that cannot be judged yet stays, and those behind it are not held up.
        """
        done = 0
        page = await self._page()
        while page:
            for row in page:
                done += await self._is_done(row)
            page = await self._page(after=page[-1])
        return done

    async def _page(self, after: InboxRow | None = None) -> list[InboxRow]:
        async with self._books.reading() as reading:
            return await reading.inbox(OUTSIDE, after=after)

    async def _is_done(self, row: InboxRow) -> bool:
        try:
            state = await self._note(row)
        except ProviderUnavailable as error:
            log.warning("outside_news_waits", event_id=row.event_id, error=str(error))
            return False
        except (SQLAlchemyError, OSError, ProviderMisconfigured):
            raise
        except Exception as error:
            # a defect of ours, or an object of a shape that we do not know: it is for a person,
            # and must not take the worker and all its cases along
            log.exception("outside_news_failed", event_id=row.event_id, error=type(error).__name__)
            return False
        if state == OUTSIDE:
            return False
        async with self._books.transaction() as tx:
            await tx.finish_inbox(row.event_id, state)
        return True

    async def _note(self, row: InboxRow) -> str:
        """What became of one event: the state it goes to."""
        about = row.object_ids[-1]
        try:
            if row.event_type.startswith(DISPUTE_EVENTS):
                return await self._note_chargeback(row)
            if is_case_id(about):
                return await self._note_late_order(row, about)
            return await self._note_refund(row, about)
        except (NoSuchObject, ProviderRefusal) as error:
            log.warning("outside_news_unreadable", event_id=row.event_id, error=str(error))
            return "no_object"

    # -- refunds ---------------------------------------------------------------------

    async def _note_late_order(self, row: InboxRow, case_id: str) -> str:
        """Money that went in the name of a case that, by the books, ended without it: an attempt
        that came too late has us look what it gave."""
        async with self._books.reading() as reading:
            case = await existing_case(reading, case_id)
        if case.provider_id:
            return await self._note_refund(row, case.provider_id)
        if case.status is not Status.CLOSED:
            return OUTSIDE  # it will find what went, and take it for its own order: come again
        charge = await self._provider.charge(case.charge)
        refunds = [refund for refund in charge.refunds if refund.case_id == case.case_id]
        try:
            credit = await self._provider.find_credit(case.customer, case.case_id)
        except NoSuchObject:  # a customer who was deleted has no account with the provider
            credit = None
        booked = False
        async with self._books.transaction() as tx:
            await tx.lock_charge(charge.id)
            about = [case.case_id]
            for refund in refunds:
                booked |= await _book_refund(tx, charge, refund, row.received_at, about)
            if credit is not None:
                booked |= await _book_credit(tx, charge, credit, row.received_at, about)
        return "recorded" if booked else "nothing_new"

    async def _note_refund(self, row: InboxRow, refund_id: str) -> str:
        """A refund that no case ordered is booked; one that a case ordered, and the bank sent back
        after its end, is booked back: the end stands."""
        refund = await self._provider.refund(refund_id)
        if not refund.charge:
            return "no_charge"
        charge = await self._provider.charge(refund.charge)
        at = row.received_at
        async with self._books.transaction() as tx:
            await tx.lock_charge(charge.id)
            case = await tx.reading.case_of_provider_object(refund.id)
            if case is None:
                named = await tx.case(refund.case_id) if is_case_id(refund.case_id) else None
                if named is None or named.charge != charge.id:
                    about = []
                elif named.status is Status.CLOSED or named.provider_id:
                    about = [named.case_id]
                else:
                    return OUTSIDE  # it will find it, and take it for its own order: come again
                booked = await _book_refund(tx, charge, refund, at, about)
            elif refund.is_alive:
                booked = False
            elif case.status is not Status.CLOSED:
                return OUTSIDE  # it was told, and will say itself what came of it: come again
            else:
                is_paid = case.outcome in _MONEY_GONE
                booked = is_paid and await _book_late_failure(tx, charge, refund, case, at)
        return "recorded" if booked else "nothing_new"

    # -- chargebacks -----------------------------------------------------------------

    async def _note_chargeback(self, row: InboxRow) -> str:
        charge = await self._provider.charge(row.object_ids[0])
        async with self._books.transaction() as tx:
            await tx.lock_charge(charge.id)
            cases = await tx.reading.open_cases(kind=CaseKind.REFUND, charge=charge.id)
            if any(case.status is Status.SENDING for case in cases):
                return OUTSIDE  # whether money moved is not in the books yet: come again
            news = [await _tell_case(tx, case, charge, row.received_at) for case in cases]
            given = await _given(tx, charge) if charge.disputes else []
            for dispute in charge.disputes:
                news.append(await _record_opening(tx, charge, dispute, given, row.received_at))
                if dispute.status is Chargeback.LOST:
                    news.append(await _record_loss(tx, charge, dispute, given, row.received_at))
        return "recorded" if any(news) else "nothing_new"


async def _book_refund(
    tx: BookTransaction,
    charge: ChargeFacts,
    refund: ProviderRefund,
    at: datetime,
    about: Sequence[str] = (),
) -> bool:
    """Book a refund that no case accounts for, and that it failed; False when all of it is known.

    One that had failed before we heard of it is booked and reversed all the same, so that the
    books do not depend on which webhook came first.
    """
    body = {"refund": refund.id, "failure_reason": ""}
    made = await _record(
        tx, refund.id, OUTSIDE_REFUND, charge, refund.amount, refund.id, at, body, about
    )
    case_id = case_id_for(CaseKind.EXCEPTION, refund.id)
    if made:
        method = RefundMethod.ORIGINAL
        await tx.post(postings.outside(case_id, OUTSIDE, refund.amount, method, refund.id, at))
    if refund.is_alive or made:
        for other_id in about:
            await _draw(tx, case_id, other_id, refund.amount, at)
    if refund.is_alive:
        for other_id in () if made else about:  # its name was written on it later
            made |= await _link(tx, case_id, OUTSIDE_REFUND, other_id, at)
        return made
    key = f"{refund.id}:failed"
    body = {"refund": refund.id, "failure_reason": refund.failure_reason}
    failed = await _record(
        tx, key, OUTSIDE_REFUND_FAILED, charge, refund.amount, refund.id, at, body, [case_id]
    )
    if failed:
        await tx.release_reservations(case_id, OUTSIDE)
        await tx.post(
            postings.reversal(
                case_id_for(CaseKind.EXCEPTION, key),
                REVERSAL,
                refund.amount,
                RefundMethod.ORIGINAL,
                postings.OUTSIDE_REASON,
                refund.id,
                at,
            )
        )
    return made or failed


async def _draw(
    tx: BookTransaction, exception_id: str, about: str, amount: Money, at: datetime
) -> None:
    """Take what went in the name of a case from what that case, or the one whose decision it
    carries out, granted: whatever goes on from it has so much less to give. Once an exception."""
    await tx.reserve(
        case_id=exception_id,
        step=OUTSIDE,
        scope=ReservationScope.AUTHORITY,
        key=await root_of(tx.reading, about),
        amount=amount,
        at=at,
    )
    await tx.settle_reservations(exception_id, OUTSIDE)


async def _book_credit(
    tx: BookTransaction,
    charge: ChargeFacts,
    credit: ProviderCredit,
    at: datetime,
    about: Sequence[str],
) -> bool:
    """Book account credit that no case accounts for; False when that is known."""
    body = {"credit": credit.id}
    made = await _record(
        tx, credit.id, OUTSIDE_CREDIT, charge, credit.amount, credit.id, at, body, about
    )
    if made:
        case_id = case_id_for(CaseKind.EXCEPTION, credit.id)
        method = RefundMethod.ACCOUNT_CREDIT
        await tx.post(postings.outside(case_id, OUTSIDE, credit.amount, method, credit.id, at))
        # the provider lists no credit on the charge: from here it is seen that it was given
        await tx.reserve(
            case_id=case_id,
            step=OUTSIDE,
            scope=ReservationScope.CHARGE,
            key=charge.id,
            amount=credit.amount,
            at=at,
        )
        await tx.settle_reservations(case_id, OUTSIDE)
        for other_id in about:
            await _draw(tx, case_id, other_id, credit.amount, at)
    return made


async def _book_late_failure(
    tx: BookTransaction, charge: ChargeFacts, refund: ProviderRefund, case: CaseRow, at: datetime
) -> bool:
    """Book back what a case had paid when it ended; False when that is known."""
    key = f"{refund.id}:failed"
    body = {"refund": refund.id, "failure_reason": refund.failure_reason}
    is_new = await _record(
        tx, key, FAILED_LATE, charge, refund.amount, refund.id, at, body, [case.case_id]
    )
    if not is_new:
        return False
    exception_id = case_id_for(CaseKind.EXCEPTION, key)
    await tx.post(
        postings.reversal(
            exception_id, REVERSAL, refund.amount, RefundMethod.ORIGINAL, case.reason, refund.id, at
        )
    )
    await tx.release_reservations(case.case_id, HOLD)
    spoken = Language(case.language)
    words = say("closed.failed_at_bank", spoken, amount=money_in_words(refund.amount, spoken))
    told = {"amount": refund.amount, "in_words": words}
    await notify(tx, case, "case.failed_late", at, told)
    return True


async def _tell_case(tx: BookTransaction, case: CaseRow, charge: ChargeFacts, at: datetime) -> bool:
    """Put a turn of the chargeback on an open case's account, and before its desk."""
    events = await tx.reading.events(case.case_id)
    seen = [event for event in events if event.kind is EventKind.CHARGEBACK_SEEN]
    decided = await tx.reading.decision(case.case_id)
    facts = decided.decision.facts if decided else {}
    before = seen[-1].body["chargeback"] if seen else facts.get("chargeback", Chargeback.NONE)
    if before == charge.chargeback:
        return False
    is_inquiry = charge.chargeback is Chargeback.INQUIRY
    body = {
        "chargeback": charge.chargeback,
        "is_frozen": charge.chargeback in FROZEN_BY,
        "priority": URGENT if is_inquiry else events[0].body["priority"],
    }
    ordinal = len(seen) + 1
    step = f"chargeback#{ordinal}"
    await tx.append_event(case_event(case, step, EventKind.CHARGEBACK_SEEN, at, body))
    words = say(f"chargeback.{charge.chargeback.value}", Language(case.language))
    told = {**body, "in_words": words}
    await notify(tx, case, "case.chargeback", at, told, to=DESK_NOTICE, ordinal=ordinal)
    return True


class _Movement(NamedTuple):
    """Money of a charge that was given back and stands. ``case_id`` is empty where no case of ours
    gave it; ``given_at`` is when the provider took the order (UTC); ``reference`` is the bank's,
    once it has told one."""

    provider_id: str
    case_id: str
    amount: Money
    given_at: datetime
    reference: str


async def _given(tx: BookTransaction, charge: ChargeFacts) -> list[_Movement]:
    """All that stands of what was given back of a charge, whoever gave it."""
    orders = await tx.reading.orders_on(charge.id)
    behind = {refund.id: case_behind(refund, orders) for refund in charge.refunds}
    given = [
        _Movement(
            provider_id=refund.id,
            case_id=behind[refund.id] if is_case_id(behind[refund.id]) else "",
            amount=refund.amount,
            given_at=refund.created_at,
            reference=refund.reference,
        )
        for refund in charge.alive_refunds
    ]
    by_refund = set(behind.values())
    currency = charge.captured.currency
    for held in await tx.reading.reservations(ReservationScope.CHARGE, charge.id, currency):
        # account credit is no refund there; a refund that failed there has given nothing, also
        # while its case has yet to hear of it
        if held.state is not ReservationState.POSTED or held.case_id in by_refund:
            continue
        case = await existing_case(tx, held.case_id)
        events = await tx.reading.events(held.case_id)
        taken = [event.occurred_at for event in events if event.kind is EventKind.ACCEPTED]
        given.append(
            _Movement(
                provider_id=case.provider_id,
                case_id=case.case_id,
                amount=held.amount,
                given_at=max(taken, default=held.at),
                reference="",
            )
        )
    return given


async def _known_cases(tx: BookTransaction, given: Sequence[_Movement]) -> list[str]:
    """The cases that gave the money, of those in the books."""
    ours = sorted({each.case_id for each in given if each.case_id})
    return [case_id for case_id in ours if await tx.case(case_id) is not None]


def _opening_key(dispute: ProviderDispute) -> str:
    return f"{dispute.id}:opened"


async def _record_opening(
    tx: BookTransaction,
    charge: ChargeFacts,
    dispute: ProviderDispute,
    given: Sequence[_Movement],
    at: datetime,
) -> bool:
    """An inquiry or a chargeback about money that had been given back: finance has the movements
    to answer with (docs/decisions/0026).

    Written whatever has become of it since, so that it does not depend on which webhook came
    first: one that is over, and not lost, is answered only by what was given when it began.
    """
    if dispute.status in _OVER:
        # the provider tells whole seconds
        given = [x for x in given if x.given_at.replace(microsecond=0) <= dispute.created_at]
    if not given:
        return False
    body = {"movements": given, "captured": charge.captured, "respond_by": dispute.respond_by}
    about = await _known_cases(tx, given)
    return await _record(
        tx, _opening_key(dispute), "chargeback_opened", charge, dispute.amount, dispute.id, at,
        body, about,
    )  # fmt: skip


async def _record_loss(
    tx: BookTransaction,
    charge: ChargeFacts,
    dispute: ProviderDispute,
    given: Sequence[_Movement],
    at: datetime,
) -> bool:
    """A chargeback that took money which had been given back already (I1).

    Call it after :func:`_record_opening`, whose record it follows on.
    """
    if not given:
        return False
    opening = case_id_for(CaseKind.EXCEPTION, _opening_key(dispute))
    body: dict[str, Any] = {"movements": given, "captured": charge.captured, "follows": opening}
    if dispute.amount.currency == charge.captured.currency:
        taken = total((each.amount for each in given), dispute.amount.currency) + dispute.amount
        body["sum"] = taken
        body["above_captured"] = max(taken - charge.captured, Money.zero(taken.currency))
    about = [*await _known_cases(tx, given), opening]
    return await _record(
        tx, dispute.id, "chargeback_lost", charge, dispute.amount, dispute.id, at, body, about
    )


async def _record(
    tx: BookTransaction,
    key: str,
    why: str,
    charge: ChargeFacts,
    amount: Money,
    provider_id: str,
    at: datetime,
    body: Mapping[str, Any],
    about: Sequence[str] = (),
) -> bool:
    """An exception case, opened, told to finance and ended at once; False when it is there.

    ``about`` are the cases that it is linked with, both ways.
    """
    case_id = case_id_for(CaseKind.EXCEPTION, key)
    opened = {
        "kind": CaseKind.EXCEPTION,
        "request_id": key,
        "customer": charge.customer,
        "charge": charge.id,
        "amount": amount,
        "currency": amount.currency,
        "reason": why,
        "language": Language.EN,
        "jurisdiction": "",
        "desk": Desk.FINANCE,
        "priority": "high",
    }
    is_new = await tx.append_event(
        CaseEvent(
            case_id=case_id,
            step="open",
            kind=EventKind.OPENED,
            occurred_at=at,
            actor=ENGINE,
            body=plain(opened),
        )
    )
    if not is_new:
        return False
    case = await existing_case(tx, case_id)
    told = {
        "provider_id": provider_id, "charge": charge.id, "amount": amount, "cases": list(about),
        **body,
    }  # fmt: skip
    closed = {"outcome": Outcome.RECORDED, "amount": amount}
    await tx.append_event(case_event(case, "notice", EventKind.NOTICED, at, told))
    await tx.append_event(case_event(case, "close", EventKind.CLOSED, at, closed))
    await notify(tx, case, f"exception.{why}", at, told, to=FINANCE_NOTICE)
    for other_id in about:
        await _link(tx, case_id, why, other_id, at)
    return True


async def _link(tx: BookTransaction, exception_id: str, why: str, about: str, at: datetime) -> bool:
    """Have a case name an exception that is about it; False when it does."""
    other = await existing_case(tx, about)
    link = {"case_id": exception_id, "why": why}
    return await tx.append_event(
        case_event(other, f"link:{exception_id}", EventKind.LINKED, at, link)
    )
