"""Commands of whoever runs the product: lost cases, histories, the books' schema."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from commands.one_case import whole_id
from commands.options import AsJson
from commands.running import DONE, REFUSED, run, with_client
from domain.errors import InvalidRequest
from rendering import bar, counted, say, show_json, spinner

if TYPE_CHECKING:
    from client import Client

app = typer.Typer()
NAMED = 20


@app.command()
def reopen(
    case_id: Annotated[str, typer.Argument(help="A case id, or its beginning.")] = "",
    every: Annotated[
        bool, typer.Option("--all", help="Every case of the books that is open or owes money.")
    ] = False,
    restored: Annotated[
        bool,
        typer.Option("--restored", help="The books are an old back-up: runs of before end first."),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing before runs are ended (--all --restored).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take up open cases again that Temporal has lost; the books know how far they came.

    For the day on which Temporal's store is gone or was restored from an old back-up. What was
    decided, approved, ordered or looked at stands, and nothing is ordered twice. A case that
    runs is left alone, so the command may be given as often as one likes.

    With --restored, for the day on which the books were restored: a run knows more than they do
    and is ended; what they have lost is decided and approved anew, and what the provider has is
    found there and not ordered again. With --all, runs of cases that are not in the books at all
    end too, and are named: whoever asked for them asks again, with the same request id. Against
    the books of another environment that would be all of them, so it says first what it will end,
    and asks.
    """
    if bool(case_id) is every:
        raise typer.BadParameter("name one case, or all of them with --all")

    async def work(client: Client) -> int:
        if restored and every and not yes and not await _may_end(client, as_json=as_json):
            return REFUSED
        # first of all: what is owed may be owed by a case of which only such a run knows
        unknown = await client.end_unknown() if restored and every else []
        ids = [await whole_id(client, case_id)] if case_id else await _open_ids(client)
        again: list[str] = []
        with bar("cases", len(ids)) as done:
            for each in ids:
                if await (client.begin_again(each) if restored else client.reopen(each)):
                    again.append(each)
                done(1)
        if as_json:
            show_json({"open": len(ids), "reopened": again, "unknown": unknown})
        else:
            say(f"{counted(len(ids), 'open case')}, {len(again):,} taken up again")
            for each in unknown:
                say(f"{each} is not in the books: its run ended, its request wants repeating")
        return DONE

    run(with_client(work))


async def _may_end(client: Client, *, as_json: bool) -> bool:
    """Whoever restored the books reads first what will be ended, and is asked."""
    unknown, ids = await client.unknown(), await _open_ids(client)
    what = (
        f"{counted(len(ids), 'open case')} of these books will begin again, and "
        f"{counted(len(unknown), 'run')} of cases that they do not know will end for good"
    )
    if as_json or not sys.stdin.isatty():
        raise InvalidRequest("yes", f"{what}, and nobody can be asked here", "--yes to go on")
    say(what)
    for each in unknown[:NAMED]:
        say(f"  {each}")
    if len(unknown) > NAMED:
        say(f"  and {len(unknown) - NAMED:,} more")
    return typer.confirm("Go on?")


@app.command()
def archive(as_json: AsJson = False) -> None:
    """Keep the histories of ended cases now; a schedule does the same every day.

    Exit code 1 when Temporal has lost a history before it was kept.
    """

    async def work(client: Client) -> int:
        with spinner("keeping histories"):
            swept = await client.archive()
        if as_json:
            show_json(swept)
        else:
            kept = counted(swept.archived, "history", "histories")
            cases = counted(swept.late, "case")
            say(f"{kept} kept, {cases} late, {swept.lost:,} lost")
        return REFUSED if swept.lost else DONE

    run(with_client(work))


async def _open_ids(client: Client) -> list[str]:
    found: list[str] = []
    async with client.books.reading() as reading:
        while page := await reading.open_cases(after=found[-1] if found else None, limit=500):
            found += [row.case_id for row in page]
        found += await reading.owing()
    return found


@app.command()
def migrate(
    app_role: Annotated[
        str, typer.Option(help="PostgreSQL role that services use; gets its few rights.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Bring the books' schema to this version (run by the owner role)."""

    async def work() -> int:
        from ledger.migrate import migrate as bring_up
        from settings import load

        settings = load()
        revision = await bring_up(
            settings.owner_database_url or settings.database_url, app_role=app_role or None
        )
        if as_json:
            show_json({"revision": revision})
        else:
            say(f"[green]the books are at revision[/] {revision}")
        return DONE

    run(work())
