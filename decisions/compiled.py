"""Tables made ready to run in one currency: boxes of sides, constants, functions.

A rule is an axis-aligned box; a rule with lookups in its bounds is one box per word that it
is looked up by. A side is anything with ``in``: a range, a frozenset, :class:`OrNull`,
:class:`Words`. Everything that does not depend on the facts is done here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import BaseModel

from decisions.conditions import Condition
from decisions.findings import Undecided
from decisions.grid import Codes, Grid, Side
from decisions.outputs import Environment, compile_cell
from decisions.sides import Aged, Sides
from decisions.table import Rule, Table
from decisions.types import SEVERAL, WORDS, ValueType, code_of, ids_of, json_of
from domain.decisions import FiredRule, TraceLine

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
        boxes = [(row, box) for row in self.rows for box in row.boxes]
        self.owners = tuple(row for row, _ in boxes)
        self.grid = Grid(table.name, [(row.id, box.chosen, box.sides) for row, box in boxes])
        # a rule without lookups is one box, and each box before the first was ruled out
        self.is_simple = self.hit == "first" and not any(box.chosen for _, box in boxes)
        self.gaps = tuple(box.tests for gap in table.gaps for box in boxes_of(gap, currency))
        self.skipped_codes = {
            f"{self.name}.{name}": kind.null for name, kind in table.outputs.items()
        }
        self.skipped_values = dict.fromkeys(self.skipped_codes)
        several = self.hit == "collect" and feeds
        self.gathered = tuple(
            name
            for name, kind in table.outputs.items()
            if several and (kind.kind in WORDS or kind.kind in SEVERAL)
        )

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

    def run(self, codes: Codes, facts: dict[str, Any], lines: list[TraceLine] | None) -> list[Row]:
        """The rules that fire. ``lines`` takes the trace: one line for each rule before the one
        that fired, or, where several may fire, for each that did not.

        Raises :class:`Undecided` where the table leaves the facts open or decides twice.
        """
        grid = self.grid
        masks = [0] * len(grid.axes)
        alive = grid.holding(codes, masks)
        if self.hit == "first":
            first = alive & -alive
            fired = [self.owners[first.bit_length() - 1]] if first else []
            missed = first - 1 if first else grid.everything
        else:
            fired = [row for bit, row in enumerate(self.owners) if alive >> bit & 1]
            missed = grid.everything & ~alive
        if lines is not None and missed:
            if not self.is_simple:
                missed &= grid.eligible(codes)
            found = grid.tell(missed, codes, facts, masks)
            lines.extend(found if self.is_simple else filter(None, found))  # type: ignore[arg-type]
        if self.hit == "unique" and len(fired) > 1:
            names = ", ".join(row.id for row in fired)
            raise Undecided(self.name, f"more than one rule holds: {names}")
        if not fired and self.hit != "collect":
            if not any(all(codes[d] in side for d, side, _ in gap) for gap in self.gaps):
                raise Undecided(self.name, "no rule holds, and no accepted gap does")
            codes.update(self.skipped_codes)
            facts.update(self.skipped_values)
        return fired

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

    def gather(self, each: list[dict[str, Any]], codes: Codes, facts: dict[str, Any]) -> None:
        """What later tables see of all fired rules: the words of each output, as a set."""
        for name in self.gathered:
            words: set[str] = set()
            for result in each:
                value = result[name]
                if value is not None:
                    words.update(ids_of([value] if isinstance(value, str) else value))
            codes[f"{self.name}.{name}"] = facts[f"{self.name}.{name}"] = frozenset(words)


def fired_rule(table: str, row: Row, outputs: Mapping[str, Any]) -> FiredRule:
    values = {"table": table, "rule": row.id, "why": row.why, "outputs": outputs}
    found: FiredRule = built(FiredRule, values, _FIRED_FIELDS)
    return found


def age_dimensions(tables: tuple[Table, ...]) -> tuple[tuple[str, str, str, ValueType], ...]:
    """(dimension, input, unit, type) of every age that some table asks for."""
    found: dict[str, tuple[str, str, str, ValueType]] = {}
    for table in tables:
        for condition in (c for conditions in table.conditions for c in conditions):
            if isinstance(condition.test, Aged):
                found[condition.dimension] = (
                    condition.dimension,
                    condition.input,
                    condition.test.unit,
                    condition.kind,
                )
    return tuple(found.values())
