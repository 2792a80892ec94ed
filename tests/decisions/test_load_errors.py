"""Every class of mistake in a policy file is told at its line and column, all at once."""

from __future__ import annotations

import pytest

from decisions import Pack, PolicyErrors
from decisions.findings import Finding
from tests.decisions.builders import SMALL, changed, findings_of

RULE = SMALL[SMALL.index("{id: LOYAL") : SMALL.index("\n  - {id: REST")]


def with_rule(rule: str) -> str:
    return changed(RULE, rule)


def with_when(when: str) -> str:
    return changed("{tenure: {gte: 24}}", when)


def with_cap(cap: str) -> str:
    return changed("cap: {usd: 100, eur: 90}", f"cap: {cap}")


def with_head(lines: str) -> str:
    return changed("currencies:", f"{lines}\ncurrencies:")


# A policy with one mistake; » stands where the finding must point. Then the finding's code
# and the nearest right word.
CASES = {
    "undefined input": (with_when("{»tenur: {gte: 24}}"), "undefined-input", "tenure"),
    "wrong type of a bound": (with_when("{tenure: {gte: »old}}"), "wrong-type", ""),
    "wrong type of a value": (with_when("{stuck: »1}"), "wrong-type", ""),
    "a word for a truth": (with_when("{stuck: »yes}"), "wrong-type", ""),
    "a test of another type": (with_when("{plan: {»gte: 2}}"), "unknown-key", ""),
    "a list for a set": (with_when("{flags: »[vip]}"), "wrong-type", ""),
    "a list of amounts": (with_when("{price: »[{usd: 1, eur: 1}]}"), "wrong-type", ""),
    "unknown enum value": (with_when("{plan: [»basik]}"), "unknown-value", "basic"),
    "an enum value twice": (with_when("{plan: [pro, »pro]}"), "duplicate-value", ""),
    "unknown word in a set": (with_when("{flags: {any_of: [»vipp]}}"), "unknown-value", "vip"),
    "any of nothing": (with_when("{flags: {any_of: »[]}}"), "empty-interval", ""),
    "sets at odds": (
        with_when("{flags: »{any_of: [vip], subset: [staff]}}"), "empty-interval", "",
    ),
    "empty interval": (with_when("{tenure: »{gte: 24, lt: 24}}"), "empty-interval", ""),
    "empty in one currency": (
        with_when("{price: »{gt: {usd: 1, eur: 9}, lt: {usd: 9, eur: 9}}}"), "empty-interval", "",
    ),
    "bound out of range": (with_when("{tenure: {gte: »601}}"), "out-of-range", ""),
    "money bound out of range": (
        with_when("{price: {gte: {usd: »-1, eur: 0}}}"), "out-of-range", "",
    ),
    "interval below the least": (with_when("{tenure: »{lt: 0}}"), "empty-interval", ""),
    "empty list": (with_when("{plan: »[]}"), "empty-interval", ""),
    "empty test": (with_when("{tenure: »{}}"), "wrong-type", ""),
    "null where never null": (with_when("{tenure: »null}"), "wrong-type", ""),
    "or_null where never null": (
        with_when("{tenure: {lt: 5, or_null: »true}}"), "wrong-type", "",
    ),
    "is_null beside a bound": (with_when("{since: »{lt: 5, is_null: true}}"), "wrong-type", ""),
    "null as a bound": (with_when("{since: {lt: »null}}"), "wrong-type", ""),
    "money without its map": (with_when("{price: {lte: »500}}"), "wrong-type", ""),
    "missing currency in a bound": (
        with_when("{price: {lte: »{usd: 500}}}"), "missing-currency", "",
    ),
    "missing currency in an output": (with_cap("»{usd: 100}"), "missing-currency", ""),
    "unknown currency": (with_cap("{usd: 1, »euro: 1, eur: 1}"), "unknown-currency", "eur"),
    "undeclared currency": (with_cap("{usd: 1, »gbp: 1, eur: 1}"), "unknown-currency", ""),
    "a float": (with_cap("{usd: »1.50, eur: 90}"), "float", ""),
    "a float as a bound": (with_when("{tenure: {gte: »24.0}}"), "float", ""),
    "an exponent": (with_cap("{usd: »1e3, eur: 90}"), "float", ""),
    "an odd number": (with_cap("{usd: »0100, eur: 90}"), "number", ""),
    "an underscore in a number": (with_cap("{usd: »1_000, eur: 90}"), "number", ""),
    "a huge number": (with_cap("{usd: »99999999999999999999, eur: 1}"), "out-of-range", ""),
    "missing output": (
        with_rule("{id: A, why: b, when: {plan: pro}, then: »{answer: yes}}"),
        "missing-output", "",
    ),
    "no outputs at all": (with_rule("»{id: A, why: b, when: {plan: pro}}"), "missing-key", ""),
    "no when": (
        with_rule("»{id: A, why: b, then: {answer: yes, cap: {usd: 1, eur: 1}}}"),
        "missing-key", "",
    ),
    "undefined output": (changed("answer: yes", "»anser: yes"), "undefined-output", "answer"),
    "unknown output value": (changed("answer: yes", "answer: »yess"), "unknown-value", "yes"),
    "duplicate rule id": (changed("id: REST", "id: »LOYAL"), "duplicate-id", ""),
    "duplicate key": (changed("version: 1", "version: 1\n»version: 2"), "duplicate-key", ""),
    "unknown key": (changed("owner: tests", "»ouner: tests"), "unknown-key", "owner"),
    "unknown key of a rule": (changed("why: two years", "»wy: two years"), "unknown-key", "why"),
    "no reason": (changed("{id: LOYAL, why: two years, ", "»{id: LOYAL, "), "missing-key", ""),
    "no format": (changed("format: 1", "format: »2"), "format", ""),
    "no version": (changed("format: 1", "»format: 1", changed("version: 1\n", "")),
                   "missing-key", ""),
    "a version that is no number": (changed("version: 1", "version: »v1"), "wrong-type", ""),
    "unknown type": (changed("{type: bool}", "{type: »boolean}"), "unknown-value", "bool"),
    "enum without values": (changed("{type: enum, values: [basic, pro]", "»{type: enum"),
                            "missing-key", ""),
    "a value declared twice": (changed("[basic, pro]", "[basic, »basic]"), "duplicate-value", ""),
    "least above most": (changed("{type: int, min: 0, max: 600}", "»{type: int, min: 9, max: 6}"),
                         "empty-interval", ""),
    "unquoted date": (changed('"2026-01-01"', "»2026-01-01"), "unquoted-date", ""),
    "a date that does not exist": (changed('"2026-01-01"', '»"2026-02-30"'), "wrong-type", ""),
    "unknown hit": (changed("rules:", "hit: »frist\nrules:"), "unknown-value", "first"),
    "unreachable rule": (
        changed("- {id: REST", "- »{id: REST", with_when("{}")), "unreachable", "",
    ),
    "open table": (changed("  - {id: L", "  »- {id: L", changed("when: {}", "when: {plan: basic}")),
                   "gap", ""),
    "a share without rounding": (with_cap("»{of: price, bps: 500}"), "missing-key", ""),
    "unknown rounding": (
        with_cap("{of: price, bps: 500, round: »half}"), "unknown-value", "half_up",
    ),
    "computed from another type": (with_cap("{of: »plan, times: 2}"), "wrong-type", ""),
    "computed from nothing": (with_cap("{of: »prize, times: 2}"), "undefined-input", "price"),
    "unknown operand": (with_cap("{of: price, »time: 2}"), "unknown-key", "times"),
    "an operand of another type": (with_cap("{of: price, max: »tenure}"), "wrong-type", ""),
    "a number as an amount": (with_cap("{of: price, max: »5}"), "wrong-type", ""),
    "incomplete lookup": (
        with_cap("{lookup: »{by: plan, basic: {usd: 1, eur: 1}}}"), "incomplete-lookup", "",
    ),
    "lookup by an unknown word": (
        with_cap("{lookup: {by: plan, basic: {usd: 1, eur: 1}, »por: {usd: 1, eur: 1}}}"),
        "unknown-value", "pro",
    ),
    "lookup by a number": (with_cap("{lookup: {by: »tenure}}"), "wrong-type", ""),
    "lookup by nothing": (with_cap("{lookup: {by: »plam}}"), "undefined-input", "plan"),
    "failed example": (changed("{rule: LOYAL}", "{rule: »REST}"), "failed-example", ""),
    "an example without an expectation": (changed("{rule: LOYAL}", "»{}"), "missing-key", ""),
    "an example of an unknown output": (
        changed("{rule: LOYAL}", "{»answr: yes}"), "undefined-output", "answer",
    ),
    "an example with an unknown input": (
        changed("tenure: 24, price", "»tenur: 24, price"), "undefined-input", "tenure",
    ),
    "an example that lacks a fact": (
        changed("given: {plan: basic, tenure: 24, ", "given: »{plan: basic, "),
        "failed-example", "",
    ),
    "an example in two currencies": (
        changed("{usd: 500}, since", "»{usd: 500, eur: 1}, since"), "wrong-type", "",
    ),
    "no examples": (changed("format: 1", "»format: 1", SMALL[: SMALL.index("examples:")]),
                    "no-examples", ""),
    "an empty list of examples": (
        SMALL[: SMALL.index("examples:")] + "examples: »[]\n", "no-examples", "",
    ),
    "undefined calendar": (with_head("timers: {calendar: »us}"), "undefined-calendar", ""),
    "an include that is not there": (with_head("includes: [»calendars/x.yaml]"), "include", ""),
    "a text in one language": (
        with_head("languages: [en, es]\ntexts:\n  a: »{en: hello}"), "missing-language", "",
    ),
    "a role that does not exist": (
        with_head("routes: {r: [{id: a, roles: [»boss], expires: 10bd}]}"), "unknown-value", "",
    ),
    "a slot without an end": (with_head("routes: {r: [»{id: a, roles: [lead]}]}"),
                              "missing-key", ""),
    "a reminder after the end": (
        with_head("routes: {r: [{id: a, roles: [lead], expires: 3bd, remind: [»3bd]}]}"),
        "empty-interval", "",
    ),
    "an escalation after the end": (
        with_head("routes: {r: [{id: a, roles: [lead], expires: 3bd, "
                  "escalate: {after: »3bd, to: [finance]}}]}"), "empty-interval", "",
    ),
    "an escalation to nobody": (
        with_head("routes: {r: [{id: a, roles: [lead], expires: 3bd, "
                  "escalate: »{after: 1bd}}]}"), "missing-key", "",
    ),
    "an escalation to who is asked already": (
        with_head("routes: {r: [{id: a, roles: [lead], expires: 3bd, "
                  "escalate: {after: 1bd, to: »[lead]}}]}"), "duplicate-id", "",
    ),
    "an escalation at no time": (
        with_head("routes: {r: [{id: a, roles: [lead], expires: 3bd, "
                  "escalate: »{to: [finance]}}]}"), "missing-key", "",
    ),
    "an escalation that is no map": (
        with_head("routes: {r: [{id: a, roles: [lead], expires: 3bd, escalate: »5bd}]}"),
        "wrong-type", "",
    ),
    "a length in another unit": (
        with_head("routes: {r: [{id: a, roles: [lead], expires: »3d}]}"), "wrong-type", "",
    ),
    "authority of an unknown kind": (
        with_head("authority: [{role: lead, kind: »refnd, each: {usd: 1, eur: 1}, "
                  "per_day: {usd: 1, eur: 1}}]"), "unknown-value", "refund",
    ),
    "authority without a daily limit": (
        with_head("authority: [»{role: lead, kind: refund, each: {usd: 1, eur: 1}}]"),
        "missing-key", "",
    ),
    "an attribute of no type": (with_head("attributes: {tier: »{required: true}}"),
                                "missing-key", ""),
    "an undefined attribute": (with_when("{»attributes.tier: gold}"), "undefined-input", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told_at_its_line_and_column(name: str) -> None:
    marked, code, nearest = CASES[name]
    before, _, after = marked.partition("»")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    found = [(f.code, f.line, f.column, f.nearest) for f in findings_of(before + after)]
    assert (code, line, column, nearest) in found


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told_once(name: str) -> None:
    marked, code, _ = CASES[name]
    found = [f.code for f in findings_of(marked.replace("»", ""))]
    assert found.count(code) == 1
    assert len(found) <= 2  # an unknown word often is a missing one too


def test_the_small_policy_itself_loads() -> None:
    assert Pack.from_text(SMALL).name == "small"


def test_all_mistakes_come_at_once() -> None:
    text = changed("{tenure: {gte: 24}}", "{tenur: {gte: 1.5}, plan: basik}")
    text = changed("usd: 0", "usd: none", text)
    codes = {f.code for f in findings_of(text)}
    assert {"undefined-input", "float", "unknown-value", "wrong-type"} <= codes


def test_a_finding_prints_as_file_line_and_column_with_the_nearest_word() -> None:
    [finding] = findings_of(with_when("{plan: basik}"))
    assert str(finding) == (
        "small.yaml:18:46: 'basik' is no value here; did you mean basic? (allowed: basic, pro)"
    )
    with pytest.raises(PolicyErrors) as caught:
        Pack.from_text(with_when("{plan: basik}"), "small.yaml")
    assert str(caught.value) == str(finding)


def test_a_bad_value_gets_one_finding_only() -> None:
    assert len(findings_of(with_cap("{usd: 1.5, eur: 90}"))) == 1


def test_findings_are_ordered_by_place() -> None:
    text = changed("owner: tests", "ouner: tests", changed("usd: 0", "usd: none"))
    places = [(f.line, f.column) for f in findings_of(text)]
    assert places == sorted(places)


def test_a_lookup_may_stand_in_a_bound_and_must_be_complete_there_too() -> None:
    whole = "{tenure: {gte: {lookup: {by: plan, basic: 24, pro: 12}}}}"
    assert Pack.from_text(with_when(whole)).name == "small"
    [finding] = findings_of(with_when("{tenure: {gte: {lookup: {by: plan, basic: 24}}}}"))
    assert (finding.code, finding.message) == ("incomplete-lookup", "the lookup by plan lacks pro")


def test_the_examples_of_a_wrong_policy_are_not_run() -> None:
    text = changed("{rule: LOYAL}", "{rule: REST}", with_when("{tenur: {gte: 24}}"))
    assert [f.code for f in findings_of(text)] == ["undefined-input"]


def test_a_failed_example_says_what_ruled_the_expected_rule_out() -> None:
    [finding] = findings_of(changed("tenure: 24, price", "tenure: 23, price"))
    assert finding.message == (
        "expected rule LOYAL, but rule REST fired; LOYAL was ruled out by tenure: 23, "
        "allowed at least 24"
    )


def test_two_findings_at_one_place_are_both_kept() -> None:
    one = Finding("a", 1, 1, "x", "one")
    other = Finding("a", 1, 1, "x", "two")
    assert PolicyErrors([other, one, one]).findings == (one, other)
