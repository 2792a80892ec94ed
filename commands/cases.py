"""Commands of whoever asks, and of whoever wants to know: opening a case and reading of it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.one_case import past_sending, tell, the_case
from commands.options import AsJson, CaseId, Zone
from commands.running import DONE, REFUSED, run, with_books, with_client
from domain.actors import Role
from domain.cases import CaseKind, Channel, Language, Outcome, Status
from domain.errors import InvalidRequest
from domain.refunds import RefundReason
from rendering import print_cases, print_decision, print_timeline, say, show_json, spinner

if TYPE_CHECKING:
    from client import Client
    from ledger.reading import Reading

app = typer.Typer()

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
    return int(text) if re.fullmatch(r"-?[0-9]{1,20}", text) else text


async def _refund(file: Path | None, given: dict[str, Any], as_json: bool) -> int:
    fields = {**given, **(_read_fields(file) if file else {})}

    async def work(client: Client) -> int:
        with spinner("deciding"):
            handle = await client.open_refund(fields)
            await handle.decided()
            await past_sending(handle)
        async with client.books.reading() as reading:
            case = await the_case(reading, handle.case_id)
            await tell(reading, case, as_json)
        return REFUSED if case.outcome is Outcome.REFUSED else DONE

    return await with_client(work)


def _read_fields(file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidRequest("file", f"{file} cannot be read: {error}", "a JSON object") from error
    if not isinstance(fields, dict):
        raise InvalidRequest("file", f"{file} holds no object", "a JSON object")
    return fields


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
        await tell(reading, case, as_json, language, zone)
        return DONE

    run(with_books(work))


@app.command("list")
def list_cases(
    status: Annotated[Status | None, typer.Option()] = None,
    kind: Annotated[CaseKind | None, typer.Option()] = None,
    due: Annotated[str, typer.Option(help="Due before, first answers too: an ISO instant.")] = "",
    after: Annotated[str, typer.Option(help="Continue after this case of the list.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Cases: what is due first on top, then what waits for nothing, the last changed first."""
    try:
        before = datetime.fromisoformat(due).astimezone(UTC) if due else None
    except (ValueError, OverflowError):
        run(_wrong("due", f"{due!r} is no instant", "2026-12-01T09:00:00+00:00"))
        return

    async def work(reading: Reading) -> int:
        last = (await the_case(reading, after)).case_id if after else None
        cases = await reading.by_urgency(
            status=status, kind=kind, due_before=before, after=last, limit=limit
        )
        if as_json:
            show_json(cases)
            return DONE
        print_cases(cases, datetime.now(UTC))
        if len(cases) == limit:
            say(f"[dim]more: the same with --after {cases[-1].case_id}[/]")
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
