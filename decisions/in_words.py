"""Cells of a policy in a reader's words: what a condition asks, what an output is.

Cells are taken from the document itself (JSON types, as :attr:`decisions.pack.Pack.content`
has them), so that two versions can be told side by side, cell by cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from babel.numbers import format_decimal, format_percent, is_currency

from decisions.durations import Duration, parse_duration
from decisions.types import ValueType
from domain.canonical import parse_instant
from domain.cases import Language
from domain.money import Money
from domain.texts import day_in_words, instant_in_words, money_in_words, say

BOUNDS = ("eq", "gte", "gt", "lte", "lt")
"""The order in which an interval is told: from below, then to above."""

OPERANDS = ("times", "bps", "plus", "minus", "min", "max")
"""The order in which a computed amount is told, as :mod:`decisions.outputs` computes it."""

PLAIN = ValueType("text")
DURATION = ValueType("duration")


class Wording:
    """Words in one language. ``kind`` is the declared type of what a cell is about."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def say(self, key: str, **parts: str) -> str:
        return say(key, self.language, **parts)

    def joined(self, items: Iterable[str], key: str = "list.and") -> str:
        """``a, b and c``; a word for nothing."""
        *others, last = list(items) or [self.say("value.none")]
        return self.say(key, first=", ".join(others), last=last) if others else last

    def length(self, length: Duration) -> str:
        key = f"length.{length.unit}"
        return self.say(f"{key}.one" if length.count == 1 else key, count=self.number(length.count))

    def number(self, number: int) -> str:
        return str(format_decimal(number, locale=self.language.value))

    def money(self, amount: Money) -> str:
        return money_in_words(amount, self.language)

    # --- values --------------------------------------------------------------------------

    def value(self, kind: ValueType, value: Any) -> str:
        """A literal, a lookup or an amount by currency, as an author wrote it."""
        match value:
            case None:
                return self.say("value.empty")
            case bool():
                return self.say("value.true" if value else "value.false")
            case int():
                return self._number(kind, value)
            case str():
                return self._text(kind, value)
            case list() | tuple():
                return self.joined(self.value(kind, item) for item in value)
            case {"lookup": Mapping() as cases}:
                told = (
                    f"{word}: {self.value(kind, item)}"
                    for word, item in cases.items()
                    if word != "by"
                )
                return self.say("lookup", by=str(cases.get("by")), cases=", ".join(told))
            case {"amount_minor": int(), "currency": str()}:
                return self.money(Money.model_validate(value))
            case Mapping() if is_amounts(value):
                return " / ".join(
                    self.money(Money(amount_minor=minor, currency=currency))
                    for currency, minor in value.items()
                )
            case Mapping():
                ordered = sorted(value.items(), key=lambda item: item[0] != "id")
                told = (f"{name} {self.output(PLAIN, item)}" for name, item in ordered)
                return ", ".join(told) or self.say("value.none")
            case _:
                return str(value)

    def _number(self, kind: ValueType, number: int) -> str:
        if kind.kind == "bps":
            share = Decimal(number).scaleb(-4)
            locale = self.language.value
            return str(format_percent(share, locale=locale, decimal_quantization=False))
        if kind.kind == "days":
            return self.length(Duration(number, "d"))
        return self.number(number)

    def _text(self, kind: ValueType, text: str) -> str:
        if kind.kind == "date":
            return day_in_words(date.fromisoformat(text), self.language)
        if kind.kind == "instant":
            return instant_in_words(parse_instant(text), self.language)
        if kind.kind == "duration":
            return self.length(parse_duration(text))
        return text

    # --- conditions ----------------------------------------------------------------------

    def condition(self, kind: ValueType, cell: Any) -> str:
        """What one condition asks of its input, without the input's name."""
        if isinstance(cell, list | tuple):
            return self.joined((self.value(kind, item) for item in cell), "list.or")
        if not isinstance(cell, Mapping) or is_amounts(cell) or set(cell) == {"lookup"}:
            return self.value(kind, cell)
        parts = [*self._bounds(kind, cell), *self._ages(cell), *self._set_tests(cell)]
        if "is_null" in cell and not parts:
            return self.say("value.empty" if cell["is_null"] else "value.not_empty")
        text = self.joined(parts)
        if cell.get("or_null"):
            return self.say("list.or", first=text, last=self.say("value.empty"))
        return text

    def _bounds(self, kind: ValueType, cell: Mapping[str, Any]) -> list[str]:
        family = "day" if kind.kind in ("date", "instant") else "bound"
        return [
            self.say(f"{family}.{operator}", value=self.value(kind, cell[operator]))
            for operator in BOUNDS
            if operator in cell
        ]

    def _ages(self, cell: Mapping[str, Any]) -> list[str]:
        return [
            self.say(f"age.{key}", length=self.value(DURATION, cell[key]))
            for key in ("older_than", "younger_than")
            if key in cell
        ]

    def _set_tests(self, cell: Mapping[str, Any]) -> list[str]:
        return [
            self.say(f"set.{key}", words=", ".join(cell[key]) or self.say("value.none"))
            for key in ("any_of", "subset")
            if key in cell
        ]

    def clauses(self, kinds: Mapping[str, ValueType], when: Mapping[str, Any]) -> str:
        """All conditions of a rule in one breath, with the names of their inputs."""
        told = []
        for name, cell in when.items():
            is_set = isinstance(cell, Mapping) and bool(cell.keys() & {"any_of", "subset"})
            key = "clause.holds" if is_set else "clause.is"
            told.append(
                self.say(key, name=name, words=self.condition(kinds.get(name, PLAIN), cell))
            )
        return self.joined(told, "list.clauses")

    # --- outputs -------------------------------------------------------------------------

    def output(self, kind: ValueType, cell: Any) -> str:
        """What one output comes to."""
        if isinstance(cell, list | tuple) and any(isinstance(item, Mapping) for item in cell):
            return "; ".join(self.output(kind, item) for item in cell)
        if not isinstance(cell, Mapping) or is_amounts(cell) or set(cell) == {"lookup"}:
            return self.value(kind, cell)
        if "law" in cell:
            return self._law(kind, cell)
        if "in" in cell:
            return self._deadline(cell)
        if "of" in cell:
            return self._computed(kind, cell)
        return self.value(kind, cell)

    def _law(self, kind: ValueType, cell: Mapping[str, Any]) -> str:
        """As :func:`decisions.jurisdictions.written_out` has it: the value, its name, any doubt."""
        text = self._deadline(cell) if "in" in cell else self.value(kind, cell["is"])
        text = f"{text} [{cell['law']}]"
        return text if cell["verified"] else self.say("mark.unverified", value=text)

    def _deadline(self, cell: Mapping[str, Any]) -> str:
        length = self.value(DURATION, cell["in"])
        if "from" in cell:
            return self.say("offset.from", length=length, start=str(cell["from"]))
        return self.say("offset", length=length)

    def _computed(self, kind: ValueType, cell: Mapping[str, Any]) -> str:
        name = str(cell["of"])
        if set(cell) == {"of"}:
            return self.say("value.same_as", name=name)
        text = name
        for key in OPERANDS:
            if key not in cell:
                continue
            words = self._operand(key, kind, cell[key])
            match key:
                case "times" | "bps":
                    text += f" × {words}"
                case "plus":
                    text += f" + {words}"
                case "minus":
                    text += f" − {words}"
                case "min":
                    text += f", {self.say('bound.gte', value=words)}"
                case _:
                    text += f", {self.say('bound.lte', value=words)}"
            if key == "bps" and "round" in cell:
                text += f" ({self.say('round.' + str(cell['round']))})"
        return text

    def _operand(self, key: str, kind: ValueType, operand: Any) -> str:
        if isinstance(operand, str):
            return operand
        factors = {"times": ValueType("int"), "bps": ValueType("bps")}
        return self.value(factors.get(key, kind), operand)

    def results(self, kinds: Mapping[str, ValueType], then: Mapping[str, Any]) -> str:
        """All outputs of a rule in one breath."""
        return self.joined(
            self.say("clause.is", name=name, words=self.output(kinds.get(name, PLAIN), cell))
            for name, cell in then.items()
        )

    def sentence(
        self,
        inputs: Mapping[str, ValueType],
        outputs: Mapping[str, ValueType],
        rule: Mapping[str, Any],
        *,
        is_first: bool,
    ) -> str:
        """A whole rule as one sentence."""
        results = self.results(outputs, rule["then"])
        if rule["when"]:
            conditions = self.clauses(inputs, rule["when"])
            return self.say("rule.if", conditions=conditions, outputs=results)
        return self.say("rule.always" if is_first else "rule.otherwise", outputs=results)


def is_amounts(cell: Any) -> bool:
    """Whether a cell is minor units by currency, and not ``{min: 3, max: 5}``."""
    return (
        isinstance(cell, Mapping)
        and bool(cell)
        and all(is_currency(str(key).upper()) and type(item) is int for key, item in cell.items())
    )
