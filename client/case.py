"""One case, as a caller holds it: what it is, and what people say to it."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from client.attempt import Attempt
from domain.actors import Actor, Role
from domain.approvals import Action, Answer, DeskAction, Judgement, RefusalCode, why_may_not_speak
from domain.canonical import parse_instant
from domain.cases import (
    SCORES,
    CaseEvent,
    Channel,
    Desk,
    Direction,
    EventKind,
    Outcome,
    Status,
)
from domain.decisions import RefundMethod
from domain.errors import InvalidRequest, Unreachable
from domain.evidence import EvidenceKind, media_type_of
from domain.linked import (
    ALTERNATIVE_STEP,
    APPEAL_STEP,
    alternative_request,
    appeal_request,
    why_no_other_way,
)
from domain.messages import (
    Assignment,
    Contact,
    Delegation,
    Evidence,
    Transfer,
)
from domain.refunds import RefundRequest, RefundResult
from ledger.evidence import inquiry_of, kept_already
from ledger.linked import way_taken
from ledger.projection import CaseRow, slots_of
from ledger.records import StoredDecision
from workflows.refund import RefundCase

if TYPE_CHECKING:
    from client.opening import Client

POLL = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Seconds between looks into the books while a decision is awaited; the last one repeats."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class CaseHandle:
    """One case. ``row`` is read from the books anew each time."""

    client: Client
    case_id: str

    def _attempt(self, action: Action | DeskAction, by: Actor, click_id: str) -> Attempt:
        return Attempt(self, action, by, click_id or uuid.uuid4().hex, _now())

    @property
    def workflow(self) -> WorkflowHandle[RefundCase, RefundResult]:
        return self.client.temporal.get_workflow_handle_for(RefundCase.run, self.case_id)

    async def row(self) -> CaseRow | None:
        async with self.client.books.reading() as reading:
            return await reading.case(self.case_id)

    async def decided(self, timeout: timedelta = timedelta(seconds=60)) -> CaseRow:
        """Wait until the engine has decided; the row as it then is.

        Raises :class:`InvalidRequest` when the input can never succeed, and
        :class:`Unreachable` when no worker decides within ``timeout``.
        """
        result = asyncio.ensure_future(self.workflow.result())
        waits = iter(POLL)
        pause = POLL[0]
        deadline = asyncio.get_running_loop().time() + timeout.total_seconds()
        try:
            while True:
                row = await self.row()
                if row is not None and row.status is not Status.OPEN:
                    return row
                if result.done():
                    await self._raise_failure(result)
                if asyncio.get_running_loop().time() > deadline:
                    raise Unreachable(
                        f"{self.case_id} is started but not decided yet: is a worker running? "
                        "It will be decided as soon as one is."
                    )
                await asyncio.wait([result], timeout=pause)
                pause = next(waits, POLL[-1])
        finally:
            result.cancel()

    async def _raise_failure(self, result: asyncio.Future[RefundResult]) -> None:
        try:
            await result
        except WorkflowFailureError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, ApplicationError):
                cause = cause.__cause__
            if isinstance(cause, ApplicationError) and cause.type == "InvalidRequest":
                field, message, allowed = (str(detail) for detail in cause.details)
                raise InvalidRequest(field, message, allowed) from error
            raise

    async def result(self) -> RefundResult:
        """Wait for the end, which may be weeks away."""
        return await self.workflow.result()

    async def approve(self, by: Actor, **how: Any) -> Answer:
        """Fill an open approval slot; see :meth:`judge`."""
        return await self.judge(Action.APPROVE, by, **how)

    async def decline(self, by: Actor, **how: Any) -> Answer:
        """Say no on an open approval slot; see :meth:`judge`."""
        return await self.judge(Action.DECLINE, by, **how)

    async def withdraw(self, by: Actor, **how: Any) -> Answer:
        """Take the request back while the money has not been ordered; see :meth:`judge`."""
        return await self.judge(Action.WITHDRAW, by, **how)

    async def judge(
        self,
        action: Action,
        by: Actor,
        *,
        slot: str = "",
        digest: str | None = None,
        note: str = "",
        click_id: str = "",
    ) -> Answer:
        """Send a person's decision.

        ``digest`` is what the person was shown: empty while nothing is granted yet, and None is
        "as the books show it now". ``slot`` may be left out while one is open, ``click_id`` makes
        a repeat the same decision.
        Raises :class:`Refused` with who decided what and when; the attempt is on record.
        """
        attempt = self._attempt(action, by, click_id)
        row, sealed = await attempt.sealed("note", note)
        shown = row.digest if digest is None else digest
        given = Judgement(
            slot=slot or (await self._only_open_slot() if action is not Action.WITHDRAW else ""),
            signed=attempt.sign(shown),
            note=sealed,
        )
        return await attempt.send(given)

    async def contact(
        self,
        by: Actor,
        channel: Channel,
        text: str = "",
        *,
        direction: Direction = Direction.INCOMING,
        click_id: str = "",
    ) -> Answer:
        """Record that the customer got in touch again, or that staff answered (``outgoing``),
        and what was said.

        Possible until the case ends; the first answer stops the first-response clock.
        ``click_id`` makes a repeat the same contact. Raises :class:`Refused`; the attempt is on
        record.
        """
        attempt = self._attempt(DeskAction.CONTACT, by, click_id)
        _, sealed = await attempt.sealed("text", text)
        content = {"channel": channel, "text": sealed, "direction": direction}
        return await attempt.tell(Contact, content)

    async def evidence(
        self,
        by: Actor,
        *,
        text: str = "",
        file: bytes | None = None,
        name: str = "",
        media_type: str = "",
        click_id: str = "",
    ) -> Answer:
        """Give the case something that proves: a statement (``text``), or a file with its name.

        ``media_type`` is what the file is said to be; left out, its content says it. A file lies
        in the evidence store, sealed, before the case hears of it; the same file again is the
        same item, and where the case has asked for something since, the answer's ``message`` says
        that this is nothing new. Otherwise as :meth:`contact`.
        """
        attempt = self._attempt(DeskAction.EVIDENCE, by, click_id)
        store = self.client.evidence_store
        field, said = ("text", text) if file is None else ("name", name)
        row, sealed = await attempt.sealed(field, said)
        if row.status is Status.CLOSED:
            message = f"the case ended as {row.outcome}"
            await attempt.refuse(RefusalCode.CLOSED, message)
        if why := why_may_not_speak(by):
            await attempt.refuse(RefusalCode.NOT_AUTHORISED, why)
        why = (
            store.limits.why_not_statement(text)
            if file is None
            else store.limits.why_not_file(name, media_type, file)
        )
        if file is not None and text:
            why = "evidence: a text and a file at once; allowed: one of them"
        if why:
            await attempt.refuse(RefusalCode.INVALID, why)
        content: dict[str, Any] = {"kind": EvidenceKind.STATEMENT, "text": sealed, "file": None}
        if file is not None:
            found = media_type or media_type_of(file)
            kept = await store.describe(row.customer, sealed, found, file)
            async with self.client.books.reading() as reading:
                events = await reading.events(self.case_id)
            full = store.limits.why_no_more(inquiry_of(events).items)
            if full and kept_already(events, kept) is None:  # or bytes pile up that no case has
                await attempt.refuse(RefusalCode.OVER_LIMIT, full)
            await store.put(kept, file)
            content = {"kind": EvidenceKind.FILE, "text": "", "file": kept}
        return await attempt.tell(Evidence, content)

    async def transfer(
        self, by: Actor, desk: Desk, reason: str = "", *, click_id: str = ""
    ) -> Answer:
        """Hand the case to another desk; otherwise as :meth:`contact`."""
        attempt = self._attempt(DeskAction.TRANSFER, by, click_id)
        _, sealed = await attempt.sealed("reason", reason)
        content = {"desk": desk, "reason": sealed}
        return await attempt.tell(Transfer, content)

    async def claim(self, by: Actor, *, click_id: str = "") -> Answer:
        """Take the case on, out of its desk's queue; a lead may take it from somebody.

        A transfer puts it into the other desk's queue. Otherwise as :meth:`contact`.
        """
        return await self._assign(by, by.id, click_id)

    async def release(self, by: Actor, *, click_id: str = "") -> Answer:
        """Give the case back to its desk's queue; whoever holds it may, or a lead."""
        return await self._assign(by, "", click_id)

    async def _assign(self, by: Actor, to: str, click_id: str) -> Answer:
        attempt = self._attempt(DeskAction.ASSIGN, by, click_id)
        await attempt.checked()
        return await attempt.tell(Assignment, {"to": to})

    async def delegate(
        self,
        by: Actor,
        to: Actor,
        *,
        slot: str = "",
        digest: str | None = None,
        click_id: str = "",
    ) -> Answer:
        """Hand an open slot that ``by`` may fill to a person who may fill it.

        From then on it is theirs and the leads'. ``slot``, ``digest`` and ``click_id`` as for
        :meth:`judge`.
        """
        attempt = self._attempt(DeskAction.DELEGATE, by, click_id)
        row = await attempt.checked()
        content = {
            "slot": slot or await self._only_open_slot(),
            "to": to,
            "digest": row.digest if digest is None else digest,
        }
        return await attempt.tell(Delegation, content)

    async def survey(
        self, by: Actor, *, effort: int, satisfaction: int, text: str = "", click_id: str = ""
    ) -> Answer:
        """What the customer says of a case that has ended, once: scores from 1 to 5 and text.

        ``by`` is the customer, or a service for them. Written straight into the books: the
        workflow has ended too. Raises :class:`Refused`; the attempt is on record.
        """
        attempt = self._attempt(DeskAction.SURVEY, by, click_id)
        row, sealed = await attempt.sealed("text", text)
        for name, score in (("effort", effort), ("satisfaction", satisfaction)):
            if isinstance(score, bool) or score not in SCORES:
                message = f"{name}: {score!r}; allowed: whole numbers from 1 to 5"
                await attempt.refuse(RefusalCode.INVALID, message)
        if by.role not in (Role.CUSTOMER, Role.SERVICE):
            message = f"role {by.role.value} may not; allowed: customer, service"
            await attempt.refuse(RefusalCode.NOT_AUTHORISED, message)
        if row.status is not Status.CLOSED:
            message = "a survey is of a case that has ended"
            await attempt.refuse(RefusalCode.TOO_EARLY, message)
        event = CaseEvent(
            case_id=self.case_id,
            step=attempt.action.value,
            kind=EventKind.SURVEYED,
            occurred_at=attempt.at,
            actor=by,
            body={
                "effort": effort,
                "satisfaction": satisfaction,
                "text": sealed,
                "click_id": attempt.click,
            },
        )
        async with self.client.books.transaction() as tx:
            is_first = await tx.append_event(event)
            said = event if is_first else await tx.reading.event(self.case_id, event.step)
        if said is None or said.body["click_id"] != attempt.click:
            message = "the customer has answered already"
            await attempt.refuse(RefusalCode.ALREADY_DECIDED, message)
        return Answer(recorded=True)

    async def appeal(self, by: Actor, text: str, *, click_id: str = "") -> CaseHandle:
        """Ask somebody else to judge a refusal or a decline again; the case that does.

        Possible once, within the policy's time, with something new in ``text``, and not beside an
        offer that was taken. Whoever said no is kept from deciding again. Raises :class:`Refused`
        with who said no, until when it could be appealed, or by which case it was; the attempt is
        on record. The same words of the same person again are the same appeal.
        """
        attempt = self._attempt(DeskAction.APPEAL, by, click_id)
        await attempt.checked("text", text)
        opened, closing, stored = await self._to_go_on(attempt)
        if not text.strip():
            message = "text: is empty; allowed: what is new since the no"
            await attempt.refuse(RefusalCode.INVALID, message)
        said = await self.client.keyring.unseal(opened.body["text"]) if opened.body["text"] else ""
        if text.strip() == said.strip():
            message = "text: is what was said before; allowed: what is new since the no"
            await attempt.refuse(RefusalCode.INVALID, message)
        request = appeal_request(opened, stored.decision.facts, by, text)
        await self._in_time(attempt, closing, "appeal_until", request)
        return await self.client.open_request(request)

    async def accept(self, by: Actor, way: RefundMethod, *, click_id: str = "") -> CaseHandle:
        """Take, for the customer, what a case offered at its end; the case that pays it.

        Possible once, while the offer stands, and not beside an appeal that may yet succeed. What
        was approved and came back from the bank is paid without asking again; after a refusal the
        policy decides anew. Raises :class:`Refused`; the attempt is on record. The same person's
        yes again is the same case.
        """
        attempt = self._attempt(DeskAction.ACCEPT, by, click_id)
        row = await attempt.checked()
        opened, closing, stored = await self._to_go_on(attempt)
        offered = closing.body.get("alternatives") or []
        if way not in offered:
            message = f"alternative: {way} was not offered; allowed: {', '.join(offered) or 'none'}"
            await attempt.refuse(RefusalCode.INVALID, message)
        came_back = row.outcome is Outcome.FAILED_AT_BANK
        request = alternative_request(
            opened,
            stored.decision.facts,
            by,
            way,
            stored.authority(row.charge) if came_back else None,
        )
        await self._in_time(attempt, closing, "alternative_until", request)
        return await self.client.open_request(request)

    async def _to_go_on(self, attempt: Attempt) -> tuple[CaseEvent, CaseEvent, StoredDecision]:
        """The opening and closing events of a case that has ended, and what was decided."""
        if why := why_may_not_speak(attempt.by):
            await attempt.refuse(RefusalCode.NOT_AUTHORISED, why)
        async with self.client.books.reading() as reading:
            opened = await reading.event(self.case_id, "open")
            closing = await reading.event(self.case_id, "close")
            stored = await reading.decision(self.case_id)
        if opened is None or closing is None or stored is None:
            message = "the case has not ended"
            await attempt.refuse(RefusalCode.TOO_EARLY, message)
        return opened, closing, stored

    async def _in_time(
        self, attempt: Attempt, closing: CaseEvent, until: str, request: RefundRequest
    ) -> None:
        if await self.client.was_asked(request):
            return  # said again: it may be that nobody heard the first answer
        last = closing.body.get(until)
        if last is None:
            message = f"the end as {closing.body['outcome']} is final"
            await attempt.refuse(RefusalCode.CLOSED, message)
        step = APPEAL_STEP if attempt.action is DeskAction.APPEAL else ALTERNATIVE_STEP
        async with self.client.books.reading() as reading:
            linked = await reading.event(self.case_id, step)
            other = await way_taken(reading, self.case_id)
        if linked is not None:
            goes_on_as = linked.body["case_id"]
            message = f"it goes on as {goes_on_as} since {linked.occurred_at:%Y-%m-%d %H:%M} UTC"
            await attempt.refuse(RefusalCode.ALREADY_DECIDED, message)
        if other is not None:
            why, allowed = why_no_other_way(other)
            await attempt.refuse(RefusalCode.ALREADY_DECIDED, f"it {why}; allowed: {allowed}")
        if attempt.at > parse_instant(last):
            message = f"the time for it ended at {parse_instant(last):%Y-%m-%d %H:%M} UTC"
            await attempt.refuse(RefusalCode.TOO_LATE, message)

    async def _only_open_slot(self) -> str:
        async with self.client.books.reading() as reading:
            slots = [slot.id for slot in slots_of(await reading.events(self.case_id))]
            taken = {row.slot for row in await reading.approvals(self.case_id)}
        still_open = [slot for slot in slots if slot not in taken]
        return (still_open or slots or [""])[0]
