"""Examples in a policy file: run when the file is loaded, so that a rule cannot drift.

``{given: {…}, at: "2026-12-01T09:00:00Z", expect: {rule: LOYAL, amount: {usd: 500}}}``.
``example_facts`` are the usual facts, which ``given`` overrides. ``expect`` names the rule of
the decision, ``rules`` by table, or any output; money has one currency.
"""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from decisions.engine import Engine
from decisions.findings import Collector, FactError, Undecided
from decisions.literals import Scope, read_literal
from decisions.reader import Parts
from decisions.shapes import known_keys, rows
from decisions.source import BAD, Node
from decisions.types import BROKEN, ValueType, json_of
from domain.canonical import parse_instant
from domain.decisions import Decision
from domain.money import Money


def read_examples(node: Node, parts: Parts, into: Collector) -> None:
    """A finding for all in the examples that is wrong whatever the rules decide."""
    _each_example(node, parts, None, into)


def check_examples(node: Node, parts: Parts, engine: Engine, into: Collector) -> None:
    """Run every example of a pack; a finding for each that fails, or when a table has none."""
    reached = _each_example(node, parts, engine, into)
    if not into.findings:
        for table in parts.tables:
            if table.name not in reached:
                place = node.get("examples") or node
                into.add(place, "no-examples", f"no example reaches table {table.name}")


def _each_example(node: Node, parts: Parts, engine: Engine | None, into: Collector) -> set[str]:
    """The tables that some example reaches; none without an engine, which decides nothing."""
    block = node.get("examples")
    cases = rows(block, "examples", into)
    if not cases and (block is None or block.value == ()):
        into.add(block or node, "no-examples", "a policy needs examples; it has none")
    usual = node.get("example_facts")
    scope = Scope(into, parts.facts, None)
    base = _facts(usual, scope) if usual is not None else {}
    reached: set[str] = set()
    for case in cases:
        decision = _run(case, base, parts, engine, scope)
        if decision is not None:
            reached |= {fired.table for fired in decision.fired}
        if decision is not None or engine is None:
            _compare(case, decision, parts, scope)
    return reached


def _run(
    case: Node, base: dict[str, Any], parts: Parts, engine: Engine | None, scope: Scope
) -> Decision | None:
    into = scope.into
    before = len(into.findings)
    known_keys(case, ("given", "at", "expect"), into)
    given = case.get("given")
    facts = {**base, **(_facts(given, scope) if given is not None else {})}
    zone = ZoneInfo(engine.zone if engine else "UTC")
    start = datetime.combine(parts.effective_from, time(12), zone)
    at = _instant(case.get("at"), start.astimezone(UTC), into)
    if len(into.findings) > before or at is None or engine is None:
        return None
    for name in parts.attributes:
        if not parts.attributes[name].required:
            facts.setdefault(f"attributes.{name}", None)
    try:
        return engine.decide(facts, at, True)
    except (FactError, Undecided) as error:
        into.add(given or case, "failed-example", f"the example cannot be decided: {error}")
        return None


def _instant(node: Node | None, default: datetime, into: Collector) -> datetime | None:
    if node is None:
        return default
    try:
        return parse_instant(node.value if isinstance(node.value, str) else "")
    except ValueError:
        into.add(node, "wrong-type", "at is an instant", allowed='"2026-12-01T09:00:00Z"')
        return None


def _facts(node: Node, scope: Scope) -> dict[str, Any]:
    if not isinstance(node.value, dict):
        scope.into.add(node, "wrong-type", f"facts are a map by input, not {node.shape()}")
        return {}
    found = {}
    for key_node, name, item in node.items():
        kind = scope.inputs.get(name)
        if kind is None:
            scope.into.add(
                key_node, "undefined-input", f"{name!r} is no input of this pack",
                allowed=sorted(scope.inputs), wrong=name,
            )  # fmt: skip
            continue
        good, value = _value(kind, item, scope)
        if good:
            found[name] = value
    return found


def _value(kind: ValueType, node: Node, scope: Scope) -> tuple[bool, Any]:
    """One fact or result as a Python value; money is a map of one currency."""
    if kind.kind == BROKEN:
        return False, None
    if kind.fields and isinstance(node.value, tuple):
        return _entries(kind, node.value, scope)
    literal = read_literal(kind, node, scope)
    if literal is None:
        return False, None
    if not literal.is_money:
        return True, literal.value
    if len(literal.value) != 1:
        scope.into.add(node, "wrong-type", "one amount has one currency", allowed="{usd: 1999}")
        return False, None
    [(currency, minor)] = literal.value.items()
    return True, Money(amount_minor=minor, currency=currency)


def _entries(kind: ValueType, items: tuple[Node, ...], scope: Scope) -> tuple[bool, Any]:
    """Entries with fields, as :class:`decisions.outputs.Entries` gives them."""
    fields = {"id": ValueType("enum", values=kind.values, of=kind.of), **dict(kind.fields)}
    before = len(scope.into.findings)
    found = []
    for item in items:
        known_keys(item, tuple(fields), scope.into)
        read = {n: _value(fields[n], part, scope) for _, n, part in item.items() if n in fields}
        found.append({name: value for name, (_, value) in read.items()})
    return len(scope.into.findings) == before, tuple(found)


def _compare(case: Node, decision: Decision | None, parts: Parts, scope: Scope) -> None:
    """Each expectation against what was decided; without a decision it is read only."""
    into = scope.into
    expect = case.get("expect")
    if expect is None or not isinstance(expect.value, dict) or not expect.value:
        into.add(expect or case, "missing-key", "an example needs expect: a rule or outputs")
        return
    outputs = {name: (t, kind) for t in parts.tables for name, kind in t.outputs.items()}
    for key_node, key, item in expect.items():
        if key in ("rule", "rules") and decision is None:
            continue
        if key == "rule" and decision is not None:
            _rule(item, decision.rule, decision, into)
        elif key == "rules" and decision is not None:
            for _, name, wanted in item.items():
                fired = [f.rule for f in decision.fired if f.table == name]
                got: Any = fired[0] if len(fired) == 1 else (fired or None)
                if isinstance(wanted.value, tuple):
                    got = fired
                _rule(wanted, got, decision, into)
        elif key in outputs:
            table, kind = outputs[key]
            _output(key, item, kind, table.hit == "collect", decision, scope)
        else:
            into.add(
                key_node, "undefined-output", f"{key!r} is no output of this pack",
                allowed=["rule", "rules", *sorted(outputs)], wrong=key,
            )  # fmt: skip


def _rule(node: Node, got: Any, decision: Decision, into: Collector) -> None:
    if node.plain() == got or node.value is BAD:
        return
    why = f"rule {got} fired" if got else "no rule fired there"
    missed = [line for line in decision.trace if line.rule == node.value]
    if missed:
        line = missed[0]
        why += f"; {line.rule} was ruled out by {line.input}: {line.seen}, allowed {line.allowed}"
    into.add(node, "failed-example", f"expected rule {node.plain()}, but {why}")


def _output(
    name: str,
    node: Node,
    kind: ValueType,
    many: bool,
    decision: Decision | None,
    scope: Scope,
) -> None:
    if decision is not None and name not in decision.outputs:
        scope.into.add(node, "failed-example", f"there is no {name}: its table did not run")
        return
    items = node.value if many and isinstance(node.value, tuple) else (node,)
    read = [_value(kind.or_null(), item, scope) for item in items]
    if decision is None or not all(good for good, _ in read):
        return
    values = [json_of(kind.kind, value) for _, value in read]
    wanted = values if many else values[0]
    got = decision.outputs[name]
    if wanted != got:
        scope.into.add(
            node, "failed-example",
            f"expected {name} {wanted}, but it is {got} (rule {decision.rule})",
        )  # fmt: skip
