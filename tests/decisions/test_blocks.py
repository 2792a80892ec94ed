"""Data blocks of a pack and what the pack answers from them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from decisions import Pack, SlotRule
from decisions.blocks import Escalation
from decisions.durations import age, completed_months, parse_duration
from decisions.findings import Collector
from decisions.merge import merged
from decisions.source import Node
from domain.actors import Role
from domain.canonical import plain
from domain.cases import Channel
from domain.deadlines import DayZero
from domain.errors import InvalidRequest
from domain.money import Money
from tests.decisions.builders import (
    NOON,
    POLICIES,
    SMALL,
    SMALL_FACTS,
    changed,
    findings_of,
    money,
    shipped,
)

CALENDARS = ("ae", "es", "il", "kr", "nl", "sa", "us-banking")


def pack_including(*files: str) -> Pack:
    text = changed("currencies:", f"includes: [{', '.join(files)}]\ncurrencies:")
    return Pack.from_text(text, root=POLICIES)


@pytest.mark.parametrize(
    ("calendar", "last"),
    [
        ("sa", date(2027, 1, 6)),
        ("il", date(2027, 1, 6)),
        ("ae", date(2027, 1, 7)),
        ("us-banking", date(2027, 1, 8)),
        ("kr", date(2027, 1, 8)),
        ("es", date(2027, 1, 11)),
    ],
)
def test_ten_business_days_from_23_december_2026_end_where_the_country_says(
    calendar: str, last: date
) -> None:
    known = pack_including(f"calendars/{calendar}.yaml").calendar(calendar)
    received = datetime(2026, 12, 23, 9, tzinfo=UTC)
    assert known.date_after(received, 10) == last


@pytest.mark.parametrize("calendar", CALENDARS)
def test_a_shipped_calendar_covers_2026_to_2029_and_no_year_more(calendar: str) -> None:
    known = pack_including(f"calendars/{calendar}.yaml").calendar(calendar)
    assert (known.covers_from, known.covers_to) == (date(2026, 1, 1), date(2029, 12, 31))
    assert all(day.isoweekday() not in known.weekend for day in known.holidays)
    assert {day.year for day in known.holidays} == {2026, 2027, 2028, 2029}
    with pytest.raises(ValueError, match="publish a newer calendar"):
        known.date_after(datetime(2029, 12, 20, tzinfo=UTC), 15)


def test_banks_of_the_united_states_work_on_the_friday_before_a_saturday_holiday() -> None:
    known = pack_including("calendars/us-banking.yaml").calendar("us-banking")
    assert known.is_business_day(date(2026, 7, 3))
    assert not known.is_business_day(date(2027, 7, 5))
    assert known.cutoff == time(17)
    assert known.day_zero is DayZero.RECEIPT


def test_the_settlement_clock_looks_at_five_eight_and_ten_business_days() -> None:
    settlement = shipped("refund").settlement()
    assert settlement.looks == (5, 8, 10)
    assert (settlement.trace_every, settlement.trace_looks) == (5, 6)
    assert settlement.calendar.id == "us-banking"
    first, last = settlement.expected_dates(datetime(2026, 11, 30, 15, tzinfo=UTC))
    assert (first, last) == (date(2026, 12, 7), date(2026, 12, 14))


def test_a_pack_without_clocks_says_so() -> None:
    pack = Pack.from_text(SMALL)
    with pytest.raises(LookupError, match=r"has no timers\.settlement"):
        pack.settlement()
    with pytest.raises(LookupError, match="has no calendar None"):
        pack.calendar()
    with pytest.raises(LookupError, match="has no route 'x'"):
        pack.route("x")
    with pytest.raises(LookupError, match="has no text x in en"):
        pack.text("x", "en")


def test_routes_are_slots_with_roles_and_times() -> None:
    pack = shipped("refund")
    assert pack.route("auto") == ()
    assert pack.route("lead") == (SlotRule("lead", (Role.LEAD, Role.FINANCE), 10, (3,)),)
    assert [slot.id for slot in pack.route("finance_two")] == ["finance_first", "finance_second"]
    assert shipped("expense-log").route("supervisor") == (
        SlotRule("supervisor", (Role.LEAD,), 10, ()),
    )


def test_a_slot_may_escalate_to_further_roles() -> None:
    slot = "{id: a, roles: [lead], expires: 10bd, escalate: {after: 9bd, to: [finance]}}"
    pack = Pack.from_text(changed("currencies:", f"routes: {{r: [{slot}]}}\ncurrencies:"))
    assert pack.route("r") == (SlotRule("a", (Role.LEAD,), 10, (), Escalation(9, (Role.FINANCE,))),)


@pytest.mark.parametrize(
    ("role", "amount", "spent", "word"),
    [
        (Role.AGENT, money(20000), money(0), None),
        (Role.AGENT, money(20001), money(0), "up to 200.00 USD; this is 200.01 USD"),
        (Role.AGENT, money(20000), money(80000), None),
        (Role.AGENT, money(20000), money(80001), "may approve refunds of up to 1000.00 USD a day"),
        (Role.LEAD, money(100000), money(900000), None),
        (Role.LEAD, money(100001), money(0), "lead may approve a refund up to 1000.00 USD"),
        (Role.FINANCE, money(10000000), money(0), None),
        (Role.FINANCE, money(10000001), money(0), "finance may approve"),
        (Role.CUSTOMER, money(1), money(0), "customer may not approve a refund"),
        (Role.AGENT, money(60000, "kwd"), money(0, "kwd"), None),
        (Role.AGENT, money(60001, "kwd"), money(0, "kwd"), "up to 60.000 KWD; this is 60.001"),
        (Role.AGENT, money(1, "chf"), money(0, "chf"), "has no limit for a refund in CHF"),
    ],
)
def test_authority_is_role_and_kind_and_amount_and_day(
    role: Role, amount: Money, spent: Money, word: str | None
) -> None:
    why = shipped("refund").why_may_not(role, "refund", amount, spent)
    assert (why is None) if word is None else (why is not None and word in why)


def test_a_limit_that_is_not_written_down_is_a_refusal() -> None:
    why = shipped("refund").why_may_not(Role.LEAD, "fee_waiver", money(1), money(0))
    assert why == "lead may not approve a fee waiver"


@pytest.mark.parametrize("where", ["each", "per_day"])
def test_a_currency_with_one_limit_of_two_has_none(where: str) -> None:
    known = {"each": "{usd: 1, eur: 1}", "per_day": "{usd: 1, eur: 1}"}
    known[where] = "{usd: 1, eur: 1, chf: 1}"
    limit = f"{{role: lead, kind: refund, each: {known['each']}, per_day: {known['per_day']}}}"
    pack = Pack.from_text(changed("currencies:", f"authority: [{limit}]\ncurrencies:"))
    why = pack.why_may_not(Role.LEAD, "refund", money(1, "chf"), money(0, "chf"))
    assert why == "lead has no limit for a refund in CHF"


ATTRIBUTES = """\
attributes:
  card_tier:   {type: enum, values: [gold, silver]}
  pending:     {type: bool, required: false}
  account_age: {type: days, min: 0, required: false}
  since:       {type: date, required: false}
currencies:"""


def with_attributes(when: str = "{attributes.card_tier: gold}") -> Pack:
    text = changed("currencies:", ATTRIBUTES)
    text = changed("{tenure: {gte: 24}}", when, text)
    return Pack.from_text(changed("{plan: basic", "{attributes.card_tier: gold, plan: basic", text))


@pytest.mark.parametrize(
    ("unused_bps", "amount_minor"), [(0, 0), (1, 0), (10, 1), (3_333, 167), (10_000, 500)]
)
def test_what_was_not_used_is_given_back_by_the_callers_share(
    unused_bps: int, amount_minor: int
) -> None:
    share = "attributes: {unused_bps: {type: bps, min: 0, max: 10000}}\ncurrencies:"
    text = changed("currencies:", share)
    cap = "{of: price, bps: attributes.unused_bps, round: half_up}"
    text = changed("cap: {usd: 100, eur: 90}", f"cap: {cap}", text)
    pack = Pack.from_text(changed("{plan: basic", "{attributes.unused_bps: 0, plan: basic", text))
    facts = {**SMALL_FACTS, **pack.attribute_facts({"unused_bps": unused_bps})}
    assert pack.decide(facts, NOON).outputs["cap"] == plain(money(amount_minor))


def test_attributes_are_inputs_of_the_rules() -> None:
    pack = with_attributes()
    facts = {**SMALL_FACTS, **pack.attribute_facts({"card_tier": "silver", "since": "2026-01-02"})}
    assert facts["attributes.since"] == date(2026, 1, 2)
    assert facts["attributes.pending"] is None
    decision = pack.decide(facts, NOON)
    assert decision.rule == "REST"
    assert decision.facts["attributes.since"] == "2026-01-02"


@pytest.mark.parametrize(
    ("attributes", "field", "word"),
    [
        ({}, "attributes.card_tier", "is missing; allowed: gold, silver"),
        ({"card_tier": "golden"}, "attributes.card_tier", "golden is not allowed"),
        ({"card_tier": None}, "attributes.card_tier", "is null"),
        ({"card_tier": "gold", "pendng": True}, "attributes.pendng", "is no attribute"),
        ({"card_tier": "gold", "pending": 1}, "attributes.pending", "not allowed"),
        ({"card_tier": "gold", "account_age": -1}, "attributes.account_age", "-1 is not allowed"),
        ({"card_tier": "gold", "since": "soon"}, "attributes.since", "'soon' is not date"),
        ({"card_tier": "gold", "since": 5}, "attributes.since", "5 is not date"),
        ({"card_tier": ["gold"]}, "attributes.card_tier", "a list is not enum"),
    ],
)
def test_a_wrong_attribute_is_an_error_that_names_it(
    attributes: dict[str, Any], field: str, word: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        with_attributes().check_attributes(attributes)
    assert caught.value.field == field
    assert word in str(caught.value)


def test_good_attributes_pass() -> None:
    with_attributes().check_attributes({"card_tier": "gold", "pending": True})
    shipped("refund").check_attributes({})


CALENDAR = (
    'calendars: {c: {version: "1", zone: UTC, weekend: [sat, sun], '
    'covers: {from: "2026-01-01", to: "2026-12-31"}, holidays: []}}\ncurrencies:'
)
BROKEN = {
    "zone": (("zone: UTC", "zone: Mars/Olympus"), "unknown-value"),
    "weekend": (("[sat, sun]", "[saturday]"), "unknown-value"),
    "no business day": (("[sat, sun]", "[mon, tue, wed, thu, fri, sat, sun]"), "wrong-type"),
    "cutoff": (("zone: UTC", 'zone: UTC, cutoff: "25:00"'), "wrong-type"),
    "a cutoff with a zone": (("zone: UTC", 'zone: UTC, cutoff: "17:00Z"'), "wrong-type"),
    "day zero": (("zone: UTC", "zone: UTC, day_zero: never"), "unknown-value"),
    "holiday": (("holidays: []", 'holidays: [{date: "2027-01-01", name: x}]'), "out-of-range"),
    "a day twice": (
        ("holidays: []", 'holidays: [{date: "2026-05-01"}, {date: "2026-05-01"}]'),
        "duplicate-value",
    ),
    "no years": (('covers: {from: "2026-01-01", to: "2026-12-31"}, ', ""), "missing-key"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_calendar_is_told(name: str) -> None:
    (old, new), code = BROKEN[name]
    text = changed("currencies:", changed(old, new, CALENDAR))
    assert [f.code for f in findings_of(text)] == [code]


@pytest.mark.parametrize(
    ("block", "code"),
    [
        ("{min_business_days: 9, max_business_days: 8}", "empty-interval"),
        ("{min_business_days: 5, between: [5], max_business_days: 8}", "empty-interval"),
        ("{min_business_days: 5, between: [9], max_business_days: 8}", "empty-interval"),
        ("{min_business_days: 5}", "missing-key"),
        ("{min_business_days: -1, max_business_days: 8}", "out-of-range"),
        ("{min_business_days: 5, max_business_days: 8, on_max: nothing}", "unknown-value"),
        ("{min_business_days: 5, max_business_days: 8, trce: {}}", "unknown-key"),
        ("[5, 8]", "wrong-type"),
    ],
)
def test_a_broken_settlement_clock_is_told(block: str, code: str) -> None:
    timers = f"timers: {{calendar: c, settlement: {block}}}\n{CALENDAR}"
    assert [f.code for f in findings_of(changed("currencies:", timers))] == [code]


HOURS = 'hours: {open: "09:00", close: "18:00"}'


def with_timers(first_response: str) -> str:
    timers = f"timers: {{calendar: c, first_response: {first_response}}}\n{CALENDAR}"
    return changed("currencies:", timers)


def test_a_channel_has_its_own_clock_the_usual_one_or_none() -> None:
    text = with_timers(
        f"{{{HOURS}, phone: {{within: 15min}}, default: {{within: 480min}}, "
        'chat: {within: 5min, hours: {open: "00:00", close: "24:00"}}}'
    )
    friday = datetime(2026, 11, 27, 17, 50, tzinfo=UTC)
    pack = Pack.from_text(text)
    due = {channel: pack.first_response_due(channel, friday) for channel in Channel}
    assert due[Channel.PHONE] == datetime(2026, 11, 30, 9, 5, tzinfo=UTC)
    assert due[Channel.CHAT] == datetime(2026, 11, 27, 17, 55, tzinfo=UTC)
    others = {due[channel] for channel in set(Channel) - {Channel.PHONE, Channel.CHAT}}
    assert others == {datetime(2026, 11, 30, 16, 50, tzinfo=UTC)}
    no_default = Pack.from_text(with_timers(f"{{{HOURS}, phone: {{within: 15min}}}}"))
    assert no_default.first_response_due(Channel.PHONE, friday) == due[Channel.PHONE]
    assert no_default.first_response_due(Channel.LETTER, friday) is None
    assert Pack.from_text(SMALL).first_response_due(Channel.PHONE, friday) is None


def test_the_second_version_of_the_refund_rules_has_a_clock_for_every_channel() -> None:
    pack = Pack.load(POLICIES / "refund/v2.yaml")
    asked = datetime(2026, 11, 23, 15, tzinfo=UTC)  # a Monday, ten in New York
    waits = {c: pack.first_response_due(c, asked) for c in Channel}
    assert waits[Channel.PHONE] == asked + timedelta(minutes=15)
    assert waits[Channel.WEB] == asked + timedelta(hours=8)
    assert None not in waits.values()


@pytest.mark.parametrize(
    ("block", "code"),
    [
        ("»[15min]", "wrong-type"), (f"»{{{HOURS}}}", "missing-key"),
        ("{phone: »{within: 15min}}", "missing-key"), (f"{{{HOURS}, phone: »15min}}", "wrong-type"),
        (f"{{{HOURS}, phone: »{{}}}}", "missing-key"),
        (f"{{{HOURS}, phone: {{within: »1bd}}}}", "wrong-type"),
        (f"{{{HOURS}, phone: {{within: »15}}}}", "wrong-type"),
        (f"{{{HOURS}, phone: {{within: »0min}}}}", "out-of-range"),
        (f"{{{HOURS}, phone: {{within: »10001min}}}}", "out-of-range"),
        (f"{{{HOURS}, phone: {{within: 1min, »hour: 9}}}}", "unknown-key"),
        (f"{{{HOURS}, »fax: {{within: 15min}}, web: {{within: 15min}}}}", "unknown-key"),
        ('{web: {within: 1min, hours: »{open: "18:00", close: "18:00"}}}', "empty-interval"),
        ('{web: {within: 1min, hours: {open: »"9:00", close: "18:00"}}}', "wrong-type"),
        ('{web: {within: 1min, hours: {open: "09:00", close: »"24:01"}}}', "wrong-type"),
        ('{web: {within: 1min, hours: {open: "09:00", close: »18}}}', "wrong-type"),
        ('{web: {within: 1min, hours: »{open: "09:00"}}}', "missing-key"),
        ('{web: {within: 1min, hours: »"9-18"}}', "wrong-type"),
    ],
)  # fmt: skip
def test_a_broken_first_response_clock_is_told_in_its_place(block: str, code: str) -> None:
    before, _, after = with_timers(block).partition("»")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    found = [(f.line, f.column, f.code) for f in findings_of(before + after)]
    assert found == [(line, column, code)]


def test_the_longest_first_response_is_taken() -> None:
    pack = Pack.from_text(with_timers(f"{{{HOURS}, phone: {{within: 10000min}}}}"))
    assert pack.first_response_due(Channel.PHONE, datetime(2026, 3, 2, tzinfo=UTC)) is not None


def test_a_first_response_without_a_calendar_is_told() -> None:
    timers = f"timers: {{first_response: {{{HOURS}, phone: {{within: 15min}}}}}}\ncurrencies:"
    assert [f.code for f in findings_of(changed("currencies:", timers))] == ["missing-key"]


def test_catalogues_name_what_outputs_may_hold() -> None:
    cut = "cut: {kind: discount, limit_bps: 1000, months: 3}"
    catalogue = f"catalogues: {{offers: {{pause: {{kind: pause, months: 1}}, {cut}}}}}\n"
    text = changed("currencies:", catalogue + "currencies:")
    text = changed("outputs:", "outputs:\n  ladder: {type: list, of: catalogue.offers}", text)
    text = text.replace("then: {answer", "then: {ladder: [pause, cut], answer")
    pack = Pack.from_text(text)
    assert pack.catalogues["offers"]["pause"] == {"kind": "pause", "months": 1}
    wrong = text.replace("[pause, cut]", "[pause, kut]", 1)
    assert [(f.code, f.nearest) for f in findings_of(wrong)] == [("unknown-value", "cut")]
    unknown = text.replace("of: catalogue.offers", "of: catalogue.ofers")
    assert [f.nearest for f in findings_of(unknown)] == ["catalogue.offers"]


def test_a_list_of_includes_has_an_end(tmp_path: Path) -> None:
    into = Collector()
    names = tuple(Node(f"x{n}.yaml") for n in range(51))
    merged(Node({"includes": Node(names)}), tmp_path, into)
    assert [f.code for f in into.findings] == ["size"]


@pytest.mark.parametrize("text", ["90min", "30d", "10bd", "P6M", "P2Y"])
def test_lengths_are_written_in_one_way(text: str) -> None:
    assert str(parse_duration(text)) == text


@pytest.mark.parametrize("text", ["", "30", "1h", "P30D", "1 d", "-1d", "P1Y6M", "10BD", "1.5d"])
def test_other_ways_to_write_a_length_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no length of time"):
        parse_duration(text)


def test_months_are_completed_on_the_day_of_their_number() -> None:
    assert completed_months(date(2026, 1, 15), date(2026, 3, 14)) == 1
    assert completed_months(date(2026, 1, 15), date(2026, 3, 15)) == 2
    assert completed_months(date(2026, 3, 15), date(2026, 1, 15)) == -2


def test_an_instant_is_as_old_as_its_local_day() -> None:
    at = datetime(2026, 12, 1, 3, tzinfo=UTC)  # 30 November in New York
    assert age(at, at + timedelta(hours=3), "d", "America/New_York", None) == 1
    assert age(at, at + timedelta(hours=3), "d", "UTC", None) == 0
