"""A worker killed at any moment changes nothing: same end, same books, one movement of money."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from domain.approvals import Action
from domain.cases import Outcome, Status
from tests.reliability.killing import Death, KillPoint, Lane, faults_of, running_lanes
from tests.workflows.builders import CUSTOMER, LEAD, MEDIUM
from tests.workflows.world import Case, World

LANES = 3
ENDS = {Action.DECLINE: Outcome.DECLINED, Action.WITHDRAW: Outcome.WITHDRAWN}
ACTIVITIES = ("decide_refund", "record_verdict", "send_refund", "look_at_refund")
MOMENTS = ("begin", "in_transaction", "committed", "end")
BOUNDARIES = (
    *(KillPoint(f"{name}:{moment}") for name, moment in itertools.product(ACTIVITIES, MOMENTS)),
    KillPoint("order:before"),
    KillPoint("order:flying", fault={"kind": "slow_after", "ms": 5_000, "count": 1}),
    KillPoint("order:lost", fault={"kind": "lost_after_commit", "count": 1}),
    KillPoint("order:after"),
)


async def one_approval_settled_by_webhook(lane: Lane) -> Case:
    """The reference path."""
    world = lane.world
    case = await lane.open({"refund_behaviour": "silent"}, amount_minor=MEDIUM)
    await world.until(case, Status.AWAITING_APPROVAL)
    await lane.calm(case)
    await case.handle.approve(LEAD)
    await world.until(case, Status.SETTLING)
    await lane.calm(case)
    await world.at_bank(case, reference="74000000000000000000003")
    result = await world.result(case)
    assert result.outcome is Outcome.REFUNDED
    return case


async def test_a_worker_killed_after_any_event_of_the_history_changes_nothing(
    killing_world: World,
) -> None:
    async with running_lanes(killing_world, LANES) as lanes:
        reference = await lanes.run_unkilled(one_approval_settled_by_webhook)
        assert reference.effects == 1
        length = (await reference.case.handle.workflow.describe()).history_length
        points = [KillPoint(after_event=number) for number in range(1, length + 1)]
        deaths = await lanes.run_all(one_approval_settled_by_webhook, points)
    await judge(killing_world, reference, deaths)


async def test_a_worker_killed_at_any_boundary_of_an_effect_changes_nothing(
    killing_world: World,
) -> None:
    async with running_lanes(killing_world, LANES) as lanes:
        reference = await lanes.run_unkilled(one_approval_settled_by_webhook)
        deaths = await lanes.run_all(one_approval_settled_by_webhook, BOUNDARIES)
    await judge(killing_world, reference, deaths)


@pytest.mark.parametrize("action", [Action.DECLINE, Action.WITHDRAW])
async def test_a_worker_killed_while_a_no_is_recorded_leaves_one_no(
    killing_world: World, action: Action
) -> None:
    async def ended_by_a_person(lane: Lane) -> Case:
        case = await lane.open(amount_minor=MEDIUM)
        await lane.world.until(case, Status.AWAITING_APPROVAL)
        await lane.calm(case)
        answer = await case.handle.judge(action, LEAD)
        assert answer.recorded
        assert (await lane.world.result(case)).outcome is ENDS[action]
        return case

    points = [KillPoint(f"record_verdict:{moment}") for moment in MOMENTS]
    async with running_lanes(killing_world, LANES) as lanes:
        reference = await lanes.run_unkilled(ended_by_a_person)
        deaths = await lanes.run_all(ended_by_a_person, points)
    assert reference.effects == 0
    await judge(killing_world, reference, deaths)


async def test_a_worker_killed_while_evidence_is_recorded_or_decided_on_changes_nothing(
    killing_world: World,
) -> None:
    async def asked_and_given(lane: Lane) -> Case:
        case = await lane.open(armed=False, policy="asking", amount_minor=MEDIUM)
        await lane.world.until(case, Status.AWAITING_INFORMATION)
        await lane.calm(case)
        lane.arm(case)
        await case.handle.evidence(CUSTOMER, text="here it is", click_id="c1")
        await lane.world.until(case, Status.AWAITING_APPROVAL)
        await lane.calm(case)
        assert (await case.handle.decline(LEAD)).recorded
        assert (await lane.world.result(case)).outcome is Outcome.DECLINED
        return case

    points = [
        KillPoint(f"{name}:{moment}")
        for name, moment in itertools.product(("record_evidence", "decide_refund"), MOMENTS)
    ]
    async with running_lanes(killing_world, LANES) as lanes:
        reference = await lanes.run_unkilled(asked_and_given)
        deaths = await lanes.run_all(asked_and_given, points)
    assert reference.effects == 0
    await judge(killing_world, reference, deaths)


async def judge(world: World, reference: Death, deaths: Iterable[Death]) -> None:
    found = list(deaths)
    for death in found:
        print(f"{death.point!s:32} killed {death.killed} {death.seconds:5.1f} s")
    wrong = [fault for death in found for fault in faults_of(death, reference)]
    assert not wrong, "\n".join(wrong)
    await world.assert_sound()
