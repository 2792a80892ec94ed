"""Regulation E error resolution: deadlines worked out by hand on the banks' calendar.

Holidays that matter here: 19 January, 25 May, 7 September, 26 November, 25 December 2026;
1 January, 18 January and 15 February 2027. Banks work on Friday 3 July 2026. Summer time in New
York runs from 8 March to 1 November 2026, and from 14 March 2027.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from decisions import facts_from_json
from decisions.findings import FactError
from domain.canonical import parse_instant
from domain.decisions import Decision
from tests.decisions.builders import money, shipped

PACK = shipped("reg-e")
NEW_YORK = ZoneInfo("America/New_York")

USUAL: dict[str, Any] = {
    "days_since_statement": 12,
    "days_since_first_deposit": 900,
    "place": "in_state",
    "pos_debit": False,
    "confirmation": "not_asked",
    "unauthorised": False,
    "amount": money(12000),
    "finding": "open",
    "credited": None,
    "concluded": None,
    "reversal_notice": None,
}


def local(text: str) -> datetime:
    """``2026-03-02 10:00`` in New York as a UTC instant."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC)


def decide(received: str = "2026-12-23 10:00", **facts: Any) -> Decision:
    at = local(received)
    return PACK.decide({**USUAL, "notice_received": at, **facts}, at)


def in_new_york(instant: str) -> str:
    return parse_instant(instant).astimezone(NEW_YORK).strftime("%Y-%m-%d %H:%M")


def due(decision: Decision) -> dict[str, str]:
    return {entry["id"]: in_new_york(entry["due"]) for entry in decision.outputs["duties"]}


@pytest.mark.parametrize(
    ("received", "short", "long"),
    [
        # 3-6 March are four days, 9-13 five more, the tenth is the 16th; 45 days end on 16 April
        ("2026-03-02 10:00", "2026-03-16 17:00", "2026-04-17 00:00"),
        ("2026-03-02 16:59", "2026-03-16 17:00", "2026-04-17 00:00"),
        # at the cut-off it counts as received on the 3rd; calendar days run from the 2nd anyway
        ("2026-03-02 17:00", "2026-03-17 17:00", "2026-04-17 00:00"),
        # a Saturday counts as Monday the 6th: 7-10, 13-17, 20 July
        ("2026-07-04 12:00", "2026-07-20 17:00", "2026-08-19 00:00"),
        # 17-20 and 23-25 November are seven, the 26th is none, 27 and 30 November, 1 December
        ("2026-11-16 09:00", "2026-12-01 17:00", "2027-01-01 00:00"),
        # Memorial Day: 19-22 May are four, 26-29 four more, 1 and 2 June
        ("2026-05-18 09:00", "2026-06-02 17:00", "2026-07-03 00:00"),
        # Christmas and New Year: 24, 28-31 December, 4-8 January
        ("2026-12-23 10:00", "2027-01-08 17:00", "2027-02-07 00:00"),
        # a Sunday and a Monday that is none: day 0 is Tuesday 8 September, 9-11, 14-18, 21, 22
        ("2026-09-06 09:00", "2026-09-22 17:00", "2026-10-22 00:00"),
    ],
)
def test_a_notice_is_investigated_in_ten_business_days_or_45_days(
    received: str, short: str, long: str
) -> None:
    decision = decide(received)
    assert due(decision) == {"investigate": short, "credit": short, "resolve": long}
    assert [entry["id"] for entry in decision.outputs["duties"]] == [
        "investigate", "credit", "resolve",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("days", "short", "long"),
    [
        (29, "2027-01-25 17:00", "2027-03-24 00:00"),
        # ten end on 8 January; 11-15, then 19-22 without the 18th, then the 25th
        (30, "2027-01-25 17:00", "2027-03-24 00:00"),
        (31, "2027-01-08 17:00", "2027-02-07 00:00"),
    ],
)
def test_a_new_account_has_twenty_business_days_and_ninety_days(
    days: int, short: str, long: str
) -> None:
    found = due(decide(days_since_first_deposit=days))
    assert found == {"investigate": short, "credit": short, "resolve": long}


@pytest.mark.parametrize("facts", [{"place": "abroad"}, {"pos_debit": True}])
def test_abroad_and_at_a_point_of_sale_only_the_long_time_is_longer(facts: dict[str, Any]) -> None:
    assert due(decide(**facts)) == {
        "investigate": "2027-01-08 17:00",
        "credit": "2027-01-08 17:00",
        # 23 December and 90 days: 23 March; the clocks went forward on the 14th
        "resolve": "2027-03-24 00:00",
    }


def test_a_new_account_abroad_is_first_of_all_a_new_account() -> None:
    decision = decide(days_since_first_deposit=0, place="abroad", pos_debit=True)
    assert [fired.rule for fired in decision.fired][:2] == ["IN_TIME", "NEW_ACCOUNT"]


@pytest.mark.parametrize(("days", "covered"), [(59, True), (60, True), (61, False)])
def test_a_notice_comes_at_most_sixty_days_after_the_statement(days: int, covered: bool) -> None:
    decision = decide(days_since_statement=days)
    assert decision.outputs["covered"] is covered
    assert ("duties" in decision.outputs) is covered


@pytest.mark.parametrize(
    ("amount_minor", "credit"), [(0, 0), (4999, 0), (5000, 0), (5001, 1), (12000, 7000)]
)
def test_fifty_dollars_of_an_unauthorised_transfer_may_be_withheld(
    amount_minor: int, credit: int
) -> None:
    decision = decide(unauthorised=True, amount=money(amount_minor))
    assert decision.outputs["provisional_credit"] == {"amount_minor": credit, "currency": "usd"}
    whole = decide(amount=money(amount_minor)).outputs["provisional_credit"]
    assert whole == {"amount_minor": amount_minor, "currency": "usd"}


@pytest.mark.parametrize(
    ("confirmation", "first"),
    [("not_asked", True), ("awaited", True), ("received", True), ("missing", False)],
)
def test_only_a_missing_confirmation_spares_the_provisional_credit(
    confirmation: str, first: bool
) -> None:
    decision = decide(confirmation=confirmation)
    assert decision.outputs["credit_first"] is first
    assert ("credit" in due(decision)) is first
    assert "resolve" in due(decision)


@pytest.mark.parametrize(
    ("credited", "told"),
    [
        ("2027-01-07 09:00", "2027-01-11 17:00"),  # Thursday: Friday, Monday
        ("2027-01-08 13:00", "2027-01-12 17:00"),  # Friday: Monday, Tuesday
        ("2027-01-08 17:00", "2027-01-13 17:00"),  # as on Monday: Tuesday, Wednesday
        ("2027-01-14 09:00", "2027-01-19 17:00"),  # Friday, and Tuesday after the holiday
    ],
)
def test_the_consumer_hears_of_the_credit_in_two_business_days(credited: str, told: str) -> None:
    found = due(decide(credited=local(credited)))
    assert found == {"inform_of_credit": told, "resolve": "2027-02-07 00:00"}


@pytest.mark.parametrize(
    ("concluded", "one", "three"),
    [
        ("2027-01-05 10:00", "2027-01-06 17:00", "2027-01-08 17:00"),
        ("2027-01-15 13:00", "2027-01-19 17:00", "2027-01-21 17:00"),  # Friday before a holiday
        ("2026-12-24 10:00", "2026-12-28 17:00", "2026-12-30 17:00"),  # before Christmas
        ("2026-12-24 17:30", "2026-12-29 17:00", "2026-12-31 17:00"),  # as on the 28th
    ],
)
def test_an_error_is_corrected_in_one_business_day_and_reported_in_three(
    concluded: str, one: str, three: str
) -> None:
    at = local(concluded)
    assert due(decide(finding="error", concluded=at)) == {"correct": one, "report": three}
    assert due(decide(finding="other_error", concluded=at)) == {"correct": one, "explain": three}
    assert due(decide(finding="no_error", concluded=at)) == {"explain": three}


def test_items_are_honoured_for_five_business_days_after_a_credit_is_taken_back() -> None:
    facts: dict[str, Any] = {"finding": "no_error", "concluded": local("2027-02-01 13:00")}
    credited: dict[str, Any] = {"credited": local("2027-01-08 13:00")}
    notice: dict[str, Any] = {"reversal_notice": local("2027-02-11 13:00")}
    # 12 February, not the 15th, then 16-19
    assert due(decide(**facts, **credited, **notice)) == {
        "explain": "2027-02-04 17:00",
        "honour_items": "2027-02-19 17:00",
    }
    assert due(decide(**facts, **credited)) == {"explain": "2027-02-04 17:00"}
    assert due(decide(**facts, **notice)) == {"explain": "2027-02-04 17:00"}


def test_an_end_without_its_instant_is_an_error_that_names_it() -> None:
    with pytest.raises(FactError, match="concluded"):
        decide(finding="error")


def test_a_deadline_beyond_the_known_holidays_is_an_error_and_no_guess() -> None:
    assert decide("2029-12-10 10:00").outputs["investigate_by"].startswith("2029-12-24")
    with pytest.raises(FactError, match="notice_received"):
        decide("2029-12-20 10:00")


def test_deadlines_do_not_move_when_the_case_is_decided_again_later() -> None:
    first = decide()
    facts = facts_from_json(PACK, first.facts)
    later = PACK.decide(facts, local("2027-01-20 09:00"))
    assert later == first
    assert PACK.rule_books["reg_e"].unverified() == ()
