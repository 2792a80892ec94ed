"""Webhooks in every mode, judged by ``stripe.Webhook.construct_event``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.sandbox.box import Box
from tests.sandbox.receiver import Receiver
from tests.sandbox_process import SandboxProcess

SECRET = "whsec_of_the_tests"


@pytest.fixture
async def receiver(box: Box) -> AsyncIterator[Receiver]:
    async with Receiver() as made:
        await box.control("webhooks/endpoint", {"url": made.url, "secret": SECRET})
        yield made
        await box.control("reset")


async def flushed(box: Box, **body: Any) -> None:
    assert (await box.control("webhooks/flush", body))["pending"] == 0


async def outcomes(box: Box) -> list[tuple[str, int | None, str]]:
    log = await box.control("webhooks/log", method="GET")
    return [(row["mode"], row["status"], row["outcome"]) for row in log["attempts"]]


async def test_events_arrive_signed_in_order_and_as_snapshots(box: Box, receiver: Receiver) -> None:
    charge = await box.charge()
    answer = await box.post("/v1/refunds", {"charge": charge, "amount": 1000}, key="case_1:refund")
    await flushed(box)
    assert receiver.judged(SECRET) == ["refund.created", "charge.refunded"]
    event = json.loads(receiver.bodies[1][0])
    assert event["api_version"] == "2026-08-26.dahlia"
    assert event["request"] == {
        "id": answer.headers["Request-Id"],
        "idempotency_key": "case_1:refund",
    }
    assert event["data"]["object"]["amount_refunded"] == 1000
    assert event["data"]["previous_attributes"] == {"amount_refunded": 0}
    assert event["pending_webhooks"] == 1
    assert event["created"] == answer.json()["created"]
    assert (await box.get(f"/v1/events/{event['id']}"))["pending_webhooks"] == 0


async def test_an_endpoint_gets_only_what_it_asked_for_and_its_own_secret(box: Box) -> None:
    async with Receiver() as receiver:
        made = await box.post(
            "/v1/webhook_endpoints",
            {"url": receiver.url, "enabled_events[]": "charge.refunded", "description": "books"},
        )
        endpoint = made.json()
        assert endpoint["secret"].startswith("whsec_")
        assert "secret" not in await box.get(f"/v1/webhook_endpoints/{endpoint['id']}")
        charge = await box.charge()
        await box.refund(charge, 1000)
        await flushed(box)
        assert receiver.judged(endpoint["secret"]) == ["charge.refunded"]
        await box.post(f"/v1/webhook_endpoints/{endpoint['id']}", {"disabled": "true"})
        await box.refund(charge, 1000)
        await flushed(box)
        assert len(receiver.bodies) == 1
        url = f"{box.url}/v1/webhook_endpoints/{endpoint['id']}"
        gone = await box.client.delete(url, headers={"Authorization": "Bearer sk_test_1"})
        assert gone.json()["deleted"]


async def test_a_refused_event_is_sent_again_with_a_fresh_signature(
    box: Box, receiver: Receiver
) -> None:
    receiver.statuses = [500, 400]
    await box.control("settings", {"webhook_retry_ms": [20, 20, 20]})
    await box.control("webhooks/emit", {"type": "charge.updated", "object": {"id": "ch_1"}})
    await flushed(box)
    assert receiver.judged(SECRET) == ["charge.updated"] * 3
    assert [outcome for _, _, outcome in await outcomes(box)] == ["retry", "retry", "delivered"]


async def test_an_event_that_nobody_takes_is_given_up(box: Box) -> None:
    await box.control("settings", {"webhook_retry_ms": [5]})
    await box.control("webhooks/endpoint", {"url": "http://127.0.0.1:9/closed", "secret": SECRET})
    await box.control("webhooks/emit", {"type": "a.b", "object": {"id": "x"}})
    await flushed(box)
    assert [outcome for _, _, outcome in await outcomes(box)] == ["retry", "gave_up"]


@pytest.mark.parametrize(
    ("mode", "seen"),
    [
        ("duplicated", ["refund.created", "refund.created", "charge.refunded"]),
        ("dropped", ["charge.refunded"]),
        ("stale", ["stale", "charge.refunded"]),
        ("forged", ["forged", "charge.refunded"]),
        ("reordered", ["charge.refunded", "refund.created"]),
    ],
)
async def test_webhooks_are_spoiled_on_demand(
    box: Box, receiver: Receiver, mode: str, seen: list[str]
) -> None:
    charge = await box.charge()
    await box.control("webhooks/plan", {"mode": mode, "type": "refund.created"})
    await box.refund(charge, 100)
    await flushed(box)
    assert receiver.judged(SECRET) == seen
    await box.refund(charge, 100)
    await flushed(box)
    assert receiver.judged(SECRET)[len(seen) :] == ["refund.created", "charge.refunded"]


async def test_a_delayed_event_arrives_late_or_when_hurried(box: Box, receiver: Receiver) -> None:
    charge = await box.charge()
    await box.control(
        "webhooks/plan", {"mode": "delayed", "type": "refund.*", "delay_seconds": 3600}
    )
    await box.refund(charge, 100)
    left = await box.control("webhooks/flush", {"timeout_seconds": 0.2})
    assert (left["pending"], receiver.judged(SECRET)) == (1, ["charge.refunded"])
    await flushed(box, hurry=True)
    assert receiver.judged(SECRET) == ["charge.refunded", "refund.created"]


async def test_an_old_event_is_sent_again_on_demand(box: Box, receiver: Receiver) -> None:
    charge = await box.charge()
    await box.control("webhooks/plan", {"mode": "dropped", "next": 2})
    await box.refund(charge, 100)
    await flushed(box)
    assert receiver.bodies == []
    event = (await box.get("/v1/events", type="refund.created"))["data"][0]["id"]
    assert (await box.control("webhooks/resend", {"event": event}))["queued"] == 1
    await box.control("webhooks/resend", {"event": event, "mode": "forged"})
    await flushed(box)
    assert receiver.judged(SECRET) == ["refund.created", "forged"]
    assert [mode for mode, _, _ in await outcomes(box)] == [
        "dropped",
        "dropped",
        "normal",
        "forged",
    ]


async def test_queued_webhooks_survive_a_killed_sandbox(tmp_path: Any, client: Any) -> None:
    async with Receiver() as receiver, SandboxProcess(tmp_path / "sandbox.db") as process:
        box = Box(process.url, client)
        await box.control("webhooks/endpoint", {"url": receiver.url, "secret": SECRET})
        await box.control("webhooks/plan", {"mode": "delayed", "next": 9, "delay_seconds": 3600})
        await box.refund(await box.charge(), 100)
        process.kill9()
        process.start()
        await flushed(box, hurry=True)
        assert receiver.judged(SECRET) == ["refund.created", "charge.refunded"]
