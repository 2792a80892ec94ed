"""docs/approval-log.md: what the log says of itself, what the engine made of it, and where they
differ. Two tables that are never mixed; every difference has a cause, and none is removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from domain.cases import Outcome
from domain.money import Money
from simulation import log_figures
from simulation.expense_log import ZONE
from simulation.log_expectations import Plan, counts_of, differences, sha256, table
from simulation.results import Result, moved, outcomes
from simulation.run import Report


def report_text(made: Plan, report: Report, results: Sequence[Result], log: Path) -> str:
    """The whole page, in Markdown."""
    is_whole = len(results) == len(made.expected)
    agreed = report.agreement
    lines = [
        "# The approval log, driven through the engine",
        "",
        f"{len(results):,} cases of {len(made.expected):,} (from {len(made.traces):,} "
        f"declarations of `{log.name}`, sha256 `{sha256(log)[:16]}…`) on a real Temporal server "
        f"and the sandbox, in skipped time: **{_verdict(report)}**. What had to come out was "
        "written down before: [approval-log-expectations.md](approval-log-expectations.md).",
        "",
        f"- commit {report.commit or 'unknown'}, seed {report.seed}, moved "
        f"{report.shift_weeks} weeks ahead, started {report.started_at:%Y-%m-%d %H:%M} UTC",
        f"- {report.duration_seconds:,.0f} s of driving, {report.cases_per_second} cases a "
        "second, servers, worker and driver on one machine",
        f"- {agreed.started:,} workflows started, {agreed.started_by_server:,} by the server's "
        f"own count; histories of {_span(results)} events",
        "",
        "## 1 · The log's own figures",
        "",
        "From the file alone; the engine has no part in them.",
        "",
        *table(("", "declarations"), log_figures.counts(made.traces).items()),
        *table(
            ("weekdays", "declarations", "within 5", "within 10"),
            [
                (s.what, s.cases, s.percent(s.within_5), s.percent(s.within_10))
                for s in log_figures.shares(made.traces)
            ],
        ),
        f"Formula: {log_figures.FORMULA}.",
        "",
        "## 2 · The engine's figures",
        "",
        "In case time, from the books. The people act when the log says they did; how long "
        "they take is theirs, what follows is the engine's.",
        "",
        *_outcome_table(made, results, is_whole=is_whole),
        *table(("from → to, in case time", "cases", "median", "90 %", "most"), _lengths(results)),
        *table(
            ("weekdays", "cases", "within 5", "within 10"),
            [
                (s.what, s.cases, s.percent(s.within_5), s.percent(s.within_10))
                for s in _shares(results)
            ],
        ),
        "A refund counts as confirmed when the engine's own look finds the bank's reference; "
        "the first look is at the close of the fifth business day after the order, so it falls "
        "on the sixth weekday's first instant, or later over holidays. The log's “paid” is its "
        "payment run's booking: another event, so the two tables are not to be compared.",
        "",
        "## 3 · Agreement to the cent",
        "",
        *table(
            ("currency", "ledger (posts less reversals)", "provider's journal", "results"),
            [
                (c.upper(), *(str(Money(amount_minor=p.get(c, 0), currency=c)) for p in parties))
                for parties in [(agreed.ledger, agreed.provider, agreed.results)]
                for c in sorted({*agreed.ledger, *agreed.provider, *agreed.results})
            ],
        ),
        f"{agreed.provider_effects:,} money movements at the provider; "
        f"{sum(1 for r in results if r.moved):,} cases whose money moved.",
        "",
        "## 4 · Differences",
        "",
        f"Between expectation and engine: **{report.different}**"
        + (", by cause:" if report.different else "."),
        "",
        *_unexpected(results),
        "Between log and engine, by declaration and cause"
        + (" (of the whole log):" if not is_whole else "; none is left out:"),
        "",
        *table(
            ("the log", "the engine", "because", "declarations"),
            [(*key, count) for key, count in differences(made).most_common()],
        ),
        "## 5 · Invariants",
        "",
        *table(
            ("", "holds", "how it was checked", "seen"),
            [(c.id, "yes" if c.holds else "**NO**", c.how, c.seen) for c in report.checks],
        ),
        "I9 and I14 are about kinds of cases that the log has none of.",
        "",
        "Rows in the books: "
        + ", ".join(f"{count:,} {name}" for name, count in report.counts.items() if count)
        + ".",
    ]
    return "\n".join(lines).rstrip() + "\n"


def _verdict(report: Report) -> str:
    return "every one as expected, every invariant holds" if report.is_good else "NOT as expected"


def _span(results: Sequence[Result]) -> str:
    lengths = [result.history_length for result in results if result.history_length]
    return f"{min(lengths)} to {max(lengths)}" if lengths else "no"


def _outcome_table(made: Plan, results: Sequence[Result], *, is_whole: bool) -> list[str]:
    found = outcomes(results)
    ids = {result.id for result in results}
    wanted = Counter(str(each.expect.outcome) for each in made.expected if each.scenario.id in ids)
    rows: list[Sequence[object]] = [
        (name, wanted[name], found[name]) for name in sorted({*wanted, *found})
    ]
    refused = sum(len(r.refused) for r in results)
    at_opening = found["refused_as_input"]
    expected = counts_of(made)["refused attempts"] if is_whole else "–"
    rows.append(("refused attempts", expected, refused + at_opening))
    sums = moved(results)
    return [
        *table(("ended as", "expected", "came out"), rows),
        *[f"Refunded: {money}." for money in sums.values()],
        "",
    ]


_SPANS = (
    ("opened → approved", "opened_at", "approved_at"),
    ("opened → decided by a person or by time", "opened_at", "_said_at"),
    ("approved → ordered at the provider", "approved_at", "accepted_at"),
    ("ordered → confirmed", "accepted_at", "confirmed_at"),
    ("opened → closed", "opened_at", "closed_at"),
)


def _at(result: Result, name: str) -> datetime | None:
    if name == "_said_at":
        if result.outcome == Outcome.REFUNDED.value:
            return result.approved_at
        return result.closed_at
    found: datetime | None = getattr(result, name)
    return found


def _lengths(results: Sequence[Result]) -> list[Sequence[object]]:
    rows: list[Sequence[object]] = []
    for what, since, until in _SPANS:
        spans = sorted(
            (end - start).total_seconds()
            for result in results
            if (start := _at(result, since)) is not None and (end := _at(result, until)) is not None
        )
        if spans:
            picked = (spans[len(spans) // 2], spans[len(spans) * 9 // 10], spans[-1])
            rows.append((what, len(spans), *(_length(seconds) for seconds in picked)))
    return rows


def _length(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 2 * 86400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} d"


def _shares(results: Sequence[Result]) -> list[log_figures.Share]:
    zone = ZoneInfo(ZONE)
    found = []
    for what, since, until in (
        ("opened → confirmed", "opened_at", "confirmed_at"),
        ("final approval → confirmed", "approved_at", "confirmed_at"),
    ):
        lengths = [
            log_figures.weekdays_between(start.astimezone(zone).date(), end.astimezone(zone).date())
            for result in results
            if (start := _at(result, since)) is not None and (end := _at(result, until)) is not None
        ]
        found.append(
            log_figures.Share(
                what, len(lengths), sum(n <= 5 for n in lengths), sum(n <= 10 for n in lengths)
            )
        )
    return found


def _unexpected(results: Sequence[Result]) -> list[str]:
    causes: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for result in results:
        if result.is_as_expected:
            continue
        cause = result.error or "; ".join(
            f"{d.field}: {d.expected!r} expected, {d.found!r} found" for d in result.differences
        )
        causes[cause] += 1
        examples.setdefault(cause, result.id)
    if not causes:
        return []
    rows = [(cause, examples[cause], count) for cause, count in causes.most_common()]
    return table(("difference", "for instance", "cases"), rows)
