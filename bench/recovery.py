"""How soon cases go on after Temporal's server was killed and started again.

The server keeps its state on a file here, as it would in production. It is killed while all cases
are on their way; the worker and the caller stay, and find it again by themselves. How long the last
case takes is luck: a task that was handed out as the server died is handed out again only when its
limit has passed, so it is killed several times.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from temporalio.service import RPCError

from bench.refunds import AT_ONCE, customers, request, skipping_client
from client import CaseHandle
from domain.cases import Outcome
from tests.stack import TemporalServer, WorkerProcess, running_stack

SOON = 5
"""Seconds; below any limit of a task."""


@dataclass(frozen=True)
class Recovery:
    """Seconds from one kill, the ends in order; ``effects`` counts what moved at the provider in
    the end."""

    ended_before: int
    answers: float
    ended: Sequence[float]
    effects: int


async def _end(case: CaseHandle) -> float:
    while True:
        try:
            assert (await case.result()).outcome is Outcome.REFUNDED
            return time.perf_counter()
        except RPCError:
            await asyncio.sleep(0.05)


async def measure(kills: int, cases: int = AT_ONCE) -> list[Recovery]:
    """So often, on a machine of its own each time."""
    return [await _measure(cases) for _ in range(kills)]


async def _measure(cases: int) -> Recovery:
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
        ended_before=before,
        answers=answers - killed_at,
        ended=sorted(end - killed_at for end in ends),
        effects=len(effects) - 1,
    )


def report(found: Sequence[Recovery]) -> list[str]:
    """The section of the report."""
    ended = [end for each in found for end in each.ended]
    told = {
        "the server answers": [each.answers for each in found],
        "first refund told as done": [each.ended[0] for each in found],
        "half of them": [median(each.ended) for each in found],
        "the last": [each.ended[-1] for each in found],
    }
    return [
        "## Temporal's server killed",
        "",
        f"{len(found)} times SIGKILL with {len(found[0].ended)} refunds just opened "
        f"({sum(each.ended_before for each in found)} of all {len(ended)} through before it "
        "answered again), started again at once on its file.",
        "",
        "| seconds from the kill | median | range over kills |",
        "|---|---|---|",
        *(
            f"| {what} | {median(each):.1f} | {min(each):.1f} to {max(each):.1f} |"
            for what, each in told.items()
        ),
        "",
        "A task that was handed out as the server died, and never arrived, is handed out again "
        "when its limit has passed: 10 s for a workflow's, `REDRESS_ATTEMPT_SECONDS` (30) for an "
        f"activity's. {sum(end < SOON for end in ended)} of {len(ended)} refunds were done within "
        f"{SOON} s.",
        "",
        f"Movements of money at the provider: {sum(each.effects for each in found)} for "
        f"{len(ended)} refunds.",
        "",
    ]
