"""``starter.py metrics``: how cases were handled, as a table, as JSON, and as a plot."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from commands.options import AsJson
from commands.running import DONE, run, with_books
from domain.errors import InvalidRequest
from domain.money import Money
from ledger.figures import By, Durations, Figures, Metrics, Overdue, Rate, Scores
from rendering import instant, out, say, show_json

if TYPE_CHECKING:
    from ledger.reading import Reading

app = typer.Typer()

FEW = 20
"""Of fewer than this, one case more or less moves a share by more than five per cent."""

MOMENTS = "30d, 2026-11-01, or an instant such as 2026-11-01T09:00:00+00:00"

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


@app.command()
def metrics(
    since: Annotated[
        str, typer.Option(help="Cases opened from here on: 30d, a date (UTC) or an instant.")
    ] = "30d",
    until: Annotated[str, typer.Option(help="Up to here, not included; default: now.")] = "",
    by: Annotated[By | None, typer.Option(help="Tell the cases apart by this.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw how long things took into this SVG file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """How long answers, decisions and money took, how cases ended, and what is overdue now.

    docs/metrics.md says what each figure counts.
    """

    async def work(reading: Reading) -> int:
        from ledger.metrics import metrics as measure

        now = datetime.now(UTC)
        first = moment("since", since, now)
        last = moment("until", until, now) if until else now
        if first >= last:
            raise InvalidRequest("since", f"{since} is not before {until or 'now'}", MOMENTS)
        found = await measure(reading, since=first, until=last, now=now, by=by)
        if plot is not None:
            from commands.metrics_plot import durations_svg

            plot.write_text(durations_svg(found), encoding="utf-8")
        if as_json:
            show_json(found)
        else:
            print_metrics(found)
        return DONE

    run(with_books(work))


def moment(field: str, text: str, now: datetime) -> datetime:
    """The UTC instant that a text means: so many days before ``now``, a day's beginning, or an
    instant. Raises :class:`InvalidRequest` naming ``field``."""
    try:
        if re.fullmatch(r"[0-9]{1,5}d", text):
            return now - timedelta(days=int(text[:-1]))
        at = datetime.fromisoformat(text)
        if at.tzinfo is None and len(text) > len("2026-11-01"):
            raise ValueError
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(field, f"{text!r} is no moment", MOMENTS) from None


# -- in words --------------------------------------------------------------------------


def span(seconds: int | None) -> str:
    """A length of time in the unit that suits it, rounded half up to a tenth."""
    if seconds is None:
        return "-"
    for size, unit in UNITS:
        if seconds >= size:
            tenths = (20 * seconds + size) // (2 * size)
            return f"{tenths // 10}.{tenths % 10} {unit}"
    return f"{seconds} s"


def hundredths(number: int | None) -> str:
    if number is None:
        return "-"
    whole, rest = divmod(number, 100)
    return f"{whole}.{rest:02}"


def durations(found: Durations) -> str:
    if not found.n:
        return "none"
    return f"{span(found.p50_seconds)} / {span(found.p90_seconds)}, n {found.n:,}"


def rate(found: Rate) -> str:
    if found.share_bps is None:
        return "none"
    tenths = (found.share_bps + 5) // 10
    return f"{tenths // 10}.{tenths % 10} %, {found.count:,} of {found.of:,}"


def overdue(found: Overdue) -> str:
    late = f"{found.count:,} of {found.of:,}" if found.of else "none waits"
    if not found.count:
        return late
    return f"{late}; {span(found.p50_seconds)} / oldest {span(found.oldest_seconds)}"


def scores(found: Scores) -> str:
    if not found.n:
        return "none"
    times = " ".join(f"{score}:{count}" for score, count in found.counts.items() if count)
    return f"{hundredths(found.mean_hundredths)}, n {found.n:,} ({times})"


def outcomes(found: dict[str, int]) -> str:
    return "\n".join(f"{count:,} {name.replace('_', ' ')}" for name, count in found.items())


def given(found: dict[str, int]) -> str:
    return "\n".join(in_currency(minor, currency) for currency, minor in found.items())


def in_currency(minor: int, currency: str) -> str:
    return str(Money(amount_minor=minor, currency=currency))


ROWS: dict[str, tuple[str, Callable[[Figures], str]]] = {
    "cases": ("cases opened", lambda f: f"{f.cases:,}"),
    "first_response": ("first answer, p50 / p90", lambda f: durations(f.first_response)),
    "answered_in_time": ("answered in time", lambda f: rate(f.answered_in_time)),
    "time_to_decision": ("decision, p50 / p90", lambda f: durations(f.time_to_decision)),
    "time_to_acceptance": ("money sent, p50 / p90", lambda f: durations(f.time_to_acceptance)),
    "time_to_confirmation": (
        "money confirmed, p50 / p90",
        lambda f: durations(f.time_to_confirmation),
    ),
    "resolved": ("resolved", lambda f: rate(f.resolved)),
    "asked_again": ("asked again after a no", lambda f: rate(f.asked_again)),
    "appealed": ("appealed", lambda f: rate(f.appealed)),
    "effort": ("effort, 5 is the most", lambda f: scores(f.effort)),
    "satisfaction": ("satisfaction, 5 is the best", lambda f: scores(f.satisfaction)),
    "outcomes": ("ended as", lambda f: outcomes(f.outcomes)),
    "given_minor": ("given", lambda f: given(f.given_minor)),
    "approvals_overdue": ("approvals overdue now", lambda f: overdue(f.approvals_overdue)),
    "first_responses_overdue": (
        "first answers overdue now",
        lambda f: overdue(f.first_responses_overdue),
    ),
}
"""Each figure by its name, as it is shown; docs/metrics.md has the same names."""


def print_metrics(found: Metrics) -> None:
    say(f"cases opened from {instant(found.since)} up to {instant(found.until)}\n")
    columns = (found.total, *found.groups)
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("", no_wrap=True)
    for figures in columns:
        table.add_column(figures.name)
    for heading, tell in ROWS.values():
        table.add_row(f"[dim]{heading}[/]", *(tell(figures) for figures in columns))
    out.print(table)
    if any(figures.cases < FEW for figures in columns):
        say(f"\n[dim]groups of fewer than {FEW} cases tell of these cases, and of little more[/]")
