"""Business days are counted by the calendar, once, to an absolute instant."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from domain.deadlines import DAY_MINUTES, BusinessCalendar, DayZero, OfficeHours, Settlement
from domain.decisions import RefundMethod

NEW_YORK = ZoneInfo("America/New_York")
INSTANTS = st.integers(0, 40_000_000).map(
    lambda seconds: datetime(2026, 2, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


def calendar(**overrides: Any) -> BusinessCalendar:
    values: dict[str, Any] = {
        "id": "test",
        "version": "1",
        "zone": "America/New_York",
        "holidays": frozenset({date(2026, 11, 26), date(2026, 12, 25)}),
        "cutoff": time(17),
        "covers_from": date(2026, 1, 1),
        "covers_to": date(2027, 12, 31),
    }
    return BusinessCalendar(**{**values, **overrides})


def at(year: int, month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=NEW_YORK)


@pytest.mark.parametrize(
    ("received", "day_zero"),
    [
        (at(2026, 11, 24, 16, 59), date(2026, 11, 24)),
        (at(2026, 11, 24, 17, 0), date(2026, 11, 25)),
        (at(2026, 11, 24, 17, 1), date(2026, 11, 25)),
        (at(2026, 11, 25, 17, 0), date(2026, 11, 27)),
        (at(2026, 11, 28, 9, 0), date(2026, 11, 30)),
    ],
    ids=["before the cut-off", "at it", "after it", "over a holiday", "on a Saturday"],
)
def test_what_comes_at_or_after_the_cut_off_counts_as_the_next_business_day(
    received: datetime, day_zero: date
) -> None:
    assert calendar().day_zero_of(received) == day_zero


def test_the_day_zero_rule_can_start_counting_a_day_later() -> None:
    received = at(2026, 11, 23, 9)
    assert calendar().date_after(received, 1) == date(2026, 11, 24)
    assert calendar(day_zero=DayZero.NEXT).date_after(received, 1) == date(2026, 11, 25)


def test_a_deadline_is_the_closing_hour_of_its_day_in_utc_on_both_sides_of_a_clock_change() -> None:
    winter = calendar().instant_after(at(2027, 3, 11, 9), 1)
    summer = calendar().instant_after(at(2027, 3, 12, 9), 1)
    assert winter == datetime(2027, 3, 12, 22, tzinfo=UTC)
    assert summer == datetime(2027, 3, 15, 21, tzinfo=UTC)


def test_without_a_cut_off_a_day_closes_at_its_midnight() -> None:
    closing = calendar(cutoff=None).instant_after(at(2026, 11, 23, 23, 59), 0)
    assert closing == at(2026, 11, 24, 0).astimezone(UTC)


def test_a_deadline_past_the_known_holidays_is_an_error_and_not_a_guess() -> None:
    assert calendar().date_after(at(2027, 12, 30, 9), 1) == date(2027, 12, 31)
    with pytest.raises(ValueError, match="publish a newer calendar"):
        calendar().date_after(at(2027, 12, 31, 9), 1)


def test_the_first_known_day_is_known_and_the_day_before_it_is_not() -> None:
    known = calendar(covers_from=date(2026, 3, 4))
    assert known.next_business_day(date(2026, 3, 3)) == date(2026, 3, 4)
    with pytest.raises(ValueError, match="2026-03-03 lies outside"):
        known.next_business_day(date(2026, 3, 2))


def test_a_calendar_that_says_no_more_rests_at_weekends_and_knows_every_year_since_1970() -> None:
    plain = BusinessCalendar(id="plain", version="1", zone="UTC")
    week = [date(2026, 11, 23) + timedelta(days=n) for n in range(7)]
    assert [plain.is_business_day(day) for day in week] == [True] * 5 + [False] * 2
    assert (plain.covers_from, plain.covers_to) == (date(1970, 1, 1), date(9999, 12, 31))
    assert plain.day_zero_of(datetime(2026, 11, 23, 23, 59, tzinfo=UTC)) == date(2026, 11, 23)


@pytest.mark.parametrize(
    ("thing", "field"),
    [
        (calendar(), "zone"),
        (Settlement(looks=(1,), calendar=calendar()), "looks"),
        (OfficeHours(open=540, close=1080), "open"),
    ],
    ids=["calendar", "settlement", "office hours"],
)
def test_a_clock_does_not_change_under_those_who_hold_it(thing: BaseModel, field: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(thing, field, getattr(thing, field))


@given(
    INSTANTS,
    st.integers(0, 40),
    st.integers(0, 40),
)
def test_counting_on_is_counting_in_one_go(received: datetime, first: int, then: int) -> None:
    known = calendar(cutoff=None)
    day = known.date_after(received, first)
    for _ in range(then):
        day = known.next_business_day(day)
    assert day == known.date_after(received, first + then)
    assert known.is_business_day(day)


@given(INSTANTS, st.integers(1, 40))
def test_a_deadline_is_never_early(received: datetime, days: int) -> None:
    due = calendar().instant_after(received, days)
    assert due - received > timedelta(days=days - 1)


def test_settlement_tells_its_look_instants_its_trace_and_the_dates_to_expect() -> None:
    settlement = Settlement(looks=(5, 8, 10), calendar=calendar(), trace_every=5, trace_looks=2)
    accepted = at(2026, 11, 23, 12)
    assert settlement.expected_dates(accepted) == (date(2026, 12, 1), date(2026, 12, 8))
    assert [look.date() for look in settlement.instants(accepted)] == [
        date(2026, 12, 1),
        date(2026, 12, 4),
        date(2026, 12, 8),
    ]
    assert [look.date() for look in settlement.trace_instants(accepted)] == [
        date(2026, 12, 15),
        date(2026, 12, 22),
    ]


# -- office hours ----------------------------------------------------------------------

NINE_TO_SIX = OfficeHours(open=9 * 60, close=18 * 60)
ALL_DAY = OfficeHours(open=0, close=DAY_MINUTES)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("received", "minutes", "due"),
    [
        (at(2026, 11, 24, 8, 59), 15, at(2026, 11, 24, 9, 15)),
        (at(2026, 11, 24, 9), 15, at(2026, 11, 24, 9, 15)),
        (at(2026, 11, 24, 9, 1), 15, at(2026, 11, 24, 9, 16)),
        (at(2026, 11, 24, 17, 45) - TICK, 15, at(2026, 11, 24, 18) - TICK),
        (at(2026, 11, 24, 17, 45), 15, at(2026, 11, 24, 18)),
        (at(2026, 11, 24, 17, 45) + TICK, 15, at(2026, 11, 25, 9) + TICK),
        (at(2026, 11, 24, 18) - TICK, 15, at(2026, 11, 25, 9, 15) - TICK),
        (at(2026, 11, 24, 18), 15, at(2026, 11, 25, 9, 15)),
        (at(2026, 11, 24, 18, 1), 15, at(2026, 11, 25, 9, 15)),
        (at(2026, 11, 25, 17, 50), 15, at(2026, 11, 27, 9, 5)),
        (at(2026, 11, 26, 12), 15, at(2026, 11, 27, 9, 15)),
        (at(2026, 11, 28, 12), 15, at(2026, 11, 30, 9, 15)),
        (at(2026, 11, 23, 12), 540, at(2026, 11, 24, 12)),
        (at(2026, 11, 23, 9), 541, at(2026, 11, 24, 9, 1)),
        (at(2026, 11, 23, 12), 1, at(2026, 11, 23, 12, 1)),
    ],
    ids=[
        "before it opens", "as it opens", "after it opened", "below the closing hour",
        "with the closing hour", "above the closing hour", "just open", "as it closes",
        "after it closed", "over a holiday", "on a holiday", "on a Saturday", "a whole day of it",
        "a minute more than a day", "the shortest",
    ],
)  # fmt: skip
def test_office_minutes_run_while_the_office_is_open(
    received: datetime, minutes: int, due: datetime
) -> None:
    found = calendar().after_office_minutes(received, minutes, NINE_TO_SIX)
    assert found == due
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    ("received", "due"),
    [
        (at(2027, 11, 5, 18), at(2027, 11, 8, 18)),
        (at(2027, 3, 12, 18), at(2027, 3, 15, 18)),
    ],
    ids=["put back", "put forward"],
)
def test_clocks_that_change_outside_the_office_hours_change_no_deadline(
    received: datetime, due: datetime
) -> None:
    assert calendar().after_office_minutes(received, 540, NINE_TO_SIX) == due


@pytest.mark.parametrize(
    ("day", "hours_of_the_day"),
    [(date(2027, 3, 14), 23), (date(2027, 11, 7), 25), (date(2027, 3, 15), 24)],
)
def test_a_day_on_which_the_clocks_change_has_the_minutes_that_it_had(
    day: date, hours_of_the_day: int
) -> None:
    always = calendar(weekend=frozenset())
    begins = datetime.combine(day, time(0), NEW_YORK)
    ends = datetime.combine(day + timedelta(days=1), time(0), NEW_YORK)
    minutes = hours_of_the_day * 60
    assert always.after_office_minutes(begins, minutes, ALL_DAY) == ends
    assert always.after_office_minutes(begins, minutes + 1, ALL_DAY) - timedelta(minutes=1) == ends


def test_an_office_that_opens_in_an_hour_that_there_was_not_opens_when_the_clocks_go_on() -> None:
    always = calendar(weekend=frozenset())
    half_past_two = OfficeHours(open=150, close=240)
    found = always.after_office_minutes(at(2027, 3, 14, 0), 5, half_past_two)
    assert found == at(2027, 3, 14, 3, 5)


@pytest.mark.parametrize(
    ("zone", "day", "opens", "first_minute_ends"),
    [
        # put back over it: of two half past ones (or twos), the first
        ("America/New_York", (2026, 11, 1), 90, (2026, 11, 1, 5, 31)),
        ("Europe/Madrid", (2026, 10, 25), 150, (2026, 10, 25, 0, 31)),
        # put forward over it: the instant of that, east and west of Greenwich
        ("America/New_York", (2026, 3, 8), 150, (2026, 3, 8, 7, 1)),
        ("Europe/Madrid", (2026, 3, 29), 151, (2026, 3, 29, 1, 1)),
        # on the very edges of the gap
        ("Europe/Madrid", (2026, 3, 29), 120, (2026, 3, 29, 1, 1)),
        ("Europe/Madrid", (2026, 3, 29), 180, (2026, 3, 29, 1, 1)),
    ],
)
def test_an_office_opens_when_its_hour_is_first_shown(
    zone: str,
    day: tuple[int, int, int],
    opens: int,
    first_minute_ends: tuple[int, int, int, int, int],
) -> None:
    known = calendar(zone=zone, weekend=frozenset[int](), holidays=frozenset())
    received = datetime(*day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    office = OfficeHours(open=opens, close=opens + 120)
    assert known.after_office_minutes(received, 1, office) == datetime(
        *first_minute_ends, tzinfo=UTC
    )


def test_office_minutes_past_the_known_holidays_are_an_error_and_not_a_guess() -> None:
    last = at(2027, 12, 31, 17, 50)
    assert calendar().after_office_minutes(last, 10, NINE_TO_SIX) == at(2027, 12, 31, 18)
    with pytest.raises(ValueError, match="publish a newer calendar"):
        calendar().after_office_minutes(last, 11, NINE_TO_SIX)


@pytest.mark.parametrize(("opens", "closes"), [(-1, 60), (60, 60), (61, 60), (0, 24 * 60 + 1)])
def test_office_hours_that_are_none_are_refused(opens: int, closes: int) -> None:
    with pytest.raises(ValueError, match=r"open|close|hours"):
        OfficeHours(open=opens, close=closes)


def minute_by_minute(
    known: BusinessCalendar, received: datetime, minutes: int, hours: OfficeHours
) -> datetime:
    """The same by looking at the clock on the wall each minute: the office is open from the
    first time that it shows the opening minute to the first time that it shows the closing one."""
    zone = ZoneInfo(known.zone)
    instant = received - timedelta(days=2)
    day, furthest = None, -1
    while minutes:
        wall = instant.astimezone(zone)
        if wall.date() != day:
            day, furthest = wall.date(), -1
        furthest = max(furthest, wall.hour * 60 + wall.minute)
        is_open = known.is_business_day(wall.date()) and hours.open <= furthest < hours.close
        instant += timedelta(minutes=1)
        if is_open and instant > received:
            minutes -= 1
    return instant


ZONES = ("America/New_York", "Europe/Madrid", "Asia/Beirut", "Australia/Lord_Howe", "Asia/Seoul")
CHANGES = (
    datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 3, 29, tzinfo=UTC),
    datetime(2026, 4, 4, tzinfo=UTC), datetime(2026, 10, 4, tzinfo=UTC),
    datetime(2026, 10, 25, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC),
    datetime(2026, 12, 24, tzinfo=UTC),
)  # fmt: skip


@given(
    st.sampled_from(ZONES),
    st.sampled_from([frozenset({6, 7}), frozenset({5, 6}), frozenset[int]()]),
    st.sampled_from(CHANGES),
    st.integers(-3 * DAY_MINUTES, 2 * DAY_MINUTES),
    st.integers(1, 900),
    st.tuples(st.integers(0, DAY_MINUTES - 1), st.integers(1, DAY_MINUTES)).filter(
        lambda pair: pair[0] + 90 < pair[1]
    ),
)
def test_office_minutes_are_those_of_the_clock_on_the_wall(
    zone: str,
    weekend: frozenset[int],
    change: datetime,
    offset: int,
    minutes: int,
    hours: tuple[int, int],
) -> None:
    known = calendar(zone=zone, weekend=weekend)
    received = change + timedelta(minutes=offset)
    office = OfficeHours(open=hours[0], close=hours[1])
    found = known.after_office_minutes(received, minutes, office)
    assert found == minute_by_minute(known, received, minutes, office)


def test_a_settlement_that_says_no_more_is_traced_for_six_weeks_and_tries_nothing_else() -> None:
    usual = Settlement(looks=(1,), calendar=calendar(holidays=frozenset()))
    days = [look.date() for look in usual.trace_instants(at(2026, 11, 23, 12))]
    assert days == [date(2026, 12, 1) + timedelta(weeks=n) for n in range(6)]
    assert usual.fallback_after(None) is None
    assert usual.alternative_days == 0


BOTH = (RefundMethod.ORIGINAL, RefundMethod.ACCOUNT_CREDIT)


@pytest.mark.parametrize(
    ("ways", "tried", "then"),
    [
        (BOTH, None, RefundMethod.ORIGINAL),
        (BOTH, RefundMethod.ORIGINAL, RefundMethod.ACCOUNT_CREDIT),
        (BOTH, RefundMethod.ACCOUNT_CREDIT, None),
        (BOTH[:1], RefundMethod.ACCOUNT_CREDIT, RefundMethod.ORIGINAL),
        (BOTH[:1], RefundMethod.ORIGINAL, None),
    ],
)
def test_what_follows_a_failure_is_the_next_way_that_was_not_tried(
    ways: tuple[RefundMethod, ...], tried: RefundMethod | None, then: RefundMethod | None
) -> None:
    settlement = Settlement(looks=(1,), calendar=calendar(), on_failure=ways)
    assert settlement.fallback_after(tried) is then
