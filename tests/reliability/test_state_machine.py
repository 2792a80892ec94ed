"""Ledger and provider under any order of events: the invariants hold after every step.

The activities run by themselves, without Temporal: what a workflow would never ask for (an
order that nobody approved, a second order, a look after the end) is asked here on purpose.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.decisions import Decisions
from activities.payments import Payments
from activities.provider import Provider, ProviderUnavailable
from activities.records import Records
from activities.verdicts import Verdicts
from audit.verify import verify
from decisions.library import Library
from domain.actors import Actor, Role, sign
from domain.approvals import Action, Answer
from domain.cases import A_NO, Outcome, Status
from domain.decisions import RefundMethod
from domain.linked import alternative_request, appeal_request, case_id_of, owed_request
from domain.provider import Chargeback
from domain.refunds import (
    DecideInput,
    ExpireInput,
    LookInput,
    RecordVerdictInput,
    RefundDecision,
    RefundRequest,
    SendInput,
)
from ledger.books import Books
from ledger.migrate import migrate
from ledger.projection import CaseRow
from ledger.records import StoredTransaction
from tests.reliability.courses import GENEROUS
from tests.reliability.effects import first_of
from tests.sandbox_process import SandboxProcess
from tests.stack import API_KEY, SIGNING_KEY, copied_database, new_database
from tests.workflows.builders import SERVICE
from tests.workflows.world import POLICIES

T = TypeVar("T")

SEED = 20261122
LEAST_SHARE_PERCENT = 30
MAY_GO_ON = A_NO | {Outcome.FAILED_AT_BANK}
MONDAY = datetime(2027, 3, 1, 15, tzinfo=UTC)
CAPTURED = 100_000
FAULTS = ("lost_after_commit", "reset_before", "status_409", "status_429", "status_503")

_numbers = itertools.count(1)

ORDERS = st.fixed_dictionaries(
    {
        "place": st.integers(0, 1),
        "amount": st.sampled_from([2_000, 4_000, 9_000, 30_000, 60_000]),
        "credit": st.sampled_from([False, False, False, True]),
        "policy": st.sampled_from(["refund", "refund", GENEROUS]),
    }
)


@dataclass
class Ground:
    """What all runs share: a loop, a sandbox, the address of empty books to copy."""

    runner: asyncio.Runner
    sandbox: SandboxProcess
    empty_books: str
    library: Library
    steps: int = 0
    moved: int = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)


ground: Ground


@pytest.fixture(scope="module", autouse=True)
def _ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    global ground
    empty = new_database(tmp_path_factory.mktemp("books"))
    with asyncio.Runner() as runner, SandboxProcess() as sandbox:
        runner.run(migrate(empty, app_role=None))
        ground = Ground(runner, sandbox, empty, Library.load(POLICIES))
        yield


@dataclass
class Known:
    """A case as the model knows it: what it may cost, and what was made of it."""

    id: str
    charge: str
    decision: RefundDecision
    attempts: int = 0
    looks: int = 0
    filled: int = 0


class RefundsUnderWay(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = MONDAY
        self.cases: list[Known] = []
        self.charges: list[str] = []
        self.ended: list[str] = []
        self.statuses: dict[str, Status] = {}
        self.before = (0, 0)

    @initialize(orders=st.lists(ORDERS, min_size=2, max_size=4))
    def set_up(self, orders: list[dict[str, Any]]) -> None:
        """With cases under way: a course that may not open any has something to move."""
        self.folder = Path(tempfile.mkdtemp(prefix="redress-machine-"))
        ground.run(self._open_everything())
        for order in orders:
            self.open(order)

    async def _open_everything(self) -> None:
        self.books = await Books.open(copied_database(ground.empty_books, self.folder))
        self.provider = Provider(API_KEY, base_url=ground.sandbox.url)
        self.http = httpx.AsyncClient(base_url=ground.sandbox.url, timeout=30)
        key = SIGNING_KEY.public_key()
        self.decisions = Decisions(self.books, self.provider, ground.library)
        self.verdicts = Verdicts(self.books, ground.library, key, lambda: self.now)
        self.payments = Payments(self.books, self.provider)
        self.records = Records(self.books)
        self.customer = f"cus_m{os.getpid()}x{next(_numbers)}"
        charges = [
            {"amount": CAPTURED, "currency": "usd", "refund_behaviour": behaviour}
            for behaviour in ("silent", "fails")
        ]
        seeded = {"id": self.customer, "clock_at": self.now.isoformat(), "charges": charges}
        found = await self.control("seed", {"customers": [seeded]})
        self.charges = found["customers"][0]["charges"]

    def teardown(self) -> None:
        if self.charges:
            ground.run(self._close_everything())
            shutil.rmtree(self.folder)

    async def _close_everything(self) -> None:
        await self.provider.close()
        await self.http.aclose()
        await self.books.close()

    # -- steps -----------------------------------------------------------------------

    @rule(order=ORDERS)
    def open(self, order: dict[str, Any]) -> None:
        request = RefundRequest(
            request_id=f"machine-{next(_numbers)}-{self.customer}",
            customer=self.customer, charge=self.charges[order["place"]],
            amount_minor=order["amount"], currency="usd",
            reason="courtesy" if order["amount"] == 4_000 else "other",
            requested_by=SERVICE, consents_to_credit=order["credit"], policy=order["policy"],
        )  # fmt: skip
        ground.run(self._decide(request))

    async def _decide(self, request: RefundRequest) -> None:
        case_id = case_id_of(request)
        asked = DecideInput(case_id=case_id, request=request, now=self.now)
        try:
            made = await self.act(case_id, self.decisions.decide_refund, asked)
        except ApplicationError as error:
            expect(error, "InvalidRequest")
            return
        again = await self.act(case_id, self.decisions.decide_refund, asked, attempt=2)
        assert again == made, "a decision that is asked for again is the same"
        is_known = case_id in {known.id for known in self.cases}
        if (await self.row(case_id)).status is not Status.CLOSED and not is_known:
            self.cases.append(Known(case_id, request.charge, made))

    @precondition(lambda self: self.ended)
    @rule(data=st.data(), is_appeal=st.booleans())
    def appeal_or_pay_another_way(self, data: st.DataObject, is_appeal: bool) -> None:
        ground.run(self._go_on(data.draw(st.sampled_from(self.ended)), is_appeal=is_appeal))

    async def _go_on(self, case_id: str, *, is_appeal: bool) -> None:
        """By a case of its own, whether it may or not."""
        async with self.books.reading() as reading:
            opened = await reading.event(case_id, "open")
            closing = await reading.event(case_id, "close")
            stored = await reading.decision(case_id)
        assert opened is not None
        assert closing is not None
        assert stored is not None
        facts, row = stored.decision.facts, await self.row(case_id)
        came_back = row.outcome is Outcome.FAILED_AT_BANK
        authority = stored.authority(row.charge) if came_back else None
        if is_appeal:
            request = appeal_request(opened, facts, SERVICE, "What is new.")
        elif authority is not None and closing.body["goes_on"]:
            request = owed_request(opened, closing, facts, authority)
        else:
            credit = RefundMethod.ACCOUNT_CREDIT
            request = alternative_request(opened, facts, SERVICE, credit, authority)
        await self._decide(request)

    @precondition(lambda self: self.waiting())
    @rule(data=st.data(), action=st.sampled_from([*([Action.APPROVE] * 4), *Action]))
    def decide(self, data: st.DataObject, action: Action) -> None:
        known = data.draw(st.sampled_from(self.waiting()))
        ground.run(self._judge(known, action, twice=data.draw(st.booleans())))

    async def _judge(self, known: Known, action: Action, *, twice: bool) -> None:
        slots = known.decision.slots
        slot = slots[known.filled] if action is not Action.WITHDRAW else None
        signed = sign(
            SIGNING_KEY,
            actor=Actor(id=f"finance-{known.filled}-{known.id}", role=Role.FINANCE),
            action=action.value, case_id=known.id, digest=known.decision.digest,
            click_id=f"click-{next(_numbers)}", at=self.now,
        )  # fmt: skip
        given = RecordVerdictInput(
            case_id=known.id, action=action, slot=slot, signed=signed, note="", now=self.now,
        )  # fmt: skip
        answers: list[Answer] = [
            await self.act(known.id, self.verdicts.record_verdict, given, attempt=number)
            for number in range(1, 2 + twice)
        ]
        assert len(set(map(str, answers))) == 1, "a retried attempt gets the same answer"
        is_late = slot is not None and self.now > slot.expires_at
        assert answers[0].recorded is not is_late
        if action is Action.APPROVE and not is_late:
            known.filled += 1

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        known = data.draw(st.sampled_from(self.waiting()))
        ended = ExpireInput(case_id=known.id, now=self.now)
        for number in (1, 2):
            ground.run(self.act(known.id, self.records.expire_case, ended, attempt=number))

    @precondition(lambda self: self.sendable())
    @rule(data=st.data(), fault=st.sampled_from([None, None, None, *FAULTS]))
    def send(self, data: st.DataObject, fault: str | None) -> None:
        ground.run(self._send(data.draw(st.sampled_from(self.sendable())), fault))

    @precondition(lambda self: self.cases)
    @rule(data=st.data())
    def send_what_is_sent_or_not_approved(self, data: st.DataObject) -> None:
        ground.run(self._send(data.draw(st.sampled_from(self.cases)), None))

    async def _send(self, known: Known, fault: str | None) -> None:
        before, disputed = await self.effects(known.id), await self.chargeback(known.charge)
        row = await self.row(known.id)
        if fault:
            body = {"metadata[case_id]": known.id}
            given = {"method": "POST", "body": body, "kind": fault, "count": 1}
            await self.control("faults", given)
        known.attempts += 1
        order = SendInput(case_id=known.id, digest=known.decision.digest, now=self.now)
        try:
            await self.act(known.id, self.payments.send_refund, order, attempt=known.attempts)
        except ProviderUnavailable:
            assert fault, "nothing was wrong with the provider"
        except ApplicationError as error:
            expect(error, "NotApproved")
            expect(row.status, Status.AWAITING_APPROVAL)
        finally:
            await self.http.delete("/_sandbox/faults")
        if await self.effects(known.id) > before:
            assert before == 0, "I2: money moved twice"
            assert row.status is Status.SENDING, "I4: money moved without its approvals"
            assert disputed not in (Chargeback.OPEN, Chargeback.LOST), "I1: beside a chargeback"
            await self._assert_within_captured(known.charge)

    @precondition(lambda self: self.settling())
    @rule(data=st.data(), at_maximum=st.booleans(), last=st.booleans())
    def look(self, data: st.DataObject, at_maximum: bool, last: bool) -> None:
        known = data.draw(st.sampled_from(self.settling()))
        known.looks += 1
        look = LookInput(
            case_id=known.id, ordinal=known.looks, now=self.now,
            at_maximum=at_maximum and not last, last=last,
        )  # fmt: skip
        for number in (1, 2):
            ground.run(self.act(known.id, self.payments.look_at_refund, look, attempt=number))

    @precondition(lambda self: self.settling())
    @rule(data=st.data(), change=st.sampled_from(["failed", "reference"]))
    def the_bank_answers(self, data: st.DataObject, change: str) -> None:
        known = data.draw(st.sampled_from(self.settling()))
        row = ground.run(self.row(known.id))
        told = {"status": "failed"} if change == "failed" else {"reference": "7" + "0" * 22}
        ground.run(self.control(f"refunds/{row.provider_id}", told, allow=409))
        self.look(data, False, False)

    @rule(place=st.integers(0, 1), amount=st.sampled_from([1_000, 20_000]))
    def somebody_refunds_by_hand(self, place: int, amount: int) -> None:
        order = {"charge": self.charges[place], "amount": str(amount)}
        by_hand = {"Authorization": "Bearer sk_test_by_hand"}
        ground.run(self.http.post("/v1/refunds", data=order, headers=by_hand))

    @precondition(lambda self: len(self.cases) > 4)
    @rule(place=st.integers(0, 1), outcome=st.sampled_from(["won", "lost", "open"]))
    def the_customer_charges_back(self, place: int, outcome: str) -> None:
        ground.run(self._charge_back(self.charges[place], outcome))

    async def _charge_back(self, charge: str, outcome: str) -> None:
        dispute = await self.control(f"charges/{charge}/dispute", {}, allow=400)
        if "id" in dispute and outcome != "open":
            await self.control(f"disputes/{dispute['id']}", {"status": "under_review"}, allow=409)
            await self.control(f"disputes/{dispute['id']}", {"status": outcome}, allow=409)

    @precondition(lambda self: self.under_way())
    @rule(hours=st.sampled_from([1, 23, 25, 24 * 8]))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)
        moved = {"customer": self.customer, "to": self.now.isoformat(), "or_later": True}
        ground.run(self.control("clock", moved))

    # -- what must hold after every step -----------------------------------------------

    @invariant()
    def the_books_agree_with_themselves_and_with_the_provider(self) -> None:
        if self.charges:
            ground.run(self._judge_everything())

    async def _judge_everything(self) -> None:
        report = await verify(self.books)  # I3 I4 I5 I6 I8 I13
        assert report.is_clean, "\n".join(str(finding) for finding in report.findings)
        async with self.books.reading() as reading:
            transactions = await reading.ledger_transactions()
            rows = await reading.cases(limit=1_000)
        self.statuses = {row.case_id: row.status for row in rows}
        self.ended = [
            row.case_id for row in rows if row.policy == GENEROUS and row.outcome in MAY_GO_ON
        ]
        by_id = {row.case_id: row for row in rows}
        standing: Counter[str] = Counter()
        for x in transactions:
            if x.step in ("post", "reversal"):
                standing[first_of(x.case_id, by_id)] += 1 if x.step == "post" else -1
        twice = [first for first, times in standing.items() if times > 1]
        assert not twice, f"I2: given more than once along the chains of {twice}"
        effects = await self.effects()
        for known in self.cases:
            made = await self.effects(known.id)
            assert made <= 1, f"I2: {known.id} moved money {made} times"
            accepted = await self._event(known.id, "accept")
            posted = [x for x in transactions if x.case_id == known.id and x.step == "post"]
            assert len(posted) == (accepted is not None) <= made, "I2: the ledger says more"
        now = (len(transactions), effects)
        ground.steps += 1
        ground.moved += now != self.before
        self.before = now

    async def _event(self, case_id: str, step: str) -> object:
        async with self.books.reading() as reading:
            return await reading.event(case_id, step)

    async def _assert_within_captured(self, charge: str) -> None:
        """I1: what we started, with what others refunded, is within what was captured."""
        facts = await self.provider.charge(charge)
        alive = [r for r in facts.refunds if r.status.value not in ("failed", "canceled")]
        async with self.books.reading() as reading:
            credits_ = [
                x for x in await reading.ledger_transactions() if is_credit(x, self.cases, charge)
            ]
        refunded = sum(r.amount.amount_minor for r in alive)
        credited = sum(-entry.amount.amount_minor for x in credits_ for entry in x.entries[-1:])
        assert refunded + credited <= facts.captured.amount_minor

    # -- tools -----------------------------------------------------------------------

    async def act(self, case_id: str, activity: Any, given: Any, *, attempt: int = 1) -> Any:
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, workflow_id=case_id, attempt=attempt)
        return await environment.run(activity, given)

    async def control(self, path: str, body: dict[str, Any], *, allow: int = 200) -> dict[str, Any]:
        answer = await self.http.post(f"/_sandbox/{path}", json=body)
        assert answer.status_code in (200, allow), answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def effects(self, case_id: str = "") -> int:
        query = {"customer": self.customer, "effects": "true"}
        if case_id:
            query["key"] = f"{case_id}:send"
        answer = await self.http.get("/_sandbox/journal", params=query)
        return len(answer.json()["entries"])

    async def chargeback(self, charge: str) -> Chargeback:
        return (await self.provider.charge(charge)).chargeback

    async def row(self, case_id: str) -> CaseRow:
        async with self.books.reading() as reading:
            row = await reading.case(case_id)
        assert row is not None
        return row

    def _in(self, *statuses: Status) -> list[Known]:
        return [known for known in self.cases if self.statuses[known.id] in statuses]

    def under_way(self) -> list[Known]:
        return self.waiting() + self.sendable() + self.settling()

    def waiting(self) -> list[Known]:
        return self._in(Status.AWAITING_APPROVAL)

    def sendable(self) -> list[Known]:
        return self._in(Status.SENDING)

    def settling(self) -> list[Known]:
        return self._in(Status.SETTLING, Status.TRACING)


def expect(met: object, wanted: object) -> None:
    met = met.type if isinstance(met, ApplicationError) else met
    assert met == wanted


def is_credit(transaction: StoredTransaction, cases: list[Known], charge: str) -> bool:
    mine = {known.id for known in cases if known.charge == charge}
    accounts = {entry.account for entry in transaction.entries}
    return transaction.case_id in mine and "liability:customer_credit" in accounts


def run_machine(number: int, examples: int, steps: int, *phases: Phase) -> None:
    ground.steps = ground.moved = 0
    print(f"seed {number}")
    run_state_machine_as_test(
        seed(number)(RefundsUnderWay),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            database=None,
            phases=(Phase.generate, *phases),
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"{ground.moved} of {ground.steps} steps moved money")
    assert ground.moved * 100 >= LEAST_SHARE_PERCENT * ground.steps


def test_no_order_of_events_breaks_an_invariant() -> None:
    run_machine(SEED, 12, 30)


@pytest.mark.deep
@pytest.mark.parametrize("number", range(SEED + 1, SEED + 3))
def test_no_order_of_events_in_many_more_courses_breaks_an_invariant(number: int) -> None:
    run_machine(number, 60, 30, Phase.shrink)
