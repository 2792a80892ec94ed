"""Policies: one table beside other engines, the load of many, the analysis, a million cases."""

from __future__ import annotations

import json
import random
import resource
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cel as rust_cel
from cel_expr_python import cel
from zen import ZenEngine

from bench.decisions import INPUTS, NOW, RULES, facts, table_text
from decisions.analysis import analyse
from decisions.findings import Collector
from decisions.library import Library
from decisions.pack import Pack
from decisions.reader import Parts, read_pack
from decisions.source import Node, parse

PROCESSES = 2
SIGNS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}

Decide = Callable[[dict[str, Any]], str]
"""From facts in an engine's own types to the id of the rule that fires."""


@dataclass(frozen=True)
class PolicyFigures:
    """Medians: microseconds a decision by engine (all over the same facts, in turns),
    milliseconds of the load and of the analysis; a run over two versions, with the greatest
    memory of a process in MiB."""

    engines: dict[str, float]
    facts: int
    load_ms: float
    policies: int
    analysis_ms: float
    closed_analysis_ms: float
    cases: int
    seconds: float
    peak_mib: float
    changed: int


def _document(text: str) -> Node:
    node = parse(text, "bench.yaml", Collector())
    if node is None:
        raise AssertionError("the bench's own table cannot be read")
    return node


def _parts(text: str) -> Parts:
    parts = read_pack(_document(text), Collector())
    if parts is None:
        raise AssertionError("the bench's own table has findings")
    return parts


def plain(given: dict[str, Any]) -> dict[str, Any]:
    """Facts as the other engines take them: the amount in minor units."""
    return {**given, "amount": given["amount"].amount_minor}


def cel_expressions(document: dict[str, Any]) -> list[str]:
    """The table in CEL, each expression a chain of choices that ends in an empty text.

    Ten rules in one: the checked CEL engine refuses chains of 32.
    """
    rules = document["rules"]
    return [_chain(rules[start : start + 10]) for start in range(0, len(rules), 10)]


def _chain(rules: list[dict[str, Any]]) -> str:
    text = "''"
    for rule in reversed(rules):
        parts = []
        for name, cell in rule["when"].items():
            if isinstance(cell, list):
                parts.append(f"{name} in {cell!r}")
            elif isinstance(cell, bool):
                parts.append(f"{name} == {str(cell).lower()}")
            else:
                parts.append(f"{name} != null")
                for sign, bound in cell.items():
                    number = bound["usd"] if isinstance(bound, dict) else bound
                    parts.append(f"{name} {SIGNS[sign]} {number}")
        text = f"({' && '.join(parts) or 'true'}) ? {rule['id']!r} : ({text})"
    return text


def zen_content(document: dict[str, Any]) -> dict[str, Any]:
    """The table as a decision table of the zen engine."""
    names = list(document["inputs"])
    rows = []
    for rule in document["rules"]:
        row = {"_id": rule["id"], "out": json.dumps(rule["id"])}
        for name in names:
            row[name] = _zen_cell(rule["when"].get(name))
        rows.append(row)
    table = {
        "hitPolicy": "first",
        "inputs": [{"id": name, "name": name, "field": name} for name in names],
        "outputs": [{"id": "out", "name": "rule", "field": "rule"}],
        "rules": rows,
    }
    nodes = [
        {"id": "in", "name": "in", "type": "inputNode", "content": {}},
        {"id": "table", "name": "table", "type": "decisionTableNode", "content": table},
        {"id": "end", "name": "end", "type": "outputNode", "content": {}},
    ]
    edges = [
        {"id": f"{one}-{other}", "sourceId": one, "targetId": other, "type": "edge"}
        for one, other in (("in", "table"), ("table", "end"))
    ]
    return {"contentType": "application/vnd.gorules.decision", "nodes": nodes, "edges": edges}


def _zen_cell(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, list):
        return ", ".join(json.dumps(word) for word in cell)
    if isinstance(cell, bool):
        return json.dumps(cell)
    tests = []
    for sign, bound in cell.items():
        number = bound["usd"] if isinstance(bound, dict) else bound
        tests.append(f"$ {SIGNS[sign]} {number}")
    return " and ".join(["$ != null", *tests])


def engines() -> dict[str, tuple[Decide, bool]]:
    """Every engine over the same table; True where it takes plain facts."""
    text = table_text()
    document = _document(text).plain()
    pack = Pack.from_text(text)
    texts = cel_expressions(document)
    env = cel.NewEnv(variables=dict.fromkeys(document["inputs"], cel.Type.DYN))
    checked = [env.compile(text) for text in texts]
    programs = [rust_cel.compile(text) for text in texts]
    decision = ZenEngine().create_decision(json.dumps(zen_content(document)))
    return {
        "this engine": (lambda given: pack.decide(given, NOW, False).rule, False),
        "this engine, with its explanation": (lambda given: pack.decide(given, NOW).rule, False),
        "cel-expr-python": (
            lambda given: _first(e.eval(data=given).plain_value() for e in checked),
            True,
        ),
        "common-expression-language": (
            lambda given: _first(p.execute(given) for p in programs),
            True,
        ),
        "zen-engine": (lambda given: str(decision.evaluate(given)["result"]["rule"]), True),
    }


def _first(answers: Iterator[Any]) -> str:
    """The first answer that is no empty text; later ones are not computed."""
    return next((str(answer) for answer in answers if answer), "")


def compare(seed: int, count: int) -> dict[str, float]:
    """Median microseconds a decision by engine. Raises ``AssertionError`` when two differ."""
    arms = engines()
    took: dict[str, list[int]] = {name: [] for name in arms}
    for given in facts(seed, count):
        other = plain(given)
        answers = {}
        for name, (decide, is_plain) in arms.items():
            start = time.perf_counter_ns()
            answers[name] = decide(other if is_plain else given)
            took[name].append(time.perf_counter_ns() - start)
        if len(set(answers.values())) != 1:
            raise AssertionError(f"the engines differ on {given}: {answers}")
    return {name: statistics.median(each) / 1000 for name, each in took.items()}


def load_ms(count: int) -> float:
    """Milliseconds to load a directory of ``count`` policies, examples and analysis included."""
    with tempfile.TemporaryDirectory() as name:
        for number in range(count):
            path = Path(name) / "policies" / f"bench-{number}" / "v1.yaml"
            path.parent.mkdir(parents=True)
            text = table_text().replace("policy: bench", f"policy: bench-{number}", 1)
            path.write_text(text, encoding="utf-8")
        (Path(name) / "policies" / "LOCK.json").write_text("{}", encoding="utf-8")
        start = time.perf_counter()
        loaded = Library.load(Path(name) / "policies")
        took = time.perf_counter() - start
    if len(loaded.packs) != count:
        raise AssertionError("a policy did not load")
    return took * 1000


def analysis_ms(text: str, rounds: int) -> float:
    """Median milliseconds to analyse the first table of a pack."""
    parts = _parts(text)
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        analyse(parts.tables[0], parts)
        took.append(time.perf_counter() - start)
    return statistics.median(took) * 1000


def without_closing_rule(text: str) -> str:
    """The table left open, so that all its gaps are sought too."""
    return "".join(line for line in text.splitlines(True) if "id: LAST" not in line)


def _stricter(text: str) -> str:
    """A second version: in one rule of three the amount is halved."""
    lines = text.replace("version: 1", "version: 2", 1).splitlines(True)
    for number in range(0, RULES - 1, 3):
        limit = (number + 1) * 3000
        lines = [
            line.replace(f"usd: {limit}}}", f"usd: {limit // 2}}}")
            if f"id: R{number:02d}" in line else line
            for line in lines
        ]  # fmt: skip
    return "".join(lines)


def _cases(seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Facts a thousand at a time, so that none are kept."""
    chance = random.Random(seed)
    for start in range(0, count, 1000):
        yield from facts(chance.randrange(2**32), min(1000, count - start))


def transitions(seed: int, count: int) -> tuple[Counter[tuple[str, str]], float]:
    """How often each pair of rules fired under the two versions; peak memory in MiB."""
    one, other = Pack.from_text(table_text()), Pack.from_text(_stricter(table_text()))
    counted: Counter[tuple[str, str]] = Counter()
    for given in _cases(seed, count):
        counted[one.decide(given, NOW, False).rule, other.decide(given, NOW, False).rule] += 1
    return counted, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def two_versions(seed: int, count: int) -> tuple[float, float, int]:
    """Seconds, peak MiB of a process, and cases whose rule changed; each case decided twice."""
    shares = [count // PROCESSES + (n < count % PROCESSES) for n in range(PROCESSES)]
    start = time.perf_counter()
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(transitions, range(seed, seed + PROCESSES), shares))
    took = time.perf_counter() - start
    total = sum((counted for counted, _ in parts), Counter[tuple[str, str]]())
    if total.total() != count:
        raise AssertionError("cases were lost")
    changed = sum(n for (before, after), n in total.items() if before != after)
    return took, max(peak for _, peak in parts), changed


def measure(seed: int, count: int, cases: int, policies: int = 50) -> PolicyFigures:
    """``count`` facts for each engine, ``cases`` under two versions."""
    seconds, peak, changed = two_versions(seed, cases)
    return PolicyFigures(
        engines=compare(seed, count),
        facts=count,
        load_ms=load_ms(policies),
        policies=policies,
        analysis_ms=analysis_ms(without_closing_rule(table_text()), 20),
        closed_analysis_ms=analysis_ms(table_text(), 20),
        cases=cases,
        seconds=seconds,
        peak_mib=peak,
        changed=changed,
    )


def report(found: PolicyFigures) -> list[str]:
    """The section of the bench's page."""
    ours = found.engines["this engine"]
    return [
        "## Policies",
        "",
        f"One table of {RULES} rules x {INPUTS} inputs, {found.facts:,} random facts, all engines "
        "in turns on each; they must name the same rule.",
        "",
        "| | p50 us | ratio |",
        "|---|---|---|",
        *(f"| {name} | {us:.1f} | {us / ours:.2f} |" for name, us in found.engines.items()),
        "",
        "| | |",
        "|---|---|",
        f"| load of {found.policies} such policies, with examples and analysis | "
        f"{found.load_ms:.0f} ms |",
        f"| analysis of the table | {found.closed_analysis_ms:.1f} ms |",
        f"| analysis of it without its closing rule, every gap sought | {found.analysis_ms:.1f} ms "
        "|",
        f"| {found.cases:,} cases, each under two versions, {PROCESSES} processes | "
        f"{found.seconds:.1f} s |",
        f"| of those, another rule under the second | {found.changed:,} |",
        f"| most memory of a process there | {found.peak_mib:.0f} MiB |",
        "",
    ]
