"""Business days are counted by the calendar, once, to an absolute instant."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from domain.deadlines import BusinessCalendar, DayZero, Settlement
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
    [(calendar(), "zone"), (Settlement(looks=(1,), calendar=calendar()), "looks")],
    ids=["calendar", "settlement"],
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
