"""The analysis against evaluation at every corner of random tables: it is exact both ways."""

from __future__ import annotations

import random
from datetime import datetime
from itertools import combinations
from typing import Any

import pytest

from decisions import Pack, Undecided
from decisions.analysis import Problem, analyse
from domain.canonical import canonical_json
from domain.money import Money
from tests.decisions.random_tables import (
    anything,
    corners,
    document,
    in_one_currency,
    parts_of,
    with_gaps_as_rules,
)

FEW = range(48)
MANY = range(1000, 2000)
HITS = ("first", "unique", "collect")


def pack_of(made: dict[str, Any]) -> Pack:
    return Pack.from_content(canonical_json(made))


def holding(pack: Pack, facts: dict[str, Any], now: datetime) -> list[str]:
    return [fired.rule for fired in pack.decide(facts, now, trace=False).fired]


def seen_at_corners(made: dict[str, Any], currency: str) -> set[tuple[str, ...]]:
    """Every combination of rules and accepted gaps that holds at some corner."""
    pack = pack_of(with_gaps_as_rules(made))
    return {tuple(holding(pack, *corner)) for corner in corners(made, currency)}


def wanted(made: dict[str, Any], seen: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """What evaluation shows to be wrong: the code and the rules or the gap concerned."""
    ids = [rule["id"] for rule in made["rules"]]
    rules = {names: [name for name in names if name in ids] for names in seen}
    hit = made["hit"]
    firing = {name for names in rules.values() for name in (names[:1] if hit == "first" else names)}
    found: set[tuple[str, ...]] = {("unreachable", name) for name in ids if name not in firing}
    if hit == "unique":
        pairs = {pair for names in rules.values() for pair in combinations(names, 2)}
        found |= {("overlap", other, one) for one, other in pairs}
    if hit != "collect" and () in seen:
        found.add(("gap",))
    open_to = {name for names in seen if not rules[names] for name in names}
    for number in range(len(made["accept_gaps"])):
        if hit == "collect" or f"G{number}" not in open_to:
            found.add(("no-gap", str(number)))
    return found


def told(problems: list[Problem], currency: str) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for problem in problems:
        if not problem.currencies or currency in problem.currencies:
            gap = () if problem.gap is None else (str(problem.gap),)
            rules = problem.rules[:1] if problem.code == "unreachable" else problem.rules
            found.add((problem.code, *rules, *gap))
    return found


def check_witness(made: dict[str, Any], problem: Problem, chance: random.Random) -> None:
    """The facts of a witness, whatever is added to them, show what the problem says."""
    witness = problem.witness
    assert witness is not None
    currency = problem.currencies[0] if problem.currencies else "usd"
    facts, _ = anything(chance, made, currency)
    for name, fact in witness.facts.items():
        # where no rule names an amount, the witness has one in whatever currency
        is_money = isinstance(fact, Money)
        facts[name] = fact.model_copy(update={"currency": currency}) if is_money else fact
    holds = holding(pack_of(with_gaps_as_rules(made)), facts, witness.at)
    if problem.code == "gap":
        assert holds == []
        with pytest.raises(Undecided, match="no rule holds"):
            pack_of(made).decide(facts, witness.at)
    elif problem.code == "overlap":
        assert set(problem.rules) <= set(holds)
        with pytest.raises(Undecided, match="more than one rule holds"):
            pack_of(made).decide(facts, witness.at)
    else:
        # the rules named cover it together; one that is not needed for that may come first
        assert set(problem.rules[1:]) & set(holds)
        assert problem.rules[0] in holds
        assert pack_of(made).decide(facts, witness.at).rule == holds[0] != problem.rules[0]


def check(seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    check_table(document(chance, HITS[seed % 3], inputs=2), chance)


def check_table(made: dict[str, Any], chance: random.Random) -> None:
    parts = parts_of(made)
    problems = analyse(parts.tables[0], parts)
    for currency in made["currencies"]:
        assert told(problems, currency) == wanted(made, seen_at_corners(made, currency))
    for problem in problems:
        if problem.witness is not None:
            check_witness(made, problem, chance)
        else:
            assert problem.code == "no-gap" or problem.rules[1:] == ()


@pytest.mark.parametrize("seed", FEW)
def test_the_analysis_tells_what_evaluation_at_every_corner_shows(seed: int) -> None:
    check(seed)


def test_in_one_currency_no_amount_at_all_is_a_corner_too() -> None:
    missed = 0
    for seed in FEW:
        chance = random.Random(seed)
        both = document(chance, HITS[seed % 3], inputs=2)
        made = in_one_currency(both)
        print(f"seed {seed}")
        check_table(made, chance)
        missed += seen_at_corners(made, "usd") != seen_at_corners(both, "usd")
    assert missed, "no table here tells the corner from the others"


@pytest.mark.deep
def test_the_analysis_tells_what_a_thousand_tables_show_at_every_corner() -> None:
    for seed in MANY:
        check(seed)


def test_the_random_tables_have_every_kind_of_problem_and_none() -> None:
    counted: dict[str, int] = {}
    for seed in FEW:
        made = document(random.Random(seed), HITS[seed % 3], inputs=2)
        parts = parts_of(made)
        problems = analyse(parts.tables[0], parts)
        for code in {problem.code for problem in problems} or {"none"}:
            counted[code] = counted.get(code, 0) + 1
    assert counted.keys() == {"unreachable", "overlap", "gap", "no-gap", "none"}
