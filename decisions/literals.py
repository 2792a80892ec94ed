"""Literals: what may stand in a cell, read against a type. Money is a map by currency.

A ``lookup`` may stand wherever a literal may: ``{lookup: {by: tier, gold: 5, silver: 3}}``,
complete over the words of the input it goes by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from decisions.durations import parse_duration
from decisions.findings import Collector
from decisions.source import BAD, Node
from decisions.types import BROKEN, SEVERAL, WHOLE, WORDS, ValueType, microseconds
from domain.canonical import parse_instant
from domain.deadlines import BusinessCalendar

if TYPE_CHECKING:
    from decisions.jurisdictions import Entry


@dataclass
class Scope:
    """What a cell may refer to while its table is read.

    ``inputs`` are the names that conditions may use, with their types; ``currencies`` those
    that the pack declares (None: not declared, so each literal names its own). ``results`` are
    the inputs that earlier tables answer; ``units`` the unit in which each age is measured;
    ``law`` what the pack's rule books say, as ``book.entry``.
    """

    into: Collector
    inputs: dict[str, ValueType]
    currencies: tuple[str, ...] | None
    zone: str = "UTC"
    calendar: BusinessCalendar | None = None
    results: frozenset[str] = frozenset()
    units: dict[str, tuple[str, Node]] = field(default_factory=dict)
    law: Mapping[str, Entry] = field(default_factory=dict)


class MissingCurrency(Exception):
    """A money literal that has no entry for a currency that its pack does not declare."""

    def __init__(self, currency: str, known: Mapping[str, int]) -> None:
        super().__init__(currency)
        self.currency = currency
        self.known = ", ".join(sorted(known))


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant. ``value`` is the type's Python value, for money minor units by currency;
    ``unverified`` names the term of a rule book that it is, when nobody has read its source."""

    value: Any
    is_money: bool = False
    unverified: str = ""

    def pick(self, currency: str | None, chosen: Mapping[str, str]) -> Any:
        """The constant in a currency. Raises :class:`MissingCurrency`."""
        if not self.is_money or self.value is None:
            return self.value
        if currency is None or currency not in self.value:
            raise MissingCurrency(currency or "no currency", self.value)
        return self.value[currency]

    def all(self) -> list[Literal]:
        return [self]


@dataclass(frozen=True, slots=True)
class Lookup:
    """A constant for each word of the input ``by``."""

    by: str
    cases: Mapping[str, Literal]

    def pick(self, currency: str | None, chosen: Mapping[str, str]) -> Any:
        return self.cases[chosen[self.by]].pick(currency, chosen)

    def all(self) -> list[Literal]:
        return list(self.cases.values())


Term = Literal | Lookup


def read_term(kind: ValueType, node: Node, scope: Scope) -> Term | None:
    """A literal or a lookup of one type; None with a finding when it is neither."""
    inner = node.get("lookup")
    if inner is None or (isinstance(node.value, dict) and len(node.value) != 1):
        return read_literal(kind, node, scope)
    if not isinstance(inner.value, dict):
        scope.into.add(inner, "wrong-type", f"a lookup is a map, not {inner.shape()}")
        return None
    by_node = inner.get("by")
    if by_node is None:
        scope.into.add(inner, "missing-key", "a lookup needs by: the input it goes by")
        return None
    by = by_node.value
    by_type = scope.inputs.get(by) if isinstance(by, str) else None
    if by_type is None or not isinstance(by, str):
        scope.into.add(
            by_node,
            "undefined-input",
            f"{by_node.shape()} is no input",
            allowed=sorted(n for n, t in scope.inputs.items() if t.kind in WORDS),
            wrong=str(by),
        )
        return None
    if by_type.kind not in WORDS:
        if by_type.kind == BROKEN:
            return None
        scope.into.add(by_node, "wrong-type", f"{by} is {by_type.kind}; a lookup goes by an enum")
        return None
    cases: dict[str, Literal] = {}
    for key_node, key, item in inner.items():
        if key == "by":
            continue
        if key not in by_type.values:
            scope.into.add(
                key_node,
                "unknown-value",
                f"{key!r} is no value of {by}",
                allowed=by_type.values,
                wrong=key,
            )
            continue
        literal = read_literal(kind, item, scope)
        if literal is not None:
            cases[key] = literal
    missing = [word for word in by_type.values if inner.get(word) is None]
    if missing:
        scope.into.add(inner, "incomplete-lookup", f"the lookup by {by} lacks {', '.join(missing)}")
    return Lookup(by, cases) if len(cases) == len(by_type.values) else None


def read_literal(kind: ValueType, node: Node, scope: Scope) -> Literal | None:
    """A constant of ``kind`` within its bounds, or None with a finding."""
    value = node.value
    if value is BAD:
        return None
    if value is None:
        if kind.nullable:
            return Literal(None)
        scope.into.add(node, "wrong-type", "null is not allowed here", allowed=kind.words())
        return None
    if kind.kind == "money":
        amounts = read_amounts(kind, node, scope)
        return None if amounts is None else Literal(amounts, is_money=True)
    if kind.kind == "set" or kind.kind in SEVERAL:
        return _read_words(kind, node, scope)
    return _read_scalar(kind, node, scope)


def _wrong(kind: ValueType, node: Node, scope: Scope) -> None:
    scope.into.add(
        node, "wrong-type", f"{node.shape()} where {kind.kind} belongs", allowed=kind.words()
    )


def _read_scalar(kind: ValueType, node: Node, scope: Scope) -> Literal | None:
    value = node.value
    if kind.kind in WHOLE:
        if not isinstance(value, int) or isinstance(value, bool):
            _wrong(kind, node, scope)
            return None
        return _bounded(kind, value, value, node, scope)
    if kind.kind == "bool":
        if not isinstance(value, bool):
            _wrong(kind, node, scope)
            return None
        return Literal(value)
    if not isinstance(value, str):
        _wrong(kind, node, scope)
        return None
    if kind.kind in WORDS:
        return Literal(value) if known_word(kind, value, node, scope) else None
    try:
        if kind.kind == "duration":
            return Literal(parse_duration(value))
        if kind.kind == "date":
            day = date.fromisoformat(value)
            return _bounded(kind, day, day.toordinal(), node, scope)
        at = parse_instant(value)
        return _bounded(kind, at, microseconds(at), node, scope)
    except ValueError:
        _wrong(kind, node, scope)
        return None


def _bounded(kind: ValueType, value: Any, code: int, node: Node, scope: Scope) -> Literal | None:
    if kind.low <= code <= kind.high:
        return Literal(value)
    scope.into.add(node, "out-of-range", f"{value} lies outside the bounds", allowed=kind.words())
    return None


def known_word(kind: ValueType, word: str, node: Node, scope: Scope) -> bool:
    """Whether a word belongs to the type; a finding with the nearest right one if not."""
    if word in kind.values:
        return True
    where = f"of {kind.of}" if kind.of else "here"
    scope.into.add(
        node, "unknown-value", f"{word!r} is no value {where}", allowed=kind.values, wrong=word
    )
    return False


def _read_words(kind: ValueType, node: Node, scope: Scope) -> Literal | None:
    if not isinstance(node.value, tuple):
        _wrong(kind, node, scope)
        return None
    words = read_ids(kind, node, node.value, scope)
    if words is None:
        return None
    return Literal(frozenset(words) if kind.kind == "set" else tuple(words))


def read_ids(
    kind: ValueType, owner: Node, items: tuple[Node, ...], scope: Scope
) -> list[str] | None:
    """Words of ``kind``, none of them twice; a choice needs one at least."""
    words: list[str] = []
    good = True
    for item in items:
        if item.value is BAD:
            good = False
        elif not isinstance(item.value, str):
            scope.into.add(item, "wrong-type", f"{item.shape()} where a word belongs")
            good = False
        elif not known_word(kind, item.value, item, scope):
            good = False
        elif item.value in words:
            scope.into.add(item, "duplicate-value", f"{item.value!r} stands twice")
            good = False
        else:
            words.append(item.value)
    if kind.kind == "choice" and not items:
        scope.into.add(owner, "empty-choice", "a choice of nothing", allowed=kind.words())
        return None
    return words if good else None


def read_amounts(
    kind: ValueType, node: Node, scope: Scope, *, more_allowed: bool = False
) -> dict[str, int] | None:
    """A money literal: minor units by currency, complete over the pack's currencies.

    ``more_allowed`` where packs of different currencies share a file.
    """
    if not isinstance(node.value, dict):
        scope.into.add(
            node,
            "wrong-type",
            f"{node.shape()} where an amount belongs",
            allowed="minor units by currency, such as {usd: 5000, eur: 5000}",
        )
        return None
    amounts: dict[str, int] = {}
    good = True
    for key_node, currency, item in node.items():
        if not is_currency(currency):
            scope.into.add(
                key_node,
                "unknown-currency",
                f"{currency!r} is no currency code",
                allowed=scope.currencies or "three small letters, ISO 4217",
                wrong=currency,
            )
            good = False
        elif not (more_allowed or scope.currencies is None or currency in scope.currencies):
            scope.into.add(
                key_node,
                "unknown-currency",
                f"the pack declares no currency {currency!r}",
                allowed=scope.currencies or (),
                wrong=currency,
            )
            good = False
        elif item.value is BAD:
            good = False
        elif not isinstance(item.value, int) or isinstance(item.value, bool):
            scope.into.add(
                item, "wrong-type", f"{item.shape()} where minor units belong", allowed="0, 5000"
            )
            good = False
        elif _bounded(kind, item.value, item.value, item, scope) is None:
            good = False
        else:
            amounts[currency] = item.value
    missing = [c for c in scope.currencies or () if node.get(c) is None]
    if missing or not node.value:
        named = ", ".join(missing) or "every currency"
        scope.into.add(node, "missing-currency", f"no amount in {named}: nothing is converted")
        good = False
    return amounts if good else None


def is_currency(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isalpha() and text.islower()
