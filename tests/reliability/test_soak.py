"""Everything dies all the time, and no money is lost or doubled.

``REDRESS_SOAK_CASES`` is how many cases the deep soak has (500 unless told).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audit.verify import verify
from settings import ROOT
from tests.reliability.effects import tally
from tests.reliability.soak import SoakPlan, soaking_world

SMALL = SoakPlan(cases=15, seed=20261127, outage_every=12, outages=1)
DEEP = SoakPlan(
    cases=int(os.environ.get("REDRESS_SOAK_CASES", "500")),
    seed=20261128,
    outage_every=30,
    outages=2,
)


@pytest.mark.parametrize(
    "plan", [SMALL, pytest.param(DEEP, marks=pytest.mark.deep)], ids=["15", "many"]
)
async def test_cases_end_and_pay_once_while_workers_and_servers_are_killed(
    tmp_path: Path, plan: SoakPlan
) -> None:
    async with soaking_world(plan, tmp_path) as soak:
        began = time.monotonic()
        await soak.run()
        seconds = time.monotonic() - began
        print(f"seed {plan.seed}: {plan.cases} cases in {seconds:.0f} s, killed {soak.storm}")
        stack = soak.world.stack
        counted = await tally(stack.books, stack.http, stack.sandbox_url)
        print(counted)
        assert counted.faults == []
        assert counted.cases == plan.cases
        report = await verify(stack.books)
        assert report.is_clean, "\n".join(str(finding) for finding in report.findings)
        running = await stack.temporal.count_workflows(
            "WorkflowType = 'RefundCase' AND ExecutionStatus = 'Running'"
        )
        assert running.count == 0
        said = await script(stack.sandbox_url, stack.books.url)
    assert said == str(counted), "the script counts the same"
    assert min(len(pids) for pids in soak.storm.killed.values()) >= plan.outages
    assert len(soak.storm.killed["worker"]) >= 3


async def script(sandbox_url: str, database_url: str) -> str:
    """What the counting script says, run as anybody would run it; it must be content."""
    command = [sys.executable, "-m", "tests.reliability.effects", sandbox_url, database_url]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
