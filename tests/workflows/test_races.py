"""Many decide at once: one wins, and every other is told who it was and when."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.decisions import Decisions
from activities.verdicts import Verdicts
from client import CaseHandle, turns
from domain.actors import Actor, Role, sign
from domain.approvals import Action, RefusalCode
from domain.cases import CaseKind, EventKind, Outcome, Status, case_id_for
from domain.errors import InvalidRequest, Refused, Unreachable
from domain.refunds import DecideInput, RecordVerdictInput, RefundRequest
from ledger.projection import slots_of
from tests.postgres import postgres_server
from tests.stack import SIGNING_KEY, TemporalServer
from tests.workflows.builders import FINANCE, LARGE, LEAD, MEDIUM, SMALL, a_charge, a_request
from tests.workflows.world import Case, World, living_world, person

RACES_OF = {2: 20, 8: 20, 25: 10}
DEEP_RACES_OF = {2: 400, 8: 400, 25: 200}
SERVICES = 5
"""Processes that the callers of one race come from: more than Temporal takes updates at a time."""
AT_ONCE = 5
"""Races that run beside each other: callers of one case still press at the same moment."""

LOSS = {
    RefusalCode.ALREADY_DECIDED,
    RefusalCode.CLOSED,
    RefusalCode.TOO_LATE,
    RefusalCode.NOT_WAITING,
}


@pytest.fixture(scope="module")
async def postgres_world(temporal_server: TemporalServer) -> AsyncIterator[World]:
    server = postgres_server()
    url = server.url(server.new_database())
    async with living_world(temporal_server.address, url) as world:
        yield world
        await world.assert_sound()


async def test_attempts_of_one_decision_at_once_decide_once(world: World) -> None:
    """An attempt that was given up for late commits all the same, beside its successor."""
    stack = world.stack
    asked = a_request(**await a_charge(stack, amount=SMALL), amount_minor=None)
    request = RefundRequest.model_validate(asked, strict=False)
    order = DecideInput(
        case_id=case_id_for(CaseKind.REFUND, request.request_id),
        request=request,
        now=datetime.now(UTC),
    )
    decisions = Decisions(stack.books, stack.provider, stack.library)
    made = await asyncio.gather(
        *(ActivityEnvironment().run(decisions.decide_refund, order) for _ in range(4))
    )
    assert made == [made[0]] * 4
    assert made[0].amount.amount_minor == SMALL


@pytest.mark.parametrize("action", list(Action))
async def test_attempts_of_one_verdict_at_once_are_one_verdict_and_all_recorded(
    postgres_world: World, action: Action
) -> None:
    """One that outlived its time commits while its successor waits for the charge."""
    world, stack = postgres_world, postgres_world.stack
    case = await world.open_decided(amount_minor=MEDIUM)
    await world.calm(case)
    (slot,) = slots_of(await world.events(case))
    signed = sign(
        SIGNING_KEY, actor=LEAD, action=action.value, case_id=case.id, digest=slot.digest,
        click_id="one-click", at=datetime.now(UTC),
    )  # fmt: skip
    given = RecordVerdictInput(
        case_id=case.id, action=action, slot=None if action is Action.WITHDRAW else slot,
        signed=signed, note="", now=datetime.now(UTC),
    )  # fmt: skip
    verdicts = Verdicts(stack.books, stack.library, stack.settings.verify_key())
    answers = await asyncio.gather(
        *(ActivityEnvironment().run(verdicts.record_verdict, given) for _ in range(6))
    )
    assert [answer.recorded for answer in answers] == [True] * 6
    assert await world.refused_attempts(case) == []
    if action is Action.APPROVE:
        assert (await world.row(case)).status is Status.SENDING
        await case.handle.workflow.terminate("its workflow was told by nobody")


@pytest.mark.parametrize("callers", RACES_OF)
async def test_of_many_who_decide_at_once_exactly_one_wins(world: World, callers: int) -> None:
    await run_races(world, callers, RACES_OF[callers], seed=20261122 + callers)


@pytest.mark.parametrize("callers", RACES_OF)
async def test_of_many_who_decide_at_once_exactly_one_wins_on_postgresql(
    postgres_world: World, callers: int
) -> None:
    await run_races(postgres_world, callers, RACES_OF[callers] // 4, seed=20261123 + callers)


@pytest.mark.deep
@pytest.mark.parametrize("callers", DEEP_RACES_OF)
async def test_a_thousand_races_have_a_thousand_winners(world: World, callers: int) -> None:
    await run_races(world, callers, DEEP_RACES_OF[callers], seed=20261124 + callers)


async def test_whoever_gets_no_answer_is_told_so_and_may_press_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = await world.open_decided(amount_minor=MEDIUM)
    await world.calm(case)
    with monkeypatch.context() as patched:
        patched.setattr(turns, "TURN", timedelta(milliseconds=1))
        with pytest.raises(Unreachable, match="no worker may be running"):
            await case.handle.approve(LEAD, click_id="one-click")
    assert (await case.handle.approve(LEAD, click_id="one-click")).recorded
    await world.until(case, Status.SETTLING)
    assert await world.effects(case) == 1


async def run_races(world: World, callers: int, count: int, *, seed: int) -> None:
    print(f"{count} races of {callers} callers, seed {seed}")
    dice = random.Random(seed)
    limit = asyncio.Semaphore(AT_ONCE)
    won: list[str] = []

    async def one(number: int, own: random.Random) -> None:
        async with limit:
            won.append(await race(world, callers, own, with_expiry=number % 3 == 2))

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number, random.Random(dice.random())))
    print("won:", {name: won.count(name) for name in sorted(set(won))})


async def race(world: World, callers: int, dice: random.Random, *, with_expiry: bool) -> str:
    """One case, ``callers`` at once and maybe the clock; answers what won."""
    case = await world.open_decided(amount_minor=MEDIUM)
    await world.calm(case)
    row = await world.row(case)
    assert row.due_at is not None
    if with_expiry:
        await world.advance(case, row.due_at - timedelta(milliseconds=150))
    actions = [dice.choice(list(Action)) for _ in range(callers)]
    delays = [dice.uniform(0, 0.3) if with_expiry else 0.0 for _ in actions]
    services = [world.another_client().case(case.id) for _ in range(SERVICES)]
    pressed = [
        press(
            services[number % SERVICES],
            action,
            person(LEAD, f"lead-{number}-{case.customer}"),
            delay,
        )
        for number, (action, delay) in enumerate(zip(actions, delays, strict=True))
    ]
    answers = await asyncio.gather(*pressed)
    wins = [(action, who) for action, who, refused in answers if refused is None]
    losses = [refused for _, _, refused in answers if refused is not None]

    row = await world.until(case, Status.SETTLING, Status.CLOSED)
    expected = {
        Action.APPROVE: (Status.SETTLING, None),
        Action.DECLINE: (Status.CLOSED, Outcome.DECLINED),
        Action.WITHDRAW: (Status.CLOSED, Outcome.WITHDRAWN),
    }
    if wins:
        ((action, winner),) = wins
        assert (row.status, row.outcome) == expected[action]
    else:
        action, winner = None, None
        assert with_expiry, f"nobody won: {losses}"
        assert (row.status, row.outcome) == (Status.CLOSED, Outcome.EXPIRED)
    await assert_told(case, losses, winner)
    assert len(await world.refused_attempts(case)) == len(losses), "every loser is on record"
    await assert_one_end(world, case, action)
    return action.value if action else "expiry"


async def press(
    handle: CaseHandle, action: Action, who: Actor, delay: float
) -> tuple[Action, Actor, Refused | None]:
    await asyncio.sleep(delay)
    try:
        answer = await handle.judge(action, who)
    except Refused as refused:
        return action, who, refused
    assert answer.recorded
    return action, who, None


async def assert_told(case: Case, losses: list[Refused], winner: Actor | None) -> None:
    for refused in losses:
        assert RefusalCode(refused.code) in LOSS, refused
        assert refused.message
        if winner is not None:
            assert winner.id in refused.message, f"{refused.message!r} does not name {winner.id}"


async def assert_one_end(world: World, case: Case, action: Action | None) -> None:
    events = await world.events(case)
    kinds = [event.kind for event in events]
    decided = [EventKind.APPROVAL_RECORDED, EventKind.DECLINE_RECORDED]
    assert sum(kinds.count(kind) for kind in decided) == (
        action in (Action.APPROVE, Action.DECLINE)
    )
    assert kinds.count(EventKind.CLOSED) == (action is not Action.APPROVE)
    assert await world.effects(case) == (action is Action.APPROVE)
    async with world.stack.books.reading() as reading:
        transactions = [x.kind.value for x in await reading.ledger_transactions(case.id)]
        approvals = await reading.approvals(case.id)
    assert sorted(transactions) == ["hold", "post" if action is Action.APPROVE else "void"]
    assert len(approvals) == (action in (Action.APPROVE, Action.DECLINE))


async def test_two_people_who_approve_at_once_fill_two_slots_and_the_books_send(
    world: World,
) -> None:
    """Also when both call their click the same."""
    for _ in range(5):
        case = await world.open_decided(amount_minor=LARGE)
        answers = await asyncio.gather(
            case.handle.approve(LEAD, slot="first", click_id="1"),
            case.handle.approve(FINANCE, slot="second", click_id="1"),
        )
        assert [answer.recorded for answer in answers] == [True, True]
        await world.until(case, Status.SETTLING)
        yes = [e for e in await world.events(case) if e.kind is EventKind.APPROVAL_RECORDED]
        assert [event.body["slots_left"] for event in yes] == [1, 0]
        assert await world.effects(case) == 1


async def test_a_double_click_is_one_decision_and_both_get_its_answer(world: World) -> None:
    case = await world.open_decided(amount_minor=MEDIUM)
    both = await asyncio.gather(
        *(case.handle.approve(LEAD, click_id=f"click-{case.customer}") for _ in range(2))
    )
    assert both[0] == both[1]
    assert both[0].recorded
    await world.until(case, Status.SETTLING)
    later = await case.handle.approve(LEAD, click_id=f"click-{case.customer}")
    assert later == both[0], "also when the second press comes later"
    async with world.stack.books.reading() as reading:
        assert len(await reading.approvals(case.id)) == 1
    assert await world.refused_attempts(case) == []
    assert await world.effects(case) == 1


@pytest.mark.parametrize("action", list(Action))
async def test_a_click_repeated_after_the_case_has_ended_gets_its_own_answer(
    world: World, action: Action
) -> None:
    case = await world.open_decided(amount_minor=MEDIUM, consents_to_credit=True)
    await world.calm(case)
    click = f"click-{case.customer}"
    first = await case.handle.judge(action, LEAD, click_id=click)
    await world.result(case)
    assert await case.handle.judge(action, LEAD, click_id=click) == first
    assert await world.refused_attempts(case) == []


async def test_the_same_request_from_many_callers_at_once_is_one_case(world: World) -> None:
    request = a_request(**await a_charge(world.stack))
    handles = await asyncio.gather(*(world.client.open_refund(request) for _ in range(8)))
    assert len({handle.case_id for handle in handles}) == 1
    case = Case(handles[0], request["customer"], request["charge"])
    await world.until(case, Status.SETTLING)
    assert await world.effects(case) == 1


async def test_many_requests_for_one_charge_never_take_more_than_it_holds(world: World) -> None:
    seeded = await a_charge(world.stack, amount=10_000)

    async def ask() -> int:
        case = await world.open(seeded, amount_minor=3_000)
        try:
            await case.handle.decided()
        except InvalidRequest:
            return 0
        await world.until(case, Status.SETTLING)
        return await world.effects(case)

    moved = await asyncio.gather(*(ask() for _ in range(6)))
    assert sum(moved) == 3, "three times 3,000 of 10,000"


async def test_several_people_over_a_day_limit_at_once_stay_within_it(world: World) -> None:
    agent = Actor(id=f"agent-{id(world)}", role=Role.AGENT)
    cases = [await world.open_decided(amount_minor=6_000) for _ in range(4)]
    answers = await asyncio.gather(*(press(c.handle, Action.APPROVE, agent, 0) for c in cases))
    refused = [r for _, _, r in answers if r is not None]
    assert len(refused) == 2, "two times 6,000 of 15,000 a day"
    assert {r.code for r in refused} == {RefusalCode.OVER_LIMIT}
