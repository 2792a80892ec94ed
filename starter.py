"""The command line. ``starter.py --help`` lists the commands; each explains itself.

Exit codes: 0 done, 1 refused by a rule, 2 wrong use, 3 a server is not reachable.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.markup import escape

from commands import audit, policy
from commands.running import DONE, REFUSED, AsJson, run
from domain.actors import Actor, Role
from domain.cases import CaseKind, Channel, Desk, Direction, Language, Outcome, Status
from domain.errors import InvalidRequest
from domain.refunds import RefundReason
from ledger.books import Books
from ledger.projection import CaseRow
from ledger.reading import Reading
from rendering import (
    bar,
    err,
    facts_of,
    instant,
    print_case,
    print_cases,
    print_decision,
    print_timeline,
    say,
    show_json,
    spinner,
    state_of,
    words,
)
from settings import Settings, dev_folder, load

if TYPE_CHECKING:
    from client import CaseHandle, Client
    from simulation.passage import Moved

app = typer.Typer(
    help="Redress: cancellations, waivers, overcharges and refunds, from request to proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(policy.app, name="policy")
app.add_typer(audit.app, name="audit")

SENDING_LOOKS, SENDING_PAUSE = 30, 0.1
"""Three seconds; then the case is shown as it is, still on its way to the provider."""


def known_zone(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise typer.BadParameter(f"{zone!r} is no time zone, such as Europe/Madrid") from None
    return zone


CaseId = Annotated[str, typer.Argument(help="The case id, or enough of its beginning to name one.")]
By = Annotated[str, typer.Option("--by", help="Who decides: an id such as [b]ana[/b].")]
As = Annotated[Role, typer.Option("--as", help="In which role.")]
Note = Annotated[str, typer.Option(help="A note; kept encrypted under the customer's key.")]
Zone = Annotated[str, typer.Option(callback=known_zone, help="Time zone of the instants shown.")]
ClickId = Annotated[
    str, typer.Option(help="Yours; the same id again is the same message, not another.")
]
Digest = Annotated[
    str, typer.Option(help="What was shown (see [b]show[/b]); refused when it has changed since.")
]


async def with_client(work: Callable[[Client], Awaitable[int]]) -> int:
    from client import Client  # reading commands do without Temporal, and start faster

    async with Client.connect(load()) as client:
        return await work(client)


async def with_books(work: Callable[[Reading], Awaitable[int]]) -> int:
    books = await Books.open(load().database_url)
    try:
        async with books.reading() as reading:
            return await work(reading)
    finally:
        await books.close()


async def the_case(reading: Reading, case_id: str) -> CaseRow:
    """A case by its id, or by the beginning of it where no other begins so."""
    case = await reading.case(case_id)
    if case is not None:
        return case
    found = await reading.cases(after=case_id, limit=2)
    fits = [each for each in found if case_id and each.case_id.startswith(case_id)]
    if len(fits) == 1:
        return fits[0]
    what = f"{case_id} fits more than one case" if fits else f"no case {case_id} in the books"
    raise InvalidRequest("case", what, "an id of `list`, or enough of its beginning")


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
    from simulation.dev import dev as live  # only these commands need all of the machine

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


# -- opening ---------------------------------------------------------------------------


@app.command()
def refund(
    charge: Annotated[str, typer.Option(help="The provider's charge id, ch_…")] = "",
    customer: Annotated[str, typer.Option(help="The provider's customer id, cus_…")] = "",
    amount: Annotated[
        str, typer.Option(help="In minor units (2685 = 26.85 EUR); empty: all that remains.")
    ] = "",
    currency: Annotated[str, typer.Option(help="ISO 4217, lower case.")] = "usd",
    reason: Annotated[RefundReason, typer.Option()] = RefundReason.OTHER,
    request_id: Annotated[
        str, typer.Option(help="Yours; the same id is the same case, for ever.")
    ] = "",
    by: Annotated[str, typer.Option("--by", help="Who asks.")] = "cli",
    role: Annotated[Role, typer.Option("--as")] = Role.SERVICE,
    language: Annotated[Language, typer.Option()] = Language.EN,
    channel: Annotated[Channel, typer.Option(help="How the customer asked.")] = Channel.WEB,
    jurisdiction: Annotated[str, typer.Option()] = "US",
    text: Annotated[str, typer.Option(help="The customer's own words; kept encrypted.")] = "",
    consents_to_credit: Annotated[
        bool, typer.Option(help="The customer accepts account credit instead.")
    ] = False,
    policy: Annotated[str, typer.Option()] = "refund",
    file: Annotated[
        Path | None,
        typer.Option(help="A JSON file of the request's fields; it wins over options."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a refund, and say what was decided."""
    given = {
        "request_id": request_id,
        "customer": customer,
        "charge": charge,
        "amount_minor": _whole_number(amount),
        "currency": currency,
        "reason": reason,
        "requested_by": {"id": by, "role": role},
        "language": language,
        "channel": channel,
        "jurisdiction": jurisdiction,
        "consents_to_credit": consents_to_credit,
        "text": text,
        "policy": policy,
    }
    run(_refund(file, {name: value for name, value in given.items() if value != ""}, as_json))


def _whole_number(text: str) -> int | str | None:
    """Text to an integer; other text is left for the model to refuse by name."""
    if not text:
        return None
    return int(text) if text.lstrip("-").isdigit() else text


async def _refund(file: Path | None, given: dict[str, Any], as_json: bool) -> int:
    fields = {**given, **(_read_fields(file) if file else {})}

    async def work(client: Client) -> int:
        with spinner("deciding"):
            handle = await client.open_refund(fields)
            await handle.decided()
            await _past_sending(handle)
        async with client.books.reading() as reading:
            return await _tell(reading, handle.case_id, as_json)

    return await with_client(work)


async def _past_sending(handle: CaseHandle) -> None:
    """The order takes a moment; who has just said yes would rather see where the money is."""
    for _ in range(SENDING_LOOKS):
        row = await handle.row()
        if row is None or row.status is not Status.SENDING:
            return
        await asyncio.sleep(SENDING_PAUSE)


def _read_fields(file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidRequest("file", f"{file} cannot be read: {error}", "a JSON object") from error
    if not isinstance(fields, dict):
        raise InvalidRequest("file", f"{file} holds no object", "a JSON object")
    return fields


async def _tell(reading: Reading, case_id: str, as_json: bool) -> int:
    case = await the_case(reading, case_id)
    if as_json:
        show_json(await facts_of(reading, case))
    else:
        await print_case(reading, case)
    return REFUSED if case.outcome is Outcome.REFUSED else DONE


# -- reading ---------------------------------------------------------------------------


@app.command()
def show(
    case_id: CaseId,
    language: Annotated[Language | None, typer.Option(help="en, es or ko.")] = None,
    zone: Zone = "UTC",
    as_json: AsJson = False,
) -> None:
    """Where a case is, what it waits for, until when, and what happens then."""

    async def work(reading: Reading) -> int:
        case = await the_case(reading, case_id)
        if as_json:
            show_json(await facts_of(reading, case, language, zone))
        else:
            await print_case(reading, case, language, zone)
        return DONE

    run(with_books(work))


@app.command("list")
def list_cases(
    status: Annotated[Status | None, typer.Option()] = None,
    kind: Annotated[CaseKind | None, typer.Option()] = None,
    due: Annotated[str, typer.Option(help="Due before, first answers too: an ISO instant.")] = "",
    after: Annotated[str, typer.Option(help="Continue after this case id.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Cases by their id, running and ended."""
    try:
        before = datetime.fromisoformat(due).astimezone(UTC) if due else None
    except ValueError:
        run(_wrong("due", f"{due!r} is no instant", "2026-12-01T09:00:00+00:00"))
        return

    async def work(reading: Reading) -> int:
        cases = await reading.cases(
            status=status, kind=kind, due_before=before, after=after or None, limit=limit
        )
        if as_json:
            show_json(cases)
            return DONE
        print_cases(cases, datetime.now(UTC))
        if len(cases) == limit:
            say(f"[dim]more: starter.py list --after {cases[-1].case_id}[/]")
        return DONE

    run(with_books(work))


async def _wrong(field: str, message: str, allowed: str) -> int:
    raise InvalidRequest(field, message, allowed)


@app.command()
def timeline(case_id: CaseId, zone: Zone = "UTC", as_json: AsJson = False) -> None:
    """Everything that happened in a case, in order, with who did it."""

    async def work(reading: Reading) -> int:
        case = await the_case(reading, case_id)
        events = await reading.events(case.case_id)
        refused = await reading.refused_attempts(case.case_id)
        if as_json:
            show_json({"events": events, "refused_attempts": refused})
            return DONE
        print_timeline(events, refused, zone)
        return DONE

    run(with_books(work))


@app.command()
def why(case_id: CaseId, as_json: AsJson = False) -> None:
    """Why a case was decided so: the rule, its reason, and what ruled the others out."""

    async def work(reading: Reading) -> int:
        case = await the_case(reading, case_id)
        stored = await reading.decision(case.case_id)
        if stored is None:
            raise InvalidRequest("case", f"{case.case_id} was not decided", "a decided case")
        if as_json:
            show_json(stored)
            return DONE
        print_decision(stored.decision)
        return DONE

    run(with_books(work))


# -- deciding --------------------------------------------------------------------------


@app.command()
def approve(
    case_id: CaseId, by: By, role: As, slot: Annotated[str, typer.Option()] = "",
    digest: Digest = "", note: Note = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say yes to exactly what `show` shows."""
    run(_judge(case_id, as_json, lambda case: case.approve(
        Actor(id=by, role=role), slot=slot, digest=digest, note=note)))  # fmt: skip


@app.command()
def decline(
    case_id: CaseId, by: By, role: As, slot: Annotated[str, typer.Option()] = "",
    digest: Digest = "", note: Note = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say no; the case ends and nothing moves."""
    run(_judge(case_id, as_json, lambda case: case.decline(
        Actor(id=by, role=role), slot=slot, digest=digest, note=note)))  # fmt: skip


@app.command()
def withdraw(
    case_id: CaseId, by: By, role: As, digest: Digest = "", note: Note = "",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take a request back while its money has not been ordered."""
    run(_judge(case_id, as_json, lambda case: case.withdraw(
        Actor(id=by, role=role), digest=digest, note=note)))  # fmt: skip


# -- telling ---------------------------------------------------------------------------


@app.command()
def contact(
    case_id: CaseId, by: By, role: As,
    channel: Annotated[Channel, typer.Option(help="By which way.")],
    text: Annotated[str, typer.Option(help="What was said; kept encrypted.")] = "",
    outgoing: Annotated[
        bool, typer.Option("--outgoing", help="Staff answered the customer.")
    ] = False,
    click_id: ClickId = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Record that the customer got in touch again, or that staff answered."""
    direction = Direction.OUTGOING if outgoing else Direction.INCOMING
    run(_judge(case_id, as_json, lambda case: case.contact(
        Actor(id=by, role=role), channel, text, direction=direction,
        click_id=click_id)))  # fmt: skip


@app.command()
def transfer(
    case_id: CaseId, by: By, role: As,
    desk: Annotated[Desk, typer.Option(help="The desk that takes the case over.")],
    reason: Annotated[str, typer.Option(help="Why; kept encrypted.")] = "",
    click_id: ClickId = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Hand a case to another desk."""
    run(_judge(case_id, as_json, lambda case: case.transfer(
        Actor(id=by, role=role), desk, reason, click_id=click_id)))  # fmt: skip


@app.command()
def delegate(
    case_id: CaseId, by: By, role: As,
    to: Annotated[str, typer.Option(help="Who is to decide: an id such as [b]mia[/b].")],
    to_role: Annotated[Role, typer.Option("--to-as", help="In which role.")],
    slot: Annotated[str, typer.Option()] = "", digest: Digest = "",
    click_id: ClickId = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Hand an approval that is yours to give to somebody who may give it."""
    run(_judge(case_id, as_json, lambda case: case.delegate(
        Actor(id=by, role=role), Actor(id=to, role=to_role), slot=slot, digest=digest,
        click_id=click_id)))  # fmt: skip


@app.command()
def survey(
    case_id: CaseId, by: By, role: As,
    effort: Annotated[int, typer.Option(help="1 to 5; 5 is the most effort.")],
    satisfaction: Annotated[int, typer.Option(help="1 to 5; 5 is the most content.")],
    text: Annotated[str, typer.Option(help="In their own words; kept encrypted.")] = "",
    click_id: ClickId = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Record what the customer says of a case that has ended, once."""
    run(_judge(case_id, as_json, lambda case: case.survey(
        Actor(id=by, role=role), effort=effort, satisfaction=satisfaction, text=text,
        click_id=click_id)))  # fmt: skip


@app.command()
def reopen(
    case_id: Annotated[str, typer.Argument(help="A case id, or its beginning.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Every open case of the books.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take up open cases again that Temporal has lost; the books know how far they came.

    For the day on which Temporal's store is gone or was restored from an old back-up. What was
    decided, approved, ordered or looked at stands, and nothing is ordered twice. A case that
    runs is left alone, so the command may be given as often as one likes.
    """
    if bool(case_id) is every:
        raise typer.BadParameter("name one case, or all of them with --all")

    async def work(client: Client) -> int:
        ids = [await _whole_id(client, case_id)] if case_id else await _open_ids(client)
        again: list[str] = []
        with bar("cases", len(ids)) as done:
            for each in ids:
                if await client.reopen(each):
                    again.append(each)
                done(1)
        if as_json:
            show_json({"open": len(ids), "reopened": again})
        else:
            say(f"{len(again):,} of {len(ids):,} open cases were taken up again")
        return DONE

    run(with_client(work))


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
            say(f"{swept.archived:,} histories kept, {swept.late:,} late, {swept.lost:,} lost")
        return REFUSED if swept.lost else DONE

    run(with_client(work))


async def _open_ids(client: Client) -> list[str]:
    found: list[str] = []
    async with client.books.reading() as reading:
        while page := await reading.open_cases(after=found[-1] if found else None, limit=500):
            found += [row.case_id for row in page]
    return found


async def _whole_id(client: Client, case_id: str) -> str:
    """The id that a beginning means; one that means nothing goes on record as refused."""
    async with client.books.reading() as reading:
        try:
            return (await the_case(reading, case_id)).case_id
        except InvalidRequest:
            return case_id


async def _judge(case_id: str, as_json: bool, act: Callable[[CaseHandle], Awaitable[Any]]) -> int:
    async def work(client: Client) -> int:
        handle = client.case(await _whole_id(client, case_id))
        await act(handle)
        with spinner("on its way"):
            await _past_sending(handle)
        async with client.books.reading() as reading:
            case = await the_case(reading, handle.case_id)
            if as_json:
                show_json(await facts_of(reading, case))
            else:
                await print_case(reading, case)
        return DONE

    return await with_client(work)


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
    from simulation import run as runs  # it brings a whole system along

    run(
        runs.simulate(
            file, kind, policies, seed, out, shift_weeks=shift_weeks, limit=limit, json_only=as_json
        )
    )


# -- the books -------------------------------------------------------------------------


@app.command()
def migrate(
    app_role: Annotated[
        str, typer.Option(help="PostgreSQL role that services use; gets its few rights.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Bring the books' schema to this version (run by the owner role)."""
    from ledger.migrate import migrate as bring_up

    async def work() -> int:
        settings: Settings = load()
        revision = await bring_up(
            settings.owner_database_url or settings.database_url, app_role=app_role or None
        )
        if as_json:
            show_json({"revision": revision})
        else:
            say(f"[green]the books are at revision[/] {revision}")
        return DONE

    run(work())


def __getattr__(name: str) -> Any:
    """``from starter import Client``: the client of other services, loaded when asked for."""
    if name == "Client":
        from client import Client

        return Client
    raise AttributeError(name)


__all__ = ["Client", "app"]

if __name__ == "__main__":
    app()
