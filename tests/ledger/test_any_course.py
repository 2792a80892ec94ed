"""Refunds in any order, steps repeated at will: after each step the books prove clean."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from audit.rebuild import compare_projection
from audit.verify import verify
from domain.errors import Refused
from domain.money import Money, refundable_remainder, total
from ledger.books import Books
from ledger.chain import GENESIS, Head
from ledger.records import ReservationScope
from ledger.writing import BookTransaction
from tests.ledger.builders import Refund, usd

CAPTURED = usd(10_000)
CHARGES = ("ch_1", "ch_2")

Step = Callable[[BookTransaction], Awaitable[Any]]

moved_money = {"steps": 0, "moved": 0}


@dataclass
class Course:
    """A case as the model knows it: where it is, and the last step taken."""

    refund: Refund
    stage: str
    last: Step


class AnyCourse(RuleBasedStateMachine):
    migrated: Path
    """The file that each run copies."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="redress-course-"))
        shutil.copy(self.migrated, self.directory / "books.db")
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.courses: list[Course] = []
        self.head = Head(seq=0, hash=GENESIS)

    @initialize()
    def open_books(self) -> None:
        url = f"sqlite+aiosqlite:///{self.directory / 'books.db'}"
        self.books = self.runner.run(Books.open(url))

    def teardown(self) -> None:
        self.runner.run(self.books.close())
        self.runner.close()
        shutil.rmtree(self.directory)

    def write(self, step: Step) -> None:
        async def in_one_transaction() -> None:
            async with self.books.transaction() as tx:
                await step(tx)

        self.runner.run(in_one_transaction())

    def at(self, *stages: str) -> list[Course]:
        return [course for course in self.courses if course.stage in stages]

    def advance(self, course: Course, stage: str, step: Step, *, moves: bool) -> None:
        self.write(step)
        course.stage, course.last = stage, step
        moved_money["steps"] += 1
        moved_money["moved"] += moves

    def reserved(self, charge: str) -> Money:
        async def ask() -> Money:
            async with self.books.reading() as reading:
                rows = await reading.reservations(ReservationScope.CHARGE, charge, "usd")
            return total((row.amount for row in rows), "usd")

        return self.runner.run(ask())

    @rule(
        charge=st.sampled_from(CHARGES),
        amount_minor=st.integers(1, 6_000),
        needs_approval=st.booleans(),
    )
    def open_case(self, charge: str, amount_minor: int, needs_approval: bool) -> None:
        if refundable_remainder(CAPTURED, [], [self.reserved(charge)]) < usd(amount_minor):
            return
        number = len(self.courses)
        refund = Refund(
            case_id=f"refund-{number}",
            charge=charge,
            provider_id=f"re_{number}",
            amount=usd(amount_minor),
            slots=("lead",) if needs_approval else (),
        )
        course = Course(refund, "", refund.open_and_decide)
        self.courses.append(course)
        stage = "awaiting" if needs_approval else "sending"
        self.advance(course, stage, refund.open_and_decide, moves=True)

    @precondition(lambda self: self.at("awaiting"))
    @rule(data=st.data())
    def approve(self, data: st.DataObject) -> None:
        course = data.draw(st.sampled_from(self.at("awaiting")))
        self.advance(course, "sending", course.refund.approve, moves=False)

    @precondition(lambda self: self.at("sending"))
    @rule(data=st.data())
    def accept(self, data: st.DataObject) -> None:
        course = data.draw(st.sampled_from(self.at("sending")))
        self.advance(course, "settling", course.refund.accept, moves=True)

    @precondition(lambda self: self.at("settling"))
    @rule(data=st.data(), returned=st.booleans())
    def settle(self, data: st.DataObject, returned: bool) -> None:
        course = data.draw(st.sampled_from(self.at("settling")))
        step = course.refund.fail if returned else course.refund.confirm
        self.advance(course, "closed", step, moves=returned)

    @precondition(lambda self: self.at("awaiting", "sending"))
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        course = data.draw(st.sampled_from(self.at("awaiting", "sending")))
        self.advance(course, "closed", course.refund.void, moves=True)

    @precondition(lambda self: self.courses)
    @rule(data=st.data())
    def repeat_a_step(self, data: st.DataObject) -> None:
        """The activity's commit was kept, its answer was lost: it runs again."""
        course = data.draw(st.sampled_from(self.courses))
        self.write(course.last)
        assert self.runner.run(verify(self.books)).head == self.head

    @precondition(lambda self: self.at("closed"))
    @rule(data=st.data())
    def try_to_reopen(self, data: st.DataObject) -> None:
        course = data.draw(st.sampled_from(self.at("closed")))
        if not course.refund.slots:
            return
        with suppress(Refused):  # or nothing happens, when this slot was filled in its time
            self.write(lambda tx: course.refund.approve(tx, slot="lead"))

    @invariant()
    def no_charge_is_overdrawn(self) -> None:
        for charge in CHARGES:
            assert self.reserved(charge) <= CAPTURED

    @invariant()
    def the_books_prove_clean(self) -> None:
        report = self.runner.run(verify(self.books, expected_head=self.head))
        assert report.findings == ()
        self.head = report.head
        assert self.runner.run(compare_projection(self.books)) == []


def test_refunds_in_any_course_leave_clean_books(migrated_file: Path) -> None:
    AnyCourse.migrated = migrated_file
    moved_money.update(steps=0, moved=0)
    run_state_machine_as_test(
        AnyCourse,
        settings=settings(
            max_examples=5,
            stateful_step_count=16,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )
    share = 100 * moved_money["moved"] // moved_money["steps"]
    print(f"{share} % of {moved_money['steps']} steps moved money")
    assert share >= 30
