"""The first-response clock of a real case, and what the metrics say of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from audit.rebuild import compare_projection
from decisions import Pack
from domain.approvals import DeskAction, RefusalCode
from domain.cases import Channel, Direction, EventKind, Outcome, Status
from domain.errors import Refused
from ledger.figures import By, Figures
from ledger.metrics import metrics
from tests.workflows.builders import AGENT, CUSTOMER, LEAD, MEDIUM, SMALL, a_request
from tests.workflows.world import POLICIES, Case, World, utc_now

PATIENT = Pack.load(POLICIES / "patient/v1.yaml")
OUTGOING = Direction.OUTGOING


async def figures_of(world: World, case: Case, now: datetime) -> Figures:
    """The figures of this case alone: it is the only one of its instant and channel."""
    row = await world.row(case)
    at = row.opened_at
    async with world.stack.books.reading() as reading:
        found = await metrics(
            reading, since=at, until=at + timedelta(microseconds=1), now=now, by=By.CHANNEL
        )
    return found.total


async def test_staff_who_answers_stops_the_clock_and_the_metrics_tell_when(world: World) -> None:
    case = await world.open_decided(policy="patient", channel="phone", amount_minor=MEDIUM)
    await world.calm(case)
    waiting = await world.row(case)
    due = PATIENT.first_response_due(Channel.PHONE, waiting.opened_at)
    assert due is not None
    assert (waiting.channel, waiting.first_response_due) == (Channel.PHONE, due)
    assert waiting.first_responded_at is None
    opened, *_ = await world.events(case)
    assert datetime.fromisoformat(opened.body["first_response_due"]) == due
    async with world.stack.books.reading() as reading:
        stored = await reading.decision(case.id)
    assert stored is not None
    assert stored.decision.facts["channel"] == "phone"

    assert (await case.handle.contact(CUSTOMER, Channel.PHONE, "any news?")).recorded
    assert (await world.row(case)).first_responded_at is None, "the customer is no answer"
    answer: dict[str, Any] = {"direction": OUTGOING, "click_id": f"{case.id}-answer"}
    for _ in range(2):
        assert (await case.handle.contact(AGENT, Channel.PHONE, "we look at it", **answer)).recorded
    told = [e for e in await world.events(case) if e.kind is EventKind.ANSWERED]
    assert [event.actor for event in told] == [AGENT]
    assert await world.stack.keyring.unseal(told[0].body["text"]) == "we look at it"
    answered = await world.row(case)
    assert answered.first_responded_at == told[0].occurred_at

    await case.handle.approve(LEAD)
    await world.until(case, Status.SETTLING)
    await world.at_bank(case, reference="74000000000000000000077")
    (look, *_), _ = await world.looks(case)
    await world.advance_past(case, look)
    assert (await world.result(case)).outcome is Outcome.REFUNDED
    await case.handle.survey(CUSTOMER, effort=2, satisfaction=4)

    found = await figures_of(world, case, utc_now())
    waited = (told[0].occurred_at - opened.occurred_at) // timedelta(seconds=1)
    assert (found.cases, found.first_response.p50_seconds) == (1, waited)
    assert (found.answered_in_time.count, found.answered_in_time.of) == (1, 1)
    assert (found.time_to_decision.n, found.time_to_acceptance.n) == (1, 1)
    assert (found.time_to_confirmation.p50_seconds or 0) >= timedelta(days=6).total_seconds()
    assert (found.resolved.count, found.given_minor) == (1, {"usd": MEDIUM})
    assert (found.effort.mean_hundredths, found.satisfaction.mean_hundredths) == (200, 400)
    assert await compare_projection(world.stack.books) == []


async def test_a_notice_of_the_order_is_an_answer_and_a_withdrawal_is_none(world: World) -> None:
    paid = await world.open_settling(policy="patient", channel="phone", amount_minor=SMALL)
    (accepted,) = [e for e in await world.events(paid) if e.kind is EventKind.ACCEPTED]
    assert (await world.row(paid)).first_responded_at == accepted.occurred_at
    back = await world.open_decided(policy="patient", channel="phone", amount_minor=MEDIUM)
    await back.handle.withdraw(CUSTOMER)
    row = await world.until(back, Status.CLOSED)
    assert row.first_responded_at is None
    assert not row.is_unanswered(row.opened_at + timedelta(days=30))


async def test_a_customer_or_a_service_does_not_answer_for_staff(world: World) -> None:
    case = await world.open_decided(policy="patient", channel="phone", amount_minor=MEDIUM)
    with pytest.raises(Refused, match="allowed: agent, finance, lead") as no:
        await case.handle.contact(CUSTOMER, Channel.PHONE, direction=OUTGOING)
    assert no.value.code == RefusalCode.NOT_AUTHORISED
    assert await world.refused_attempts(case) == [(DeskAction.CONTACT, RefusalCode.NOT_AUTHORISED)]
    assert (await world.row(case)).first_responded_at is None
    await case.handle.withdraw(CUSTOMER)


async def test_the_same_request_by_another_channel_is_the_same_case(world: World) -> None:
    case = await world.open_decided(policy="patient", channel="phone", amount_minor=MEDIUM)
    row = await world.row(case)
    request = a_request(
        request_id=row.request_id, customer=case.customer, charge=case.charge, policy="patient",
        amount_minor=MEDIUM,
    )  # fmt: skip
    again = await world.client.open_refund({**request, "channel": "email"})
    assert again.case_id == case.id
    assert (await world.row(case)).channel is Channel.PHONE
    with pytest.raises(Refused, match="another body"):
        await world.client.open_refund({**request, "reason": "other"})
    await case.handle.withdraw(CUSTOMER)


async def test_a_policy_without_a_clock_for_the_channel_promises_nothing(world: World) -> None:
    case = await world.open_decided(policy="patient", channel="letter", amount_minor=MEDIUM)
    row = await world.row(case)
    assert (row.channel, row.first_response_due) == (Channel.LETTER, None)
    await case.handle.withdraw(CUSTOMER)
