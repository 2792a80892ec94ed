"""``python -m bench``: measure, print, and write docs/bench.md."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from bench import decisions, paths, policies, recovery, refunds, seeds, waiting
from bench.decisions import DecisionFigures
from bench.policies import PolicyFigures
from bench.recovery import Recovery
from bench.refunds import Arm, Latency, percentile
from bench.waiting import Waiting

REPORT = Path(__file__).resolve().parent.parent / "docs" / "bench.md"


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def _row(name: str, engine: list[float], bare: list[float]) -> str:
    pairs = [e / b for e, b in zip(engine, bare, strict=True)]
    return (
        f"| {name} | {statistics.median(engine):.1f} | {statistics.median(bare):.1f} | "
        f"{statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f}) |"
    )


def _cpu_rows(engine: Arm, bare: Arm) -> list[str]:
    """CPU a case of every process, and of all together: the cores are what both arms use up."""
    rows = []
    for name, used in engine.cpu_ms_per_case.items():
        label = f"CPU of the {name}, ms a case"
        if name in bare.cpu_ms_per_case:
            rows.append(_row(label, used, bare.cpu_ms_per_case[name]))
        else:
            rows.append(f"| {label} | {statistics.median(used):.1f} | | |")
    return [*rows, _row("CPU of all, ms a case", engine.all_cpu_ms(), bare.all_cpu_ms())]


def report(
    given: argparse.Namespace,
    decided: DecisionFigures,
    judged: PolicyFigures,
    engine: Arm,
    bare: Arm,
    latency: Latency,
    ways: list[paths.Path],
    waited: list[Waiting],
    recovered: Sequence[Recovery],
    lived: seeds.Lives,
) -> str:
    """The whole report as Markdown."""
    lines = [
        "# Bench",
        "",
        "Both arms run in turns on one machine in one run, each round on a Temporal development "
        "server that has seen nothing, with one worker process and a cache of 200. Machines "
        "differ: read the ratios. `make bench` writes this page.",
        "",
        f"- {datetime.now(UTC):%Y-%m-%d}, commit `{_commit()}`, seed {given.seed}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, "
        f"load before {os.getloadavg()[0]:.1f}",
        f"- {given.rounds} rounds of {given.cases} cases an arm, {refunds.AT_ONCE} at once; books "
        "on SQLite, every hold on disk before the provider is asked",
        "",
        "## An automatic refund beside a bare workflow of the same shape",
        "",
        "Three activities and one timer in both. The bare one's activities do nothing; the "
        "engine's ask the provider five times, decide, keep the books and encrypt all payloads.",
        "",
        "| | engine | bare | ratio (range over rounds) |",
        "|---|---|---|---|",
        _row("cases/s", engine.cases_per_second, bare.cases_per_second),
        *_cpu_rows(engine, bare),
        _row("worker memory, MiB", engine.memory_mib, bare.memory_mib),
        _row("events", [engine.events], [bare.events]),
        _row("history, bytes", [engine.history_bytes], [bare.history_bytes]),
        _row("billable actions", [engine.actions], [bare.actions]),
        "",
        f"One at a time ({len(latency.to_decision)} cases), from the start request:",
        "",
        "| | p50 ms | p95 ms |",
        "|---|---|---|",
        f"| to the decision in the books | {percentile(latency.to_decision, 50)} | "
        f"{percentile(latency.to_decision, 95)} |",
        f"| to the order at the provider | {percentile(latency.to_provider, 50)} | "
        f"{percentile(latency.to_provider, 95)} |",
        "",
        "## What each way costs",
        "",
        "Actions as Temporal Cloud bills them: start, activity attempts, timers, signals, updates.",
        "",
        "| way | ended | events | bytes | actions |",
        "|---|---|---|---|---|",
        *(
            f"| {way.name} | {way.outcome} | {way.events} | {way.history_bytes} | {way.actions} |"
            for way in ways
        ),
        "",
        *waiting.report(waited),
        *recovery.report(recovered),
        *seeds.report(lived),
        "## One decision",
        "",
        f"{decisions.RULES} rules x {decisions.INPUTS} inputs, {given.decisions} random facts, "
        "both arms over the same facts in turns.",
        "",
        "| | p50 us | p95 us | decisions/s by the median |",
        "|---|---|---|---|",
        f"| with its explanation | {decided.with_trace_p50_us} | {decided.with_trace_p95_us} | "
        f"{decided.per_second_with:,} |",
        f"| without | {decided.without_p50_us} | {decided.without_p95_us} | "
        f"{decided.per_second_without:,} |",
        "",
        *policies.report(judged),
    ]
    return "\n".join(lines)


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", type=int, default=150, help="cases a round and arm")
    parser.add_argument("--singles", type=int, default=20, help="cases one at a time, a round")
    parser.add_argument("--decisions", type=int, default=20_000)
    parser.add_argument("--beside", type=int, default=5_000, help="facts for all engines")
    parser.add_argument("--two-versions", type=int, default=1_000_000, help="cases for both")
    parser.add_argument("--waiting", type=int, default=10_000, help="open cases on timers")
    parser.add_argument("--kills", type=int, default=9, help="of Temporal's server")
    parser.add_argument("--lives", type=int, default=200, help="whole cases from seeds")
    parser.add_argument("--seed", type=int, default=20261201)
    parser.add_argument("--no-report", action="store_true", help="print only")
    given = parser.parse_args()
    console = Console(stderr=True)
    with console.status("decisions"):
        decided = decisions.measure(given.seed, given.decisions)
    with console.status("policies"):
        judged = policies.measure(given.seed, given.beside, given.two_versions)
    with console.status("ways through a refund"):
        ways = await paths.measure()
    with console.status("Temporal's server killed"):
        recovered = await recovery.measure(given.kills)
    with console.status(f"{given.waiting:,} cases that wait"):
        waited = await waiting.measure(given.waiting)
    with console.status("whole cases from seeds"):
        lived = await seeds.measure(given.lives)
    with console.status("refunds beside a bare workflow, in turns"):
        engine, bare, latency = await refunds.measure(given.rounds, given.cases, given.singles)
    text = report(given, decided, judged, engine, bare, latency, ways, waited, recovered, lived)
    print(text)
    if not given.no_report:
        REPORT.write_text(text, encoding="utf-8")
        console.print(f"written to {REPORT.relative_to(REPORT.parent.parent)}")


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)
