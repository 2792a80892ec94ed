"""What each way through a refund costs: events, bytes of history, billable actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from temporalio.testing import TimeSkipper

from bench.refunds import Arm, customers, figures, request, server
from client import CaseHandle, Client
from domain.actors import Actor, Role
from domain.cases import Status
from domain.refunds import ProviderNews
from tests.stack import Stack, running_stack
from workflows.refund import RefundCase


@dataclass(frozen=True)
class Path:
    """One way and its cost; ``outcome`` proves that it went that way."""

    name: str
    outcome: str
    events: int
    history_bytes: int
    actions: int


async def _webhook(stack: Stack, case: CaseHandle) -> None:
    """The bank's reference arrives and its webhook is passed on, as web/ does it."""
    while True:
        row = await case.row()
        if row is not None and row.status is Status.SETTLING:
            break
    await stack.control(f"refunds/{row.provider_id}", {"reference": "74000000000000000000000"})
    news = ProviderNews(event_id="evt_bench", event_type="refund.updated")
    await case.workflow.signal(RefundCase.provider_news, news)


async def _measured(name: str, case: CaseHandle) -> Path:
    result, arm = await case.result(), Arm()
    await figures(case.workflow, arm)
    return Path(name, result.outcome.value, arm.events, arm.history_bytes, arm.actions)


async def measure() -> list[Path]:
    """One case a path on a stack of its own."""
    async with server() as temporal, running_stack(temporal.address) as stack:
        accounts = customers(["hook", "look", "silent", "asked"])
        behaviours = {"silent": "silent"}
        for account in accounts["customers"]:
            behaviour = behaviours.get(account["id"].removeprefix("cus_"), "arrives")
            for charge in account["charges"]:
                charge["refund_behaviour"] = behaviour
        await stack.control("seed", accounts)
        skipping = Client(
            TimeSkipper(stack.temporal).client,
            stack.books,
            stack.keyring,
            stack.settings.signing_key(),
        )
        async with stack.worker():
            found = []
            hook = await stack.client.open_refund(request("hook"))
            await _webhook(stack, hook)
            found.append(await _measured("automatic, confirmed by webhook", hook))
            await stack.control("settings", {"settle_days_min": 0, "settle_days_max": 0})
            look = await skipping.open_refund(request("look"))
            found.append(await _measured("automatic, found at the first look", look))
            silent = await skipping.open_refund(request("silent"))
            found.append(await _measured("automatic, three looks, no word at all", silent))
            asked = await stack.client.open_refund(_needs_a_person(request("asked")))
            await asked.decided()
            await asked.approve(Actor(id="ana", role=Role.LEAD))
            await _webhook(stack, asked)
            found.append(await _measured("one approval, confirmed by webhook", asked))
            return found


def _needs_a_person(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "reason": "not_as_agreed"}
