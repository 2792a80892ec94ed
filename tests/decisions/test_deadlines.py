"""Offsets in outputs: the date or instant at which a length of time has run out."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions import FactError, Pack
from decisions.durations import age, day_after, deadline, parse_duration, window_start
from domain.deadlines import BusinessCalendar, DayZero
from tests.decisions.builders import POLICIES, changed, findings_of

MADRID = "Europe/Madrid"
OFFICE = BusinessCalendar(
    id="office", version="1", zone=MADRID, holidays=frozenset({date(2026, 12, 25)}),
    covers_from=date(2026, 1, 1), covers_to=date(2027, 12, 31),
)  # fmt: skip


def reached(start: date | datetime, length: str) -> str:
    return deadline(start, parse_duration(length), MADRID, OFFICE).isoformat()


@pytest.mark.parametrize(
    ("length", "ends"),
    [
        ("90min", "2026-12-23T23:30:00+00:00"),
        ("0d", "2026-12-23T23:00:00+00:00"),
        ("1d", "2026-12-24T23:00:00+00:00"),
        ("30d", "2027-01-22T23:00:00+00:00"),
        ("1bd", "2026-12-24T23:00:00+00:00"),
        ("2bd", "2026-12-28T23:00:00+00:00"),  # the 25th is a holiday, then a weekend
        ("P6M", "2027-06-23T22:00:00+00:00"),  # in summer the day ends an hour earlier
        ("P1Y", "2027-12-23T23:00:00+00:00"),
    ],
)
def test_a_length_runs_out_at_the_end_of_its_local_day(length: str, ends: str) -> None:
    assert reached(datetime(2026, 12, 23, 22, tzinfo=UTC), length) == ends


def test_the_day_of_the_start_is_the_local_one() -> None:
    assert reached(datetime(2026, 12, 23, 23, tzinfo=UTC), "1d") == "2026-12-25T23:00:00+00:00"


@pytest.mark.parametrize(
    ("start", "length", "day"),
    [
        ("2026-01-31", "P1M", "2026-02-28"), ("2026-01-31", "P2M", "2026-03-31"),
        ("2028-02-29", "P1Y", "2029-02-28"), ("2026-12-31", "P1M", "2027-01-31"),
        ("2026-02-27", "2d", "2026-03-01"),
    ],
)  # fmt: skip
def test_a_day_that_a_month_lacks_is_the_months_last(start: str, length: str, day: str) -> None:
    found = day_after(date.fromisoformat(start), parse_duration(length), "UTC", None)
    assert found == date.fromisoformat(day)


def test_business_days_from_a_date_that_is_none_begin_on_the_next() -> None:
    saturday, monday = date(2026, 12, 19), date(2026, 12, 21)
    assert reached(saturday, "1bd") == reached(monday, "1bd") == "2026-12-22T23:00:00+00:00"
    later = OFFICE.model_copy(update={"day_zero": DayZero.NEXT})
    assert day_after(monday, parse_duration("1bd"), MADRID, later) == date(2026, 12, 23)


def test_a_deadline_past_the_known_holidays_is_an_error() -> None:
    with pytest.raises(ValueError, match="publish a newer calendar"):
        reached(date(2027, 12, 31), "1bd")
    with pytest.raises(ValueError, match="beyond the year 9999"):
        reached(date(9999, 12, 31), "1d")


days = st.dates(date(1990, 1, 1), date(2050, 12, 31))
lengths = st.builds(
    lambda count, unit: parse_duration(f"{count}d" if unit == "d" else f"P{count}{unit}"),
    st.integers(1, 40),
    st.sampled_from(["d", "M", "Y"]),
)


@given(days, lengths)
def test_a_deadline_is_over_once_its_length_is_completed(start: date, length: Any) -> None:
    ends = deadline(start, length, MADRID, None)
    tick = timedelta(microseconds=1)
    full = age(start, ends - tick, length.unit, MADRID, None)
    # a day that a month lacks is its last one in both, so on the last day the age is complete
    assert full == length.count
    assert age(start, ends - timedelta(days=1, hours=2), length.unit, MADRID, None) < length.count


@given(days, st.times(), lengths)
def test_a_window_begins_where_things_are_younger_than_it(day: date, at: time, length: Any) -> None:
    now = datetime.combine(day, at, UTC)
    start = window_start(now, length, MADRID)
    assert age(start, now, length.unit, MADRID, None) < length.count
    before = start - timedelta(microseconds=1)
    assert age(before, now, length.unit, MADRID, None) >= length.count


def test_a_window_of_minutes_leaves_out_what_is_exactly_as_old() -> None:
    now = datetime(2026, 12, 1, 12, tzinfo=UTC)
    start = window_start(now, parse_duration("90min"), "UTC")
    assert age(start, now, "min", "UTC", None) == 89
    assert age(start - timedelta(microseconds=1), now, "min", "UTC", None) == 90


DEADLINES = """\
format: 1
policy: deadlines
version: 1
effective_from: "2026-01-01"
owner: tests
includes: [calendars/us-banking.yaml]
inputs:
  noticed: {type: date, nullable: true}
  seen:    {type: instant}
  tier:    {type: enum, values: [gold, silver]}
outputs:
  by:    {type: instant}
  on:    {type: date, nullable: true}
  later: {type: instant}
rules:
  - id: A
    why: all
    when: {}
    then:
      by: {in: {lookup: {by: tier, gold: 1bd, silver: 3bd}}}
      on: {in: 45d, from: noticed}
      later: {in: 90min, from: seen}
timers: {calendar: us-banking}
examples:
  - {given: {noticed: null, seen: "2026-12-01T12:00:00Z", tier: gold}, expect: {rule: A, on: null}}
"""


def test_an_offset_starts_now_or_from_a_fact_and_may_be_looked_up() -> None:
    pack = Pack.from_text(DEADLINES, root=POLICIES)
    at = datetime(2026, 12, 23, 15, tzinfo=UTC)
    facts = {"noticed": date(2026, 12, 1), "seen": at, "tier": "silver"}
    assert pack.decide(facts, at).outputs == {
        "by": "2026-12-29T22:00:00.000000Z",  # 24, 28, 29; the cut-off is five in the afternoon
        "on": "2027-01-15",
        "later": "2026-12-23T16:30:00.000000Z",
    }
    by_gold = pack.decide({**facts, "tier": "gold"}, at).outputs["by"]
    assert by_gold == "2026-12-24T22:00:00.000000Z"


def test_an_offset_from_null_is_null_or_an_error_that_names_the_fact() -> None:
    at = datetime(2026, 12, 23, 15, tzinfo=UTC)
    facts = {"noticed": None, "seen": at, "tier": "gold"}
    assert Pack.from_text(DEADLINES, root=POLICIES).decide(facts, at).outputs["on"] is None
    strict = DEADLINES.replace("on:    {type: date, nullable: true}", "on:    {type: date}")
    strict = strict.replace("given: {noticed: null", 'given: {noticed: "2026-12-01"')
    strict = strict.replace("{rule: A, on: null}", '{rule: A, on: "2027-01-15"}')
    with pytest.raises(FactError, match="noticed: is null, and on is counted from it"):
        Pack.from_text(strict, root=POLICIES).decide(facts, at)


def test_a_deadline_that_no_calendar_covers_is_an_error_that_names_the_moment() -> None:
    at = datetime(2099, 12, 23, 15, tzinfo=UTC)
    facts = {"noticed": None, "seen": at, "tier": "gold"}
    with pytest.raises(FactError, match="the moment of decision: by: calendar us-banking"):
        Pack.from_text(DEADLINES, root=POLICIES).decide(facts, at)


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("{in: »soon}", "wrong-type"), ("{in: »10}", "wrong-type"), ("{in: »null}", "wrong-type"),
        ("{in: »10bd}", "undefined-calendar"), ("{in: 5d, »form: due}", "unknown-key"),
        ("{in: 5d, from: »dew}", "undefined-input"), ("{in: 5d, from: »stuck}", "wrong-type"),
        ("{in: »5min, from: due}", "wrong-type"),
        ("{in: {lookup: »{by: plan, pro: 5d}}}", "incomplete-lookup"),
    ],
)  # fmt: skip
def test_a_broken_offset_is_told_in_its_place(cell: str, code: str) -> None:
    text = changed("  stuck:", "  due:    {type: date}\n  stuck:")
    text = changed("outputs:\n", "outputs:\n  by: {type: instant}\n", text)
    text = text.replace("then: {", "then: {by: {in: 1d}, ").replace("{in: 1d}", cell, 1)
    before, _, after = text.partition("»")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    found = [(f.line, f.column, f.code) for f in findings_of(before + after)]
    assert found == [(line, column, code)]


# -- the end of a calendar ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("effective_from", "today", "is_short"),
    [
        ("2026-11-01", "2029-01-01", False),  # the last day that is known is 2029-12-31
        ("2026-11-01", "2029-01-02", True),
        ("2029-01-01", "2026-11-01", False),
        ("2029-01-02", "2026-11-01", True),
        ("2026-11-01", "9999-12-31", True),
    ],
)
def test_a_calendar_is_short_that_does_not_know_the_year_ahead(
    effective_from: str, today: str, is_short: bool
) -> None:
    shipped = Pack.load(POLICIES / "refund" / "v1.yaml")
    before = f'"effective_from":"{shipped.effective_from}"'
    pack = Pack.from_content(
        changed(before, f'"effective_from":"{effective_from}"', shipped.content)
    )
    found = pack.short_calendars(date.fromisoformat(today))
    assert bool(found) is is_short
    assert all(each.covers_to == date(2029, 12, 31) for each in found)
