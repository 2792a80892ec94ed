"""Who may not decide is told at once, with a reason, and the attempt is on record."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client import Client
from client import case as client_case
from domain.actors import Actor, Role
from domain.approvals import Action, RefusalCode
from domain.cases import Channel, Status
from domain.errors import Refused, Unreachable
from tests.workflows.builders import AGENT, AUDITOR, LEAD, MEDIUM, SERVICE, unique
from tests.workflows.world import Case, World, person


async def refused(
    world: World, case: Case, action: Action, by: Actor, *, client: Client | None = None, **how: Any
) -> Refused:
    """The refusal of a message; asserts that the attempt, and nothing else, was written."""
    handle = (client or world.client).case(case.id)
    before, attempts = await world.account(case), len(await world.refused_attempts(case))
    with pytest.raises(Refused) as no:
        await handle.judge(action, by, **how)
    after = await world.account(case)
    assert len(after.pop("refused")) == len(before.pop("refused")) + 1
    assert after == before
    assert (await world.refused_attempts(case))[attempts:] == [(action.value, no.value.code)]
    return no.value


@pytest.fixture
async def case(world: World) -> Case:
    waiting = await world.open_decided(amount_minor=MEDIUM)
    await world.calm(waiting)
    return waiting


async def test_approving_something_else_than_was_shown_is_stale(world: World, case: Case) -> None:
    no = await refused(world, case, Action.APPROVE, LEAD, digest="0" * 64)
    assert no.code == RefusalCode.STALE
    assert "changed since it was shown" in no.message


async def test_withdrawing_something_else_than_was_shown_is_stale(world: World, case: Case) -> None:
    no = await refused(world, case, Action.WITHDRAW, LEAD, digest="0" * 64)
    assert no.code == RefusalCode.STALE


async def test_nobody_approves_what_they_asked_for(world: World, case: Case) -> None:
    no = await refused(world, case, Action.APPROVE, person(LEAD, SERVICE.id))
    assert no.code == RefusalCode.SELF_APPROVAL


async def test_one_person_does_not_fill_two_slots(world: World) -> None:
    case = await world.open_decided(amount_minor=60_000)
    both = Actor(id=unique("finance-"), role=Role.FINANCE)
    await case.handle.approve(both, slot="first")
    no = await refused(world, case, Action.APPROVE, both, slot="second")
    assert no.code == RefusalCode.SELF_APPROVAL
    assert (await world.row(case)).status is Status.AWAITING_APPROVAL


@pytest.mark.parametrize(
    "role", [r for r in Role if r not in (Role.AGENT, Role.LEAD, Role.FINANCE)]
)
async def test_a_role_without_authority_decides_nothing(
    world: World, case: Case, role: Role
) -> None:
    somebody = Actor(id=f"some-{role.value}", role=role)
    for action in (Action.APPROVE, Action.DECLINE):
        no = await refused(world, case, action, somebody)
        assert no.code == RefusalCode.NOT_AUTHORISED
        assert "agent, lead, finance" in no.message, "it says who may"


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.PUBLISHER, Role.ADMIN])
async def test_who_moves_no_money_does_not_withdraw_a_case(
    world: World, case: Case, role: Role
) -> None:
    no = await refused(world, case, Action.WITHDRAW, person(AUDITOR, "a").model_copy(
        update={"role": role}
    ))  # fmt: skip
    assert no.code == RefusalCode.NOT_AUTHORISED


async def test_an_amount_over_a_roles_limit_is_refused_with_the_limit(world: World) -> None:
    case = await world.open_decided(amount_minor=10_001)
    no = await refused(world, case, Action.APPROVE, person(AGENT, unique("agent-")))
    assert no.code == RefusalCode.OVER_LIMIT
    assert "up to 100.00 USD" in no.message
    await case.handle.approve(LEAD)  # somebody with the authority still may


async def test_a_signature_of_another_key_is_not_authentic(world: World, case: Case) -> None:
    forger = Client(
        world.stack.temporal, world.stack.books, world.stack.keyring,
        Ed25519PrivateKey.generate(), task_queue=world.queue,
    )  # fmt: skip
    for action in Action:
        no = await refused(world, case, action, LEAD, client=forger)
        assert no.code == RefusalCode.NOT_AUTHENTIC
    assert (await world.row(case)).status is Status.AWAITING_APPROVAL


@pytest.mark.parametrize("minutes", [-16, 2], ids=["expired", "from the future"])
async def test_a_signature_is_good_for_fifteen_minutes_only(
    world: World, case: Case, minutes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = client_case._now

    def edge_clock() -> datetime:
        return now() + timedelta(minutes=minutes)

    monkeypatch.setattr(client_case, "_now", edge_clock)
    no = await refused(world, case, Action.APPROVE, LEAD)
    assert no.code == RefusalCode.NOT_AUTHENTIC
    assert "expired" in no.message


async def test_who_reaches_no_temporal_is_told_who_decided_by_the_books(
    world: World, case: Case, cut_off: Client
) -> None:
    away = cut_off.case(case.id)
    with pytest.raises(Unreachable):
        await away.approve(person(LEAD, "early"))
    await case.handle.approve(LEAD, click_id="the-click")
    await world.until(case, Status.SETTLING)
    await world.calm(case)
    no = await refused(world, case, Action.APPROVE, person(LEAD, "late"), client=cut_off)
    assert no.code == RefusalCode.ALREADY_DECIDED
    assert f"approved by {LEAD.id}" in no.message
    assert (await away.approve(LEAD, click_id="the-click")).recorded
    with pytest.raises(Unreachable):
        await away.contact(SERVICE, Channel.PHONE, "any news?")


async def test_a_click_that_is_called_like_a_filled_slot_is_none_of_its_answers(
    world: World, cut_off: Client
) -> None:
    case = await world.open_decided(amount_minor=60_000)
    await case.handle.approve(LEAD, slot="first")
    with pytest.raises(Unreachable):
        await cut_off.case(case.id).approve(LEAD, slot="second", click_id="first")


async def test_who_reaches_no_temporal_is_told_how_the_case_ended(
    world: World, case: Case, cut_off: Client
) -> None:
    await case.handle.withdraw(SERVICE)
    await world.result(case)
    assert (await cut_off.case(case.id).withdraw(SERVICE)).recorded
    no = await refused(world, case, Action.DECLINE, LEAD, client=cut_off)
    assert no.code == RefusalCode.CLOSED
    assert "ended as withdrawn" in no.message


async def test_an_unknown_slot_is_refused_with_those_that_exist(world: World, case: Case) -> None:
    no = await refused(world, case, Action.APPROVE, LEAD, slot="fourth")
    assert no.code == RefusalCode.INVALID
    assert "'fourth'" in no.message
    assert "first" in no.message


async def test_a_filled_slot_says_by_whom_and_when(world: World) -> None:
    case = await world.open_decided(amount_minor=60_000)
    await case.handle.approve(LEAD, slot="first")
    no = await refused(world, case, Action.APPROVE, person(LEAD, "late"), slot="first")
    assert no.code == RefusalCode.ALREADY_DECIDED
    assert f"approved by {LEAD.id} (lead) at 20" in no.message


async def test_a_closed_case_says_how_it_ended_by_whom_and_when(world: World, case: Case) -> None:
    await case.handle.decline(LEAD)
    await world.result(case)
    for action in Action:
        no = await refused(world, case, action, person(LEAD, "late"))
        assert no.code == RefusalCode.CLOSED
        assert f"ended as declined by {LEAD.id} at 20" in no.message


async def test_an_expired_case_collects_no_approval(world: World, case: Case) -> None:
    due_at = (await world.row(case)).due_at
    assert due_at is not None
    await world.advance_past(case, due_at)
    await world.result(case)
    no = await refused(world, case, Action.APPROVE, LEAD)
    assert no.code == RefusalCode.CLOSED
    assert "ended as expired" in no.message


async def test_money_that_has_been_ordered_is_not_withdrawn(world: World) -> None:
    case = await world.open_settling({"refund_behaviour": "silent"}, amount_minor=MEDIUM)
    await world.calm(case)
    no = await refused(world, case, Action.WITHDRAW, SERVICE)
    assert no.code in (RefusalCode.TOO_LATE, RefusalCode.ALREADY_DECIDED)
    assert LEAD.id in no.message, "it says who had approved"


async def test_money_ordered_without_asking_anybody_is_too_late_to_withdraw(world: World) -> None:
    case = await world.open_settling({"refund_behaviour": "silent"})
    await world.calm(case)
    no = await refused(world, case, Action.WITHDRAW, SERVICE)
    assert no.code == RefusalCode.TOO_LATE


async def test_an_unknown_case_is_refused_and_the_attempt_is_on_record(world: World) -> None:
    nobody = world.client.case("refund-nobody")
    with pytest.raises(Refused, match="no such case"):
        await nobody.approve(LEAD)
    async with world.stack.books.reading() as reading:
        (attempt,) = await reading.refused_attempts("refund-nobody")
    assert attempt.code == RefusalCode.UNKNOWN_CASE
