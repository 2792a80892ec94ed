"""Automatic refunds through the whole engine, against a bare workflow of the same shape.

Both arms run in turns, each on a server of its own that has seen nothing, with one worker
process, a cache of 200 and time skipped by the server. Every case is a charge found twice, so
that the policy asks nobody; the bank's reference is there at the first look.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client as TemporalClient
from temporalio.client import WorkflowHandle, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import TimeSkipper

from bench.bare import QUEUE, BareWorkflow
from bench.use import CpuSince, ProcessUse
from client import Client
from domain.cases import CaseKind, case_id_for
from tests.stack import Stack, TemporalServer, WorkerProcess, running_stack

AT_ONCE = 40
AMOUNT = 2500
WORKER, SERVER, CALLER = "worker", "Temporal server", "caller"
PROVIDER = "provider's double"
ACTIONS = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    EventType.EVENT_TYPE_TIMER_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
}
"""What Temporal Cloud bills as an action, of what these workflows do."""


def billable_actions(history: WorkflowHistory) -> int:
    """Actions of one run: starts, activity attempts, timers, signals, updates."""
    retries = sum(
        event.activity_task_started_event_attributes.attempt - 1
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
    )
    return retries + sum(event.event_type in ACTIONS for event in history.events)


@dataclass
class Arm:
    """Figures of one arm, a value a round; per-case values where the name says so."""

    cases_per_second: list[float] = field(default_factory=list)
    cpu_ms_per_case: dict[str, list[float]] = field(default_factory=dict)
    memory_mib: list[float] = field(default_factory=list)
    events: int = 0
    history_bytes: int = 0
    actions: int = 0

    def add_round(self, cases: int, seconds: float, cpu: CpuSince, worker: ProcessUse) -> None:
        self.cases_per_second.append(cases / seconds)
        for name, used in cpu.ms().items():
            self.cpu_ms_per_case.setdefault(name, []).append(used / cases)
        self.memory_mib.append(worker.memory_mib())

    def all_cpu_ms(self) -> list[float]:
        """Of all processes together, a value a round."""
        return [sum(used) for used in zip(*self.cpu_ms_per_case.values(), strict=True)]


@dataclass
class Latency:
    """Milliseconds from the start request, one case at a time."""

    to_decision: list[int] = field(default_factory=list)
    to_provider: list[int] = field(default_factory=list)


async def figures(handle: WorkflowHandle[Any, Any], arm: Arm) -> None:
    history = await handle.fetch_history()
    described = await handle.describe()
    arm.events = len(history.events)
    arm.history_bytes = described.raw_description.workflow_execution_info.history_size_bytes
    arm.actions = billable_actions(history)


@asynccontextmanager
async def server() -> AsyncIterator[TemporalServer]:
    made = TemporalServer()
    await made.start()
    try:
        yield made
    finally:
        made.stop()


async def bare_round(arm: Arm, cases: int) -> None:
    async with server() as temporal:
        plain = await TemporalClient.connect(
            temporal.address, data_converter=pydantic_data_converter
        )
        client = TimeSkipper(plain).client
        worker = WorkerProcess(
            {**os.environ, "TEMPORAL_ADDRESS": temporal.address}, module="bench.bare"
        )
        worker.start()
        try:
            # the worker's start is no part of either arm
            await client.execute_workflow(BareWorkflow.run, "warm", id="warm", task_queue=QUEUE)
            pids = {WORKER: worker.pid, SERVER: temporal.pid, CALLER: os.getpid()}
            cpu, start = CpuSince(pids), time.perf_counter()
            gate = asyncio.Semaphore(AT_ONCE)

            async def one(n: int) -> None:
                async with gate:
                    await client.execute_workflow(
                        BareWorkflow.run, f"case {n}", id=f"bare-{n}", task_queue=QUEUE
                    )

            await asyncio.gather(*(one(n) for n in range(cases)))
            seconds = time.perf_counter() - start
            arm.add_round(cases, seconds, cpu, ProcessUse(worker.pid))
            await figures(client.get_workflow_handle("bare-0"), arm)
        finally:
            worker.stop()


def customers(names: list[str], amount: int = AMOUNT) -> dict[str, Any]:
    """Each with one charge of ``amount`` minor units, taken twice within the hour."""
    paid = datetime.now(UTC) - timedelta(days=3)
    return {
        "customers": [
            {
                "id": f"cus_{name}",
                "created": (paid - timedelta(days=400)).isoformat(),
                "charges": [
                    {
                        "id": f"ch_{name}{twin}",
                        "amount": amount,
                        "currency": "usd",
                        "created": (paid + timedelta(minutes=twin)).isoformat(),
                        "refund_behaviour": "arrives",
                    }
                    for twin in (1, 2)
                ],
            }
            for name in names
        ]
    }


def request(name: str, amount: int = AMOUNT) -> dict[str, Any]:
    return {
        "request_id": f"bench-{name}",
        "customer": f"cus_{name}",
        "charge": f"ch_{name}2",
        "amount_minor": amount,
        "currency": "usd",
        "reason": "duplicate_charge",
        "requested_by": {"id": "bench", "role": "service"},
    }


def needs_a_person(fields: dict[str, Any]) -> dict[str, Any]:
    """The same request for a reason that the policy has somebody look at."""
    return {**fields, "reason": "service_unavailable"}


def skipping_client(stack: Stack) -> Client:
    """A client whose cases have their time skipped by the server."""
    temporal = TimeSkipper(stack.temporal).client
    return Client(temporal, stack.books, stack.keyring, stack.settings.signing_key())


async def engine_round(arm: Arm, latency: Latency, cases: int, singles: int) -> None:
    async with server() as temporal, running_stack(temporal.address) as stack:
        await stack.control("settings", {"settle_days_min": 0, "settle_days_max": 0})
        names = [f"t{n}" for n in range(cases)] + [f"s{n}" for n in range(singles)] + ["warm"]
        await stack.control("seed", customers(names))
        client = skipping_client(stack)
        worker = WorkerProcess(stack.environment)
        worker.start()
        try:
            await (await client.open_refund(request("warm"))).result()
            pids = {WORKER: worker.pid, SERVER: temporal.pid, CALLER: os.getpid()}
            pids[PROVIDER] = stack.sandbox_pid
            cpu, start = CpuSince(pids), time.perf_counter()
            gate = asyncio.Semaphore(AT_ONCE)

            async def one(name: str) -> None:
                async with gate:
                    await (await client.open_refund(request(name))).result()

            await asyncio.gather(*(one(f"t{n}") for n in range(cases)))
            seconds = time.perf_counter() - start
            arm.add_round(cases, seconds, cpu, ProcessUse(worker.pid))
            await figures(client.case(_case_id("t0")).workflow, arm)
            for n in range(singles):
                started = time.time_ns() // 1_000_000
                await (await client.open_refund(request(f"s{n}"))).result()
                await _latency(stack, f"s{n}", started, latency)
        finally:
            worker.stop()


def _case_id(name: str) -> str:
    return case_id_for(CaseKind.REFUND, f"bench-{name}")


async def _latency(stack: Any, name: str, started_ms: int, latency: Latency) -> None:
    async with stack.books.reading() as reading:
        events = await reading.events(_case_id(name))
    decided = next(event for event in events if event.step == "decide")
    latency.to_decision.append(int(decided.recorded_at.timestamp() * 1000) - started_ms)
    journal = await stack.control(f"journal?effects=true&customer=cus_{name}")
    latency.to_provider.append(journal["entries"][0]["at_ms"] - started_ms)


def percentile(values: list[int], percent: int) -> int:
    return round(statistics.quantiles(values, n=100)[percent - 1])


async def measure(rounds: int, cases: int, singles: int) -> tuple[Arm, Arm, Latency]:
    """``rounds`` of ``cases`` in each arm, in turns, and ``singles`` one at a time."""
    engine, bare, latency = Arm(), Arm(), Latency()
    for _ in range(rounds):
        await bare_round(bare, cases)
        await engine_round(engine, latency, cases, singles)
    return engine, bare, latency
