"""How long one decision takes, with and without its explanation."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from decisions.pack import Pack
from domain.money import Money

RULES, INPUTS = 30, 8
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class DecisionFigures:
    """Microseconds a decision; decisions a second by the median."""

    with_trace_p50_us: int
    with_trace_p95_us: int
    without_p50_us: int
    without_p95_us: int

    @property
    def per_second_with(self) -> int:
        return 1_000_000 // max(self.with_trace_p50_us, 1)

    @property
    def per_second_without(self) -> int:
        return 1_000_000 // max(self.without_p50_us, 1)


def table_text() -> str:
    """A pack of one table, 30 rules over 8 inputs; most facts fall through many rules."""
    lines = [
        "format: 1", "policy: bench", "version: 1", 'effective_from: "2026-01-01"',
        "owner: bench", "hit: first", "inputs:",
        "  plan: {type: enum, values: [basic, pro, enterprise, trial]}",
        "  reason: {type: enum, values: [price, competitor, missing, other]}",
        "  tenure: {type: int, min: 0, max: 600}",
        "  amount: {type: money, min: 0, max: 100000000}",
        "  age: {type: days, min: 0, max: 36500}",
        "  margin: {type: bps, min: -10000, max: 10000}",
        "  chargeback: {type: bool}",
        "  last_offer: {type: days, min: 0, max: 36500, nullable: true}",
        "outputs: {route: {type: enum, values: [auto, agent, lead, finance]}}",
        "rules:",
    ]  # fmt: skip
    plans, reasons = ("basic", "pro", "enterprise"), ("price", "competitor", "missing")
    routes = ("auto", "agent", "lead", "finance")
    lines += [
        f"  - {{id: R{n:02d}, why: rule {n}, when: {{plan: [{plans[n % 3]}], "
        f"reason: [{reasons[n % 2]}, missing], tenure: {{gte: {n * 18}, lt: {n * 18 + 9}}}, "
        f"amount: {{lte: {{usd: {(n + 1) * 3000}}}}}, age: {{lt: {400 - n}}}, "
        f"margin: {{gte: {-5000 + n * 200}}}, chargeback: false, "
        f"last_offer: {{gte: {n}}}}}, then: {{route: {routes[n % 4]}}}}}"
        for n in range(RULES - 1)
    ]
    lines.append("  - {id: LAST, why: nothing else, when: {}, then: {route: lead}}")
    lines += [
        "examples:",
        "  - {given: {plan: trial, reason: other, tenure: 1, amount: {usd: 1}, age: 1, margin: 0, "
        "chargeback: true, last_offer: null}, expect: {rule: LAST}}",
    ]
    return "\n".join(lines) + "\n"


def facts(seed: int, count: int) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    return [
        {
            "plan": chance.choice(("basic", "pro", "enterprise", "trial")),
            "reason": chance.choice(("price", "competitor", "missing", "other")),
            "tenure": chance.randrange(600),
            "amount": Money(amount_minor=chance.randrange(100_000), currency="usd"),
            "age": chance.randrange(500),
            "margin": chance.randrange(-10_000, 10_000),
            "chargeback": chance.random() < 1 / 10,
            "last_offer": chance.choice((None, chance.randrange(400))),
        }
        for _ in range(count)
    ]


def measure(seed: int, count: int = 20_000) -> DecisionFigures:
    """Both arms over the same facts, alternating one by one."""
    pack = Pack.from_text(table_text())
    took: dict[bool, list[int]] = {True: [], False: []}
    for given in facts(seed, count):
        for trace in (True, False):
            start = time.perf_counter_ns()
            pack.decide(given, NOW, trace)
            took[trace].append(time.perf_counter_ns() - start)
    return DecisionFigures(
        with_trace_p50_us=_at(took[True], 50),
        with_trace_p95_us=_at(took[True], 95),
        without_p50_us=_at(took[False], 50),
        without_p95_us=_at(took[False], 95),
    )


def _at(nanoseconds: list[int], percent: int) -> int:
    return round(statistics.quantiles(nanoseconds, n=100)[percent - 1] / 1000)
