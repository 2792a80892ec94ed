"""Many cases through real servers in skipped time: ``starter.py simulate`` and the logs' runs.

Answers with ``results.jsonl``, a summary, plots, and exit code 1 when a case came out
otherwise than expected or an invariant broke.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from domain.cases import CaseKind
from domain.errors import InvalidRequest
from domain.money import Money
from files import write_whole
from rendering import counted
from settings import ROOT
from simulation.checks import Agreement, Check, agreement, invariants, verified_books
from simulation.clock import utc_now
from simulation.driving import CaseRun, Driver
from simulation.results import (
    Result,
    failed,
    outcomes,
    read_results,
    result_of,
    write_results,
)
from simulation.scenario import Scenario, chains, least_weeks, load, shifted
from simulation.system import System, running_system

CONCURRENCY = 24
"""Chains under way. More only makes each of them wait longer, and its messages later (I7)."""

WORKERS = 1
"""Worker processes: on two cores a second one gains nothing, Temporal's server and the driver
take the other core."""

SHOWN = 20
"""Differences shown one by one; all of them are in the results."""


class Report(BaseModel):
    """What a run came to, as ``summary.json`` keeps it. ``commit`` is that of the code that ran
    (empty without git), ``duration_seconds`` the driving's own, without starting and checking."""

    model_config = ConfigDict(frozen=True)

    kind: str
    commit: str = ""
    seed: int
    shift_weeks: int
    started_at: datetime
    duration_seconds: float
    cases: int
    cases_per_second: float
    outcomes: dict[str, int]
    different: int
    agreement: Agreement
    checks: tuple[Check, ...]
    counts: dict[str, int]

    @property
    def is_good(self) -> bool:
        return (
            not self.different
            and self.agreement.holds
            and all(check.holds for check in self.checks)
        )


def sample(scenarios: Sequence[Scenario], limit: int | None, seed: int) -> list[Scenario]:
    """``limit`` cases (all without one), drawn by ``seed``; cases that depend on each other
    come together or not at all. Raises :class:`InvalidRequest` when that leaves none."""
    if limit is None or limit >= len(scenarios):
        return list(scenarios)
    groups = chains(scenarios)
    random.Random(seed).shuffle(groups)
    chosen: set[str] = set()
    for group in groups:
        if len(chosen) + len(group) <= limit:
            chosen.update(scenario.id for scenario in group)
    if not chosen:
        least = min(len(group) for group in groups)
        raise InvalidRequest("limit", f"no whole chain fits in {limit}", f"{least} or more")
    return [scenario for scenario in scenarios if scenario.id in chosen]


async def run_cases(
    scenarios: Sequence[Scenario],
    out: Path,
    *,
    kind: CaseKind = CaseKind.REFUND,
    policies: Path | None = None,
    seed: int = 0,
    shift_weeks: int | None = None,
    concurrency: int = CONCURRENCY,
    workers: int = WORKERS,
    console: Console | None = None,
) -> tuple[Report, list[Result]]:
    """Drive cases through a system of their own and check everything afterwards.

    ``shift_weeks`` None: the least that puts the first case ahead. Results come in the order
    of ``scenarios``. Raises :class:`InvalidRequest` and :class:`domain.errors.Unreachable`.
    """
    await asyncio.to_thread(out.mkdir, parents=True, exist_ok=True)
    weeks = least_weeks(scenarios, utc_now()) if shift_weeks is None else shift_weeks
    moved = [shifted(scenario, weeks) for scenario in scenarios]
    started_at = datetime.now(UTC)
    commit = await asyncio.to_thread(commit_of, ROOT)  # the tree may change while it runs
    _heed_termination()
    async with running_system(
        out, policies=policies or ROOT / "policies", workers=workers, seed=seed
    ) as system:
        began = time.monotonic()
        found = await _drive(system, chains(moved), concurrency, console)
        duration = time.monotonic() - began
        results = [found[scenario.id] for scenario in moved]
        write_results(out / "results.jsonl", results)
        agreed = await agreement(system.client, system.provider, results)
        verified = await verified_books(system.environment)
        checks = await invariants(
            system.client,
            system.provider,
            moved,
            results,
            verified,
            system.logs,
            (
                system.environment["REDRESS_MASTER_KEY"],
                system.environment["REDRESS_ACTOR_SIGNING_KEY"],
            ),
        )
    report = Report(
        kind=kind.value,
        commit=commit,
        seed=seed,
        shift_weeks=weeks,
        started_at=started_at,
        duration_seconds=round(duration, 1),
        cases=len(results),
        cases_per_second=round(len(results) / max(duration, 0.001), 1),
        outcomes=dict(sorted(outcomes(results).items())),
        different=sum(not result.is_as_expected for result in results),
        agreement=agreed,
        checks=tuple(checks),
        counts=verified["counts"],
    )
    write_whole(out / "summary.json", report.model_dump_json(indent=2) + "\n")
    return report, results


def _heed_termination() -> None:
    """SIGTERM ends a run as Ctrl-C does: with all the processes that it started."""
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)


def commit_of(tree: Path) -> str:
    """The short commit of a working tree, and whether files differ from it; empty without git."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(tree), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "--short", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{commit} with changes" if changed else commit


def read_run(out: Path) -> tuple[Report, list[Result]]:
    """What an earlier run left in ``out``. Raises :class:`InvalidRequest` when there is none."""
    summary, results = out / "summary.json", out / "results.jsonl"
    if not (summary.exists() and results.exists()):
        raise InvalidRequest("out", f"{out} holds no finished run", "the folder of one")
    report = Report.model_validate_json(summary.read_text(encoding="utf-8"))
    return report, read_results(results)


async def _drive(
    system: System,
    groups: Sequence[Sequence[Scenario]],
    concurrency: int,
    console: Console | None,
) -> dict[str, Result]:
    """Every chain, ``concurrency`` of them at a time; a chain that fails fails alone."""
    driver = Driver(system.client, system.clock, system.provider)
    found: dict[str, Result] = {}
    waiting = iter(sorted(groups, key=lambda group: group[0].opened_at))
    with _progress(console) as progress:
        bar = progress.add_task("cases", total=sum(len(group) for group in groups))

        async def take() -> None:
            for group in waiting:
                system.check_alive()
                for result in await _one(driver, system, group):
                    found[result.id] = result
                progress.advance(bar, len(group))

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(concurrency):
                    tasks.create_task(take())
        except ExceptionGroup as several:  # all tell of the same dead part
            raise several.exceptions[0] from None
    return found


async def _one(driver: Driver, system: System, group: Sequence[Scenario]) -> list[Result]:
    try:
        runs: list[CaseRun] = await driver.drive(group)
        async with system.client.books.reading() as reading:
            return [await result_of(run, reading) for run in runs]
    except Exception as error:  # the run goes on: it is reported with the case, and exits 1
        running = asyncio.current_task()
        if running is not None and running.cancelling():
            # a call to Temporal that is cancelled may end in an error of its own instead
            raise asyncio.CancelledError from error
        said = f"{type(error).__name__}: {error}"
        return [failed(scenario, said) for scenario in group]


def _progress(console: Console | None) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=console is None,
    )


async def simulate(
    file: Path,
    kind: CaseKind = CaseKind.REFUND,
    policies: Path | None = None,
    seed: int = 0,
    out: Path = Path("var/simulation"),
    shift_weeks: int | None = None,
    limit: int | None = None,
    concurrency: int = CONCURRENCY,
    json_only: bool = False,
) -> int:
    """The command ``starter.py simulate``: load, run, tell. Answers the exit code."""
    scenarios = load(file)
    others = [scenario for scenario in scenarios if scenario.kind != kind.value]
    if others:
        raise InvalidRequest("as", f"{others[0].id} is a {others[0].kind}", others[0].kind)
    scenarios = sample(scenarios, limit, seed)
    err = None if json_only else Console(stderr=True)
    report, results = await run_cases(
        scenarios,
        out,
        kind=kind,
        policies=policies,
        seed=seed,
        shift_weeks=shift_weeks,
        concurrency=concurrency,
        console=err,
    )
    plots = draw(results, out)
    if json_only:
        print(json.dumps(report.model_dump(mode="json"), indent=2))
    else:
        tell(report, results, out, plots, Console())
    return 0 if report.is_good else 1


def draw(results: Sequence[Result], out: Path) -> str:
    """Plots into ``out``; answers a sentence on where they are, or why there are none."""
    try:
        from simulation.plots import plot_results
    except ImportError:
        return "no plots: matplotlib is not installed (it is a development package)"
    return "plots: " + ", ".join(str(path) for path in plot_results(results, out))


def tell(report: Report, results: Sequence[Result], out: Path, plots: str, to: Console) -> None:
    """The summary for people."""
    table = Table(box=None, header_style="dim")
    table.add_column("ended as")
    table.add_column("cases", justify="right")
    for name, count in report.outcomes.items():
        table.add_row(name, f"{count:,}")
    to.print(table)
    different = [result for result in results if not result.is_as_expected]
    for result in different[:SHOWN]:
        said = result.error or "; ".join(
            f"{d.field}: expected {d.expected!r}, came out {d.found!r}" for d in result.differences
        )
        to.print(f"[red]{escape(result.id)}[/] {escape(said)}", highlight=False)
        if result.rule:
            to.print(
                f"  [dim]decided {escape(result.rule)} ({escape(result.why)}), {result.case_id}[/]",
                highlight=False,
            )
    if len(different) > SHOWN:
        to.print(f"… and {len(different) - SHOWN:,} more, in {out / 'results.jsonl'}")
    agreed = report.agreement
    for currency in sorted({*agreed.ledger, *agreed.provider, *agreed.results}):
        sums = [
            str(Money(amount_minor=part.get(currency, 0), currency=currency))
            for part in (agreed.ledger, agreed.provider, agreed.results)
        ]
        to.print(f"moved: ledger {sums[0]}, provider {sums[1]}, results {sums[2]}", highlight=False)
    to.print(
        f"workflows: {agreed.started:,} started, {agreed.started_by_server:,} by the server's "
        "own count",
        highlight=False,
    )
    for check in report.checks:
        mark = "[green]holds[/]" if check.holds else "[bold red]BROKEN[/]"
        to.print(f"{check.id:<4} {mark} {escape(check.seen)}", highlight=False)
        for fault in check.faults:
            to.print(f"     {escape(fault)}", highlight=False)
    to.print(escape(plots), highlight=False, soft_wrap=True)
    to.print(
        f"{counted(report.cases, 'case')} in {report.duration_seconds} s "
        f"({report.cases_per_second} a second), seed {report.seed}, "
        f"{counted(report.shift_weeks, 'week')} ahead, commit {report.commit or 'unknown'}; "
        f"{out / 'results.jsonl'}",
        highlight=False,
        soft_wrap=True,
    )
    verdict = "[bold green]as expected[/]" if report.is_good else "[bold red]NOT as expected[/]"
    to.print(verdict)
