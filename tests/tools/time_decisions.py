"""Development only: how long a decision takes, on 30 rules x 8 inputs and on what is shipped.

python -m tests.tools.time_decisions
"""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

from decisions import Pack
from domain.canonical import canonical_json
from domain.money import Money
from tests.decisions.builders import NOON, REFUND_FACTS, shipped


def thirty_by_eight(seed: int) -> tuple[Pack, list[dict[str, Any]]]:
    """30 rules of three conditions over 8 inputs, and 2,000 random facts."""
    dice = random.Random(seed)
    words = ["a", "b", "c", "d"]
    inputs: dict[str, Any] = {
        "plan": {"type": "enum", "values": words},
        "reason": {"type": "enum", "values": words},
        "stuck": {"type": "bool"},
        "tenure": {"type": "int", "min": 0, "max": 600},
        "age": {"type": "days", "min": 0, "max": 36500},
        "since": {"type": "days", "min": 0, "max": 36500, "nullable": True},
        "share": {"type": "bps", "min": 0, "max": 10000},
        "price": {"type": "money", "min": 0},
    }
    cells: dict[str, Any] = {
        "plan": lambda: dice.sample(words, 2),
        "reason": lambda: dice.sample(words, 2),
        "stuck": lambda: dice.random() < 0.5,
        "tenure": lambda: {"gte": dice.randrange(200, 600)},
        "age": lambda: {"lt": dice.randrange(1, 9000)},
        "since": lambda: {"lt": dice.randrange(1, 9000)},
        "share": lambda: {"gte": dice.randrange(5000, 9000)},
        "price": lambda: {"lte": {"usd": dice.randrange(1, 30000)}},
    }
    rules = [
        {"id": f"R{n}", "why": "because", "then": {"out": n},
         "when": {name: cells[name]() for name in dice.sample(sorted(cells), 3)}}
        for n in range(29)
    ]  # fmt: skip
    rules.append({"id": "REST", "why": "the rest", "when": {}, "then": {"out": 99}})
    document = {
        "format": 1, "policy": "timing", "version": 1, "effective_from": "2026-01-01",
        "owner": "bench", "currencies": ["usd"], "inputs": inputs, "rules": rules,
        "outputs": {"out": {"type": "int"}},
    }  # fmt: skip
    facts = [
        {
            "plan": dice.choice(words), "reason": dice.choice(words), "stuck": dice.random() < 0.5,
            "tenure": dice.randrange(600), "age": dice.randrange(36500),
            "since": dice.choice([None, dice.randrange(36500)]), "share": dice.randrange(10000),
            "price": Money(amount_minor=dice.randrange(100000), currency="usd"),
        }
        for _ in range(2000)
    ]  # fmt: skip
    return Pack.from_content(canonical_json(document)), facts


def measure(name: str, pack: Pack, cases: list[dict[str, Any]], trace: bool) -> None:
    """Median and 95th percentile of the calmest of several rounds over all cases."""
    rounds = []
    lines = sum(len(pack.decide(facts, NOON, trace).trace) for facts in cases) // len(cases)
    for _ in range(15):
        spent = []
        for facts in cases:
            began = time.perf_counter_ns()
            pack.decide(facts, NOON, trace)
            spent.append(time.perf_counter_ns() - began)
        spent.sort()
        rounds.append((statistics.median(spent), spent[-len(spent) // 20]))
    p50, p95 = (int(value) // 100 / 10 for value in min(rounds))
    print(f"{name:28} trace {trace!s:5} p50 {p50:6} p95 {p95:6} µs, {lines} lines a decision")


def main() -> None:
    pack, cases = thirty_by_eight(1)
    refund = shipped("refund")
    for trace in (True, False):
        measure("30 rules x 8 inputs", pack, cases, trace)
        measure("refund (4 tables, 31 rules)", refund, [REFUND_FACTS] * 2000, trace)


if __name__ == "__main__":
    main()
