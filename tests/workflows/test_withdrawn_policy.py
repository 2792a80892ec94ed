"""A policy file that is taken away in mid-case: the case goes on under its own version, which the
books keep."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decisions.library import Library
from domain.approvals import RefusalCode
from domain.canonical import parse_instant
from domain.cases import Outcome, Status
from domain.errors import InvalidRequest, Refused
from tests.stack import TemporalServer
from tests.workflows.builders import AGENT, CUSTOMER, LEAD, MEDIUM, unique
from tests.workflows.world import POLICIES, Case, World, empty_world, person

SILENT = {"refund_behaviour": "silent"}
REFERENCE = "74000000000000000000005"
OVER_THE_LIMIT = 10_001
"""Of what an agent may approve by version 1 of refund."""


@pytest.fixture
async def world(temporal_server: TemporalServer, tmp_path: Path) -> AsyncIterator[World]:
    """Its policies are a copy, and no worker runs."""
    policies = Path(shutil.copytree(POLICIES, tmp_path / "policies"))
    async with empty_world(temporal_server.address, policies=policies) as world:
        yield world
        await world.assert_sound()


def take_away(world: World, policy: str) -> str:
    """Remove version 1; a worker that starts afterwards has not seen it. Answers its text."""
    file = world.stack.settings.policies / policy / "v1.yaml"
    text = file.read_text(encoding="utf-8")
    file.unlink()
    world.stack.library = Library.load(world.stack.settings.policies)
    return text


async def opened(world: World, policy: str, amount_minor: int = MEDIUM) -> Case:
    """Decided by a worker that is gone."""
    async with world.stack.worker(task_queue=world.queue):
        return await world.open_decided(SILENT, policy=policy, amount_minor=amount_minor)


async def paid_under_version_1(world: World, case: Case) -> None:
    await case.handle.approve(LEAD)
    await world.until(case, Status.SETTLING)
    await world.at_bank(case, reference=REFERENCE)
    looks, _ = await world.looks(case)
    await world.advance_past(case, looks[0])
    assert (await world.result(case)).outcome is Outcome.REFUNDED
    assert (await world.row(case)).policy_version == 1
    assert await world.effects(case) == 1


async def test_a_case_that_waits_is_approved_and_paid_by_the_limits_of_a_policy_taken_away(
    world: World,
) -> None:
    case = await opened(world, "refund", OVER_THE_LIMIT)
    take_away(world, "refund")
    async with world.stack.worker(task_queue=world.queue):
        with pytest.raises(Refused) as no:
            await case.handle.approve(person(AGENT, unique("agent-")))
        assert no.value.code == RefusalCode.OVER_LIMIT
        await paid_under_version_1(world, case)
        with pytest.raises(InvalidRequest, match="there is no policy 'refund'"):
            await world.open_decided(policy="refund")


async def test_a_version_put_in_its_place_decides_what_is_asked_later_and_nothing_that_waits(
    world: World,
) -> None:
    case = await opened(world, "refund", OVER_THE_LIMIT)
    newer = take_away(world, "refund").replace("version: 1\n", "version: 2\n", 1)
    newer = newer.replace("each: {usd: 10000,", "each: {usd: 20000,")
    newer = newer.replace("per_day: {usd: 15000,", "per_day: {usd: 30000,")
    policies = world.stack.settings.policies
    (policies / "refund/v2.yaml").write_text(newer, encoding="utf-8")
    world.stack.library = Library.load(policies)
    agent = person(AGENT, unique("agent-"))
    async with world.stack.worker(task_queue=world.queue):
        later = await world.open_decided(amount_minor=OVER_THE_LIMIT)
        await later.handle.approve(agent)
        assert (await world.row(later)).policy_version == 2
        with pytest.raises(Refused) as no:
            await case.handle.approve(person(AGENT, unique("agent-")))
        assert no.value.code == RefusalCode.OVER_LIMIT
        await paid_under_version_1(world, case)


async def test_a_question_is_answered_and_decided_by_the_rules_of_a_policy_taken_away(
    world: World,
) -> None:
    case = await opened(world, "asking")
    assert (await world.row(case)).status is Status.AWAITING_INFORMATION
    take_away(world, "asking")
    async with world.stack.worker(task_queue=world.queue):
        await case.handle.evidence(CUSTOMER, text="here it is")
        await world.until(case, Status.AWAITING_APPROVAL)
        await paid_under_version_1(world, case)


async def test_a_no_says_until_when_it_may_be_appealed_by_a_policy_taken_away(
    world: World,
) -> None:
    case = await opened(world, "generous")
    pack = world.stack.library.by_hash((await world.row(case)).policy_hash)
    take_away(world, "generous")
    async with world.stack.worker(task_queue=world.queue):
        await case.handle.decline(LEAD)
        assert (await world.result(case)).outcome is Outcome.DECLINED
    (closing,) = [event for event in await world.events(case) if event.step == "close"]
    until = pack.appeal_until(closing.occurred_at)
    assert parse_instant(closing.body["appeal_until"]) == until


async def test_finance_hears_when_no_policy_is_left_to_pay_what_the_bank_sent_back(
    world: World,
) -> None:
    case = await opened(world, "generous")
    take_away(world, "generous")
    async with world.stack.worker(task_queue=world.queue):
        await case.handle.approve(LEAD)
        await world.until(case, Status.SETTLING)
        await world.at_bank(case, status="failed")
        looks, _ = await world.looks(case)
        await world.advance_past(case, looks[0])
        async with asyncio.timeout(60):
            while "case.alternative_refused" not in (told := await notices(world, case)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert "there is no policy 'generous'" in told["case.alternative_refused"]["message"]
    assert told["case.alternative_refused"]["to"] == "finance"


async def notices(world: World, case: Case) -> dict[str, dict[str, Any]]:
    """Bodies by topic."""
    async with world.stack.books.reading() as reading:
        return {row.topic: row.body for row in await reading.outbox_of_case(case.id)}
