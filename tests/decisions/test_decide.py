# ruff: noqa: E501 - a rule of a policy stands on one line
"""Deciding: conditions, nulls, stages, hit policies, facts that are wrong, traces."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
from pydantic import ValidationError

from decisions import FactError, Pack, Undecided
from domain.decisions import Decision, TraceLine
from domain.money import Money
from tests.decisions.builders import (
    NOON,
    SMALL,
    SMALL_FACTS,
    changed,
    findings_of,
    money,
    unchecked,
)


def small(when: str) -> Pack:
    """The small policy whose one rule has this ``when``."""
    return unchecked(changed("{tenure: {gte: 24}}", when))


def fires(when: str, **facts: Any) -> bool:
    return small(when).decide({**SMALL_FACTS, **facts}, NOON).rule == "LOYAL"


class Plan(StrEnum):
    PRO = "pro"


CONDITIONS: list[tuple[str, dict[str, Any], bool]] = [
    ("{stuck: true}", {"stuck": True}, True),
    ("{stuck: true}", {"stuck": False}, False),
    ("{plan: pro}", {"plan": "pro"}, True),
    ("{plan: pro}", {"plan": Plan.PRO}, True),
    ("{plan: [pro, basic]}", {"plan": "basic"}, True),
    ("{plan: [pro]}", {"plan": "basic"}, False),
    ("{tenure: 24}", {"tenure": 24}, True),
    ("{tenure: 24}", {"tenure": 25}, False),
    ("{tenure: [1, 3]}", {"tenure": 3}, True),
    ("{tenure: [1, 3]}", {"tenure": 2}, False),
    ("{tenure: {gt: 24}}", {"tenure": 24}, False),
    ("{tenure: {gt: 24}}", {"tenure": 25}, True),
    ("{tenure: {gte: 24}}", {"tenure": 23}, False),
    ("{tenure: {lt: 24}}", {"tenure": 23}, True),
    ("{tenure: {lt: 24}}", {"tenure": 24}, False),
    ("{tenure: {lte: 24}}", {"tenure": 24}, True),
    ("{tenure: {lte: 24}}", {"tenure": 25}, False),
    ("{tenure: {gte: 5, lt: 9}}", {"tenure": 8}, True),
    ("{tenure: {gte: 5, lt: 9}}", {"tenure": 9}, False),
    ("{since: null}", {"since": None}, True),
    ("{since: null}", {"since": 0}, False),
    ("{since: {is_null: true}}", {"since": None}, True),
    ("{since: {is_null: false}}", {"since": None}, False),
    ("{since: {is_null: false}}", {"since": 3}, True),
    ("{since: {lt: 180}}", {"since": None}, False),
    ("{since: {gte: 0}}", {"since": None}, False),
    ("{since: {gte: 180, or_null: true}}", {"since": None}, True),
    ("{since: {gte: 180, or_null: true}}", {"since": 179}, False),
    ("{since: {gte: 180, or_null: true}}", {"since": 180}, True),
    ("{since: [3, null]}", {"since": None}, True),
    ("{price: {lte: {usd: 500, eur: 400}}}", {"price": money(500)}, True),
    ("{price: {lte: {usd: 500, eur: 400}}}", {"price": money(500, "eur")}, False),
    ("{price: {lte: {usd: 500, eur: 400}}}", {"price": money(400, "eur")}, True),
    ("{price: {usd: 500, eur: 400}}", {"price": money(500)}, True),
    ("{price: {usd: 500, eur: 400}}", {"price": money(501)}, False),
    ("{flags: {any_of: [vip, staff]}}", {"flags": frozenset({"vip", "risk"})}, True),
    ("{flags: {any_of: [vip, staff]}}", {"flags": frozenset({"risk"})}, False),
    ("{flags: {any_of: [vip, staff]}}", {"flags": frozenset[str]()}, False),
    ("{flags: {subset: [vip, staff]}}", {"flags": frozenset({"vip"})}, True),
    ("{flags: {subset: [vip, staff]}}", {"flags": frozenset({"vip", "risk"})}, False),
    ("{flags: {subset: []}}", {"flags": frozenset[str]()}, True),
    ("{flags: {any_of: [vip], subset: [vip, staff]}}", {"flags": frozenset({"staff"})}, False),
    ("{tenure: {gte: {lookup: {by: plan, basic: 24, pro: 12}}}}", {"plan": "pro", "tenure": 12}, True),
    ("{tenure: {gte: {lookup: {by: plan, basic: 24, pro: 12}}}}", {"plan": "basic", "tenure": 12}, False),
]  # fmt: skip


@pytest.mark.parametrize(("when", "facts", "expected"), CONDITIONS)
def test_a_condition_holds_exactly_where_it_says(
    when: str, facts: dict[str, Any], expected: bool
) -> None:
    assert fires(when, **facts) is expected


WRONG_FACTS: list[tuple[str, Any, str]] = [
    ("plan", "gold", "gold is not allowed"),
    ("plan", None, "is null"),
    ("plan", 3, "3 is not allowed"),
    ("plan", ["basic"], "a list is not enum"),
    ("tenure", "24", "24 is not allowed"),
    ("tenure", True, "True is not allowed"),
    ("tenure", 601, "601 is not allowed"),
    ("tenure", -1, "-1 is not allowed"),
    ("tenure", None, "is null"),
    ("since", 1001, "1001 is not allowed"),
    ("price", 500, "500 is not allowed"),
    ("price", Money(amount_minor=-1, currency="usd"), "-0.01 USD is not allowed"),
    ("price", Money(amount_minor=1, currency="gbp"), "is in GBP"),
    ("price", {"amount_minor": 1, "currency": "usd"}, "a dict is not money"),
    ("flags", frozenset({"vap"}), "a frozenset is not set"),
    ("flags", ["vip"], "a list is not set"),
    ("stuck", 1, "not allowed"),
    ("stuck", None, "is null"),
    ("stuck", "true", "true is not allowed"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG_FACTS)
def test_a_wrong_fact_is_an_error_that_names_it(name: str, value: Any, message: str) -> None:
    pack = Pack.from_text(SMALL)
    with pytest.raises(FactError) as caught:
        pack.decide({**SMALL_FACTS, name: value}, NOON)
    assert caught.value.fact == name
    assert message in caught.value.message
    assert caught.value.allowed


@pytest.mark.parametrize("name", SMALL_FACTS)
def test_a_missing_fact_is_an_error_that_names_it(name: str) -> None:
    pack = Pack.from_text(SMALL)
    facts = {key: value for key, value in SMALL_FACTS.items() if key != name}
    with pytest.raises(FactError, match=f"{name}: is missing"):
        pack.decide(facts, NOON)


def test_facts_that_the_policy_does_not_declare_are_not_read() -> None:
    decision = Pack.from_text(SMALL).decide({**SMALL_FACTS, "shoe_size": 43}, NOON)
    assert "shoe_size" not in decision.facts


def test_the_trace_names_for_each_earlier_rule_the_one_input_that_ruled_it_out() -> None:
    pack = small("{tenure: {gte: 24}, plan: pro, price: {lt: {usd: 5, eur: 5}}}")
    decision = pack.decide(SMALL_FACTS, NOON)
    assert decision.trace == (
        TraceLine(table="small", rule="LOYAL", input="plan", seen="basic", allowed="pro"),
    )
    later = pack.decide({**SMALL_FACTS, "plan": "pro"}, NOON)
    assert later.trace == (
        TraceLine(
            table="small", rule="LOYAL", input="price", seen="5.00 USD", allowed="under 0.05 USD"
        ),
    )


def test_the_trace_of_a_looked_up_bound_shows_the_bound_that_counted() -> None:
    pack = small("{tenure: {gte: {lookup: {by: plan, basic: 24, pro: 12}}}}")
    [line] = pack.decide({**SMALL_FACTS, "plan": "pro", "tenure": 11}, NOON).trace
    assert (line.input, line.seen, line.allowed) == ("tenure", "11", "at least 12")
    [line] = pack.decide({**SMALL_FACTS, "tenure": 12}, NOON).trace
    assert (line.input, line.seen, line.allowed) == ("tenure", "12", "at least 24")


def test_without_a_trace_the_decision_is_the_same() -> None:
    pack = Pack.from_text(SMALL)
    facts = {**SMALL_FACTS, "tenure": 3}
    quick, full = pack.decide(facts, NOON, trace=False), pack.decide(facts, NOON)
    assert quick == full.model_copy(update={"trace": ()})
    assert full.trace


def test_a_decision_is_the_same_every_time_and_shares_nothing_with_the_next() -> None:
    pack = Pack.from_text(SMALL)
    first = pack.decide(SMALL_FACTS, NOON)
    kept = first.model_dump_json()
    first.outputs["cap"]["amount_minor"] = 7
    first.fired[0].outputs["answer"] = "?"
    assert pack.decide(SMALL_FACTS, NOON).model_dump_json() == kept


def test_a_decision_is_a_whole_model_although_it_is_built_without_validation() -> None:
    decision = Pack.from_text(SMALL).decide({**SMALL_FACTS, "tenure": 3}, NOON)
    validated = Decision.model_validate(decision.model_dump())
    for quick, full in ((decision, validated), (decision.fired[0], validated.fired[0])):
        assert quick == full
        assert repr(quick) == repr(full)
        assert quick.model_fields_set == full.model_fields_set
        assert quick.model_copy(deep=True) == full
    assert decision.trace[0] == validated.trace[0]
    with pytest.raises(ValidationError, match="frozen"):
        decision.rule = "OTHER"  # type: ignore[misc]


def test_a_decision_survives_json() -> None:
    decision = Pack.from_text(SMALL).decide(SMALL_FACTS, NOON)
    assert Decision.model_validate_json(decision.model_dump_json()) == decision
    assert Decision.model_validate(decision.model_dump()) == decision


STAGED = """\
format: 1
policy: staged
version: 1
effective_from: "2026-01-01"
owner: tests
currencies: [usd]
inputs:
  old:   {type: bool}
  asked: {type: money, min: 0}
tables:
  - table: verdict
    outputs: {verdict: {type: enum, values: [approve, refuse]}}
    rules:
      - {id: OLD, why: too old, when: {old: true}, then: {verdict: refuse}}
      - {id: FINE, why: fine, when: {}, then: {verdict: approve}}
  - table: amount
    when: {verdict.verdict: approve}
    outputs: {amount: {type: money, min: 0}}
    rules:
      - {id: HALF, why: half of it, when: {}, then: {amount: {of: asked, bps: 5000, round: half_even}}}
  - table: route
    when: {verdict.verdict: approve}
    inputs: {granted: {from: amount.amount}}
    outputs: {route: {type: enum, values: [auto, lead]}}
    rules:
      - {id: SMALL, why: small, when: {granted: {lte: {usd: 100}}}, then: {route: auto}}
      - {id: LARGE, why: large, when: {}, then: {route: lead}}
  - table: tags
    hit: collect
    outputs: {tag: {type: enum, values: [big, odd, fine]}}
    rules:
      - {id: BIG, why: big, when: {amount.amount: {gt: {usd: 50}}}, then: {tag: big}}
      - {id: OLD, why: old, when: {old: true}, then: {tag: odd}}
      - {id: ALL, why: all, when: {}, then: {tag: fine}}
examples:
  - {given: {old: false, asked: {usd: 201}}, expect: {rule: FINE, rules: {route: SMALL, tags: [BIG, ALL]}, amount: {usd: 100}, tag: [big, fine]}}
  - {given: {old: true, asked: {usd: 201}}, expect: {rule: OLD, verdict: refuse, rules: {tags: [OLD, ALL]}}}
"""


def test_later_tables_use_the_results_of_earlier_ones() -> None:
    pack = Pack.from_text(STAGED)
    decision = pack.decide({"old": False, "asked": money(203)}, NOON)
    assert [(f.table, f.rule) for f in decision.fired] == [
        ("verdict", "FINE"), ("amount", "HALF"), ("route", "LARGE"), ("tags", "BIG"),
        ("tags", "ALL"),
    ]  # fmt: skip
    assert decision.rule == "FINE"
    assert decision.outputs == {
        "verdict": "approve",
        "amount": {"amount_minor": 102, "currency": "usd"},
        "route": "lead",
        "tag": ["big", "fine"],
    }
    [line] = [line for line in decision.trace if line.table == "route"]
    assert (line.input, line.seen, line.allowed) == ("granted", "1.02 USD", "at most 1.00 USD")


def test_a_guarded_table_is_skipped_and_its_results_are_null() -> None:
    decision = Pack.from_text(STAGED).decide({"old": True, "asked": money(900)}, NOON)
    assert decision.outputs == {"verdict": "refuse", "tag": ["odd", "fine"]}
    [line] = [line for line in decision.trace if line.table == "tags"]
    assert (line.rule, line.seen) == ("BIG", "null")


def test_a_table_cannot_use_a_later_one_or_one_that_gathers_many() -> None:
    later = changed("when: {old: true}", "when: {route.route: auto}", STAGED)
    assert [f.code for f in findings_of(later)] == ["undefined-input"]
    itself = changed("when: {granted: {", "when: {route.route: auto, granted: {", STAGED)
    assert [f.code for f in findings_of(itself)] == ["undefined-input"]


def test_two_tables_cannot_answer_under_one_name() -> None:
    text = changed("outputs: {tag: {", "outputs: {route: {type: bool}, tag: {", STAGED)
    assert "duplicate-id" in {f.code for f in findings_of(text)}


def test_every_table_needs_an_example_that_reaches_it() -> None:
    text = STAGED.replace(STAGED[STAGED.index("  - {given: {old: false") :], "")
    text += "  - {given: {old: true, asked: {usd: 1}}, expect: {rule: OLD}}\n"
    assert [f.message for f in findings_of(text)] == [
        "no example reaches table amount",
        "no example reaches table route",
    ]


def with_hit(hit: str, second: str, extra: str = "") -> str:
    text = changed("rules:", f"hit: {hit}\n{extra}rules:")
    return changed("when: {}", f"when: {second}", text)


def test_two_rules_under_unique_decide_nothing() -> None:
    gap = "accept_gaps: [{when: {tenure: {lt: 24}, plan: basic}, why: nobody asked yet}]\n"
    pack = unchecked(with_hit("unique", "{plan: pro}", gap))
    assert pack.decide(SMALL_FACTS, NOON).rule == "LOYAL"
    with pytest.raises(Undecided, match="more than one rule holds: LOYAL, REST"):
        pack.decide({**SMALL_FACTS, "plan": "pro"}, NOON)


def test_an_accepted_gap_answers_null_and_any_other_gap_is_an_error() -> None:
    gap = "accept_gaps: [{when: {tenure: {lt: 10}, plan: basic}, why: nobody asked yet}]\n"
    pack = unchecked(with_hit("first", "{plan: pro}", gap))
    decision = pack.decide({**SMALL_FACTS, "tenure": 9}, NOON)
    assert decision.outputs == {"answer": None, "cap": None}
    assert (decision.rule, decision.fired) == ("", ())
    assert [line.rule for line in decision.trace] == ["LOYAL", "REST"]
    with pytest.raises(Undecided, match="no rule holds, and no accepted gap does"):
        pack.decide({**SMALL_FACTS, "tenure": 10}, NOON)


def test_money_facts_of_two_currencies_are_never_judged_together() -> None:
    text = changed("  plan: ", "  cost:   {type: money, min: 0}\n  plan: ")
    text = changed("{plan: basic, tenure", "{cost: {usd: 1}, plan: basic, tenure", text)
    with pytest.raises(FactError, match="price: is in EUR; allowed: USD, as cost is"):
        Pack.from_text(text).decide(
            {**SMALL_FACTS, "cost": money(1), "price": money(1, "eur")}, NOON
        )


def test_without_declared_currencies_a_currency_that_no_rule_names_is_a_wrong_fact() -> None:
    pack = Pack.from_text(changed("currencies: [usd, eur]\n", ""))
    assert pack.decide({**SMALL_FACTS, "price": money(1, "eur")}, NOON).rule == "LOYAL"
    with pytest.raises(FactError, match="price: the rules name no amount in gbp"):
        pack.decide({**SMALL_FACTS, "price": money(1, "gbp")}, NOON)


def test_an_accepted_gap_may_look_its_bound_up() -> None:
    bound = "{gte: {lookup: {by: plan, basic: 20, pro: 3}}, lt: 24}"
    gap = f"accept_gaps: [{{when: {{tenure: {bound}}}, why: nobody asked yet}}]\n"
    pack = unchecked(with_hit("first", "{tenure: {lt: 3}}", gap))
    assert pack.decide({**SMALL_FACTS, "plan": "pro", "tenure": 3}, NOON).rule == ""
    assert pack.decide({**SMALL_FACTS, "plan": "basic", "tenure": 20}, NOON).rule == ""
    with pytest.raises(Undecided):
        pack.decide({**SMALL_FACTS, "plan": "basic", "tenure": 19}, NOON)
