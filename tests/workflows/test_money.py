"""The money side of a refund: parts and their tax, other currencies, and what moves without us."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from activities.outside import OutsideNews
from activities.provider import chargeback_of
from audit.verify import verify
from client import CaseHandle
from domain.cases import CaseKind, EventKind, Language, Outcome, Status, case_id_for
from domain.decisions import RefundMethod
from domain.errors import InvalidRequest
from domain.money import Money, Rounding, total
from domain.provider import Chargeback
from domain.texts import day_in_words
from ledger import postings
from ledger.books import Books
from ledger.in_words import bank_letter, status_in_words
from ledger.records import OUTSIDE, OutboxRow, ReservationScope
from tests.workflows.builders import LEAD, MEDIUM, SMALL, a_charge, unique
from tests.workflows.world import BY_HAND, Case, WebProcess, World


async def accepted(world: World, case: Case) -> dict[str, object]:
    (event,) = [e for e in await world.events(case) if e.step == "accept"]
    return event.body


async def tax_of(world: World, case: Case) -> Money:
    """The tax share, which decision, order and the customer's notice all tell alike."""
    tax = Money.model_validate((await accepted(world, case))["tax"])
    async with world.stack.books.reading() as reading:
        decision = await reading.decision(case.id)
        (notice,) = [
            row for row in await reading.outbox_of_case(case.id) if row.topic == "case.accepted"
        ]
    assert decision is not None
    told = [decision.outcome["made"]["tax"], notice.body["tax"]]
    assert [Money.model_validate(each) for each in told] == [tax, tax]
    assert notice.body["to"] == "customer"
    return tax


def nobodys(world: World, charge: dict[str, str]) -> Case:
    """A charge that nobody has asked us for."""
    return Case(CaseHandle(world.client, "none"), charge["customer"], charge["charge"])


def usd(amount_minor: int) -> Money:
    return Money(amount_minor=amount_minor, currency="usd")


# -- parts and their tax -------------------------------------------------------------------


async def test_stacked_refunds_state_their_tax_and_never_pass_the_charge(world: World) -> None:
    charge = await a_charge(world.stack, amount=6_200, metadata={"tax_minor": "1000"})
    shares = []
    for amount in (3_200, 900, 800, 300, 600, 300):
        case = await world.open_settling(charge, amount_minor=amount)
        shares.append(await tax_of(world, case))
    assert [share.amount_minor for share in shares] == [516, 145, 129, 49, 96, 49]
    with pytest.raises(InvalidRequest, match=r"1 to 100") as refused:
        await world.open_decided(charge, amount_minor=200)
    assert refused.value.field == "amount_minor"
    last = await world.open_settling(charge, amount_minor=100)
    shares.append(await tax_of(world, last))
    assert total(shares, "usd") == usd(1_000)
    with pytest.raises(InvalidRequest, match="nothing is left"):
        await world.open_decided(charge, amount_minor=100)


async def test_a_refund_that_is_only_held_counts_for_the_tax_of_the_next(world: World) -> None:
    charge = await a_charge(world.stack, amount=10_000, metadata={"tax_minor": "99"})
    waiting = await world.open_decided(charge, amount_minor=5_050)  # a person is asked
    next_case = await world.open_settling(charge, amount_minor=4_950)
    async with world.stack.books.reading() as reading:
        shares = await reading.tax_shares(charge["charge"], "usd")
    assert shares == {waiting.id: usd(50), next_case.id: usd(49)}


async def test_a_refund_made_by_hand_counts_for_the_tax_of_the_next(world: World) -> None:
    charge = await a_charge(world.stack, amount=10_000, metadata={"tax_minor": "1001"})
    await world.outside_refund(nobodys(world, charge), 5_000)  # 501 of the tax, by its share
    case = await world.open_settling(charge, amount_minor=5_000)
    assert await tax_of(world, case) == usd(500)


async def test_a_refund_that_failed_gives_its_tax_back(world: World) -> None:
    charge = await a_charge(world.stack, amount=2_000, metadata={"tax_minor": "400"})
    first = await world.open_settling(charge, amount_minor=2_000)
    assert await tax_of(world, first) == usd(400)
    looks, _ = await world.looks(first)
    await world.at_bank(first, status="failed", failure_reason="expired_or_canceled_card")
    await world.advance_past(first, looks[0])
    assert (await world.result(first)).outcome is Outcome.FAILED_AT_BANK
    again = await world.open_settling(charge, amount_minor=1_000)
    assert await tax_of(world, again) == usd(200)


@pytest.mark.parametrize("written", ["", "-1", "1.5", "none", "2001", "9" * 40])
async def test_what_the_provider_keeps_that_is_no_tax_of_the_charge_is_no_tax(
    world: World, written: str
) -> None:
    metadata = {"tax_minor": written} if written else {}
    charge = await a_charge(world.stack, amount=2_000, metadata=metadata)
    assert (await world.stack.provider.charge(charge["charge"])).tax is None


@pytest.mark.parametrize("tax", [0, 2_000])
async def test_tax_is_from_nothing_to_the_whole_charge(world: World, tax: int) -> None:
    charge = await a_charge(world.stack, amount=2_000, metadata={"tax_minor": str(tax)})
    case = await world.open_settling(charge, amount_minor=1_000)
    assert await tax_of(world, case) == Money(amount_minor=tax, currency="usd").share(
        5_000, Rounding.HALF_UP
    )


LOYAL = {"tier": "gold", "account_days": 10}


@pytest.mark.parametrize(("told", "share"), [(None, 0), (0, 0), (333, 167), (2_000, 1_000)])
async def test_a_caller_tells_the_tax_where_the_provider_does_not(
    world: World, told: int | None, share: int
) -> None:
    attributes = {**LOYAL, "tax_minor": told}
    case = await world.open_settling(
        {"amount": 2_000}, amount_minor=1_000, policy="loyalty", attributes=attributes
    )
    assert await tax_of(world, case) == usd(share)


@pytest.mark.parametrize("told", [-1, 2_001])
async def test_a_caller_whose_tax_is_not_in_the_charge_is_told_what_is_allowed(
    world: World, told: int
) -> None:
    attributes = {**LOYAL, "tax_minor": told}
    with pytest.raises(InvalidRequest, match="0 to 2000") as refused:
        await world.open_decided(
            {"amount": 2_000}, amount_minor=1_000, policy="loyalty", attributes=attributes
        )
    assert refused.value.field == "attributes.tax_minor"


async def test_what_the_provider_says_of_tax_outranks_the_caller(world: World) -> None:
    attributes = {**LOYAL, "tax_minor": 1_000}
    case = await world.open_settling(
        {"amount": 2_000, "metadata": {"tax_minor": "200"}},
        amount_minor=1_000, policy="loyalty", attributes=attributes,
    )  # fmt: skip
    assert await tax_of(world, case) == usd(100)


# -- other currencies ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "captured", "tax", "parts", "shares"),
    [
        ("jpy", 6_200, 563, [1_000, 5_200], [91, 472]),
        ("kwd", 61_370, 5_579, [10_010, 51_360], [910, 4_669]),
    ],
)
async def test_a_charge_in_a_currency_without_decimals_or_with_three_is_refunded_in_parts(
    world: World, currency: str, captured: int, tax: int, parts: list[int], shares: list[int]
) -> None:
    charge = await a_charge(
        world.stack, amount=captured, currency=currency, metadata={"tax_minor": str(tax)}
    )
    found = []
    for part, share in zip(parts, shares, strict=True):
        case = await world.open_settling(charge, amount_minor=part, currency=currency)
        stated = await tax_of(world, case)
        assert (stated.amount_minor, stated.currency) == (share, currency)
        looks, _ = await world.looks(case)
        await world.at_bank(case, reference="74000000000000000000011")
        await world.advance_past(case, looks[0])
        assert (await world.result(case)).amount == Money(amount_minor=part, currency=currency)
        found.append(stated)
        (effect,) = await world.stack.effects(case.id)
        assert effect["response"]["amount"] == part
    assert total(found, currency) == Money(amount_minor=tax, currency=currency)


# -- refunds made outside ------------------------------------------------------------------


async def exception(world: World, key: str) -> Case | None:
    """The exception about an object of the provider."""
    case_id = case_id_for(CaseKind.EXCEPTION, key)
    async with world.stack.books.reading() as reading:
        row = await reading.case(case_id)
    return Case(CaseHandle(world.client, case_id), row.customer, row.charge) if row else None


async def notices(world: World, case: Case, to: str) -> list[OutboxRow]:
    async with world.stack.books.reading() as reading:
        rows = await reading.outbox_of_case(case.id)
    return [row for row in rows if row.body["to"] == to]


async def movements(world: World, case: Case) -> list[tuple[str, str, dict[str, int]]]:
    """Kind, provider's object and legs of each transaction of a case."""
    async with world.stack.books.reading() as reading:
        return [
            (x.kind.value, x.provider_id, {e.account: e.amount.amount_minor for e in x.entries})
            for x in await reading.ledger_transactions(case.id)
        ]


async def told(world: World, event_type: str, subject: str) -> None:
    """An event in the inbox, as the web leaves it for the worker."""
    async with world.stack.books.transaction() as tx:
        await tx.take_inbox(
            event_id=unique("evt_"),
            event_type=event_type,
            object_ids=[subject],
            at=datetime(2026, 12, 1, 12, tzinfo=UTC),
            state=OUTSIDE,
        )


async def test_a_refund_made_in_the_dashboard_is_booked_once_and_put_before_finance(
    world: World, web: WebProcess
) -> None:
    charge = await a_charge(world.stack, amount=10_000)
    refund = await world.outside_refund(nobodys(world, charge), 4_000)
    await world.noted()
    case = await exception(world, refund)
    assert case is not None
    row = await world.row(case)
    assert (row.kind, row.status, row.outcome) == (
        CaseKind.EXCEPTION, Status.CLOSED, Outcome.RECORDED,
    )  # fmt: skip
    assert (row.amount_minor, row.currency, row.provider_id) == (4_000, "usd", refund)
    booked = {"expense:refunds:outside": 4_000, "provider:stripe": -4_000}
    assert await movements(world, case) == [("outside", refund, booked)]
    (notice,) = await notices(world, case, "finance")
    assert notice.topic == "exception.outside_refund"
    assert notice.body["charge"] == charge["charge"]
    assert await notices(world, case, "customer") == []
    await world.noted()  # whatever comes later
    assert len(await movements(world, case)) == 1
    with pytest.raises(InvalidRequest, match=r"1 to 6000"):
        await world.open_decided(charge, amount_minor=6_001)
    await world.assert_sound()


async def test_a_refund_that_another_system_names_in_its_own_way_is_booked_as_made_outside(
    world: World, web: WebProcess
) -> None:
    charge = await a_charge(world.stack, amount=10_000)
    refund = await world.outside_refund(
        nobodys(world, charge), 4_000, case_id="7f9c24e5-2f3a-4a1b-9d57-8f2f0c1f2a10"
    )
    await world.noted()
    case = await exception(world, refund)
    assert case is not None
    assert [(kind, id) for kind, id, _ in await movements(world, case)] == [("outside", refund)]
    assert [n.topic for n in await notices(world, case, "finance")] == ["exception.outside_refund"]
    await world.stack.control(f"refunds/{refund}", {"status": "failed"})
    await world.noted()
    assert await exception(world, f"{refund}:failed") is not None
    await world.assert_sound()


async def test_a_refund_that_names_a_case_that_the_books_do_not_know_is_not_booked_as_made_outside(
    world: World, web: WebProcess
) -> None:
    charge = await a_charge(world.stack, amount=10_000)
    forgotten = case_id_for(CaseKind.REFUND, unique("forgotten"))
    refund = await world.outside_refund(nobodys(world, charge), 4_000, case_id=forgotten)
    await world.stack.control(f"refunds/{refund}", {"status": "failed"})
    await world.noted()
    assert await exception(world, refund) is None


async def test_a_refund_made_in_the_dashboard_that_fails_is_reversed_and_linked(
    world: World, web: WebProcess
) -> None:
    charge = await a_charge(world.stack, amount=10_000)
    refund = await world.outside_refund(nobodys(world, charge), 4_000)
    await world.noted()
    await world.stack.control(
        f"refunds/{refund}", {"status": "failed", "failure_reason": "declined"}
    )
    await world.noted()
    made, failed = await exception(world, refund), await exception(world, f"{refund}:failed")
    assert made is not None
    assert failed is not None
    back = {"expense:refunds:outside": -4_000, "provider:stripe": 4_000}
    assert await movements(world, failed) == [("reversal", refund, back)]
    (noticed,) = [e for e in await world.events(failed) if e.kind is EventKind.NOTICED]
    (linked,) = [e for e in await world.events(made) if e.kind is EventKind.LINKED]
    assert noticed.body["cases"] == [made.id]
    assert noticed.body["failure_reason"] == "declined"
    assert linked.body["case_id"] == failed.id
    assert len(await notices(world, failed, "finance")) == 1
    await world.assert_sound()


@pytest.mark.parametrize("reference", ["", "74000000000000000000009"], ids=["silence", "reference"])
async def test_what_the_bank_sends_back_after_the_end_is_booked_back_once(
    world: World, web: WebProcess, reference: str
) -> None:
    charge = await a_charge(world.stack, amount=10_000, refund_behaviour="silent")
    courtesy = {"amount_minor": 10_000, "reason": "courtesy", "language": "es"}
    case = await world.open_settling(charge, **courtesy)
    if reference:
        await world.at_bank(case, reference=reference)
    for instant in (await world.looks(case))[0]:
        await world.advance_past(case, instant)
    assert (await world.result(case)).outcome is Outcome.REFUNDED
    before = await world.account(case)
    await world.plan(mode="duplicated", type="refund.failed")
    await world.at_bank(case, status="failed", failure_reason="expired_or_canceled_card")
    await world.noted()
    await world.noted()

    refund = await world.refund_id(case)
    late = await exception(world, f"{refund}:failed")
    assert late is not None
    back = {"expense:refunds:courtesy": -10_000, "provider:stripe": 10_000}
    assert await movements(world, late) == [("reversal", refund, back)]
    (told,) = await notices(world, late, "finance")
    assert told.topic == "exception.refund_failed_late"
    said = [n.body for n in await notices(world, case, "customer") if n.topic == "case.failed_late"]
    assert [body["in_words"] for body in said] == [
        "Su banco devolvió el reembolso de 100,00\xa0US$. Le contactaremos para buscar otra vía."
    ]
    after = await world.account(case)
    assert (await world.steps(case))[len(before["events"]) :] == [f"link:{late.id}"]
    assert (after["row"]["outcome"], after["money"]) == ("refunded", before["money"])
    states = {each["scope"]: each["state"] for each in after["reservations"]}
    assert states == {"charge": "released", "concessions": "released"}

    again = await world.open_decided(charge, **courtesy)
    assert (await world.row(again)).amount_minor == 10_000
    async with world.stack.books.reading() as reading:
        given = await reading.reservations(ReservationScope.CONCESSIONS, case.customer, "usd")
    assert [each.case_id for each in given] == [again.id], "what came back is no concession"
    await world.assert_sound()


EVENTS = ("refund.created", "refund.updated", "refund.failed")


@pytest.mark.parametrize("heard_before_it_failed", [0, 1, 2])
@pytest.mark.parametrize("order", list(permutations(EVENTS)), ids=lambda order: order[0])
async def test_a_failed_outside_refund_is_booked_the_same_in_every_order_of_its_webhooks(
    world: World, order: tuple[str, ...], heard_before_it_failed: int
) -> None:
    charge = await a_charge(world.stack, amount=10_000)
    refund = await world.outside_refund(nobodys(world, charge), 4_000)
    news = OutsideNews(world.stack.books, world.stack.provider)
    for heard, event_type in enumerate((*order, *order)):  # each of them twice
        if heard == heard_before_it_failed:
            await world.stack.control(f"refunds/{refund}", {"status": "failed"})
        await told(world, event_type, refund)
        await news.note_due()
    found = []
    for key in (refund, f"{refund}:failed"):
        case = await exception(world, key)
        assert case is not None
        found += [(kind, id) for kind, id, _ in await movements(world, case)]
        assert len(await notices(world, case, "finance")) == 1
    assert found == [("outside", refund), ("reversal", refund)]


async def test_a_refund_of_ours_is_not_booked_as_made_outside(
    world: World, web: WebProcess
) -> None:
    case = await world.open_settling()
    refund = await world.refund_id(case)
    await world.noted()
    await told(world, "refund.created", refund)
    await world.noted()
    assert await exception(world, refund) is None
    assert [kind for kind, _, _ in await movements(world, case)] == ["hold", "post"]


async def test_news_of_what_the_provider_does_not_know_is_done_with(world: World) -> None:
    await told(world, "refund.created", "re_of_another_account")
    await told(world, "charge.dispute.created", "ch_of_another_account")
    await OutsideNews(world.stack.books, world.stack.provider).note_due()
    assert await world.inbox(OUTSIDE) == []
    assert len(await world.inbox("no_object")) >= 2


async def test_news_waits_while_the_provider_is_away(world: World, web: WebProcess) -> None:
    await world.noted()
    await world.plan(mode="dropped", type="refund.created")
    charge = await a_charge(world.stack, amount=10_000)
    refund = await world.outside_refund(nobodys(world, charge), 4_000)
    await told(world, "refund.created", refund)
    fault = {"method": "GET", "path": f"/v1/refunds/{refund}", "kind": "status_503", "count": 1}
    await world.stack.control("faults", fault)
    news = OutsideNews(world.stack.books, world.stack.provider)
    assert (await news.note_due(), await exception(world, refund)) == (0, None)
    assert await news.note_due() == 1
    assert await exception(world, refund) is not None


async def test_a_booking_as_outside_that_nothing_was_noticed_of_is_found(
    world: World, fresh_books: Books
) -> None:
    at = datetime(2026, 12, 1, tzinfo=UTC)
    async with fresh_books.transaction() as tx:
        await tx.post(
            postings.outside("exception-x", "outside", usd(100), RefundMethod.ORIGINAL, "re_1", at)
        )
    findings = (await verify(fresh_books)).findings
    assert any("no noticed event tells of it" in finding.sentence for finding in findings)


# -- the chargeback interlock --------------------------------------------------------------

TURNS = [
    ("needs_response", (), Chargeback.OPEN),
    ("under_review", (), Chargeback.OPEN),
    ("lost", (), Chargeback.LOST),
    ("needs_response", ("lost",), Chargeback.LOST),
    ("needs_response", ("won",), Chargeback.WON),
    ("needs_response", ("under_review", "won"), Chargeback.WON),
    ("warning_needs_response", (), Chargeback.INQUIRY),
    ("warning_needs_response", ("warning_under_review",), Chargeback.INQUIRY),
    ("warning_needs_response", ("warning_closed",), Chargeback.NONE),
    ("warning_needs_response", ("needs_response",), Chargeback.OPEN),
    ("prevented", (), Chargeback.WON),
]
FREEZES = {Chargeback.OPEN, Chargeback.LOST}
turns = pytest.mark.parametrize(
    ("first", "then", "chargeback"), TURNS, ids=["-".join((f, *t)) for f, t, _ in TURNS]
)


@pytest.mark.parametrize(
    ("words", "chargeback"),
    [
        ([], Chargeback.NONE),
        (["appeal_needs_response"], Chargeback.UNKNOWN),
        (["a_word_of_next_year"], Chargeback.UNKNOWN),
        (["won", "a_word_of_next_year"], Chargeback.UNKNOWN),
        (["won", "warning_needs_response"], Chargeback.INQUIRY),
        (["warning_under_review", "under_review", "won"], Chargeback.OPEN),
        (["needs_response", "lost"], Chargeback.LOST),
        (["warning_closed", "charge_refunded"], Chargeback.NONE),
    ],
)
def test_of_several_chargebacks_the_gravest_counts_and_a_new_word_is_unknown(
    words: list[str], chargeback: Chargeback
) -> None:
    assert chargeback_of(words) is chargeback


@turns
async def test_a_chargeback_freezes_the_decision_or_does_not(
    world: World, first: str, then: tuple[str, ...], chargeback: Chargeback
) -> None:
    charge = await a_charge(world.stack)
    dispute = await world.dispute(nobodys(world, charge), status=first)
    for status in then:
        await world.turn(dispute, status)
    assert (await world.stack.provider.charge(charge["charge"])).chargeback is chargeback
    case = await world.open_decided(charge)
    if chargeback in FREEZES:
        assert (await world.row(case)).outcome is Outcome.REFUSED
    else:
        await world.until(case, Status.SETTLING)
    assert await world.effects(case) == (0 if chargeback in FREEZES else 1)


@turns
async def test_a_chargeback_freezes_the_order_or_does_not_and_the_desk_is_told(
    world: World, web: WebProcess, first: str, then: tuple[str, ...], chargeback: Chargeback
) -> None:
    case = await world.open_decided(amount_minor=MEDIUM)
    dispute = await world.dispute(case, status=first)
    await world.noted()
    for status in then:
        await world.turn(dispute, status)
        await world.noted()
    seen = [e.body for e in await world.events(case) if e.kind is EventKind.CHARGEBACK_SEEN]
    assert seen[-1]["chargeback"] == chargeback.value
    assert seen[-1]["is_frozen"] is (chargeback in FREEZES)
    told_of = [n for n in await notices(world, case, "desk") if n.topic == "case.chargeback"]
    assert [n.body["chargeback"] for n in told_of] == [body["chargeback"] for body in seen]
    assert told_of[-1].body["in_words"]
    is_urgent = chargeback is Chargeback.INQUIRY
    assert (await world.row(case)).priority == ("urgent" if is_urgent else "normal")
    assert await world.signals(case) == 0, "nothing of it is under way, nothing to look for"
    await case.handle.approve(LEAD)
    if chargeback in FREEZES:
        assert (await world.result(case)).outcome is Outcome.REJECTED_BY_PROVIDER
        assert (await world.row(case)).reason_key == "charge_disputed"
    else:
        await world.until(case, Status.SETTLING)
    assert await world.effects(case) == (0 if chargeback in FREEZES else 1)


async def test_a_turn_that_is_told_twice_is_written_down_once(
    world: World, web: WebProcess
) -> None:
    case = await world.open_decided(amount_minor=MEDIUM)
    await world.plan(mode="duplicated", type="charge.dispute.created")
    await world.dispute(case)
    await world.noted()
    await told(world, "charge.dispute.created", case.charge)
    await world.noted()
    assert (await world.steps(case)).count("chargeback#1") == 1
    assert "chargeback#2" not in await world.steps(case)


async def test_a_chargeback_has_a_case_look_whose_money_is_under_way(
    world: World, web: WebProcess
) -> None:
    case = await world.open_settling({"refund_behaviour": "stuck"})
    await world.plan(mode="dropped", type="refund.failed")
    await world.plan(mode="dropped", type="refund.updated")
    await world.dispute(case)  # the pending refund fails of it
    assert (await world.result(case)).outcome is Outcome.FAILED_AT_BANK
    assert await world.signals(case) == 1


async def test_evidence_that_is_only_staged_is_no_news(world: World, web: WebProcess) -> None:
    case = await world.open_settling({"refund_behaviour": "silent"})
    dispute = await world.dispute(case, status="warning_needs_response")
    await world.noted()
    signals = await world.signals(case)
    answer = await world.stack.http.post(
        f"{world.stack.sandbox_url}/v1/disputes/{dispute}",
        data={"evidence[uncategorized_text]": "it was delivered", "submit": "false"},
        headers=BY_HAND,
    )
    answer.raise_for_status()
    await world.noted()
    assert await world.signals(case) == signals == 1
    assert (await world.steps(case)).count("chargeback#2") == 0


async def lost_after(world: World, **fields: Any) -> tuple[Case, Case]:
    """A refund that was accepted, and the exception of the chargeback lost after it."""
    case = await world.open_decided({"amount": SMALL}, **fields)
    await world.until(case, Status.SETTLING, Status.CLOSED)
    before = await movements(world, case)
    dispute = await world.dispute(case)
    await world.noted()
    assert await exception(world, dispute) is None, "it is not lost yet"
    await world.turn(dispute, "lost")
    await world.noted()
    found = await exception(world, dispute)
    assert found is not None
    assert await movements(world, case) == before
    assert await movements(world, found) == [], "no movement is started"
    assert await world.effects(case) == 1
    return case, found


@pytest.mark.parametrize("consents", [False, True], ids=["refund", "credit"])
async def test_a_chargeback_lost_after_the_money_was_given_back_is_an_exception(
    world: World, web: WebProcess, consents: bool
) -> None:
    case, found = await lost_after(world, consents_to_credit=consents)
    (noticed,) = [e.body for e in await world.events(found) if e.kind is EventKind.NOTICED]
    money = {name: noticed[name]["amount_minor"] for name in ("captured", "sum", "above_captured")}
    assert money == {"captured": SMALL, "sum": 5_370, "above_captured": SMALL}
    (given,) = noticed["movements"]
    row = await world.row(case)
    assert (given["case_id"], given["provider_id"]) == (case.id, row.provider_id)
    (notice,) = await notices(world, found, "finance")
    assert notice.topic == "exception.chargeback_lost"
    assert notice.body["sum"]["amount_minor"] == 5_370
    opening = await exception(world, f"{noticed['provider_id']}:opened")
    assert opening is not None
    linked = [e.body["case_id"] for e in await world.events(case) if e.kind is EventKind.LINKED]
    assert (noticed["cases"], linked) == ([case.id, opening.id], [opening.id, found.id])
    assert noticed["follows"] == opening.id
    await world.noted()
    assert len(await world.events(found)) == 3, "it is recorded once"
    await world.assert_sound()


GAVE = ("accepted", "confirmed", "credit")


@pytest.mark.parametrize("how", GAVE)
@pytest.mark.parametrize("status", ["warning_needs_response", "needs_response"])
async def test_a_chargeback_that_opens_after_the_money_was_given_back_puts_it_before_finance(
    world: World, web: WebProcess, status: str, how: str
) -> None:
    case = await world.open_decided(
        {"amount": SMALL, "refund_behaviour": "silent"}, consents_to_credit=how == "credit"
    )
    row = await world.until(case, Status.SETTLING, Status.CLOSED)
    reference = ""
    if how == "confirmed":
        reference = "74000000000000000000015"
        await world.at_bank(case, reference=reference)
        await world.result(case)
    await world.plan(mode="duplicated", type="charge.dispute.created")
    dispute = await world.dispute(case, status=status)
    await world.noted()
    await told(world, "charge.dispute.created", case.charge)
    await world.noted()
    found = await exception(world, f"{dispute}:opened")
    assert found is not None
    (noticed,) = [e.body for e in await world.events(found) if e.kind is EventKind.NOTICED]
    (given,) = noticed["movements"]
    assert (given["case_id"], given["provider_id"], given["amount"]["amount_minor"]) == (
        case.id, row.provider_id, SMALL,
    )  # fmt: skip
    assert given["reference"] == reference
    assert given["given_at"]
    assert noticed["respond_by"]
    (notice,) = await notices(world, found, "finance")
    assert (notice.topic, notice.body["movements"]) == ("exception.chargeback_opened", [given])
    (linked,) = [e.body for e in await world.events(case) if e.kind is EventKind.LINKED]
    assert (noticed["cases"], linked["case_id"]) == ([case.id], found.id)
    assert (await movements(world, found), await exception(world, dispute)) == ([], None)
    assert (await world.row(found)).outcome is Outcome.RECORDED
    await world.assert_sound()


async def test_evidence_is_handed_to_finance_and_nothing_is_written_to_the_providers_dispute(
    world: World, web: WebProcess
) -> None:
    case = await world.open_settling({"amount": SMALL})
    dispute = await world.dispute(case)
    await world.noted()
    assert await exception(world, f"{dispute}:opened") is not None
    journal = (await world.stack.control("journal"))["entries"]
    assert [e for e in journal if e["method"] == "POST" and dispute in e["path"]] == []


async def test_a_chargeback_lost_on_a_charge_of_which_nothing_was_given_back_is_no_exception(
    world: World, web: WebProcess
) -> None:
    case = await world.open_decided(amount_minor=MEDIUM)
    dispute = await world.dispute(case, status="lost")
    await world.noted()
    assert await exception(world, dispute) is await exception(world, f"{dispute}:opened") is None
    assert "chargeback#1" in await world.steps(case)


async def test_a_chargeback_of_a_part_that_fits_beside_the_refund_is_told_as_within_the_charge(
    world: World, web: WebProcess
) -> None:
    case = await world.open_settling({"amount": 10_000}, amount_minor=4_000)
    dispute = await world.dispute(case, status="lost", amount=6_000)
    await world.noted()
    found = await exception(world, dispute)
    assert found is not None
    (noticed,) = [e.body for e in await world.events(found) if e.kind is EventKind.NOTICED]
    assert noticed["sum"]["amount_minor"] == 10_000
    assert noticed["above_captured"]["amount_minor"] == 0


# -- the letter for the bank ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("$26.85", "Amount: ", "Sent on: ")),
        ("es", ("26,85", "Importe: ", "Enviado el: ")),
        ("ko", ("26.85", "금액: ", "보낸 날짜: ")),
    ],
)
async def test_money_that_nobody_confirms_is_traced_with_a_letter_for_the_bank(
    world: World, language: str, words: tuple[str, ...]
) -> None:
    charge = {"refund_behaviour": "stuck", "statement_descriptor": "REDRESS SHOP"}
    case = await world.open_settling(charge, language=language)
    looks, _ = await world.looks(case)
    for instant in looks[:-1]:
        await world.advance_past(case, instant)
    assert [n.topic for n in await notices(world, case, "finance")] == [], "it is not time yet"
    await world.advance_past(case, looks[-1])
    row = await world.until(case, Status.TRACING)
    (sent,) = [e for e in await world.events(case) if e.step == "accept"]
    for to in ("customer", "finance"):
        (notice,) = [n for n in await notices(world, case, to) if n.topic == "case.trace_opened"]
        letter = notice.body["letter"]
        assert letter == bank_letter(row, sent)
        day = day_in_words(sent.occurred_at.date(), Language(language))
        for part in (*words, row.provider_id, "REDRESS SHOP", day, case.id):
            assert part in letter
        assert notice.body["in_words"] == status_in_words(row, accepted_at=sent.occurred_at)


async def test_money_that_went_without_a_word_needs_no_letter(world: World) -> None:
    case = await world.open_settling({"refund_behaviour": "silent"})
    looks, _ = await world.looks(case)
    for instant in looks:
        await world.advance_past(case, instant)
    assert (await world.result(case)).outcome is Outcome.REFUNDED
    told_of = [*await notices(world, case, "customer"), *await notices(world, case, "finance")]
    assert [n for n in told_of if "letter" in n.body] == []
