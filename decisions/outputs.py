"""Outputs: what stands in a rule's ``then``.

A literal, a lookup, a copy, a computed amount, a deadline, or entries with fields.

A computed amount is ``{of: fact, times:, bps:, plus:, minus:, min:, max:, round:}``, taken in
this order whatever the order written: ``of`` x ``times`` x ``bps`` / 10,000, rounded once by
``round``; then ``plus`` and ``minus``; then at least ``min``; then at most ``max``, which wins.
Operands are numbers, amounts by currency, lookups, or names of facts. Nothing is converted.

A deadline is ``{in: 10bd}`` from the moment of decision, or ``{in: P1Y, from: fact}`` from a
date or instant (:func:`decisions.durations.deadline`), or ``{law: reg_e.report}``, as a
rule book says (:mod:`decisions.jurisdictions`), which has terms for other types, too. Entries
are ``[{id: report, due: {in: 3bd}}]``: an id, and a cell for each declared field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from decisions.durations import WRITTEN, day_after, deadline
from decisions.findings import FactError
from decisions.jurisdictions import Clock, LegalTerm
from decisions.literals import Literal, Lookup, Scope, Term, read_ids, read_literal, read_term
from decisions.shapes import known_keys, read_name
from decisions.source import BAD, Node
from decisions.types import BROKEN, WHOLE, WORDS, ValueType
from domain.deadlines import BusinessCalendar
from domain.money import Money, Rounding, divide

FACTORS = ("times", "bps")
SUMS = ("plus", "minus", "min", "max")

Environment = Mapping[str, Any]
"""Facts and results of earlier tables by name, as Python values; the moment of decision as
:data:`NOW`."""

NOW = "the moment of decision"
"""Where an environment holds its instant; no input can have this name."""

_LENGTH = ValueType("duration")


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


@dataclass(frozen=True, slots=True)
class Offset:
    """A length of time after the moment of decision, or after the fact ``start``. ``unverified``
    names the clock that it is taken from when nobody has read its source."""

    length: Term
    start: str | None
    zone: str
    calendar: BusinessCalendar | None
    unverified: str = ""


@dataclass(frozen=True, slots=True)
class Entries:
    """Ids in order, each with a cell for every field of its type."""

    items: tuple[tuple[str, Mapping[str, Cell]], ...]


Cell = Literal | Lookup | Copy | Amount | Offset | Entries


def read_cell(name: str, kind: ValueType, node: Node, scope: Scope) -> Cell | None:
    """One output of one rule against its declared type; None with findings when wrong."""
    if node.value is BAD or kind.kind == BROKEN:
        return None
    if kind.fields and isinstance(node.value, tuple):
        return _read_entries(name, kind, node, node.value, scope)
    if kind.kind in ("date", "instant") and node.get("in") is not None:
        return _read_offset(kind, node, scope)
    if node.get("law") is not None:
        return _read_law(kind, node, scope)
    if node.get("of") is None:
        if kind.fields and node.value is not None:
            scope.into.add(
                node, "wrong-type", f"{name} is a list of maps, not {node.shape()}",
                allowed=["id", *(field for field, _ in kind.fields)],
            )  # fmt: skip
            return None
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


def _read_offset(kind: ValueType, node: Node, scope: Scope) -> Cell | None:
    before = len(scope.into.findings)
    known_keys(node, ("in", "from"), scope.into)
    length_node = node.get("in") or node
    length = read_term(_LENGTH, length_node, scope)
    from_node = node.get("from")
    start = None if from_node is None else _start(from_node, scope)
    units = {literal.value.unit for literal in length.all()} if length is not None else set()
    is_date = kind.kind == "date" or (start is not None and scope.inputs[start].kind == "date")
    if "min" in units and is_date:
        scope.into.add(length_node, "wrong-type", "a date has no minutes", allowed=WRITTEN)
    if "bd" in units and scope.calendar is None:
        scope.into.add(
            length_node, "undefined-calendar", "business days need timers: {calendar: …}"
        )
    if length is None or len(scope.into.findings) > before:
        return None
    return Offset(length, start, scope.zone, scope.calendar)


def _read_law(kind: ValueType, node: Node, scope: Scope) -> Cell | None:
    """``{law: reg_e.report}``: what a rule book says. A clock of it is an offset, as long as it is
    there and from where it starts there; a term is a word or a number."""
    known_keys(node, ("law",), scope.into)
    name, place = read_name(node, "law", scope.into), node.get("law") or node
    wanted, what = (Clock, "clock") if kind.kind in ("date", "instant") else (LegalTerm, "term")
    fits = {key: entry for key, entry in scope.law.items() if isinstance(entry, wanted)}
    entry = fits.get(name or "")
    if entry is None or name is None:
        if name is not None:
            scope.into.add(
                place, "unknown-value", f"{name!r} is no {what} of this pack",
                allowed=sorted(fits), wrong=name,
            )  # fmt: skip
        return None
    unverified = "" if entry.basis.verified else name
    if isinstance(entry, Clock):
        parts = (("in", str(entry.within)), ("from", entry.start))
        written = {key: replace(place, value=text) for key, text in parts}
        offset = _read_offset(kind, replace(node, value=written, keys={}), scope)
        return replace(offset, unverified=unverified) if isinstance(offset, Offset) else None
    literal = read_literal(kind, replace(place, value=entry.value), scope)
    return None if literal is None else replace(literal, unverified=unverified)


def unverified_law(cell: Cell) -> set[str]:
    """What a cell takes from rule books and nobody has read in its source."""
    if isinstance(cell, Entries):
        parts = [part for _, cells in cell.items for part in cells.values()]
        return {name for part in parts for name in unverified_law(part)}
    return {cell.unverified} if isinstance(cell, Offset | Literal) and cell.unverified else set()


def _start(node: Node, scope: Scope) -> str | None:
    """The date or instant that an offset starts from, or None with a finding."""
    name = node.value
    if name is BAD:
        return None
    fits = sorted(n for n, t in scope.inputs.items() if t.kind in ("date", "instant"))
    found = scope.inputs.get(name) if isinstance(name, str) else None
    if found is not None and found.kind == BROKEN:
        return None
    if found is None or not isinstance(name, str):
        scope.into.add(
            node, "undefined-input", f"{node.shape()} is no input", allowed=fits, wrong=str(name)
        )
        return None
    if name not in fits:
        scope.into.add(
            node, "wrong-type", f"from: {name} is {found.kind}; it is a date or an instant",
            allowed=fits,
        )  # fmt: skip
        return None
    return name


def _read_entries(
    name: str, kind: ValueType, owner: Node, items: tuple[Node, ...], scope: Scope
) -> Cell | None:
    before = len(scope.into.findings)
    fields = dict(kind.fields)
    ids: list[Node] = []
    found: list[dict[str, Cell]] = []
    for item in items:
        if not isinstance(item.value, dict):
            if item.value is not BAD:
                scope.into.add(
                    item, "wrong-type", f"{item.shape()} where an entry of {name} belongs",
                    allowed=["id", *fields],
                )  # fmt: skip
            continue
        known_keys(item, ("id", *fields), scope.into)
        for key in ("id", *fields):
            if item.get(key) is None:
                scope.into.add(item, "missing-key", f"an entry of {name} lacks {key}")
        ids += [item.value["id"]] if "id" in item.value else []
        cells = {
            field: read_cell(field, field_kind, item.value[field], scope)
            for field, field_kind in fields.items()
            if field in item.value
        }
        found.append({field: cell for field, cell in cells.items() if cell is not None})
    # the owner's emptiness is told once, for a choice, by the ids
    words = read_ids(kind, owner, tuple(ids), scope) if ids or not items else None
    if words is None or len(scope.into.findings) > before:
        return None
    return Entries(tuple(zip(words, found, strict=True)))


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
    if isinstance(cell, Offset):
        return False, None, _offset(cell, name, kind)
    if isinstance(cell, Entries):
        return False, None, _entries(cell, kind, currency)
    if isinstance(cell, Copy):
        of = cell.of

        def copied(facts: Environment) -> Any:
            value = facts[of]
            if value is None and not kind.nullable:
                raise FactError(of, f"is null, and {name} copies it", kind.words())
            return value

        return False, None, copied
    return False, None, _computation(cell, name, kind, currency)


def _offset(cell: Offset, name: str, kind: ValueType) -> Callable[[Environment], Any]:
    is_constant, constant, function = compile_cell(cell.length, name, _LENGTH, None)
    start, zone, calendar = cell.start, cell.zone, cell.calendar
    reached = day_after if kind.kind == "date" else deadline

    def ends(facts: Environment) -> Any:
        value = facts[NOW if start is None else start]
        if value is None:
            if kind.nullable:
                return None
            raise FactError(start or NOW, f"is null, and {name} is counted from it", "a value")
        length = constant if is_constant or function is None else function(facts)
        try:
            return reached(value, length, zone, calendar)
        except ValueError as error:
            raise FactError(start or NOW, f"{name}: {error}", "an earlier or later day") from error

    return ends


def _entries(
    cell: Entries, kind: ValueType, currency: str | None
) -> Callable[[Environment], tuple[dict[str, Any], ...]]:
    fields = dict(kind.fields)
    compiled = [
        (item, [(n, *compile_cell(part, n, fields[n], currency)) for n, part in parts.items()])
        for item, parts in cell.items
    ]

    def entries(facts: Environment) -> tuple[dict[str, Any], ...]:
        made = []
        for item, parts in compiled:
            values = {n: fixed if read is None else read(facts) for n, _, fixed, read in parts}
            made.append({"id": item, **values})
        return tuple(made)

    return entries


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
                    value.times_ratio(numerator, denominator, rounding, in_steps=bps is not None)
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
