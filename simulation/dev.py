"""The foreground life of `starter.py dev`: start, fill with samples, say what is where, wait."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
from rich.markup import escape
from rich.table import Table

from client import Client
from rendering import bar, counted, err, out, say, spinner, state_of
from settings import VAR, load
from simulation.machine import Machine, MachineError
from simulation.passage import Passage, SandboxClock
from simulation.samples import load_accounts, open_cases, read_cases


async def dev(folder: Path, *, fresh: bool, samples: bool) -> int:
    """The whole life of a machine; answers the exit code: 0 ended as asked, 3 a part failed."""
    machine = Machine(folder)
    machine.claim(os.environ)
    os.environ[VAR] = str(machine.folder)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if fresh:
        say(f"[yellow]removed[/] {', '.join(machine.clear()) or 'nothing: there was nothing'}")
    stopping = asyncio.create_task(stop.wait())
    living = asyncio.create_task(_live(machine, samples=samples))
    try:
        await asyncio.wait({stopping, living}, return_when=asyncio.FIRST_COMPLETED)
        if living.done():
            return await living
        living.cancel()
        await asyncio.wait({living})
        return 0
    except MachineError as error:
        err.print(f"[bold red]{escape(str(error))}[/]; the end of {error.log}:", highlight=False)
        err.print(escape(error.tail) or "(it said nothing)", style="dim", highlight=False)
        return 3
    finally:
        with spinner("ending every process"):
            await machine.stop()
        say("[dim]all ended; the next start goes on from here[/]")


async def _live(machine: Machine, *, samples: bool) -> int:
    """Until a part of it ends, which is an error."""

    def tell(part: str, reached_at: str, took: str) -> None:
        say(f"[green]✓[/] {part:<9} {reached_at:<34} [dim]{took}[/]")

    with spinner("starting"):
        await machine.start(tell)
    filling = asyncio.create_task(_fill(machine, samples=samples))
    watching = asyncio.create_task(machine.watch())
    try:
        # a part that dies while the samples wait for it is to be said at once
        await asyncio.wait({filling, watching}, return_when=asyncio.FIRST_COMPLETED)
        if filling.done():
            await filling
        raise await watching
    finally:
        filling.cancel()
        watching.cancel()


async def _fill(machine: Machine, *, samples: bool) -> None:
    if samples:
        await _open_samples()
    _print_machine(machine, samples=samples)


async def _open_samples() -> None:
    cases = read_cases()
    settings = load()
    async with Client.connect(settings) as client, httpx.AsyncClient(timeout=30) as http:
        sandbox = SandboxClock(http, settings.stripe_base_url)
        accounts = await load_accounts(sandbox, datetime.now(UTC))
        with bar("sample cases", len(cases)) as on_done:
            await open_cases(client, Passage(client, sandbox), cases, lambda case: on_done(1))
        made = f"{counted(accounts, 'account')}, {counted(len(cases), 'case')}"
        say(f"[green]✓[/] {'samples':<9} {made}\n")
        rows = {case.case_id: await client.case(case.case_id).row() for case in cases}
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("case", "is", "what it shows"):
        table.add_column(heading, no_wrap=heading == "case")
    for case in cases:
        row = rows[case.case_id]
        if row is not None:
            table.add_row(case.case_id, state_of(row), case.title)
    out.print(table)


def _print_machine(machine: Machine, *, samples: bool) -> None:
    starter = shlex.join([_near(sys.executable), _near(sys.argv[0])])
    say(
        f"\n[bold]Temporal's pages[/]  {machine.url('temporal_ui')}\n"
        f"[bold]web app[/]           {machine.url('web')}/readyz\n"
        f"[bold]sandbox[/]           {machine.url('sandbox')}/_sandbox/stats\n"
        f"[bold]logs[/]              {_near(str(machine.folder / 'log'))}\n\n"
        "To try, in another terminal of this folder:\n"
    )
    if _near(str(machine.folder)) != "var" or Path(".env").exists():
        say(f"  export {VAR}={shlex.quote(_near(str(machine.folder)))}")
    for command in _to_try() if samples else ("refund --help", "list", "audit verify"):
        say(f"  {starter} {command}")
    say("\n[dim]Ctrl-C ends all of it.[/]")


def _to_try() -> tuple[str, ...]:
    cases = {case.request["request_id"]: case.case_id for case in read_cases()}
    waiting, moving = cases["sample-04-waits"], cases["sample-01-duplicate"]
    return (
        "list",
        f"why {waiting}",
        f"approve {waiting} --by ana --as lead",
        f"advance {moving} 4bd",
        f"timeline {moving}",
        "audit verify",
    )


def _near(path: str) -> str:
    """A path as somebody in this folder would type it."""
    absolute = Path(path).absolute()
    here = Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)
