"""Random tables: the compiled tables decide as a naive reading of the document does."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from decisions import Pack, facts_from_json
from domain.canonical import canonical_json
from domain.decisions import Decision
from domain.money import Money
from tests.decisions.builders import NOON

INPUTS: dict[str, dict[str, Any]] = {
    "plan": {"type": "enum", "values": ["a", "b", "c"]},
    "tier": {"type": "enum", "values": ["x", "y"], "nullable": True},
    "count": {"type": "int", "min": 0, "max": 9},
    "since": {"type": "days", "min": 0, "max": 9, "nullable": True},
    "price": {"type": "money", "min": 0, "max": 9},
    "stuck": {"type": "bool"},
    "flags": {"type": "set", "values": ["p", "q", "r"]},
}
CURRENCIES = ["usd", "eur"]
FLAGS = ["p", "q", "r"]


def amounts(low: int, high: int) -> st.SearchStrategy[dict[str, int]]:
    return st.fixed_dictionaries({c: st.integers(low, high) for c in CURRENCIES})


@st.composite
def interval(draw: st.DrawFn, nullable: bool) -> dict[str, Any]:
    low = draw(st.integers(0, 9))
    high = draw(st.integers(low, 9))
    test: dict[str, Any] = draw(
        st.sampled_from(
            [{"gte": low, "lte": high}, {"gte": low}, {"lte": high}, {"eq": low}]
            + ([{"gt": low - 1}] if low else [])
            + ([{"lt": high + 1}] if high < 9 else [])
        )
    )
    if nullable and draw(st.booleans()):
        test = {**test, "or_null": True}
    return test


@st.composite
def looked_up(draw: st.DrawFn) -> dict[str, Any]:
    cases = {word: draw(st.integers(0, 9)) for word in INPUTS["plan"]["values"]}
    return {"gte": {"lookup": {"by": "plan", **cases}}}


@st.composite
def money_interval(draw: st.DrawFn) -> dict[str, Any]:
    low = draw(amounts(0, 9))
    high = {c: draw(st.integers(low[c], 9)) for c in CURRENCIES}
    return draw(st.sampled_from([{"gte": low}, {"lte": high}, {"gte": low, "lte": high}]))


def words(name: str) -> st.SearchStrategy[Any]:
    values = INPUTS[name]["values"]
    return st.lists(st.sampled_from(values), min_size=1, unique=True) | st.sampled_from(values)


CELLS: dict[str, st.SearchStrategy[Any]] = {
    "plan": words("plan"),
    "tier": words("tier") | st.none() | st.just({"is_null": False}),
    "count": interval(nullable=False) | looked_up() | st.integers(0, 9),
    "since": interval(nullable=True) | st.none() | st.just({"is_null": True}),
    "price": money_interval() | amounts(0, 9),
    "stuck": st.booleans(),
    "flags": st.lists(st.sampled_from(FLAGS), min_size=1, unique=True).map(lambda w: {"any_of": w})
    | st.lists(st.sampled_from(FLAGS), unique=True).map(lambda w: {"subset": w}),
}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    rules = []
    for number in range(draw(st.integers(1, 6))):
        names = draw(st.lists(st.sampled_from(sorted(CELLS)), max_size=3, unique=True))
        when = {name: draw(CELLS[name]) for name in names}
        # a rule for everything closes a table, so only the last one is
        rules.append({"id": f"R{number}", "why": "it says so", "when": when or {"stuck": True},
                      "then": {"out": number}})  # fmt: skip
    rules.append({"id": "REST", "why": "the rest", "when": {}, "then": {"out": 99}})
    return {
        "format": 1, "policy": "random", "version": 1, "effective_from": "2026-01-01",
        "owner": "tests", "currencies": CURRENCIES, "inputs": INPUTS,
        "hit": draw(st.sampled_from(["first", "collect"])),
        "outputs": {"out": {"type": "int", "min": 0, "max": 99}},
        "rules": rules,
    }  # fmt: skip


facts_strategy = st.fixed_dictionaries(
    {
        "plan": st.sampled_from(["a", "b", "c"]),
        "tier": st.sampled_from(["x", "y", None]),
        "count": st.integers(0, 9),
        "since": st.none() | st.integers(0, 9),
        "price": st.builds(
            lambda n, c: Money(amount_minor=n, currency=c),
            st.integers(0, 9),
            st.sampled_from(CURRENCIES),
        ),
        "stuck": st.booleans(),
        "flags": st.frozensets(st.sampled_from(FLAGS)),
    }
)


def meets(cell: Any, value: Any, facts: dict[str, Any]) -> bool:
    """The meaning of one cell, read from the document and nothing else."""
    if isinstance(value, frozenset):
        if "any_of" in cell:
            return bool(value & set(cell["any_of"]))
        return value <= set(cell["subset"])
    if isinstance(cell, list):
        return value in cell
    if not isinstance(cell, dict):
        return value is cell if isinstance(cell, bool) or cell is None else value == cell
    if "is_null" in cell:
        return (value is None) is cell["is_null"]
    if value is None:
        return bool(cell.get("or_null", False))
    if isinstance(value, Money) and set(cell) == set(CURRENCIES):
        return bool(value.amount_minor == cell[value.currency])
    number = value.amount_minor if isinstance(value, Money) else value
    for operator, bound in cell.items():
        if operator == "or_null":
            continue
        if isinstance(bound, dict) and "lookup" in bound:
            bound = bound["lookup"][facts[bound["lookup"]["by"]]]
        if isinstance(bound, dict):
            bound = bound[value.currency]
        holds = {
            "lt": number < bound, "lte": number <= bound, "gt": number > bound,
            "gte": number >= bound, "eq": number == bound,
        }[operator]  # fmt: skip
        if not holds:
            return False
    return True


def naive(document: dict[str, Any], facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The rules that hold, in order."""
    return [
        rule
        for rule in document["rules"]
        if all(meets(cell, facts[name], facts) for name, cell in rule["when"].items())
    ]


@settings(max_examples=120, deadline=None)
@given(documents(), st.lists(facts_strategy, min_size=1, max_size=8))
def test_a_compiled_table_decides_as_a_naive_reading_does(
    document: dict[str, Any], cases: list[dict[str, Any]]
) -> None:
    pack = Pack.from_content(canonical_json(document))
    for facts in cases:
        holding = naive(document, facts)
        decision = pack.decide(facts, NOON)
        if document["hit"] == "collect":
            assert [f.rule for f in decision.fired] == [rule["id"] for rule in holding]
            assert decision.outputs == {"out": [rule["then"]["out"] for rule in holding]}
            missed = [rule for rule in document["rules"] if rule not in holding]
        else:
            assert decision.rule == holding[0]["id"]
            assert decision.outputs == holding[0]["then"]
            missed = document["rules"][: document["rules"].index(holding[0])]
        assert [line.rule for line in decision.trace] == [rule["id"] for rule in missed]
        for line, rule in zip(decision.trace, missed, strict=True):
            when = rule["when"]
            assert line.input == min(n for n in when if not meets(when[n], facts[n], facts))
        assert decision == pack.decide(facts, NOON)
        assert pack.decide(facts, NOON, trace=False) == decision.model_copy(update={"trace": ()})


@settings(max_examples=40, deadline=None)
@given(documents(), facts_strategy)
def test_stored_facts_decide_again_to_the_same(
    document: dict[str, Any], facts: dict[str, Any]
) -> None:
    pack = Pack.from_content(canonical_json(document))
    decision = pack.decide(facts, NOON)
    stored = Decision.model_validate_json(decision.model_dump_json())
    again = Pack.from_content(pack.content)
    restored = facts_from_json(again, stored.facts)
    assert restored == facts
    assert again.decide(restored, NOON) == decision
