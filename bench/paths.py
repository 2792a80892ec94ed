"""What each way through a refund costs: events, bytes of history, billable actions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from bench.refunds import Arm, customers, figures, needs_a_person, request, server, skipping_client
from client import CaseHandle
from domain.actors import Actor, Role
from domain.cases import Status
from domain.decisions import RefundMethod
from domain.refunds import ProviderNews
from tests.stack import Stack, running_stack
from workflows.refund import RefundCase

LOOK_SECONDS = 0.02
TWO_MUST_AGREE = 600_000
PROOF_WANTED = 12_000
LEAD = Actor(id="ana", role=Role.LEAD)
CALLER = Actor(id="bench", role=Role.SERVICE)
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


async def _until(case: CaseHandle, status: Status) -> None:
    # the books are ahead of the workflow, and only what finds it waiting costs a signal
    while (await case.workflow.query(RefundCase.describe)).status != status:  # noqa: ASYNC110 (a query, not an event)
        await asyncio.sleep(LOOK_SECONDS)


async def _webhook(stack: Stack, case: CaseHandle, **change: Any) -> None:
    """The bank has news of the refund, and its webhook is passed on, as web/ does it."""
    await _until(case, Status.SETTLING)
    row = await case.row()
    assert row is not None
    await stack.control(f"refunds/{row.provider_id}", change)
    news = ProviderNews(event_id="evt_bench", event_type="refund.updated")
    await case.workflow.signal(RefundCase.provider_news, news)


async def _measured(name: str, *chain: CaseHandle) -> Path:
    """What the cases of a chain cost together; ``outcome`` is the last one's."""
    arms = [Arm() for _ in chain]
    for case, arm in zip(chain, arms, strict=True):
        result = await case.result()
        await figures(case.workflow, arm)
    return Path(
        name=name,
        outcome=result.outcome.value,
        events=sum(arm.events for arm in arms),
        history_bytes=sum(arm.history_bytes for arm in arms),
        actions=sum(arm.actions for arm in arms),
    )


async def measure() -> list[Path]:
    """One case a path on a stack of its own."""
    async with server() as temporal, running_stack(temporal.address) as stack:
        accounts = customers(["hook", "look", "silent", "asked", "late", "no", "back"])
        accounts["customers"] += customers(["two"], TWO_MUST_AGREE)["customers"]
        accounts["customers"] += customers(["proof"], PROOF_WANTED)["customers"]
        behaviours = dict.fromkeys(["silent", "late", "back"], "silent")
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
            await asked.approve(LEAD)
            await _webhook(stack, asked, **ARRIVED)
            found.append(await _measured("one approval, confirmed by webhook", asked))
            two = await stack.client.open_refund(needs_a_person(request("two", TWO_MUST_AGREE)))
            await two.decided()
            for person in ("fay", "finn"):
                await two.approve(Actor(id=person, role=Role.FINANCE))
            await _webhook(stack, two, **ARRIVED)
            found.append(await _measured("two approvals, confirmed by webhook", two))
            proof = {**request("proof", PROOF_WANTED), "reason": "not_as_agreed"}
            proven = await stack.client.open_refund(proof)
            await proven.decided()
            await proven.evidence(CALLER, text="the letter of the shop")
            await _until(proven, Status.AWAITING_APPROVAL)
            await proven.approve(LEAD)
            await _webhook(stack, proven, **ARRIVED)
            name = "a question answered, one approval, confirmed by webhook"
            found.append(await _measured(name, proven))
            no = await stack.client.open_refund(needs_a_person(request("no")))
            await no.decided()
            await no.decline(LEAD)
            await no.result()
            again = await no.appeal(CALLER, "the outage lasted all week")
            await again.decided()
            await again.approve(LEAD.model_copy(update={"id": "ben"}))
            await _webhook(stack, again, **ARRIVED)
            name = "declined, appealed, one approval, confirmed by webhook (two cases)"
            found.append(await _measured(name, no, again))
            back = await stack.client.open_refund(request("back"))
            await _webhook(stack, back, **RETURNED)
            await back.result()
            credit = await back.accept(CALLER, RefundMethod.ACCOUNT_CREDIT)
            found.append(
                await _measured("returned by the bank, then credit (two cases)", back, credit)
            )
            return found
