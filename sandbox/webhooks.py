"""Signed webhooks from a background task, retried with back-off, and spoiled on demand.

docs.stripe.com/webhooks: ``Stripe-Signature: t=<seconds>,v1=<HMAC-SHA256 of "t.body">``, a fresh
timestamp for every attempt, retries until a 2xx. A delivery is a stored row until it is over, so
deliveries survive a killed sandbox.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterable

import httpx

from .events import type_matches
from .store import Json
from .world import World, random_id

MODES = ("normal", "duplicated", "delayed", "reordered", "dropped", "stale", "forged")
STALE_SECONDS = 600
HURRIED_PAUSE = 0.005


def signature(secret: str, timestamp: int, body: str) -> str:
    """docs.stripe.com/webhooks#verify-manually"""
    signed = hmac.new(secret.encode(), f"{timestamp}.{body}".encode(), hashlib.sha256)
    return f"t={timestamp},v1={signed.hexdigest()}"


class Webhooks:
    def __init__(self, world: World) -> None:
        self._world = world
        self._store = world.store
        self._wake = asyncio.Event()
        self._hurry = False
        world.on_event = self._on_event

    # planning

    def plan(self, given: Json) -> Json:
        """Spoil the next ``next`` events of ``type``; raises ValueError on nonsense."""
        row: Json = {
            "mode": "normal",
            "type": "*",
            "next": 1,
            "delay_seconds": 2,
            "behind": 1,
            "age_seconds": STALE_SECONDS,
        }
        for name, value in given.items():
            if name not in row:
                raise ValueError(f"a plan has no {name!r}: {', '.join(row)}")
            if type(value) is not type(row[name]):
                raise ValueError(f"{name} is of type {type(row[name]).__name__}")
        row.update(given)
        if row["mode"] not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}")
        id = f"plan_{self._store.serial():08d}"
        return self._store.add("_plan", id, {"id": id, **row})

    def plans(self) -> list[Json]:
        return self._store.all("_plan")

    def clear_plans(self) -> None:
        for row in self.plans():
            self._store.remove("_plan", row["id"])

    def _planned(self, type: str) -> Json:
        for row in self.plans():
            if row["next"] > 0 and type_matches(row["type"], type):
                self._store.edit("_plan", row["id"])["next"] -= 1
                return row
        return {"mode": "normal"}

    # queueing

    def _on_event(self, event: Json) -> None:
        endpoints = list(self._endpoints(event["type"]))
        if endpoints:
            event["pending_webhooks"] = self._queue(event, endpoints, self._planned(event["type"]))

    def _endpoints(self, type: str) -> Iterable[Json]:
        for row in self._store.all("webhook_endpoint"):
            wanted = any(type_matches(pattern, type) for pattern in row["enabled_events"])
            if row["status"] == "enabled" and wanted:
                yield row

    def resend(self, event: Json, plan: Json) -> int:
        return self._queue(event, list(self._endpoints(event["type"])), plan)

    def _queue(self, event: Json, endpoints: list[Json], plan: Json) -> int:
        mode, queued = plan["mode"], 0
        for endpoint in endpoints:
            if mode == "dropped":
                self._log(event, endpoint, mode, attempt=0, outcome="dropped")
                continue
            for _ in range(2 if mode == "duplicated" else 1):
                id = f"dlv_{self._store.serial():012d}"
                delay = plan["delay_seconds"] if mode == "delayed" else 0
                self._store.add(
                    "_delivery",
                    id,
                    {
                        "id": id,
                        "event": event["id"],
                        "endpoint": endpoint["id"],
                        "mode": mode,
                        "not_before_ms": self._now_ms() + delay * 1000,
                        "behind": plan["behind"] if mode == "reordered" else 0,
                        "age_seconds": plan["age_seconds"] if mode == "stale" else 0,
                        "attempt": 0,
                    },
                )
                queued += 1
        self._wake.set()
        return queued

    # sending

    def pending(self) -> list[Json]:
        return self._store.all("_delivery")

    async def flush(self, timeout_seconds: float, *, hurry: bool) -> int:
        """Wait until nothing is queued and answer what is left; ``hurry`` skips every delay."""
        self._hurry = hurry
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_seconds):
                while self.pending():  # noqa: ASYNC110 (rows, not an event)
                    await asyncio.sleep(HURRIED_PAUSE)
        except TimeoutError:
            pass
        finally:
            self._hurry = False
        return len(self.pending())

    async def run(self) -> None:
        """The background task. Per endpoint one delivery after the other, so order is kept,
        unless the setting ``webhook_concurrency`` allows more at once."""
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                self._wake.clear()
                lanes: dict[tuple[str, int], list[str]] = {}
                width = self._world.settings.webhook_concurrency
                for n, row in enumerate(self._ready()):
                    lanes.setdefault((row["endpoint"], n % width), []).append(row["id"])
                if lanes:
                    await asyncio.gather(*(self._lane(client, ids) for ids in lanes.values()))
                    continue
                try:
                    async with asyncio.timeout(self._idle_seconds()):
                        await self._wake.wait()
                except TimeoutError:
                    pass

    def _ready(self) -> list[Json]:
        now = self._now_ms()
        return [
            row
            for row in self.pending()
            if self._hurry or (row["not_before_ms"] <= now and row["behind"] <= 0)
        ]

    def _idle_seconds(self) -> float:
        waits = [row["not_before_ms"] - self._now_ms() for row in self.pending()]
        return min(1.0, max(0.005, min(waits, default=1000) / 1000))

    async def _lane(self, client: httpx.AsyncClient, ids: list[str]) -> None:
        for id in ids:
            delivery = self._store.get("_delivery", id)
            if delivery is not None:
                await self._send(client, delivery)

    async def _send(self, client: httpx.AsyncClient, delivery: Json) -> None:
        event = self._store.get("event", delivery["event"])
        endpoint = self._store.get("webhook_endpoint", delivery["endpoint"])
        secret = self._store.get("_secret", delivery["endpoint"])
        if event is None or endpoint is None or secret is None:
            with self._store.transaction():
                self._store.remove("_delivery", delivery["id"])
            return
        body = json.dumps(event, indent=2)
        key = random_id("whsec_", 32) if delivery["mode"] == "forged" else secret["secret"]
        timestamp = int(self._world.clocks.wall()) - delivery["age_seconds"]
        status, problem = None, None
        try:
            answer = await client.post(
                endpoint["url"],
                content=body.encode(),
                headers={
                    "Content-Type": "application/json; charset=utf-8",
                    "Stripe-Signature": signature(key, timestamp, body),
                    "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
                },
                timeout=self._world.settings.webhook_timeout_ms / 1000,
            )
            status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            problem = type(error).__name__
        with self._store.transaction():
            self._settle(delivery["id"], event, endpoint, status, problem)

    def _settle(
        self, id: str, event: Json, endpoint: Json, status: int | None, problem: str | None
    ) -> None:
        if self._store.get("_delivery", id) is None:
            return  # the state was reset, or the endpoint deleted, while the answer was awaited
        delivery = self._store.edit("_delivery", id)
        delivery["attempt"] += 1
        retries = self._world.settings.webhook_retry_ms
        if status is not None and 200 <= status < 300:
            outcome = "delivered"
        elif delivery["mode"] in ("stale", "forged"):
            outcome = "not_retried"
        elif delivery["attempt"] > len(retries):
            outcome = "gave_up"
        else:
            outcome = "retry"
            delivery["not_before_ms"] = self._now_ms() + retries[delivery["attempt"] - 1]
        self._log(
            event,
            endpoint,
            delivery["mode"],
            attempt=delivery["attempt"],
            outcome=outcome,
            status=status,
            problem=problem,
        )
        if outcome == "retry":
            return
        self._store.remove("_delivery", id)
        for other in self._store.where("_delivery", "mode", "reordered"):
            if other["endpoint"] == endpoint["id"] and other["behind"] > 0:
                self._store.edit("_delivery", other["id"])["behind"] -= 1
        if self._store.get("event", event["id"]) is not None:
            left = len(self._store.where("_delivery", "event", event["id"]))
            self._store.edit("event", event["id"])["pending_webhooks"] = left

    def _log(
        self,
        event: Json,
        endpoint: Json,
        mode: str,
        *,
        attempt: int,
        outcome: str,
        status: int | None = None,
        problem: str | None = None,
    ) -> None:
        id = f"att_{self._store.serial():012d}"
        self._store.add(
            "_attempt",
            id,
            {
                "id": id,
                "event": event["id"],
                "type": event["type"],
                "endpoint": endpoint["id"],
                "url": endpoint["url"],
                "mode": mode,
                "attempt": attempt,
                "at_ms": self._now_ms(),
                "status": status,
                "problem": problem,
                "outcome": outcome,
            },
        )

    def log(self) -> list[Json]:
        return self._store.all("_attempt")

    def _now_ms(self) -> int:
        return int(self._world.clocks.wall() * 1000)
