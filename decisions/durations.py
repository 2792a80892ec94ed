"""Lengths of time as rules write them, and the age of a fact at the moment of decision.

``90min``, ``30d`` (calendar days), ``10bd`` (business days), ``P6M`` (calendar months),
``P2Y`` (calendar years). An age is the number of *completed* units, so the anniversary is
counted in: something is ``older_than: P1Y`` on its first anniversary, not the day after.
Days, months and years are counted between local dates in the pack's zone; minutes between
instants. An anniversary that a month lacks (31 January + 1 month) falls on its last day.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from domain.deadlines import BusinessCalendar

UNITS = {"min": "minutes", "d": "days", "bd": "business days", "M": "months", "Y": "years"}
WRITTEN = "90min, 30d, 10bd, P6M, P2Y"

_SHORT = re.compile(r"([0-9]{1,7})(min|bd|d)")
_LONG = re.compile(r"P([0-9]{1,4})([MY])")


@dataclass(frozen=True, slots=True)
class Duration:
    """``count`` units; ``unit`` is a key of :data:`UNITS`."""

    count: int
    unit: str

    def __str__(self) -> str:
        if self.unit in ("M", "Y"):
            return f"P{self.count}{self.unit}"
        return f"{self.count}{self.unit}"


def parse_duration(text: str) -> Duration:
    """Raises ``ValueError`` when the text is none of the written forms."""
    match = _SHORT.fullmatch(text) or _LONG.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no length of time")
    return Duration(int(match[1]), match[2])


def completed_months(start: date, today: date) -> int:
    """Whole calendar months from ``start`` to ``today``, negative when it lies ahead."""
    months = (today.year - start.year) * 12 + today.month - start.month
    anniversary = min(start.day, monthrange(today.year, today.month)[1])
    return months - (today.day < anniversary)


def business_days_between(start: date, today: date, calendar: BusinessCalendar) -> int:
    """Business days after ``start`` up to and including ``today``.

    Raises ``ValueError`` when a year is not covered by the calendar.
    """
    first, last = min(start, today), max(start, today)
    if first < calendar.covers_from or last > calendar.covers_to:
        raise ValueError(
            f"calendar {calendar.id} {calendar.version} knows holidays from "
            f"{calendar.covers_from} to {calendar.covers_to} only"
        )
    day, count = first, 0
    while day < last:
        day += timedelta(days=1)
        count += calendar.is_business_day(day)
    return count if start <= today else -count


def age(
    value: date | datetime, now: datetime, unit: str, zone: str, calendar: BusinessCalendar | None
) -> int:
    """Completed units of ``unit`` from ``value`` to ``now``.

    In business days the clock starts as everywhere (day 0 of :mod:`domain.deadlines`): on a day
    that is none, the next one. Raises ``ValueError`` when no calendar covers the years.
    """
    if unit == "min":
        if not isinstance(value, datetime):
            raise ValueError("a date has no age in minutes")
        return (now - value) // timedelta(minutes=1)
    local = ZoneInfo(zone)
    today = now.astimezone(local).date()
    if unit == "bd":
        if calendar is None:
            raise ValueError("business days need a calendar")
        if isinstance(value, datetime):
            start = calendar.day_zero_of(value)
        else:
            open_day = calendar.is_business_day(value)
            start = value if open_day else calendar.next_business_day(value)
        return business_days_between(start, today, calendar)
    start = value.astimezone(local).date() if isinstance(value, datetime) else value
    match unit:
        case "d":
            return (today - start).days
        case "M":
            return completed_months(start, today)
        case _:
            return completed_months(start, today) // 12
