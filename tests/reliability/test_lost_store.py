"""Temporal's store is gone, the books are not: open cases go on from what the books hold."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from activities.payments import Payments
from domain.cases import Outcome, Status
from domain.errors import InvalidRequest, Refused, Unreachable
from domain.refunds import LookInput
from tests.reliability.test_provider_faults import orders_of, wait_for_effect
from tests.stack import TemporalServer
from tests.workflows.builders import CUSTOMER, FINANCE, LARGE, LEAD, MEDIUM
from tests.workflows.world import Case, World, living_world, next_case, person
from workflows.refund import RefundCase

SECOND = person(FINANCE, "finance-2")
REFERENCE = "74000000000000000000004"


@pytest.fixture
async def world(own_server: TemporalServer) -> AsyncIterator[World]:
    async with living_world(own_server.address, attempt_seconds=3) as world:
        yield world
        await world.assert_sound()


async def lose_the_store(server: TemporalServer) -> None:
    """The server kept everything in memory; it comes back at the same address with nothing."""
    gone = server.kill9()
    await server.start()
    assert server.pid != gone


async def settles(world: World, case: Case) -> None:
    await world.until(case, Status.SETTLING)
    await world.at_bank(case, reference=REFERENCE)
    looks, _ = await world.looks(case)
    await world.advance_past(case, looks[0])
    assert (await world.result(case)).outcome is Outcome.REFUNDED


async def test_open_cases_are_taken_up_again_from_the_books_and_pay_once(
    world: World, own_server: TemporalServer
) -> None:
    waiting = await world.open_decided(amount_minor=MEDIUM)
    half = await world.open_decided(amount_minor=LARGE)
    await half.handle.approve(FINANCE)
    settling = await world.open_settling()
    asking = await world.open_decided(policy="asking", amount_minor=MEDIUM)
    asked_until = (await world.row(asking)).due_at
    unknown = await world.open(start_delay=timedelta(seconds=1))
    await world.fault(unknown, kind="slow_after", ms=6_000, count=1)
    await wait_for_effect(world, unknown)
    closed = await world.open_decided(amount_minor=MEDIUM)
    await closed.handle.decline(LEAD)

    await lose_the_store(own_server)
    moved = {"customer": unknown.customer, "by_seconds": 25 * 3600}
    await world.stack.control("clock", moved)  # the provider has forgotten the key
    with pytest.raises(Unreachable, match=r"awaiting_approval: `reopen` takes it up again"):
        await waiting.handle.approve(LEAD)
    with pytest.raises(Refused, match="the case has ended"):
        await closed.handle.withdraw(CUSTOMER)
    open_cases = [waiting, half, settling, unknown, asking]
    assert [await world.client.reopen(case.id) for case in open_cases] == [True] * 5
    assert [await world.client.reopen(case.id) for case in open_cases] == [False] * 5
    assert await world.client.reopen(closed.id) is False

    with pytest.raises(Refused, match="finance-1"):
        await half.handle.approve(FINANCE)
    await half.handle.approve(SECOND)
    await waiting.handle.approve(LEAD)
    described = await asking.handle.workflow.query(RefundCase.describe)
    assert described.until == asked_until
    await asking.handle.evidence(CUSTOMER, text="here it is")
    await world.until(asking, Status.AWAITING_APPROVAL)
    await asking.handle.approve(LEAD)
    for case in open_cases:
        await settles(world, case)
        assert await world.effects(case) == 1
        assert len(await orders_of(world, case)) == 1
    assert await world.effects(closed) == 0


async def test_looks_made_before_the_loss_do_not_stand_for_later_ones(
    world: World, own_server: TemporalServer
) -> None:
    case = await world.open_settling({"refund_behaviour": "silent"})
    looks, _ = await world.looks(case)
    for instant in looks[:-1]:
        await world.advance_past(case, instant)
    before = [step for step in await world.steps(case) if step.startswith("look#")]
    assert len(before) == len(looks) - 1

    await lose_the_store(own_server)
    assert await world.client.reopen(case.id)
    await world.until(case, Status.SETTLING)
    await world.advance_past(case, looks[-1])
    assert (await world.result(case)).outcome is Outcome.REFUNDED
    after = [step for step in await world.steps(case) if step.startswith("look#")]
    assert len(after) > len(before)
    assert await world.effects(case) == 1


async def test_what_was_to_be_paid_another_way_is_paid_though_the_store_was_lost(
    world: World, own_server: TemporalServer
) -> None:
    """The books ended the case, and Temporal was gone before it had opened the next one."""
    case = await world.open_decided(
        {"refund_behaviour": "silent"}, policy="generous", consents_to_credit=True
    )
    await case.handle.approve(LEAD)
    await world.until(case, Status.SETTLING)
    await world.calm(case)
    await world.at_bank(case, status="failed")
    looks, _ = await world.looks(case)
    await Payments(world.stack.books, world.stack.provider).look_at_refund(
        LookInput(case_id=case.id, ordinal=1, now=looks[0])
    )
    assert (await world.row(case)).outcome is Outcome.FAILED_AT_BANK
    await lose_the_store(own_server)
    assert await owing(world) == [case.id]
    assert await world.client.reopen(case.id)
    again = await next_case(world, case)
    await world.until(again, Status.SETTLING)
    assert [await world.effects(each) for each in (case, again)] == [1, 1]
    assert await owing(world) == []
    assert await world.client.reopen(case.id) is False


async def owing(world: World) -> list[str]:
    async with world.stack.books.reading() as reading:
        return await reading.owing()


async def test_an_unknown_case_is_not_reopened(world: World) -> None:
    with pytest.raises(InvalidRequest, match="not in the books"):
        await world.client.reopen("refund-of-nobody")
