"""Money under way: looked at until it has arrived, has failed, or a person must trace it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain.cases import Outcome, Status
from domain.money import Money
from tests.workflows.builders import FINANCE, LEAD, MEDIUM, SMALL, a_charge
from tests.workflows.world import Case, World


async def test_silence_until_the_maximum_day_confirms_a_refund(world: World) -> None:
    case = await world.open_settling({"refund_behaviour": "silent"})
    looks, _ = await world.looks(case)
    assert len(looks) == 3
    for instant in looks[:-1]:
        assert await world.advance_past(case, instant), "it ended before the maximum day"
        assert (await world.row(case)).status is Status.SETTLING
    await world.advance_past(case, looks[-1])
    result = await world.result(case)
    assert (result.outcome, result.amount) == (
        Outcome.REFUNDED,
        Money(amount_minor=SMALL, currency="usd"),
    )
    events = await world.events(case)
    assert [e.step for e in events] == [
        "open", "decide", "accept", "look#1", "look#2", "look#3", "confirm", "close",
    ]  # fmt: skip
    confirmed = next(e for e in events if e.step == "confirm")
    assert confirmed.body["confirmed_by"] == "silence"
    assert [e.occurred_at for e in events if e.step.startswith("look#")] == pytest.approx(
        looks, abs=timedelta(seconds=60)
    ), "no look early, and none more than a minute late"
    assert await world.effects(case) == 1


@pytest.mark.parametrize("day", [0, 1, 2], ids=["minimum", "between", "maximum"])
async def test_an_own_look_finds_the_bank_reference_on_any_day_without_a_webhook(
    world: World, day: int
) -> None:
    case = await world.open_settling({"refund_behaviour": "silent"})
    looks, _ = await world.looks(case)
    for instant in looks[:day]:
        assert await world.advance_past(case, instant)
    await world.at_bank(case, reference="74000000000000000000001")
    await world.advance_past(case, looks[day])
    assert (await world.result(case)).outcome is Outcome.REFUNDED
    events = await world.events(case)
    confirmed = next(e for e in events if e.step == "confirm")
    assert confirmed.body == {
        "confirmed_by": "reference", "reference": "74000000000000000000001",
    }  # fmt: skip
    assert f"look#{day + 1}" in [e.step for e in events]


async def test_a_refund_that_fails_at_the_bank_days_later_is_reversed(world: World) -> None:
    case = await world.open_settling({"refund_behaviour": "fails"})
    looks, _ = await world.looks(case)
    await world.advance_past(case, looks[0])
    assert (await world.result(case)).outcome is Outcome.FAILED_AT_BANK
    async with world.stack.books.reading() as reading:
        kinds = [x.kind.value for x in await reading.ledger_transactions(case.id)]
        topics = [row.topic for row in await reading.outbox_of_case(case.id)]
        left = await reading.reservations_of_case(case.id)
    assert sorted(kinds) == ["hold", "post", "reversal"]
    assert "case.failed_at_bank" in topics, "finance is told"
    assert {reservation.state.value for reservation in left} == {"released"}


async def test_a_refund_that_failed_frees_the_charge_for_another_request(world: World) -> None:
    failed = await world.open_settling({"refund_behaviour": "fails", "amount": SMALL})
    looks, _ = await world.looks(failed)
    await world.advance_past(failed, looks[0])
    assert (await world.result(failed)).outcome is Outcome.FAILED_AT_BANK
    again = await world.open_settling({"customer": failed.customer, "charge": failed.charge})
    assert (await world.row(again)).amount_minor == SMALL


async def test_money_still_pending_at_the_maximum_day_is_traced_and_then_found(
    world: World,
) -> None:
    case = await world.open_settling({"refund_behaviour": "stuck"})
    looks, trace_looks = await world.looks(case)
    for instant in looks:
        assert await world.advance_past(case, instant)
    row = await world.row(case)
    assert (row.status, row.waits_for) == (Status.TRACING, "trace")
    assert row.due_at == trace_looks[0], "it waits with a deadline"
    async with world.stack.books.reading() as reading:
        told = [
            notice.body["to"]
            for notice in await reading.outbox_of_case(case.id)
            if notice.topic == "case.trace_opened"
        ]
    assert sorted(told) == ["customer", "finance"]
    await world.at_bank(case, status="succeeded")
    await world.at_bank(case, reference="74000000000000000000002")
    await world.advance_past(case, trace_looks[0])
    assert (await world.result(case)).outcome is Outcome.REFUNDED


async def test_money_that_is_never_found_ends_unconfirmed_in_front_of_finance(
    world: World,
) -> None:
    case = await world.open_settling({"refund_behaviour": "stuck"})
    looks, trace_looks = await world.looks(case)
    for instant in (*looks, *trace_looks):
        await world.advance_past(case, instant)
    assert (await world.result(case)).outcome is Outcome.UNCONFIRMED
    assert (await world.row(case)).reason_key == "unconfirmed"


async def test_account_credit_needs_consent_and_no_settling(world: World) -> None:
    case = await world.open_decided(consents_to_credit=True)
    assert (await world.result(case)).outcome is Outcome.CREDITED
    assert await world.effects(case) == 1
    async with world.stack.books.reading() as reading:
        (post,) = [x for x in await reading.ledger_transactions(case.id) if x.kind.value == "post"]
    accounts = {entry.account: entry.amount.amount_minor for entry in post.entries}
    assert accounts["liability:customer_credit"] == -SMALL
    assert accounts["expense:credits:service_unavailable"] == SMALL


async def test_a_policy_refusal_moves_nothing_and_gives_a_reason_to_read(world: World) -> None:
    disputed = await a_charge(world.stack)
    await world.stack.control(f"charges/{disputed['charge']}/dispute", {})
    case = await world.open(disputed)
    row = await case.handle.decided()
    assert (row.status, row.outcome) == (Status.CLOSED, Outcome.REFUSED)
    assert row.reason_key == "refund.disputed"
    assert await world.effects(case) == 0
    async with world.stack.books.reading() as reading:
        assert await reading.ledger_transactions(case.id) == []


async def test_a_case_that_nobody_decides_expires_at_its_instant_and_gives_back_the_hold(
    world: World,
) -> None:
    case = await world.open_decided(amount_minor=MEDIUM)
    row = await world.row(case)
    assert row.status is Status.AWAITING_APPROVAL
    assert row.due_at is not None
    assert await world.advance(case, row.due_at - timedelta(seconds=30)), "expired early"
    await world.advance_past(case, row.due_at)
    assert (await world.result(case)).outcome is Outcome.EXPIRED
    closed_at = (await world.row(case)).closed_at
    assert closed_at is not None
    assert timedelta(0) <= closed_at - row.due_at <= timedelta(seconds=60)
    await _assert_nothing_moved(world, case)


async def test_a_declined_case_says_by_whom_and_gives_back_the_hold(world: World) -> None:
    case = await world.open_decided(amount_minor=MEDIUM)
    await case.handle.decline(LEAD, note="not this time")
    assert (await world.result(case)).outcome is Outcome.DECLINED
    closing = (await world.events(case))[-1]
    assert closing.actor == LEAD
    await _assert_nothing_moved(world, case)


async def test_a_withdrawn_case_gives_back_the_hold(world: World) -> None:
    case = await world.open_decided(amount_minor=MEDIUM)
    requester = (await world.events(case))[0].actor
    await case.handle.withdraw(requester)
    assert (await world.result(case)).outcome is Outcome.WITHDRAWN
    await _assert_nothing_moved(world, case)


async def test_two_slots_take_two_different_people(world: World) -> None:
    case = await world.open_decided(amount_minor=60_000)
    await case.handle.approve(LEAD, slot="first")
    assert (await world.row(case)).status is Status.AWAITING_APPROVAL
    await case.handle.approve(FINANCE, slot="second")
    await world.until(case, Status.SETTLING)
    assert await world.effects(case) == 1


async def test_a_charge_refunded_elsewhere_meanwhile_is_not_refunded_twice(world: World) -> None:
    case = await world.open_decided({"amount": MEDIUM}, amount_minor=MEDIUM)
    await world.outside_refund(case, 1_000)
    await case.handle.approve(LEAD)
    assert (await world.result(case)).outcome is Outcome.REJECTED_BY_PROVIDER
    assert (await world.row(case)).reason_key == "already_refunded"
    await _assert_nothing_moved(world, case)


async def test_a_chargeback_between_decision_and_order_stops_the_order(world: World) -> None:
    case = await world.open_decided(amount_minor=MEDIUM)
    await world.stack.control(f"charges/{case.charge}/dispute", {})
    await case.handle.approve(LEAD)
    assert (await world.result(case)).outcome is Outcome.REJECTED_BY_PROVIDER
    assert (await world.row(case)).reason_key == "charge_disputed"
    await _assert_nothing_moved(world, case)


async def test_an_order_that_the_provider_refuses_is_voided(world: World) -> None:
    case = await world.open_decided(amount_minor=MEDIUM)
    await world.fault(case, kind="status_400", code="charge_already_refunded", count=1)
    await case.handle.approve(LEAD)
    assert (await world.result(case)).outcome is Outcome.REJECTED_BY_PROVIDER
    assert (await world.row(case)).reason_key == "already_refunded"
    await _assert_nothing_moved(world, case)


async def _assert_nothing_moved(world: World, case: Case) -> None:
    assert await world.effects(case) == 0
    async with world.stack.books.reading() as reading:
        transactions = await reading.ledger_transactions(case.id)
        left = await reading.reservations_of_case(case.id)
    assert sorted(x.kind.value for x in transactions) == ["hold", "void"]
    assert {reservation.state.value for reservation in left} == {"released"}
