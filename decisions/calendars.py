"""Business calendars as data: zone, weekend, cut-off hour, holidays with a version."""

from __future__ import annotations

from datetime import date, time
from zoneinfo import ZoneInfo

from decisions.findings import Collector
from decisions.shapes import entries, known_keys, one_of, read_name, rows
from decisions.source import BAD, Node
from domain.deadlines import BusinessCalendar, DayZero

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CALENDAR_KEYS = (
    "version", "zone", "weekend", "cutoff", "day_zero", "covers", "holidays", "source",
)  # fmt: skip


def read_calendars(node: Node | None, into: Collector) -> dict[str, BusinessCalendar]:
    """``calendars: {us-banking: {version, zone, weekend, cutoff, day_zero, covers, holidays}}``."""
    found: dict[str, BusinessCalendar] = {}
    for _, name, item in entries(node, "calendars", into):
        calendar = _read_calendar(name, item, into)
        if calendar is not None:
            found[name] = calendar
    return found


def _read_calendar(name: str, node: Node, into: Collector) -> BusinessCalendar | None:
    before = len(into.findings)
    if not isinstance(node.value, dict):
        into.add(node, "wrong-type", f"a calendar is a map, not {node.shape()}")
        return None
    known_keys(node, CALENDAR_KEYS, into)
    version = read_name(node, "version", into)
    zone = _zone(node, into)
    weekend = _weekend(node, into)
    covers = node.get("covers")
    if covers is None:
        into.add(node, "missing-key", "covers is missing: {from: …, to: …}, the known years")
        return None
    first, last = read_date(covers, "from", into), read_date(covers, "to", into)
    holidays = set()
    for row in rows(node.get("holidays"), "holidays", into):
        known_keys(row, ("date", "name", "estimated"), into)
        day = read_date(row, "date", into)
        if day is None or first is None or last is None:
            continue
        place = row.get("date") or row
        if not first <= day <= last:
            into.add(place, "out-of-range", f"{day} lies outside the years that are covered")
        if day in holidays:
            into.add(place, "duplicate-value", f"{day} stands twice")
        holidays.add(day)
    cutoff = _cutoff(node, into)
    zero = DayZero.RECEIPT
    if node.get("day_zero") is not None:
        words = tuple(z.value for z in DayZero)
        zero = DayZero(one_of(node, "day_zero", words, into) or zero)
    if len(into.findings) > before or first is None or last is None:
        return None
    return BusinessCalendar(
        id=name,
        version=version or "",
        zone=zone or "UTC",
        weekend=weekend,
        holidays=frozenset(holidays),
        cutoff=cutoff,
        day_zero=zero,
        covers_from=first,
        covers_to=last,
    )


def _zone(node: Node, into: Collector) -> str | None:
    zone = read_name(node, "zone", into)
    if zone is None:
        return None
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        place = node.get("zone") or node
        into.add(place, "unknown-value", f"{zone!r} is no time zone", allowed="America/New_York …")
        return None
    return zone


def _weekend(node: Node, into: Collector) -> frozenset[int]:
    item = node.get("weekend")
    if item is None or not isinstance(item.value, tuple):
        into.add(item or node, "missing-key", "weekend is a list of days", allowed=WEEKDAYS)
        return frozenset()
    days = set()
    for day in item.value:
        if day.value in WEEKDAYS:
            days.add(WEEKDAYS.index(str(day.value)) + 1)
        elif day.value is not BAD:
            into.add(
                day, "unknown-value", f"{day.shape()} is no weekday",
                allowed=WEEKDAYS, wrong=str(day.value),
            )  # fmt: skip
    if len(days) == 7:
        into.add(item, "wrong-type", "a week needs a business day")
    return frozenset(days)


def read_date(node: Node, key: str, into: Collector) -> date | None:
    """A quoted ISO date under ``key``, or None with a finding."""
    item = node.get(key)
    if item is None:
        into.add(node, "missing-key", f"{key} is missing")
        return None
    try:
        return date.fromisoformat(item.value) if isinstance(item.value, str) else _no_date()
    except ValueError:
        if item.value is not BAD:
            into.add(item, "wrong-type", f"{item.shape()} is no date", allowed='"2026-12-01"')
        return None


def _no_date() -> date:
    raise ValueError("not a text")


def _cutoff(node: Node, into: Collector) -> time | None:
    item = node.get("cutoff")
    if item is None or item.value is None:
        return None
    try:
        if not isinstance(item.value, str):
            raise ValueError
        at = time.fromisoformat(item.value)
        if at.tzinfo is not None:
            raise ValueError
    except ValueError:
        if item.value is not BAD:
            into.add(item, "wrong-type", f"{item.shape()} is no time of day", allowed='"17:00"')
        return None
    return at
