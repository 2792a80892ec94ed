"""The command line. ``starter.py --help`` lists the commands; each explains itself.

Exit codes: 0 done, 1 refused by a rule, 2 wrong use, 3 a server is not reachable.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from commands import audit, cases, metrics, operations, people, policy
from commands.one_case import the_case
from commands.options import AsJson, Zone
from commands.running import DONE, run
from domain.cases import CaseKind
from domain.errors import InvalidRequest
from rendering import bar, err, instant, say, show_json, spinner, state_of, words

if TYPE_CHECKING:
    from client import Client
    from ledger.reading import Reading
    from simulation.passage import Moved

app = typer.Typer(
    help="Redress: cancellations, waivers, overcharges and refunds, from request to proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(cases.app)
app.add_typer(people.app)
app.add_typer(metrics.app)
app.add_typer(operations.app)
app.add_typer(policy.app, name="policy")
app.add_typer(audit.app, name="audit")

# -- a machine to try it on ------------------------------------------------------------


@app.command()
def dev(
    var: Annotated[
        Path | None, typer.Option(help="Folder for all that it makes; default: REDRESS_VAR, var.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over: first remove what it made.")
    ] = False,
    no_samples: Annotated[
        bool, typer.Option("--no-samples", help="No sample accounts, no sample cases.")
    ] = False,
) -> None:
    """Start everything on this machine and stay; Ctrl-C ends it, the next start goes on."""
    from settings import dev_folder
    from simulation.dev import dev as live

    run(live(var or dev_folder(), fresh=fresh, samples=not no_samples))


@app.command()
def advance(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CASE] [SPAN]",
            help="A case, and how long: 3bd (business days), 2d, 1w, 5h, 30m.",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every running case.")] = False,
    zone: Zone = "UTC",
    as_json: AsJson = False,
) -> None:
    """Let days pass for a case and the sandbox together (development only).

    Without SPAN: until what the case waits for is due. Business days are those of the case's
    policy. Other running cases of the same customer come along.
    """
    run(_advance(what or [], everything, zone, as_json))


async def _advance(what: list[str], everything: bool, zone: str, as_json: bool) -> int:
    names = list(what)
    case_id = "" if everything or not names else names.pop(0)
    span = names.pop(0) if names else ""
    if names or not (case_id or everything):
        raise InvalidRequest(
            "case", "say one case, or --all", "advance CASE 3bd, advance --all 3bd"
        )
    import httpx

    from client import Client
    from settings import load
    from simulation.passage import Passage, SandboxClock

    settings = load()
    async with httpx.AsyncClient(timeout=30) as http:
        sandbox = SandboxClock(http, settings.stripe_base_url)
        await sandbox.require()
        async with Client.connect(settings) as client:
            passage = Passage(client, sandbox)
            if everything:
                with bar("letting time pass", len(await passage.running())) as on_done:
                    moved = await passage.advance_all(span, on_done)
            else:
                async with client.books.reading() as reading:
                    row = await the_case(reading, case_id)
                with spinner("letting time pass"):
                    moved = await passage.advance_case(row, span)
            async with client.books.reading() as reading:
                return await _tell_moved(reading, moved, zone, as_json)


async def _tell_moved(reading: Reading, moved: list[Moved], zone: str, as_json: bool) -> int:
    if as_json:
        show_json(
            [
                {"case_id": each.after.case_id, "from": each.since, "to": each.to,
                 "before": state_of(each.before), "after": state_of(each.after),
                 "in_words": await words(reading, each.after, None, zone)}
                for each in moved
            ]
        )  # fmt: skip
        return DONE
    for each in moved:
        since, to = (instant(at, zone) for at in (each.since, each.to))
        say(f"[bold]{each.after.case_id}[/]  {since} → {to}")
        before, after = [
            f"[cyan]{state_of(case)}[/]  {escape(await words(reading, case, None, zone))}"
            for case in (each.before, each.after)
        ]
        say(f"  {before}")
        if after == before:
            say(f"  [dim]nothing new; the next instant is {instant(each.after.due_at, zone)}[/]")
        else:
            say(f"  {after}")
    if not moved:
        say("no case is running")
    if any(each.webhooks_pending for each in moved):
        err.print("[yellow]webhooks wait to be delivered: does the web app run?[/]")
    return DONE


# -- many cases at once ----------------------------------------------------------------


@app.command()
def simulate(
    file: Annotated[Path, typer.Argument(help="A scenario file; see docs/scenarios.md.")],
    kind: Annotated[CaseKind, typer.Option("--as", help="The kind of its cases.")],
    policies: Annotated[
        Path | None, typer.Option(help="Run them under these policies instead of the shipped.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the sample; seeds the sandbox.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for results, plots, books and logs.")] = Path(
        "var/simulation"
    ),
    shift_weeks: Annotated[
        int | None,
        typer.Option(min=0, help="Weeks into the future; default: the least that is ahead."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="A sample of this many cases.")] = None,
    as_json: AsJson = False,
) -> None:
    """Drive a file of cases through a system of its own, in skipped time.

    Exit code 1: a case ended otherwise than it says, or an invariant broke.
    Needs the development packages, and no running system.
    """
    from simulation import run as runs

    run(
        runs.simulate(
            file, kind, policies, seed, out, shift_weeks=shift_weeks, limit=limit, json_only=as_json
        )
    )


def __getattr__(name: str) -> Any:
    """``from starter import Client``: the client of other services, loaded when asked for."""
    if name == "Client":
        from client import Client

        return Client
    raise AttributeError(name)


__all__ = ["Client", "app"]

if __name__ == "__main__":
    app()
