"""The client of other Python services: typed, async, one handle a case.

It reads the books itself, so that it can say who decided what and when, and it writes what
no worker ever sees: which case a request id stands for, and refused attempts.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError
from temporalio.client import Client as TemporalClient
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from domain.actors import Actor, Role, SignedActor, sign
from domain.approvals import (
    Action,
    Answer,
    DeskAction,
    Judgement,
    RefusalCode,
)
from domain.archives import ArchiveSummary
from domain.canonical import sha256_of
from domain.cards import has_card_number
from domain.cases import CaseEvent, CaseKind, Channel, Desk, EventKind, Status, case_id_for
from domain.errors import InvalidRequest, Refused, Unreachable
from domain.messages import Contact, Delegation, DeskMessage, Transfer
from domain.money import LARGEST_MINOR
from domain.refunds import LONGEST_TEXT, RefundCaseInput, RefundRequest, RefundResult
from ledger.books import Books
from ledger.keys import Keyring
from ledger.projection import CaseRow
from ledger.records import RefusedAttempt
from settings import Settings, load
from workflows.archive import SWEEP_ID, ArchiveSweep
from workflows.connection import CASE_DESK, CASE_KIND, TASK_QUEUE, connect
from workflows.refund import RefundCase

UPDATES: dict[Action | DeskAction, Any] = {
    Action.APPROVE: RefundCase.approve,
    Action.DECLINE: RefundCase.decline,
    Action.WITHDRAW: RefundCase.withdraw,
    DeskAction.CONTACT: RefundCase.contact,
    DeskAction.TRANSFER: RefundCase.transfer,
    DeskAction.DELEGATE: RefundCase.delegate,
}

SCORES = range(1, 6)
"""What effort and satisfaction are counted in; 5 is the most of either."""

POLL = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Seconds between looks into the books while a decision is awaited; the last one repeats."""


TURN = timedelta(seconds=30)
"""How long a decision waits while others are being recorded on the same case."""


ALLOWED = {
    "amount_minor": f"a whole number of minor units from 1 to {LARGEST_MINOR}, "
    "or none for all that is left",
    "attributes": "true, false, whole numbers and texts of up to 200 characters",
    "requested_by": "an id of letters, digits and _ . : - and a role",
    "authorised_by": "case_id, decision_hash, approval_digest, charge and amount of a decision",
}
"""What may stand in a field, where the model's own words for it are not enough."""


def invalid_from(error: ValidationError) -> InvalidRequest:
    """The first fault of a model, by field, without the value that was given."""
    first = error.errors(include_input=False, include_url=False)[0]
    path = [str(part) for part in first["loc"]] or ["request"]
    if path[0] == "attributes":
        path = path[:2]  # what follows names a type that was tried
    context = first.get("ctx") or {}
    limits = ", ".join(f"{key} {value}" for key, value in context.items() if key != "error")
    allowed = ALLOWED.get(path[0]) or limits or "see `refund --help`"
    return InvalidRequest(".".join(path), first["msg"], allowed)


def _code_of(error: WorkflowUpdateFailedError) -> RefusalCode | None:
    """Why a case refused a message; None when it was something else that failed."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type in set(RefusalCode):
        return RefusalCode(cause.type)
    return None


def _message_of(error: WorkflowUpdateFailedError) -> str:
    return error.cause.message if isinstance(error.cause, ApplicationError) else str(error.cause)


DIGESTS = frozenset({"authorised_by.decision_hash", "authorised_by.approval_digest"})
"""Hexadecimal by their pattern: a run of digits in one is chance."""

TEXT_ALLOWED = f"up to {LONGEST_TEXT} characters of text"


def why_not_text(text: str) -> str:
    """What speaks against keeping a text; empty when nothing does."""
    if len(text) > LONGEST_TEXT:
        return f"has {len(text)} characters"
    if any(char == "\x00" or "\ud800" <= char <= "\udfff" for char in text):
        return "holds a character that is no text"
    return ""


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
        digest: str = "",
        note: str = "",
        click_id: str = "",
    ) -> Answer:
        """Send a person's decision.

        ``digest`` is what the person was shown (default: as the books show it now), ``slot``
        may be left out while one is open, ``click_id`` makes a repeat the same decision.
        Raises :class:`Refused` with who decided what and when; the attempt is on record.
        """
        click = click_id or uuid.uuid4().hex
        row, sealed = await self._sealed(action, by, click, "note", note)
        shown = digest or row.digest
        given = Judgement(
            slot=slot or (await self._only_open_slot() if action is not Action.WITHDRAW else ""),
            signed=self._sign(action, by, shown, click),
            note=sealed,
        )
        return await self._send(action, by, click, given)

    async def contact(
        self, by: Actor, channel: Channel, text: str = "", *, click_id: str = ""
    ) -> Answer:
        """Record that the customer got in touch again, and what they said.

        Possible until the case ends. ``click_id`` makes a repeat the same contact. Raises
        :class:`Refused`; the attempt is on record.
        """
        click = click_id or uuid.uuid4().hex
        _, sealed = await self._sealed(DeskAction.CONTACT, by, click, "text", text)
        content = {"channel": channel, "text": sealed}
        return await self._tell(DeskAction.CONTACT, Contact, by, click, content)

    async def transfer(
        self, by: Actor, desk: Desk, reason: str = "", *, click_id: str = ""
    ) -> Answer:
        """Hand the case to another desk; otherwise as :meth:`contact`."""
        click = click_id or uuid.uuid4().hex
        _, sealed = await self._sealed(DeskAction.TRANSFER, by, click, "reason", reason)
        content = {"desk": desk, "reason": sealed}
        return await self._tell(DeskAction.TRANSFER, Transfer, by, click, content)

    async def delegate(
        self, by: Actor, to: Actor, *, slot: str = "", digest: str = "", click_id: str = ""
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
            "digest": digest or row.digest,
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

    async def _sealed(
        self,
        action: Action | DeskAction,
        by: Actor,
        click: str,
        field: str = "",
        text: str = "",
    ) -> tuple[CaseRow, str]:
        """The case's row, and the text that was given in ``field``, sealed; empty stays empty."""
        row = await self.row()
        if row is None:
            await self._refused(action, by, click, RefusalCode.UNKNOWN_CASE, "no such case")
        if why := why_not_text(text):
            message = f"{field}: {why}; allowed: {TEXT_ALLOWED}"
            await self._refused(action, by, click, RefusalCode.INVALID, message)
        if has_card_number(text):
            message = f"{field}: holds a card number"
            await self._refused(action, by, click, RefusalCode.INVALID, message)
        return row, await self.client.keyring.seal(row.customer, text) if text else ""

    async def _tell(
        self,
        action: DeskAction,
        message: type[DeskMessage],
        by: Actor,
        click: str,
        content: Mapping[str, Any],
    ) -> Answer:
        signed = self._sign(action, by, sha256_of(content), click)
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
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise Unreachable(f"Temporal does not answer: {error.message}") from error
            await self._refused(action, by, click, RefusalCode.CLOSED, "the case has ended")
        if not answer.recorded:
            code = answer.code or RefusalCode.INVALID
            raise Refused(code.value, await self._with_who(answer.message))
        return answer

    async def _ask(
        self, action: Action | DeskAction, given: Judgement | DeskMessage, update_id: str
    ) -> Answer:
        """Send an update. A case takes ten at a time: whoever comes on top waits their turn, and
        whoever was in the queue when the case ended asks again, to be told how."""
        elapsed = asyncio.get_running_loop().time
        deadline = elapsed() + TURN.total_seconds()
        waits = iter(POLL)

        def late() -> bool:
            return elapsed() > deadline

        while True:
            try:
                answer: Answer = await self.workflow.execute_update(
                    UPDATES[action], given, id=update_id
                )
                return answer
            except WorkflowUpdateFailedError as error:
                # the books know the decision a moment before the case itself does
                if late() or not (
                    _code_of(error) is RefusalCode.NOT_WAITING and await self._waits()
                ):
                    raise
            except RPCError as error:
                is_full = error.status is RPCStatusCode.RESOURCE_EXHAUSTED
                is_aborted = "update was aborted" in error.message
                if late() or not (is_full or is_aborted):
                    raise
            await asyncio.sleep(next(waits, POLL[-1]))

    async def _waits(self) -> bool:
        row = await self.row()
        return row is not None and row.status is Status.AWAITING_APPROVAL

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
            decided = await reading.event(self.case_id, "decide")
            taken = {row.slot for row in await reading.approvals(self.case_id)}
        slots: list[str] = [slot["id"] for slot in (decided.body["slots"] if decided else [])]
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


class Client:
    """Opens cases and sends people's decisions. Make one with :meth:`connect`."""

    def __init__(
        self,
        temporal: TemporalClient,
        books: Books,
        keyring: Keyring,
        signing_key: Ed25519PrivateKey,
        *,
        attempt_seconds: int = 30,
        task_queue: str = TASK_QUEUE,
    ) -> None:
        self.temporal = temporal
        self.books = books
        self.keyring = keyring
        self.signing_key = signing_key
        self._attempt_seconds = attempt_seconds
        self._task_queue = task_queue

    @classmethod
    @asynccontextmanager
    async def connect(cls, settings: Settings | None = None) -> AsyncIterator[Client]:
        """A client by settings (default: this process's). Raises :class:`Unreachable`."""
        settings = settings or load()
        books = await Books.open(settings.database_url)
        try:
            keyring = Keyring(books, settings.master_key_bytes())
            yield cls(
                await connect(keyring),
                books,
                keyring,
                settings.signing_key(),
                attempt_seconds=settings.attempt_seconds,
            )
        finally:
            await books.close()

    def case(self, case_id: str) -> CaseHandle:
        return CaseHandle(self, case_id)

    async def open_refund(
        self, fields: Mapping[str, Any], *, start_delay: timedelta | None = None
    ) -> CaseHandle:
        """Open a refund case; the same request twice is the same case.

        ``fields`` are those of :class:`domain.refunds.RefundRequest`, with ``text`` in the
        clear (it is sealed here). Raises :class:`InvalidRequest` naming the field,
        :class:`Refused` when the request id was used with another body.
        """
        try:
            request = self._checked(fields)
        except InvalidRequest as invalid:
            await self._record_invalid(fields, invalid)
            raise
        case_id = case_id_for(CaseKind.REFUND, request.request_id)
        is_new = await self._register(case_id, request)
        handle = CaseHandle(self, case_id)
        row = None if is_new else await handle.row()
        if row is not None and row.outcome is not None:
            return handle  # Temporal may have forgotten it; the books have not
        if request.text:
            sealed = await self.keyring.seal(request.customer, request.text)
            request = request.model_copy(update={"text": sealed})
        with suppress(WorkflowAlreadyStartedError):  # it has ended; the books answer for it
            await self._start(case_id, request, start_delay)
        return handle

    async def reopen(self, case_id: str) -> bool:
        """Start an open case again from the books, if Temporal has lost it.

        False when there is nothing to do: it runs, or it has ended. Whatever was decided,
        approved, ordered or looked at stands; the case goes on from there. Raises
        :class:`InvalidRequest` for an unknown case, :class:`Unreachable`.
        """
        async with self.books.reading() as reading:
            row = await reading.case(case_id)
            opened = await reading.event(case_id, "open")
        if row is None or opened is None:
            raise InvalidRequest("case", f"{case_id} is not in the books", "see `list`")
        if row.outcome is not None or await self._runs(case_id):
            return False
        try:
            await self._start(case_id, _request_of(opened), None, desk=Desk(row.desk))
        except WorkflowAlreadyStartedError:
            return False  # somebody else was faster
        return True

    async def archive(self) -> ArchiveSummary:
        """Keep the histories of ended cases now; joins a sweep that runs already.

        Raises :class:`Unreachable`.
        """
        try:
            return await self.temporal.execute_workflow(
                ArchiveSweep.run,
                id=SWEEP_ID,
                task_queue=self._task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )
        except RPCError as error:
            raise Unreachable(f"Temporal does not answer: {error.message}") from error

    async def _runs(self, case_id: str) -> bool:
        try:
            found = await self.case(case_id).workflow.describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise Unreachable(f"Temporal does not answer: {error.message}") from error
        return found.status is WorkflowExecutionStatus.RUNNING

    async def _start(
        self,
        case_id: str,
        request: RefundRequest,
        start_delay: timedelta | None,
        *,
        desk: Desk = Desk.BILLING,
    ) -> None:
        case = RefundCaseInput(
            case_id=case_id, request=request, attempt_seconds=self._attempt_seconds
        )
        try:
            await self.temporal.start_workflow(
                RefundCase.run,
                case,
                id=case_id,
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                search_attributes=TypedSearchAttributes(
                    [
                        SearchAttributePair(CASE_KIND, CaseKind.REFUND.value),
                        SearchAttributePair(CASE_DESK, desk.value),
                    ]
                ),
                start_delay=start_delay,
                static_summary=f"refund of {request.charge}: {request.reason.value}",
            )
        except RPCError as error:
            raise Unreachable(f"Temporal does not answer: {error.message}") from error

    def _checked(self, fields: Mapping[str, Any]) -> RefundRequest:
        for name, value in _texts(fields):
            if why := why_not_text(value):
                raise InvalidRequest(name, why, TEXT_ALLOWED)
            if name not in DIGESTS and has_card_number(value):
                raise InvalidRequest(name, "holds a card number", "a text without one")
        try:
            return RefundRequest.model_validate(dict(fields))
        except ValidationError as error:
            raise invalid_from(error) from None

    async def _register(self, case_id: str, request: RefundRequest) -> bool:
        """Whether the request is new. Raises :class:`Refused` when its id stands for another."""
        # The text goes into the hash by a keyed digest, so that the row tells nothing of it.
        body = request.model_copy(
            update={"text": self.keyring.lookup_hash(request.text) if request.text else ""}
        )
        body_hash = sha256_of(body)
        async with self.books.transaction() as tx:
            registered = await tx.register_request(
                request_id=request.request_id,
                kind=CaseKind.REFUND,
                body_hash=body_hash,
                case_id=case_id,
                customer=request.customer,
                at=_now(),
            )
        if registered.body_hash != body_hash:
            refused = Refused(
                RefusalCode.REQUEST_REUSED.value,
                f"request_id: {request.request_id} was used with another body on "
                f"{registered.created_at:%Y-%m-%d}; allowed: a new request_id, or the same body",
            )
            await self._record(
                request.requested_by, refused.code, refused.message, request.request_id, case_id
            )
            raise refused
        return registered.is_new

    async def _record_invalid(self, fields: Mapping[str, Any], invalid: InvalidRequest) -> None:
        try:
            actor = Actor.model_validate(fields.get("requested_by"))
        except ValidationError:
            actor = None
        request_id = fields.get("request_id")
        named = request_id if isinstance(request_id, str) and invalid.field != "request_id" else ""
        await self._record(actor, RefusalCode.INVALID.value, str(invalid), named, "")

    async def _record(
        self, actor: Actor | None, code: str, message: str, request_id: str, case_id: str
    ) -> None:
        async with self.books.transaction() as tx:
            await tx.record_refused_attempt(
                RefusedAttempt(
                    case_id=case_id,
                    action="open_refund",
                    actor=actor,
                    code=code,
                    message=message,
                    request_id=request_id,
                    at=_now(),
                )
            )


def _request_of(opened: CaseEvent) -> RefundRequest:
    """The request of a case that was decided: what only the decision read is not in it."""
    body = opened.body
    amount = body["amount"]
    same = (
        "request_id", "customer", "charge", "currency", "reason", "language", "jurisdiction",
        "text", "requested_by", "authorised_by",
    )  # fmt: skip
    return RefundRequest.model_validate(
        {
            **{name: body[name] for name in same},
            "amount_minor": None if amount is None else amount["amount_minor"],
            "policy": opened.policy,
        },
        strict=False,
    )


def _texts(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Every text of a nested input with its dotted name."""
    if isinstance(value, str):
        return [(name, value)]
    if isinstance(value, Mapping):
        return [
            found
            for key, item in value.items()
            for found in _texts(item, f"{name}.{key}" if name else str(key))
        ]
    return []
