"""Sides of a box: what one condition holds of one dimension, as something with ``in``.

A test knows its side in a currency and for chosen words of lookups, and says itself in
words. Sides are compared with codes (:mod:`decisions.types`).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from decisions.durations import Duration
from decisions.literals import Term
from decisions.types import NULL, SPAN, ValueType, code_of, seen
from domain.money import Money

BOUNDS = {"lt": "under", "lte": "at most", "gt": "over", "gte": "at least", "eq": "exactly"}


@dataclass(frozen=True, slots=True)
class Among:
    """One of some codes; ``None`` or :data:`NULL` among them lets null pass."""

    codes: frozenset[Any]
    text: str

    def side(self, kind: ValueType, currency: str | None, chosen: Mapping[str, str]) -> Sides:
        return self.codes

    def words(self, kind: ValueType, currency: str | None, chosen: Mapping[str, str]) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Between:
    """An interval over codes. ``bounds`` are (operator, term) pairs, at most one each way."""

    bounds: tuple[tuple[str, Term], ...]
    or_null: bool = False

    def ends(
        self, kind: ValueType, currency: str | None, chosen: Mapping[str, str]
    ) -> tuple[int, int]:
        """Inclusive ends within the type's own bounds; empty when the first is greater."""
        low, high = kind.low, kind.high
        for operator, term in self.bounds:
            picked = term.pick(currency, chosen)
            code = picked if kind.kind == "money" else code_of(kind.kind, picked)
            match operator:
                case "lt":
                    high = min(high, code - 1)
                case "lte":
                    high = min(high, code)
                case "gt":
                    low = max(low, code + 1)
                case "gte":
                    low = max(low, code)
                case _:
                    low, high = max(low, code), min(high, code)
        return low, high

    def side(self, kind: ValueType, currency: str | None, chosen: Mapping[str, str]) -> Sides:
        low, high = self.ends(kind, currency, chosen)
        numbers = range(low, high + 1)
        return OrNull(numbers) if self.or_null else numbers

    def words(self, kind: ValueType, currency: str | None, chosen: Mapping[str, str]) -> str:
        parts = []
        for operator, term in self.bounds:
            value = term.pick(currency, chosen)
            if kind.kind == "money" and currency is not None:
                value = Money(amount_minor=value, currency=currency)
            parts.append(f"{BOUNDS[operator]} {seen(kind.kind, value)}")
        text = " and ".join(parts) or "a value"
        return f"{text}, or null" if self.or_null else text


@dataclass(frozen=True, slots=True)
class Aged:
    """An interval over the age of a date or instant, in completed units."""

    unit: str
    older: Duration | None
    younger: Duration | None
    or_null: bool = False

    def side(self, kind: ValueType, currency: str | None, chosen: Mapping[str, str]) -> Sides:
        low = -SPAN if self.older is None else self.older.count
        high = SPAN if self.younger is None else self.younger.count - 1
        numbers = range(low, high + 1)
        return OrNull(numbers) if self.or_null else numbers

    def words(self, kind: ValueType, currency: str | None, chosen: Mapping[str, str]) -> str:
        parts = []
        if self.older is not None:
            parts.append(f"older than {self.older}")
        if self.younger is not None:
            parts.append(f"younger than {self.younger}")
        text = " and ".join(parts)
        return f"{text}, or null" if self.or_null else text


@dataclass(frozen=True, slots=True)
class OrNull:
    """An interval that null passes too."""

    numbers: range

    def __contains__(self, code: object) -> bool:
        return code == NULL or code in self.numbers


@dataclass(frozen=True, slots=True)
class Words:
    """What a set must share with ``any_of`` and may hold besides nothing of ``subset``."""

    any_of: frozenset[str] | None
    subset: frozenset[str] | None
    or_null: bool = False

    def __contains__(self, code: object) -> bool:
        if not isinstance(code, frozenset):
            return self.or_null
        if self.any_of is not None and self.any_of.isdisjoint(code):
            return False
        return self.subset is None or code <= self.subset

    def side(self, kind: ValueType, currency: str | None, chosen: Mapping[str, str]) -> Sides:
        return self

    def words(self, kind: ValueType, currency: str | None, chosen: Mapping[str, str]) -> str:
        parts = []
        if self.any_of is not None:
            parts.append("any of " + ", ".join(sorted(self.any_of)))
        if self.subset is not None:
            parts.append("nothing but " + (", ".join(sorted(self.subset)) or "the empty set"))
        text = " and ".join(parts) or "a value"
        return f"{text}, or null" if self.or_null else text


Sides = Container[Any]
Test = Among | Between | Aged | Words
