"""One case, as a caller holds it: what it is, and what people say to it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from client.checking import TEXT_ALLOWED, why_not_text
from client.turns import NoTurn
from domain.actors import Actor, Role, SignedActor, sign
from domain.approvals import Action, Answer, DeskAction, Judgement, RefusalCode, why_may_not_speak
from domain.canonical import parse_instant, sha256_of
from domain.cards import has_card_number
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
from domain.errors import InvalidRequest, Refused, Unreachable
from domain.evidence import EvidenceKind, media_type_of
from domain.linked import (
    ALTERNATIVE_STEP,
    APPEAL_STEP,
    alternative_request,
    appeal_request,
    case_id_of,
)
from domain.messages import (
    Assignment,
    Contact,
    Delegation,
    DeskMessage,
    Evidence,
    Transfer,
)
from domain.refunds import RefundResult
from ledger.evidence import inquiry_of, kept_already
from ledger.linked import way_taken
from ledger.projection import CaseRow, slots_of
from ledger.records import RefusedAttempt, StoredDecision
from workflows.refund import RefundCase

if TYPE_CHECKING:
    from client.opening import Client

UPDATES: dict[Action | DeskAction, Any] = {
    Action.APPROVE: RefundCase.approve,
    Action.DECLINE: RefundCase.decline,
    Action.WITHDRAW: RefundCase.withdraw,
    DeskAction.CONTACT: RefundCase.contact,
    DeskAction.EVIDENCE: RefundCase.evidence,
    DeskAction.TRANSFER: RefundCase.transfer,
    DeskAction.ASSIGN: RefundCase.assign,
    DeskAction.DELEGATE: RefundCase.delegate,
}

_ALREADY = {
    RefusalCode.CLOSED: "the case has ended",
    RefusalCode.ALREADY_DECIDED: "decided already",
}

_UNDECIDED = frozenset({Status.OPEN, Status.AWAITING_INFORMATION, Status.AWAITING_APPROVAL})

POLL = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Seconds between looks into the books while a decision is awaited; the last one repeats."""


def _code_of(error: WorkflowUpdateFailedError) -> RefusalCode | None:
    """Why a case refused a message; None when it was something else that failed."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type in set(RefusalCode):
        return RefusalCode(cause.type)
    return None


def _message_of(error: WorkflowUpdateFailedError) -> str:
    return error.cause.message if isinstance(error.cause, ApplicationError) else str(error.cause)


def _unanswered(error: RPCError | NoTurn) -> str:
    if isinstance(error, RPCError):
        return f"Temporal does not answer: {error.message}"
    return (
        f"the case gives {error}: no worker may be running, or a crowd is asking; "
        "it may still take what you sent, and the same click again is never a second decision"
    )


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class CaseHandle:
    """One case. ``row`` is read from the books anew each time."""

    client: Client
    case_id: str

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
        click = click_id or uuid.uuid4().hex
        row, sealed = await self._sealed(action, by, click, "note", note)
        shown = row.digest if digest is None else digest
        given = Judgement(
            slot=slot or (await self._only_open_slot() if action is not Action.WITHDRAW else ""),
            signed=self._sign(action, by, shown, click),
            note=sealed,
        )
        return await self._send(action, by, click, given)

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
        click = click_id or uuid.uuid4().hex
        _, sealed = await self._sealed(DeskAction.CONTACT, by, click, "text", text)
        content = {"channel": channel, "text": sealed, "direction": direction}
        return await self._tell(DeskAction.CONTACT, Contact, by, click, content)

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
        click, action = click_id or uuid.uuid4().hex, DeskAction.EVIDENCE
        store = self.client.evidence_store
        field, said = ("text", text) if file is None else ("name", name)
        row, sealed = await self._sealed(action, by, click, field, said)
        if row.status is Status.CLOSED:
            message = f"the case ended as {row.outcome}"
            await self._refused(action, by, click, RefusalCode.CLOSED, message)
        if why := why_may_not_speak(by):
            await self._refused(action, by, click, RefusalCode.NOT_AUTHORISED, why)
        why = (
            store.limits.why_not_statement(text)
            if file is None
            else store.limits.why_not_file(name, media_type, file)
        )
        if file is not None and text:
            why = "evidence: a text and a file at once; allowed: one of them"
        if why:
            await self._refused(action, by, click, RefusalCode.INVALID, why)
        content: dict[str, Any] = {"kind": EvidenceKind.STATEMENT, "text": sealed, "file": None}
        if file is not None:
            found = media_type or media_type_of(file)
            kept = await store.describe(row.customer, sealed, found, file)
            async with self.client.books.reading() as reading:
                events = await reading.events(self.case_id)
            full = store.limits.why_no_more(inquiry_of(events).items)
            if full and kept_already(events, kept) is None:  # or bytes pile up that no case has
                await self._refused(action, by, click, RefusalCode.OVER_LIMIT, full)
            await store.put(kept, file)
            content = {"kind": EvidenceKind.FILE, "text": "", "file": kept}
        return await self._tell(action, Evidence, by, click, content)

    async def transfer(
        self, by: Actor, desk: Desk, reason: str = "", *, click_id: str = ""
    ) -> Answer:
        """Hand the case to another desk; otherwise as :meth:`contact`."""
        click = click_id or uuid.uuid4().hex
        _, sealed = await self._sealed(DeskAction.TRANSFER, by, click, "reason", reason)
        content = {"desk": desk, "reason": sealed}
        return await self._tell(DeskAction.TRANSFER, Transfer, by, click, content)

    async def claim(self, by: Actor, *, click_id: str = "") -> Answer:
        """Take the case on, out of its desk's queue; a lead may take it from somebody.

        A transfer puts it into the other desk's queue. Otherwise as :meth:`contact`.
        """
        return await self._assign(by, by.id, click_id)

    async def release(self, by: Actor, *, click_id: str = "") -> Answer:
        """Give the case back to its desk's queue; whoever holds it may, or a lead."""
        return await self._assign(by, "", click_id)

    async def _assign(self, by: Actor, to: str, click_id: str) -> Answer:
        click = click_id or uuid.uuid4().hex
        await self._sealed(DeskAction.ASSIGN, by, click)
        return await self._tell(DeskAction.ASSIGN, Assignment, by, click, {"to": to})

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
        click = click_id or uuid.uuid4().hex
        row, _ = await self._sealed(DeskAction.DELEGATE, by, click)
        content = {
            "slot": slot or await self._only_open_slot(),
            "to": to,
            "digest": row.digest if digest is None else digest,
        }
        return await self._tell(DeskAction.DELEGATE, Delegation, by, click, content)

    async def survey(
        self, by: Actor, *, effort: int, satisfaction: int, text: str = "", click_id: str = ""
    ) -> Answer:
        """What the customer says of a case that has ended, once: scores from 1 to 5 and text.

        ``by`` is the customer, or a service for them. Written straight into the books: the
        workflow has ended too. Raises :class:`Refused`; the attempt is on record.
        """
        click = click_id or uuid.uuid4().hex
        action = DeskAction.SURVEY
        row, sealed = await self._sealed(action, by, click, "text", text)
        for name, score in (("effort", effort), ("satisfaction", satisfaction)):
            if isinstance(score, bool) or score not in SCORES:
                message = f"{name}: {score!r}; allowed: whole numbers from 1 to 5"
                await self._refused(action, by, click, RefusalCode.INVALID, message)
        if by.role not in (Role.CUSTOMER, Role.SERVICE):
            message = f"role {by.role.value} may not; allowed: customer, service"
            await self._refused(action, by, click, RefusalCode.NOT_AUTHORISED, message)
        if row.status is not Status.CLOSED:
            message = "a survey is of a case that has ended"
            await self._refused(action, by, click, RefusalCode.TOO_EARLY, message)
        event = CaseEvent(
            case_id=self.case_id,
            step=action.value,
            kind=EventKind.SURVEYED,
            occurred_at=_now(),
            actor=by,
            body={
                "effort": effort,
                "satisfaction": satisfaction,
                "text": sealed,
                "click_id": click,
            },
        )
        async with self.client.books.transaction() as tx:
            is_first = await tx.append_event(event)
            said = event if is_first else await tx.reading.event(self.case_id, event.step)
        if said is None or said.body["click_id"] != click:
            message = "the customer has answered already"
            await self._refused(action, by, click, RefusalCode.ALREADY_DECIDED, message)
        return Answer(recorded=True)

    async def appeal(self, by: Actor, text: str, *, click_id: str = "") -> CaseHandle:
        """Ask somebody else to judge a refusal or a decline again; the case that does.

        Possible once, within the policy's time, with something new in ``text``, and not beside an
        offer that was taken. Whoever said no is kept from deciding again. Raises :class:`Refused`
        with who said no, until when it could be appealed, or by which case it was; the attempt is
        on record.
        """
        click = click_id or uuid.uuid4().hex
        action = DeskAction.APPEAL
        await self._checked_text(action, by, click, "text", text)
        opened, closing, stored = await self._to_go_on(action, by, click)
        if not text.strip():
            message = "text: is empty; allowed: what is new since the no"
            await self._refused(action, by, click, RefusalCode.INVALID, message)
        said = await self.client.keyring.unseal(opened.body["text"]) if opened.body["text"] else ""
        if text.strip() == said.strip():
            message = "text: is what was said before; allowed: what is new since the no"
            await self._refused(action, by, click, RefusalCode.INVALID, message)
        request = appeal_request(opened, stored.decision.facts, by, text)
        await self._in_time(action, by, click, closing, "appeal_until", case_id_of(request))
        return await self.client.open_request(request)

    async def accept(self, by: Actor, way: RefundMethod, *, click_id: str = "") -> CaseHandle:
        """Take, for the customer, what a case offered at its end; the case that pays it.

        Possible once, while the offer stands, and not beside an appeal that may yet succeed. What
        was approved and came back from the bank is paid without asking again; after a refusal the
        policy decides anew. Raises :class:`Refused`; the attempt is on record.
        """
        click = click_id or uuid.uuid4().hex
        action = DeskAction.ACCEPT
        row = await self._checked_text(action, by, click)
        opened, closing, stored = await self._to_go_on(action, by, click)
        offered = closing.body.get("alternatives") or []
        if way not in offered:
            message = f"alternative: {way} was not offered; allowed: {', '.join(offered) or 'none'}"
            await self._refused(action, by, click, RefusalCode.INVALID, message)
        came_back = row.outcome is Outcome.FAILED_AT_BANK
        request = alternative_request(
            opened,
            stored.decision.facts,
            by,
            way,
            stored.authority(row.charge) if came_back else None,
        )
        await self._in_time(action, by, click, closing, "alternative_until", case_id_of(request))
        return await self.client.open_request(request)

    async def _to_go_on(
        self, action: DeskAction, by: Actor, click: str
    ) -> tuple[CaseEvent, CaseEvent, StoredDecision]:
        """The opening and closing events of a case that has ended, and what was decided."""
        if why := why_may_not_speak(by):
            await self._refused(action, by, click, RefusalCode.NOT_AUTHORISED, why)
        async with self.client.books.reading() as reading:
            opened = await reading.event(self.case_id, "open")
            closing = await reading.event(self.case_id, "close")
            stored = await reading.decision(self.case_id)
        if opened is None or closing is None or stored is None:
            message = "the case has not ended"
            await self._refused(action, by, click, RefusalCode.TOO_EARLY, message)
        return opened, closing, stored

    async def _in_time(
        self,
        action: DeskAction,
        by: Actor,
        click: str,
        closing: CaseEvent,
        until: str,
        next_id: str,
    ) -> None:
        last = closing.body.get(until)
        if last is None:
            message = f"the end as {closing.body['outcome']} is final"
            await self._refused(action, by, click, RefusalCode.CLOSED, message)
        step = APPEAL_STEP if action is DeskAction.APPEAL else ALTERNATIVE_STEP
        async with self.client.books.reading() as reading:
            linked = await reading.event(self.case_id, step)
            other = await way_taken(reading, self.case_id)
        if linked is not None:
            message = f"it goes on as {next_id} since {linked.occurred_at:%Y-%m-%d %H:%M} UTC"
            await self._refused(action, by, click, RefusalCode.ALREADY_DECIDED, message)
        if other is not None:
            message = f"it goes on as {other}; allowed: when that has ended and gave nothing"
            await self._refused(action, by, click, RefusalCode.ALREADY_DECIDED, message)
        if _now() > parse_instant(last):
            message = f"the time for it ended at {parse_instant(last):%Y-%m-%d %H:%M} UTC"
            await self._refused(action, by, click, RefusalCode.TOO_LATE, message)

    async def _sealed(
        self,
        action: Action | DeskAction,
        by: Actor,
        click: str,
        field: str = "",
        text: str = "",
    ) -> tuple[CaseRow, str]:
        """The case's row, and the text that was given in ``field``, sealed; empty stays empty."""
        row = await self._checked_text(action, by, click, field, text)
        return row, await self.client.keyring.seal(row.customer, text) if text else ""

    async def _checked_text(
        self,
        action: Action | DeskAction,
        by: Actor,
        click: str,
        field: str = "",
        text: str = "",
    ) -> CaseRow:
        """The case's row, once the text that was given in ``field`` is fit to be kept."""
        row = await self.row()
        if row is None:
            await self._refused(action, by, click, RefusalCode.UNKNOWN_CASE, "no such case")
        if why := why_not_text(text):
            message = f"{field}: {why}; allowed: {TEXT_ALLOWED}"
            await self._refused(action, by, click, RefusalCode.INVALID, message)
        if has_card_number(text):
            message = f"{field}: holds a card number"
            await self._refused(action, by, click, RefusalCode.INVALID, message)
        return row

    async def _tell(
        self,
        action: DeskAction,
        message: type[DeskMessage],
        by: Actor,
        click: str,
        content: Mapping[str, Any],
    ) -> Answer:
        signed = self._sign(action, by, sha256_of(message.content_of(content)), click)
        return await self._send(action, by, click, message(signed=signed, **content))

    async def _send(
        self, action: Action | DeskAction, by: Actor, click: str, given: Judgement | DeskMessage
    ) -> Answer:
        try:
            answer = await self._ask(action, given, f"{action}:{click}")
        except WorkflowUpdateFailedError as error:
            refused = _code_of(error)
            if refused is None:
                raise
            await self._refused(action, by, click, refused, _message_of(error))
        except (RPCError, NoTurn) as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                await self._refused(action, by, click, RefusalCode.CLOSED, "the case has ended")
            known = await self._by_the_books(action, given)
            if known is None:
                raise Unreachable(_unanswered(error)) from error
            if isinstance(known, RefusalCode):
                await self._refused(action, by, click, known, _ALREADY[known])
            answer = known
        if not answer.recorded:
            code = answer.code or RefusalCode.INVALID
            raise Refused(code.value, await self._with_who(answer.message))
        return answer

    async def _ask(
        self, action: Action | DeskAction, given: Judgement | DeskMessage, update_id: str
    ) -> Answer:
        async def is_not_yet(error: WorkflowUpdateFailedError) -> bool:
            # the books know the decision a moment before the case itself does
            return _code_of(error) is RefusalCode.NOT_WAITING and await self._waits(action)

        async def is_over() -> bool:
            row = await self.row()
            return row is not None and row.status is Status.CLOSED

        return await self.client.turns.ask(
            self.workflow,
            UPDATES[action],
            given,
            update_id=update_id,
            is_not_yet=is_not_yet,
            is_over=is_over,
        )

    async def _by_the_books(
        self, action: Action | DeskAction, given: Judgement | DeskMessage
    ) -> Answer | RefusalCode | None:
        """What became of a message that Temporal gave no answer to; None while it is open."""
        signed = given.signed
        async with self.client.books.reading() as reading:
            case = await reading.case(self.case_id)
            approvals = await reading.approvals(self.case_id)
            closing = await reading.event(self.case_id, "close")
            # a judgement's event is named by its slot, which a click may be called like
            said = (
                await reading.event(self.case_id, f"{action}:{signed.click_id}")
                if isinstance(given, DeskMessage)
                else None
            )
        if said is not None and said.actor == signed.actor:
            return Answer(recorded=True)
        clicks = {SignedActor.model_validate_json(row.signature_json).click_id for row in approvals}
        withdrew = closing is not None and (
            closing.body["outcome"] == Outcome.WITHDRAWN and closing.actor == signed.actor
        )
        if signed.click_id in clicks or (withdrew and signed.action == Action.WITHDRAW):
            return Answer(recorded=True)
        if case is None or case.status is Status.CLOSED:
            return RefusalCode.CLOSED
        if not isinstance(given, Judgement):
            return None
        is_filled = given.slot in {row.slot for row in approvals}
        if is_filled or case.status not in _UNDECIDED:
            return RefusalCode.ALREADY_DECIDED
        return None

    async def _waits(self, action: Action | DeskAction) -> bool:
        """Whether the case, by the books, waits for such a message."""
        row = await self.row()
        waiting = {Status.AWAITING_APPROVAL}
        if action is Action.WITHDRAW:
            waiting.add(Status.AWAITING_INFORMATION)
        return row is not None and row.status in waiting

    def _sign(self, action: Action | DeskAction, by: Actor, digest: str, click: str) -> SignedActor:
        return sign(
            self.client.signing_key,
            actor=by,
            action=action.value,
            case_id=self.case_id,
            digest=digest,
            click_id=click,
            at=_now(),
        )

    async def _only_open_slot(self) -> str:
        async with self.client.books.reading() as reading:
            slots = [slot.id for slot in slots_of(await reading.events(self.case_id))]
            taken = {row.slot for row in await reading.approvals(self.case_id)}
        still_open = [slot for slot in slots if slot not in taken]
        return (still_open or slots or [""])[0]

    async def _refused(
        self,
        action: Action | DeskAction,
        by: Actor,
        click: str,
        code: RefusalCode,
        message: str,
    ) -> NoReturn:
        message = await self._with_who(message)
        async with self.client.books.transaction() as tx:
            await tx.record_refused_attempt(
                RefusedAttempt(
                    case_id=self.case_id,
                    action=action.value,
                    actor=by,
                    code=code.value,
                    message=message,
                    request_id=click,
                    at=_now(),
                )
            )
        raise Refused(code.value, message)

    async def _with_who(self, message: str) -> str:
        """Add who decided and when, by the books."""
        async with self.client.books.reading() as reading:
            said = [
                f"{row.verdict.value}d by {row.actor.id} ({row.actor.role.value}) "
                f"at {row.at:%Y-%m-%d %H:%M} UTC"
                for row in await reading.approvals(self.case_id)
            ]
            closing = await reading.event(self.case_id, "close")
        if closing is not None and closing.kind is EventKind.CLOSED:
            said.append(
                f"ended as {closing.body['outcome']} by {closing.actor.id} "
                f"at {closing.occurred_at:%Y-%m-%d %H:%M} UTC"
            )
        return f"{message} ({'; '.join(said)})" if said else message
