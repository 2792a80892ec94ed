"""What a table's rules leave open, decide twice or never reach: exact, each with a witness.

Rules are boxes (:mod:`decisions.axes`), so these are questions of set arithmetic. Between
tables it is not looked at which results occur with which facts: what a table leaves open in a
case that an earlier one excludes is told, and ``accept_gaps`` says why it is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from decisions.axes import Axes, Witness
from decisions.findings import Collector
from decisions.reader import Parts
from decisions.regions import Budget, TooComplex
from decisions.shapes import rows
from decisions.sides import Between
from decisions.source import Node
from decisions.table import Table

MOST_STEPS = 50_000
"""Steps for one table in one currency, about a second; 30 rules over 8 inputs take hundreds."""

MOST_TOLD = 8
"""Boxes that are told of one table's gaps or of one overlap."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a table's rules.

    ``code`` is ``unreachable``, ``overlap``, ``gap``, ``no-gap`` or ``too-complex``. ``rules``
    are the ids concerned, first the one at which it is told; ``gap`` is the index of the accepted
    gap that is none. ``where`` are boxes in words, ``witness`` is a case of theirs.
    ``currencies`` are those in which it is so, amounts being told in the first; empty when the
    table tests no amounts.
    """

    code: str
    message: str
    allowed: str
    rules: tuple[str, ...] = ()
    gap: int | None = None
    where: tuple[str, ...] = ()
    witness: Witness | None = None
    currencies: tuple[str, ...] = ()


def check_tables(document: Node, parts: Parts, into: Collector) -> None:
    """A finding for each problem of a pack's tables: at the rule or accepted gap concerned,
    gaps at the list of rules. ``document`` is what ``parts`` were read from, without findings."""
    nodes = rows(document.get("tables"), "tables", into) or [document]
    for table, node in zip(parts.tables, nodes, strict=True):
        rules = node.get("rules") or node
        places = dict(zip((rule.id for rule in table.rules), rows(rules, "", into), strict=True))
        gaps = rows(node.get("accept_gaps"), "accept_gaps", into)
        for problem in analyse(table, parts):
            if problem.gap is not None:
                place = gaps[problem.gap]
            else:
                place = places[problem.rules[0]] if problem.rules else rules
            into.add(place, problem.code, problem.message, allowed=problem.allowed)


def analyse(table: Table, parts: Parts) -> list[Problem]:
    """Everything wrong with a table's rules; what is the same in several currencies, once."""
    found: dict[Any, list[Problem]] = {}
    currencies = _currencies(table, parts)
    for currency in currencies:
        for shape, problem in _Search(table, parts, currency).problems():
            key = problem.code, problem.rules, problem.gap, shape
            found.setdefault(key, []).append(problem)
    return [_joined(group, len(currencies)) for group in found.values()]


def _currencies(table: Table, parts: Parts) -> list[str | None]:
    """Those in which the table's conditions may differ; where none are declared, those in
    which all amounts are named: facts in another are refused."""
    tests = [c.test for conditions in table.conditions for c in conditions]
    terms = [term for test in tests if isinstance(test, Between) for _, term in test.bounds]
    amounts = [literal.value for t in terms for literal in t.all() if literal.is_money]
    if not amounts:
        return [None]
    return list(parts.currencies or sorted(set.intersection(*map(set, amounts))))


def _joined(group: list[Problem], currencies: int) -> Problem:
    first, *others = group
    joined = replace(first, currencies=tuple(c for p in group for c in p.currencies))
    if len(group) == currencies and all(other.where == first.where for other in others):
        return joined
    alike = f"; alike in {', '.join(joined.currencies[1:])}" if others else ""
    return replace(joined, message=f"{first.message} (in {joined.currencies[0]}{alike})")


class _Search:
    """The questions to one table in one currency."""

    def __init__(self, table: Table, parts: Parts, currency: str | None) -> None:
        self.table = table
        self.axes = Axes(table, parts, currency)
        self.space = self.axes.space
        self.budget = Budget(MOST_STEPS)
        last = len(table.rules) + 1
        [self.domain, *self.rules] = self.axes.boxes[:last]
        self.gaps = self.axes.boxes[last:]

    def problems(self) -> Iterator[tuple[Any, Problem]]:
        """Problems, each with what makes it the same as one in another currency."""
        try:
            yield from self._unreachable()
            if self.table.hit == "unique":
                yield from self._overlaps()
            if self.table.hit != "collect":
                yield from self._open()
            yield from self._no_gaps()
        except TooComplex:
            message = (
                f"table {self.table.name} is too complex to analyse: its rules cut each other in "
                f"more than {MOST_STEPS} ways"
            )
            allowed = "two tables, the second one reading the first one's results"
            yield None, self._problem("too-complex", message, allowed)

    def _problem(
        self,
        code: str,
        message: str,
        allowed: str,
        *,
        rules: tuple[str, ...] = (),
        gap: int | None = None,
        boxes: Iterable[int] = (),
        witness: Witness | None = None,
    ) -> Problem:
        currencies = (self.axes.currency,) if self.axes.currency else ()
        where = self._told(boxes)
        return Problem(code, message, allowed, rules, gap, where, witness, currencies)

    def _left(self, regions: Iterable[int], boxes: Iterable[int]) -> int | None:
        """Some part of ``regions`` that can happen and that no box holds."""
        others = [*self.axes.impossible, *boxes]
        for region in regions:
            left = self.space.left(region, others, self.budget)
            if left is not None:
                return left
        return None

    def _common(self, some: Iterable[int], others: Iterable[int]) -> list[int]:
        others = list(others)
        both = (one & other for one in some for other in others)
        return [box for box in both if self.space.is_box(box)]

    def _unreachable(self) -> Iterator[tuple[Any, Problem]]:
        earlier: list[int] = []
        for index, rule in enumerate(self.table.rules):
            own = self._common(self.rules[index], self.domain)
            case = self._left(own, ())
            if case is None:
                message = f"rule {rule.id} never fires: no facts meet it"
                if self.table.guard:
                    message += f" where table {self.table.name} runs"
                allowed = "conditions that some facts meet"
                yield None, self._problem("unreachable", message, allowed, rules=(rule.id,))
            elif self.table.hit == "first" and self._left(own, earlier) is None:
                yield None, self._taken(index, own, case)
            earlier += self.rules[index]

    def _taken(self, index: int, own: list[int], case: int) -> Problem:
        """The problem of a rule whose cases, of which ``case`` is one, go to earlier rules."""
        rules = self.table.rules
        takers = [i for i in range(index) if self._common(self.rules[i], own)]
        for taker in list(takers):
            others = [i for i in takers if i != taker]
            if self._left(own, (box for i in others for box in self.rules[i])) is None:
                takers = others
        names = tuple(rules[i].id for i in takers)
        facts = self.axes.witness(case)
        holding = f"one of {', '.join(names)}" if len(names) > 1 else names[0]
        message = f"rule {rules[index].id} never fires: {holding} above holds in all its cases"
        return self._problem(
            "unreachable", message + _example(facts), "a place further up, or no such rule",
            rules=(rules[index].id, *names), boxes=own, witness=facts,
        )  # fmt: skip

    def _overlaps(self) -> Iterator[tuple[Any, Problem]]:
        for (i, one), (j, other) in combinations(enumerate(self.table.rules), 2):
            common = self._common(self._common(self.rules[i], self.rules[j]), self.domain)
            case = self._left(common, ())
            if case is not None:
                common = self.space.joined(common)
                where = "; and for ".join(self._told(common))
                facts = self.axes.witness(case)
                yield (self.space.whole, *common), self._problem(
                    "overlap", f"rules {one.id} and {other.id} both hold for {where}"
                    + _example(facts), "rules of which one holds",
                    rules=(other.id, one.id), boxes=common, witness=facts,
                )  # fmt: skip

    def _open(self) -> Iterator[tuple[Any, Problem]]:
        found = [*self.axes.impossible, *(b for boxes in (*self.rules, *self.gaps) for b in boxes)]
        known, is_all = len(found), True
        for region in self.domain:
            most = MOST_TOLD - (len(found) - known)
            parts, is_whole = self.space.parts(region, found, self.budget, most)
            found += parts
            is_all = is_all and is_whole
        parts = found[known:]
        for part in parts:
            facts = self.axes.witness(part)
            where = self._told([part])[0]
            message = f"no rule of table {self.table.name} holds for {where}{_example(facts)}"
            if part is parts[-1] and not is_all:
                message += "; and there are further cases"
            yield (self.space.whole, part), self._problem(
                "gap", message, "a rule for it, a last rule with when: {}, or accept_gaps",
                boxes=[part], witness=facts,
            )  # fmt: skip

    def _no_gaps(self) -> Iterator[tuple[Any, Problem]]:
        rules = [box for boxes in self.rules for box in boxes]
        for index, boxes in enumerate(self.gaps):
            if self.table.hit == "collect":
                message = "this accepted gap is none: a collect table leaves nothing open"
            elif self._left(self._common(boxes, self.domain), rules) is None:
                message = "this accepted gap is none: a rule holds in each of its cases"
            else:
                continue
            allowed = "a case that no rule holds"
            yield None, self._problem("no-gap", message, allowed, gap=index)

    def _told(self, boxes: Iterable[int]) -> tuple[str, ...]:
        """Boxes in words, where they are narrower than all that the table is asked."""
        asked = 0
        for region in self.domain:
            asked |= region
        joined = self.space.joined(boxes)
        return tuple(self.axes.in_words(box, asked) for box in joined[:MOST_TOLD])


def _example(witness: Witness | None) -> str:
    return "" if witness is None else f"; for example {witness}"
