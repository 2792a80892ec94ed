"""What each way through a refund costs: events, bytes of history, billable actions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from bench.refunds import Arm, customers, figures, needs_a_person, request, server, skipping_client
from client import CaseHandle
from domain.actors import Actor, Role
from domain.cases import Status
from domain.refunds import ProviderNews
from tests.stack import Stack, running_stack
from workflows.refund import RefundCase

LOOK_SECONDS = 0.02
TWO_MUST_AGREE = 600_000
ARRIVED = {"reference": "74000000000000000000000"}
RETURNED = {"status": "failed", "failure_reason": "expired_or_canceled_card"}


@dataclass(frozen=True)
class Path:
    """One way and its cost; ``outcome`` proves that it went that way."""

    name: str
    outcome: str
    events: int
    history_bytes: int
    actions: int


async def _webhook(stack: Stack, case: CaseHandle, **change: Any) -> None:
    """The bank has news of the refund, and its webhook is passed on, as web/ does it."""
    while True:
        row = await case.row()
        # the books are ahead of the workflow, and only what finds it waiting costs a signal
        described = await case.workflow.query(RefundCase.describe)
        if row is not None and described.status == Status.SETTLING:
            break
        await asyncio.sleep(LOOK_SECONDS)
    await stack.control(f"refunds/{row.provider_id}", change)
    news = ProviderNews(event_id="evt_bench", event_type="refund.updated")
    await case.workflow.signal(RefundCase.provider_news, news)


async def _measured(name: str, case: CaseHandle) -> Path:
    result, arm = await case.result(), Arm()
    await figures(case.workflow, arm)
    return Path(name, result.outcome.value, arm.events, arm.history_bytes, arm.actions)


async def measure() -> list[Path]:
    """One case a path on a stack of its own."""
    async with server() as temporal, running_stack(temporal.address) as stack:
        accounts = customers(["hook", "look", "silent", "asked", "late"])
        accounts["customers"] += customers(["two"], TWO_MUST_AGREE)["customers"]
        behaviours = {"silent": "silent", "late": "silent"}
        for account in accounts["customers"]:
            behaviour = behaviours.get(account["id"].removeprefix("cus_"), "arrives")
            for charge in account["charges"]:
                charge["refund_behaviour"] = behaviour
        await stack.control("seed", accounts)
        skipping = skipping_client(stack)
        async with stack.worker():
            found = []
            hook = await stack.client.open_refund(request("hook"))
            await _webhook(stack, hook, **ARRIVED)
            found.append(await _measured("automatic, confirmed by webhook", hook))
            late = await stack.client.open_refund(request("late"))
            await _webhook(stack, late, **RETURNED)
            found.append(await _measured("automatic, returned by the bank days later", late))
            await stack.control("settings", {"settle_days_min": 0, "settle_days_max": 0})
            look = await skipping.open_refund(request("look"))
            found.append(await _measured("automatic, found at the first look", look))
            silent = await skipping.open_refund(request("silent"))
            found.append(await _measured("automatic, three looks, no word at all", silent))
            asked = await stack.client.open_refund(needs_a_person(request("asked")))
            await asked.decided()
            await asked.approve(Actor(id="ana", role=Role.LEAD))
            await _webhook(stack, asked, **ARRIVED)
            found.append(await _measured("one approval, confirmed by webhook", asked))
            two = await stack.client.open_refund(needs_a_person(request("two", TWO_MUST_AGREE)))
            await two.decided()
            for person in ("fay", "finn"):
                await two.approve(Actor(id=person, role=Role.FINANCE))
            await _webhook(stack, two, **ARRIVED)
            found.append(await _measured("two approvals, confirmed by webhook", two))
            return found
