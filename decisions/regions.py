"""Boxes over finite dimensions, each box one integer: exact set arithmetic, fast.

A dimension of ``n`` points is a field of ``n`` bits, with a spare bit above it; a box is the
fields of its sides. Two boxes meet when every field of their intersection holds a point, and
that is one addition: ones added to a field that is not zero carry into its spare bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class TooComplex(Exception):
    """An answer that takes more steps than the :class:`Budget` allows."""


class Budget:
    """Steps that a search may still take; whoever shares one shares its end."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def spend(self) -> None:
        """Raises :class:`TooComplex` when nothing is left."""
        self.steps -= 1
        if self.steps < 0:
            raise TooComplex


class Space:
    """``sizes`` are the numbers of points of each dimension, at least one each."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.shifts: list[int] = []
        self.fields: list[int] = []
        self._spare = 0
        shift = 0
        for size in sizes:
            self.shifts.append(shift)
            self.fields.append((1 << size) - 1 << shift)
            self._spare |= 1 << shift + size
            shift += size + 1
        self.whole = sum(self.fields)

    def slab(self, dimension: int, points: Iterable[int]) -> int:
        """The box of all that has one of ``points`` (indices) in a dimension."""
        side = sum(1 << self.shifts[dimension] + point for point in points)
        return self.whole & ~self.fields[dimension] | side

    def points(self, box: int, dimension: int) -> list[int]:
        """The indices of the points that a box's side holds."""
        side = (box & self.fields[dimension]) >> self.shifts[dimension]
        return [point for point in range(side.bit_length()) if side >> point & 1]

    def is_box(self, box: int) -> bool:
        """Whether every side holds a point: false of an empty intersection."""
        return (box + self.whole) & self._spare == self._spare

    def left(self, region: int, boxes: Iterable[int], budget: Budget) -> int | None:
        """A part of ``region``, itself a box, that no box of ``boxes`` meets; None when they
        cover all of it. Raises :class:`TooComplex`.

        Takes away the box that sticks out least of what is left, so that one with a single
        side to cut costs no branch, and goes on with each piece.
        """
        whole, spare = self.whole, self._spare
        stack = [(region, list(boxes))]
        while stack:
            budget.spend()
            region, others = stack.pop()
            live = []
            fewest, cutter = len(self.fields) + 1, 0
            for box in others:
                if (region & box) + whole & spare != spare:
                    continue
                sides = ((region & ~box) + whole & spare).bit_count()
                if sides == 0:
                    break
                if sides < fewest:
                    fewest, cutter = sides, box
                live.append(box)
            else:
                if not live:
                    return region
                for field in self.fields:
                    outside = region & field & ~cutter
                    if outside:
                        stack.append((region & ~field | outside, live))
                        region &= ~field | cutter
        return None

    def widened(self, region: int, boxes: Sequence[int], within: int) -> int:
        """``region`` made as wide as ``within`` allows, one dimension after the other, still
        meeting none of ``boxes``."""
        for field in self.fields:
            anywhere = region | field
            taken = 0
            for box in boxes:
                if self.is_box(anywhere & box):
                    taken |= box
            region |= within & field & ~taken
        return region

    def parts(
        self, region: int, boxes: Iterable[int], budget: Budget, most: int
    ) -> tuple[list[int], bool]:
        """All that ``boxes`` leave of ``region``, as boxes as wide as can be (they may
        overlap), and whether that is all of it: at most ``most`` are given.

        Raises :class:`TooComplex`.
        """
        taken = list(boxes)
        found: list[int] = []
        while (part := self.left(region, [*taken, *found], budget)) is not None:
            if len(found) == most:
                return found, False
            found.append(self.widened(part, taken, region))
        return found, True

    def joined(self, boxes: Iterable[int]) -> list[int]:
        """The same points in fewer boxes: one within another is dropped, and two that differ
        in one dimension are made one, for as long as there are any."""
        found: list[int] = []
        for box in boxes:
            news = box
            while True:
                near = next((other for other in found if self._is_union_box(other, news)), None)
                if near is None:
                    break
                found.remove(near)
                news |= near
            found.append(news)
        return found

    def _is_union_box(self, one: int, other: int) -> bool:
        differing = sum(1 for field in self.fields if (one ^ other) & field)
        return differing <= 1 or one | other in (one, other)
