"""The command ``python -m simulation.expense_log LOG``: expectations, cases, run, report."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from domain.errors import RedressError, Unreachable
from files import write_whole
from rendering import counted
from settings import ROOT
from simulation.expense_log import POLICY, TEN_YEARS, read_log
from simulation.log_expectations import expectations_text, plan
from simulation.oracle import terms_of
from simulation.run import CONCURRENCY, WORKERS, draw, read_run, run_cases, sample, tell
from simulation.scenario import write

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def expense_log(
    log: Annotated[Path, typer.Argument(help="The log: .csv or .csv.gz.")],
    out: Annotated[Path, typer.Option(help="Folder for cases, books, results and plots.")],
    policies: Annotated[Path, typer.Option(help="A policies directory.")] = ROOT / "policies",
    limit: Annotated[int | None, typer.Option(help="A sample of this many cases.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the sample; seeds the sandbox.")] = 0,
    shift_weeks: Annotated[int, typer.Option(help="How far ahead the log is moved.")] = TEN_YEARS,
    expectations: Annotated[
        Path | None, typer.Option(help="Write what must come out to this Markdown file.")
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Drive the cases.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="Write the report on the run in --out to this Markdown file."),
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Chains of cases under way.")] = CONCURRENCY,
    workers: Annotated[int, typer.Option(help="Worker processes.")] = WORKERS,
    commit: Annotated[
        str, typer.Option(help="The commit that ran, where the run did not note it.")
    ] = "",
) -> None:
    """Turn the log into cases with their expectations; with --run, drive them too.

    --report without --run reads again what a run left in --out, and changes nothing there.
    """
    try:
        code = _expense_log(
            log, out, policies, limit, seed, shift_weeks, expectations, run, report,
            concurrency, workers, commit,
        )  # fmt: skip
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = 130
    except Unreachable as error:
        code = _fail(error, 3)
    except RedressError as error:
        code = _fail(error, 2)
    # temporalio may abort at interpreter exit with calls pending, which spoils the code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _fail(error: RedressError, code: int) -> int:
    Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
    return code


def _expense_log(
    log: Path,
    out: Path,
    policies: Path,
    limit: int | None,
    seed: int,
    shift_weeks: int,
    expectations: Path | None,
    run: bool,
    report: Path | None,
    concurrency: int,
    workers: int,
    commit: str,
) -> int:
    err = Console(stderr=True)
    earlier = read_run(out) if report is not None and not run else None
    if earlier is not None:
        shift_weeks = earlier[0].shift_weeks
    with err.status("reading the log, and working out what must come of it"):
        made = plan(read_log(log), shift_weeks, terms_of(policies, POLICY))
        if expectations is not None:
            write_whole(expectations, expectations_text(made, log, policies))
    if earlier is not None:
        told, results = earlier
    else:
        cases = sample(made.scenarios, limit, seed)
        out.mkdir(parents=True, exist_ok=True)
        write(out / "scenarios.jsonl", cases)
        err.print(f"{counted(len(cases), 'case')} in {out / 'scenarios.jsonl'}", highlight=False)
        if not run:
            return 0
        told, results = asyncio.run(
            run_cases(
                cases,
                out,
                policies=policies,
                seed=seed,
                shift_weeks=shift_weeks,
                concurrency=concurrency,
                workers=workers,
                console=err,
            )
        )
        tell(told, results, out, draw(results, out), Console())
    if report is not None:
        from simulation.log_report import report_text

        told = told.model_copy(update={"commit": told.commit or commit})
        write_whole(report, report_text(made, told, results, log))
    return 0 if told.is_good else 1


def main() -> None:
    """Entry point of ``python -m simulation.expense_log``."""
    app()
