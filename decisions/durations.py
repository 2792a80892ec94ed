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
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from domain.deadlines import BusinessCalendar, DayZero

UNITS = {"min": "minutes", "d": "days", "bd": "business days", "M": "months", "Y": "years"}
WRITTEN = "90min, 30d, 10bd, P6M, P2Y"

SHORT, LONG = r"([0-9]{1,7})(min|bd|d)", r"P([0-9]{1,4})([MY])"


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
    match = re.fullmatch(SHORT, text) or re.fullmatch(LONG, text)
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


def _day_zero(value: date | datetime, calendar: BusinessCalendar) -> date:
    """Day 0 of :mod:`domain.deadlines`; a plain date counts as received when its day began."""
    if isinstance(value, datetime):
        return calendar.day_zero_of(value)
    day = value if calendar.is_business_day(value) else calendar.next_business_day(value)
    return calendar.next_business_day(day) if calendar.day_zero is DayZero.NEXT else day


def _local_date(value: date | datetime, zone: str) -> date:
    return value.astimezone(ZoneInfo(zone)).date() if isinstance(value, datetime) else value


def day_after(
    start: date | datetime, length: Duration, zone: str, calendar: BusinessCalendar | None
) -> date:
    """The local date that lies ``length`` after ``start``; the day of ``start`` is day 0.

    A day that a month lacks falls on the month's last. Raises ``ValueError`` for minutes, and
    where no calendar covers the years.
    """
    if length.unit == "min":
        raise ValueError("minutes lead to an instant, not to a date")
    if length.unit == "bd":
        if calendar is None:
            raise ValueError("business days need a calendar")
        day = _day_zero(start, calendar)
        for _ in range(length.count):
            day = calendar.next_business_day(day)
        return day
    day = _local_date(start, zone)
    try:
        if length.unit == "d":
            return day + timedelta(days=length.count)
        months = day.month - 1 + length.count * (12 if length.unit == "Y" else 1)
        year, month = day.year + months // 12, months % 12 + 1
        return date(year, month, min(day.day, monthrange(year, month)[1]))
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{length} after {day} lies beyond the year 9999") from error


def deadline(
    start: date | datetime, length: Duration, zone: str, calendar: BusinessCalendar | None
) -> datetime:
    """The UTC instant at which ``length`` after ``start`` has run out.

    Minutes run between instants. Business days end at the calendar's cut-off hour, days,
    months and years at the midnight that ends the local day. Raises ``ValueError`` as
    :func:`day_after`, and for minutes after a plain date.
    """
    if length.unit == "min":
        if not isinstance(start, datetime):
            raise ValueError("a date has no minutes")
        return (start + timedelta(minutes=length.count)).astimezone(UTC)
    day = day_after(start, length, zone, calendar)
    if length.unit == "bd" and calendar is not None:
        return calendar.closing(day)
    return _day_begins(day + timedelta(days=1), zone)


def _day_begins(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(0), ZoneInfo(zone)).astimezone(UTC)


def window_start(now: datetime, length: Duration, zone: str) -> datetime:
    """The first UTC instant whose age at ``now`` is less than ``length`` completed units.

    What happened then or later is younger than ``length``, so a window and an age agree:
    on its first anniversary something has left the window ``P1Y``. Raises ``ValueError`` for
    business days.
    """
    if length.unit == "min":
        # the age is floored to whole minutes: exactly ``count`` minutes ago is older
        return now - timedelta(minutes=length.count) + timedelta(microseconds=1)
    if length.unit == "bd":
        raise ValueError("a window is not measured in business days")
    today = _local_date(now, zone)
    if length.unit == "d":
        return _day_begins(today - timedelta(days=length.count - 1), zone)
    months = today.year * 12 + today.month - 1 - length.count * (12 if length.unit == "Y" else 1)
    year, month = months // 12, months % 12 + 1
    days = monthrange(year, month)[1]
    # on a month's last day the later days of a longer month have their anniversary too
    is_last = today.day == monthrange(today.year, today.month)[1]
    oldest = date(year, month, days if is_last else min(today.day, days))
    return _day_begins(oldest + timedelta(days=1), zone)


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
    today = _local_date(now, zone)
    if unit == "bd":
        if calendar is None:
            raise ValueError("business days need a calendar")
        return business_days_between(_day_zero(value, calendar), today, calendar)
    start = _local_date(value, zone)
    match unit:
        case "d":
            return (today - start).days
        case "M":
            return completed_months(start, today)
        case _:
            return completed_months(start, today) // 12
