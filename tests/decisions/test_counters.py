"""Counters as a pack declares them; tests/ledger/test_counters.py computes them from books."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from decisions import FactError, Pack
from domain.cases import EventKind
from tests.decisions.builders import NOON, SMALL_FACTS, changed, findings_of, money

COUNT = (
    "{type: count, of: decided, where: {kind: refund, outcome: [open, refunded]}, "
    "within: P12M, per: customer}"
)


def counting(declared: str) -> str:
    text = changed("  stuck:", f"  given: {declared}\n  stuck:")
    fact = "{usd: 0}" if "type: sum" in declared else "0"
    return text.replace("given: {plan", f"given: {{given: {fact}, plan")


def test_a_count_is_a_whole_number_and_says_what_it_counts() -> None:
    pack = Pack.from_text(counting(COUNT))
    counter = pack.counters["given"]
    assert (counter.of, counter.per, counter.is_sum) == (EventKind.DECIDED, "customer", False)
    assert counter.where == (("kind", ("refund",)), ("outcome", ("open", "refunded")))
    assert counter.since(datetime(2026, 12, 1, 12, tzinfo=UTC), "UTC") == datetime(
        2025, 12, 2, tzinfo=UTC
    )
    assert pack.decide({**SMALL_FACTS, "given": 7}, NOON).facts["given"] == 7
    with pytest.raises(FactError, match="given: -1 is not allowed"):
        pack.decide({**SMALL_FACTS, "given": -1}, NOON)
    with pytest.raises(FactError, match="given: is missing"):
        pack.decide(SMALL_FACTS, NOON)


def test_a_sum_is_money_in_the_currency_of_the_decision() -> None:
    text = counting("{type: sum, of: accepted, within: 180d, per: agent}")
    pack = Pack.from_text(changed("{tenure: {gte: 24}}", "{given: {gte: {usd: 5, eur: 4}}}", text)
                          .replace("{given: {usd: 0}", "{given: {usd: 5}"))  # fmt: skip
    assert pack.counters["given"].is_sum
    for amount, rule in ((money(4), "REST"), (money(5), "LOYAL"), (money(6), "LOYAL")):
        assert pack.decide({**SMALL_FACTS, "given": amount}, NOON).rule == rule
    with pytest.raises(FactError, match="is in EUR; allowed: USD"):
        pack.decide({**SMALL_FACTS, "given": money(5, "eur")}, NOON)


@pytest.mark.parametrize(
    ("declared", "code", "nearest"),
    [
        ("{type: count, of: »decide, within: P1Y, per: customer}", "unknown-value", "decided"),
        ("{type: sum, of: »looked, within: P1Y, per: customer}", "unknown-value", "closed"),
        ("{type: count, of: decided, within: »P1W, per: customer}", "wrong-type", ""),
        ("{type: count, of: decided, within: »10bd, per: customer}", "wrong-type", ""),
        ("{type: count, of: decided, within: »0d, per: customer}", "wrong-type", ""),
        ("{type: count, of: decided, within: P1Y, per: »custmer}", "unknown-value", "customer"),
        ("»{type: count, within: P1Y, per: customer}", "missing-key", ""),
        ("»{type: count, of: decided, per: customer}", "missing-key", ""),
        ("»{type: count, of: decided, within: P1Y}", "missing-key", ""),
        ("{type: count, of: decided, within: P1Y, per: customer, »max: 5}", "unknown-key", ""),
        ("{type: count, of: decided, within: P1Y, per: customer, where: »[refund]}",
         "wrong-type", ""),
        ("{type: count, of: decided, within: P1Y, per: customer, where: {»outcom: closed}}",
         "unknown-key", "outcome"),
        ("{type: count, of: decided, within: P1Y, per: customer, where: {outcome: »refund}}",
         "unknown-value", "refunded"),
        ("{type: count, of: decided, within: P1Y, per: customer, where: {outcome: »[]}}",
         "empty-interval", ""),
        ("{type: count, of: decided, within: P1Y, per: customer, where: {kind: [refund, »fee]}}",
         "unknown-value", ""),
        ("{type: count, of: decided, within: P1Y, per: customer, where: {reason: »5}}",
         "wrong-type", ""),
        ("{type: »counter, of: decided, within: P1Y, per: customer}", "unknown-value", "count"),
    ],
)  # fmt: skip
def test_a_broken_counter_is_told_in_its_place(declared: str, code: str, nearest: str) -> None:
    before, _, after = counting(declared).partition("»")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    found = [(f.line, f.column, f.code, f.nearest) for f in findings_of(before + after)]
    assert (line, column, code, nearest) in found


def test_the_words_of_where_are_those_of_the_packs_own_input() -> None:
    declared = "{type: count, of: decided, where: {reason: corteous}, within: P1Y, per: customer}"
    assert Pack.from_text(counting(declared)).counters["given"].where
    words = "  reason: {type: enum, values: [courtesy, other]}\n"
    text = changed("  stuck:", f"{words}  stuck:", counting(declared))
    text = changed("given: {given", "given: {reason: other, given", text)
    [finding] = findings_of(text)
    assert (finding.code, finding.nearest) == ("unknown-value", "courtesy")
