"""Two versions of the worker at once, under Temporal's worker versioning."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.service import RPCError
from temporalio.worker import Worker

from domain.cases import Outcome, Status
from tests.stack import TemporalServer
from tests.workflows.builders import LEAD, MEDIUM
from tests.workflows.world import Case, World, empty_world
from worker import build_worker

OLD, NEW = "2027.03.1", "2027.04.1"


@pytest.fixture
async def world(own_server: TemporalServer) -> AsyncIterator[World]:
    async with empty_world(own_server.address) as world:
        yield world


def worker(world: World, build_id: str) -> Worker:
    """A worker of that version, in this process."""
    stack = world.stack
    settings = stack.settings.model_copy(update={"build_id": build_id})
    return build_worker(
        stack.temporal, settings, stack.books, stack.provider, stack.library, task_queue=world.queue
    )


async def make_current(world: World, build_id: str) -> None:
    """What ``temporal worker deployment set-current-version`` does, once its worker polls."""
    temporal = world.stack.temporal
    wanted = SetWorkerDeploymentCurrentVersionRequest(
        namespace=temporal.namespace, deployment_name="redress", build_id=build_id
    )
    async with asyncio.timeout(30):
        while True:
            try:
                await temporal.workflow_service.set_worker_deployment_current_version(wanted)
                return
            except RPCError:
                await asyncio.sleep(0.1)


async def builds(case: Case) -> list[str]:
    """The versions that took the case's steps, in order, each run of one once."""
    history = await case.handle.workflow.fetch_history()
    done = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    by = [
        event.workflow_task_completed_event_attributes.deployment_version.build_id
        for event in history.events
        if event.event_type == done
    ]
    return [build for build, _ in itertools.groupby(by)]


async def pay(world: World, *cases: Case) -> None:
    for case in cases:
        await case.handle.approve(LEAD)
        await world.until(case, Status.SETTLING)


async def test_running_cases_go_to_the_version_that_is_current_and_back_while_both_run(
    world: World,
) -> None:
    async with worker(world, OLD):
        await make_current(world, OLD)
        first, second = [await world.open_decided(amount_minor=MEDIUM) for _ in range(2)]
        under_way = await world.open_settling(amount_minor=MEDIUM)
        async with worker(world, NEW):
            await make_current(world, NEW)
            third = await world.open_decided(amount_minor=MEDIUM)
            await pay(world, first)
            await make_current(world, OLD)
            await pay(world, second, third)
            cases = [first, second, third, under_way]
            for case in cases:
                looks, _ = await world.looks(case)
                await world.advance_past(case, looks[-1])
                assert (await world.result(case)).outcome is Outcome.REFUNDED
    took = [await builds(case) for case in cases]
    assert took == [[OLD, NEW, OLD], [OLD], [NEW, OLD], [OLD]]
    assert [await world.effects(case) for case in cases] == [1] * len(cases)
    await world.assert_sound()
