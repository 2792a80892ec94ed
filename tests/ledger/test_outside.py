"""What the provider did without us is written down once, whoever hears of it, on both databases."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from activities.facts import remainder_of
from activities.outside import OutsideNews
from activities.provider import Provider, ProviderMisconfigured
from audit.verify import verify
from domain.canonical import instant, plain
from domain.cases import CaseEvent, CaseKind, EventKind, Outcome, case_id_for
from domain.decisions import RefundMethod
from domain.money import Money
from domain.provider import (
    SEND,
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
    created_at=AT,
    case_id="",
    reference="",
    failure_reason="declined",
)
REFERENCE = "74000000000000000000003"
OURS = case_id_for(CaseKind.REFUND, "req-1")
STANDS = BY_HAND.model_copy(
    update={
        "id": "re_1",
        "case_id": OURS,
        "step": SEND,
        "status": RefundStatus.SUCCEEDED,
        "amount": usd(2_500),
        "reference": REFERENCE,
        "failure_reason": "",
    }
)
"""The refund that a case of ours gave, as the provider lists it."""
OPENING = case_id_for(CaseKind.EXCEPTION, "du_1:opened")
LOSS = case_id_for(CaseKind.EXCEPTION, "du_1")


@pytest.fixture
async def other_books(migrated_file: Path, tmp_path: Path) -> AsyncIterator[Books]:
    """Beside ``sqlite_books``."""
    shutil.copy(migrated_file, tmp_path / "others.db")
    opened = await Books.open(f"sqlite+aiosqlite:///{tmp_path / 'others.db'}")
    yield opened
    await opened.close()


def facts(
    *refunds: ProviderRefund,
    chargeback: Chargeback | None = None,
    disputed: Money | None = None,
    disputed_at: datetime = AT + timedelta(days=20),
) -> ChargeFacts:
    """``chargeback`` is where the one dispute on the charge stands; None: there is none."""
    dispute = ProviderDispute(
        id="du_1",
        status=chargeback or Chargeback.NONE,
        amount=disputed or usd(2_500),
        created_at=disputed_at,
        respond_by=disputed_at + timedelta(days=14),
    )
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
        chargeback=dispute.status,
        disputes=() if chargeback is None else (dispute,),
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


async def test_a_crowd_that_hears_of_a_gift_in_a_cases_name_draws_it_once_and_gives_it_back_once(
    books: Books,
) -> None:
    await Refund(case_id=OURS).refunded(books)
    gift = BY_HAND.model_copy(update={"case_id": OURS})
    alive = gift.model_copy(update={"status": RefundStatus.SUCCEEDED})
    for n, (refund, left) in enumerate([(alive, [usd(1_000)]), (gift, [])]):
        await told(books, f"evt_{n}", "refund.updated", BY_HAND.id)
        await asyncio.gather(*(news(books, facts(refund, STANDS)).note_due() for _ in range(CROWD)))
        async with books.reading() as reading:
            drawn = await reading.reservations(ReservationScope.AUTHORITY, OURS, "usd")
        assert [each.amount for each in drawn] == left
    assert (await verify(books)).is_clean


@pytest.mark.parametrize("status", [RefundStatus.SUCCEEDED, RefundStatus.FAILED])
async def test_a_refund_of_ours_whose_name_was_taken_off_it_is_ours_still(
    sqlite_books: Books, status: RefundStatus
) -> None:
    await Refund(case_id=OURS).refunded(sqlite_books)
    unnamed = STANDS.model_copy(update={"case_id": "", "status": status})
    for n in range(2):
        await told(sqlite_books, f"evt_{n}", "refund.updated", "re_1")
        await news(sqlite_books, facts(unnamed)).note_due()
    async with sqlite_books.reading() as reading:
        kinds = [x.kind.value for x in await reading.ledger_transactions()]
        assert await reading.inbox(OUTSIDE) == []
    came_back = ["reversal"] if status is RefundStatus.FAILED else []
    assert sorted(kinds) == ["hold", "post", *came_back]
    assert (await verify(sqlite_books)).is_clean


@pytest.mark.parametrize("is_over", [False, True])
async def test_a_refund_of_another_charge_is_not_given_for_the_case_whose_name_it_bears(
    sqlite_books: Books, is_over: bool
) -> None:
    elsewhere = Refund(case_id=OURS, charge="ch_2")
    async with sqlite_books.transaction() as tx:
        await elsewhere.open_and_decide(tx)
    if is_over:
        async with sqlite_books.transaction() as tx:
            await elsewhere.void(tx)
    await told(sqlite_books, "evt_1", "refund.created", "re_1")
    assert await news(sqlite_books, facts(STANDS)).note_due() == 1
    async with sqlite_books.reading() as reading:
        assert await reading.case(case_id_for(CaseKind.EXCEPTION, "re_1")) is not None
        assert EventKind.LINKED not in {e.kind for e in await reading.events(OURS)}


@pytest.mark.parametrize("about", [["re_1"], [OURS, "re_1"], [OURS]])
async def test_what_bears_the_name_of_a_case_that_may_yet_order_is_left_for_it_to_find(
    sqlite_books: Books, about: list[str]
) -> None:
    async with sqlite_books.transaction() as tx:
        await Refund(case_id=OURS).open_and_decide(tx)
        await tx.take_inbox(
            event_id="evt_1", event_type="refund.failed", object_ids=about, at=AT, state=OUTSIDE
        )
    assert await news(sqlite_books, facts(STANDS)).note_due() == 0
    async with sqlite_books.reading() as reading:
        assert await reading.case(case_id_for(CaseKind.EXCEPTION, "re_1")) is None


class Fails(Says):
    """A provider that cannot be asked about one refund."""

    def __init__(self, charge: ChargeFacts, error: Exception) -> None:
        super().__init__(charge)
        self.error = error

    async def refund(self, refund_id: str) -> ProviderRefund:
        if refund_id == "re_unreadable":
            raise self.error
        return await super().refund(refund_id)


async def test_an_event_that_cannot_be_judged_stays_and_stops_no_other(books: Books) -> None:
    await told(books, "evt_1", "refund.updated", "re_unreadable")
    await told(books, "evt_2", "refund.created", BY_HAND.id)
    provider = Fails(facts(BY_HAND), ValueError("an object of another shape"))
    for done in (1, 0):
        assert await OutsideNews(books, cast(Provider, provider)).note_due() == done
    async with books.reading() as reading:
        assert [row.event_id for row in await reading.inbox(OUTSIDE)] == ["evt_1"]


@pytest.mark.parametrize("error", [ProviderMisconfigured("the key is refused"), OSError("gone")])
async def test_what_no_event_would_get_past_is_not_taken_for_one_events_fault(
    sqlite_books: Books, error: Exception
) -> None:
    await told(sqlite_books, "evt_1", "refund.updated", "re_unreadable")
    with pytest.raises(type(error)):
        await OutsideNews(sqlite_books, cast(Provider, Fails(facts(BY_HAND), error))).note_due()


# -- what is left of a charge, whoever gave of it ------------------------------------------

BESIDE = STANDS.model_copy(update={"id": "re_2", "amount": usd(100), "step": ""})
"""A second refund in the name of our case, by hand."""
DEAD = STANDS.model_copy(update={"status": RefundStatus.FAILED})


@pytest.mark.parametrize(
    ("how", "listed", "left"),
    [
        ("held", [], 1_000),
        ("held", [STANDS], 1_000),  # ordered, and the answer lost
        ("held", [DEAD], 2_500),
        ("held", [DEAD.model_copy(update={"step": ""})], 1_000),  # by hand, and taken back
        ("held", [BESIDE], 1_000),  # the case, if it is sent, finds it and stops
        ("posted", [STANDS], 1_000),
        ("posted", [DEAD], 2_500),
        ("posted", [STANDS, BESIDE], 900),
        ("posted", [DEAD, BESIDE], 2_400),
        ("credit held", [], 1_000),
        ("credit held", [BESIDE], 900),  # ordered, and the answer lost: no refund is it
        ("credit", [], 1_000),
        ("credit", [BESIDE], 900),
        ("credit", [BESIDE.model_copy(update={"status": RefundStatus.FAILED})], 1_000),
    ],
)
async def test_each_cent_of_a_charge_is_counted_once_whatever_name_it_bears(
    sqlite_books: Books, how: str, listed: list[ProviderRefund], left: int
) -> None:
    ours = Refund(case_id=OURS, amount=usd(1_500))
    if "credit" in how:
        ours = replace(ours, method=RefundMethod.ACCOUNT_CREDIT, provider_id="cbtxn_1")
    if "held" in how:
        async with sqlite_books.transaction() as tx:
            await ours.open_and_decide(tx)
    else:
        await ours.settling(sqlite_books)
    refunds = [
        each.model_copy(update={"amount": usd(1_500)}) if each.id == "re_1" else each
        for each in listed
    ]
    async with sqlite_books.reading() as reading:
        assert await remainder_of(reading, facts(*refunds)) == usd(left)


async def test_credit_is_evidence_also_beside_a_refund_in_its_name(sqlite_books: Books) -> None:
    await given(sqlite_books, "credit")
    await told(sqlite_books, "evt_1", "charge.dispute.created", "ch_1")
    await news(sqlite_books, facts(BESIDE, chargeback=Chargeback.OPEN)).note_due()
    record = await record_of(sqlite_books)
    assert record is not None
    movements = [(each["provider_id"], each["case_id"]) for each in record["movements"]]
    assert movements == [("re_2", ""), ("cbtxn_1", OURS)]


async def test_news_behind_more_than_a_page_of_what_must_wait_is_looked_into(books: Books) -> None:
    waiting = Refund()
    async with books.transaction() as tx:
        await waiting.open_and_decide(tx)
    async with books.transaction() as tx:
        await waiting.approve(tx)
    for n in range(150):
        await told(books, f"evt_{n:03}", "charge.dispute.updated", "ch_1")
    await told(books, "evt_behind", "refund.created", BY_HAND.id)
    charge = facts(BY_HAND, chargeback=Chargeback.OPEN)
    assert await news(books, charge).note_due() == 1
    async with books.reading() as reading:
        assert len(await reading.inbox(OUTSIDE, limit=1_000)) == 150
        assert await reading.case(case_id_for(CaseKind.EXCEPTION, BY_HAND.id)) is not None


async def test_a_crowd_that_hears_of_one_lost_chargeback_records_it_once(books: Books) -> None:
    await Refund(case_id=OURS).settling(books)
    await told(books, "evt_1", "charge.dispute.created", "ch_1")
    await told(books, "evt_2", "charge.dispute.closed", "ch_1")
    charge = facts(STANDS, chargeback=Chargeback.LOST)
    await asyncio.gather(*(news(books, charge).note_due() for _ in range(CROWD)))
    async with books.reading() as reading:
        noticed = await reading.event(LOSS, "notice")
        kinds = [e.kind for e in await reading.events(OURS)]
        links = [e.body["case_id"] for e in await reading.events(OPENING) if "link" in e.step]
    assert noticed is not None
    assert Money.model_validate(noticed.body["sum"]) == usd(5_000)
    assert noticed.body["follows"] == OPENING
    assert (noticed.body["cases"], links) == ([OURS, OPENING], [LOSS])
    assert kinds.count(EventKind.CHARGEBACK_SEEN) == 1
    assert kinds.count(EventKind.LINKED) == 2
    assert (await verify(books)).is_clean


# -- a chargeback about money that was given back before -----------------------------------


async def given(books: Books, how: str) -> list[ProviderRefund]:
    """A case up to where it gave its money, and how the provider lists it."""
    refund = Refund(case_id=OURS)
    if how == "credit":
        credit = replace(refund, method=RefundMethod.ACCOUNT_CREDIT, provider_id="cbtxn_1")
        await credit.settling(books)
        async with books.transaction() as tx:
            await credit.close(tx, Outcome.CREDITED, 2)
        return []
    await (refund.refunded(books) if how == "confirmed" else refund.settling(books))
    return [STANDS]


async def record_of(books: Books) -> dict[str, Any] | None:
    """What was put before finance of the opening, if it was."""
    async with books.reading() as reading:
        noticed = await reading.event(OPENING, "notice")
    return None if noticed is None else noticed.body


@pytest.mark.parametrize("how", ["accepted", "confirmed", "credit"])
@pytest.mark.parametrize("chargeback", [Chargeback.INQUIRY, Chargeback.OPEN, Chargeback.UNKNOWN])
async def test_a_chargeback_about_money_given_back_before_has_the_movement_as_its_evidence(
    books: Books, chargeback: Chargeback, how: str
) -> None:
    charge = facts(*await given(books, how), chargeback=chargeback)
    for n in range(2):
        await told(books, f"evt_{n}", "charge.dispute.created", "ch_1")
        await news(books, charge).note_due()
    by_credit = {
        "provider_id": "cbtxn_1", "reference": "", "given_at": instant(AT + timedelta(days=2)),
    }  # fmt: skip
    by_refund = {"provider_id": "re_1", "reference": REFERENCE, "given_at": instant(AT)}
    record = await record_of(books)
    assert record is not None
    assert record["movements"] == [
        {
            "case_id": OURS,
            "amount": plain(usd(2_500)),
            **(by_credit if how == "credit" else by_refund),
        }
    ]
    assert record["respond_by"] == instant(AT + timedelta(days=34))
    assert (record["provider_id"], record["cases"]) == ("du_1", [OURS])
    async with books.reading() as reading:
        (notice,) = await reading.outbox_of_case(OPENING)
        links = [e.body for e in await reading.events(OURS) if e.kind is EventKind.LINKED]
        assert await reading.case(LOSS) is None
        assert await reading.ledger_transactions(OPENING) == []
    assert (notice.topic, notice.body["to"]) == ("exception.chargeback_opened", "finance")
    assert notice.body["movements"] == record["movements"]
    assert links == [{"case_id": OPENING, "why": "chargeback_opened"}]
    assert (await verify(books)).is_clean


@pytest.mark.parametrize("chargeback", sorted(Chargeback))
@pytest.mark.parametrize("how", ["held", "failed"])
async def test_a_chargeback_on_a_charge_of_which_nothing_is_given_is_no_exception(
    sqlite_books: Books, how: str, chargeback: Chargeback
) -> None:
    refund = Refund(case_id=OURS)
    if how == "held":
        async with sqlite_books.transaction() as tx:
            await refund.open_and_decide(tx)
    else:
        await refund.settling(sqlite_books)
    sent = [] if how == "held" else [STANDS.model_copy(update={"status": RefundStatus.FAILED})]
    await told(sqlite_books, "evt_1", "charge.dispute.created", "ch_1")
    assert await news(sqlite_books, facts(*sent, chargeback=chargeback)).note_due() == 1
    async with sqlite_books.reading() as reading:
        assert await reading.case(OPENING) is await reading.case(LOSS) is None
    assert (await verify(sqlite_books)).is_clean


@pytest.mark.parametrize("how", ["accepted", "confirmed", "credit"])
@pytest.mark.parametrize("end", [Chargeback.WON, Chargeback.NONE, Chargeback.LOST])
async def test_a_chargeback_is_recorded_the_same_whether_it_is_heard_of_in_time_or_at_its_end(
    sqlite_books: Books, other_books: Books, end: Chargeback, how: str
) -> None:
    found = []
    in_time, late = (Chargeback.OPEN, end), (end, end)
    for each, heard in ((sqlite_books, in_time), (other_books, late)):
        refunds = await given(each, how)
        for n, status in enumerate(heard):
            await told(each, f"evt_{n}", "charge.dispute.created", "ch_1")
            await news(each, facts(*refunds, chargeback=status)).note_due()
        async with each.reading() as reading:
            accounts = [await reading.events(id) for id in (OPENING, LOSS)]
            notices = [
                (row.topic, row.body)
                for id in (OPENING, LOSS)
                for row in await reading.outbox_of_case(id)
            ]
        found.append(([[(e.step, e.body) for e in account] for account in accounts], notices))
        assert (await verify(each)).is_clean
    assert found[0] == found[1]
    opening, loss = found[0][0]
    assert len(opening) == (4 if end is Chargeback.LOST else 3)
    assert len(loss) == (3 if end is Chargeback.LOST else 0)


@dataclass(frozen=True)
class Later(Refund):
    """All of it so much later."""

    by: timedelta = timedelta()

    def event(self, *args: Any, **fields: Any) -> CaseEvent:
        made = super().event(*args, **fields)
        return made.model_copy(update={"occurred_at": made.occurred_at + self.by})


ONE_SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("after", "is_evidence"),
    [
        (-ONE_SECOND, True),
        (timedelta(), True),
        (ONE_SECOND - timedelta.resolution, True),  # the provider tells whole seconds
        (ONE_SECOND, False),
    ],
)
@pytest.mark.parametrize("end", [Chargeback.WON, Chargeback.NONE])
@pytest.mark.parametrize("how", ["refund", "credit"])
async def test_what_was_given_after_a_chargeback_that_was_not_lost_is_no_evidence_in_it(
    sqlite_books: Books, how: str, end: Chargeback, after: timedelta, is_evidence: bool
) -> None:
    began = AT + timedelta(days=2)
    sent = []
    if how == "refund":
        sent = [STANDS.model_copy(update={"created_at": began + after})]
    else:
        await Later(case_id=OURS, method=RefundMethod.ACCOUNT_CREDIT, by=after).settling(
            sqlite_books
        )
    await told(sqlite_books, "evt_1", "charge.dispute.created", "ch_1")
    await news(sqlite_books, facts(*sent, chargeback=end, disputed_at=began)).note_due()
    assert (await record_of(sqlite_books) is not None) is is_evidence


async def test_what_others_gave_back_is_evidence_too_and_their_own_names_are_not_taken_for_cases(
    sqlite_books: Books,
) -> None:
    theirs = STANDS.model_copy(update={"id": "re_2", "case_id": "ticket 7\x00"})
    forgotten = STANDS.model_copy(update={"id": "re_3"})  # of a case that the books do not know
    by_hand = STANDS.model_copy(update={"id": "re_4", "case_id": ""})
    await told(sqlite_books, "evt_1", "charge.dispute.created", "ch_1")
    charge = facts(theirs, forgotten, by_hand, chargeback=Chargeback.OPEN)
    await news(sqlite_books, charge).note_due()
    record = await record_of(sqlite_books)
    assert record is not None
    named = [(each["provider_id"], each["case_id"]) for each in record["movements"]]
    assert named == [("re_2", ""), ("re_3", OURS), ("re_4", "")]
    assert record["cases"] == []
    assert (await verify(sqlite_books)).is_clean


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
