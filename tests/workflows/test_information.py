"""A case that asks its customer: what is given, what silence means, and what holds meanwhile."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.decisions import MOST_QUESTIONS, Decisions
from activities.messages import NOTHING_NEW, Messages
from domain.actors import Actor, sign
from domain.approvals import Action, DeskAction, RefusalCode
from domain.canonical import sha256_of
from domain.cases import Channel, Desk, EventKind, Outcome, Status
from domain.errors import Refused
from domain.evidence import EvidenceKind
from domain.linked import request_of
from domain.messages import Evidence, RecordMessageInput
from domain.refunds import DecideInput
from tests.stack import SIGNING_KEY
from tests.workflows.builders import AGENT, CUSTOMER, LARGE, LEAD, MEDIUM, PICTURE, SERVICE
from tests.workflows.test_people import assert_refused, notices
from tests.workflows.world import Case, World, utc_now
from workflows.refund import RefundCase

FOR_EVER = 81_000
"""Minor units above which the pack asks whatever came of it."""
MINUTE = timedelta(minutes=1)


async def an_asking_case(world: World, amount_minor: int = MEDIUM, **fields: Any) -> Case:
    case = await world.open_decided(policy="asking", amount_minor=amount_minor, **fields)
    assert (await world.row(case)).status is Status.AWAITING_INFORMATION
    await world.calm(case)
    return case


async def give(case: Case, **item: Any) -> None:
    shown = item or {"file": PICTURE, "name": "receipt.png"}
    assert (await case.handle.evidence(CUSTOMER, **shown)).recorded


async def deadline(world: World, case: Case) -> datetime:
    due_at = (await world.row(case)).due_at
    assert due_at is not None
    return due_at


async def settles(world: World, case: Case) -> None:
    await world.until(case, Status.SETTLING)
    await world.at_bank(case, reference="74000000000000000000008")
    looks, _ = await world.looks(case)
    await world.advance_past(case, looks[0])
    assert (await world.result(case)).outcome is Outcome.REFUNDED
    assert await world.effects(case) == 1


async def facts(world: World, case: Case) -> dict[str, Any]:
    """Those of the decision that stands."""
    async with world.stack.books.reading() as reading:
        stored = await reading.decision(case.id)
    assert stored is not None
    return stored.decision.facts


# -- asked -----------------------------------------------------------------------------


async def test_a_customer_is_asked_in_their_language_and_nothing_is_held_meanwhile(
    world: World,
) -> None:
    case = await an_asking_case(world, language="es")
    row = await world.row(case)
    assert (row.waits_for, row.reason_key) == ("customer", "refund.proof_wanted")
    assert await world.steps(case) == ["open", "decide", "ask"]
    told = dict(await notices(world, case))["case.information_requested"]
    assert (told["to"], told["language"]) == ("customer", "es")
    assert "Envíenos una foto." in told["in_words"]
    assert datetime.fromisoformat(told["until"]) == row.due_at
    described = await case.handle.workflow.query(RefundCase.describe)
    assert (described.status, described.until) == ("awaiting_information", row.due_at)
    async with world.stack.books.reading() as reading:
        assert await reading.reservations_of_case(case.id) == []
        assert await reading.ledger_transactions(case.id) == []
    await give(case)


async def test_a_file_ends_the_waiting_and_the_case_is_decided_again(world: World) -> None:
    case = await an_asking_case(world)
    digest = (await world.row(case)).digest
    await give(case)
    row = await world.until(case, Status.AWAITING_APPROVAL)
    assert row.digest not in ("", digest)
    steps = await world.steps(case)
    assert steps[2:3] + steps[4:] == ["ask", "decide#2"]
    assert (await facts(world, case))["information"] == "given"
    assert (await facts(world, case))["evidence_items"] == 1
    assert (await facts(world, case))["opened_30d"] == 0, "the case itself does not count"
    await case.handle.approve(LEAD)
    await settles(world, case)


async def test_silence_until_the_deadline_is_decided_by_the_policy(world: World) -> None:
    case = await an_asking_case(world)
    until = await deadline(world, case)
    await world.advance(case, until - MINUTE)
    assert (await world.row(case)).status is Status.AWAITING_INFORMATION
    await world.advance_past(case, until)
    assert (await world.result(case)).outcome is Outcome.REFUSED
    row = await world.row(case)
    assert (row.rule, row.reason_key) == ("SILENT", "refund.silent")
    assert await world.steps(case) == ["open", "decide", "ask", "decide#2", "close"]
    assert await world.effects(case) == 0


async def test_what_was_given_a_moment_before_the_deadline_counts(world: World) -> None:
    case = await an_asking_case(world)
    await world.advance(case, await deadline(world, case) - MINUTE)
    await give(case, text="I have it somewhere")
    await world.until(case, Status.AWAITING_APPROVAL)
    assert (await facts(world, case))["information"] == "given"
    await case.handle.decline(LEAD)


async def test_each_question_wants_something_new_and_the_same_click_is_nothing_new(
    world: World,
) -> None:
    case = await an_asking_case(world, FOR_EVER)
    await give(case, text="one")
    await world.calm(case)
    assert (await world.steps(case))[-1] == "ask#2"
    for _ in range(2):
        assert (await case.handle.evidence(CUSTOMER, text="two", click_id="c2")).recorded
        await world.calm(case)
        assert (await world.steps(case))[-1] == "ask#3"
    assert [step for step in await world.steps(case) if "evidence" in step][1:] == ["evidence:c2"]
    await case.handle.withdraw(SERVICE)


async def test_a_file_that_the_case_has_already_answers_no_later_question_and_its_giver_is_told(
    world: World,
) -> None:
    case = await an_asking_case(world, FOR_EVER)
    await give(case, file=PICTURE, name="receipt.png")
    await world.calm(case)
    again = await case.handle.evidence(CUSTOMER, file=PICTURE, name="the same.png")
    assert (again.recorded, again.message) == (True, NOTHING_NEW)
    await world.calm(case)
    assert (await world.steps(case))[-1] == "ask#2"
    await case.handle.withdraw(SERVICE)


# -- a faulty policy ---------------------------------------------------------------------


async def test_a_policy_that_asks_again_after_silence_refuses_with_its_question(
    world: World,
) -> None:
    case = await an_asking_case(world, FOR_EVER)
    await world.advance_past(case, await deadline(world, case))
    assert (await world.result(case)).outcome is Outcome.REFUSED
    row = await world.row(case)
    assert (row.rule, row.reason_key) == ("ASKS_FOR_EVER", "refund.proof_wanted")
    (*_, decided, _) = await world.events(case)
    assert "asked again after silence" in decided.body["why"]


async def test_a_policy_that_asks_for_ever_is_stopped_after_its_last_question(
    world: World,
) -> None:
    case = await an_asking_case(world, FOR_EVER)
    for number in range(1, MOST_QUESTIONS + 1):
        assert (await world.row(case)).status is Status.AWAITING_INFORMATION
        await give(case, text=f"item {number}")
        await world.calm(case)
    assert (await world.result(case)).outcome is Outcome.REFUSED
    asked = [e for e in await world.events(case) if e.kind is EventKind.INFORMATION_REQUESTED]
    assert len(asked) == MOST_QUESTIONS


async def test_a_case_that_can_be_decided_no_more_ends_and_its_desk_hears_why(
    world: World,
) -> None:
    case = await an_asking_case(world)
    await without_its_workflow(world, case, items=3)
    await give(case, text="the fourth")
    assert (await world.result(case)).outcome is Outcome.EXPIRED
    assert (await world.row(case)).reason_key == "undecided"
    told = dict(await notices(world, case))["case.undecided"]
    assert (told["to"], told["field"]) == ("desk", "evidence_items")


async def test_a_charge_refunded_elsewhere_while_the_customer_was_asked_is_not_refunded_twice(
    world: World,
) -> None:
    case = await an_asking_case(world, charge={"amount": MEDIUM})
    await world.outside_refund(case, 1)
    await give(case)
    assert (await world.result(case)).outcome is Outcome.REJECTED_BY_PROVIDER
    assert await world.effects(case) == 0


# -- people meanwhile --------------------------------------------------------------------


async def test_a_request_is_withdrawn_while_its_customer_is_asked(world: World) -> None:
    case = await an_asking_case(world)
    assert (await case.handle.withdraw(SERVICE)).recorded
    assert (await world.result(case)).outcome is Outcome.WITHDRAWN
    assert await world.steps(case) == ["open", "decide", "ask", "close"]


@pytest.mark.parametrize("action", [Action.APPROVE, Action.DECLINE])
async def test_nothing_is_approved_or_declined_while_a_customer_is_asked(
    world: World, action: Action
) -> None:
    case = await an_asking_case(world)
    await assert_refused(world, case, action, RefusalCode.NOT_WAITING, by=LEAD)
    await case.handle.withdraw(SERVICE)


async def test_contacts_and_transfers_are_heard_and_answer_no_question(world: World) -> None:
    case = await an_asking_case(world)
    assert (await case.handle.contact(CUSTOMER, Channel.PHONE, "what do you want?")).recorded
    assert (await case.handle.transfer(LEAD, Desk.FINANCE)).recorded
    await world.calm(case)
    row = await world.row(case)
    assert (row.status, row.desk) == (Status.AWAITING_INFORMATION, "finance")
    await case.handle.withdraw(SERVICE)


async def test_evidence_and_a_withdrawal_at_once_end_as_one_of_both(world: World) -> None:
    case = await an_asking_case(world)
    answers = await asyncio.gather(
        case.handle.evidence(CUSTOMER, text="here it is"),
        case.handle.withdraw(SERVICE),
        return_exceptions=True,
    )
    await world.calm(case)
    row = await world.row(case)
    if isinstance(answers[1], BaseException):
        assert isinstance(answers[1], Refused)
        assert row.status is Status.AWAITING_APPROVAL
        await case.handle.decline(LEAD)
    else:
        assert row.outcome is Outcome.WITHDRAWN


# -- taken up again ----------------------------------------------------------------------


async def test_a_second_decision_that_is_repeated_is_made_once(world: World) -> None:
    case = await an_asking_case(world)
    await give(case)
    await world.until(case, Status.AWAITING_APPROVAL)
    before = await world.account(case)
    stack = world.stack
    decisions = Decisions(stack.books, stack.provider, stack.library)
    opened, *_, last = await world.events(case)
    asked = DecideInput(
        case_id=case.id, request=request_of(opened), now=last.occurred_at, ordinal=2
    )
    progress = await ActivityEnvironment().run(decisions.decide_refund, asked)
    assert (progress.ordinal, [slot.id for slot in progress.slots]) == (2, ["first"])
    assert await world.account(case) == before
    await case.handle.decline(LEAD)


async def test_a_case_that_temporal_lost_asks_until_the_same_deadline(world: World) -> None:
    case = await an_asking_case(world)
    until = await deadline(world, case)
    before = await world.steps(case)
    await case.handle.workflow.terminate()
    assert await world.client.reopen(case.id)
    await world.calm(case)
    described = await case.handle.workflow.query(RefundCase.describe)
    assert (described.status, described.until) == ("awaiting_information", until)
    assert await world.steps(case) == before
    await world.advance_past(case, until)
    assert (await world.result(case)).outcome is Outcome.REFUSED


async def test_a_case_that_temporal_lost_after_the_answer_is_decided_as_it_was_asked(
    world: World,
) -> None:
    """What was given while nobody listened ends the waiting; attributes and consent stand."""
    case = await an_asking_case(world, attributes={"tier": "gold"}, consents_to_credit=True)
    await without_its_workflow(world, case, items=1)
    await case.handle.workflow.terminate()
    assert await world.client.reopen(case.id)
    assert (await world.result(case)).outcome is Outcome.CREDITED
    told = await facts(world, case)
    assert (told["attributes.tier"], told["consents_to_credit"]) == ("gold", True)
    assert (told["information"], told["evidence_items"]) == ("given", 1)
    assert await world.effects(case) == 1


async def test_a_case_that_temporal_lost_after_its_second_decision_goes_on_from_there(
    world: World,
) -> None:
    case = await an_asking_case(world)
    await give(case)
    await world.until(case, Status.AWAITING_APPROVAL)
    await case.handle.workflow.terminate()
    assert await world.client.reopen(case.id)
    await world.calm(case)
    await case.handle.approve(LEAD)
    await settles(world, case)
    assert (await world.steps(case)).count("decide#2") == 1


async def test_a_large_case_is_asked_and_approved_on_its_last_digest(world: World) -> None:
    """Whatever is done by a page from before the second decision is stale."""
    case = await an_asking_case(world, LARGE - 20_000)
    shown = (await world.row(case)).digest
    await give(case)
    await world.until(case, Status.AWAITING_APPROVAL)
    await world.calm(case)
    for action in (Action.APPROVE, Action.DECLINE, Action.WITHDRAW):
        await assert_refused(world, case, action, RefusalCode.STALE, by=LEAD, digest=shown)
    await assert_refused(
        world, case, DeskAction.DELEGATE, RefusalCode.STALE, by=LEAD, to=AGENT, digest=shown
    )
    assert (await case.handle.approve(LEAD)).recorded
    await settles(world, case)


async def without_its_workflow(world: World, case: Case, *, items: int) -> None:
    """Statements that the books have and the workflow never heard of."""
    stack = world.stack
    messages = Messages(stack.books, SIGNING_KEY.public_key())
    for number in range(items):
        sealed = await stack.keyring.seal(case.customer, f"statement {number}")
        content: Any = {"kind": EvidenceKind.STATEMENT, "text": sealed, "file": None}
        message = Evidence(signed=signed(case, CUSTOMER, content, f"click-{number}"), **content)
        now = (await world.events(case))[-1].occurred_at
        given = RecordMessageInput[Evidence](case_id=case.id, message=message, now=now)
        answer = await ActivityEnvironment().run(messages.record_evidence, given)
        assert (answer.recorded, answer.answers) == (True, 1)


def signed(case: Case, by: Actor, content: dict[str, Any], click: str) -> Any:
    return sign(
        SIGNING_KEY, actor=by, action=DeskAction.EVIDENCE.value, case_id=case.id,
        digest=sha256_of(content), click_id=click, at=utc_now(),
    )  # fmt: skip
