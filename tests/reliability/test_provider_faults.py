"""Whatever goes wrong between us and the provider: one request, one movement of money."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest

from domain.cases import Outcome, Status
from tests.reliability.killing import KillPoint, Lane, running_lanes
from tests.stack import TemporalServer
from tests.workflows.builders import SMALL
from tests.workflows.world import Case, World, living_world
from workflows import steps


@pytest.fixture(scope="module")
async def world(temporal_server: TemporalServer) -> AsyncIterator[World]:
    async with living_world(temporal_server.address, attempt_seconds=3) as world:
        yield world
        await world.assert_sound()


async def one_order_nobody_asked_about(lane: Lane) -> Case:
    case = await lane.open({"refund_behaviour": "silent"})
    await lane.world.until(case, Status.SETTLING)
    await lane.calm(case)
    await lane.world.at_bank(case, reference="74000000000000000000004")
    assert (await lane.world.result(case)).outcome is Outcome.REFUNDED
    return case


@pytest.mark.parametrize("hours", [23, 25], ids=["key_remembered", "key_forgotten"])
async def test_an_attempt_hours_after_a_lost_answer_finds_the_first_refund(
    killing_world: World, hours: int
) -> None:
    async def hours_pass(case: Case) -> None:
        moved = {"customer": case.customer, "by_seconds": hours * 3600}
        await killing_world.stack.control("clock", moved)

    lost = KillPoint(
        "order:lost", fault={"kind": "lost_after_commit", "count": 1}, between=hours_pass
    )
    async with running_lanes(killing_world, 1) as lanes:
        (death,) = await lanes.run_all(one_order_nobody_asked_about, [lost])
    assert len(death.killed) == 1
    (end,) = death.ends
    assert end.effects == 1
    orders = await orders_of(killing_world, end.case)
    assert len(orders) == 1, "it looked, found the refund, and did not ask again"


@pytest.mark.parametrize("is_credit", [False, True], ids=["refund", "credit"])
async def test_a_workflow_reset_after_a_lost_answer_and_a_forgotten_key_moves_no_money_again(
    world: World, is_credit: bool
) -> None:
    """Part of a charge, so that the remainder would allow a second order."""
    case = await world.open(start_delay=timedelta(seconds=1), consents_to_credit=is_credit)
    await world.fault(case, kind="slow_after", ms=6_000, count=1)
    await wait_for_effect(world, case)
    await world.stack.control("clock", {"customer": case.customer, "by_seconds": 25 * 3600})
    await reset_to_its_first_decision(world, case)
    await world.until(case, Status.CLOSED if is_credit else Status.SETTLING)
    await asyncio.sleep(4)  # the first execution's answer comes in the end, and changes nothing
    assert await world.effects(case) == 1
    assert len(await orders_of(world, case)) == 1, "its first attempt looked before it ordered"


FAULTS: dict[str, dict[str, Any]] = {
    "answer lost after commit": {"kind": "lost_after_commit", "count": 1},
    "connection reset before": {"kind": "reset_before", "count": 2},
    "key in use": {"kind": "status_409", "count": 2},
    "rate limited": {"kind": "status_429", "count": 2},
    "unavailable": {"kind": "status_503", "count": 2},
    "error after commit": {"kind": "status_500", "committed": True, "count": 1},
    "half an answer": {"kind": "truncated", "count": 1},
    "a proxy's page": {"kind": "html", "count": 1},
    "a proxy's page after commit": {"kind": "html", "committed": True, "count": 1},
    "attempt timed out before": {"kind": "slow_before", "ms": 5_000, "count": 1},
    "attempt timed out after commit": {"kind": "slow_after", "ms": 5_000, "count": 1},
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_faulty_provider_is_asked_until_exactly_one_refund_is_known(
    world: World, name: str
) -> None:
    case = await world.open(start_delay=timedelta(seconds=1))
    await world.fault(case, **FAULTS[name])
    await world.until(case, Status.SETTLING)
    assert await world.effects(case) == 1
    async with world.stack.books.reading() as reading:
        kinds = [x.kind.value for x in await reading.ledger_transactions(case.id)]
    assert sorted(kinds) == ["hold", "post"]


async def test_a_replayed_error_blocks_its_key_until_the_provider_forgets_it(
    world: World,
) -> None:
    case = await world.open(start_delay=timedelta(seconds=1))
    await world.fault(case, kind="status_500", count=1)
    await wait_for_orders(world, case, 3)
    orders = await orders_of(world, case)
    assert [order["status"] for order in orders[:3]] == [500, 500, 500]
    assert [order["replayed"] for order in orders[:3]] == [False, True, True]
    assert (await world.row(case)).status is Status.SENDING
    moved = {"customer": case.customer, "by_seconds": 25 * 3600}
    await world.stack.control("clock", moved)
    await world.until(case, Status.SETTLING)
    assert await world.effects(case) == 1


async def test_an_outcome_that_stays_unknown_is_told_to_finance_once_and_still_found(
    temporal_server: TemporalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "ALARM_AFTER", timedelta(seconds=3))
    address = temporal_server.address
    async with living_world(address, attempt_seconds=3, workflow_sandbox=False) as world:
        case = await world.open(start_delay=timedelta(seconds=1))
        await world.fault(case, kind="status_500", count=1)
        async with asyncio.timeout(30):
            while "unknown" not in await world.steps(case):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await wait_for_orders(world, case, len(await orders_of(world, case)) + 2)
        assert (await world.row(case)).status is Status.SENDING
        await world.stack.control("clock", {"customer": case.customer, "by_seconds": 25 * 3600})
        await world.until(case, Status.SETTLING)
        async with world.stack.books.reading() as reading:
            told = [
                (row.body["to"], row.body["why"])
                for row in await reading.outbox_of_case(case.id)
                if row.topic == "case.outcome_unknown"
            ]
        assert told == [("finance", "APIError 500")]
        assert (await world.steps(case)).count("unknown") == 1
        assert await world.effects(case) == 1
        await world.assert_sound()


async def test_the_same_order_sent_twice_at_once_moves_money_once(world: World) -> None:
    """Two executions of one activity: the first hangs and is given up, the second asks."""
    case = await world.open(start_delay=timedelta(seconds=1))
    await world.fault(case, kind="slow_before", ms=6_000, count=1)
    await world.until(case, Status.SETTLING)
    await asyncio.sleep(4)  # the first request is carried out in the end, under the same key
    assert await world.effects(case) == 1


@pytest.mark.parametrize("path", ["/v1/charges/.*", "/v1/refunds", "/v1/customers/.*"])
async def test_reads_that_fail_are_repeated_and_decide_nothing(world: World, path: str) -> None:
    case = await world.open(start_delay=timedelta(seconds=1))
    await world.stack.control(
        "faults", {"method": "GET", "path": path, "kind": "status_503", "count": 2}
    )
    row = await world.until(case, Status.SETTLING)
    assert row.amount_minor == SMALL
    assert await world.effects(case) == 1
    await world.stack.http.delete(f"{world.stack.sandbox_url}/_sandbox/faults")


async def orders_of(world: World, case: Case) -> list[dict[str, Any]]:
    """Every order of the case that reached the provider, carried out or not."""
    found = await world.stack.control(f"journal?method=POST&key={case.id}:send")
    orders: list[dict[str, Any]] = found["entries"]
    return orders


async def wait_for_effect(world: World, case: Case) -> None:
    async with asyncio.timeout(30):
        while not await world.effects(case):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def reset_to_its_first_decision(world: World, case: Case) -> None:
    """The workflow begins again after its first activity, with every attempt counted anew."""
    history = await case.handle.workflow.fetch_history()
    completed = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    tasks = [event.event_id for event in history.events if event.event_type == completed]
    await world.stack.temporal.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=world.stack.temporal.namespace,
            workflow_execution=WorkflowExecution(workflow_id=case.id),
            reason="a test of what a first attempt does",
            workflow_task_finish_event_id=tasks[-1],
            request_id=f"reset-{case.id}",
        )
    )


async def wait_for_orders(world: World, case: Case, count: int) -> None:
    async with asyncio.timeout(30):
        while len(await orders_of(world, case)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
