"""An order is given once, and a look says what the books say, whatever happens in between."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.provider import ProviderUnavailable
from audit.verify import verify
from domain.approvals import Action, Verdict
from domain.canonical import instant, parse_instant
from domain.cases import CaseKind, EventKind, Outcome, case_id_for
from domain.decisions import RefundMethod, RefundVerdict
from domain.provider import Chargeback, ChargeFacts
from domain.refunds import LinkInput, LookResult, SendResult, SendStatus
from ledger.in_words import status_in_words
from ledger.linked import way_taken
from tests.activities.office import CAPTURED, MONDAY, Case, Office
from tests.ledger.builders import (
    accepted_body,
    approval,
    decided_body,
    decision,
    event,
    opened,
    opened_body,
)
from tests.workflows.builders import FINANCE, LARGE, LEAD, MEDIUM, SMALL

ENDED = {"at_maximum": True}
TUESDAY = MONDAY + timedelta(days=1)
TICK = timedelta(microseconds=1)
REFERENCE = "7" + "0" * 22


async def settling(office: Office, **fields: Any) -> Case:
    case = await office.decided(**fields)
    assert (await office.send(case)).status is SendStatus.ACCEPTED
    return case


# -- send -----------------------------------------------------------------------------------


async def test_an_order_is_accepted_booked_and_told_with_its_dates_once(office: Office) -> None:
    case = await office.decided()
    first = await office.send(case)
    assert first.status is SendStatus.ACCEPTED
    assert first.outcome is None
    days = [MONDAY + timedelta(days=n) for n in (7, 10, 14)]
    assert [look.date() for look in first.looks] == [day.date() for day in days]
    assert [look.date() for look in first.trace_looks] == [date(2027, 3, 22), date(2027, 3, 29)]
    assert (await office.event(case, "accept")).body == {
        "provider_id": first.provider_id,
        "amount": {"amount_minor": SMALL, "currency": "usd"},
        "tax": {"amount_minor": 0, "currency": "usd"},
        "method": "original",
        "descriptor": (await office.provider.charge(case.charge)).descriptor,
        "looks": [instant(look) for look in first.looks],
        "trace_looks": [instant(look) for look in first.trace_looks],
        "expected": ["2027-03-08", "2027-03-15"],
    }
    assert await office.booked(case) == [("hold", ""), ("post", first.provider_id)]
    assert ("case.accepted", "customer") in await office.notices(case)
    assert {r.state.value for r in await reservations(office, case)} == {"posted"}
    assert await office.send(case) == first
    assert await office.effects(case) == 1


async def reservations(office: Office, case: Case) -> list[Any]:
    async with office.books.reading() as reading:
        return list(await reading.reservations_of_case(case.id))


async def test_the_looks_on_record_are_counted_when_an_order_is_sent_again(office: Office) -> None:
    case = await settling(office)
    await office.look(case, 1)
    await office.look(case, 2)
    assert (await office.send(case)).looked == 2


async def test_a_credit_is_given_and_ends_the_case_at_once(office: Office) -> None:
    case = await office.decided(consents_to_credit=True)
    given = await office.send(case)
    assert given == SendResult(
        status=SendStatus.ACCEPTED, provider_id=given.provider_id, outcome=Outcome.CREDITED
    )
    assert given.provider_id.startswith("cbtxn_")
    assert (await office.event(case, "accept")).body["expected"] == []
    assert (await office.row(case)).outcome is Outcome.CREDITED
    assert await office.send(case) == given
    assert await office.effects(case) == 1


@pytest.mark.parametrize("hours", [0, 25], ids=["at once", "when its key is forgotten"])
@pytest.mark.parametrize("credit", [False, True], ids=["refund", "credit"])
async def test_an_order_whose_answer_was_lost_is_found_and_not_repeated(
    office: Office, credit: bool, hours: int
) -> None:
    case = await office.decided(consents_to_credit=credit)
    await office.fault("lost_after_commit", case)
    with pytest.raises(ProviderUnavailable):
        await office.send(case)
    assert await office.booked(case) == [("hold", "")]
    await office.control("clock", {"customer": case.customer, "by_seconds": hours * 3600})
    sent = await office.send(case)
    assert sent.status is SendStatus.ACCEPTED
    assert await office.booked(case) == [("hold", ""), ("post", sent.provider_id)]
    assert await office.effects(case) == 1


@pytest.mark.parametrize("more", [-1, 1])
@pytest.mark.parametrize("credit", [False, True], ids=["refund", "credit"])
async def test_a_refund_of_another_amount_is_not_booked_as_this_one(
    office: Office, more: int, credit: bool
) -> None:
    case = await office.decided(consents_to_credit=credit)
    by_hand = office.credit_by_hand if credit else office.refund_by_hand
    await by_hand(case, case.made.amount.amount_minor + more, in_its_name=True)
    for _ in range(2):
        with pytest.raises(ApplicationError, match="and the decision is") as stopped:
            await office.send(case)
        assert (stopped.value.type, stopped.value.non_retryable) == ("AmountDiffers", False)
    assert await office.booked(case) == [("hold", "")]
    assert await office.effects(case) == 0, "nothing is ordered beside it"


async def test_a_refund_of_exactly_this_amount_in_the_name_of_the_case_is_its_own(
    office: Office,
) -> None:
    case = await office.decided()
    await office.refund_by_hand(case, case.made.amount.amount_minor, in_its_name=True)
    assert (await office.send(case)).status is SendStatus.ACCEPTED
    assert await office.effects(case) == 0, "nothing is ordered beside it"


@pytest.mark.parametrize("less", [0, 1])
@pytest.mark.parametrize("status", ["canceled", "failed"])
async def test_what_a_hand_made_in_the_name_of_a_case_and_took_back_is_not_its_order(
    office: Office, status: str, less: int
) -> None:
    case = await office.decided(await office.a_charge(refund_behaviour="stuck"))
    given = await office.refund_by_hand(case, SMALL - less, in_its_name=True)
    await office.control(f"refunds/{given}", {"status": status})
    sent = await office.send(case)
    assert sent.status is SendStatus.ACCEPTED
    assert sent.provider_id != given
    assert await office.effects(case) == 1
    await office.heard_of(case.id, case.charge, given)
    assert await office.hear_from_outside() == 1
    assert (await verify(office.books)).is_clean


async def test_an_order_that_failed_before_its_answer_came_is_the_cases_own(
    office: Office,
) -> None:
    case = await office.decided(await office.a_charge(refund_behaviour="stuck"))
    await office.fault("lost_after_commit", case)
    with pytest.raises(ProviderUnavailable):
        await office.send(case)
    (ordered,) = (await office.provider.charge(case.charge)).refunds
    await office.control(f"refunds/{ordered.id}", {"status": "failed"})
    assert (await office.send(case)).provider_id == ordered.id
    assert await office.effects(case) == 1


@pytest.mark.parametrize("stands", [False, True])
async def test_credit_is_not_given_beside_a_refund_that_a_hand_made_in_the_name_of_its_case(
    office: Office, stands: bool
) -> None:
    place = await office.a_charge(refund_behaviour="stuck")
    case = await office.decided(place, consents_to_credit=True)
    given = await office.refund_by_hand(case, 1, in_its_name=True)
    if not stands:
        await office.control(f"refunds/{given}", {"status": "canceled"})
    sent = await office.send(case)
    credit = await office.provider.find_credit(case.customer, case.id)
    assert (credit is None) is stands
    await office.heard_of(case.id, case.charge, given)
    assert await office.hear_from_outside() == 1
    if stands:
        assert (sent.status, sent.reason) == (SendStatus.REFUSED, "given_otherwise")
        await again_the_same(office, case)
        assert (await office.event(case, "close")).body["reason_key"] == "already_refunded"
        assert await way_taken_of(office, case) == case_id_for(CaseKind.EXCEPTION, given)
    assert (await verify(office.books)).is_clean


@pytest.mark.parametrize("is_alive", [True, False])
async def test_nothing_goes_beside_what_a_hand_gave_for_an_earlier_case_and_no_event_told_of(
    office: Office, is_alive: bool
) -> None:
    case = await office.decided(policy="generous", reason="courtesy", amount_minor=SMALL)
    place = {"customer": case.customer, "charge": case.charge}
    way = {"alternative_to": case.id, "alternative": RefundMethod.ACCOUNT_CREDIT}
    credit = await office.decided(
        place, policy="generous", reason="courtesy", amount_minor=SMALL, **way
    )
    given = await office.refund_by_hand(case, SMALL, in_its_name=True)
    if not is_alive:
        await office.control(f"refunds/{given}", {"status": "failed"})
    sent = await office.send(credit)
    assert sent.reason == ("given_otherwise" if is_alive else "")
    assert await office.effects(credit) == (not is_alive)


async def test_what_another_case_ordered_stops_nothing_whatever_name_it_bears(
    office: Office,
) -> None:
    asked: dict[str, Any] = {"policy": "generous", "reason": "courtesy", "amount_minor": SMALL}
    case = await office.decided(**asked)
    place = {"customer": case.customer, "charge": case.charge}
    other = await office.decided(place, amount_minor=SMALL)
    await office.send(other)
    await office.rename((await office.row(other)).provider_id, case.id)
    way = {"alternative_to": case.id, "alternative": RefundMethod.ACCOUNT_CREDIT}
    credit = await office.decided(place, **asked, **way)
    assert (await office.send(credit)).outcome is Outcome.CREDITED


@pytest.mark.parametrize("is_heard", [True, False])
async def test_the_rest_of_what_came_back_goes_only_once_what_a_hand_gave_of_it_is_booked(
    office: Office, is_heard: bool
) -> None:
    case = await settling(office, **await office.a_charge(refund_behaviour="stuck"))
    await office.refund_is(case, status="failed")
    assert (await office.look(case)).outcome is Outcome.FAILED_AT_BANK
    given = await office.refund_by_hand(case, 700, in_its_name=True)
    if is_heard:
        await office.heard_of(case.id, given)
        assert await office.hear_from_outside() == 1
    rest = await office.decided(
        {"customer": case.customer, "charge": case.charge},
        amount_minor=case.made.amount.amount_minor - 700,
        authorised_by=await office.authority(case),
    )
    sent = await office.send(rest)
    assert (sent.status, sent.reason) == (
        (SendStatus.ACCEPTED, "") if is_heard else (SendStatus.REFUSED, "given_otherwise")
    )
    assert await office.effects(rest) == is_heard


@pytest.mark.parametrize("credit", [False, True], ids=["refund", "credit"])
async def test_past_the_end_of_its_calendar_nothing_is_ordered_that_could_not_be_booked(
    office: Office, credit: bool
) -> None:
    """The tests' calendar ends with 2099; credit arrives at once and needs none."""
    case = await office.decided(consents_to_credit=credit)
    too_late = datetime(2099, 12, 30, 15, tzinfo=UTC)
    if credit:
        assert (await office.send(case, now=too_late)).status is SendStatus.ACCEPTED
        return
    for _ in range(2):
        with pytest.raises(ValueError, match="publish a newer calendar"):
            await office.send(case, now=too_late)
    assert await office.orders(case) == 0
    assert await office.booked(case) == [("hold", "")]


async def test_two_attempts_at_once_book_one_order(office: Office) -> None:
    case = await office.decided()
    office.provider.work = office.send(case)
    second = await office.send(case)
    assert second == await office.send(case)
    assert await office.booked(case) == [("hold", ""), ("post", second.provider_id)]
    assert await office.effects(case) == 1


@pytest.mark.parametrize(
    ("dispute", "code"),
    [
        ({"status": "needs_response"}, "charge_disputed"),
        ({"status": "needs_response", "is_charge_refundable": True}, "charge_disputed"),
        ({"status": "lost", "is_charge_refundable": True}, "charge_disputed"),
        ({"status": "warning_needs_response", "is_charge_refundable": False}, "charge_disputed"),
        ({"status": "warning_needs_response"}, ""),
        ({"status": "prevented"}, ""),
    ],
    ids=lambda given: "-".join(map(str, given.values())) if isinstance(given, dict) else given,
)
async def test_for_a_charge_that_the_bank_judges_meanwhile_nothing_is_even_asked(
    office: Office, dispute: dict[str, Any], code: str
) -> None:
    case = await office.decided()
    await office.control(f"charges/{case.charge}/dispute", dispute)
    sent = await office.send(case)
    assert sent.reason == code
    assert await office.orders(case) == (0 if code else 1), "the provider's own no is not relied on"
    assert await office.effects(case) == (0 if code else 1)


@pytest.mark.parametrize("way", [RefundMethod.ORIGINAL, RefundMethod.ACCOUNT_CREDIT])
async def test_while_the_bank_only_asks_money_goes_back_and_credit_is_not_given(
    office: Office, way: RefundMethod
) -> None:
    is_credit = way is RefundMethod.ACCOUNT_CREDIT
    case = await office.decided(consents_to_credit=is_credit)
    assert case.made.method is way
    await office.control(f"charges/{case.charge}/dispute", {"status": "warning_needs_response"})
    sent = await office.send(case)
    assert sent.reason == ("charge_disputed" if is_credit else "")
    assert await office.orders(case) == (0 if is_credit else 1)


async def test_for_a_charge_under_a_chargeback_of_a_new_word_nothing_is_even_asked(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = await office.decided()
    facts = await office.provider.charge(case.charge)
    new = facts.model_copy(update={"chargeback": Chargeback.UNKNOWN})

    async def charge(charge_id: str) -> ChargeFacts:
        return new

    monkeypatch.setattr(office.provider, "charge", charge)
    assert (await office.send(case)).reason == "charge_disputed"
    assert await office.orders(case) == 0


async def test_what_is_refused_is_voided_closed_and_told_to_finance(office: Office) -> None:
    case = await office.decided()
    await office.control(f"charges/{case.charge}/dispute", {"status": "needs_response"})
    sent = await office.send(case)
    refused = SendResult(
        status=SendStatus.REFUSED, reason="charge_disputed", outcome=Outcome.REJECTED_BY_PROVIDER
    )
    assert sent == refused
    assert await office.booked(case) == [("hold", ""), ("void", "")]
    notices = await office.notices(case)
    assert notices["case.rejected", "finance"]["code"] == "charge_disputed"
    assert ("case.rejected", "customer") not in notices
    assert {r.state.value for r in await reservations(office, case)} == {"released"}
    assert await office.send(case) == refused.model_copy(update={"reason": ""})
    assert await office.booked(case) == [("hold", ""), ("void", "")]


@pytest.mark.parametrize(
    ("by_hand", "status"),
    [
        (CAPTURED - SMALL - 1, SendStatus.ACCEPTED),
        (CAPTURED - SMALL, SendStatus.ACCEPTED),
        (CAPTURED - SMALL + 1, SendStatus.REFUSED),
    ],
    ids=["more left", "just enough", "a cent less"],
)
async def test_an_order_needs_what_is_left_of_the_charge_on_the_day(
    office: Office, by_hand: int, status: SendStatus
) -> None:
    case = await office.decided()
    await office.refund_by_hand(case, by_hand)
    sent = await office.send(case)
    assert sent.status is status
    if status is SendStatus.REFUSED:
        assert sent.reason == "remainder_changed"
        assert (await office.event(case, "close")).body["reason_key"] == "already_refunded"


@pytest.mark.parametrize(
    ("code", "key"),
    [
        ("charge_already_refunded", "already_refunded"),
        ("charge_disputed", "charge_disputed"),
        ("card_expired", "provider_refused"),
    ],
)
async def test_the_providers_no_ends_the_case_with_its_reason(
    office: Office, code: str, key: str
) -> None:
    case = await office.decided()
    await office.fault("status_400", case, code=code)
    sent = await office.send(case)
    assert (sent.reason, sent.outcome) == (code, Outcome.REJECTED_BY_PROVIDER)
    assert (await office.event(case, "close")).body["reason_key"] == key


async def test_a_case_that_ended_meanwhile_is_refused_and_stays_as_it_ended(office: Office) -> None:
    case = await office.decided(amount_minor=MEDIUM)
    await office.judge(case, by=LEAD)
    await office.control(f"charges/{case.charge}/dispute", {"status": "needs_response"})
    office.provider.work = office.send(case)
    ended = SendResult(status=SendStatus.REFUSED, outcome=Outcome.REJECTED_BY_PROVIDER)
    assert await office.send(case) == ended
    assert (await office.steps(case)).count("close") == 1


async def test_a_no_that_an_accepted_order_overtook_leaves_it_as_it_is(office: Office) -> None:
    """A late attempt still knows the charge as it was; its successor has ordered since."""
    case = await office.decided()
    path = f"charges/{case.charge}/dispute"
    dispute = (await office.control(path, {"status": "needs_response"}))["id"]

    async def meanwhile() -> SendResult:
        await office.control(f"disputes/{dispute}", {"status": "won"})
        return await office.send(case)

    office.provider.late_work = meanwhile()
    late = await office.send(case)
    assert late.status is SendStatus.ACCEPTED
    assert late == await office.send(case)
    assert await office.booked(case) == [("hold", ""), ("post", late.provider_id)]
    assert {r.state.value for r in await reservations(office, case)} == {"posted"}
    assert await office.effects(case) == 1


@pytest.mark.parametrize("credit", [False, True], ids=["refund", "credit"])
async def test_an_order_that_came_after_another_attempts_no_is_booked_as_an_exception(
    office: Office, credit: bool
) -> None:
    case = await office.decided(consents_to_credit=credit)
    for send in (office.send_late, office.send):
        late = await send(case)
        assert (late.status, late.outcome) == (SendStatus.REFUSED, Outcome.REJECTED_BY_PROVIDER)
    assert await office.effects(case) == 1
    assert await office.booked(case) == [("hold", ""), ("void", "")]

    assert (await office.hear_from_outside(), await office.hear_from_outside()) == (1, 0)
    (link,) = [step for step in await office.steps(case) if step.startswith("link:exception-")]
    found = replace(case, id=link.removeprefix("link:"))
    ((step, moved),) = await office.booked(found)
    assert (step, moved[:3]) == ("outside", "cbt" if credit else "re_")
    async with office.books.reading() as reading:
        (told,) = await reading.outbox_of_case(found.id)
        (entries,) = [x.entries for x in await reading.ledger_transactions(found.id)]
    assert told.topic == ("exception.outside_credit" if credit else "exception.outside_refund")
    assert (told.body["to"], told.body["cases"]) == ("finance", [case.id])
    assert [entry.account for entry in entries] == (
        ["expense:credits:outside", "liability:customer_credit"]
        if credit
        else ["expense:refunds:outside", "provider:stripe"]
    )
    report = await verify(office.books)
    assert report.is_clean, report.findings


async def test_credit_that_came_too_late_is_gone_from_its_charge(office: Office) -> None:
    """The provider lists no credit there, so that nobody else would count it."""
    place = await office.a_charge()
    case = await office.decided(place, amount_minor=SMALL, consents_to_credit=True)
    await office.send_late(case)
    for _ in range(2):
        await office.hear_from_outside()
    rest = await office.decided(place, amount_minor=None)
    assert rest.made.amount.amount_minor == CAPTURED - SMALL
    with pytest.raises(ApplicationError, match="nothing is left"):
        await office.decided(place, amount_minor=1)
    report = await verify(office.books)
    assert report.is_clean, report.findings


async def test_a_refund_that_came_too_late_is_booked_though_its_customer_is_gone(
    office: Office,
) -> None:
    case = await office.decided()
    await office.send_late(case)
    await office.customer_is_gone(case)
    assert (await office.hear_from_outside(), await office.hear_from_outside()) == (1, 0)
    assert [step[:15] for step in await office.steps(case)][-1] == "link:exception-"


async def test_credit_for_a_customer_who_is_gone_ends_as_refused(office: Office) -> None:
    case = await office.decided(consents_to_credit=True)
    await office.customer_is_gone(case)
    for _ in range(2):
        sent = await office.send(case)
        assert (sent.status, sent.outcome) == (SendStatus.REFUSED, Outcome.REJECTED_BY_PROVIDER)
    notices = await office.notices(case)
    assert notices["case.rejected", "finance"]["code"] == "customer_gone"
    assert await office.booked(case) == [("hold", ""), ("void", "")]


async def test_credit_in_the_name_of_a_case_that_was_refused_is_booked_as_it_is(
    office: Office,
) -> None:
    """By books that forgot it, say: no amount of the case's own is known."""
    case = await office.decided(policy="generous", reason="courtesy", amount_minor=None)
    assert case.made.verdict is RefundVerdict.REFUSE
    await office.credit_by_hand(case, 1_234, in_its_name=True)
    await office.heard_of(case.id)
    assert (await office.hear_from_outside(), await office.hear_from_outside()) == (1, 0)
    (link,) = [step for step in await office.steps(case) if step.startswith("link:exception-")]
    found = await office.row(replace(case, id=link.removeprefix("link:")))
    assert found.amount_minor == 1_234


async def test_what_is_booked_as_made_outside_is_not_booked_again_for_the_case_that_finds_it(
    office: Office,
) -> None:
    """The name of the case was written on a refund after it had been heard of."""
    case = await office.decided()
    refund = await office.refund_by_hand(case, case.made.amount.amount_minor)
    await office.heard_of(refund)
    assert await office.hear_from_outside() == 1
    exception = case_id_for(CaseKind.EXCEPTION, refund)
    await office.rename(refund, case.id)
    sent = await office.send(case)
    assert (sent.status, sent.reason) == (SendStatus.REFUSED, "booked_outside")
    await again_the_same(office, case)
    assert await office.booked(case) == [("hold", ""), ("void", "")]
    assert await office.booked(replace(case, id=exception)) == [("outside", refund)]
    closing = await office.event(case, "close")
    assert closing.body["reason_key"] == "already_refunded"
    link = await office.event(case, f"link:{exception}")
    assert link.body == {"case_id": exception, "why": "outside_refund"}
    assert await way_taken_of(office, case) == exception
    await office.control(f"refunds/{refund}", {"status": "failed"})
    await office.heard_of(case.id, refund)
    assert await office.hear_from_outside() == 1
    assert await way_taken_of(office, case) is None
    assert (await verify(office.books)).is_clean


async def test_a_name_that_is_written_on_a_booked_refund_is_seen_once_a_case_has_ended_without(
    office: Office,
) -> None:
    """So it goes in the provider's dashboard: the refund is made first, and then written on."""
    place = await office.a_charge(refund_behaviour="stuck")
    case = await office.decided(place, policy="generous", reason="courtesy", amount_minor=SMALL)
    assert case.made.verdict is RefundVerdict.REFUSE
    given = await office.refund_by_hand(case, SMALL)
    await office.heard_of(given)
    assert await office.hear_from_outside() == 1
    assert await way_taken_of(office, case) is None
    await office.rename(given, case.id)
    exception = case_id_for(CaseKind.EXCEPTION, given)
    for _ in range(2):
        await office.heard_of(case.id, case.charge, given)
        assert await office.hear_from_outside() == 1
        assert await way_taken_of(office, case) == exception
        assert (await office.steps(case)).count(f"link:{exception}") == 1
        assert await office.booked(replace(case, id=exception)) == [("outside", given)]
    await office.control(f"refunds/{given}", {"status": "failed"})
    for _ in range(2):
        await office.heard_of(case.id, case.charge, given)
        assert await office.hear_from_outside() == 1
        assert await way_taken_of(office, case) is None
    assert (await verify(office.books)).is_clean


async def test_a_debit_in_the_name_of_a_case_is_not_the_credit_that_it_gave(
    office: Office,
) -> None:
    case = await office.decided(consents_to_credit=True)
    await office.send_late(case)
    await office.credit_by_hand(case, -SMALL, in_its_name=True)
    assert await office.hear_from_outside() == 1
    (exception,) = [
        step.removeprefix("link:") for step in await office.steps(case) if "link:" in step
    ]
    assert (await office.row(replace(case, id=exception))).amount_minor == SMALL
    assert (await verify(office.books)).is_clean


@pytest.mark.parametrize("by_hand", [0, 1])
async def test_what_a_refusal_offers_is_not_given_beside_what_a_hand_gave_meanwhile(
    office: Office, by_hand: int
) -> None:
    case = await office.decided(policy="generous", reason="courtesy", amount_minor=SMALL)
    assert case.made.verdict is RefundVerdict.REFUSE
    instead = await office.decided(
        {"customer": case.customer, "charge": case.charge},
        policy="generous", reason="courtesy", amount_minor=SMALL,
        alternative_to=case.id, alternative=RefundMethod.ACCOUNT_CREDIT,
    )  # fmt: skip
    if by_hand:
        await office.refund_by_hand(case, by_hand, in_its_name=True)
        await office.heard_of(case.id)
        assert await office.hear_from_outside() == 1
    sent = await office.send(instead)
    if by_hand:
        assert (sent.status, sent.reason) == (SendStatus.REFUSED, "given_otherwise")
        await again_the_same(office, instead)
        assert (await office.event(instead, "close")).body["reason_key"] == "already_refunded"
    else:
        assert sent.outcome is Outcome.CREDITED
    assert await office.effects(instead) == 1 - by_hand


async def test_a_refund_that_one_case_ordered_is_not_posted_by_another_whose_name_it_was_given(
    office: Office,
) -> None:
    first = await office.decided(amount_minor=SMALL)
    await office.send(first)
    ordered = (await office.row(first)).provider_id
    place = {"customer": first.customer, "charge": first.charge}
    second = await office.decided(place, amount_minor=SMALL)
    await office.rename(ordered, second.id)
    sent = await office.send(second)
    assert (sent.status, sent.reason) == (SendStatus.REFUSED, "ordered_by_another")
    await again_the_same(office, second)
    assert await office.booked(second) == [("hold", ""), ("void", "")]
    assert (await office.event(second, "close")).body["reason_key"] == "already_refunded"
    assert await office.effects(second) == 0


async def way_taken_of(office: Office, case: Case) -> str | None:
    async with office.books.reading() as reading:
        return await way_taken(reading, case.id)


async def again_the_same(office: Office, case: Case) -> None:
    """An attempt that died after it had written the end is made once more."""
    before = await office.steps(case), await office.booked(case)
    again = await office.send(case)
    assert (again.status, again.outcome) == (SendStatus.REFUSED, Outcome.REJECTED_BY_PROVIDER)
    assert (await office.steps(case), await office.booked(case)) == before


async def test_all_that_went_in_the_name_of_a_case_that_ended_without_is_booked(
    office: Office,
) -> None:
    case = await office.decided(policy="generous", reason="courtesy", amount_minor=None)
    for amount in (100, 200):
        await office.refund_by_hand(case, amount, in_its_name=True)
    await office.heard_of(case.id)
    assert await office.hear_from_outside() == 1
    refunds = (await office.provider.charge(case.charge)).refunds
    assert len(refunds) == 2
    for refund in refunds:
        exception = case_id_for(CaseKind.EXCEPTION, refund.id)
        assert await office.booked(replace(case, id=exception)) == [("outside", refund.id)]


async def test_a_wrong_key_stops_the_order_by_its_name(office: Office) -> None:
    case = await office.decided()
    await office.fault("status_401", case)
    with pytest.raises(ApplicationError, match="refuses our key") as error:
        await office.send(case)
    assert (error.value.type, error.value.non_retryable) == ("ProviderMisconfigured", False)


async def test_an_order_needs_every_approval_of_exactly_this(office: Office) -> None:
    case = await office.decided(amount_minor=LARGE)
    await not_approved(office, case, r"missing: first, second; digest")
    await office.judge(case, 0, by=LEAD)
    await not_approved(office, case, r"missing: second; digest")
    await office.judge(case, 1, by=FINANCE)
    await not_approved(office, case, r"missing: none; digest other", digest="other")
    assert (await office.send(case)).status is SendStatus.ACCEPTED


async def test_a_yes_to_something_else_sends_nothing(office: Office) -> None:
    case = await office.decided(amount_minor=MEDIUM)
    async with office.books.transaction() as tx:
        await tx.record_approval(approval(case_id=case.id, slot="first", digest="0" * 64))
    await not_approved(office, case, r"missing: first; digest")


async def test_a_no_to_exactly_this_is_no_approval_of_it(office: Office) -> None:
    case = await office.decided(amount_minor=MEDIUM)
    given = {"slot": "first", "digest": case.made.digest, "verdict": Verdict.DECLINE}
    async with office.books.transaction() as tx:
        await tx.record_approval(approval(case_id=case.id, **given))
    await not_approved(office, case, r"missing: first; digest")


async def test_a_question_to_the_customer_sends_nothing(office: Office) -> None:
    """It has no slots and an empty digest, so both would fit."""
    asking = await office.decided(policy="asking", amount_minor=MEDIUM)
    assert (asking.made.verdict, asking.made.digest) == (RefundVerdict.ASK, "")
    await not_approved(office, asking, "decided: ask")


async def not_approved(office: Office, case: Case, words: str, **fields: Any) -> None:
    with pytest.raises(ApplicationError, match=words) as error:
        await office.send(case, **fields)
    assert (error.value.type, error.value.non_retryable) == ("NotApproved", True)
    assert await office.effects(case) == 0


async def test_a_declined_case_is_refused_as_it_ended(office: Office) -> None:
    case = await office.decided(amount_minor=MEDIUM)
    await office.judge(case, action=Action.DECLINE, by=LEAD)
    assert await office.send(case) == SendResult(
        status=SendStatus.REFUSED, outcome=Outcome.DECLINED
    )
    assert await office.look(case) == LookResult(outcome=Outcome.DECLINED)


async def test_a_case_without_a_decision_sends_nothing(office: Office) -> None:
    case = await office.decided()
    async with office.books.transaction() as tx:
        await tx.append_event(opened("refund-bare"))
    bare = Case("refund-bare", case.customer, case.charge, case.made)
    with pytest.raises(LookupError, match="refund-bare was never decided"):
        await office.send(bare)
    with pytest.raises(LookupError, match="refund-bare was never accepted"):
        await office.look(bare)


@pytest.mark.parametrize("more", [-1, 1])
async def test_an_outcome_unknown_for_long_is_told_to_finance_once(
    office: Office, more: int
) -> None:
    case = await office.decided()
    await office.refund_by_hand(case, case.made.amount.amount_minor + more, in_its_name=True)
    with pytest.raises(ApplicationError, match="and the decision is"):
        await office.send(case)
    for _ in range(2):
        await office.alarm(case)
    assert (await office.steps(case)).count("unknown") == 1
    told = (await office.notices(case))["case.outcome_unknown", "finance"]
    assert (told["since"], told["why"]) == (instant(MONDAY), "APIError 500")


@pytest.mark.parametrize("end", ["accepted", "credited", "refused"])
async def test_an_outcome_that_became_known_meanwhile_alarms_nobody(
    office: Office, end: str
) -> None:
    case = await office.decided(consents_to_credit=end == "credited")
    if end == "refused":
        await office.control(f"charges/{case.charge}/dispute", {"status": "needs_response"})
    await office.send(case)
    before = await written(office, case)
    await office.alarm(case)
    assert await written(office, case) == before


# -- look -----------------------------------------------------------------------------------


async def looked(office: Office, case: Case, ordinal: int = 1, **fields: Any) -> LookResult:
    """A look, twice: the second answer is the first's."""
    first = await office.look(case, ordinal, **fields)
    before = await written(office, case)
    assert await office.look(case, ordinal, **fields) == first
    assert await written(office, case) == before
    return first


async def written(office: Office, case: Case) -> tuple[object, ...]:
    return await office.steps(case), await office.booked(case), await office.notices(case)


async def looks(office: Office, case: Case) -> list[datetime]:
    body = (await office.event(case, "accept")).body
    return [parse_instant(text) for text in body["looks"] + body["trace_looks"]]


@pytest.fixture
async def silent(office: Office) -> Case:
    return await settling(office, **await office.a_charge(refund_behaviour="silent"))


async def test_a_look_before_the_maximum_day_waits_for_the_next(
    office: Office, silent: Case
) -> None:
    every = await looks(office, silent)
    assert await looked(office, silent, after=timedelta(days=7)) == LookResult()
    seen = await office.event(silent, "look#1")
    assert seen.kind is EventKind.LOOKED
    following = next(at for at in every if at > MONDAY + timedelta(days=7))
    assert seen.body == {
        "ordinal": 1,
        "provider_status": "succeeded",
        "next_look_at": instant(following),
    }


async def test_a_look_falls_due_at_its_instant_and_names_the_one_after_it(
    office: Office, silent: Case
) -> None:
    every = await looks(office, silent)
    for ordinal, at in enumerate((every[1] - TICK, every[1]), start=1):
        await office.look(silent, ordinal, after=at - MONDAY)
    told = [(await office.event(silent, f"look#{n}")).body["next_look_at"] for n in (1, 2)]
    assert told == [instant(every[1]), instant(every[2])]


@pytest.mark.parametrize("at_maximum", [False, True], ids=["any day", "maximum day"])
async def test_the_banks_reference_confirms_a_refund(
    office: Office, silent: Case, at_maximum: bool
) -> None:
    await office.refund_is(silent, reference=REFERENCE)
    assert await looked(office, silent, at_maximum=at_maximum) == LookResult(
        outcome=Outcome.REFUNDED
    )
    confirmed = (await office.event(silent, "confirm")).body
    assert confirmed == {"confirmed_by": "reference", "reference": REFERENCE}


async def test_silence_confirms_on_the_maximum_day_and_says_so(
    office: Office, silent: Case
) -> None:
    assert (await looked(office, silent, **ENDED)).outcome is Outcome.REFUNDED
    confirmed = (await office.event(silent, "confirm")).body
    assert confirmed == {"confirmed_by": "silence", "reference": ""}
    assert await office.look(silent, 2, last=True) == LookResult(outcome=Outcome.REFUNDED)
    assert "look#2" not in await office.steps(silent)


@pytest.fixture
async def pending(office: Office) -> Case:
    return await settling(office, **await office.a_charge(refund_behaviour="stuck"))


async def test_money_under_way_on_the_maximum_day_is_traced_before_everybody(
    office: Office,
) -> None:
    case = await office.decided(await office.a_charge(refund_behaviour="stuck"))
    await office.send(case, now=TUESDAY)
    every = await looks(office, case)
    assert await looked(office, case, after=timedelta(days=15), **ENDED) == LookResult()
    row = await office.row(case)
    following = next(at for at in every if at > MONDAY + timedelta(days=15))
    body = {"next_look_at": instant(following), "reference": row.provider_id}
    assert (await office.event(case, "trace")).body == body
    notices = await office.notices(case)
    for to in ("customer", "finance"):
        told = notices["case.trace_opened", to]
        assert told.items() >= body.items()
        assert row.provider_id in told["letter"]
        assert "March 2, 2027" in told["in_words"], "when it was sent, not when it was asked for"
        assert told["in_words"] == status_in_words(row, accepted_at=TUESDAY)


@pytest.mark.parametrize("last", [False, True], ids=["while traced", "at the last look"])
async def test_money_that_went_while_it_was_traced_is_confirmed_by_silence(
    office: Office, pending: Case, last: bool
) -> None:
    """Its maximum day has passed with no failure (cases.md)."""
    await looked(office, pending, after=timedelta(days=14), **ENDED)
    await office.refund_is(pending, status="succeeded")
    found = await looked(office, pending, 2, after=timedelta(days=21), last=last)
    assert found == LookResult(outcome=Outcome.REFUNDED)
    assert (await office.event(pending, "confirm")).body["confirmed_by"] == "silence"


async def test_a_case_that_is_taken_up_after_its_last_day_is_traced_and_ends(
    office: Office, pending: Case
) -> None:
    last = (await looks(office, pending))[-1]
    late = last - MONDAY + timedelta(days=1)
    for _ in range(2):
        assert await looked(office, pending, after=late, **ENDED) == LookResult()
    assert (await office.event(pending, "trace")).body["next_look_at"] == instant(last)
    ended = await looked(office, pending, 2, after=late, last=True)
    assert ended.outcome is Outcome.UNCONFIRMED


@pytest.mark.parametrize("told", [{"reference": REFERENCE}, {"status": "failed"}])
async def test_a_look_of_a_number_that_is_on_record_is_believed_all_the_same(
    office: Office, pending: Case, told: dict[str, str]
) -> None:
    """A run that was reset counts from where it was reset to."""
    assert await office.look(pending, 2) == LookResult()
    await office.refund_is(pending, **told)
    ended = Outcome.REFUNDED if "reference" in told else Outcome.FAILED_AT_BANK
    for _ in range(2):
        assert (await office.look(pending, 2)).outcome is ended
    assert (await office.steps(pending)).count("look#2") == 1


async def test_money_that_nobody_finds_ends_unconfirmed(office: Office, pending: Case) -> None:
    assert (
        await looked(office, pending, after=timedelta(days=30), last=True)
    ).outcome is Outcome.UNCONFIRMED
    assert (await office.event(pending, "close")).body["reason_key"] == "unconfirmed"
    assert "confirm" not in await office.steps(pending)


async def test_two_looks_at_once_conclude_once(office: Office, silent: Case) -> None:
    await office.refund_is(silent, reference=REFERENCE)
    office.provider.work = office.look(silent, 2)
    assert await office.look(silent, 1) == LookResult(outcome=Outcome.REFUNDED)
    assert (await office.steps(silent)).count("close") == 1
    assert "look#1" not in await office.steps(silent)


# -- what the bank sends back ----------------------------------------------------------------


async def test_what_the_bank_sends_back_is_reversed_and_free_again(office: Office) -> None:
    place = await office.a_charge(refund_behaviour="stuck")
    case = await settling(office, **place)
    await office.refund_is(case, status="failed")
    assert await looked(office, case) == LookResult(outcome=Outcome.FAILED_AT_BANK)
    refund_id = (await office.row(case)).provider_id
    assert await office.booked(case) == [("hold", ""), ("post", refund_id), ("reversal", refund_id)]
    assert {r.state.value for r in await reservations(office, case)} == {"released"}
    closing = await office.event(case, "close")
    assert closing.body["reason_key"] == "failed_at_bank"
    assert "alternatives" not in closing.body
    failed = (await office.event(case, "fail")).body
    assert failed == {"provider_status": "failed", "failure_reason": "unknown"}
    told = (await office.notices(case))["case.failed_at_bank", "finance"]
    assert told.items() >= failed.items()


@pytest.mark.parametrize("when", [{"at_maximum": True}, {"last": True}], ids=["maximum", "last"])
async def test_what_came_back_on_the_last_days_has_only_failed(
    office: Office, pending: Case, when: dict[str, bool]
) -> None:
    await office.refund_is(pending, status="failed")
    assert (await looked(office, pending, **when)).outcome is Outcome.FAILED_AT_BANK
    told = {topic for topic, _ in await office.notices(pending)}
    assert told == {"case.accepted", "case.failed_at_bank", "case.closed.failed_at_bank"}


async def came_back(office: Office) -> tuple[Case, LookResult]:
    place = await office.a_charge(refund_behaviour="stuck")
    case = await office.decided(place, amount_minor=MEDIUM, policy="generous")
    for slot in range(len(case.made.slots)):
        await office.judge(case, slot, by=LEAD)
    await office.send(case)
    await office.refund_is(case, status="failed")
    return case, await looked(office, case)


@pytest.mark.parametrize(
    ("tried", "consents", "way", "goes_on"),
    [
        (None, False, ["original"], True),
        (RefundMethod.ORIGINAL, False, ["account_credit"], False),
        (RefundMethod.ORIGINAL, True, ["account_credit"], True),
    ],
    ids=["the same way again", "credit, to be asked for", "credit, agreed to"],
)
async def test_what_came_back_goes_on_by_the_next_way_and_waits_only_for_a_word_it_needs(
    office: Office, tried: RefundMethod | None, consents: bool, way: list[str], goes_on: bool
) -> None:
    case, found = await came_back(office)
    if tried is not None:
        case, found = await came_back_again(office, case, consents)
    assert found == LookResult(outcome=Outcome.FAILED_AT_BANK, goes_on=goes_on)
    closing = (await office.event(case, "close")).body
    assert (closing["alternatives"], closing["goes_on"]) == (way, goes_on)
    assert closing["alternative_until"] == instant(datetime(2027, 3, 15, 21, tzinfo=UTC))
    sent_again = await office.send(case)
    assert sent_again.outcome is None


async def came_back_again(office: Office, first: Case, consents: bool) -> tuple[Case, LookResult]:
    """The case by which the first one goes on, whose money comes back too."""
    link = LinkInput(case_id=first.id, attempt_seconds=30, now=MONDAY)
    await office.act(office.linked.open_linked_case, link)
    request = office.started[-1].request.model_copy(update={"consents_to_credit": consents})
    case = await office.decided(**request.model_dump())
    await office.send(case)
    await office.refund_is(case, status="failed")
    return case, await looked(office, case)


@pytest.mark.parametrize("missing", ["open", "decide"])
async def test_what_came_back_of_half_a_case_is_an_error(office: Office, missing: str) -> None:
    """Books without the opening or the decision of an accepted refund were not written by us."""
    case = await settling(office, **await office.a_charge(refund_behaviour="stuck"))
    await office.refund_is(case, status="failed")
    refund_id = (await office.row(case)).provider_id
    half = Case("refund-half", case.customer, case.charge, case.made)
    async with office.books.transaction() as tx:
        step = "open" if missing != "open" else "opened"
        for kind, body, name in (
            (EventKind.OPENED, opened_body(customer=case.customer, charge=case.charge), step),
            (EventKind.DECIDED, decided_body(slots=[]), "decide"),
            (EventKind.ACCEPTED, accepted_body(provider_id=refund_id), "accept"),
        ):
            await tx.append_event(event(kind, body, case_id=half.id, step=name))
        if missing != "decide":
            await tx.record_decision(
                case_id=half.id, step="decide", decision=decision(), outcome={}, at=MONDAY
            )
    with pytest.raises(LookupError, match="refund-half was never decided"):
        await office.look(half)
