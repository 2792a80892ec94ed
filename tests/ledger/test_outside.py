"""What the provider did without us is written down once, whoever hears of it, on both databases."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from activities.outside import OutsideNews
from activities.provider import Provider
from audit.verify import verify
from domain.cases import CaseKind, EventKind, case_id_for
from domain.money import Money
from domain.provider import (
    Chargeback,
    ChargeFacts,
    Instrument,
    ProviderDispute,
    ProviderRefund,
    RefundStatus,
)
from ledger.books import Books
from ledger.records import OUTSIDE, ReservationScope
from tests.ledger.builders import AT, Refund, decided_body, event, opened, usd

CROWD = 8
BY_HAND = ProviderRefund(
    id="re_by_hand",
    charge="ch_1",
    status=RefundStatus.FAILED,
    amount=usd(1_000),
    case_id="",
    reference="",
    failure_reason="declined",
)


def facts(
    *refunds: ProviderRefund,
    chargeback: Chargeback = Chargeback.NONE,
    disputed: Money | None = None,
) -> ChargeFacts:
    dispute = ProviderDispute(id="du_1", status=chargeback, amount=disputed or usd(2_500))
    return ChargeFacts(
        id="ch_1",
        customer="cus_ann",
        customer_since=AT,
        captured=usd(2_500),
        tax=None,
        is_captured=True,
        is_refundable=True,
        created_at=AT,
        instrument=Instrument.CARD,
        instrument_refundable=True,
        chargeback=chargeback,
        disputes=() if chargeback is Chargeback.NONE else (dispute,),
        refunds=refunds,
        descriptor="",
    )


class Says:
    """A provider with one charge."""

    def __init__(self, charge: ChargeFacts) -> None:
        self._charge = charge

    async def charge(self, charge_id: str) -> ChargeFacts:
        return self._charge

    async def refund(self, refund_id: str) -> ProviderRefund:
        return self._charge.refunds[0]


def news(books: Books, charge: ChargeFacts) -> OutsideNews:
    return OutsideNews(books, cast(Provider, Says(charge)))


async def told(books: Books, event_id: str, event_type: str, subject: str) -> None:
    async with books.transaction() as tx:
        await tx.take_inbox(
            event_id=event_id, event_type=event_type, object_ids=[subject], at=AT, state=OUTSIDE
        )


async def test_a_crowd_that_hears_of_one_refund_books_it_and_its_failure_once(
    books: Books,
) -> None:
    await told(books, "evt_1", "refund.created", BY_HAND.id)
    await told(books, "evt_2", "refund.failed", BY_HAND.id)
    await asyncio.gather(*(news(books, facts(BY_HAND)).note_due() for _ in range(CROWD)))
    async with books.reading() as reading:
        booked = [(x.kind.value, x.provider_id) for x in await reading.ledger_transactions()]
        assert await reading.inbox(OUTSIDE) == []
        balances = await reading.trial_balance()
    assert sorted(booked) == [("outside", BY_HAND.id), ("reversal", BY_HAND.id)]
    assert {balance.amount_minor for balance in balances} == {0}
    assert (await verify(books)).is_clean
    async with books.reading() as reading:
        assert await reading.unarchived() == [], "no workflow, no history to keep"


async def test_a_crowd_that_hears_of_one_lost_chargeback_records_it_once(books: Books) -> None:
    await Refund().settling(books)
    ours = BY_HAND.model_copy(
        update={"id": "re_1", "case_id": "refund-a", "status": RefundStatus.SUCCEEDED}
    )
    charge = facts(ours.model_copy(update={"amount": usd(2_500)}), chargeback=Chargeback.LOST)
    await told(books, "evt_1", "charge.dispute.closed", "ch_1")
    await asyncio.gather(*(news(books, charge).note_due() for _ in range(CROWD)))
    async with books.reading() as reading:
        noticed = await reading.event(case_id_for(CaseKind.EXCEPTION, "du_1"), "notice")
        kinds = [e.kind for e in await reading.events("refund-a")]
    assert noticed is not None
    assert Money.model_validate(noticed.body["sum"]) == usd(5_000)
    assert kinds.count(EventKind.CHARGEBACK_SEEN) == kinds.count(EventKind.LINKED) == 1
    assert (await verify(books)).is_clean


@pytest.mark.parametrize("currency", ["usd", "eur"])
async def test_amounts_of_two_currencies_are_told_and_never_added(
    sqlite_books: Books, currency: str
) -> None:
    await Refund().settling(sqlite_books)
    asked = Money(amount_minor=2_300, currency=currency)
    charge = facts(chargeback=Chargeback.LOST, disputed=asked)
    await told(sqlite_books, "evt_1", "charge.dispute.closed", "ch_1")
    await news(sqlite_books, charge).note_due()
    async with sqlite_books.reading() as reading:
        noticed = await reading.event(case_id_for(CaseKind.EXCEPTION, "du_1"), "notice")
    assert noticed is not None
    assert Money.model_validate(noticed.body["amount"]) == asked
    assert ("sum" in noticed.body) is (currency == "usd")
    assert (await verify(sqlite_books)).is_clean


async def test_a_chargeback_waits_for_an_order_whose_answer_is_not_in_the_books(
    sqlite_books: Books,
) -> None:
    refund = Refund()
    async with sqlite_books.transaction() as tx:
        await refund.open_and_decide(tx)
    async with sqlite_books.transaction() as tx:
        await refund.approve(tx)
    await told(sqlite_books, "evt_1", "charge.dispute.closed", "ch_1")
    reader = news(sqlite_books, facts(chargeback=Chargeback.LOST))
    assert await reader.note_due() == 0
    async with sqlite_books.transaction() as tx:
        await refund.accept(tx)
    assert await reader.note_due() == 1
    async with sqlite_books.reading() as reading:
        assert await reading.case(case_id_for(CaseKind.EXCEPTION, "du_1")) is not None


FREEZES = {Chargeback.OPEN, Chargeback.LOST, Chargeback.UNKNOWN}


@pytest.mark.parametrize("chargeback", sorted(set(Chargeback) - {Chargeback.NONE}))
async def test_an_open_case_is_told_whether_a_chargeback_freezes_it(
    sqlite_books: Books, chargeback: Chargeback
) -> None:
    async with sqlite_books.transaction() as tx:
        await Refund().open_and_decide(tx)
    await told(sqlite_books, "evt_1", "charge.dispute.updated", "ch_1")
    await news(sqlite_books, facts(chargeback=chargeback)).note_due()
    async with sqlite_books.reading() as reading:
        (seen,) = [
            e for e in await reading.events("refund-a") if e.kind is EventKind.CHARGEBACK_SEEN
        ]
    assert seen.body["is_frozen"] is (chargeback in FREEZES)


async def test_the_tax_on_a_charge_is_that_of_the_cases_that_hold_or_have_its_money(
    books: Books,
) -> None:
    for n, tax in ((1, usd(30)), (2, usd(5)), (3, None)):
        case_id = f"refund-{n}"
        async with books.transaction() as tx:
            await tx.lock_charge("ch_1")
            await tx.append_event(opened(case_id, request_id=f"req-{n}"))
            body = decided_body(tax=tax)
            await tx.append_event(event(EventKind.DECIDED, body, case_id=case_id))
            await tx.reserve(
                case_id=case_id, step="hold", scope=ReservationScope.CHARGE, key="ch_1",
                amount=usd(100), at=AT,
            )  # fmt: skip
    async with books.transaction() as tx:
        await tx.settle_reservations("refund-1", "hold")
        assert await tx.reading.tax_shares("ch_1", "usd") == {
            "refund-1": usd(30), "refund-2": usd(5),
        }  # fmt: skip
        await tx.release_reservations("refund-2", "hold")
        assert await tx.reading.tax_shares("ch_1", "usd") == {"refund-1": usd(30)}
        assert await tx.reading.tax_shares("ch_2", "usd") == {}
