"""A no is judged again by somebody else; what could not be paid one way is paid another."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.contract import DECIDE_REFUND
from activities.linked import Linked
from client import CaseHandle, Client
from client import case as client_case
from client import opening as client_opening
from client.starting import start_case
from domain.actors import Actor
from domain.approvals import RefusalCode
from domain.canonical import parse_instant
from domain.cases import (
    CaseEvent,
    CaseKind,
    EventKind,
    Language,
    Outcome,
    Status,
    case_id_for,
)
from domain.decisions import RefundMethod
from domain.errors import InvalidRequest, Refused, Unreachable
from domain.refunds import DecideInput, LinkInput, RefundCaseInput
from ledger.in_words import status_in_words
from tests.workflows.builders import AUDITOR, CUSTOMER, FINANCE, LEAD, SERVICE, a_charge, a_request
from tests.workflows.world import Case, WebProcess, World, next_case, person

CREDIT = RefundMethod.ACCOUNT_CREDIT
NEWS = "The receipt shows that I paid twice."


async def opened(world: World, charge: dict[str, Any] | None = None, **fields: Any) -> Case:
    return await world.open_decided(charge, policy="generous", **fields)


async def refused_case(world: World, **fields: Any) -> Case:
    case = await opened(world, **{"reason": "courtesy", **fields})
    assert (await world.result(case)).outcome is Outcome.REFUSED
    return case


async def declined_case(world: World, by: Actor = LEAD) -> Case:
    case = await opened(world)
    await case.handle.decline(by)
    assert (await world.result(case)).outcome is Outcome.DECLINED
    return case


async def failed_case(world: World, **fields: Any) -> Case:
    """Approved, sent, and sent back by the bank."""
    case = await opened(world, {"refund_behaviour": "silent"}, **fields)
    if (await world.row(case)).status is Status.AWAITING_APPROVAL:
        await case.handle.approve(LEAD)
    await fail(world, case)
    return case


async def fail(world: World, case: Case) -> None:
    """The bank sends the money back."""
    await world.until(case, Status.SETTLING)
    await world.at_bank(case, status="failed")
    looks, _ = await world.looks(case)
    await world.advance_past(case, looks[0])
    assert (await world.result(case)).outcome is Outcome.FAILED_AT_BANK


def as_case(case: Case, handle: CaseHandle) -> Case:
    return Case(handle, case.customer, case.charge)


async def closing(world: World, case: Case) -> CaseEvent:
    return next(e for e in await world.events(case) if e.kind is EventKind.CLOSED)


# -- appeals ---------------------------------------------------------------------------


async def test_a_refusal_says_until_when_it_may_be_appealed_and_what_is_offered(
    world: World,
) -> None:
    case = await refused_case(world)
    end = await closing(world, case)
    row = await world.row(case)
    for language in Language:
        plain = status_in_words(row, language)
        told = status_in_words(row, language, closing=end)
        assert told.startswith(plain)
        assert told.count("UTC") == 2, "both instants are named"


async def test_an_appeal_is_decided_by_somebody_else_and_pays_once(world: World) -> None:
    case = await declined_case(world)
    again = as_case(case, await case.handle.appeal(CUSTOMER, NEWS))
    await again.handle.decided()
    with pytest.raises(Refused) as no:
        await again.handle.approve(LEAD)
    assert no.value.code == RefusalCode.SELF_APPROVAL
    with pytest.raises(Refused, match="judged it before"):
        await again.handle.delegate(person(LEAD, "other"), LEAD)
    await again.handle.approve(person(LEAD, "other"))
    await world.until(again, Status.SETTLING)
    assert await world.effects(again) == 1
    assert await world.effects(case) == 0
    assert (await next_case(world, case)).id == again.id
    (begin, *_) = await world.events(again)
    assert begin.body["appeal_of"] == case.id
    assert NEWS not in str(begin.body)
    assert await world.client.keyring.unseal(begin.body["text"]) == NEWS
    await world.assert_sound()


async def test_who_asked_first_does_not_decide_the_appeal_either(world: World) -> None:
    asker, other = person(LEAD, "asker"), person(LEAD, "other")
    case = await opened(world, requested_by=asker.model_dump(mode="json"))
    await case.handle.decline(LEAD)
    await world.result(case)
    again = as_case(case, await case.handle.appeal(CUSTOMER, NEWS))
    await again.handle.decided()
    for judge in (asker, LEAD):
        with pytest.raises(Refused) as no:
            await again.handle.approve(judge)
        assert no.value.code == RefusalCode.SELF_APPROVAL
    await again.handle.approve(other)
    await world.until(again, Status.SETTLING)


async def test_an_appeal_that_never_began_may_be_written_again(
    world: World, cut_off: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = await refused_case(world)
    with pytest.raises(Unreachable):
        await cut_off.case(case.id).appeal(CUSTOMER, NEWS)
    with pytest.raises(Refused) as no:
        await case.handle.appeal(SERVICE, "In other words.")
    assert no.value.code == RefusalCode.ALREADY_DECIDED, "somebody may be starting it"
    monkeypatch.setattr(client_opening, "STARTING", timedelta(0))
    again = await case.handle.appeal(SERVICE, "In other words.")
    assert (await again.decided()).status is Status.AWAITING_APPROVAL
    with pytest.raises(Refused) as no:
        await case.handle.appeal(CUSTOMER, NEWS)
    assert no.value.code == RefusalCode.ALREADY_DECIDED


async def test_a_no_that_was_paid_by_hand_after_all_is_appealed_once_that_came_back(
    world: World, web: WebProcess
) -> None:
    case = await declined_case(world)
    by_hand = await world.outside_refund(case, 1, case_id=case.id)
    await world.noted()
    found = case_id_for(CaseKind.EXCEPTION, by_hand)
    with pytest.raises(Refused, match=f"money given for it after all, as {found} tells") as no:
        await case.handle.appeal(CUSTOMER, NEWS)
    assert no.value.code == RefusalCode.ALREADY_DECIDED
    assert "allowed: when the bank has sent that back" in no.value.message
    await world.stack.control(f"refunds/{by_hand}", {"status": "failed"})
    await world.noted()
    await (await case.handle.appeal(CUSTOMER, NEWS)).decided()
    await world.assert_sound()


async def test_an_appeal_is_not_paid_beside_what_a_hand_gave_for_it_meanwhile(
    world: World, web: WebProcess
) -> None:
    first = await declined_case(world)
    appeal = as_case(first, await first.handle.appeal(CUSTOMER, NEWS))
    await world.until(appeal, Status.AWAITING_APPROVAL)
    await world.outside_refund(first, 1, case_id=first.id)
    await world.noted()
    await appeal.handle.approve(FINANCE)
    assert (await world.result(appeal)).outcome is Outcome.REJECTED_BY_PROVIDER
    assert await world.effects(appeal) == 0
    await world.assert_sound()


@pytest.mark.parametrize("named", ["first", "appeal"])
async def test_what_a_hand_gives_beside_an_appeal_that_was_paid_is_no_fault_in_the_books(
    world: World, web: WebProcess, named: str
) -> None:
    first = await declined_case(world)
    appeal = as_case(first, await first.handle.appeal(CUSTOMER, NEWS))
    await world.until(appeal, Status.AWAITING_APPROVAL)
    await appeal.handle.approve(FINANCE)
    await world.until(appeal, Status.SETTLING)
    case = {"first": first, "appeal": appeal}[named]
    by_hand = await world.outside_refund(first, 1, case_id=case.id)
    await world.noted()
    found = case_id_for(CaseKind.EXCEPTION, by_hand)
    assert f"link:{found}" in await world.steps(case)
    await world.assert_sound()


async def test_an_appeal_is_heard_once_however_many_ask(world: World) -> None:
    case = await refused_case(world)
    answers = await asyncio.gather(
        *(case.handle.appeal(CUSTOMER, f"{NEWS} {n}") for n in range(4)), return_exceptions=True
    )
    won = [each for each in answers if isinstance(each, CaseHandle)]
    assert len(won) == 1
    assert all(isinstance(each, Refused | CaseHandle) for each in answers)
    again = as_case(case, won[0])
    await again.handle.decided()
    with pytest.raises(Refused) as no:
        await case.handle.appeal(CUSTOMER, "And one more thing.")
    assert no.value.code == RefusalCode.ALREADY_DECIDED
    assert again.id in no.value.message


async def test_who_did_not_hear_the_answer_appeals_again_and_it_is_the_same_appeal(
    world: World,
) -> None:
    case = await refused_case(world)
    first = await case.handle.appeal(CUSTOMER, NEWS)
    await first.decided()
    assert (await case.handle.appeal(CUSTOMER, NEWS)).case_id == first.case_id
    for by, text in ((SERVICE, NEWS), (CUSTOMER, f"{NEWS} And more.")):
        with pytest.raises(Refused, match=f"it goes on as {first.case_id} since") as no:
            await case.handle.appeal(by, text)
        assert no.value.code == RefusalCode.ALREADY_DECIDED
    await first.decline(FINANCE)
    await world.result(as_case(case, first))
    again = await case.handle.appeal(CUSTOMER, NEWS)
    row = await again.decided()
    assert (again.case_id, row.outcome) == (first.case_id, Outcome.DECLINED)
    await world.assert_sound()


async def test_a_no_to_an_appeal_is_final(world: World) -> None:
    case = await declined_case(world)
    again = as_case(case, await case.handle.appeal(CUSTOMER, NEWS))
    await again.handle.decided()
    await again.handle.decline(FINANCE)
    assert (await world.result(again)).outcome is Outcome.DECLINED
    with pytest.raises(Refused) as no:
        await again.handle.appeal(CUSTOMER, "Please.")
    assert no.value.code == RefusalCode.CLOSED
    assert (await world.refused_attempts(again)) == [("appeal", "closed")]


@pytest.mark.parametrize(
    ("by", "text", "code"),
    [
        (CUSTOMER, "  ", RefusalCode.INVALID),
        (CUSTOMER, "My first words.", RefusalCode.INVALID),
        (CUSTOMER, "4242 4242 4242 4242", RefusalCode.INVALID),
        (AUDITOR, NEWS, RefusalCode.NOT_AUTHORISED),
    ],
    ids=["nothing", "nothing new", "a card number", "who only reads"],
)
async def test_an_appeal_needs_something_new_from_somebody_who_may_speak(
    world: World, by: Actor, text: str, code: RefusalCode
) -> None:
    case = await refused_case(world, text="My first words.")
    with pytest.raises(Refused) as no:
        await case.handle.appeal(by, text)
    assert no.value.code == code
    assert (await world.refused_attempts(case)) == [("appeal", code.value)]
    assert (await closing(world, case)).body["appeal_until"]


async def test_an_open_case_is_not_appealed(world: World) -> None:
    case = await opened(world)
    with pytest.raises(Refused) as no:
        await case.handle.appeal(CUSTOMER, NEWS)
    assert no.value.code == RefusalCode.TOO_EARLY


@pytest.mark.parametrize("seconds", [-1, 0, 1])
async def test_an_appeal_comes_in_time_or_is_told_when_it_was_over(
    world: World, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = await refused_case(world)
    until = parse_instant((await closing(world, case)).body["appeal_until"])

    def edge_clock() -> datetime:
        return until + timedelta(seconds=seconds)

    monkeypatch.setattr(client_case, "_now", edge_clock)
    if seconds <= 0:
        await (await case.handle.appeal(CUSTOMER, NEWS)).decided()
        return
    with pytest.raises(Refused) as no:
        await case.handle.appeal(CUSTOMER, NEWS)
    assert no.value.code == RefusalCode.TOO_LATE
    assert f"{until:%Y-%m-%d %H:%M}" in no.value.message


async def test_an_appeal_that_was_asked_for_in_time_is_heard_though_it_is_said_again_later(
    world: World, cut_off: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = await refused_case(world)
    with pytest.raises(Unreachable):
        await cut_off.case(case.id).appeal(CUSTOMER, NEWS)
    until = parse_instant((await closing(world, case)).body["appeal_until"])
    monkeypatch.setattr(client_case, "_now", lambda: until + timedelta(seconds=1))
    monkeypatch.setattr(client_opening, "_now", lambda: until + timedelta(seconds=1))
    with pytest.raises(Refused) as no:
        await case.handle.appeal(SERVICE, NEWS)
    assert no.value.code == RefusalCode.TOO_LATE
    again = await case.handle.appeal(CUSTOMER, NEWS)
    assert (await again.decided()).status is Status.AWAITING_APPROVAL
    given = (await workflow_input(again)).asked_at
    assert given is not None
    assert given < until, "when it was asked for first"


async def workflow_input(handle: CaseHandle) -> RefundCaseInput:
    history = await handle.workflow.fetch_history()
    payloads = history.events[0].workflow_execution_started_event_attributes.input.payloads
    converter = handle.client.temporal.data_converter
    (found,) = await converter.decode(payloads, [RefundCaseInput])
    assert isinstance(found, RefundCaseInput)
    return found


async def test_the_engine_judges_an_appeal_whoever_asks(world: World) -> None:
    case = await refused_case(world)
    running = await opened(world)
    other = await a_charge(world.stack)
    mine = {"customer": case.customer, "charge": case.charge}
    wrong: list[dict[str, Any]] = [
        {**other, "appeal_of": case.id},
        {**mine, "appeal_of": "refund-" + "a" * 26},
        {"customer": running.customer, "charge": running.charge, "appeal_of": running.id},
        {**mine, "alternative_to": case.id, "alternative": "original"},
    ]
    silent = a_request(policy="generous", **mine, appeal_of=case.id, text="")
    unheard = await world.client.open_refund(silent)
    with pytest.raises(InvalidRequest, match="what is new"):
        await unheard.decided()
    for fields in wrong:
        asked = await world.client.open_refund(a_request(policy="generous", **fields))
        with pytest.raises(InvalidRequest) as no:
            await asked.decided()
        assert no.value.field in ("appeal_of", "alternative")
    assert (await world.row(running)).status is Status.AWAITING_APPROVAL


@pytest.mark.parametrize(("seconds", "is_heard"), [(-60, True), (1, False)])
async def test_the_engine_judges_an_appeals_time_by_the_case(
    world: World, seconds: int, is_heard: bool
) -> None:
    case = await refused_case(world)
    until = parse_instant((await closing(world, case)).body["appeal_until"])
    begin = until + timedelta(seconds=seconds)
    about = {
        "customer": case.customer, "charge": case.charge, "appeal_of": case.id, "text": NEWS,
    }  # fmt: skip
    asked = await world.client.open_refund(
        a_request(policy="generous", **about), start_delay=begin - datetime.now(UTC)
    )
    await world.clock.advance_to(asked.workflow, begin + timedelta(seconds=30))
    if is_heard:
        assert (await asked.decided()).status is Status.AWAITING_APPROVAL
        return
    with pytest.raises(InvalidRequest, match="the time for it ended"):
        await asked.decided()


# -- alternatives ----------------------------------------------------------------------


async def test_what_a_refusal_offers_is_taken_once(world: World) -> None:
    case = await refused_case(world)
    for _ in range(2):  # the second time because nobody heard the first answer
        taken = as_case(case, await case.handle.accept(CUSTOMER, CREDIT))
        assert (await world.result(taken)).outcome is Outcome.CREDITED
    assert await world.effects(taken) == 1
    with pytest.raises(Refused) as no:
        await case.handle.accept(SERVICE, CREDIT)
    assert no.value.code == RefusalCode.ALREADY_DECIDED
    assert taken.id in no.value.message
    await world.assert_sound()


async def test_what_a_refusal_offers_is_taken_instead_of_an_appeal_and_not_beside_it(
    world: World,
) -> None:
    case = await refused_case(world)
    appealed = as_case(case, await case.handle.appeal(CUSTOMER, NEWS))
    await appealed.handle.decided()
    with pytest.raises(Refused) as no:
        await case.handle.accept(CUSTOMER, CREDIT)
    assert no.value.code == RefusalCode.ALREADY_DECIDED
    assert appealed.id in no.value.message
    await appealed.handle.decline(FINANCE)
    await world.result(appealed)
    taken = as_case(case, await case.handle.accept(CUSTOMER, CREDIT))
    assert (await world.result(taken)).outcome is Outcome.CREDITED
    await world.assert_sound()


async def test_who_took_what_a_refusal_offers_appeals_it_no_more(world: World) -> None:
    case = await refused_case(world)
    taken = as_case(case, await case.handle.accept(CUSTOMER, CREDIT))
    assert (await world.result(taken)).outcome is Outcome.CREDITED
    with pytest.raises(Refused) as no:
        await case.handle.appeal(CUSTOMER, NEWS)
    assert no.value.code == RefusalCode.ALREADY_DECIDED
    assert taken.id in no.value.message


async def test_what_was_not_offered_is_not_taken(world: World) -> None:
    case = await refused_case(world, reason="unused_period")
    with pytest.raises(Refused, match="allowed: plan_change"):
        await case.handle.accept(CUSTOMER, CREDIT)


# -- when the bank sends the money back ------------------------------------------------


async def test_money_that_came_back_is_tried_again_and_then_offered_as_credit(
    world: World,
) -> None:
    case = await failed_case(world)
    again = await next_case(world, case)
    row = await world.until(again, Status.SETTLING)
    assert row.rule == "FINE"
    assert await world.effects(again) == 1
    assert not [e for e in await world.events(again) if e.kind is EventKind.APPROVAL_RECORDED]
    await fail(world, again)
    end = await closing(world, again)
    assert end.body["alternatives"] == [CREDIT.value]
    assert end.body["goes_on"] is False
    assert "credit" in status_in_words(await world.row(again), closing=end)
    credited = as_case(case, await again.handle.accept(SERVICE, CREDIT))
    assert (await world.result(credited)).outcome is Outcome.CREDITED
    with pytest.raises(Refused) as no:
        await again.handle.accept(CUSTOMER, CREDIT)
    assert no.value.code == RefusalCode.ALREADY_DECIDED
    await world.assert_sound()


async def test_what_was_approved_once_is_paid_once_along_a_chain_of_cases(world: World) -> None:
    """Each case of the chain came back, and each names what the first one granted."""
    case = await failed_case(world)
    again = await next_case(world, case)
    await fail(world, again)
    credited = as_case(case, await again.handle.accept(SERVICE, CREDIT))
    assert (await world.result(credited)).outcome is Outcome.CREDITED
    for named in (case, again):
        async with world.stack.books.reading() as reading:
            stored = await reading.decision(named.id)
        assert stored is not None
        asked = a_request(
            policy="generous", customer=case.customer, charge=case.charge,
            authorised_by=stored.authority(case.charge).model_dump(mode="json"),
        )  # fmt: skip
        more = await world.client.open_refund(asked)
        with pytest.raises(InvalidRequest, match="no such amount left") as no:
            await more.decided()
        assert no.value.field == "authorised_by"
    await world.assert_sound()


async def test_what_is_left_is_paid_when_the_charge_was_refunded_in_part_meanwhile(
    world: World,
) -> None:
    case = await opened(world, {"refund_behaviour": "silent", "amount": 2_685})
    await case.handle.approve(LEAD)
    await world.until(case, Status.SETTLING)
    await world.at_bank(case, status="failed")
    await world.outside_refund(case, 1)
    looks, _ = await world.looks(case)
    await world.advance_past(case, looks[0])
    again = await next_case(world, case)
    assert (await world.until(again, Status.SETTLING)).amount_minor == 2_684


async def test_what_came_back_is_owed_less_what_was_given_by_hand_in_the_name_of_its_case(
    world: World, web: WebProcess
) -> None:
    case = await opened(world, {"refund_behaviour": "silent"})
    await case.handle.approve(LEAD)
    await world.until(case, Status.SETTLING)
    by_hand = await world.outside_refund(case, 1, case_id=case.id)
    await world.noted()
    assert f"link:{case_id_for(CaseKind.EXCEPTION, by_hand)}" in await world.steps(case)
    await world.at_bank(case, status="failed")
    again = await next_case(world, case)
    row = await world.until(again, Status.SETTLING)
    granted = (await world.row(case)).amount_minor
    assert granted is not None
    assert row.amount_minor == granted - 1
    await world.assert_sound()


async def test_finance_hears_when_what_came_back_can_no_more_be_paid(world: World) -> None:
    case = await opened(world, {"refund_behaviour": "silent", "amount": 2_685})
    await case.handle.approve(LEAD)
    await world.until(case, Status.SETTLING)
    await world.at_bank(case, status="failed")
    await world.outside_refund(case, 2_685)
    looks, _ = await world.looks(case)
    await world.advance_past(case, looks[0])
    async with asyncio.timeout(60):
        while True:
            async with world.stack.books.reading() as reading:
                outbox = await reading.outbox_of_case(case.id)
            told = [row for row in outbox if row.topic == "case.alternative_refused"]
            if told:
                break
            await asyncio.sleep(0.05)
    assert told[0].body["to"] == "finance"
    assert "nothing is left" in told[0].body["message"]


async def test_who_agreed_to_credit_before_is_not_asked_again(world: World) -> None:
    case = await failed_case(world, consents_to_credit=True)
    again = await next_case(world, case)
    await fail(world, again)
    credited = await next_case(world, again)
    result = await world.result(credited)
    assert result.outcome is Outcome.CREDITED
    assert result.amount == (await world.result(case)).amount
    assert [await world.effects(each) for each in (case, again, credited)] == [1, 1, 1]
    await world.assert_sound()


async def test_a_linked_case_is_opened_once_however_often_it_is_ordered(world: World) -> None:
    case = await failed_case(world)
    again = await next_case(world, case)
    await world.until(again, Status.SETTLING)
    started: list[str] = []

    async def start(what: RefundCaseInput) -> bool:
        started.append(what.case_id)
        return await start_case(world.stack.temporal, what, task_queue=world.queue)

    linked = Linked(world.stack.books, start)
    order = LinkInput(case_id=case.id, attempt_seconds=30, now=datetime.now(UTC))
    before = await world.account(again)
    assert [await linked.open_linked_case(order) for _ in range(2)] == [again.id] * 2
    assert started == [again.id] * 2
    await world.calm(again)
    assert await world.account(again) == before
    assert await world.effects(again) == 1


async def test_a_decision_knows_when_its_case_was_asked_for(world: World) -> None:
    before = datetime.now(UTC)
    case = await world.open()
    after = datetime.now(UTC)
    await case.handle.decided()
    history = await case.handle.workflow.fetch_history()
    (asked_with,) = [
        event.activity_task_scheduled_event_attributes.input
        for event in history.events
        if event.activity_task_scheduled_event_attributes.activity_type.name == DECIDE_REFUND
    ]
    converter = world.stack.temporal.data_converter
    (asked,) = await converter.decode(asked_with.payloads, [DecideInput])
    assert before <= asked.asked_at <= after
