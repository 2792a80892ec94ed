"""Cancelling in California, Minnesota and Germany: what may be offered, what is owed by when."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from domain.canonical import parse_instant
from domain.decisions import Decision
from tests.decisions.builders import shipped

CALIFORNIA = shipped("cancellation-us-ca")
MINNESOTA = shipped("cancellation-us-mn")
GERMANY = shipped("cancellation-de")
NEW_YORK = ZoneInfo("America/New_York")
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def due(decision: Decision, zone: ZoneInfo) -> dict[str, str]:
    return {
        entry["id"]: parse_instant(entry["due"]).astimezone(zone).strftime("%Y-%m-%d %H:%M")
        for entry in decision.outputs["duties"]
    }


def california(declared: str = "2026-12-24 10:00", **facts: Any) -> Decision:
    usual = {
        "consumer": True, "contracted": date(2025, 7, 1), "channel": "online",
        "last_reminder": date(2026, 3, 10),
    }  # fmt: skip
    now = at(declared, NEW_YORK)
    return CALIFORNIA.decide({**usual, "declared": now, **facts}, now)


@pytest.mark.parametrize(
    ("channel", "mode", "may_cut_short"),
    [
        ("online", "simultaneous_cancel", False),
        ("phone", "simultaneous_cancel", True),
        ("voicemail", "forbidden_in_flow", False),
        ("email", "side_by_side", True),
        ("letter", "side_by_side", True),
    ],
)
def test_in_california_the_cancel_control_stands_with_the_offer(
    channel: str, mode: str, may_cut_short: bool
) -> None:
    outputs = california(channel=channel).outputs
    assert (outputs["mode"], outputs["may_cut_short"]) == (mode, may_cut_short)
    assert outputs["cancel_medium"] == "same_as_signup"


@pytest.mark.parametrize(
    ("contracted", "rule"),
    [
        (date(2025, 6, 30), "OLD_CONTRACT"),
        (date(2025, 7, 1), "ONLINE"),
        (date(2025, 7, 2), "ONLINE"),
    ],
)
def test_the_amendment_binds_contracts_of_july_2025_and_later(contracted: date, rule: str) -> None:
    assert california(contracted=contracted).rule == rule


def test_a_business_in_california_may_be_made_any_offer() -> None:
    outputs = california(consumer=False, channel="voicemail").outputs
    assert outputs["mode"] == "free"
    assert outputs.get("duties") is None


@pytest.mark.parametrize(
    ("left", "by"),
    [
        ("2026-12-01 10:00", "2026-12-02 17:00"),  # Tuesday
        ("2026-12-01 16:59", "2026-12-02 17:00"),
        ("2026-12-01 17:00", "2026-12-03 17:00"),  # counts as Wednesday
        ("2026-11-25 10:00", "2026-11-27 17:00"),  # the day before Thanksgiving
        ("2026-11-25 17:00", "2026-11-30 17:00"),  # counts as Friday
        ("2026-12-24 10:00", "2026-12-28 17:00"),  # Christmas and a weekend
        ("2026-12-26 10:00", "2026-12-29 17:00"),  # Saturday counts as Monday
    ],
)
def test_a_message_on_voicemail_is_called_back_in_one_business_day(left: str, by: str) -> None:
    decision = california(left, channel="voicemail")
    assert due(decision, NEW_YORK) == {"call_back": by}
    [fired] = [fired for fired in decision.fired if fired.table == "duties"]
    assert fired.why.endswith("(not verified: US-CA.voicemail_response)")


@pytest.mark.parametrize(
    ("last", "following"),
    [
        (date(2026, 3, 10), "2027-03-11 00:00"),
        (date(2026, 12, 31), "2028-01-01 00:00"),
        (date(2028, 2, 29), "2029-03-01 00:00"),
    ],
)
def test_the_reminder_comes_round_every_year(last: date, following: str) -> None:
    found = parse_instant(california(last_reminder=last).outputs["next_reminder"])
    assert found.astimezone(NEW_YORK).strftime("%Y-%m-%d %H:%M") == following


@pytest.mark.parametrize(
    ("consumer", "cancelled", "agreed", "expected"),
    [
        # mode, may ask, may offer, after the end
        (True, False, "not_asked", ("forbidden_in_flow", False, False, "with_consent")),
        (True, False, "agreed", ("forbidden_in_flow", False, False, "with_consent")),
        (True, False, "refused", ("forbidden_in_flow", False, False, "with_consent")),
        (True, True, "not_asked", ("forbidden_in_flow", True, False, "with_consent")),
        (True, True, "agreed", ("forbidden_in_flow", False, True, "with_consent")),
        (True, True, "refused", ("forbidden_in_flow", False, False, "with_consent")),
        (False, False, "not_asked", ("free", True, True, "free")),
        (False, False, "refused", ("free", True, True, "free")),
        (False, True, "refused", ("free", True, True, "free")),
    ],
)
def test_in_minnesota_an_offer_waits_for_the_end_and_for_consent(
    consumer: bool, cancelled: bool, agreed: str, expected: tuple[Any, ...]
) -> None:
    now = datetime(2026, 12, 1, 12, tzinfo=UTC)
    facts = {"consumer": consumer, "cancelled": cancelled, "agreed": agreed}
    decision = MINNESOTA.decide(facts, now)
    names = ("mode", "may_ask", "may_offer", "after_cancel")
    assert tuple(decision.outputs[name] for name in names) == expected
    doubt = "(not verified: US-MN.offers_after_cancel, US-MN.offers_mode)"
    assert decision.why.endswith(doubt) is consumer


def germany(declared: str = "2026-12-01 13:00", **facts: Any) -> Decision:
    usual = {
        "consumer": True, "asks": "cancel", "channel": "website", "sold_online": True,
        "contracted": date(2026, 3, 2),
    }  # fmt: skip
    now = at(declared, BERLIN)
    return GERMANY.decide({**usual, "declared": now, **facts}, now)


def flow(decision: Decision) -> tuple[Any, ...]:
    names = ("mode", "most_steps", "login", "survey", "blockers")
    return tuple(decision.outputs[name] for name in names)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, ("side_by_side", 2, "never", "optional", "ignored")),
        ({"channel": "phone"}, ("side_by_side", None, "never", "optional", "ignored")),
        ({"channel": "email"}, ("side_by_side", None, "never", "optional", "ignored")),
        ({"sold_online": False}, ("side_by_side", None, "never", "optional", "ignored")),
        ({"consumer": False}, ("free", None, "allowed", "allowed", "allowed")),
        (
            {"asks": "withdraw", "contracted": date(2026, 11, 30)},
            ("forbidden_in_flow", 2, "never", "optional", "ignored"),
        ),
    ],
)
def test_in_germany_a_consumer_cancels_in_two_steps_without_a_login(
    facts: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    assert flow(germany(**facts)) == expected


def test_a_german_cancellation_is_stored_and_confirmed_at_once() -> None:
    decision = germany("2026-12-01 13:00")
    now = "2026-12-01 13:00"
    assert due(decision, BERLIN) == {"store_declaration": now, "confirm": now}
    [fired] = [fired for fired in decision.fired if fired.table == "duties"]
    assert fired.why.endswith("(not verified: DE.cancellation_receipt)")


# a contract of 17 November: its fourteenth day after is 1 December, to the last second
@pytest.mark.parametrize(
    ("contracted", "declared", "path"),
    [
        (date(2026, 11, 18), "2026-12-01 13:00", "withdrawal"),
        (date(2026, 11, 17), "2026-12-01 00:00", "withdrawal"),
        (date(2026, 11, 17), "2026-12-01 23:59", "withdrawal"),
        (date(2026, 11, 17), "2026-12-02 00:00", "cancellation"),
        (date(2026, 11, 16), "2026-12-01 13:00", "cancellation"),
    ],
)
def test_a_german_consumer_withdraws_up_to_the_fourteenth_day(
    contracted: date, declared: str, path: str
) -> None:
    asked = germany(declared, asks="withdraw", contracted=contracted)
    assert asked.outputs["path"] == path
    assert germany(declared, contracted=contracted).outputs["path"] == "cancellation"
    business = germany(declared, asks="withdraw", contracted=contracted, consumer=False)
    assert business.outputs["path"] == "cancellation"


def test_the_days_in_the_rule_are_the_days_of_the_clock() -> None:
    within = GERMANY.rule_books["EU"].clocks["withdrawal"].within
    assert str(within) == "14d"
    declared = "2026-12-01 13:00"
    last = date(2026, 12, 1) - timedelta(days=within.count)
    paths = [
        germany(declared, asks="withdraw", contracted=day).outputs["path"]
        for day in (last, last - timedelta(days=1))
    ]
    assert paths == ["withdrawal", "cancellation"]


@pytest.mark.parametrize(
    ("declared", "refunded"),
    [
        ("2026-12-01 13:00", "2026-12-16 00:00"),
        ("2026-12-01 23:59", "2026-12-16 00:00"),
        ("2026-12-02 00:00", "2026-12-17 00:00"),
        ("2027-03-20 10:00", "2027-04-04 00:00"),  # over the start of summer time
    ],
)
def test_a_german_withdrawal_is_receipted_at_once_and_refunded_in_fourteen_days(
    declared: str, refunded: str
) -> None:
    contracted = at(declared, BERLIN).astimezone(BERLIN).date()
    decision = germany(declared, asks="withdraw", contracted=contracted)
    assert due(decision, BERLIN) == {
        "store_declaration": declared,
        "confirm": declared,
        "refund": refunded,
    }
    [fired] = [fired for fired in decision.fired if fired.table == "duties"]
    assert fired.why.endswith("(not verified: DE.refund)")
