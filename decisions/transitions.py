"""What another version of a policy would have decided on facts that are on record.

A transition matrix for the rules of each table and for each outcome, filled one case at a time:
memory grows with the number of rules and outcomes, not with the number of cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import Any

from decisions.difference import OUTCOMES
from decisions.findings import FactError, Undecided
from decisions.in_words import Wording
from decisions.pack import Pack, facts_from_json
from decisions.sheets import Grid, Sheet
from domain.cases import Language
from domain.decisions import Decision
from domain.money import Money

SAMPLES = 5
"""Case ids kept for each cell of a matrix."""

NOTHING = "-"
"""The state of a table that did not run or has no answer, and of an absent outcome."""


@dataclass
class Cell:
    """``money`` is what the other version grants more, by output and currency; ``approvals``
    how many more yeses it asks for; ``samples`` the first case ids."""

    cases: int = 0
    money: dict[tuple[str, str], Money] = field(default_factory=dict)
    approvals: int = 0
    samples: list[str] = field(default_factory=list)

    def add(self, case_id: str, money: Mapping[tuple[str, str], Money], approvals: int) -> None:
        self.cases += 1
        self.approvals += approvals
        for key, amount in money.items():
            self.money[key] = self.money[key] + amount if key in self.money else amount
        if len(self.samples) < SAMPLES:
            self.samples.append(case_id)


Matrix = dict[tuple[str, str], Cell]
"""Cells by (state under the version before, state under the one after)."""


class Transitions:
    """Decides each case under both versions and counts what becomes of it."""

    def __init__(self, before: Pack, after: Pack) -> None:
        self.before, self.after = before, after
        self.changed = Cell()
        self.total = Cell()
        self.rules: dict[str, Matrix] = {}
        self.outcomes: dict[str, Matrix] = {}
        kinds = {
            name: kind for pack in (before, after) for t in pack.tables
            for name, kind in t.outputs.items()
        }  # fmt: skip
        self._amounts = [name for name, kind in kinds.items() if kind.kind == "money"]
        self._routes = [name for name, kind in kinds.items() if kind.kind == "route"]
        self._told = [name for name, kind in kinds.items() if kind.kind in OUTCOMES]

    def add(self, case_id: str, facts: Mapping[str, Any], at: datetime) -> None:
        """One case: its facts as a stored decision has them, and the instant of decision.

        Facts that a version cannot decide (it asks for one that was not recorded) count as a
        state of their own, which says why.
        """
        one, other = (_decided(pack, facts, at) for pack in (self.before, self.after))
        money = self._money(one, other)
        asked = [_asked(pack, found, self._routes)
                 for pack, found in ((self.before, one), (self.after, other))]  # fmt: skip
        approvals = asked[1] - asked[0]
        self.total.add(case_id, money, approvals)
        pairs = (
            (self.rules, _rules(one), _rules(other)),
            (self.outcomes, self._outcomes(one), self._outcomes(other)),
        )
        for matrices, was, now in pairs:
            for name in [*was, *(name for name in now if name not in was)]:
                state = was.get(name, _missing(one)), now.get(name, _missing(other))
                cell = matrices.setdefault(name, {}).setdefault(state, Cell())
                cell.add(case_id, money, approvals)
        if any(was != now for _, was, now in pairs) or money:
            self.changed.add(case_id, money, approvals)

    def _money(self, one: Decision | str, other: Decision | str) -> dict[tuple[str, str], Money]:
        found: dict[tuple[str, str], Money] = {}
        for name in self._amounts:
            was, now = (_amounts(answer, name) for answer in (one, other))
            for amount, sign in [*((a, -1) for a in was), *((a, 1) for a in now)]:
                key = (name, amount.currency)
                signed = amount if sign > 0 else -amount
                found[key] = found[key] + signed if key in found else signed
        return {key: amount for key, amount in found.items() if amount}

    def _outcomes(self, answer: Decision | str) -> dict[str, str]:
        if isinstance(answer, str):
            return {}
        return {name: _state(answer.outputs[name]) for name in self._told if name in answer.outputs}


def _decided(pack: Pack, facts: Mapping[str, Any], at: datetime) -> Decision | str:
    try:
        return pack.decide(facts_from_json(pack, facts), at, trace=False)
    except FactError as error:
        return f"{error.fact} {error.message}"
    except Undecided as error:
        return str(error)


def _missing(answer: Decision | str) -> str:
    return answer if isinstance(answer, str) else NOTHING


def _rules(answer: Decision | str) -> dict[str, str]:
    found: dict[str, str] = {}
    for fired in () if isinstance(answer, str) else answer.fired:
        before = found.get(fired.table)
        found[fired.table] = fired.rule if before is None else f"{before}, {fired.rule}"
    return found


def _amounts(answer: Decision | str, name: str) -> list[Money]:
    """Amounts of one output: none, one, or those of all rules of a ``collect`` table."""
    value = None if isinstance(answer, str) else answer.outputs.get(name)
    items = value if isinstance(value, list) else [value]
    return [Money.model_validate(item) for item in items if item is not None]


def _asked(pack: Pack, answer: Decision | str, routes: list[str]) -> int:
    """How many people are asked for a yes."""
    if isinstance(answer, str):
        return 0
    named = [answer.outputs.get(name) for name in routes]
    return sum(len(pack.route(str(route))) for route in named if isinstance(route, str))


def _state(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(_state(item) for item in value) or "[]"
    return str(value)


# --- as JSON, as a page, as a plot -----------------------------------------------------------


def transitions_json(found: Transitions) -> dict[str, Any]:
    """Everything that was counted, in JSON types; amounts in minor units."""

    def cell(each: Cell) -> dict[str, Any]:
        money = [
            {"output": name, **amount.model_dump()}
            for (name, _), amount in sorted(each.money.items())
            if amount
        ]
        return {"cases": each.cases, "money": money, "approvals": each.approvals,
                "samples": each.samples}  # fmt: skip

    def matrices(each: Mapping[str, Matrix]) -> dict[str, Any]:
        return {
            name: [
                {"before": was, "after": now, **cell(matrix[was, now])}
                for was, now in sorted(matrix)
            ]
            for name, matrix in each.items()
        }

    return {
        "before": {"policy": found.before.name, "version": found.before.version,
                   "hash": found.before.hash},
        "after": {"policy": found.after.name, "version": found.after.version,
                  "hash": found.after.hash},
        "total": cell(found.total),
        "changed": cell(found.changed),
        "rules": matrices(found.rules),
        "outcomes": matrices(found.outcomes),
    }  # fmt: skip


def transitions_sheet(found: Transitions, language: Language) -> Sheet:
    """What was counted as a page: each matrix as its cells, changed ones first."""
    words = Wording(language)
    columns = ("transition.before", "transition.after", "heading.cases", "heading.money",
               "heading.approvals", "heading.samples")  # fmt: skip
    headings = tuple(words.say(name) for name in columns)

    def row(was: str, now: str, cell: Cell) -> tuple[str, ...]:
        money = "\n".join(
            f"{name} {words.money(amount)}"
            for (name, _), amount in sorted(cell.money.items())
            if amount
        )
        approvals = f"{cell.approvals:+d}" if cell.approvals else ""
        return (was, now, words.number(cell.cases), money, approvals, ", ".join(cell.samples))

    def grid(caption: str, matrix: Matrix) -> Grid:
        ordered = sorted(matrix.items(), key=lambda item: (item[0][0] == item[0][1], item[0]))
        return Grid(caption, headings, tuple(row(*states, cell) for states, cell in ordered))

    total = Grid(words.say("transition.totals"), headings,
                 (row(_name(found.before), _name(found.after), found.total),))  # fmt: skip
    rules = [
        grid(words.say("transition.rules", name=name), matrix)
        for name, matrix in found.rules.items()
    ]
    outcomes = [
        grid(words.say("transition.output", name=name), matrix)
        for name, matrix in found.outcomes.items()
    ]
    return Sheet(
        _title(words, found),
        words.say("transition.lead", changed=words.number(found.changed.cases)),
        (total, *rules, *outcomes),
        language.value,
    )


def _title(words: Wording, found: Transitions) -> str:
    return words.say(
        "transition.title",
        before=_name(found.before),
        after=_name(found.after),
        count=words.number(found.total.cases),
    )


def _name(pack: Pack) -> str:
    return f"{pack.name}@{pack.version}"


SIDE, MARGIN, HEAD = 64, 190, 60
"""Pixels: a square of the plot, the room for names, and for a matrix's heading."""


def transitions_svg(found: Transitions, language: Language) -> str:
    """The matrices as squares, the darker the more cases; the numbers stand in them.

    Rows are states under the version before, columns under the one after; what stays on the
    diagonal did not change.
    """
    words = Wording(language)
    named = [
        *((words.say("transition.rules", name=name), m) for name, m in found.rules.items()),
        *((words.say("transition.output", name=name), m) for name, m in found.outcomes.items()),
    ]
    parts: list[str] = []
    top, width = HEAD, 2 * MARGIN
    for caption, matrix in named:
        drawn, height, wide = _svg_matrix(words, caption, matrix, top)
        parts += drawn
        top, width = top + height, max(width, wide)
    title = escape(_title(words, found))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {top}" '
        f'width="{width}" height="{top}" font-family="sans-serif" font-size="12">\n'
        f"<title>{title}</title>\n"
        f'<rect width="{width}" height="{top}" fill="#ffffff"/>\n'
        f'<text x="10" y="30" font-size="16">{title}</text>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _svg_matrix(
    words: Wording, caption: str, matrix: Matrix, top: int
) -> tuple[list[str], int, int]:
    states = sorted({state for pair in matrix for state in pair})
    most = max(cell.cases for cell in matrix.values())
    parts = [f'<text x="10" y="{top + 16}" font-weight="bold">{escape(caption)}</text>']
    first = top + MARGIN
    for place, state in enumerate(states):
        short = escape(state if len(state) <= 24 else state[:23] + "…")
        x, y = MARGIN + place * SIDE + SIDE // 2, first + place * SIDE + SIDE // 2
        parts.append(f'<text x="{MARGIN - 8}" y="{y}" text-anchor="end">{short}</text>')
        parts.append(f'<text transform="translate({x},{first - 8}) rotate(-60)">{short}</text>')
    for (was, now), cell in sorted(matrix.items()):
        x, y = MARGIN + states.index(now) * SIDE, first + states.index(was) * SIDE
        # whole percent: a plot needs no more, and an empty cell is not drawn
        depth = 10 + 70 * cell.cases // most
        colour = "#3b6ea5" if was == now else "#b5482a"
        text = "#ffffff" if depth > 50 else "#000000"
        told = escape(f"{was} → {now}: {words.say('heading.cases')} {cell.cases}")
        parts.append(
            f'<g><title>{told}</title><rect x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" '
            f'fill="{colour}" fill-opacity="{depth}%" stroke="#767676"/>'
            f'<text x="{x + SIDE // 2}" y="{y + SIDE // 2 + 4}" text-anchor="middle" '
            f'fill="{text}">{words.number(cell.cases)}</text></g>'
        )
    side = MARGIN + len(states) * SIDE + 40
    return parts, side + 20, side
