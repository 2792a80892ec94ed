"""How cases, decisions and their accounts look in a terminal. Reads the books; decides nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from domain.canonical import parse_instant, plain
from domain.cases import EventKind, Language, Status
from domain.evidence import size_in_words
from domain.money import Money
from domain.texts import instant_in_words

if TYPE_CHECKING:
    from domain.decisions import Decision
    from ledger.evidence import EvidenceItem
    from ledger.projection import CaseRow
    from ledger.reading import Reading
    from ledger.records import RefusedAttempt, StoredEvent

PIPE_WIDTH = 180
"""Columns where no terminal says how wide it is: a file or a pipe should get whole lines."""


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else PIPE_WIDTH)


out = _console(stderr=False)
err = _console(stderr=True)


def say(text: str) -> None:
    out.print(text, highlight=False, soft_wrap=True)


def counted(count: int, one: str, many: str = "") -> str:
    """``1 case``, ``1,200 cases``; ``many`` is the plural that an s does not make."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def show_json(value: Any) -> None:
    print(json.dumps(plain(value), ensure_ascii=False, indent=2))


def spinner(text: str) -> Progress:
    """Shows that something is under way, and for how long; leaves nothing behind."""
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    progress.add_task(text, total=None)
    return progress


@contextmanager
def bar(text: str, total: int) -> Iterator[Callable[[int], object]]:
    """A progress bar; call what it gives with how many more are done."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as progress:
        task = progress.add_task(text, total=total)
        yield lambda count: progress.advance(task, count)


# -- one case --------------------------------------------------------------------------


def state_of(case: CaseRow) -> str:
    """Where it is, or how it ended."""
    return (case.outcome or case.status).value.replace("_", " ")


def amount_of(case: CaseRow) -> str:
    if case.amount_minor is None:
        return f"all, {case.currency.upper()}"
    return str(Money(amount_minor=case.amount_minor, currency=case.currency))


def instant(at: datetime | None, zone: str = "UTC", language: Language = Language.EN) -> str:
    return instant_in_words(at, language, zone) if at else ""


def first_answer(case: CaseRow, now: datetime, zone: str = "UTC") -> str:
    """By when the customer must have one, as long as there is none."""
    if case.first_responded_at or case.status is Status.CLOSED or not case.first_response_due:
        return ""
    late = "overdue since" if case.is_unanswered(now) else "by"
    return f"{late} {instant(case.first_response_due, zone)}"


async def words(
    reading: Reading, case: CaseRow, language: Language | None = None, zone: str = "UTC"
) -> str:
    """The customer's sentence, in the case's language unless another is asked for."""
    from decisions.pack import Pack
    from ledger.in_words import status_in_words

    accepted = await reading.event(case.case_id, "accept")
    content = await reading.policy_content(case.policy_hash) if case.reason_key else None
    pack = Pack.from_content(content) if content else None

    def reason(key: str, spoken: Language) -> str:
        return pack.text_or_nothing(key, spoken) if pack else ""

    return status_in_words(
        case,
        language,
        zone=zone,
        accepted_at=accepted.occurred_at if accepted else None,
        closing=await reading.event(case.case_id, "close"),
        reason=reason,
    )


async def facts_of(
    reading: Reading, case: CaseRow, language: Language | None = None, zone: str = "UTC"
) -> dict[str, Any]:
    """A case as JSON: its row and its sentence."""
    return {**case.model_dump(), "in_words": await words(reading, case, language, zone)}


async def print_case(
    reading: Reading, case: CaseRow, language: Language | None = None, zone: str = "UTC"
) -> None:
    say(
        f"[bold]{case.case_id}[/]  [cyan]{state_of(case)}[/]  {amount_of(case)}  "
        f"{case.reason.replace('_', ' ')}"
    )
    say(escape(await words(reading, case, language, zone)))
    events = await reading.events(case.case_id)
    last = events[-1]
    table = Table.grid(padding=(0, 2))
    rows = {
        "charge": case.charge,
        "customer": case.customer,
        "waits for": case.waits_for,
        "until": instant(case.due_at, zone),
        "first answer": first_answer(case, datetime.now(UTC), zone),
        "desk": f"{case.desk} ({case.priority})",
        "held by": case.assignee,
        "rule": f"{case.rule} ({case.policy} v{case.policy_version})" if case.rule else "",
        "provider": case.provider_id,
        "goes on from": events[0].body.get("appeal_of") or events[0].body.get("alternative_to"),
        "linked": ", ".join(e.body["case_id"] for e in events if e.kind is EventKind.LINKED),
        "last": f"{last.kind.value.replace('_', ' ')}, {instant(last.occurred_at, zone)}"
        f"{_ahead(last.occurred_at)}",
        "digest": case.digest if case.status is Status.AWAITING_APPROVAL else "",
    }
    for name, value in rows.items():
        if value:
            table.add_row(f"[dim]{name}[/]", escape(value))
    out.print(table)
    if case.status is Status.AWAITING_APPROVAL:
        say(f"[dim]starter.py approve|decline {case.case_id} --by WHO --as ROLE[/]")
    if case.status is Status.AWAITING_INFORMATION:
        say(f"[dim]starter.py evidence {case.case_id} --file F|--text T --by WHO --as ROLE[/]")


def _ahead(at: datetime) -> str:
    """Says so where a case lives in days that were let pass (development only)."""
    days = (at.date() - datetime.now(UTC).date()).days
    return f" (case time, {counted(days, 'day')} ahead of today)" if days > 0 else ""


# -- lists and accounts ----------------------------------------------------------------


def print_cases(cases: Sequence[CaseRow], now: datetime) -> None:
    """A row for each; who holds a case and its first answer stand there where any has one."""
    answers = [first_answer(case, now) for case in cases]
    holders = [escape(case.assignee) for case in cases]
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("case", no_wrap=True, min_width=33)
    table.add_column("is", no_wrap=True)
    table.add_column("amount", justify="right", no_wrap=True)
    table.add_column("reason")
    table.add_column("until")
    for heading, column in (("held by", holders), ("first answer", answers)):
        if any(column):
            table.add_column(heading)
    for case, holder, answer in zip(cases, holders, answers, strict=True):
        late = case.is_unanswered(now)
        table.add_row(
            case.case_id,
            state_of(case),
            amount_of(case),
            case.reason.replace("_", " "),
            instant(case.due_at),
            *([holder] if any(holders) else []),
            *([f"[red]{answer}[/]" if late else answer] if any(answers) else []),
        )
    out.print(table)
    if overdue := sum(case.is_unanswered(now) for case in cases):
        say(f"[red]first answers overdue: {overdue:,}[/]")


def print_timeline(
    events: Sequence[StoredEvent], refused: Sequence[RefusedAttempt], zone: str
) -> None:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("when", "what", "by", "in short"):
        table.add_column(heading, no_wrap=heading == "when")
    for event in events:
        table.add_row(
            instant(event.occurred_at, zone),
            event.kind.value.replace("_", " "),
            f"{event.actor.id} ({event.actor.role.value})",
            escape(_short(event, zone)),
        )
    out.print(table)
    for attempt in refused:
        who = f"{attempt.actor.id} ({attempt.actor.role.value})" if attempt.actor else "somebody"
        say(
            f"[yellow]refused[/] {instant(attempt.at, zone)}: {attempt.action} by {who}: "
            f"{escape(attempt.message)}"
        )


def print_evidence(items: Sequence[EvidenceItem], zone: str) -> None:
    """What a case was given, in the clear; numbers are those of saved files."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("", "when", "what", "by", "says"):
        table.add_column(heading, no_wrap=heading == "when")
    for number, item in enumerate(items, start=1):
        file = item.file
        what = f"{file.media_type}, {size_in_words(file.size_bytes)}" if file else "statement"
        table.add_row(
            str(number),
            instant(item.at, zone),
            what,
            f"{item.by.id} ({item.by.role.value})",
            escape(file.name if file else item.text),
        )
    out.print(table) if items else say("nothing was given")


def _short(event: StoredEvent, zone: str) -> str:
    """One event in a few words; what is not told here is in ``--json``."""
    body = event.body
    match event.kind:
        case EventKind.OPENED:
            asked = value_in_words(body["amount"]) if body.get("amount") else "all that is left"
            return f"{asked} of {body['charge']}, {str(body['reason']).replace('_', ' ')}"
        case EventKind.DECIDED:
            return f"{body['verdict']} by {body['rule']}: {body['why']}"
        case EventKind.APPROVAL_RECORDED | EventKind.DECLINE_RECORDED:
            return f"slot {body['slot']}" + (", with a note" if body.get("note") else "")
        case EventKind.ACCEPTED:
            expected = body.get("expected") or []
            until = f", expected {' to '.join(expected)}" if expected else ""
            return f"{value_in_words(body['amount'])} as {body['provider_id']}{until}"
        case EventKind.LOOKED:
            return f"the provider says {body['provider_status']}"
        case EventKind.CONFIRMED:
            return f"by {body['confirmed_by']} {body.get('reference', '')}".strip()
        case EventKind.REPINNED:
            return f"version {body['version']} says who may decide how much"
        case EventKind.REMINDED:
            return "slot " + ", ".join(slot["id"] for slot in body["slots"])
        case EventKind.ESCALATED:
            return f"slot {body['slot']}, also open to {', '.join(body['to'])}"
        case EventKind.DELEGATED:
            return f"slot {body['slot']} to {body['to']['id']} ({body['to']['role']})"
        case EventKind.CONTACTED | EventKind.ANSWERED:
            return str(body["channel"]) + (", with a text" if body["text"] else "")
        case EventKind.EVIDENCE_ADDED:
            file = body["file"]
            return f"a {body['kind']}" + (
                f", {file['media_type']}, {size_in_words(file['size_bytes'])}" if file else ""
            )
        case EventKind.INFORMATION_REQUESTED:
            return f"{body['reason_key']}, until {instant(parse_instant(body['until']), zone)}"
        case EventKind.TRANSFERRED:
            return f"{body['from']} to {body['desk']}" + (
                ", with a reason" if body["reason"] else ""
            )
        case EventKind.ASSIGNED:
            return str(body["to"]) or "nobody"
        case EventKind.SURVEYED:
            return f"effort {body['effort']}, satisfaction {body['satisfaction']}" + (
                ", with a text" if body["text"] else ""
            )
        case EventKind.CHARGEBACK_SEEN:
            frozen = ", nothing is refunded meanwhile" if body["is_frozen"] else ""
            return f"the chargeback is {body['chargeback']}{frozen}"
        case EventKind.NOTICED:
            return f"{value_in_words(body['amount'])} as {body['provider_id']}"
        case EventKind.LINKED:
            return f"{body['case_id']}, {str(body['why']).replace('_', ' ')}"
        case EventKind.CLOSED:
            return str(body["outcome"]).replace("_", " ")
        case _:
            told = (body.get(name) for name in ("failure_reason", "reference", "since"))
            return ", ".join(str(each) for each in told if each)


# -- decisions -------------------------------------------------------------------------


def print_decision(decision: Decision) -> None:
    say(
        f"[bold]{decision.rule}[/]: {escape(decision.why)}  "
        f"[dim]{decision.policy} v{decision.version}, {decision.hash[:12]}[/]\n"
    )
    for fired in decision.fired:
        outputs = ", ".join(
            f"{name} = {value_in_words(value)}"
            for name, value in fired.outputs.items()
            if value is not None
        )
        say(f"{fired.table}: [green]{fired.rule}[/] {escape(fired.why)} → {escape(outputs)}")
        for line in decision.trace:
            if line.table == fired.table:
                said = f"{line.input} is {line.seen}, needs {line.allowed}"
                say(f"  [dim]not {line.rule}: {escape(said)}[/]")
    say("\nfacts")
    table = Table.grid(padding=(0, 2))
    for name, value in decision.facts.items():
        table.add_row(f"  [dim]{name}[/]", escape(value_in_words(value)))
    out.print(table)


def value_in_words(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"amount_minor", "currency"}:
        return str(Money(**value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
