"""How soon cases go on after Temporal's server was killed and started again.

The server keeps its state on a file here, as it would in production. It is killed while all cases
are on their way; the worker and the caller stay, and find it again by themselves.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from temporalio.service import RPCError

from bench.refunds import AT_ONCE, customers, request, skipping_client
from client import CaseHandle
from domain.cases import Outcome
from tests.stack import TemporalServer, WorkerProcess, running_stack


@dataclass(frozen=True)
class Recovery:
    """Seconds from the kill; ``effects`` counts what moved at the provider in the end."""

    cases: int
    ended_before: int
    answers: float
    first_ended: float
    last_ended: float
    effects: int


async def _end(case: CaseHandle) -> float:
    while True:
        try:
            assert (await case.result()).outcome is Outcome.REFUNDED
            return time.perf_counter()
        except RPCError:
            await asyncio.sleep(0.05)


async def measure(cases: int = AT_ONCE) -> Recovery:
    """Kill the server once all ``cases`` are open, and wait for every end."""
    with tempfile.TemporaryDirectory(prefix="redress-") as folder:
        temporal = TemporalServer(database=Path(folder) / "temporal.db")
        await temporal.start()
        try:
            return await _killed(temporal, cases)
        finally:
            temporal.stop()


async def _killed(temporal: TemporalServer, cases: int) -> Recovery:
    async with running_stack(temporal.address) as stack:
        await stack.control("settings", {"settle_days_min": 0, "settle_days_max": 0})
        names = [f"r{n}" for n in range(cases)]
        await stack.control("seed", customers([*names, "warm"]))
        client = skipping_client(stack)
        worker = WorkerProcess(stack.environment)
        worker.start()
        try:
            await (await client.open_refund(request("warm"))).result()
            opened = await asyncio.gather(*(client.open_refund(request(n)) for n in names))
            killed_at = time.perf_counter()
            await asyncio.to_thread(temporal.kill9)
            await temporal.start()
            answers = time.perf_counter()
            async with stack.books.reading() as reading:
                totals = await reading.totals()
            before = sum(each.cases for each in totals if each.outcome is Outcome.REFUNDED) - 1
            ends = await asyncio.gather(*(_end(case) for case in opened))
        finally:
            worker.stop()
        effects = (await stack.control("journal?effects=true"))["entries"]
    return Recovery(
        cases=cases,
        ended_before=before,
        answers=answers - killed_at,
        first_ended=min(ends) - killed_at,
        last_ended=max(ends) - killed_at,
        effects=len(effects) - 1,
    )


def report(found: Recovery) -> list[str]:
    """The section of the report."""
    return [
        "## Temporal's server killed",
        "",
        f"SIGKILL with {found.cases} refunds just opened ({found.ended_before} of them through "
        "before it answered again), started again at once on its file.",
        "",
        "| from the kill | s |",
        "|---|---|",
        f"| the server answers | {found.answers:.1f} |",
        f"| first refund told as done | {found.first_ended:.1f} |",
        f"| last of {found.cases} | {found.last_ended:.1f} |",
        "",
        f"Movements of money at the provider: {found.effects} for {found.cases} refunds.",
        "",
    ]
