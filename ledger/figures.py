"""Figures of how cases were handled, and the arithmetic of medians and shares.

docs/metrics.md says what each counts; :mod:`ledger.metrics` asks the books for them.
"""

from __future__ import annotations

from array import array
from collections import Counter
from datetime import datetime
from enum import StrEnum

from domain.cases import SCORES
from ledger.records import Record


class By(StrEnum):
    """What cases may be told apart by."""

    KIND = "kind"
    CHANNEL = "channel"
    LANGUAGE = "language"
    DESK = "desk"
    POLICY = "policy"


class Durations(Record):
    """``n`` lengths of time in whole seconds, by nearest rank: a length that there was."""

    n: int
    p50_seconds: int | None
    p90_seconds: int | None


class Rate(Record):
    """``count`` of ``of``; the share in basis points, None of nothing."""

    count: int
    of: int
    share_bps: int | None


class Overdue(Record):
    """What is late now: ``count`` of the ``of`` that wait, and for how long (whole seconds)."""

    count: int
    of: int
    p50_seconds: int | None
    oldest_seconds: int | None


class Scores(Record):
    """Answers from 1 to 5: how many, their mean in hundredths, how often each was given."""

    n: int
    mean_hundredths: int | None
    counts: dict[str, int]


class Figures(Record):
    """The figures of one group of cases; the module's page says what each counts."""

    name: str
    cases: int
    first_response: Durations
    answered_in_time: Rate
    time_to_decision: Durations
    time_to_acceptance: Durations
    time_to_confirmation: Durations
    resolved: Rate
    asked_again: Rate
    appealed: Rate
    effort: Scores
    satisfaction: Scores
    outcomes: dict[str, int]
    given_minor: dict[str, int]
    approvals_overdue: Overdue
    first_responses_overdue: Overdue


class Metrics(Record):
    """Cases opened from ``since`` up to, not including, ``until`` (UTC): all of them in ``total``,
    and apart in ``groups``, by name. What is late is late at ``now``, whenever it was opened."""

    since: datetime
    until: datetime
    now: datetime
    by: By | None
    total: Figures
    groups: tuple[Figures, ...]


def nearest_rank(lengths: array[int], percent: int) -> int | None:
    """The smallest of ``lengths`` that at least ``percent`` of them do not pass; None of none."""
    ordered = sorted(lengths)
    whole, rest = divmod(percent * len(ordered), 100)
    rank = whole + (rest > 0)
    return ordered[rank - 1] if ordered else None


def durations_of(lengths: array[int]) -> Durations:
    return Durations(
        n=len(lengths),
        p50_seconds=nearest_rank(lengths, 50),
        p90_seconds=nearest_rank(lengths, 90),
    )


def overdue_of(lengths: array[int], of: int) -> Overdue:
    return Overdue(
        count=len(lengths),
        of=of,
        p50_seconds=nearest_rank(lengths, 50),
        oldest_seconds=max(lengths, default=None),
    )


def _half_up(number: int, by: int) -> int:
    return (2 * number + by) // (2 * by)


def rate_of(count: int, of: int) -> Rate:
    return Rate(count=count, of=of, share_bps=_half_up(10_000 * count, of) if of else None)


def scores_of(given: Counter[int]) -> Scores:
    n = given.total()
    total = sum(score * times for score, times in given.items())
    return Scores(
        n=n,
        mean_hundredths=_half_up(100 * total, n) if n else None,
        counts={str(score): given[score] for score in SCORES},
    )
