"""Which boxes of a table hold some facts, found for all of them at once.

A grid has a bit for each box and, for each dimension, the boxes that let each code pass. The
boxes that hold the facts are the AND over the dimensions, whatever the number of rules; what
ruled the others out is read from the same masks, dimension by dimension in the order of
their inputs' names.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

from decisions.conditions import Condition
from decisions.durations import UNITS
from decisions.outputs import Environment
from decisions.sides import Aged, OrNull, Sides
from decisions.types import NULL, seen
from domain.decisions import TraceLine

Codes = dict[str, Any]
"""What is compared, by dimension: the code of each input, stage result and age."""

MOST_CACHED = 2048
"""Masks, and lines of a trace, that a dimension keeps for the next decision. A line is most of
what a trace costs; enums, booleans, small counts and the usual prices fit."""

Parts = tuple[tuple[int, str, str], ...]
"""What is told of some boxes: the bit, the rule, and what is allowed in words."""

_new_line = tuple.__new__


class Side:
    """One condition of a box: what is compared, with what, and how it is told in a trace."""

    __slots__ = ("allowed", "dimension", "input", "is_ordered", "kind", "side", "unit")

    def __init__(self, condition: Condition, side: Sides, allowed: str) -> None:
        self.dimension = condition.dimension
        self.input = condition.input
        self.kind = condition.kind.kind
        self.is_ordered = condition.kind.ordered
        self.side = side
        self.allowed = allowed
        self.unit = condition.test.unit if isinstance(condition.test, Aged) else ""


class Axis:
    """One dimension: the mask of boxes that each code passes.

    Ordered codes are cut where some side begins or ends, so that a code's mask is that of
    its segment; other codes are judged when first met and kept, up to :data:`MOST_CACHED`.
    """

    __slots__ = (
        "cuts", "dimension", "input", "kept", "kind", "lines", "masks", "parts", "sides", "told",
        "unit", "words",
    )  # fmt: skip

    def __init__(self, sides: list[tuple[int, str, Side]], boxes: int) -> None:
        first = sides[0][2]
        self.dimension, self.input = first.dimension, first.input
        self.kind, self.unit = first.kind, first.unit
        everything = (1 << boxes) - 1
        untouched = everything & ~sum(1 << bit for bit, _, _ in sides)
        self.sides = tuple((bit, side.side) for bit, _, side in sides)
        self.cuts: list[int] | None = None
        self.masks: list[int] = [untouched]
        self.kept: dict[Any, int] = {}
        self.words = tuple((bit, rule, side.allowed) for bit, rule, side in sides)
        self.parts: dict[int, Parts] = {}
        self.lines: dict[Any, dict[int, TraceLine]] = {}
        self.told = 0
        if first.is_ordered or first.unit:
            self.cuts = sorted({cut for _, _, s in sides for cut in _cuts_of(s.side)})
            begins = [self.cuts[0] - 1, *self.cuts] if self.cuts else [0]
            self.masks = [self._judged(untouched, code) for code in begins]
        else:
            self.masks = [untouched]

    def _judged(self, untouched: int, code: Any) -> int:
        return untouched | sum(1 << bit for bit, side in self.sides if code in side)

    def mask(self, code: Any) -> int:
        """The boxes that ``code`` passes."""
        if self.cuts is not None:
            return self.masks[bisect_right(self.cuts, code)]
        found = self.kept.get(code)
        if found is None:
            found = self._judged(self.masks[0], code)
            if len(self.kept) < MOST_CACHED:
                self.kept[code] = found
        return found

    def tell(
        self, table: str, out: int, code: Any, facts: Environment, lines: list[TraceLine | None]
    ) -> None:
        """Put a line for each box of ``out``, which ``code`` rules out, in its place."""
        parts = self.parts.get(out)
        if parts is None:
            parts = self._parts_of(out)
        name = self.input
        known = self.lines.get(code)
        if known is None:
            text = self._text(code, facts)
            # an age is shown with the day it is counted from, which its code does not hold
            if self.unit or self.told >= MOST_CACHED:
                for bit, rule, allowed in parts:
                    lines[bit] = _new_line(TraceLine, (table, rule, name, text, allowed))
                return
            known = self.lines[code] = {}
        for bit, rule, allowed in parts:
            line = known.get(bit)
            if line is None:
                text = self._text(code, facts)
                line = _new_line(TraceLine, (table, rule, name, text, allowed))
                known[bit] = line
                self.told += 1
            lines[bit] = line

    def _parts_of(self, out: int) -> Parts:
        found = tuple(part for part in self.words if out >> part[0] & 1)
        if len(self.parts) < MOST_CACHED:
            self.parts[out] = found
        return found

    def _text(self, code: Any, facts: Environment) -> str:
        value = facts[self.input]
        text = seen(self.kind, value)
        if self.unit and value is not None:
            text = f"{text} ({code} {UNITS[self.unit]} ago)"
        return text


def _cuts_of(side: Sides) -> Iterable[int]:
    """The codes at which membership of a side of ordered codes may change."""
    if isinstance(side, OrNull):
        return (NULL, NULL + 1, *_cuts_of(side.numbers))
    if isinstance(side, range):
        return (side.start, max(side.start, side.stop))
    if isinstance(side, frozenset):
        return {cut for code in side for cut in (code, code + 1)}
    raise TypeError(f"{type(side).__name__} is no side of ordered codes")


class Grid:
    """The boxes of a table over all its dimensions.

    ``boxes`` are (id of the rule, words of lookups that the box is for, sides), in order.
    """

    def __init__(
        self, table: str, boxes: list[tuple[str, tuple[tuple[str, str], ...], tuple[Side, ...]]]
    ) -> None:
        self.table = table
        self.everything = (1 << len(boxes)) - 1
        found: dict[str, list[tuple[int, str, Side]]] = {}
        chosen: dict[str, dict[str, int]] = {}
        needs: dict[str, int] = {}
        for bit, (rule, words, sides) in enumerate(boxes):
            for side in sides:
                found.setdefault(side.dimension, []).append((bit, rule, side))
            for by, word in words:
                cases = chosen.setdefault(by, {})
                cases[word] = cases.get(word, 0) | 1 << bit
                needs[by] = needs.get(by, 0) | 1 << bit
        axes = [Axis(sides, len(boxes)) for sides in found.values()]
        # a trace names the first input, by name, that ruled a rule out
        self.axes = tuple(sorted(axes, key=lambda axis: (axis.input, axis.dimension)))
        self._ordered = tuple(
            (position, axis.dimension, axis.cuts, axis.masks)
            for position, axis in enumerate(self.axes)
            if axis.cuts is not None
        )
        self._others = tuple(
            (position, axis.dimension, axis.kept, axis)
            for position, axis in enumerate(self.axes)
            if axis.cuts is None
        )
        self._chosen = tuple(
            (by, self.everything & ~needs[by], cases) for by, cases in chosen.items()
        )

    def eligible(self, codes: Codes) -> int:
        """The boxes whose words of lookups are those of the facts."""
        mask = self.everything
        for by, rest, cases in self._chosen:
            mask &= rest | cases.get(codes[by], 0)
        return mask

    def holding(self, codes: Codes, masks: list[int]) -> int:
        """The boxes that hold the facts, among all; ``masks`` takes that of each axis."""
        alive = self.everything
        for position, dimension, cuts, segments in self._ordered:
            masks[position] = mask = segments[bisect_right(cuts, codes[dimension])]
            alive &= mask
        for position, dimension, kept, axis in self._others:
            code = codes[dimension]
            known = kept.get(code)
            masks[position] = mask = axis.mask(code) if known is None else known
            alive &= mask
        return alive & self.eligible(codes) if self._chosen else alive

    def tell(
        self, missed: int, codes: Codes, facts: Environment, masks: list[int]
    ) -> list[TraceLine | None]:
        """For each box of ``missed``, by its bit, the line that says what ruled it out."""
        lines: list[TraceLine | None] = [None] * missed.bit_length()
        for axis, mask in zip(self.axes, masks, strict=True):
            left = missed & mask
            if left != missed:
                axis.tell(self.table, missed ^ left, codes[axis.dimension], facts, lines)
                missed = left
                if not missed:
                    break
        return lines
