"""Outputs: what stands in a rule's ``then``. A literal, a lookup, a copy or a computed amount.

A computed amount is ``{of: fact, times:, bps:, plus:, minus:, min:, max:, round:}``, taken in
this order whatever the order written: ``of`` x ``times`` x ``bps`` / 10,000, rounded once by
``round``; then ``plus`` and ``minus``; then at least ``min``; then at most ``max``, which wins.
Operands are numbers, amounts by currency, lookups, or names of facts. Nothing is converted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from decisions.findings import FactError
from decisions.literals import Literal, Lookup, Scope, Term, read_term
from decisions.source import BAD, Node
from decisions.types import BROKEN, WHOLE, WORDS, ValueType
from domain.money import Money, Rounding, divide

FACTORS = ("times", "bps")
SUMS = ("plus", "minus", "min", "max")

Environment = Mapping[str, Any]
"""Facts and results of earlier tables by name, as Python values."""


@dataclass(frozen=True, slots=True)
class Copy:
    """``{of: fact}`` and nothing else: the fact itself."""

    of: str


@dataclass(frozen=True, slots=True)
class Amount:
    """A computed amount or whole number; operands are terms or names of facts."""

    of: str
    operands: Mapping[str, Term | str]
    rounding: Rounding | None


Cell = Literal | Lookup | Copy | Amount


def read_cell(name: str, kind: ValueType, node: Node, scope: Scope) -> Cell | None:
    """One output of one rule against its declared type; None with findings when wrong."""
    if node.value is BAD or kind.kind == BROKEN:
        return None
    if node.get("of") is None:
        return read_term(kind, node, scope)
    of = _fact("of", node.get("of"), kind, scope)
    keys = set(node.value) if isinstance(node.value, dict) else set()
    if keys == {"of"}:
        return None if of is None else Copy(of)
    if kind.kind != "money" and kind.kind not in WHOLE:
        scope.into.add(
            node, "wrong-type", f"{name} is {kind.kind}: nothing is computed", allowed="{of: …}"
        )
        return None
    return _read_amount(of, kind, node, scope)


def _fact(key: str, node: Node | None, kind: ValueType, scope: Scope) -> str | None:
    """The name of a fact of the right family, or None with a finding."""
    if node is None or node.value is BAD:
        return None
    name = node.value
    fits = sorted(n for n, t in scope.inputs.items() if _same_family(t, kind))
    found = scope.inputs.get(name) if isinstance(name, str) else None
    if found is None or not isinstance(name, str):
        scope.into.add(
            node, "undefined-input", f"{node.shape()} is no input", allowed=fits, wrong=str(name)
        )
        return None
    if found.kind == BROKEN:
        return None
    if not _same_family(found, kind):
        scope.into.add(
            node, "wrong-type", f"{key}: {name} is {found.kind}, not {kind.kind}", allowed=fits
        )
        return None
    foreign = [word for word in found.values if word not in kind.values]
    if kind.kind in WORDS and foreign:
        scope.into.add(
            node, "unknown-value", f"{name} may be {', '.join(foreign)}", allowed=kind.values
        )
        return None
    return name


def _same_family(one: ValueType, other: ValueType) -> bool:
    if one.kind in WHOLE and other.kind in WHOLE:
        return True
    if one.kind in WORDS and other.kind in WORDS:
        return True
    return one.kind == other.kind


def _read_amount(of: str | None, kind: ValueType, node: Node, scope: Scope) -> Cell | None:
    operands: dict[str, Term | str] = {}
    good = of is not None
    for key_node, key, item in node.items():
        if key in ("of", "round"):
            continue
        if key in FACTORS:
            wanted = ValueType("bps" if key == "bps" else "int")
        elif key in SUMS:
            wanted = ValueType(kind.kind)
        else:
            scope.into.add(
                key_node,
                "unknown-key",
                f"{key!r} is no part of a computed amount",
                allowed=["of", *FACTORS, *SUMS, "round"],
                wrong=key,
            )
            good = False
            continue
        operand: Term | str | None
        if isinstance(item.value, str):
            operand = _fact(key, item, wanted, scope)
        else:
            operand = read_term(wanted, item, scope)
        if operand is None:
            good = False
        else:
            operands[key] = operand
    rounding = _rounding(node, scope)
    if "bps" in operands and node.get("round") is None:
        scope.into.add(
            node,
            "missing-key",
            "a share needs round: how a fraction of a minor unit becomes whole",
            allowed=[r.value for r in Rounding],
        )
        good = False
    if node.get("round") is not None and rounding is None:
        good = False
    return Amount(of, operands, rounding) if good and of is not None else None


def _rounding(node: Node, scope: Scope) -> Rounding | None:
    item = node.get("round")
    if item is None or item.value is BAD:
        return None
    words = [r.value for r in Rounding]
    if isinstance(item.value, str) and item.value in words:
        return Rounding(item.value)
    scope.into.add(
        item,
        "unknown-value",
        f"{item.shape()} is no rounding",
        allowed=words,
        wrong=str(item.value),
    )
    return None


def compile_cell(
    cell: Cell, name: str, kind: ValueType, currency: str | None
) -> tuple[bool, Any, Callable[[Environment], Any] | None]:
    """(True, constant, None) or (False, None, function of the environment).

    Raises :class:`~decisions.literals.MissingCurrency` when a literal lacks the currency.
    """
    if isinstance(cell, Literal):
        return True, _constant(cell, kind, currency), None
    if isinstance(cell, Lookup):
        by = cell.by
        cases = {word: _constant(item, kind, currency) for word, item in cell.cases.items()}

        def looked_up(facts: Environment) -> Any:
            word = facts[by]
            if word is None:
                raise FactError(by, f"is null, and {name} is looked up by it", "a value")
            return cases[word]

        return False, None, looked_up
    if isinstance(cell, Copy):
        of = cell.of

        def copied(facts: Environment) -> Any:
            value = facts[of]
            if value is None and not kind.nullable:
                raise FactError(of, f"is null, and {name} copies it", kind.words())
            return value

        return False, None, copied
    return False, None, _computation(cell, name, kind, currency)


def _constant(literal: Literal, kind: ValueType, currency: str | None) -> Any:
    value = literal.pick(currency, {})
    if kind.kind == "money" and value is not None and currency is not None:
        return Money(amount_minor=value, currency=currency)
    return value


def _computation(
    cell: Amount, name: str, kind: ValueType, currency: str | None
) -> Callable[[Environment], Any]:
    parts = {
        key: _operand(key, operand, name, kind, currency) for key, operand in cell.operands.items()
    }
    times, bps = parts.get("times"), parts.get("bps")
    plus, minus = parts.get("plus"), parts.get("minus")
    floor, ceiling = parts.get("min"), parts.get("max")
    rounding = cell.rounding or Rounding.HALF_EVEN
    of = cell.of

    def computed(facts: Environment) -> Any:
        value = facts[of]
        if value is None:
            raise FactError(of, f"is null, and {name} is computed from it", "a value")
        try:
            if times is not None or bps is not None:
                numerator = (times(facts) if times else 1) * (bps(facts) if bps else 1)
                denominator = 10_000 if bps else 1
                value = (
                    value.times_ratio(numerator, denominator, rounding)
                    if kind.kind == "money"
                    else divide(value * numerator, denominator, rounding)
                )
            if plus is not None:
                value = value + plus(facts)
            if minus is not None:
                value = value - minus(facts)
            if floor is not None and value < (least := floor(facts)):
                value = least
            if ceiling is not None and (most := ceiling(facts)) < value:
                value = most
        except ValueError as error:
            raise FactError(of, f"{name} cannot be computed from it", kind.words()) from error
        code = value.amount_minor if kind.kind == "money" else value
        if not kind.low <= code <= kind.high:
            raise FactError(of, f"{name} comes out as {value}", kind.words())
        return value

    return computed


def _operand(
    key: str, operand: Term | str, name: str, kind: ValueType, currency: str | None
) -> Callable[[Environment], Any]:
    if isinstance(operand, str):
        fact = operand

        def read(facts: Environment) -> Any:
            value = facts[fact]
            if value is None:
                raise FactError(fact, f"is null, and {name} is computed with it", "a value")
            return value

        return read
    of_kind = ValueType("int") if key in FACTORS else kind
    is_constant, constant, function = compile_cell(operand, name, of_kind, currency)
    if is_constant or function is None:
        return lambda facts: constant
    return function
