"""A worker killed at any moment changes nothing: same end, same books, one movement of money."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from domain.approvals import Action
from domain.cases import Outcome, Status
from tests.reliability.killing import Death, End, KillPoint, Lane, faults_of, running_lanes
from tests.reliability.paths import (
    FURTHER_PATHS,
    ONE_APPROVAL,
    ReferencePath,
    around,
    asked_and_given,
)
from tests.workflows.builders import LEAD, MEDIUM
from tests.workflows.world import Case, World

LANES = 3
ENDS = {Action.DECLINE: Outcome.DECLINED, Action.WITHDRAW: Outcome.WITHDRAWN}

each_path = pytest.mark.parametrize(
    "path",
    [ONE_APPROVAL, *(pytest.param(path, marks=pytest.mark.deep) for path in FURTHER_PATHS)],
    ids=str,
)


@each_path
async def test_a_worker_killed_after_any_event_of_the_history_changes_nothing(
    killing_world: World, path: ReferencePath
) -> None:
    async with running_lanes(killing_world, LANES) as lanes:
        reference = await lanes.run_unkilled(path.drive)
        points = [
            KillPoint(after_event=number, nth_case=nth)
            for nth, end in enumerate(reference.ends, start=1)
            for number in range(1, await length_of(end) + 1)
        ]
        deaths = await lanes.run_all(path.drive, points)
    await judge(killing_world, reference, deaths, path.outcomes)


@each_path
async def test_a_worker_killed_at_any_boundary_of_an_effect_changes_nothing(
    killing_world: World, path: ReferencePath
) -> None:
    async with running_lanes(killing_world, LANES) as lanes:
        reference = await lanes.run_unkilled(path.drive)
        deaths = await lanes.run_all(path.drive, path.boundaries)
    await judge(killing_world, reference, deaths, path.outcomes)


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
        await lane.world.result(case)
        return case

    async with running_lanes(killing_world, LANES) as lanes:
        reference = await lanes.run_unkilled(ended_by_a_person)
        deaths = await lanes.run_all(ended_by_a_person, around("record_verdict"))
    await judge(killing_world, reference, deaths, [ENDS[action]], effects=0)


async def test_a_worker_killed_while_evidence_is_recorded_or_decided_on_changes_nothing(
    killing_world: World,
) -> None:
    points = [*around("record_evidence"), *around("decide_refund", 2)]
    async with running_lanes(killing_world, LANES) as lanes:
        reference = await lanes.run_unkilled(asked_and_given)
        deaths = await lanes.run_all(asked_and_given, points)
    await judge(killing_world, reference, deaths, [Outcome.DECLINED], effects=0)


async def length_of(end: End) -> int:
    return (await end.case.handle.workflow.describe()).history_length


async def judge(
    world: World,
    reference: Death,
    deaths: Iterable[Death],
    outcomes: Sequence[Outcome],
    *,
    effects: int = 1,
) -> None:
    """``outcomes`` are those of the case and of each by which it goes on; ``effects`` are each
    one's at the provider."""
    ends = reference.ends
    assert [(await world.row(end.case)).outcome for end in ends] == list(outcomes)
    assert [end.effects for end in ends] == [effects] * len(ends)
    found = list(deaths)
    for death in found:
        print(f"{death.point!s:40} killed {death.killed} {death.seconds:5.1f} s")
    wrong = [fault for death in found for fault in faults_of(death, reference)]
    assert not wrong, "\n".join(wrong)
    await world.assert_sound()
