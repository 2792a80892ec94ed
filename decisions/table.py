"""A decision table as read from its file: rules over typed inputs, in order."""

from __future__ import annotations

from dataclasses import dataclass

from decisions.conditions import Condition, read_conditions
from decisions.literals import Scope
from decisions.outputs import Cell, read_cell, unverified_law
from decisions.shapes import known_keys, read_name
from decisions.source import BAD, Node
from decisions.types import ValueType

HITS = ("first", "unique", "collect")

RULE_KEYS = ("id", "why", "when", "then")


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: when all its conditions hold, ``then`` are the outputs. ``why`` is shown."""

    id: str
    why: str
    when: tuple[Condition, ...]
    then: dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Table:
    """``guard`` (the table's own ``when``) decides whether it runs; ``gaps`` are left undecided
    on purpose. ``inputs`` are the names that its conditions may use, ``aliases`` its own
    names for results of earlier tables."""

    name: str
    hit: str
    guard: tuple[Condition, ...]
    inputs: dict[str, ValueType]
    aliases: dict[str, str]
    outputs: dict[str, ValueType]
    rules: tuple[Rule, ...]
    gaps: tuple[tuple[Condition, ...], ...]

    @property
    def conditions(self) -> list[tuple[Condition, ...]]:
        """Those of the guard, of each rule and of each accepted gap."""
        return [self.guard, *(rule.when for rule in self.rules), *self.gaps]

    @property
    def is_closed(self) -> bool:
        """Whether something always fires: gaps that are not accepted do not load."""
        return self.hit != "collect" and (
            not self.gaps or any(not rule.when for rule in self.rules)
        )


def read_rules(
    node: Node | None, owner: Node, outputs: dict[str, ValueType], scope: Scope
) -> tuple[Rule, ...]:
    """The rules of a table; wrong ones are left out, each with its findings."""
    into = scope.into
    if node is None or not isinstance(node.value, tuple):
        if node is None or node.value is not BAD:
            into.add(node or owner, "missing-key", "a table needs a list of rules")
        return ()
    if not node.value:
        into.add(node, "missing-key", "a table needs at least one rule")
    rules: list[Rule] = []
    places: dict[str, Node] = {}
    for item in node.value:
        if not isinstance(item.value, dict):
            into.add(item, "wrong-type", f"a rule is a map, not {item.shape()}", allowed=RULE_KEYS)
            continue
        rule = _read_rule(item, outputs, scope, places)
        if rule is not None:
            rules.append(rule)
    return tuple(rules)


def _read_rule(
    node: Node, outputs: dict[str, ValueType], scope: Scope, places: dict[str, Node]
) -> Rule | None:
    into = scope.into
    known_keys(node, RULE_KEYS, into)
    rule_id = read_name(node, "id", into)
    if rule_id is not None:
        place = node.get("id") or node
        if rule_id in places:
            line = places[rule_id].line
            into.add(
                place, "duplicate-id", f"the rule id {rule_id!r} stands already in line {line}"
            )
        places.setdefault(rule_id, place)
    why = read_name(node, "why", into)
    when = read_conditions(node.get("when"), node, scope)
    then = _read_then(node, outputs, scope)
    if rule_id is None or why is None or when is None or then is None:
        return None
    if unverified := sorted({name for cell in then.values() for name in unverified_law(cell)}):
        why = f"{why} (not verified: {', '.join(unverified)})"
    return Rule(rule_id, why, when, then)


def _read_then(node: Node, outputs: dict[str, ValueType], scope: Scope) -> dict[str, Cell] | None:
    into = scope.into
    then = node.get("then")
    if then is None or not isinstance(then.value, dict):
        if then is None or then.value is not BAD:
            into.add(then or node, "missing-key", "a rule needs then: its outputs by name")
        return None
    cells: dict[str, Cell] = {}
    good = True
    for key_node, name, item in then.items():
        kind = outputs.get(name)
        if kind is None:
            into.add(
                key_node,
                "undefined-output",
                f"{name!r} is no output of this table",
                allowed=sorted(outputs),
                wrong=name,
            )
            good = False
            continue
        cell = read_cell(name, kind, item, scope)
        if cell is None:
            good = False
        else:
            cells[name] = cell
    missing = [name for name in outputs if then.get(name) is None]
    if missing:
        into.add(then, "missing-output", f"no value for {', '.join(missing)}")
        good = False
    return cells if good else None
