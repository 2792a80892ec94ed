"""What open cases cost a worker while they wait: its memory with many and with ten times as many.

Each waits for a person, on a timer of business days. A worker keeps the newest 200 in its cache
and forgets the others until something happens to them: the aim is that their number makes no
difference.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from bench.refunds import AT_ONCE, customers, needs_a_person, request, server
from bench.use import ProcessUse
from client import Client
from domain.cases import Status
from tests.stack import Stack, WorkerProcess, running_stack

SEEDED_AT_ONCE = 500
LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Waiting:
    """A worker's resident memory while so many cases wait."""

    cases: int
    memory_mib: float


async def _waiting(stack: Stack) -> int:
    async with stack.books.reading() as reading:
        totals = await reading.totals()
    return sum(each.cases for each in totals if each.status is Status.AWAITING_APPROVAL)


async def _open(client: Client, stack: Stack, numbers: range) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(n: int) -> None:
        async with gate:
            await client.open_refund(needs_a_person(request(f"w{n}")))

    for start in range(numbers.start, numbers.stop, SEEDED_AT_ONCE):
        part = range(start, min(start + SEEDED_AT_ONCE, numbers.stop))
        await stack.control("seed", customers([f"w{n}" for n in part]))
        await asyncio.gather(*(one(n) for n in part))
        while True:
            if await _waiting(stack) == part.stop:
                break
            await asyncio.sleep(LOOK_SECONDS)


async def measure(cases: int) -> list[Waiting]:
    """With a tenth of ``cases``, and with all of them."""
    async with server() as temporal, running_stack(temporal.address) as stack:
        worker = WorkerProcess(stack.environment)
        worker.start()
        try:
            found, opened = [], 0
            for goal in (cases // 10, cases):
                await _open(stack.client, stack, range(opened, goal))
                opened = goal
                found.append(Waiting(goal, ProcessUse(worker.pid).memory_mib()))
            return found
        finally:
            worker.stop()


def report(found: list[Waiting]) -> list[str]:
    """The section of the report."""
    return [
        "## Cases that wait",
        "",
        "Each for a person, on a timer; one worker with a cache of 200.",
        "",
        "| open cases | worker memory, MiB |",
        "|---|---|",
        *(f"| {each.cases:,} | {each.memory_mib:.1f} |" for each in found),
        "",
    ]
