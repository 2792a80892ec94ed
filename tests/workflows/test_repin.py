"""A newer version of a policy takes over the running cases that it names, and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from domain.approvals import RefusalCode
from domain.cases import EventKind, Outcome, Status
from domain.errors import Refused
from tests.stack import TemporalServer
from tests.workflows.builders import AGENT, unique, with_version_2
from tests.workflows.world import POLICIES, World, living_world, person, utc_now

OVER_THE_OLD_LIMIT = 10_001


@pytest.fixture(params=["repin: [1]", ""], ids=["named", "not named"])
async def world(
    temporal_server: TemporalServer, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    """Version 2 is in force from tomorrow and lets agents say yes to twice as much."""
    tomorrow = (utc_now() + timedelta(days=1)).date()
    policies = with_version_2(POLICIES, tmp_path, tomorrow, request.param)
    async with living_world(temporal_server.address, policies=policies) as world:
        yield world
        await world.assert_sound()


async def test_only_a_named_version_hands_its_cases_over_and_it_is_on_record(
    world: World, request: pytest.FixtureRequest
) -> None:
    is_named = "not named" not in request.node.name
    case = await world.open_decided(amount_minor=OVER_THE_OLD_LIMIT)
    agent = person(AGENT, unique("agent-"))
    with pytest.raises(Refused) as refused:
        await case.handle.approve(agent)
    assert refused.value.code == RefusalCode.OVER_LIMIT
    await world.advance(case, utc_now() + timedelta(days=3))
    if is_named:
        await case.handle.approve(agent)
        await world.until(case, Status.SETTLING)
    else:
        with pytest.raises(Refused) as refused:
            await case.handle.approve(agent)
        assert refused.value.code == RefusalCode.OVER_LIMIT
        await case.handle.withdraw(agent)
        assert (await world.result(case)).outcome is Outcome.WITHDRAWN
    moved = [e.body["version"] for e in await world.events(case) if e.kind is EventKind.REPINNED]
    assert moved == ([2] if is_named else [])
    row = await world.row(case)
    assert row.policy_version == 1, "what was decided stays under the version that decided it"
