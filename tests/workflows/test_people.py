"""People around a waiting case: called again, asked further up, handed over, and heard."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from temporalio.testing import ActivityEnvironment

from activities.decisions import Decisions
from domain.actors import Actor
from domain.approvals import Action, Answer, ApprovalSlot, DeskAction, RefusalCode
from domain.cases import Channel, Desk, EventKind, Outcome, Status
from domain.errors import Refused
from domain.refunds import DecideInput, RefundRequest
from ledger import tables as t
from ledger.projection import slots_of
from tests.replay.test_replay import FINGERPRINTS, fingerprint
from tests.workflows.builders import (
    AGENT,
    AUDITOR,
    CUSTOMER,
    FINANCE,
    LEAD,
    MEDIUM,
    SERVICE,
    unique,
)
from tests.workflows.world import Case, World, person
from workflows.connection import CASE_DESK
from workflows.desk import MOST_IN_VAIN, MOST_MESSAGES

TWO_SLOTS = 60_000
MINUTE = timedelta(minutes=1)
"""Before an instant: a case lives on in real time while a test looks at it."""


async def a_patient_case(world: World, amount_minor: int = MEDIUM) -> Case:
    """A case that waits under the pack with reminders and an escalation."""
    case = await world.open_decided(policy="patient", amount_minor=amount_minor)
    await world.calm(case)
    return case


async def slots(world: World, case: Case) -> tuple[ApprovalSlot, ...]:
    return slots_of(await world.events(case))


async def the_slot(world: World, case: Case) -> ApprovalSlot:
    (slot,) = await slots(world, case)
    return slot


async def escalates_at(world: World, case: Case) -> datetime:
    at = (await the_slot(world, case)).escalates_at
    assert at is not None
    return at


async def notices(world: World, case: Case) -> list[tuple[str, dict[str, Any]]]:
    """Topic and body of what was sent about a case, to whom it may concern."""
    statement = select(t.outbox.c.topic, t.outbox.c.body).where(t.outbox.c.case_id == case.id)
    async with world.stack.books.reading() as reading:
        found = await reading.execute(statement.order_by(t.outbox.c.id))
        return [(row.topic, json.loads(row.body)) for row in found]


async def topics(world: World, case: Case) -> list[str]:
    return [topic for topic, _ in await notices(world, case)]


async def commands(case: Case) -> Sequence[str]:
    return fingerprint(await case.handle.workflow.fetch_history())


async def until_commanded(case: Case, word: str) -> None:
    while word not in await commands(case):  # noqa: ASYNC110 (a server, not an event)
        await asyncio.sleep(0.05)


async def assert_refused(
    world: World, case: Case, action: Action | DeskAction, code: RefusalCode, **how: Any
) -> str:
    """The refusal's words; the attempt, and nothing else, is on record."""
    before = len(await world.events(case)), await world.refused_attempts(case)
    with pytest.raises(Refused) as no:
        await getattr(case.handle, action.value)(**how)
    assert no.value.code == code
    after = len(await world.events(case)), await world.refused_attempts(case)
    assert after[0] == before[0]
    assert sorted(after[1]) == sorted([*before[1], (action.value, code.value)])
    return no.value.message


# -- reminders -------------------------------------------------------------------------


async def test_nobody_is_reminded_before_the_time_and_everybody_after_it(world: World) -> None:
    case = await a_patient_case(world)
    slot = await the_slot(world, case)
    await world.advance(case, slot.remind_at[0] - MINUTE)
    assert await world.steps(case) == ["open", "decide"]
    await world.advance_past(case, slot.remind_at[0])
    *_, last = await world.events(case)
    assert (last.step, last.kind) == ("remind:1", EventKind.REMINDED)
    assert last.occurred_at >= slot.remind_at[0]
    assert last.body["slots"] == [{"id": "first", "roles": ["agent", "lead"]}]
    assert datetime.fromisoformat(last.body["expires_at"]) == slot.expires_at
    topic, body = (await notices(world, case))[-1]
    assert (topic, body["to"], body["desk"]) == ("case.reminded", "desk", "billing")
    await case.handle.approve(LEAD)
    await world.until(case, Status.SETTLING)


async def test_a_case_that_nobody_decides_is_called_for_each_time_and_then_expires(
    world: World,
) -> None:
    case = await a_patient_case(world)
    await world.advance_past(case, (await the_slot(world, case)).expires_at)
    assert (await world.result(case)).outcome is Outcome.EXPIRED
    steps = ["open", "decide", "remind:1", "escalate:first", "remind:2", "close"]
    assert await world.steps(case) == steps
    made = await commands(case)
    assert made.count("timer") == made.count("timer fired") == 4, "one at a time"
    assert made.count("remind_approvers") == 3, "one activity a call"
    at = [event.occurred_at for event in await world.events(case)]
    assert all(before <= after for before, after in itertools.pairwise(at))


async def test_a_case_approved_before_its_first_reminder_costs_what_it_did_without(
    world: World,
) -> None:
    case = await world.open_settling({"refund_behaviour": "silent"}, amount_minor=MEDIUM)
    await world.calm(case)
    known = json.loads(FINGERPRINTS.read_text(encoding="utf-8"))["refund-v1-settled_by_webhook"]
    until_sent = known.index("send_refund") + 1
    assert (await commands(case))[:until_sent] == known[:until_sent]


async def test_only_open_slots_are_called_for(world: World) -> None:
    case = await a_patient_case(world, TWO_SLOTS)
    first, second = await slots(world, case)
    await case.handle.approve(FINANCE, slot="second")
    await world.advance_past(case, second.remind_at[-1])
    reminded = [e for e in await world.events(case) if e.kind is EventKind.REMINDED]
    assert [event.step for event in reminded] == ["remind:1"], "the second is of the filled slot"
    assert [slot["id"] for slot in reminded[0].body["slots"]] == [first.id]
    await case.handle.approve(LEAD, slot="first")
    await world.until(case, Status.SETTLING)


async def test_an_approval_that_comes_while_a_reminder_is_written_counts(world: World) -> None:
    case = await a_patient_case(world)
    remind_at = (await the_slot(world, case)).remind_at[0]
    async with world.stack.books.transaction() as tx:
        await tx.lock_charge(case.charge)
        moving = asyncio.create_task(world.advance_past(case, remind_at))
        await until_commanded(case, "remind_approvers")
        approving = asyncio.create_task(case.handle.approve(LEAD))
        await until_commanded(case, "update accepted")
    assert (await approving).recorded
    await moving
    await world.until(case, Status.SETTLING)
    assert await world.effects(case) == 1


# -- escalation ------------------------------------------------------------------------


async def test_further_roles_are_refused_before_the_escalation_and_heard_after_it(
    world: World,
) -> None:
    case = await a_patient_case(world)
    instant = await escalates_at(world, case)
    await world.advance_past(case, (await the_slot(world, case)).remind_at[0])
    await world.advance(case, instant - MINUTE)
    said = await assert_refused(world, case, Action.APPROVE, RefusalCode.NOT_AUTHORISED, by=FINANCE)
    assert "agent, lead" in said
    await world.advance_past(case, instant)
    *_, last = await world.events(case)
    assert (last.step, last.kind) == ("escalate:first", EventKind.ESCALATED)
    assert last.body["to"] == ["finance"]
    topic, body = (await notices(world, case))[-1]
    assert (topic, body["to"]) == ("case.escalated.first", ["finance"])
    assert (await case.handle.approve(FINANCE)).recorded
    await world.until(case, Status.SETTLING)


# -- contacts and desks ----------------------------------------------------------------


async def test_a_case_hears_its_customer_in_every_open_state(world: World) -> None:
    case = await world.open_decided({"refund_behaviour": "stuck"}, amount_minor=MEDIUM)
    states = []
    for channel in (Channel.PHONE, Channel.EMAIL, Channel.LETTER):
        states.append((await world.row(case)).status)
        assert (await case.handle.contact(CUSTOMER, channel, f"any news, by {channel}?")).recorded
        if states[-1] is Status.AWAITING_APPROVAL:
            await case.handle.approve(LEAD)
            await world.until(case, Status.SETTLING)
            await world.calm(case)
        elif states[-1] is Status.SETTLING:
            for look in (await world.looks(case))[0]:
                await world.advance_past(case, look)
            await world.until(case, Status.TRACING)
    assert states == [Status.AWAITING_APPROVAL, Status.SETTLING, Status.TRACING]
    told = [e for e in await world.events(case) if e.kind is EventKind.CONTACTED]
    assert [event.body["channel"] for event in told] == ["phone", "email", "letter"]
    assert await world.stack.keyring.unseal(told[0].body["text"]) == "any news, by phone?"
    assert (await world.row(case)).status is Status.TRACING, "a word moves nothing"


@pytest.mark.deep
async def test_a_case_that_took_all_the_messages_it_takes_can_still_be_decided_on(
    world: World,
) -> None:
    case = await world.open_decided(amount_minor=MEDIUM)
    for _ in range(MOST_MESSAGES // 4):
        said = (case.handle.contact(CUSTOMER, Channel.PHONE, "any news?") for _ in range(4))
        assert all(answer.recorded for answer in await asyncio.gather(*said))
    for one_more in (
        case.handle.contact(CUSTOMER, Channel.PHONE, "any news?"),
        case.handle.evidence(CUSTOMER, text="here it is"),
        case.handle.transfer(LEAD, Desk.FINANCE),
        case.handle.claim(LEAD),
    ):
        with pytest.raises(Refused, match="it can still be decided on") as refused:
            await one_more
        assert refused.value.code == RefusalCode.OVER_LIMIT
    assert (await case.handle.approve(LEAD)).recorded
    await world.until(case, Status.SETTLING)


async def test_who_is_refused_again_and_again_leaves_room_for_who_may_decide(world: World) -> None:
    case = await world.open_decided(amount_minor=10_001)
    small_budget = person(AGENT, unique("agent-"))
    for number in range(MOST_IN_VAIN + 1):
        with pytest.raises(Refused) as refused:
            await case.handle.approve(small_budget)
        assert refused.value.code == RefusalCode.OVER_LIMIT
        is_last = number == MOST_IN_VAIN
        assert ("was refused here 50 times" in refused.value.message) is is_last
    assert (await case.handle.approve(LEAD)).recorded
    await world.until(case, Status.SETTLING)


async def test_the_same_click_is_one_contact(world: World) -> None:
    case = await a_patient_case(world)
    click = unique("click-")
    answers: list[Answer] = await asyncio.gather(
        *(case.handle.contact(CUSTOMER, Channel.CHAT, "hello", click_id=click) for _ in range(3))
    )
    assert [answer.recorded for answer in answers] == [True] * 3
    assert (await world.steps(case))[2:] == [f"contact:{click}"]


async def test_a_contact_by_who_only_reads_or_with_a_card_number_is_refused(world: World) -> None:
    case = await a_patient_case(world)
    contact = DeskAction.CONTACT
    await assert_refused(
        world, case, contact, RefusalCode.NOT_AUTHORISED, by=AUDITOR, channel=Channel.CHAT
    )
    said = await assert_refused(
        world, case, contact, RefusalCode.INVALID,
        by=CUSTOMER, channel=Channel.CHAT, text="my card is 4242 4242 4242 4242",
    )  # fmt: skip
    assert said.startswith("text:")
    assert "4242" not in said


async def test_a_transfer_changes_the_row_and_what_temporal_finds_it_by(world: World) -> None:
    case = await a_patient_case(world)
    for desk in (Desk.RETENTION, Desk.FINANCE):
        assert (await case.handle.transfer(AGENT, desk, "they asked for it")).recorded
        assert (await world.row(case)).desk == desk
        described = await case.handle.workflow.describe()
        assert described.typed_search_attributes[CASE_DESK] == desk
    said = await assert_refused(
        world, case, DeskAction.TRANSFER, RefusalCode.INVALID, by=AGENT, desk=Desk.FINANCE
    )
    assert said == "desk: the case is at finance already; allowed: billing, retention"
    assert (await topics(world, case)).count("case.transferred") == 2


async def test_transfers_at_once_leave_row_and_search_attribute_agreed(world: World) -> None:
    case = await a_patient_case(world)
    desks = [Desk.RETENTION, Desk.FINANCE, Desk.RETENTION, Desk.FINANCE]
    await asyncio.gather(
        *(case.handle.transfer(AGENT, desk) for desk in desks), return_exceptions=True
    )
    await world.calm(case)
    described = await case.handle.workflow.describe()
    assert described.typed_search_attributes[CASE_DESK] == (await world.row(case)).desk


async def test_a_case_that_has_ended_takes_no_word_but_the_survey(world: World) -> None:
    case = await a_patient_case(world)
    survey: dict[str, Any] = {"by": CUSTOMER, "effort": 2, "satisfaction": 4}
    await assert_refused(world, case, DeskAction.SURVEY, RefusalCode.TOO_EARLY, **survey)
    await case.handle.decline(LEAD)
    await world.result(case)
    closed = RefusalCode.CLOSED
    await assert_refused(world, case, DeskAction.CONTACT, closed, by=CUSTOMER, channel=Channel.WEB)
    await assert_refused(world, case, DeskAction.TRANSFER, closed, by=AGENT, desk=Desk.FINANCE)
    await assert_refused(world, case, DeskAction.DELEGATE, closed, by=LEAD, to=AGENT)
    assert (await case.handle.survey(**survey)).recorded
    await assert_refused(world, case, DeskAction.SURVEY, RefusalCode.ALREADY_DECIDED, **survey)


async def test_of_two_who_claim_at_once_one_holds_the_case(world: World) -> None:
    case = await a_patient_case(world)
    people = [person(AGENT, "agent-2"), person(AGENT, "agent-3")]
    answers = await asyncio.gather(
        *(case.handle.claim(one) for one in people), return_exceptions=True
    )
    holder = (await world.row(case)).assignee
    assert [isinstance(answer, Refused) for answer in answers].count(True) == 1
    winner = people[[isinstance(answer, Refused) for answer in answers].index(False)]
    assert holder == winner.id
    (loser,) = [answer for answer in answers if isinstance(answer, Refused)]
    assert f"{holder} holds the case" in loser.message
    assert (await case.handle.release(winner)).recorded
    assert (await world.row(case)).assignee == ""
    assert (await case.handle.claim(LEAD, click_id="click")).recorded
    assert (await case.handle.claim(LEAD, click_id="click")).recorded
    told = [event for event in await world.events(case) if event.kind is EventKind.ASSIGNED]
    assert [event.body["to"] for event in told] == [winner.id, "", LEAD.id]
    await case.handle.withdraw(CUSTOMER)


# -- delegation ------------------------------------------------------------------------


async def test_a_slot_that_is_handed_over_is_for_that_person_and_for_leads(world: World) -> None:
    case = await a_patient_case(world)
    chosen, other = person(AGENT, unique("agent-")), person(AGENT, unique("agent-"))
    assert (await case.handle.delegate(AGENT, chosen)).recorded
    topic, body = (await notices(world, case))[-1]
    assert (topic, body["to"]) == ("case.delegated.first", chosen.id)
    for action in (Action.APPROVE, Action.DECLINE):
        said = await assert_refused(world, case, action, RefusalCode.NOT_AUTHORISED, by=other)
        assert f"handed to {chosen.id}" in said
    assert (await case.handle.approve(chosen)).recorded
    await world.until(case, Status.SETTLING)


async def test_a_lead_may_still_decide_what_was_handed_to_somebody(world: World) -> None:
    case = await a_patient_case(world)
    await case.handle.delegate(AGENT, person(AGENT, "agent-2"))
    assert (await case.handle.approve(LEAD)).recorded


async def test_a_slot_whose_delegate_is_silent_escalates_all_the_same(world: World) -> None:
    case = await a_patient_case(world)
    await case.handle.delegate(AGENT, person(AGENT, "agent-2"))
    await world.advance_past(case, await escalates_at(world, case))
    assert (await case.handle.approve(FINANCE)).recorded
    await world.until(case, Status.SETTLING)


@pytest.mark.parametrize(
    ("by", "to", "code", "word"),
    [
        (LEAD, LEAD, RefusalCode.INVALID, "another person"),
        (LEAD, person(LEAD, SERVICE.id), RefusalCode.SELF_APPROVAL, SERVICE.id),
        (LEAD, FINANCE, RefusalCode.NOT_AUTHORISED, "allowed: agent, lead"),
        (FINANCE, LEAD, RefusalCode.NOT_AUTHORISED, "allowed: agent, lead"),
    ],
    ids=["oneself", "the requester", "a role that may not", "by a role that may not"],
)
async def test_a_slot_is_handed_only_by_and_to_who_may_fill_it(
    world: World, by: Actor, to: Actor, code: RefusalCode, word: str
) -> None:
    case = await a_patient_case(world)
    assert word in await assert_refused(world, case, DeskAction.DELEGATE, code, by=by, to=to)


async def test_a_filled_slot_and_a_stale_one_are_not_handed_over(world: World) -> None:
    case = await a_patient_case(world, TWO_SLOTS)
    await case.handle.approve(LEAD, slot="first")
    delegate = DeskAction.DELEGATE
    other = person(FINANCE, "finance-2")
    said = await assert_refused(
        world, case, delegate, RefusalCode.ALREADY_DECIDED, by=AGENT, to=LEAD, slot="first"
    )
    assert LEAD.id in said
    await assert_refused(
        world, case, delegate, RefusalCode.STALE,
        by=FINANCE, to=other, slot="second", digest="0" * 64,
    )  # fmt: skip
    assert (await case.handle.delegate(FINANCE, other, slot="second")).recorded


async def test_a_case_taken_up_again_from_the_books_knows_whom_a_slot_was_handed_to(
    world: World,
) -> None:
    case = await a_patient_case(world)
    chosen = person(AGENT, "agent-2")
    await case.handle.delegate(AGENT, chosen)
    stack = world.stack
    decisions = Decisions(stack.books, stack.provider, stack.library)
    opened, *_ = await world.events(case)
    request = RefundRequest(
        request_id="not-read-again", customer=case.customer, charge=case.charge, currency="usd",
        reason="other", requested_by=SERVICE,
    )  # fmt: skip
    asked = DecideInput(case_id=case.id, request=request, now=opened.occurred_at)
    progress = await ActivityEnvironment().run(decisions.decide_refund, asked)
    assert [slot.delegate for slot in progress.slots] == [chosen]


async def test_a_case_that_temporal_lost_keeps_desk_and_delegate_and_repeats_no_reminder(
    world: World,
) -> None:
    case = await a_patient_case(world)
    chosen = person(AGENT, unique("agent-"))
    remind_at = (await the_slot(world, case)).remind_at
    await case.handle.transfer(AGENT, Desk.FINANCE)
    await case.handle.delegate(AGENT, chosen)
    await world.advance_past(case, remind_at[0])
    before = await world.steps(case)
    assert before[-1] == "remind:1"

    await case.handle.workflow.terminate()
    assert await world.client.reopen(case.id)
    await world.calm(case)
    described = await case.handle.workflow.describe()
    assert described.typed_search_attributes[CASE_DESK] == Desk.FINANCE
    await world.advance_past(case, remind_at[0])  # the new run's clock begins at the wall's
    assert await world.steps(case) == before
    await assert_refused(
        world, case, Action.APPROVE, RefusalCode.NOT_AUTHORISED, by=person(AGENT, "agent-3")
    )
    await world.advance_past(case, remind_at[1])
    assert (await world.steps(case))[len(before) :] == ["escalate:first", "remind:2"]
    assert (await case.handle.approve(chosen)).recorded
    await world.until(case, Status.SETTLING)
