"""Activities by themselves: books in a file, the sandbox as provider, and no Temporal.

What lasts is made once a process and kept over forks (see tests/tools/money_core.py).
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from temporalio.testing import ActivityEnvironment

from activities.decisions import Decisions
from activities.linked import Linked
from activities.outside import OutsideNews
from activities.payments import Payments
from activities.provider import Provider
from activities.records import Records
from activities.verdicts import Verdicts
from decisions.library import Library
from domain.actors import Actor, sign
from domain.approvals import Action, Answer
from domain.cases import CaseEvent, CaseKind, Outcome, case_id_for
from domain.provider import ChargeFacts, ProviderRefund
from domain.refunds import (
    Authority,
    DecideInput,
    LookInput,
    LookResult,
    RecordVerdictInput,
    RefundCaseInput,
    RefundDecision,
    RefundRequest,
    SendInput,
    SendResult,
    UnknownInput,
)
from ledger.books import Books
from ledger.migrate import migrate
from ledger.projection import CaseRow
from ledger.records import OUTSIDE
from tests.sandbox_process import SandboxProcess
from tests.stack import API_KEY, SIGNING_KEY
from tests.workflows.builders import FINANCE, a_request, unique
from tests.workflows.world import POLICIES

MONDAY = datetime(2027, 3, 1, 15, tzinfo=UTC)
WEEK = timedelta(days=7)
CAPTURED = 100_000


@cache
def sandbox_url() -> str:
    process = SandboxProcess().start()
    atexit.register(process.stop)
    return process.url


@cache
def empty_books() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="redress-office-"))
    atexit.register(shutil.rmtree, folder)
    with ThreadPoolExecutor(1) as thread:
        made = migrate(f"sqlite+aiosqlite:///{folder}/books.db", app_role=None)
        thread.submit(asyncio.run, made).result()
    return folder / "books.db"


@cache
def library() -> Library:
    return Library.load(POLICIES)


class Meanwhile(Provider):
    """Does something else, once, before it answers, or while its answer is on the way."""

    work: Coroutine[Any, Any, object] | None = None
    late_work: Coroutine[Any, Any, object] | None = None

    async def charge(self, charge_id: str) -> ChargeFacts:
        await self._meanwhile()
        answer = await super().charge(charge_id)
        late, self.late_work = self.late_work, None
        if late is not None:
            await late
        return answer

    async def refund(self, refund_id: str) -> ProviderRefund:
        await self._meanwhile()
        return await super().refund(refund_id)

    async def _meanwhile(self) -> None:
        work, self.work = self.work, None
        if work is not None:
            await work


@dataclass
class Case:
    """A decided case as a workflow would know it."""

    id: str
    customer: str
    charge: str
    made: RefundDecision


@dataclass
class Office:
    books: Books
    provider: Meanwhile
    http: httpx.AsyncClient
    started: list[RefundCaseInput]

    def __post_init__(self) -> None:
        key = SIGNING_KEY.public_key()
        self.decisions = Decisions(self.books, self.provider, library())
        self.verdicts = Verdicts(self.books, library(), key, lambda: MONDAY)
        self.payments = Payments(self.books, self.provider)
        self.records = Records(self.books)
        self.linked = Linked(self.books, self._start)

    async def _start(self, given: RefundCaseInput) -> bool:
        self.started.append(given)
        return True

    async def act(self, activity: Any, given: Any) -> Any:
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, workflow_id="by-hand")
        return await environment.run(activity, given)

    async def control(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.http.post(f"/_sandbox/{path}", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def fault(self, kind: str, case: Case, **fields: Any) -> None:
        body = {"metadata[case_id]": case.id}
        await self.control(
            "faults", {"method": "POST", "body": body, "kind": kind, "count": 1, **fields}
        )

    async def effects(self, case: Case) -> int:
        """How often this case moved money, by the provider's own journal."""
        return await self._journal(case, effects="true")

    async def orders(self, case: Case) -> int:
        """How often this case asked the provider to move money, whatever the answer was."""
        return await self._journal(case)

    async def _journal(self, case: Case, **query: str) -> int:
        mine = {"customer": case.customer, "key": f"{case.id}:send", **query}
        answer = await self.http.get("/_sandbox/journal", params=mine)
        return len(answer.json()["entries"])

    async def a_charge(self, **fields: Any) -> dict[str, str]:
        charge = {"id": unique("ch_o"), "amount": CAPTURED, "currency": "usd", **fields}
        customer = {
            "id": unique("cus_o"), "clock_at": MONDAY.isoformat(), "charges": [charge],
        }  # fmt: skip
        await self.control("seed", {"customers": [customer]})
        return {"customer": str(customer["id"]), "charge": str(charge["id"])}

    async def decided(self, on: dict[str, str] | None = None, **fields: Any) -> Case:
        """A case that the policy decided; ``fields`` are the request's."""
        place = on or await self.a_charge()
        request = RefundRequest.model_validate({**a_request(**place), **fields}, strict=False)
        case_id = case_id_for(CaseKind.REFUND, request.request_id)
        asked = DecideInput(case_id=case_id, request=request, now=MONDAY)
        made = await self.act(self.decisions.decide_refund, asked)
        return Case(case_id, request.customer, request.charge, made)

    async def judge(
        self, case: Case, slot: int = 0, action: Action = Action.APPROVE, by: Actor = FINANCE
    ) -> Answer:
        signed = sign(
            SIGNING_KEY, actor=by, action=action.value, case_id=case.id, digest=case.made.digest,
            click_id=unique("click"), at=MONDAY,
        )  # fmt: skip
        given = RecordVerdictInput(
            case_id=case.id, action=action, slot=case.made.slots[slot],
            signed=signed, note="", now=MONDAY,
        )  # fmt: skip
        answer: Answer = await self.act(self.verdicts.record_verdict, given)
        return answer

    async def send(self, case: Case, **fields: Any) -> SendResult:
        order = SendInput(case_id=case.id, digest=case.made.digest, now=MONDAY)
        sent: SendResult = await self.act(
            self.payments.send_refund, order.model_copy(update=fields)
        )
        return sent

    async def send_late(self, case: Case) -> SendResult:
        """An attempt that orders after another one, to which the charge was disputed, ended the
        case; and its answer."""

        async def meanwhile() -> None:
            disputed = f"charges/{case.charge}/dispute"
            dispute = (await self.control(disputed, {"status": "needs_response"}))["id"]
            assert (await self.send(case)).outcome is Outcome.REJECTED_BY_PROVIDER
            await self.control(f"disputes/{dispute}", {"status": "won"})

        self.provider.late_work = meanwhile()
        return await self.send(case)

    async def hear_from_outside(self) -> int:
        """Look into what the provider said without being asked; how much was done with."""
        return await OutsideNews(self.books, self.provider).note_due()

    async def authority(self, case: Case) -> Authority:
        """By which another case carries out what this one decided."""
        async with self.books.reading() as reading:
            stored = await reading.decision(case.id)
        assert stored is not None
        return stored.authority(case.charge)

    async def refund_by_hand(self, case: Case, amount: int, *, in_its_name: bool = False) -> str:
        """Somebody refunds the case's charge; answers the refund's id."""
        where = {"charge": case.charge, "amount": str(amount)}
        return await self._by_hand(case, "refunds", where, in_its_name=in_its_name)

    async def rename(self, refund: str, case_id: str) -> None:
        """Somebody writes the name of a case on a refund."""
        headers = {"Authorization": "Bearer sk_test_by_hand"}
        data = {"metadata[case_id]": case_id}
        answer = await self.http.post(f"/v1/refunds/{refund}", data=data, headers=headers)
        assert answer.status_code == 200, answer.text

    async def credit_by_hand(self, case: Case, amount: int, *, in_its_name: bool) -> str:
        """The provider's sign: what it owes the customer is negative."""
        where = {"amount": str(-amount), "currency": "usd"}
        path = f"customers/{case.customer}/balance_transactions"
        return await self._by_hand(case, path, where, in_its_name=in_its_name)

    async def _by_hand(
        self, case: Case, path: str, data: dict[str, str], *, in_its_name: bool
    ) -> str:
        named = {"metadata[case_id]": case.id} if in_its_name else {}
        headers = {"Authorization": "Bearer sk_test_by_hand"}
        answer = await self.http.post(f"/v1/{path}", data={**data, **named}, headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    async def heard_of(self, *about: str) -> None:
        """An event of the provider about a refund, as the web leaves it for the worker."""
        async with self.books.transaction() as tx:
            await tx.take_inbox(
                event_id=unique("evt"), event_type="refund.updated", object_ids=list(about),
                at=MONDAY, state=OUTSIDE,
            )  # fmt: skip

    async def late_refund_failed(self, case: Case) -> None:
        """The bank sends back what a late attempt ordered, and the books hear of it."""
        late = (await self.provider.charge(case.charge)).refund_of(case.id)
        assert late is not None
        await self.control(f"refunds/{late.id}", {"status": "failed"})
        await self.heard_of(case.id)
        assert await self.hear_from_outside() == 1

    async def customer_is_gone(self, case: Case) -> None:
        """The provider knows no account of this customer any more."""
        path = f"/v1/customers/{case.customer}/balance_transactions"
        gone = {"path": path, "kind": "status_404", "code": "resource_missing"}
        await self.control("faults", gone)

    async def alarm(self, case: Case) -> None:
        given = UnknownInput(case_id=case.id, now=MONDAY, why="APIError 500")
        await self.act(self.records.alarm_unknown, given)

    async def look(
        self, case: Case, ordinal: int = 1, *, after: timedelta = WEEK, **fields: Any
    ) -> LookResult:
        look = LookInput(case_id=case.id, ordinal=ordinal, now=MONDAY + after, **fields)
        found: LookResult = await self.act(self.payments.look_at_refund, look)
        return found

    async def refund_is(self, case: Case, **told: Any) -> None:
        """The bank's word about this case's refund, at the provider."""
        await self.control(f"refunds/{(await self.row(case)).provider_id}", told)

    async def row(self, case: Case) -> CaseRow:
        async with self.books.reading() as reading:
            row = await reading.case(case.id)
        assert row is not None
        return row

    async def event(self, case: Case, step: str) -> CaseEvent:
        async with self.books.reading() as reading:
            event = await reading.event(case.id, step)
        assert event is not None, step
        return event

    async def steps(self, case: Case) -> list[str]:
        async with self.books.reading() as reading:
            return [event.step for event in await reading.events(case.id)]

    async def booked(self, case: Case) -> list[tuple[str, str]]:
        """The ledger's steps and provider ids."""
        async with self.books.reading() as reading:
            found = await reading.ledger_transactions(case.id)
        return [(each.step, each.provider_id) for each in found]

    async def notices(self, case: Case) -> dict[tuple[str, str], dict[str, Any]]:
        """The outbox's bodies by topic and whom they go to."""
        async with self.books.reading() as reading:
            rows = await reading.outbox_of_case(case.id)
        return {(row.topic, row.body["to"]): row.body for row in rows}


@asynccontextmanager
async def open_office(folder: Path) -> AsyncIterator[Office]:
    shutil.copy(empty_books(), folder / "books.db")
    books = await Books.open(f"sqlite+aiosqlite:///{folder}/books.db")
    provider = Meanwhile(API_KEY, base_url=sandbox_url())
    async with httpx.AsyncClient(base_url=sandbox_url(), timeout=30) as http:
        yield Office(books, provider, http, [])
    await provider.close()
    await books.close()
