"""The reference paths: whole refunds as scenarios, with every boundary of their effects.

A further kind of case adds its own paths in this form; the kill tests take them as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from domain.cases import Outcome, Status
from tests.reliability.killing import KillPoint, Lane, Scenario
from tests.workflows.builders import CUSTOMER, FINANCE, LARGE, LEAD, MEDIUM
from tests.workflows.world import Case, next_case

REFERENCE = "74000000000000000000003"
SILENT = {"refund_behaviour": "silent"}
LOST = {"kind": "lost_after_commit", "count": 1}

MOMENTS = ("begin", "in_transaction", "committed", "end")
ORDER = (
    KillPoint("order:before"),
    KillPoint("order:flying", fault={"kind": "slow_after", "ms": 5_000, "count": 1}),
    KillPoint("order:lost", fault=LOST),
    KillPoint("order:after"),
)

ORDER_LOST = (KillPoint("order:before"), KillPoint("order:lost"))


def around(activity: str, occurrence: int = 1) -> list[KillPoint]:
    """Every boundary of one execution of an activity."""
    return [KillPoint(f"{activity}:{moment}", occurrence=occurrence) for moment in MOMENTS]


def boundaries(*activities: str, order: tuple[KillPoint, ...] = ORDER) -> tuple[KillPoint, ...]:
    """Those of each activity that a path runs (named twice: of both runs), and of the order."""
    seen: dict[str, int] = {}
    for name in activities:
        seen[name] = seen.get(name, 0) + 1
    each = (around(name, n) for name, times in seen.items() for n in range(1, times + 1))
    return (*itertools.chain.from_iterable(each), *order)


def of_case(nth: int, points: Iterable[KillPoint]) -> tuple[KillPoint, ...]:
    return tuple(replace(point, nth_case=nth) for point in points)


@dataclass(frozen=True)
class ReferencePath:
    """``outcomes`` are those of the run that nobody kills: of the case, and of each by which it
    goes on."""

    drive: Scenario
    outcomes: tuple[Outcome, ...]
    boundaries: tuple[KillPoint, ...]

    def __str__(self) -> str:
        return self.drive.__name__


async def automatic(lane: Lane) -> Case:
    """Nobody is asked; the bank confirms."""
    case = await lane.open(SILENT)
    return await _settled(lane, case, reference=REFERENCE)


async def one_approval(lane: Lane) -> Case:
    case = await _approved_once(lane)
    return await _settled(lane, case, reference=REFERENCE)


async def two_approvals(lane: Lane) -> Case:
    case = await lane.open(SILENT, amount_minor=LARGE)
    await lane.world.until(case, Status.AWAITING_APPROVAL)
    await lane.calm(case)
    await case.handle.approve(LEAD, slot="first")
    await lane.calm(case)
    await case.handle.approve(FINANCE, slot="second")
    return await _settled(lane, case, reference=REFERENCE)


async def failed_at_the_bank(lane: Lane) -> Case:
    """The money comes back, and this policy knows no other way."""
    case = await _approved_once(lane)
    return await _settled(lane, case, status="failed", failure_reason="expired_or_canceled_card")


async def failed_at_the_bank_then_credit(lane: Lane) -> Case:
    """The money comes back, and a case of its own gives it as credit, which the customer had agreed
    to at the request, without asking anybody."""
    case = await _approved_once(lane, policy="crediting", consents_to_credit=True)
    await _settled(lane, case, status="failed", failure_reason="expired_or_canceled_card")
    await lane.world.result(await next_case(lane.world, case))
    return case


async def answer_lost(lane: Lane) -> Case:
    """The provider has carried the first order out, and its answer never came."""
    case = await lane.open(SILENT, fault=LOST)
    return await _settled(lane, case, reference=REFERENCE)


async def answer_lost_of_a_credit(lane: Lane) -> Case:
    """The same of account credit, after which nothing has to settle."""
    case = await lane.open(fault=LOST, consents_to_credit=True)
    await lane.world.result(case)
    return case


async def asked_and_given(lane: Lane) -> Case:
    """The customer is asked for something, gives it, and a person says no."""
    case = await lane.open(policy="asking", amount_minor=MEDIUM)
    await lane.world.until(case, Status.AWAITING_INFORMATION)
    await lane.calm(case)
    await case.handle.evidence(CUSTOMER, text="here it is", click_id="c1")
    await lane.world.until(case, Status.AWAITING_APPROVAL)
    await lane.calm(case)
    await case.handle.decline(LEAD)
    await lane.world.result(case)
    return case


async def _approved_once(lane: Lane, **fields: Any) -> Case:
    case = await lane.open(SILENT, amount_minor=MEDIUM, **fields)
    await lane.world.until(case, Status.AWAITING_APPROVAL)
    await lane.calm(case)
    await case.handle.approve(LEAD)
    return case


async def _settled(lane: Lane, case: Case, **word: str) -> Case:
    """The money is under way, and then the bank's ``word`` comes by webhook."""
    await lane.world.until(case, Status.SETTLING)
    await lane.calm(case)
    await lane.world.at_bank(case, **word)
    await lane.world.result(case)
    return case


ONE_APPROVAL = ReferencePath(
    one_approval,
    (Outcome.REFUNDED,),
    boundaries("decide_refund", "record_verdict", "send_refund", "look_at_refund"),
)
FURTHER_PATHS = (
    ReferencePath(
        automatic,
        (Outcome.REFUNDED,),
        boundaries("decide_refund", "send_refund", "look_at_refund"),
    ),
    ReferencePath(
        two_approvals,
        (Outcome.REFUNDED,),
        boundaries(
            "decide_refund", "record_verdict", "record_verdict", "send_refund", "look_at_refund"
        ),
    ),
    ReferencePath(
        failed_at_the_bank,
        (Outcome.FAILED_AT_BANK,),
        boundaries("decide_refund", "record_verdict", "send_refund", "look_at_refund"),
    ),
    ReferencePath(
        failed_at_the_bank_then_credit,
        (Outcome.FAILED_AT_BANK, Outcome.CREDITED),
        (
            *boundaries(
                "decide_refund",
                "record_verdict",
                "send_refund",
                "look_at_refund",
                "open_linked_case",
            ),
            *of_case(2, boundaries("decide_refund", "send_refund")),
        ),
    ),
    ReferencePath(
        answer_lost,
        (Outcome.REFUNDED,),
        (
            *boundaries("decide_refund", "send_refund", "look_at_refund", order=ORDER_LOST),
            KillPoint("send_refund:begin", occurrence=2),
        ),
    ),
    ReferencePath(
        answer_lost_of_a_credit,
        (Outcome.CREDITED,),
        (
            *boundaries("decide_refund", "send_refund", order=ORDER_LOST),
            KillPoint("send_refund:begin", occurrence=2),
        ),
    ),
)
