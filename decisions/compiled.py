"""Tables made ready to run in one currency: boxes of sides, constants, functions.

A rule is an axis-aligned box; a rule with lookups in its bounds is one box per word that it
is looked up by. A side is anything with ``in``: a range, a frozenset, :class:`OrNull`,
:class:`Words`. Everything that does not depend on the facts is done here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import BaseModel

from decisions.conditions import Condition
from decisions.durations import UNITS
from decisions.findings import Undecided
from decisions.outputs import Environment, compile_cell
from decisions.sides import Aged, Sides
from decisions.table import Rule, Table
from decisions.types import ValueType, code_of, json_of, seen
from domain.decisions import FiredRule, TraceLine

Codes = dict[str, Any]
"""What is compared, by dimension: the code of each input, stage result and age."""

MOST_CACHED = 64
"""Trace lines kept per condition: enums and booleans always fit, and so do small counts."""


_new = object.__new__
_put_values = vars(BaseModel)["__dict__"].__set__
_put_fields = vars(BaseModel)["__pydantic_fields_set__"].__set__
_put_extra = vars(BaseModel)["__pydantic_extra__"].__set__
_put_private = vars(BaseModel)["__pydantic_private__"].__set__


def built(model: Any, values: dict[str, Any], fields: set[str]) -> Any:
    """A frozen model whose values are known to be right, without validating them again.

    Does what pydantic's own ``model_construct`` does, four times as fast: a decision with 30
    trace lines would otherwise spend most of its time on them.
    """
    made = _new(model)
    _put_values(made, values)
    _put_fields(made, fields)
    _put_extra(made, None)
    _put_private(made, None)
    return made


_FIRED_FIELDS = set(FiredRule.model_fields)


class Side:
    """One condition of a box: what is compared, with what, and how it is told in a trace."""

    __slots__ = ("allowed", "cache", "dimension", "input", "kind", "side", "unit")

    def __init__(self, condition: Condition, side: Sides, allowed: str) -> None:
        self.dimension = condition.dimension
        self.input = condition.input
        self.kind = condition.kind.kind
        self.side = side
        self.allowed = allowed
        self.unit = condition.test.unit if isinstance(condition.test, Aged) else ""
        self.cache: dict[Any, TraceLine] = {}

    def line(
        self, table: str, rule: str, codes: Codes, facts: Environment, texts: dict[str, str]
    ) -> TraceLine:
        """The trace line that says that this side ruled its rule out. ``texts`` are the values
        already put in words for this decision, by dimension."""
        code = codes[self.dimension]
        # an age is shown with the day it is counted from, which its code does not hold
        found = None if self.unit else self.cache.get(code)
        if found is None:
            text = texts.get(self.dimension)
            if text is None:
                value = facts[self.input]
                text = seen(self.kind, value)
                if self.unit and value is not None:
                    text = f"{text} ({code} {UNITS[self.unit]} ago)"
                texts[self.dimension] = text
            found = TraceLine(table, rule, self.input, text, self.allowed)
            if len(self.cache) < MOST_CACHED and not self.unit:
                self.cache[code] = found
        return found


@dataclass(frozen=True, slots=True)
class Box:
    """``chosen`` are the words of lookups that this box is for; ``tests`` what is evaluated."""

    chosen: tuple[tuple[str, str], ...]
    sides: tuple[Side, ...]
    tests: tuple[tuple[str, Sides, Side | None], ...]


def boxes_of(conditions: tuple[Condition, ...], currency: str | None) -> tuple[Box, ...]:
    """Raises :class:`~decisions.literals.MissingCurrency`."""
    lookups = {lookup.by: lookup for c in conditions for lookup in c.lookups}
    found = []
    for words in product(*(sorted(lookup.cases) for lookup in lookups.values())):
        chosen = dict(zip(lookups, words, strict=True))
        sides = tuple(
            Side(c, c.test.side(c.kind, currency, chosen), c.test.words(c.kind, currency, chosen))
            for c in conditions
        )
        tests: list[tuple[str, Sides, Side | None]] = [
            (by, frozenset({word}), None) for by, word in chosen.items()
        ]
        tests += [(side.dimension, side.side, side) for side in sides]
        found.append(Box(tuple(chosen.items()), sides, tuple(tests)))
    return tuple(found)


@dataclass(slots=True, eq=False)
class Row:
    """A rule made ready. ``whole`` are constant outputs in JSON, ``fresh`` those that must be
    copied for each decision, ``functions`` compute the rest."""

    id: str
    why: str
    boxes: tuple[Box, ...]
    whole: dict[str, Any]
    fresh: tuple[tuple[str, Any], ...]
    functions: tuple[tuple[str, str, Callable[[Environment], Any], str], ...]
    codes: Codes
    values: dict[str, Any]

    def rule_out(
        self, table: str, codes: Codes, facts: Environment, texts: dict[str, str]
    ) -> TraceLine | None:
        """The first side, by input name, that this row's facts do not meet."""
        for box in self.boxes:
            if all(codes[by] == word for by, word in box.chosen):
                for side in box.sides:
                    if codes[side.dimension] not in side.side:
                        return side.line(table, self.id, codes, facts, texts)
        return None


def _row(table: Table, rule: Rule, currency: str | None) -> Row:
    whole: dict[str, Any] = {}
    fresh: list[tuple[str, Any]] = []
    functions: list[tuple[str, str, Callable[[Environment], Any], str]] = []
    codes: Codes = {}
    values: dict[str, Any] = {}
    for name, kind in table.outputs.items():
        is_constant, constant, function = compile_cell(rule.then[name], name, kind, currency)
        if function is not None and not is_constant:
            functions.append((name, f"{table.name}.{name}", function, kind.kind))
            continue
        as_json = json_of(kind.kind, constant)
        if isinstance(as_json, dict | list):
            fresh.append((name, as_json))
        else:
            whole[name] = as_json
        codes[f"{table.name}.{name}"] = code_of(kind.kind, constant)
        values[f"{table.name}.{name}"] = constant
    return Row(
        rule.id,
        rule.why,
        boxes_of(rule.when, currency),
        whole,
        tuple(fresh),
        tuple(functions),
        codes,
        values,
    )


class CompiledTable:
    """One table, ready to run in one currency."""

    def __init__(self, table: Table, currency: str | None, feeds: bool) -> None:
        self.name = table.name
        self.hit = table.hit
        self.outputs = table.outputs
        self.feeds = feeds
        self.aliases = tuple(table.aliases.items())
        self.guard = boxes_of(table.guard, currency)[0].tests if table.guard else ()
        self.rows = tuple(_row(table, rule, currency) for rule in table.rules)
        self.boxes = tuple((box.tests, row) for row in self.rows for box in row.boxes)
        self.is_simple = len(self.boxes) == len(self.rows) and self.hit == "first"
        self.gaps = tuple(box.tests for gap in table.gaps for box in boxes_of(gap, currency))
        self.skipped_codes = {
            f"{self.name}.{name}": kind.null for name, kind in table.outputs.items()
        }
        self.skipped_values = dict.fromkeys(self.skipped_codes)

    def begin(self, codes: Codes, facts: dict[str, Any]) -> bool:
        """Whether the table is to run; when not, its results are null for later tables."""
        for dimension, side, _ in self.guard:
            if codes[dimension] not in side:
                codes.update(self.skipped_codes)
                facts.update(self.skipped_values)
                return False
        for alias, source in self.aliases:
            codes[alias] = codes[source]
            facts[alias] = facts[source]
        return True

    def first(self, codes: Codes, missed: list[tuple[Row, Side | None]] | None) -> Row | None:
        """The first row, in order, whose box holds the facts; those before it go to ``missed``
        with the side that ruled each of them out."""
        for tests, row in self.boxes:
            for dimension, side, told in tests:
                if codes[dimension] not in side:
                    if missed is not None:
                        missed.append((row, told))
                    break
            else:
                return row
        return None

    def matching(self, codes: Codes) -> list[Row]:
        """All rows whose box holds the facts, in order."""
        return [row for tests, row in self.boxes if all(codes[d] in side for d, side, _ in tests)]

    def run(self, codes: Codes, facts: dict[str, Any], lines: list[TraceLine] | None) -> list[Row]:
        """The rows that fire. ``lines`` takes the trace: one line for each rule before the one
        that fired, or, where several may fire, for each that did not.

        Raises :class:`Undecided` where the table leaves the facts open or decides twice.
        """
        if self.is_simple:
            missed: list[tuple[Row, Side | None]] | None = None if lines is None else []
            row = self.first(codes, missed)
            fired = [] if row is None else [row]
            if lines is not None:
                name, texts = self.name, dict[str, str]()
                for other, side in missed or ():
                    if side is not None:
                        lines.append(side.line(name, other.id, codes, facts, texts))
        else:
            if self.hit == "first":
                row = self.first(codes, None)
                fired = [] if row is None else [row]
            else:
                fired = self.matching(codes)
            if lines is not None:
                lines.extend(self._ruled_out(fired, codes, facts))
        if self.hit == "unique" and len(fired) > 1:
            names = ", ".join(row.id for row in fired)
            raise Undecided(self.name, f"more than one rule holds: {names}")
        if not fired and self.hit != "collect":
            if not any(all(codes[d] in side for d, side, _ in gap) for gap in self.gaps):
                raise Undecided(self.name, "no rule holds, and no accepted gap does")
            codes.update(self.skipped_codes)
            facts.update(self.skipped_values)
        return fired

    def _ruled_out(self, fired: list[Row], codes: Codes, facts: Environment) -> Iterator[TraceLine]:
        texts: dict[str, str] = {}
        for row in self.rows:
            if fired and row is fired[0] and self.hit == "first":
                return
            if row not in fired:
                line = row.rule_out(self.name, codes, facts, texts)
                if line is not None:
                    yield line

    def results(self, row: Row, codes: Codes, facts: dict[str, Any]) -> dict[str, Any]:
        """The outputs of a fired row in JSON types."""
        outputs = dict(row.whole)
        for name, template in row.fresh:
            outputs[name] = template.copy()
        for name, full_name, function, kind in row.functions:
            value = function(facts)
            outputs[name] = json_of(kind, value)
            if self.feeds:
                codes[full_name] = code_of(kind, value)
                facts[full_name] = value
        if self.feeds:
            codes.update(row.codes)
            facts.update(row.values)
        return outputs


def fired_rule(table: str, row: Row, outputs: Mapping[str, Any]) -> FiredRule:
    values = {"table": table, "rule": row.id, "why": row.why, "outputs": outputs}
    found: FiredRule = built(FiredRule, values, _FIRED_FIELDS)
    return found


def age_dimensions(tables: tuple[Table, ...]) -> tuple[tuple[str, str, str, ValueType], ...]:
    """(dimension, input, unit, type) of every age that some table asks for."""
    found: dict[str, tuple[str, str, str, ValueType]] = {}
    for table in tables:
        for condition in (*table.guard, *(c for r in table.rules for c in r.when)):
            if isinstance(condition.test, Aged):
                found[condition.dimension] = (
                    condition.dimension,
                    condition.input,
                    condition.test.unit,
                    condition.kind,
                )
    return tuple(found.values())
