"""A made-up log in the shapes of the real one. No row of it is real.

The fractions are those of the real log's kinds of declarations, to the nearest per mille; the
rare ones are rounded up, so that a small sample has them.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from simulation.expense_log import FINAL_APPROVED, PAID, PAYMENT_REQUESTED, SUBMITTED, TAKEN_BACK

FIRST_DAY = datetime(2027, 1, 4, tzinfo=ZoneInfo("Europe/Amsterdam"))
DAYS = 240
SOON = (0, 2)
"""Days before an event. Even five in a row stay within ten business days."""

LATE = (25, 45)
"""Days that no ten business days reach, whatever holidays are among them."""

ADMINISTRATION = "APPROVED by ADMINISTRATION"
BUDGET_OWNER = "APPROVED by BUDGET OWNER"
PRE_APPROVER = "APPROVED by PRE_APPROVER"
PAYMENT = (PAYMENT_REQUESTED, PAID)


@dataclass(frozen=True)
class Shape:
    """A kind of declaration: its share of the log, its events, and which come ``late``."""

    per_mille: int
    events: tuple[str, ...]
    late: frozenset[str] = frozenset()
    is_nothing: bool = False

    @property
    def cases(self) -> int:
        return self.events.count(SUBMITTED)


AGAIN = (TAKEN_BACK, SUBMITTED, ADMINISTRATION, FINAL_APPROVED, *PAYMENT)
"""After a rejection: the form is handed back, submitted again, and paid."""

SHAPES: dict[str, Shape] = {
    "two say yes": Shape(437, (SUBMITTED, ADMINISTRATION, FINAL_APPROVED, *PAYMENT)),
    "three say yes": Shape(
        238, (SUBMITTED, ADMINISTRATION, BUDGET_OWNER, FINAL_APPROVED, *PAYMENT)
    ),
    "one says yes": Shape(130, (SUBMITTED, FINAL_APPROVED, *PAYMENT)),
    "a pre-approver and a supervisor": Shape(
        58, (SUBMITTED, PRE_APPROVER, FINAL_APPROVED, *PAYMENT)
    ),
    "administration says no": Shape(62, (SUBMITTED, "REJECTED by ADMINISTRATION", *AGAIN)),
    "the supervisor says no": Shape(
        13, (SUBMITTED, ADMINISTRATION, "REJECTED by SUPERVISOR", *AGAIN)
    ),
    "the pre-approver says no": Shape(7, (SUBMITTED, "REJECTED by PRE_APPROVER", *AGAIN)),
    "the budget owner says no": Shape(
        4, (SUBMITTED, ADMINISTRATION, "REJECTED by BUDGET OWNER", *AGAIN)
    ),
    "a no for good": Shape(3, (SUBMITTED, "REJECTED by SUPERVISOR", TAKEN_BACK)),
    "a no in time, and then too late": Shape(
        6,
        (SUBMITTED, "REJECTED by MISSING", *AGAIN),
        late=frozenset({"REJECTED by MISSING"}),
    ),
    "a yes that comes too late": Shape(
        26,
        (SUBMITTED, ADMINISTRATION, FINAL_APPROVED, *PAYMENT),
        late=frozenset({FINAL_APPROVED}),
    ),
    "a no after the yes": Shape(
        6, (SUBMITTED, FINAL_APPROVED, "REJECTED by MISSING", SUBMITTED, FINAL_APPROVED, *PAYMENT)
    ),
    "taken back": Shape(2, (SUBMITTED, *AGAIN)),
    "nobody decides": Shape(1, (SUBMITTED, ADMINISTRATION)),
    "nothing is asked for": Shape(
        27, (SUBMITTED, "REJECTED by ADMINISTRATION", TAKEN_BACK), is_nothing=True
    ),
    "only saved": Shape(13, ("SAVED by EMPLOYEE",)),
}


@dataclass(frozen=True)
class Row:
    """A line of the log, as the file has it."""

    case_id: str
    amount: str
    event: str
    timestamp: str


def made_rows(seed: int, cases: int) -> list[Row]:
    """Rows that become exactly ``cases`` cases: every shape once, the others drawn by weight."""
    draw = random.Random(seed)
    shapes = list(SHAPES.values())
    left = cases - sum(shape.cases for shape in shapes)
    assert left >= 0, f"every shape once is {cases - left} cases"
    while left:
        (shape,) = draw.choices(list(SHAPES.values()), [s.per_mille for s in SHAPES.values()])
        if shape.cases <= left:
            shapes.append(shape)
            left -= shape.cases
    draw.shuffle(shapes)
    return [
        row
        for number, shape in enumerate(shapes, 1)
        for row in _declaration(draw, f"declaration_made_{number}", shape)
    ]


def _declaration(draw: random.Random, id: str, shape: Shape) -> list[Row]:
    amount = _nothing(draw) if shape.is_nothing else _amount(draw)
    at = _office_hour(draw, FIRST_DAY + timedelta(days=draw.randrange(DAYS)))
    rows: list[Row] = []
    for name in shape.events:
        if rows:
            days = draw.randint(*(LATE if name in shape.late else SOON))
            at = max(_office_hour(draw, at + timedelta(days=days)), at + timedelta(minutes=5))
        event = name if name in PAYMENT else f"Declaration {name}"
        rows.append(Row(id, amount, event, at.isoformat()))
    return rows


def _office_hour(draw: random.Random, day: datetime) -> datetime:
    """Far from midnight, when a day to decide or to look ends."""
    return day.replace(hour=draw.randint(8, 17), minute=draw.randint(0, 59))


def _amount(draw: random.Random) -> str:
    """In euros as text; some have more decimals than a cent, as in the real log."""
    euros = min(draw.lognormvariate(4, 1), 5000)
    return f"{max(euros, 0.02):.{draw.choice((2, 2, 2, 8))}f}"


def _nothing(draw: random.Random) -> str:
    return draw.choice(("0.0", "0.00", "0.004", "-12.50"))


def write_log(file: Path, rows: Sequence[Row]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("case_id", "amount", "event", "timestamp"))
        writer.writerows((row.case_id, row.amount, row.event, row.timestamp) for row in rows)
