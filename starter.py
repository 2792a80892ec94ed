"""The command line. ``starter.py --help`` lists the commands; each explains itself.

Exit codes: 0 done, 1 refused by a rule, 2 wrong use, 3 a server is not reachable.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from client import CaseHandle, Client
from decisions.library import Library
from decisions.pack import Pack, PolicyErrors
from domain.actors import Actor, Role
from domain.canonical import plain
from domain.cases import CaseKind, Language, Outcome, Status
from domain.decisions import Decision
from domain.errors import InvalidRequest, RedressError, Refused, Unreachable
from domain.money import Money
from domain.refunds import RefundReason
from domain.texts import instant_in_words
from ledger.books import Books
from ledger.in_words import status_in_words
from ledger.projection import CaseRow
from ledger.reading import Reading
from settings import Settings, load

app = typer.Typer(
    help="Redress: cancellations, waivers, overcharges and refunds, from request to proof.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
policy_app = typer.Typer(help="Policy files: check them, show them.", no_args_is_help=True)
audit_app = typer.Typer(help="Proofs over the books.", no_args_is_help=True)
app.add_typer(policy_app, name="policy")
app.add_typer(audit_app, name="audit")

out = Console()
err = Console(stderr=True)

DONE, REFUSED, WRONG_USE, NOT_REACHABLE = 0, 1, 2, 3

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
CaseId = Annotated[str, typer.Argument(help="The case id, as printed when it was opened.")]
By = Annotated[str, typer.Option("--by", help="Who decides: an id such as [b]ana[/b].")]
As = Annotated[Role, typer.Option("--as", help="In which role.")]
Note = Annotated[str, typer.Option(help="A note; kept encrypted under the customer's key.")]
Digest = Annotated[
    str, typer.Option(help="What was shown (see [b]show[/b]); refused when it has changed since.")
]


def run(work: Coroutine[Any, Any, int]) -> None:
    """Run a command to its exit code; the one place where errors become codes."""
    try:
        code = asyncio.run(work)
    except InvalidRequest as error:
        code = fail(WRONG_USE, "wrong input", str(error), field=error.field, allowed=error.allowed)
    except Refused as error:
        code = fail(REFUSED, "refused", error.message, code=error.code)
    except Unreachable as error:
        code = fail(NOT_REACHABLE, "not reachable", str(error))
    except PolicyErrors as error:
        code = fail(WRONG_USE, "policy", str(error))
    except RedressError as error:
        code = fail(REFUSED, "error", str(error))
    except KeyboardInterrupt:
        code = 130
    # temporalio may abort at interpreter exit with calls pending, which spoils the code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def fail(code: int, kind: str, message: str, **details: str) -> int:
    if "--json" in sys.argv:
        print(json.dumps({"error": kind, "message": message, **details}, ensure_ascii=False))
    else:
        err.print(f"[bold red]{kind}:[/] {escape(message)}", highlight=False)
    return code


def show_json(value: Any) -> None:
    print(json.dumps(plain(value), ensure_ascii=False, indent=2))


def say(text: str) -> None:
    out.print(text, highlight=False, soft_wrap=True)


async def with_client(work: Callable[[Client], Awaitable[int]]) -> int:
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
    case = await reading.case(case_id)
    if case is None:
        raise InvalidRequest("case", f"no case {case_id} in the books", "an id of `list`")
    return case


def spinner(text: str) -> Progress:
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable="--json" in sys.argv,
    )
    progress.add_task(text, total=None)
    return progress


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
    jurisdiction: Annotated[str, typer.Option()] = "US",
    text: Annotated[str, typer.Option(help="The customer's own words; kept encrypted.")] = "",
    consents_to_credit: Annotated[
        bool, typer.Option(help="The customer accepts account credit instead.")
    ] = False,
    policy: Annotated[str, typer.Option()] = "refund",
    file: Annotated[
        Path | None, typer.Option(help="A JSON file with these fields; options add to it.")
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
            row = await handle.decided()
        async with client.books.reading() as reading:
            return await _tell(reading, row.case_id, as_json)

    return await with_client(work)


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
        show_json(await _facts_of(reading, case))
    else:
        await _print_case(reading, case)
    return REFUSED if case.outcome is Outcome.REFUSED else DONE


# -- reading ---------------------------------------------------------------------------


@app.command()
def show(
    case_id: CaseId,
    language: Annotated[Language | None, typer.Option(help="en, es or ko.")] = None,
    zone: Annotated[str, typer.Option(help="Time zone of the instants shown.")] = "UTC",
    as_json: AsJson = False,
) -> None:
    """Where a case is, what it waits for, until when, and what happens then."""

    async def work(reading: Reading) -> int:
        case = await the_case(reading, case_id)
        if as_json:
            show_json(await _facts_of(reading, case, language, zone))
        else:
            await _print_case(reading, case, language, zone)
        return DONE

    run(with_books(work))


async def _words(
    reading: Reading, case: CaseRow, language: Language | None = None, zone: str = "UTC"
) -> str:
    accepted = await reading.event(case.case_id, "accept")
    content = await reading.policy_content(case.policy_hash) if case.reason_key else None
    pack = Pack.from_content(content) if content else None

    def reason(key: str, spoken: Language) -> str:
        return pack.text(key, spoken.value) if pack and key in pack.texts else ""

    return status_in_words(
        case,
        language,
        zone=zone,
        accepted_at=accepted.occurred_at if accepted else None,
        reason=reason,
    )


async def _facts_of(
    reading: Reading, case: CaseRow, language: Language | None = None, zone: str = "UTC"
) -> dict[str, Any]:
    return {**case.model_dump(), "in_words": await _words(reading, case, language, zone)}


async def _print_case(
    reading: Reading, case: CaseRow, language: Language | None = None, zone: str = "UTC"
) -> None:
    state = case.outcome.value if case.outcome else case.status.value
    say(f"[bold]{case.case_id}[/]  [cyan]{state}[/]  {_amount(case)}  {case.reason}")
    say(escape(await _words(reading, case, language, zone)))
    table = Table.grid(padding=(0, 2))
    spoken = language or Language.EN
    rows = {
        "charge": case.charge,
        "customer": case.customer,
        "waits for": case.waits_for,
        "until": instant_in_words(case.due_at, spoken, zone) if case.due_at else "",
        "desk": f"{case.desk} ({case.priority})",
        "rule": f"{case.rule} ({case.policy} v{case.policy_version})",
        "provider": case.provider_id,
        "digest": case.digest if case.status is Status.AWAITING_APPROVAL else "",
    }
    for name, value in rows.items():
        if value:
            table.add_row(f"[dim]{name}[/]", escape(value))
    out.print(table)
    if case.status is Status.AWAITING_APPROVAL:
        say(f"[dim]starter.py approve {case.case_id} --by ana --as lead[/]")


def _amount(case: CaseRow) -> str:
    if case.amount_minor is None:
        return f"all of it, {case.currency.upper()}"
    return str(Money(amount_minor=case.amount_minor, currency=case.currency))


@app.command("list")
def list_cases(
    status: Annotated[Status | None, typer.Option()] = None,
    kind: Annotated[CaseKind | None, typer.Option()] = None,
    due: Annotated[str, typer.Option(help="Due before: an ISO instant.")] = "",
    after: Annotated[str, typer.Option(help="Continue after this case id.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Cases, the ones that are due first."""
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
        table = Table(box=None, header_style="dim")
        for heading in ("case", "status", "amount", "reason", "waits for", "until", "priority"):
            table.add_column(heading, justify="right" if heading == "amount" else "left")
        for case in cases:
            table.add_row(
                case.case_id,
                case.outcome.value if case.outcome else case.status.value,
                _amount(case),
                case.reason,
                case.waits_for,
                f"{case.due_at:%Y-%m-%d %H:%M}" if case.due_at else "",
                case.priority,
            )
        out.print(table)
        if len(cases) == limit:
            say(f"[dim]more: starter.py list --after {cases[-1].case_id}[/]")
        return DONE

    run(with_books(work))


async def _wrong(field: str, message: str, allowed: str) -> int:
    raise InvalidRequest(field, message, allowed)


@app.command()
def timeline(case_id: CaseId, as_json: AsJson = False) -> None:
    """Everything that happened in a case, in order, with who did it."""

    async def work(reading: Reading) -> int:
        await the_case(reading, case_id)
        events = await reading.events(case_id)
        refused = await reading.refused_attempts(case_id)
        if as_json:
            show_json({"events": events, "refused_attempts": refused})
            return DONE
        table = Table(box=None, header_style="dim")
        for heading in ("when (UTC)", "what", "by", "in short"):
            table.add_column(heading)
        for event in events:
            table.add_row(
                f"{event.occurred_at:%Y-%m-%d %H:%M}",
                event.kind.value.replace("_", " "),
                f"{event.actor.id} ({event.actor.role.value})",
                escape(_short(event.body)),
            )
        out.print(table)
        for attempt in refused:
            who = attempt.actor.id if attempt.actor else "somebody"
            say(f"[yellow]refused[/] {attempt.action} by {who}: {escape(attempt.message)}")
        return DONE

    run(with_books(work))


_TOLD = ("why", "slot", "provider_id", "provider_status", "confirmed_by", "reference", "outcome",
         "failure_reason", "reason")  # fmt: skip


def _short(body: dict[str, Any]) -> str:
    told = [f"{name.replace('_', ' ')} {body[name]}" for name in _TOLD if body.get(name)]
    return ", ".join(told)


@app.command()
def why(case_id: CaseId, as_json: AsJson = False) -> None:
    """Why a case was decided so: the rule, its reason, and what ruled the others out."""

    async def work(reading: Reading) -> int:
        await the_case(reading, case_id)
        stored = await reading.decision(case_id)
        if stored is None:
            raise InvalidRequest("case", f"{case_id} was not decided", "a decided case")
        if as_json:
            show_json(stored)
            return DONE
        _print_decision(stored.decision)
        return DONE

    run(with_books(work))


def _print_decision(decision: Decision) -> None:
    say(
        f"[bold]{decision.rule}[/]: {escape(decision.why)}  "
        f"[dim]{decision.policy} v{decision.version}, {decision.hash[:12]}[/]"
    )
    for fired in decision.fired:
        outputs = ", ".join(f"{name} = {_value(v)}" for name, v in fired.outputs.items())
        say(f"  {fired.table}: [green]{fired.rule}[/] {escape(fired.why)} → {escape(outputs)}")
        for line in decision.trace:
            if line.table == fired.table:
                said = f"{line.input} is {line.seen}, needs {line.allowed}"
                say(f"    [dim]not {line.rule}: {escape(said)}[/]")
    table = Table.grid(padding=(0, 2))
    for name, value in decision.facts.items():
        table.add_row(f"[dim]{name}[/]", escape(_value(value)))
    out.print(table)


def _value(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"amount_minor", "currency"}:
        return str(Money(**value))
    return "null" if value is None else str(value)


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


async def _judge(case_id: str, as_json: bool, act: Callable[[CaseHandle], Awaitable[Any]]) -> int:
    async def work(client: Client) -> int:
        await act(client.case(case_id))
        async with client.books.reading() as reading:
            case = await the_case(reading, case_id)
            if as_json:
                show_json(await _facts_of(reading, case))
            else:
                await _print_case(reading, case)
        return DONE

    return await with_client(work)


# -- policies --------------------------------------------------------------------------


@policy_app.command("check")
def policy_check(
    directory: Annotated[Path | None, typer.Argument(help="Default: the shipped policies.")] = None,
    as_json: AsJson = False,
) -> None:
    """Load every policy file; every mistake with its file, line and column."""

    async def work() -> int:
        where = directory or load().policies
        if not where.is_dir():
            raise InvalidRequest("directory", f"{where} is no directory", "a policies directory")
        try:
            library = Library.load(where)
        except PolicyErrors as error:
            if as_json:
                show_json({"ok": False, "findings": error.findings})
            else:
                for finding in error.findings:
                    err.print(escape(str(finding)), highlight=False, soft_wrap=True)
                err.print(f"[bold red]{len(error.findings)} mistakes[/]")
            return REFUSED
        packs = [
            {"policy": p.name, "version": p.version, "effective_from": str(p.effective_from),
             "hash": p.hash}
            for p in library.packs
        ]  # fmt: skip
        if as_json:
            show_json({"ok": True, "policies": packs})
        else:
            for pack in packs:
                say(f"[green]ok[/] {pack['policy']} v{pack['version']} "
                    f"from {pack['effective_from']} [dim]{str(pack['hash'])[:12]}[/]")  # fmt: skip
        return DONE

    run(work())


# -- proofs ----------------------------------------------------------------------------


@audit_app.command("verify")
def audit_verify(
    head: Annotated[str, typer.Option(help="The chain's head hash that you kept.")] = "",
    as_json: AsJson = False,
) -> None:
    """Recompute the chain, the sums, the approvals and the projection of the whole books."""
    from audit.verify import verify

    async def work() -> int:
        books = await Books.open(load().database_url)
        try:
            with spinner("verifying the books"):
                report = await verify(books, expected_head=head or None)
        finally:
            await books.close()
        if as_json:
            show_json(report)
        else:
            for finding in report.findings:
                err.print(f"[bold red]{escape(str(finding))}[/]", highlight=False)
            counts = ", ".join(f"{n} {name}" for name, n in report.counts.items() if n)
            say(f"{counts}\nhead {report.head.hash} at {report.head.seq}")
            if report.findings:
                say(f"[bold red]{len(report.findings)} findings[/]")
            else:
                say("[bold green]the books verify[/]")
        return REFUSED if report.findings else DONE

    run(work())


@audit_app.command("export")
def audit_export(
    directory: Annotated[Path, typer.Argument(help="A new or empty directory.")],
    as_json: AsJson = False,
) -> None:
    """Write the books as CSV files with a manifest of totals and hashes."""
    from audit.export import export

    async def work() -> int:
        books = await Books.open(load().database_url)
        try:
            with spinner("exporting the books"):
                manifest = await export(books, directory)
        finally:
            await books.close()
        if as_json:
            show_json(manifest)
        else:
            say(f"[green]exported[/] to {directory}")
        return DONE

    run(work())


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


__all__ = ["Client", "app"]

if __name__ == "__main__":
    app()
