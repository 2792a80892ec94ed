"""The log's own figures, from the file alone. Nothing of the engine is in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from simulation.expense_log import (
    FINAL_APPROVED,
    PAID,
    PAYMENT_REQUESTED,
    REJECTERS,
    SUBMITTED,
    TAKEN_BACK,
    ZONE,
    Trace,
)

FORMULA = (
    "weekdays between two instants = the number of Mondays to Fridays d with "
    "date(from) < d ≤ date(to), both dates local (Europe/Amsterdam), public holidays counted "
    "as weekdays; a share is over the paid declarations that have both events"
)


@dataclass(frozen=True)
class Share:
    """How many of ``cases`` took at most 5 and at most 10 weekdays."""

    what: str
    cases: int
    within_5: int
    within_10: int

    def percent(self, count: int) -> str:
        """One decimal, half up, in whole numbers throughout."""
        tenths = (2000 * count + self.cases) // (2 * self.cases) if self.cases else 0
        return f"{tenths // 10}.{tenths % 10} %"


def weekdays_between(start: date, end: date) -> int:
    """Mondays to Fridays after ``start``, up to and with ``end``."""
    days = (start + timedelta(days=n) for n in range(1, (end - start).days + 1))
    return sum(day.isoweekday() < 6 for day in days)


def shares(traces: Iterable[Trace]) -> list[Share]:
    """First submission, last final approval and last payment request, each to the payment."""
    paid = [trace for trace in traces if PAID in trace.names]
    return [
        _share("first submission → paid", paid, SUBMITTED, 0),
        _share("last final approval → paid", paid, FINAL_APPROVED, -1),
        _share("last payment request → paid", paid, PAYMENT_REQUESTED, -1),
    ]


def _share(what: str, paid: Sequence[Trace], since: str, pick: int) -> Share:
    zone = ZoneInfo(ZONE)
    lengths = [
        weekdays_between(
            trace.instants(since)[pick].astimezone(zone).date(),
            trace.instants(PAID)[-1].astimezone(zone).date(),
        )
        for trace in paid
        if since in trace.names
    ]
    return Share(what, len(lengths), sum(n <= 5 for n in lengths), sum(n <= 10 for n in lengths))


def counts(traces: Sequence[Trace]) -> dict[str, int]:
    """What the log says of its declarations, each a plain count."""
    rejected = {TAKEN_BACK, *REJECTERS}
    return {
        "declarations": len(traces),
        "events": sum(len(trace.events) for trace in traces),
        "paid": sum(PAID in t.names for t in traces),
        "paid, of those submitted": sum(PAID in t.names and SUBMITTED in t.names for t in traces),
        "with a rejection": sum(bool(rejected & set(t.names)) for t in traces),
        "submitted more than once": sum(len(t.instants(SUBMITTED)) > 1 for t in traces),
        "amount zero or less": sum(t.money.amount_minor <= 0 for t in traces),
        "paid without a final approval": sum(
            PAID in t.names and FINAL_APPROVED not in t.names for t in traces
        ),
        "approved and never paid": sum(
            FINAL_APPROVED in t.names and PAID not in t.names for t in traces
        ),
    }
