"""Small random tables over every kind of input, and the facts at which they could go wrong."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import combinations, product
from typing import Any

from decisions.findings import Collector
from decisions.reader import Parts, read_pack
from decisions.source import node_of
from domain.money import Money

CURRENCIES = ("usd", "eur")
DAY = date(2026, 3, 10)
INPUTS: dict[str, dict[str, Any]] = {
    "plan": {"type": "enum", "values": ["basic", "pro", "trial"]},
    "tier": {"type": "enum", "values": ["gold", "silver"], "nullable": True},
    "count": {"type": "int", "min": 0, "max": 9},
    "since": {"type": "days", "min": 0, "max": 9, "nullable": True},
    "price": {"type": "money", "min": 0, "max": 20},
    "fee": {"type": "money", "min": 0, "max": 20, "nullable": True},
    "flags": {"type": "set", "values": ["vip", "staff", "risk"]},
    "marks": {"type": "set", "values": ["late", "lost"], "nullable": True},
    "stuck": {"type": "bool"},
    "due": {"type": "date", "min": "2026-03-01", "max": "2026-03-20", "nullable": True},
}


def _bound(chance: random.Random, name: str, kind: dict[str, Any]) -> Any:
    match kind["type"]:
        case "money":
            return {currency: chance.randint(0, 20) for currency in CURRENCIES}
        case "date":
            return (DAY + timedelta(days=chance.randint(-9, 10))).isoformat()
        case _:
            if name == "count" and chance.random() < 0.2:
                cases = {word: chance.randint(0, 9) for word in INPUTS["plan"]["values"]}
                return {"lookup": {"by": "plan", **cases}}
            return chance.randint(0, 9)


def _cell(chance: random.Random, name: str) -> Any:
    kind = INPUTS[name]
    if kind.get("nullable") and chance.random() < 0.2:
        return chance.choice([None, {"is_null": True}, {"is_null": False}])
    cell: dict[str, Any]
    match kind["type"]:
        case "bool":
            return chance.random() < 0.5
        case "enum":
            return chance.sample(kind["values"], chance.randint(1, len(kind["values"])))
        case "set":
            words = chance.sample(kind["values"], chance.randint(1, len(kind["values"])))
            cell = {chance.choice(["any_of", "subset"]): words}
        case "date" if chance.random() < 0.5:
            cell = {chance.choice(["older_than", "younger_than"]): f"{chance.randint(0, 9)}d"}
        case _:
            if kind["type"] == "int" and chance.random() < 0.2:
                return chance.sample(range(10), 3)
            cell = {
                operator: _bound(chance, name, kind)
                for operator in chance.choice([["lt"], ["gte"], ["gt", "lte"], ["eq"]])
            }
    if kind.get("nullable") and chance.random() < 0.3:
        cell["or_null"] = True
    return cell


def _when(chance: random.Random, names: list[str]) -> dict[str, Any]:
    chosen = chance.sample(names, chance.randint(1, min(3, len(names))))
    return {name: _cell(chance, name) for name in sorted(chosen)}


def document(chance: random.Random, hit: str, inputs: int) -> dict[str, Any]:
    """A pack of one table over a few of :data:`INPUTS` that reads without a finding."""
    while True:
        names = sorted({"plan", *chance.sample(sorted(INPUTS), inputs)})
        rules = [
            {"id": f"R{n}", "why": "random", "when": _when(chance, names), "then": {"out": n}}
            for n in range(chance.randint(2, 6))
        ]
        if chance.random() < 0.2:
            rules.append({"id": "LAST", "why": "rest", "when": {}, "then": {"out": 99}})
        gaps = [
            {"when": _when(chance, names), "why": "random"} for _ in range(chance.randint(0, 2))
        ]
        made = {
            "format": 1, "policy": "random", "version": 1, "effective_from": DAY.isoformat(),
            "owner": "tests", "currencies": list(CURRENCIES), "hit": hit,
            "inputs": {name: INPUTS[name] for name in names},
            "outputs": {"out": {"type": "int", "nullable": True}},
            "rules": rules, "accept_gaps": gaps,
        }  # fmt: skip
        into = Collector()
        read_pack(node_of(made), into)
        if not into.findings:
            return made


def in_one_currency(made: dict[str, Any]) -> dict[str, Any]:
    """The same rules in a pack of the first currency alone."""
    only, *others = CURRENCIES
    text = json.dumps({**made, "currencies": [only]})
    found: dict[str, Any] = json.loads(
        text, object_hook=lambda map: {k: v for k, v in map.items() if k not in others}
    )
    return found


def parts_of(made: dict[str, Any]) -> Parts:
    parts = read_pack(node_of(made), Collector())
    assert parts is not None
    return parts


def with_gaps_as_rules(made: dict[str, Any]) -> dict[str, Any]:
    """The same conditions, all of which fire where they hold; accepted gaps are G0, G1 …"""
    gaps = [
        {"id": f"G{n}", "why": "gap", "when": gap["when"], "then": {"out": 0}}
        for n, gap in enumerate(made["accept_gaps"])
    ]
    return {**made, "hit": "collect", "rules": [*made["rules"], *gaps], "accept_gaps": []}


def _numbers(value: Any) -> Iterator[int]:
    """Every whole number in a condition."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers(item)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value


def _corner_values(made: dict[str, Any], name: str, currency: str) -> list[Any]:
    kind = made["inputs"][name]
    null = [None] if kind.get("nullable") else []
    cells = [row["when"][name] for row in [*made["rules"], *made["accept_gaps"]]
             if name in row["when"]]  # fmt: skip
    match kind["type"]:
        case "bool":
            return [True, False]
        case "enum":
            return [*kind["values"], *null]
        case "set":
            words = kind["values"]
            sizes = range(len(words) + 1)
            return [frozenset(c) for size in sizes for c in combinations(words, size)] + null
        case "date":
            bounds = [date.fromisoformat(text) for cell in cells for text in _texts(cell)]
            near = {day + timedelta(days=n) for day in bounds for n in (-1, 0, 1)}
            ends = date.fromisoformat(kind["min"]), date.fromisoformat(kind["max"])
            return [day for day in sorted({*near, *ends}) if ends[0] <= day <= ends[1]] + null
        case _:
            named = {n for cell in cells for n in _numbers(cell)}
            beside = {n + step for n in named for step in (-1, 0, 1)}
            numbers = sorted({*beside, kind["min"], kind["max"]})
            inside = [n for n in numbers if kind["min"] <= n <= kind["max"]]
            if kind["type"] == "money":
                return [Money(amount_minor=n, currency=currency) for n in inside] + null
            return inside + null


def _texts(cell: Any) -> Iterator[str]:
    if isinstance(cell, dict):
        yield from (v for k, v in cell.items() if k in ("lt", "lte", "gt", "gte", "eq"))


def _ages(made: dict[str, Any]) -> list[int]:
    """The ages of ``due`` in days at which a rule begins or ends, and their neighbours."""
    cells = [row["when"].get("due") for row in [*made["rules"], *made["accept_gaps"]]]
    found = {0}
    for cell in cells:
        for key in ("older_than", "younger_than"):
            if isinstance(cell, dict) and key in cell:
                count = int(cell[key].removesuffix("d"))
                found |= {count - 1, count, count + 1}
    return sorted(found)


def noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


def corners(made: dict[str, Any], currency: str) -> Iterator[tuple[dict[str, Any], datetime]]:
    """Facts and moments: each bound, the value before and after it, each word, each set, null."""
    names = list(made["inputs"])
    for values in product(*(_corner_values(made, name, currency) for name in names)):
        facts = dict(zip(names, values, strict=True))
        if is_without_currency(made, facts):
            continue
        due = facts.get("due")
        for age in _ages(made) if due is not None else [0]:
            yield facts, noon((due or DAY) + timedelta(days=age))


def is_without_currency(made: dict[str, Any], facts: dict[str, Any]) -> bool:
    """Facts without any amount, where rules name amounts in several currencies: refused."""
    money = [name for name, kind in made["inputs"].items() if kind["type"] == "money"]
    cells = [row["when"].get(n) for row in [*made["rules"], *made["accept_gaps"]] for n in money]
    names_amounts = any(True for cell in cells for _ in _numbers(cell))
    is_open = len(made["currencies"]) > 1
    return is_open and names_amounts and all(facts[name] is None for name in money)


def anything(
    chance: random.Random, made: dict[str, Any], currency: str
) -> tuple[dict[str, Any], datetime]:
    """Random facts at a random moment."""
    while True:
        facts = _facts(chance, made, currency)
        if not is_without_currency(made, facts):
            return facts, noon(DAY + timedelta(days=chance.randint(-12, 20)))


def _facts(chance: random.Random, made: dict[str, Any], currency: str) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, kind in made["inputs"].items():
        if kind.get("nullable") and chance.random() < 0.2:
            facts[name] = None
            continue
        match kind["type"]:
            case "bool":
                facts[name] = chance.random() < 0.5
            case "enum":
                facts[name] = chance.choice(kind["values"])
            case "set":
                facts[name] = frozenset(w for w in kind["values"] if chance.random() < 0.5)
            case "date":
                facts[name] = DAY + timedelta(days=chance.randint(-9, 10))
            case "money":
                facts[name] = Money(amount_minor=chance.randint(0, 20), currency=currency)
            case _:
                facts[name] = chance.randint(0, 9)
    return facts
