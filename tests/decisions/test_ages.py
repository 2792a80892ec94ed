# ruff: noqa: E501 - a rule of a policy stands on one line
"""Ages at the moment of decision: units, anniversaries, zones, business days."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from decisions import FactError
from tests.decisions.builders import NOON, findings_of, unchecked

AGED = """\
format: 1
policy: aged
version: 1
effective_from: "2026-01-01"
owner: tests
calendars:
  seoul:
    {version: "1", zone: Asia/Seoul, weekend: [sat, sun], covers: {from: "2026-01-01", to: "2027-12-31"},
     holidays: [{date: "2026-12-25", name: Christmas}]}
timers: {calendar: seoul}
inputs:
  bought:  {type: date}
  charged: {type: instant, nullable: true}
outputs: {new: {type: bool}}
rules:
  - {id: RULE, why: by age, when: WHEN, then: {new: true}}
  - {id: REST, why: else, when: {}, then: {new: false}}
examples:
  - {given: {bought: "2020-01-01", charged: null}, expect: {rule: RULE}}
"""


def aged(when: str, bought: date, now: datetime, charged: datetime | None = None) -> bool:
    pack = unchecked(AGED.replace("WHEN", when))
    return pack.decide({"bought": bought, "charged": charged}, now).rule == "RULE"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


AGES: list[tuple[str, date, datetime, bool]] = [
    # the anniversary is counted in
    ("{bought: {older_than: P1Y}}", date(2025, 12, 1), utc(2026, 11, 30, 12), False),
    ("{bought: {older_than: P1Y}}", date(2025, 12, 1), utc(2026, 12, 1, 12), True),
    ("{bought: {younger_than: P1Y}}", date(2025, 12, 1), utc(2026, 11, 30, 12), True),
    ("{bought: {younger_than: P1Y}}", date(2025, 12, 1), utc(2026, 12, 1, 12), False),
    # a day that a month lacks falls on its last
    ("{bought: {older_than: P1Y}}", date(2024, 2, 29), utc(2025, 2, 28, 12), True),
    ("{bought: {older_than: P1M}}", date(2026, 1, 31), utc(2026, 2, 27, 12), False),
    ("{bought: {older_than: P1M}}", date(2026, 1, 31), utc(2026, 2, 28, 12), True),
    # days in the zone of the calendar: 15:00 UTC is the next day in Seoul
    ("{bought: {older_than: 30d}}", date(2026, 11, 2), utc(2026, 12, 1, 14, 59), False),
    ("{bought: {older_than: 30d}}", date(2026, 11, 2), utc(2026, 12, 1, 15), True),
    ("{bought: {older_than: 10d, younger_than: 20d}}", date(2026, 11, 2), utc(2026, 11, 22), False),
    ("{bought: {older_than: 10d, younger_than: 20d}}", date(2026, 11, 2), utc(2026, 11, 21), True),
    # business days: Thursday 24, (25 holiday), Monday 28 December
    ("{bought: {older_than: 1bd}}", date(2026, 12, 24), utc(2026, 12, 27, 3), False),
    ("{bought: {older_than: 1bd}}", date(2026, 12, 24), utc(2026, 12, 28, 3), True),
    # received on a Saturday counts from Monday
    ("{bought: {older_than: 1bd}}", date(2026, 12, 5), utc(2026, 12, 7, 3), False),
    ("{bought: {older_than: 1bd}}", date(2026, 12, 5), utc(2026, 12, 8, 3), True),
    # what lies ahead is younger than anything
    ("{bought: {younger_than: 1d}}", date(2026, 12, 24), utc(2026, 12, 1), True),
    ("{bought: {lt: \"2026-12-01\"}}", date(2026, 11, 30), utc(2026, 12, 1), True),
    ("{bought: {lt: \"2026-12-01\"}}", date(2026, 12, 1), utc(2026, 12, 1), False),
]  # fmt: skip


@pytest.mark.parametrize(("when", "bought", "now", "expected"), AGES)
def test_the_age_of_a_date_at_the_moment_of_decision(
    when: str, bought: date, now: datetime, expected: bool
) -> None:
    assert aged(when, bought, now) is expected


def test_the_age_of_an_instant_in_minutes_and_a_null_one() -> None:
    day, charged = date(2026, 1, 1), utc(2026, 12, 1, 12)
    when = "{charged: {older_than: 90min}}"
    assert aged(when, day, utc(2026, 12, 1, 13, 30), charged)
    assert not aged(when, day, utc(2026, 12, 1, 13, 29, 59), charged)
    assert not aged(when, day, utc(2026, 12, 1, 13, 30), None)
    assert aged("{charged: {older_than: 90min, or_null: true}}", day, utc(2026, 12, 1), None)


def test_one_unit_per_input_in_a_table() -> None:
    text = AGED.replace("WHEN", "{bought: {older_than: 10d, younger_than: P1Y}}")
    assert [f.code for f in findings_of(text)] == ["mixed-units"]


def test_an_age_beyond_the_years_of_the_calendar_is_a_wrong_fact() -> None:
    pack = unchecked(AGED.replace("WHEN", "{bought: {older_than: 5bd}}"))
    with pytest.raises(FactError, match="bought: calendar seoul 1 knows holidays from 2026-01-01"):
        pack.decide({"bought": date(2025, 12, 1), "charged": None}, NOON)


def test_a_trace_shows_an_age_beside_its_date() -> None:
    pack = unchecked(AGED.replace("WHEN", "{bought: {older_than: 30d}}"))
    [line] = pack.decide({"bought": date(2026, 11, 20), "charged": None}, NOON).trace
    assert (line.seen, line.allowed) == ("2026-11-20 (11 days ago)", "older than 30d")
