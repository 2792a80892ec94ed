"""Conditions: one cell of a rule, on one input. Each is a side of an axis-aligned box.

Written forms::

    open_chargeback: true                    equality
    reason: [courtesy, other]                one of (enum; whole numbers too)
    days_since_last: null                    is null     ({is_null: false} = has a value)
    tenure_days: {gte: 365, lt: 730}         interval: lt, lte, gt, gte, eq
    days_since_last: {gte: 180, or_null: true}
    amount: {lte: {usd: 5000, eur: 5000}}    money: by currency
    flags: {any_of: [vip, staff]}            sets: shares a word; {subset: [...]} holds no other
    charged_at: {older_than: P1Y}            age at the moment of decision; younger_than

A null meets no condition but ``null``, ``is_null: true`` and ``or_null: true``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from decisions.durations import UNITS, WRITTEN, Duration, parse_duration
from decisions.literals import Literal, Lookup, Scope, Term, known_word, read_term
from decisions.sides import BOUNDS, Aged, Among, Between, Test, Words
from decisions.source import BAD, Node
from decisions.types import BROKEN, WHOLE, WORDS, ValueType, code_of, seen

AGES = ("older_than", "younger_than")
SET_TESTS = ("any_of", "subset")


@dataclass(frozen=True, slots=True)
class Condition:
    """A test on ``input``; ``dimension`` is what is compared: the input, or its age in a unit."""

    input: str
    kind: ValueType
    test: Test

    @property
    def dimension(self) -> str:
        if isinstance(self.test, Aged):
            return f"{self.input} age {self.test.unit}"
        return self.input

    @property
    def lookups(self) -> tuple[Lookup, ...]:
        """Lookups in the bounds: the rule is one box for each of their words."""
        if not isinstance(self.test, Between):
            return ()
        return tuple(term for _, term in self.test.bounds if isinstance(term, Lookup))


def read_conditions(node: Node | None, owner: Node, scope: Scope) -> tuple[Condition, ...] | None:
    """A ``when`` map, in the order of input names; None with findings when it is wrong.

    The order is by name because it is the order in which a trace names what ruled a rule
    out, and key order is no content.
    """
    if node is None:
        scope.into.add(owner, "missing-key", "no when; a rule for everything says when: {}")
        return None
    if not isinstance(node.value, dict):
        if node.value is not BAD:
            scope.into.add(node, "wrong-type", f"when is a map by input, not {node.shape()}")
        return None
    found: list[Condition] = []
    good = True
    for key_node, name, item in node.items():
        kind = scope.inputs.get(name)
        if kind is None:
            scope.into.add(
                key_node,
                "undefined-input",
                f"{name!r} is no input of this table",
                allowed=sorted(scope.inputs),
                wrong=name,
            )
            good = False
            continue
        test = read_test(name, kind, item, scope)
        if test is None:
            good = False
        else:
            found.append(Condition(name, kind, test))
    return tuple(sorted(found, key=lambda c: c.input)) if good else None


def read_test(name: str, kind: ValueType, node: Node, scope: Scope) -> Test | None:
    """One cell against the type of its input."""
    if node.value is BAD or kind.kind == BROKEN:
        return None
    if node.value is None:
        return _null(name, kind, node, scope)
    if isinstance(node.value, tuple):
        return _one_of(name, kind, node, scope)
    if isinstance(node.value, dict) and not _is_value_map(kind, node):
        return _operators(name, kind, node, scope)
    term = read_term(kind, node, scope)
    if term is None:
        return None
    if kind.ordered:
        return Between((("eq", term),))
    if isinstance(term, Lookup):
        scope.into.add(node, "wrong-type", "a lookup stands in bounds of numbers, dates and money")
        return None
    return Among(frozenset({code_of(kind.kind, term.value)}), seen(kind.kind, term.value))


def _is_value_map(kind: ValueType, node: Node) -> bool:
    """A money literal or a lookup, as against a map of operators."""
    keys = set(node.value) if isinstance(node.value, dict) else set()
    operators = {*BOUNDS, *AGES, *SET_TESTS, "is_null", "or_null"}
    return bool(keys) and not keys & operators and (kind.kind == "money" or keys == {"lookup"})


def _null(name: str, kind: ValueType, node: Node, scope: Scope) -> Test | None:
    if kind.nullable:
        return Among(frozenset({kind.null}), "null")
    scope.into.add(node, "wrong-type", f"{name} is never null", allowed=kind.words())
    return None


def _one_of(name: str, kind: ValueType, node: Node, scope: Scope) -> Test | None:
    items = node.value if isinstance(node.value, tuple) else ()
    if kind.kind not in WORDS and kind.kind not in WHOLE and kind.kind != "bool":
        hint = "any_of, subset" if kind.kind == "set" else "lt, lte, gt, gte, eq"
        scope.into.add(
            node, "wrong-type", f"{name} is {kind.kind}; a list is no test of it", allowed=hint
        )
        return None
    if not items:
        scope.into.add(node, "empty-interval", "an empty list is never met")
        return None
    codes: list[Any] = []
    texts: list[str] = []
    good = True
    for item in items:
        if isinstance(item.value, str) and kind.kind in WORDS:
            good = known_word(kind, item.value, item, scope) and good
            literal: Term | None = Literal(item.value)
        else:
            literal = read_term(kind, item, scope)
        if not isinstance(literal, Literal):
            good = False
            continue
        code = code_of(kind.kind, literal.value)
        if code in codes:
            scope.into.add(item, "duplicate-value", f"{item.shape()} stands twice")
            good = False
        codes.append(code)
        texts.append(seen(kind.kind, literal.value))
    if not good:
        return None
    text = texts[0] if len(texts) == 1 else "one of " + ", ".join(texts)
    return Among(frozenset(codes), text)


def _operators(name: str, kind: ValueType, node: Node, scope: Scope) -> Test | None:
    if kind.kind in ("date", "instant"):
        allowed = [*BOUNDS, *AGES]
    elif kind.ordered:
        allowed = list(BOUNDS)
    elif kind.kind == "set":
        allowed = list(SET_TESTS)
    else:
        allowed = []
    allowed += ["is_null", "or_null"]
    good = True
    for key_node, key, _ in node.items():
        if key not in allowed:
            scope.into.add(
                key_node,
                "unknown-key",
                f"{key!r} is no test of {name}, which is {kind.kind}",
                allowed=allowed,
                wrong=key,
            )
            good = False
    if not node.value:
        scope.into.add(node, "wrong-type", f"an empty test of {name}", allowed=allowed)
    if not good or not node.value:
        return None
    is_null, or_null = _flag("is_null", kind, node, scope), _flag("or_null", kind, node, scope)
    if node.get("is_null") is not None:
        if is_null is None or sum(1 for _ in node.items()) != 1:
            if is_null is not None:
                scope.into.add(node, "wrong-type", "is_null stands alone", allowed="or_null")
            return None
        return _null(name, kind, node, scope) if is_null else _has_value(kind)
    if or_null is None:
        return None
    if kind.kind == "set":
        return _set_test(kind, node, or_null, scope)
    if any(node.get(key) is not None for key in AGES):
        return _aged(name, kind, node, or_null, scope)
    return _interval(name, kind, node, or_null, scope)


def _flag(key: str, kind: ValueType, node: Node, scope: Scope) -> bool | None:
    """A true or false operand, False when absent, None with a finding when it is neither."""
    item = node.get(key)
    if item is None:
        return False
    if not isinstance(item.value, bool):
        scope.into.add(item, "wrong-type", f"{key} is true or false, not {item.shape()}")
        return None
    if not kind.nullable:
        scope.into.add(item, "wrong-type", "the input is never null", allowed=kind.words())
        return None
    return item.value


def _has_value(kind: ValueType) -> Test:
    if kind.ordered:
        return Between(())
    if kind.kind == "set":
        return Words(None, None)
    codes = (True, False) if kind.kind == "bool" else kind.values
    return Among(frozenset(codes), "a value")


def _set_test(kind: ValueType, node: Node, or_null: bool, scope: Scope) -> Test | None:
    as_set = ValueType("set", values=kind.values, of=kind.of)
    read: dict[str, frozenset[str]] = {}
    for key in SET_TESTS:
        item = node.get(key)
        if item is None:
            continue
        literal = read_term(as_set, item, scope)
        if not isinstance(literal, Literal):
            return None
        if key == "any_of" and not literal.value:
            scope.into.add(item, "empty-interval", "any of nothing is never met")
            return None
        read[key] = literal.value
    any_of, subset = read.get("any_of"), read.get("subset")
    if any_of is not None and subset is not None and any_of.isdisjoint(subset):
        scope.into.add(node, "empty-interval", "no set meets any_of and subset at once")
        return None
    return Words(any_of, subset, or_null)


def _aged(name: str, kind: ValueType, node: Node, or_null: bool, scope: Scope) -> Test | None:
    lengths: dict[str, Duration] = {}
    for key_node, key, item in node.items():
        if key in BOUNDS:
            scope.into.add(key_node, "wrong-type", "an age and a fixed bound do not mix")
            return None
        if key not in AGES:
            continue
        try:
            if not isinstance(item.value, str):
                raise ValueError
            length = parse_duration(item.value)
        except ValueError:
            if item.value is not BAD:
                scope.into.add(
                    item, "wrong-type", f"{item.shape()} is no length of time", allowed=WRITTEN
                )
            return None
        if not _unit_fits(name, kind, length, item, scope):
            return None
        lengths[key] = length
    older, younger = lengths.get("older_than"), lengths.get("younger_than")
    if older is not None and younger is not None and older.count >= younger.count:
        scope.into.add(
            node, "empty-interval", f"nothing is older than {older} and younger than {younger}"
        )
        return None
    unit = (older or younger or Duration(0, "d")).unit
    return Aged(unit, older, younger, or_null)


def _unit_fits(name: str, kind: ValueType, length: Duration, node: Node, scope: Scope) -> bool:
    """One unit per input in a table, so that every rule stays a box."""
    if name in scope.results:
        scope.into.add(node, "wrong-type", f"{name} is a result; an age is that of an input")
        return False
    if length.unit == "min" and kind.kind == "date":
        scope.into.add(node, "wrong-type", f"{name} is a date: it has no minutes", allowed=WRITTEN)
        return False
    if length.unit == "bd" and scope.calendar is None:
        scope.into.add(node, "undefined-calendar", "business days need timers: {calendar: …}")
        return False
    unit, first = scope.units.setdefault(name, (length.unit, node))
    if unit != length.unit:
        scope.into.add(
            node,
            "mixed-units",
            f"{name} is measured in {UNITS[unit]} in line {first.line} and in "
            f"{UNITS[length.unit]} here; one unit per input in a table",
        )
        return False
    return True


def _interval(name: str, kind: ValueType, node: Node, or_null: bool, scope: Scope) -> Test | None:
    bounds: list[tuple[str, Term]] = []
    good = True
    for _, key, item in node.items():
        if key not in BOUNDS:
            continue
        term = read_term(kind, item, scope)
        if term is None:
            good = False
        elif any(literal.value is None for literal in term.all()):
            scope.into.add(item, "wrong-type", "null is no bound", allowed="is_null, or_null")
            good = False
        else:
            bounds.append((key, term))
    if not good:
        return None
    if not bounds:
        scope.into.add(node, "wrong-type", f"a test of {name} without a bound", allowed=BOUNDS)
        return None
    test = Between(tuple(sorted(bounds, key=lambda pair: pair[0])), or_null)
    problem = _why_empty(kind, test)
    if problem:
        scope.into.add(node, "empty-interval", f"no {name} meets this{problem}")
        return None
    return test


def _why_empty(kind: ValueType, test: Between) -> str | None:
    """In which currency or case the interval is empty; "" = in all, None = in none."""
    lookups = [term for _, term in test.bounds if isinstance(term, Lookup)]
    choices: list[dict[str, str]] = [{}]
    for lookup in lookups:
        choices = [{**c, lookup.by: word} for c in choices for word in lookup.cases]
    currencies: list[str | None] = [None]
    if kind.kind == "money":
        named = [set(lit.value) for _, term in test.bounds for lit in term.all()]
        currencies = sorted(set.intersection(*named)) if named else []
    for chosen in choices:
        for currency in currencies:
            low, high = test.ends(kind, currency, chosen)
            if low > high:
                where = [*chosen.values(), *([currency] if currency else [])]
                return f" ({', '.join(where)})" if where else ": the interval is empty"
    return None
