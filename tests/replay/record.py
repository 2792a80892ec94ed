"""Record one history of each path, as it lies in Temporal: raw, sealed, under a fixed key.

    python -m tests.replay.record            adds what is missing
    python -m tests.replay.record --all      records everything anew (a new major version)

A released history is never recorded again: it proves that today's workflow code still says the
same to it. The key is no secret; it exists so that the payloads can be read for ever.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from temporalio.client import Client as TemporalClient

from client import Client
from domain.cases import Channel, Desk, Status
from domain.refunds import ProviderNews
from ledger.projection import slots_of
from tests.stack import SIGNING_KEY, TemporalServer
from tests.workflows.builders import (
    AGENT,
    CUSTOMER,
    FINANCE,
    LEAD,
    MEDIUM,
    PICTURE,
    SERVICE,
    a_charge,
)
from tests.workflows.world import Case, World, empty_world, next_case, person
from workflows import steps
from workflows.converter import sealing_converter
from workflows.refund import RefundCase

HISTORIES = Path(__file__).resolve().parent / "histories"
KEY_ID, KEY = "replay", bytes(range(100, 132))


class FixedKeys:
    """One key for everything: the histories' own."""

    async def key_for_case(self, case_id: str) -> tuple[str, bytes] | None:
        return KEY_ID, KEY

    def engine_key(self) -> tuple[str, bytes]:
        return KEY_ID, KEY

    async def key_by_id(self, key_id: str) -> bytes | None:
        return KEY if key_id == KEY_ID else None


Drive = Callable[[World], Awaitable[Case]]


async def settled_by_look(world: World) -> Case:
    case = await world.open_settling({"refund_behaviour": "silent"}, text="please")
    looks, _ = await world.looks(case)
    for instant in looks:
        await world.advance_past(case, instant)
    return case


async def settled_by_webhook(world: World) -> Case:
    """One approval; the news is signalled as the webhook's postman does."""
    case = await world.open_settling({"refund_behaviour": "silent"}, amount_minor=MEDIUM)
    await world.calm(case)
    await world.at_bank(case, reference="74000000000000000000006")
    await _tell(case, "refund.updated")
    return case


async def failed_by_webhook(world: World) -> Case:
    case = await world.open_settling({"refund_behaviour": "silent"}, amount_minor=MEDIUM)
    await world.calm(case)
    await world.at_bank(case, status="failed", failure_reason="expired_or_canceled_card")
    await _tell(case, "refund.failed")
    return case


async def called_and_handed_over(world: World) -> Case:
    """Everything that people do around a waiting case, and every call of the desk."""
    case = await world.open_decided(
        {"refund_behaviour": "silent"}, policy="patient", amount_minor=MEDIUM
    )
    await case.handle.contact(CUSTOMER, Channel.PHONE, "please")
    await case.handle.transfer(AGENT, Desk.RETENTION, "theirs")
    await case.handle.delegate(AGENT, person(AGENT, "agent-2"))
    await world.calm(case)
    (slot,) = slots_of(await world.events(case))
    assert slot.escalates_at is not None
    for instant in (slot.remind_at[0], slot.escalates_at):
        await world.advance_past(case, instant)
    await case.handle.approve(FINANCE)
    await world.until(case, Status.SETTLING)
    await world.calm(case)
    await world.at_bank(case, reference="74000000000000000000006")
    await _tell(case, "refund.updated")
    return case


async def _tell(case: Case, event_type: str) -> None:
    news = ProviderNews(event_id="evt_1", event_type=event_type)
    await case.handle.workflow.signal(RefundCase.provider_news, news)


async def two_approvals(world: World) -> Case:
    case = await world.open_decided({"refund_behaviour": "fails"}, amount_minor=60_000)
    await case.handle.approve(LEAD, slot="first", note="fine")
    await case.handle.approve(FINANCE, slot="second")
    await world.until(case, Status.SETTLING)
    looks, _ = await world.looks(case)
    await world.advance_past(case, looks[0])
    return case


async def paid_another_way(world: World) -> Case:
    """The bank sends the money back, and the policy orders it once more by a case of its own."""
    case = await world.open_settling({"refund_behaviour": "silent"}, policy="generous")
    await world.at_bank(case, status="failed")
    looks, _ = await world.looks(case)
    await world.advance_past(case, looks[0])
    return case


async def pays_for_another(world: World) -> Case:
    """That other case, settled by silence."""
    case = await next_case(world, await paid_another_way(world))
    await world.until(case, Status.SETTLING)
    for instant in (await world.looks(case))[0]:
        await world.advance_past(case, instant)
    return case


async def asked_and_given(world: World) -> Case:
    """A file answers the question; then one approval, and the bank's reference."""
    case = await world.open_decided(policy="asking", amount_minor=MEDIUM)
    await world.calm(case)
    await case.handle.evidence(CUSTOMER, file=PICTURE, name="receipt.png")
    await world.until(case, Status.AWAITING_APPROVAL)
    await case.handle.approve(LEAD)
    await world.until(case, Status.SETTLING)
    await world.at_bank(case, reference="74000000000000000000007")
    looks, _ = await world.looks(case)
    await world.advance_past(case, looks[0])
    return case


async def asked_and_silent(world: World) -> Case:
    case = await world.open_decided(policy="asking", amount_minor=MEDIUM)
    due_at = (await world.row(case)).due_at
    assert due_at is not None
    await world.advance_past(case, due_at)
    return case


async def declined(world: World) -> Case:
    case = await world.open_decided(amount_minor=MEDIUM)
    await case.handle.decline(LEAD, note="no")
    return case


async def withdrawn(world: World) -> Case:
    case = await world.open_decided(amount_minor=MEDIUM)
    await case.handle.withdraw(SERVICE)
    return case


async def expired(world: World) -> Case:
    case = await world.open_decided(amount_minor=MEDIUM)
    due_at = (await world.row(case)).due_at
    assert due_at is not None
    await world.advance_past(case, due_at)
    return case


async def refused(world: World) -> Case:
    seeded = await a_charge(world.stack)
    await world.stack.control(f"charges/{seeded['charge']}/dispute", {})
    return await world.open(seeded)


async def rejected_by_provider(world: World) -> Case:
    case = await world.open_decided({"amount": MEDIUM}, amount_minor=MEDIUM)
    await world.outside_refund(case, 1)
    await case.handle.approve(LEAD)
    return case


async def credited(world: World) -> Case:
    return await world.open_decided(consents_to_credit=True)


async def traced_and_unconfirmed(world: World) -> Case:
    case = await world.open_settling({"refund_behaviour": "stuck"})
    looks, trace_looks = await world.looks(case)
    for instant in (*looks, *trace_looks):
        await world.advance_past(case, instant)
    return case


async def unknown_for_long(world: World) -> Case:
    """The provider repeats its error under one key, finance hears of it, the key is forgotten."""
    with patch.object(steps, "ALARM_AFTER", timedelta(seconds=3)):
        case = await world.open_decided({"refund_behaviour": "silent"}, amount_minor=MEDIUM)
        await world.calm(case)
        await world.fault(case, kind="status_500", count=1)
        await case.handle.approve(LEAD)
        while "unknown" not in await world.steps(case):  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.1)
    hours = {"customer": case.customer, "by_seconds": 25 * 3600}
    await world.stack.control("clock", hours)
    await world.until(case, Status.SETTLING)
    await world.calm(case)
    await world.at_bank(case, reference="74000000000000000000008")
    await _tell(case, "refund.updated")
    return case


async def bad_input(world: World) -> Case:
    return await world.open(currency="eur")


PATHS: dict[str, Drive] = {
    path.__name__: path
    for path in (
        settled_by_look,
        settled_by_webhook,
        failed_by_webhook,
        called_and_handed_over,
        two_approvals,
        paid_another_way,
        pays_for_another,
        asked_and_given,
        asked_and_silent,
        declined,
        withdrawn,
        expired,
        refused,
        rejected_by_provider,
        credited,
        traced_and_unconfirmed,
        unknown_for_long,
        bad_input,
    )
}


def without_machines(text: str) -> dict[str, Any]:
    """A history as JSON without the names of the machines and processes that made it."""
    return dict(json.loads(_PROCESS.sub('"recorder"', text)))


_PROCESS = re.compile(r'"\d+@[^"]*"')


async def record(names: list[str]) -> None:
    server = TemporalServer()
    await server.start()
    try:
        async with empty_world(server.address, workflow_sandbox=False) as world:
            stack = world.stack
            temporal = await TemporalClient.connect(
                server.address, data_converter=sealing_converter(FixedKeys())
            )
            world = World(replace(stack, temporal=temporal), world.queue)
            world.client = Client(
                temporal,
                stack.books,
                stack.keyring,
                SIGNING_KEY,
                task_queue=world.queue,
                evidence=stack.client.evidence_store,
            )
            async with world.stack.worker(task_queue=world.queue):
                for name in names:
                    case = await PATHS[name](world)
                    await world.calm(case)
                    history = await case.handle.workflow.fetch_history()
                    kept = {"workflow_id": case.id, **without_machines(history.to_json())}
                    text = json.dumps(kept, indent=1, sort_keys=True) + "\n"
                    (HISTORIES / f"refund-v1-{name}.json").write_text(text, encoding="utf-8")
                    print(f"{name}: {len(history.events)} events")
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="record everything anew")
    again = parser.parse_args().all
    wanted = [n for n in PATHS if again or not (HISTORIES / f"refund-v1-{n}.json").exists()]
    asyncio.run(record(wanted))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
