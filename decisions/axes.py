"""A table's conditions as boxes over axes, and such boxes as words and as cases.

An axis has finitely many points: the values of an input between which no rule tells are one.

- numbers, money (in one currency), dates, instants: the intervals between all bounds;
- ages: the same in completed units, an axis of their own, since the moment may be any;
- booleans and words: each value;
- sets: one axis for each group of words that no rule tells apart (none of them, or some);
- null: one more point; of a set, an axis.

Results of earlier tables are axes too, of the words that their rules can answer. That some of
them occur only with some facts is not looked at.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from decisions.compiled import boxes_of
from decisions.durations import (
    Duration,
    age,
    business_days_between,
    completed_months,
)
from decisions.literals import Literal, Lookup
from decisions.reader import Parts
from decisions.regions import Space
from decisions.sides import Aged, OrNull, Sides, Words
from decisions.table import Table
from decisions.types import EPOCH, NULL, SPAN, WORDS, ValueType, code_of, json_of, seen
from domain.deadlines import BusinessCalendar
from domain.money import LARGEST_MINOR, Money

_LAST_DAY = date.max.toordinal()

_WIDEST = {"date": (1, _LAST_DAY), "instant": (-SPAN, SPAN)}
"""Bounds, in codes, of the types whose declaration may leave them open; else of numbers."""


_FAR_DAYS = 400_000
"""Days around the usual moment within which a witness of an age is sought."""


@dataclass(frozen=True, slots=True)
class Witness:
    """One case: the facts that the table reads, as Python values by name (results of earlier
    tables under ``table.output``), at the UTC instant ``at``. ``is_timed`` where ages count."""

    facts: Mapping[str, Any]
    at: datetime
    is_timed: bool

    def __str__(self) -> str:
        """As an example of a policy file gives it."""
        given = ", ".join(f"{name}: {_cell(value)}" for name, value in self.facts.items())
        return f"{{{given}}}, at: {_cell(self.at)}" if self.is_timed else f"{{{given}}}"


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension. ``points`` are (first, last) codes of intervals, words, truth values, and
    last null; ``unit`` is that of an age.

    A set has an axis of the points False (none of them) and True (some) for each group of
    ``words`` that no rule tells apart and, where it may be null, one before them: False, None.
    """

    input: str
    kind: ValueType
    points: tuple[Any, ...]
    unit: str = ""
    words: tuple[str, ...] = ()


class Axes:
    """The axes of a table in one currency (None where it names no amount) and its ``space``.

    ``boxes`` are lists of boxes: the guard's, each rule's, each accepted gap's, in the order of
    :attr:`decisions.table.Table.conditions`. ``impossible`` are boxes of what cannot happen.
    """

    def __init__(self, table: Table, parts: Parts, currency: str | None) -> None:
        self.table = table
        self.currency = currency
        self._calendar = parts.calendars.get(parts.timers.calendar or "")
        self._zone = self._calendar.zone if self._calendar else "UTC"
        self._at = self._noon(parts.effective_from)
        groups = [boxes_of(conditions, currency) for conditions in table.conditions]
        tests = [[box.tests for box in group] for group in groups]
        self.axes = self._axes([test for group in tests for box in group for test in box], parts)
        self.space = Space([len(axis.points) for axis in self.axes])
        self._of: dict[tuple[str, str], list[int]] = {}
        for index, axis in enumerate(self.axes):
            self._of.setdefault((axis.input, axis.unit), []).append(index)
        self.boxes = [[packed for box in group for packed in self._packed(box)] for group in tests]
        self.impossible = [*self._without_currency(parts), *self._half_null()]

    def _named(self, dimension: str) -> tuple[str, str]:
        """The input and the unit of its age; a table's own name for a result is the result's."""
        name, _, unit = dimension.partition(" age ")
        return self.table.aliases.get(name, name), unit

    def _axes(self, tests: list[tuple[Any, ...]], parts: Parts) -> list[Axis]:
        kinds = {c.input: c.kind for c in self.table.guard} | self.table.inputs
        sides: dict[tuple[str, str], list[Sides]] = {}
        for dimension, side, _ in tests:
            sides.setdefault(self._named(dimension), []).append(side)
        answers = _answers(parts.tables)
        axes = []
        for (name, unit), found in sorted(sides.items()):
            kind = kinds[name]
            null = (kind.null,) if kind.nullable else ()
            if kind.ordered:
                ends = _longest(unit, self._calendar) if unit else (kind.low, kind.high)
                axes.append(Axis(name, kind, (*_intervals(*ends, found), *null), unit))
            elif kind.kind == "set":
                if kind.nullable:
                    axes.append(Axis(name, kind, (False, None)))
                groups = _told_apart(kind.values, found)
                axes += [Axis(name, kind, (False, True), words=words) for words in groups]
            else:
                words = (False, True) if kind.kind == "bool" else kind.values
                given = answers.get(name, words)
                axes.append(Axis(name, kind, (*(w for w in words if w in given), *null)))
        return axes

    def _packed(self, tests: Iterable[tuple[Any, ...]]) -> list[int]:
        """A compiled box over the axes; one that tests a set may be several, or empty."""
        found = [self.space.whole]
        for dimension, side, _ in tests:
            slabs = list(self._slabs(self._of[self._named(dimension)], side))
            found = [box & slab for box in found for slab in slabs]
        return [box for box in found if self.space.is_box(box)]

    def _slabs(self, indices: list[int], side: Sides) -> Iterator[int]:
        axis = self.axes[indices[0]]
        if axis.kind.kind != "set":
            firsts = [p[0] if isinstance(p, tuple) else p for p in axis.points]
            yield self.space.slab(indices[0], (i for i, p in enumerate(firsts) if p in side))
            return
        valued = self.space.whole
        if axis.kind.nullable:
            null, *indices = indices
            if None in side:
                yield self.space.slab(null, [1])
            valued = self.space.slab(null, [0])
        if not isinstance(side, Words):
            return
        for index in indices:
            if side.subset is not None and side.subset.isdisjoint(self.axes[index].words):
                valued &= self.space.slab(index, [0])
        if side.any_of is None:
            yield valued
            return
        for index in indices:
            if not side.any_of.isdisjoint(self.axes[index].words):
                yield valued & self.space.slab(index, [1])

    def _null(self, name: str, unit: str, is_null: bool) -> int:
        """All whose input, or its age, is null; or all others."""
        index = self._of[name, unit][0]
        last = len(self.axes[index].points) - 1
        return self.space.slab(index, [last] if is_null else range(last))

    def _without_currency(self, parts: Parts) -> Iterator[int]:
        """Facts in a currency hold some amount: not all of the pack's inputs are null. In a pack
        of one currency they may be."""
        if self.currency is None or self.currency == parts.only_currency:
            return
        money = [(name, kind) for name, kind in parts.inputs.items() if kind.kind == "money"]
        if all(kind.nullable and (n, "") in self._of for n, kind in money):
            box = self.space.whole
            for name, _ in money:
                box &= self._null(name, "", True)
            yield box

    def _half_null(self) -> Iterator[int]:
        """A date that is null has no age, and only such a one."""
        for name, unit in self._of:
            kind = self.axes[self._of[name, unit][0]].kind
            if unit and kind.nullable and (name, "") in self._of:
                yield self._null(name, "", True) & self._null(name, unit, False)
                yield self._null(name, "", False) & self._null(name, unit, True)

    def in_words(self, box: int, asked: int) -> str:
        """The sides of a box that are narrower than those of ``asked``: ``tenure 0 to 23, plan
        basic or pro``."""
        shown = {source: name for name, source in self.table.aliases.items()}
        told: dict[str, list[str]] = {}
        for index, axis in enumerate(self.axes):
            if asked & ~box & self.space.fields[index]:
                texts = told.setdefault(shown.get(axis.input, axis.input), [])
                texts.append(self._side_in_words(box, index))
        sides = (f"{name} {' and '.join(texts)}" for name, texts in told.items())
        return ", ".join(sides) or "every case"

    def _side_in_words(self, box: int, index: int) -> str:
        axis = self.axes[index]
        points = [axis.points[i] for i in self.space.points(box, index)]
        if axis.words:
            return f"with {' or '.join(axis.words)}" if points[0] else (
                f"without {', '.join(axis.words)}"
            )  # fmt: skip
        if axis.kind.kind == "set":
            return "null" if points[0] is None else "not null"
        runs: list[tuple[int, int]] = []
        texts = []
        for point in points:
            if not isinstance(point, tuple):
                texts.append("null" if point == axis.kind.null else seen(axis.kind.kind, point))
            elif runs and runs[-1][1] + 1 == point[0]:
                runs[-1] = runs[-1][0], point[1]
            else:
                runs.append(point)
        return " or ".join([*(self._run_in_words(axis, *run) for run in runs), *texts])

    def _run_in_words(self, axis: Axis, first: int, last: int) -> str:
        lowest, highest = _WIDEST.get(axis.kind.kind, (-LARGEST_MINOR, LARGEST_MINOR))
        if axis.unit:
            lowest, highest = _longest(axis.unit, self._calendar)
        if first <= lowest and last >= highest:
            return "not null"
        if axis.unit:
            older = Duration(first, axis.unit) if first > lowest else None
            younger = Duration(last + 1, axis.unit) if last < highest else None
            return Aged(axis.unit, older, younger).words(axis.kind, None, {})
        kind = axis.kind.kind
        if first == last:
            return seen(kind, self._value(kind, first))
        if first <= lowest:
            return f"at most {seen(kind, self._value(kind, last))}"
        if last >= highest:
            return f"at least {seen(kind, self._value(kind, first))}"
        return f"{seen(kind, self._value(kind, first))} to {seen(kind, self._value(kind, last))}"

    def _value(self, kind: str, code: int) -> Any:
        """The Python value of a number's code."""
        match kind:
            case "money":
                # a table that names no amount is the same in all currencies
                return Money(amount_minor=code, currency=self.currency or "usd")
            case "date":
                return date.fromordinal(code)
            case "instant":
                return EPOCH + timedelta(microseconds=code)
            case _:
                return code

    def witness(self, box: int) -> Witness | None:
        """One case of a box; None where no moment is found at which all its ages occur."""
        at = self._at
        try:
            for _ in range(2):
                facts, moved = {}, at
                for name in dict.fromkeys(axis.input for axis in self.axes):
                    facts[name], moved = self._fact(box, name, at)
                    if moved != at:
                        break
                else:
                    return Witness(facts, at, any(axis.unit for axis in self.axes))
                at = moved
        except (ValueError, OverflowError):
            return None  # beyond the years that the calendar, or Python's dates, know
        return None

    def _fact(self, box: int, name: str, at: datetime) -> tuple[Any, datetime]:
        """A value of an input within a box and the moment at which it has its age: ``at``
        itself where there is such a value."""
        points = {
            (axis.unit, axis.words): axis.points[self.space.points(box, index)[0]]
            for index, axis in enumerate(self.axes)
            if axis.input == name
        }
        kind = next(axis.kind for axis in self.axes if axis.input == name)
        if any(point is None or point == NULL for point in points.values()):
            return None, at
        if kind.kind == "set":
            return frozenset(words[0] for (_, words), some in points.items() if some), at
        first = points.get(("", ()))
        if not kind.ordered:
            return first, at
        low, high = first if isinstance(first, tuple) else (kind.low, kind.high)
        near = code_of(kind.kind, at if kind.kind == "instant" else at.date()) if (
            kind.kind in _WIDEST
        ) else 0  # fmt: skip
        value = self._value(kind.kind, min(max(near, low), high))
        for (unit, _), ages in points.items():
            if unit:
                count = min(max(0, ages[0]), ages[1])
                found = self._aged(kind.kind, (low, high), count, unit, at)
                return (value, self._later(value, count, unit)) if found is None else (found, at)
        return value, at

    def _noon(self, day: date) -> datetime:
        return datetime.combine(day, time(12), ZoneInfo(self._zone)).astimezone(UTC)

    def _aged(
        self, kind: str, ends: tuple[int, int], count: int, unit: str, at: datetime
    ) -> date | datetime | None:
        """A value whose code lies within ``ends`` and whose age at ``at`` is ``count`` units."""

        def value(day: int) -> date | datetime:
            if kind == "date":
                return date.fromordinal(day)
            noon = code_of(kind, self._noon(date.fromordinal(day)))
            found: datetime = self._value(kind, min(max(noon, ends[0]), ends[1]))
            return found

        if unit == "min":
            minutes_ago = code_of(kind, at - timedelta(minutes=count))
            return self._value(kind, minutes_ago) if ends[0] <= minutes_ago <= ends[1] else None
        days = self._days(at, unit)
        if kind == "date":
            days = range(max(days.start, ends[0]), min(days.stop, ends[1] + 1))
        day = self._first(days, -count, lambda day: -self._age(value(day), at, unit))
        return None if day is None else value(day)

    def _later(self, value: date | datetime, count: int, unit: str) -> datetime:
        """A moment at which a value is ``count`` units old. Raises ``ValueError``."""
        if isinstance(value, datetime) and unit == "min":
            return value + timedelta(minutes=count)
        days = self._days(value, unit)

        def noon(day: int) -> datetime:
            return self._noon(date.fromordinal(day))

        day = self._first(days, count, lambda day: self._age(value, noon(day), unit))
        if day is None:
            raise ValueError(f"no moment is known at which {value} is {count} {unit} old")
        return noon(day)

    def _days(self, around: date, unit: str) -> range:
        """The ordinals of the days at which an age is sought."""
        if unit == "bd" and self._calendar is not None:
            # the last days may lead to a business day that the calendar does not know
            last = self._calendar.covers_to.toordinal() - 14
            return range(self._calendar.covers_from.toordinal(), last + 1)
        middle = around.toordinal()
        # a year less at both ends: no zone and no month leads out of Python's dates
        return range(max(middle - _FAR_DAYS, 366), min(middle + _FAR_DAYS, _LAST_DAY - 366))

    def _age(self, value: date | datetime, at: datetime, unit: str) -> int:
        return age(value, at, unit, self._zone, self._calendar)

    @staticmethod
    def _first(days: range, wanted: int, count: Callable[[int], int]) -> int | None:
        """The first day of which a count that never falls from day to day is ``wanted``."""
        place = bisect_left(days, wanted, key=count)
        return days[place] if place < len(days) and count(days[place]) == wanted else None


def _answers(tables: Iterable[Table]) -> dict[str, set[Any]]:
    """The words and truth values that a table's rules can answer, by ``table.output``, where
    all are written out."""
    found: dict[str, set[Any]] = {}
    for table in tables:
        for name, kind in table.outputs.items():
            cells = [rule.then[name] for rule in table.rules]
            terms = [cell for cell in cells if isinstance(cell, Literal | Lookup)]
            is_told = len(terms) == len(cells) and table.hit != "collect"
            if is_told and (kind.kind in WORDS or kind.kind == "bool"):
                found[f"{table.name}.{name}"] = {lit.value for t in terms for lit in t.all()}
    return found


def _intervals(low: int, high: int, sides: Iterable[Sides]) -> Iterator[tuple[int, int]]:
    """The widest intervals from ``low`` to ``high``, both ends within, that no side divides."""
    cuts = {low, high + 1}
    for side in sides:
        numbers = side.numbers if isinstance(side, OrNull) else side
        if isinstance(numbers, range):
            cuts |= {numbers.start, numbers.stop}
        elif isinstance(numbers, frozenset):
            cuts |= {end for code in numbers for end in (code, code + 1)}
    for first, after in pairwise(sorted(cut for cut in cuts if low <= cut <= high + 1)):
        yield first, after - 1


def _told_apart(words: Iterable[str], sides: Iterable[Sides]) -> list[tuple[str, ...]]:
    """Words in groups of which each test of a set names all or none."""
    named = [
        n for s in sides if isinstance(s, Words) for n in (s.any_of, s.subset) if n is not None
    ]
    groups: dict[tuple[bool, ...], list[str]] = {}
    for word in words:
        groups.setdefault(tuple(word in names for names in named), []).append(word)
    return [tuple(group) for group in groups.values()]


def _longest(unit: str, calendar: BusinessCalendar | None) -> tuple[int, int]:
    """The least and greatest age that two moments can have."""
    if unit == "bd":
        if calendar is None:
            raise AssertionError("an age in business days loads with a calendar only")
        ends = calendar.covers_from, calendar.covers_to
        days = business_days_between(*ends, calendar)
        return -days, days
    if unit in ("M", "Y"):
        months = 12 if unit == "Y" else 1
        least, most = completed_months(date.max, date.min), completed_months(date.min, date.max)
        return least // months, most // months
    days = (date.max - date.min).days + 1
    most = days * 24 * 60 if unit == "min" else days
    return -most, most


def _cell(value: Any) -> str:
    """A fact as a policy file writes it."""
    match value:
        case Money():
            return f"{{{value.currency}: {value.amount_minor}}}"
        case frozenset():
            return f"[{', '.join(sorted(value))}]"
        case datetime():
            return f'"{json_of("instant", value)}"'
        case date():
            return f'"{value.isoformat()}"'
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)
