"""A linked refund carries out another case's decision, and that decision alone."""

from __future__ import annotations

from typing import Any

import pytest

from domain.cases import Outcome, Status
from domain.errors import InvalidRequest
from domain.refunds import Authority
from tests.workflows.builders import LEAD, MEDIUM, a_charge
from tests.workflows.world import Case, World


async def granted_but_came_back(world: World, **fields: Any) -> tuple[Case, dict[str, Any]]:
    """A case that was approved, whose money the bank returned; and its authority."""
    charge = {"refund_behaviour": "fails", "amount": 3 * MEDIUM}
    case = await world.open_settling(charge, amount_minor=MEDIUM, **fields)
    looks, _ = await world.looks(case)
    await world.advance_past(case, looks[0])
    assert (await world.result(case)).outcome is Outcome.FAILED_AT_BANK
    await world.stack.control(
        f"charges/{case.charge}/refund_behaviour", {"refund_behaviour": "silent"}
    )
    return case, await authority_of(world, case)


async def authority_of(world: World, case: Case) -> dict[str, Any]:
    async with world.stack.books.reading() as reading:
        decision = await reading.decision(case.id)
    assert decision is not None
    return Authority(
        case_id=case.id,
        decision_hash=decision.hash,
        approval_digest=decision.outcome["made"]["digest"],
        charge=case.charge,
        amount=decision.outcome["made"]["amount"],
    ).model_dump(mode="json")


async def linked(world: World, case: Case, authority: dict[str, Any], **fields: Any) -> Case:
    asked = {"amount_minor": MEDIUM, "authorised_by": authority, **fields}
    return await world.open({"customer": case.customer, "charge": case.charge}, **asked)


async def test_what_was_approved_and_came_back_is_paid_without_asking_again(world: World) -> None:
    case, authority = await granted_but_came_back(world)
    again = await linked(world, case, authority)
    row = await world.until(again, Status.SETTLING)
    assert row.amount_minor == MEDIUM
    assert await world.effects(again) == 1


async def test_one_approval_pays_its_cents_once(world: World) -> None:
    case, authority = await granted_but_came_back(world)
    part = await linked(world, case, authority, amount_minor=MEDIUM - 1_000)
    await world.until(part, Status.SETTLING)
    await world.until(await linked(world, case, authority, amount_minor=1_000), Status.SETTLING)
    more = await linked(world, case, authority, amount_minor=1)
    with pytest.raises(InvalidRequest, match="authorised_by: has no such amount left"):
        await more.handle.decided()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"case_id": "refund-nobody"}, "decided nothing"),
        ({"decision_hash": "0" * 64}, "decision_hash"),
        ({"approval_digest": "0" * 64}, "approval_digest"),
        ({"charge": "ch_other"}, "charge is another one"),
        ({"amount": {"amount_minor": MEDIUM + 1, "currency": "usd"}}, "not what was granted"),
        ({"amount": {"amount_minor": MEDIUM, "currency": "eur"}}, "another currency"),
    ],
)
async def test_a_made_up_authority_is_refused(
    world: World, change: dict[str, Any], message: str
) -> None:
    case, authority = await granted_but_came_back(world)
    claimed = await linked(world, case, {**authority, **change})
    with pytest.raises(InvalidRequest, match=message) as no:
        await claimed.handle.decided()
    assert no.value.field == "authorised_by"
    assert await world.effects(claimed) == 0


async def test_an_authority_for_less_does_not_pay_more(world: World) -> None:
    case, authority = await granted_but_came_back(world)
    more = await linked(world, case, authority, amount_minor=MEDIUM + 1)
    with pytest.raises(InvalidRequest, match="no such amount left"):
        await more.handle.decided()


async def test_a_decision_that_nobody_approved_authorises_nothing(world: World) -> None:
    case = await world.open_decided(amount_minor=MEDIUM)
    claimed = await linked(world, case, await authority_of(world, case))
    with pytest.raises(InvalidRequest, match="not approved"):
        await claimed.handle.decided()
    await case.handle.decline(LEAD)
    await world.result(case)
    declined = await linked(world, case, await authority_of(world, case))
    with pytest.raises(InvalidRequest, match="not approved"):
        await declined.handle.decided()


async def test_a_refund_that_pays_itself_authorises_no_second_one(world: World) -> None:
    case = await world.open_settling({"refund_behaviour": "silent"}, amount_minor=MEDIUM)
    claimed = await linked(world, case, await authority_of(world, case))
    with pytest.raises(InvalidRequest, match="moves its own money"):
        await claimed.handle.decided()


async def test_an_authority_does_not_pay_out_of_another_charge(world: World) -> None:
    _, authority = await granted_but_came_back(world)
    other = await a_charge(world.stack)
    claimed = await world.open(other, amount_minor=MEDIUM, authorised_by=authority)
    with pytest.raises(InvalidRequest, match="about another charge"):
        await claimed.handle.decided()
