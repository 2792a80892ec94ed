"""A case goes on as one other, about the same charge, in time, and only if it may."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.linked import ending, judges_before, link_first
from domain.approvals import Action
from domain.canonical import parse_instant
from domain.cases import CaseKind, EventKind, Outcome, case_id_for
from domain.decisions import RefundMethod, RefundVerdict
from domain.errors import InvalidRequest
from domain.linked import (
    ALTERNATIVE_REFUSED,
    OUTSIDE_REFUND,
    alternative_id,
    alternative_request,
    appeal_request,
    case_id_of,
)
from domain.refunds import DecideInput, LinkInput, RefundReason, RefundRequest
from ledger.linked import begun_by, given_outside, way_taken, went_before
from tests.activities.office import MONDAY, Case, Office
from tests.ledger.builders import approval, decision, event, opened, opened_body
from tests.workflows.builders import AGENT, FINANCE, LEAD, MEDIUM, SERVICE, SMALL, a_request

TICK = timedelta(microseconds=1)
NOBODY = f"refund-{'a' * 26}"
HALF = "refund-half"


async def refused(office: Office, **fields: Any) -> Case:
    """A case that the generous policy refuses: appeal and credit are offered."""
    given = {"policy": "generous", "reason": "courtesy", **fields}
    return await office.decided(await office.a_charge(), **given)


async def until(office: Office, case: Case, name: str) -> datetime:
    return parse_instant((await office.event(case, "close")).body[name])


def appeal(case: Case, **fields: Any) -> RefundRequest:
    return request(case, **{"appeal_of": case.id, "text": "sealed news", **fields})


def credit(case: Case, **fields: Any) -> RefundRequest:
    way = {"alternative_to": case.id, "alternative": RefundMethod.ACCOUNT_CREDIT}
    return request(case, **{**way, **fields})


def request(case: Case, **fields: Any) -> RefundRequest:
    asked = a_request(customer=case.customer, charge=case.charge, policy="generous")
    return RefundRequest.model_validate({**asked, **fields}, strict=False)


async def judges(office: Office, asked: RefundRequest, now: datetime = MONDAY) -> frozenset[str]:
    async with office.books.reading() as reading:
        return await judges_before(reading, asked, now)


async def no(
    office: Office, asked: RefundRequest, field: str, why: str, allowed: str = "",
    now: datetime = MONDAY,
) -> None:  # fmt: skip
    with pytest.raises(InvalidRequest, match=why) as error:
        await judges(office, asked, now)
    assert error.value.field == field
    assert allowed in error.value.allowed


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, {}),
        ({"appeal_until": MONDAY}, {"appeal_until": MONDAY}),
        ({"alternatives": ("original",)}, {}),
        ({"alternative_until": MONDAY}, {}),
        (
            {"alternatives": ("original",), "alternative_until": MONDAY},
            {"alternatives": ("original",), "alternative_until": MONDAY},
        ),
    ],
)
def test_an_ending_says_only_what_the_customer_may_do_and_until_when(
    given: dict[str, Any], said: dict[str, Any]
) -> None:
    assert ending(**given) == said
    both = ending(**{**given, "appeal_until": MONDAY})
    assert both == {**said, "appeal_until": MONDAY}


async def test_a_request_that_goes_on_from_nothing_has_no_judges_before_it(office: Office) -> None:
    assert await judges(office, request(await refused(office))) == frozenset()


async def test_who_said_no_is_told_and_the_engine_is_nobody(office: Office) -> None:
    assert await judges(office, appeal(await refused(office))) == {SERVICE.id}
    place = await office.a_charge()
    case = await office.decided(place, policy="generous", amount_minor=MEDIUM)
    await office.judge(case, action=Action.DECLINE, by=LEAD)
    assert await judges(office, appeal(case)) == {LEAD.id, SERVICE.id}


async def test_who_said_yes_before_another_said_no_has_judged_too(office: Office) -> None:
    place = await office.a_charge()
    case = await office.decided(place, policy="generous", amount_minor=MEDIUM)
    async with office.books.transaction() as tx:
        await tx.record_approval(approval(case_id=case.id, slot="other", actor=FINANCE))
    await office.judge(case, action=Action.DECLINE, by=LEAD)
    assert await judges(office, appeal(case)) == {FINANCE.id, LEAD.id, SERVICE.id}


@pytest.mark.parametrize(
    ("way", "field", "name"),
    [(appeal, "appeal_of", "appeal_until"), (credit, "alternative_to", "alternative_until")],
    ids=["appeal", "alternative"],
)
async def test_a_case_goes_on_until_its_instant_and_not_after(
    office: Office, way: Any, field: str, name: str
) -> None:
    case = await refused(office)
    last = await until(office, case, name)
    for now in (last - TICK, last):
        assert await judges(office, way(case), now) == {SERVICE.id}
    await no(office, way(case), field, "the time for it ended", "a new request", now=last + TICK)


@pytest.mark.parametrize("way", [appeal, credit])
async def test_what_was_in_time_when_it_began_is_in_time_at_its_later_decisions(
    office: Office, way: Any
) -> None:
    case = await refused(office)
    async with office.books.reading() as reading:
        assert await judges_before(reading, way(case), None) == {SERVICE.id}


@pytest.mark.parametrize("late", [timedelta(0), TICK])
async def test_what_was_asked_in_time_is_in_time_when_it_is_first_seen_days_later(
    office: Office, late: timedelta
) -> None:
    case = await refused(office)
    last = await until(office, case, "appeal_until")
    asked = appeal(case)
    order = DecideInput(
        case_id=case_id_for(CaseKind.REFUND, asked.request_id),
        request=asked,
        now=last + timedelta(days=3),
        asked_at=last + late,
    )
    if late:
        with pytest.raises(ApplicationError, match="the time for it ended"):
            await office.act(office.decisions.decide_refund, order)
    else:
        made = await office.act(office.decisions.decide_refund, order)
        assert made.verdict is RefundVerdict.APPROVE


@pytest.mark.parametrize(
    ("way", "field"), [(appeal, "appeal_of"), (credit, "alternative_to")], ids=["appeal", "credit"]
)
async def test_only_an_ended_case_of_this_customers_charge_goes_on(
    office: Office, way: Any, field: str
) -> None:
    case, other = await refused(office), await refused(office)
    about = "names no case about this charge"
    await no(office, way(case, **{field: NOBODY}), field, about, "a case of this charge")
    await no(office, way(case, **{field: other.id}), field, about)
    await no(office, way(case, customer=other.customer), field, about)
    await no(office, way(case, charge=other.charge), field, about)
    running = await office.decided(await office.a_charge(), amount_minor=MEDIUM)
    await no(office, way(running), field, "has not ended", "a case that has ended")


async def test_an_appeal_without_a_word_is_none(office: Office) -> None:
    case = await refused(office)
    await no(office, appeal(case, text=""), "text", "is empty", "what is new since the no")


async def test_whoever_asked_anywhere_along_the_way_decides_nothing_that_follows(
    office: Office,
) -> None:
    first = await refused(office, requested_by=AGENT)
    about = {"alternative_to": first.id, "alternative": RefundMethod.ACCOUNT_CREDIT}
    second = await went_on(office, first, **about, requested_by=LEAD)
    assert (await office.row(second)).outcome is Outcome.REFUSED
    asked = appeal(second, requested_by=FINANCE)
    assert await judges(office, asked) == {AGENT.id, LEAD.id}


async def test_whoever_asked_before_an_appeal_decides_no_way_that_follows_it(
    office: Office,
) -> None:
    place = await office.a_charge(refund_behaviour="stuck")
    first = await office.decided(
        place, policy="generous", reason="courtesy", amount_minor=MEDIUM, requested_by=AGENT
    )
    about = {"reason": "courtesy", "amount_minor": MEDIUM, "text": "sealed news"}
    second = await went_on(office, first, appeal_of=first.id, requested_by=LEAD, **about)
    await office.judge(second, by=FINANCE)
    await office.send(second)
    await office.refund_is(second, status="failed")
    await office.look(second)
    asked = credit(second, alternative=RefundMethod.ORIGINAL)
    said = ("authorised_by", "is not what is carried out there", second.id)
    await no(office, asked, *said)
    authority = await office.authority(second)
    of_another = authority.model_copy(update={"case_id": first.id})
    await no(office, asked.model_copy(update={"authorised_by": of_another}), *said)
    asked = asked.model_copy(update={"authorised_by": authority})
    assert await judges(office, asked) == {AGENT.id, LEAD.id}


async def test_whoever_judged_what_was_appealed_judges_no_way_that_follows_it(
    office: Office,
) -> None:
    place = await office.a_charge(refund_behaviour="stuck")
    first = await office.decided(place, policy="generous", amount_minor=MEDIUM)
    await office.judge(first, action=Action.DECLINE, by=LEAD)
    about = {"reason": "courtesy", "amount_minor": MEDIUM, "text": "sealed news"}
    second = await went_on(office, first, appeal_of=first.id, **about)
    await office.judge(second, by=FINANCE)
    await office.send(second)
    await office.refund_is(second, status="failed")
    await office.look(second)
    asked = credit(
        second, alternative=RefundMethod.ORIGINAL, authorised_by=await office.authority(second)
    )
    found = await judges(office, asked)
    assert LEAD.id in found
    assert FINANCE.id not in found, "who said yes to the appeal said no to nobody"


async def refused_linked(office: Office) -> tuple[Case, Case]:
    """A case whose money came back, and a refusal of the one by which it was to go out again."""
    place = await office.a_charge(refund_behaviour="stuck")
    first = await office.decided(place, policy="generous", amount_minor=SMALL)
    await office.judge(first, by=FINANCE)
    await office.send(first)
    await office.refund_is(first, status="failed")
    await office.look(first)
    second = await went_on(
        office, first, reason="unused_period", alternative_to=first.id,
        alternative=RefundMethod.ORIGINAL, authorised_by=await office.authority(first),
    )  # fmt: skip
    assert (await office.row(second)).outcome is Outcome.REFUSED
    return first, second


async def test_what_goes_on_from_a_refused_way_to_pay_must_carry_out_what_was_granted(
    office: Office,
) -> None:
    first, second = await refused_linked(office)
    begun = await office.event(second, "open")
    for asked in (
        appeal_request(begun, {}, LEAD, "sealed news"),
        alternative_request(begun, {}, LEAD, RefundMethod.ORIGINAL, None),
    ):
        assert asked.authorised_by == await office.authority(first)
        without = asked.model_copy(update={"authorised_by": None})
        await no(office, without, "authorised_by", "is not what is carried out there", first.id)
    plain = await refused(office)
    strange = appeal(plain, authorised_by=await office.authority(first))
    await no(office, strange, "authorised_by", "is not what is carried out there", "none")


async def test_the_appeal_of_a_refused_way_to_pay_gives_what_was_granted_and_once(
    office: Office,
) -> None:
    first, second = await refused_linked(office)
    begun = await office.event(second, "open")
    asked = appeal_request(begun, {}, LEAD, "sealed news").model_copy(
        update={"reason": RefundReason.OTHER, "amount_minor": None}
    )
    asked_of = DecideInput(case_id=case_id_of(asked), request=asked, now=MONDAY)
    made = await office.act(office.decisions.decide_refund, asked_of)
    assert made.amount.amount_minor == SMALL, "not all that is left of the charge"
    with pytest.raises(ApplicationError, match="no such amount left"):
        await office.decided(
            {"customer": first.customer, "charge": first.charge},
            amount_minor=1, authorised_by=await office.authority(first),
        )  # fmt: skip


async def test_only_a_no_is_appealed(office: Office) -> None:
    paid = await office.decided(consents_to_credit=True)
    await office.send(paid)
    await no(office, appeal(paid), "appeal_of", "ended as credited", "a case with a no")


async def went_on(office: Office, case: Case, **fields: Any) -> Case:
    """The case by which ``case`` went on, decided on the same charge."""
    given = {"policy": "generous", "reason": "unused_period", **fields}
    return await office.decided({"customer": case.customer, "charge": case.charge}, **given)


@pytest.mark.parametrize("is_the_one", [False, True])
async def test_finance_hears_of_a_way_that_cannot_be_paid_and_not_of_a_strangers_request(
    office: Office, is_the_one: bool
) -> None:
    case = await refused(office)
    about = {"alternative_to": case.id, "alternative": RefundMethod.ORIGINAL}  # was not offered
    if is_the_one:
        about["request_id"] = f"{case.id}:alternative"
    for _ in range(2):
        with pytest.raises(ApplicationError, match="was not offered"):
            await went_on(office, case, **about)
    async with office.books.reading() as reading:
        outbox = await reading.outbox_of_case(case.id)
    told = [row.body["case"] for row in outbox if row.topic == ALTERNATIVE_REFUSED]
    assert told == [alternative_id(case.id)] * is_the_one


async def test_a_no_on_an_appeal_is_final(office: Office) -> None:
    case = await refused(office, reason="unused_period")
    second = await went_on(office, case, appeal_of=case.id, text="sealed news")
    assert (await office.row(second)).outcome is Outcome.REFUSED
    await no(office, appeal(second), "appeal_of", "is final", "a case that says until when")


@pytest.mark.parametrize(
    ("way", "field", "why"),
    [(appeal, "appeal_of", "appeal"), (credit, "alternative_to", "alternative")],
    ids=["appeal", "alternative"],
)
async def test_a_case_goes_on_as_one_other_and_names_it(
    office: Office, way: Any, field: str, why: str
) -> None:
    case = await refused(office)
    asked = way(case)
    given = {
        key: value for key, value in dict(asked).items() if key in (field, "alternative", "text")
    }
    second = await went_on(office, case, request_id=asked.request_id, **given)
    linked = await office.event(case, f"link:{why}")
    assert linked.kind is EventKind.LINKED
    assert linked.body == {"case_id": second.id, "why": why}
    assert await judges(office, asked) == {SERVICE.id}
    await no(office, way(case), field, f"goes on as {second.id} already", "that case")


@pytest.mark.parametrize("is_appeal", [True, False])
async def test_a_case_goes_on_once_each_way(office: Office, is_appeal: bool) -> None:
    case = await refused(office)
    first, second = (appeal, credit) if is_appeal else (credit, appeal)
    asked = first(case)
    fields = {
        name: value
        for name, value in dict(asked).items()
        if name in ("request_id", "appeal_of", "alternative_to", "alternative", "text") and value
    }
    await went_on(office, case, **fields)
    assert await judges(office, second(case)) == {SERVICE.id}


async def test_a_case_goes_on_no_other_way_beside_one_that_gave_or_may_yet_give(
    office: Office,
) -> None:
    case = await refused(office)
    about = {"alternative_to": case.id, "alternative": RefundMethod.ACCOUNT_CREDIT}
    taken = await went_on(office, case, **about, reason="courtesy")
    why, allowed = f"goes on as {taken.id}", "when that has ended and gave nothing"
    await no(office, appeal(case), "appeal_of", why, allowed)
    await office.send(taken)
    assert (await office.row(taken)).outcome is Outcome.CREDITED
    await no(office, appeal(case), "appeal_of", why, allowed)


async def test_what_was_given_on_one_branch_of_a_chain_is_seen_from_the_other(
    office: Office,
) -> None:
    case = await refused(office)
    second = await went_on(office, case, appeal_of=case.id, text="sealed news")
    assert (await office.row(second)).outcome is Outcome.REFUSED
    assert await way_taken_from(office, second) is None
    about = {"alternative_to": case.id, "alternative": RefundMethod.ACCOUNT_CREDIT}
    taken = await went_on(office, case, **about, reason="courtesy")
    assert await way_taken_from(office, second) == taken.id
    assert await way_taken_from(office, taken) is None, "the appeal was in vain"


async def test_money_that_went_after_all_is_a_way_that_was_taken_until_it_comes_back(
    office: Office,
) -> None:
    place = await office.a_charge(refund_behaviour="stuck")
    case = await office.decided(place)
    await office.send_late(case)
    assert await way_taken_from(office, case) is None, "nobody has heard of it yet"
    await office.hear_from_outside()
    (exception,) = [
        step.removeprefix("link:")
        for step in await office.steps(case)
        if step.startswith("link:exception-")
    ]
    assert await way_taken_from(office, case) == exception
    await office.late_refund_failed(case)
    assert await way_taken_from(office, case) is None


async def test_what_went_after_all_is_known_from_the_link_of_its_booking_on(
    office: Office,
) -> None:
    case = await office.decided()
    await office.send_late(case)
    await office.hear_from_outside()
    async with office.books.reading() as reading:
        (link,) = [e for e in await reading.events(case.id) if e.kind is EventKind.LINKED]
        for before, found in ((link.seq - 1, None), (link.seq, link.body["case_id"])):
            assert await given_outside(reading, case.id, before=before) == found
            assert await way_taken(reading, case.id, before=before) == found


@pytest.mark.parametrize("has_ordered", [False, True])
async def test_what_a_hand_gave_beside_a_cases_own_order_is_no_way_that_was_taken(
    office: Office, has_ordered: bool
) -> None:
    case = await office.decided()
    if has_ordered:
        await office.send(case)
    link = {"case_id": "exception-x", "why": OUTSIDE_REFUND}
    async with office.books.transaction() as tx:
        await tx.append_event(
            event(EventKind.LINKED, link, case_id=case.id, step="link:exception-x")
        )
    found = None if has_ordered else "exception-x"
    assert await way_taken_from(office, case) == found


async def test_what_a_case_was_begun_by_is_found_back_to_the_first(office: Office) -> None:
    """Through appeals, other ways and decisions that are carried out, each once."""
    chain: dict[str, dict[str, Any]] = {
        "refund-1": {},
        "refund-2": {"appeal_of": "refund-1"},
        "refund-3": {"alternative_to": "refund-2", "authorised_by": {"case_id": "refund-2"}},
        "refund-4": {"authorised_by": {"case_id": "refund-3"}},
        "refund-5": {"authorised_by": {"case_id": "overcharge-unknown"}},
    }
    link = {"case_id": "exception-x", "why": OUTSIDE_REFUND}
    async with office.books.transaction() as tx:
        for id, fields in chain.items():
            body = opened_body(request_id=id, **fields)
            await tx.append_event(event(EventKind.OPENED, body, case_id=id, step="open"))
        given = event(EventKind.LINKED, link, case_id="refund-2", step="link:exception-x")
        await tx.append_event(given)
    async with office.books.reading() as reading:
        found = [await begun_by(reading, id) for id in ("refund-1", "refund-4", "refund-5")]
        (linked,) = [e for e in await reading.events("refund-2") if e.kind is EventKind.LINKED]
        went = [await went_before(reading, id) for id in chain]
        late = await went_before(reading, "refund-4", before=linked.seq - 1)
    assert found == [
        ["refund-1"],
        ["refund-4", "refund-3", "refund-2", "refund-1"],
        ["refund-5", "overcharge-unknown"],
    ]
    assert went == [None, "exception-x", "exception-x", "exception-x", None]
    assert late is None


async def test_credit_that_went_after_all_is_a_way_that_was_taken(office: Office) -> None:
    case = await office.decided(consents_to_credit=True)
    await office.send_late(case)
    await office.hear_from_outside()
    taken = await way_taken_from(office, case)
    assert taken is not None
    assert taken.startswith("exception-")


async def test_a_case_that_is_only_named_may_yet_give(office: Office) -> None:
    case = await refused(office)
    async with office.books.transaction() as tx:
        await link_first(tx, appeal(case), NOBODY, MONDAY)
    assert await way_taken_from(office, case) == NOBODY


async def test_cases_that_name_each_other_have_an_end(office: Office) -> None:
    """Only books that were edited have them."""
    case = await refused(office)
    one, other = (replace(case, id=f"refund-{name * 26}") for name in "xy")
    async with office.books.transaction() as tx:
        for case, before in ((one, other), (other, one)):
            await tx.append_event(opened(case.id, alternative_to=before.id))
        for case, after in ((one, other), (other, one)):
            await link_first(tx, appeal(case), after.id, MONDAY)
    assert await way_taken_from(office, one) is None


async def way_taken_from(office: Office, case: Case) -> str | None:
    async with office.books.reading() as reading:
        return await way_taken(reading, case.id)


async def test_only_a_way_that_was_offered_is_taken(office: Office) -> None:
    case = await refused(office)
    another = credit(case, alternative=RefundMethod.ORIGINAL)
    await no(office, another, "alternative", "original was not offered", "account_credit")
    declined = await office.decided(await office.a_charge(), policy="generous", amount_minor=MEDIUM)
    await office.judge(declined, action=Action.DECLINE, by=LEAD)
    await no(office, credit(declined), "alternative", "was not offered", "nothing")


async def test_a_link_to_what_is_not_in_the_books_is_an_error(office: Office) -> None:
    case = await refused(office)
    async with office.books.transaction() as tx:
        with pytest.raises(LookupError, match=f"{NOBODY} is not in the books"):
            await link_first(tx, appeal(case, appeal_of=NOBODY), case.id, MONDAY)


async def link(office: Office, case_id: str) -> str:
    given = LinkInput(case_id=case_id, attempt_seconds=17, now=MONDAY)
    opened_id: str = await office.act(office.linked.open_linked_case, given)
    return opened_id


async def test_the_next_way_is_opened_once_with_the_authority_of_the_first(office: Office) -> None:
    place = await office.a_charge(refund_behaviour="stuck")
    case = await office.decided(place, policy="generous", amount_minor=MEDIUM)
    await office.judge(case, by=LEAD)
    with pytest.raises(LookupError, match=f"{case.id} has not ended"):
        await link(office, case.id)
    await office.send(case)
    await office.refund_is(case, status="failed")
    await office.look(case)
    second_id = await link(office, case.id)
    assert await link(office, case.id) == second_id
    first, again = office.started
    assert first == again
    asked = first.request
    assert (first.case_id, first.attempt_seconds) == (second_id, 17)
    assert second_id == case_id_for(CaseKind.REFUND, asked.request_id)
    assert (asked.alternative_to, asked.alternative) == (case.id, RefundMethod.ORIGINAL)
    assert asked.authorised_by is not None
    assert asked.authorised_by.case_id == case.id
    assert asked.requested_by.id == "shop"
    async with office.books.reading() as reading:
        registered = await reading.request(asked.request_id)
    assert registered is not None
    assert (registered.case_id, registered.customer) == (second_id, case.customer)
    assert (registered.kind, registered.created_at) == (CaseKind.REFUND, MONDAY)
    assert registered.body_hash == asked.body_hash()
    made = await office.act(
        office.decisions.decide_refund,
        DecideInput(case_id=second_id, request=asked, now=MONDAY + timedelta(days=8)),
    )
    assert made.slots == ()


@pytest.mark.parametrize("missing", ["all", "open", "decide", "close"])
async def test_half_a_case_goes_on_as_nothing(office: Office, missing: str) -> None:
    body = {
        "outcome": Outcome.EXPIRED, "reason_key": "", "rule": "", "amount": None,
        "alternatives": ["original"],
    }  # fmt: skip
    async with office.books.transaction() as tx:
        if missing != "all":
            step = "open" if missing != "open" else "opened"
            await tx.append_event(event(EventKind.OPENED, opened_body(), case_id=HALF, step=step))
        if missing not in ("all", "close"):
            await tx.append_event(event(EventKind.CLOSED, body, case_id=HALF, step="close"))
        if missing not in ("all", "decide"):
            await tx.record_decision(
                case_id=HALF, step="decide", decision=decision(), outcome={}, at=MONDAY
            )
    why = "is not in the books" if missing == "all" else "has not ended"
    with pytest.raises(LookupError, match=f"{HALF} {why}"):
        await link(office, HALF)
    assert office.started == []
