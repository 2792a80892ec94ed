"""What a person tries to say to a case: checked, signed and sent, and on record when refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from client.checking import TEXT_ALLOWED, why_not_text
from client.turns import NoTurn
from domain.actors import Actor, SignedActor, sign
from domain.approvals import Action, Answer, DeskAction, Judgement, RefusalCode
from domain.canonical import sha256_of
from domain.cards import has_card_number
from domain.cases import EventKind, Outcome, Status
from domain.errors import Refused, Unreachable
from domain.messages import DeskMessage
from ledger.projection import CaseRow
from ledger.records import RefusedAttempt
from workflows.refund import RefundCase

if TYPE_CHECKING:
    from client.case import CaseHandle

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


@dataclass(frozen=True)
class Attempt:
    """One click of ``by`` at the instant ``at`` (UTC). The same ``click`` again is the same act."""

    case: CaseHandle
    action: Action | DeskAction
    by: Actor
    click: str
    at: datetime

    async def sealed(self, field: str = "", text: str = "") -> tuple[CaseRow, str]:
        """The case's row, and the text that was given in ``field``, sealed; empty stays empty."""
        row = await self.checked(field, text)
        return row, await self.case.client.keyring.seal(row.customer, text) if text else ""

    async def checked(self, field: str = "", text: str = "") -> CaseRow:
        """The case's row, once the text that was given in ``field`` is fit to be kept."""
        row = await self.case.row()
        if row is None:
            await self.refuse(RefusalCode.UNKNOWN_CASE, "no such case")
        if why := why_not_text(text):
            message = f"{field}: {why}; allowed: {TEXT_ALLOWED}"
            await self.refuse(RefusalCode.INVALID, message)
        if has_card_number(text):
            message = f"{field}: holds a card number"
            await self.refuse(RefusalCode.INVALID, message)
        return row

    async def tell(self, message: type[DeskMessage], content: Mapping[str, Any]) -> Answer:
        """Send what changes no decision. Raises as :meth:`send`."""
        signed = self.sign(sha256_of(message.content_of(content)))
        return await self.send(message(signed=signed, **content))

    async def send(self, given: Judgement | DeskMessage) -> Answer:
        """Raises :class:`Refused` with who decided what and when, the attempt being on record, and
        :class:`Unreachable` when nobody answered and the books do not know what became of it."""
        try:
            answer = await self._ask(given)
        except WorkflowUpdateFailedError as error:
            refused = _code_of(error)
            if refused is None:
                raise
            await self.refuse(refused, _message_of(error))
        except (RPCError, NoTurn) as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                await self._no_run(error)
            known = await self._by_the_books(given)
            if known is None:
                raise Unreachable(_unanswered(error)) from error
            if isinstance(known, RefusalCode):
                await self.refuse(known, _ALREADY[known])
            answer = known
        if not answer.recorded:
            code = answer.code or RefusalCode.INVALID
            raise Refused(code.value, await self._with_who(answer.message))
        return answer

    async def _ask(self, given: Judgement | DeskMessage) -> Answer:
        async def is_not_yet(error: WorkflowUpdateFailedError) -> bool:
            # the books know the decision a moment before the case itself does
            return _code_of(error) is RefusalCode.NOT_WAITING and await self._waits()

        async def is_over() -> bool:
            row = await self.case.row()
            return row is not None and row.status is Status.CLOSED

        return await self.case.client.turns.ask(
            self.case.workflow,
            UPDATES[self.action],
            given,
            # two people who call their clicks alike are two people; Temporal keeps this unsealed
            update_id=f"{self.action}:{sha256_of([self.by, self.click])}",
            is_not_yet=is_not_yet,
            is_over=is_over,
        )

    async def _by_the_books(self, given: Judgement | DeskMessage) -> Answer | RefusalCode | None:
        """What became of a message that Temporal gave no answer to; None while it is open."""
        async with self.case.client.books.reading() as reading:
            case = await reading.case(self.case.case_id)
            approvals = await reading.approvals(self.case.case_id)
            closing = await reading.event(self.case.case_id, "close")
            # a judgement's event is named by its slot, which a click may be called like
            said = (
                await reading.event(self.case.case_id, f"{self.action}:{self.click}")
                if isinstance(given, DeskMessage)
                else None
            )
        if said is not None and said.actor == self.by:
            return Answer(recorded=True)
        clicks = {
            SignedActor.model_validate_json(row.signature_json).click_id
            for row in approvals
            if row.actor == self.by
        }
        withdrew = closing is not None and (
            closing.body["outcome"] == Outcome.WITHDRAWN and closing.actor == self.by
        )
        if self.click in clicks or (withdrew and self.action is Action.WITHDRAW):
            return Answer(recorded=True)
        if case is None or case.status is Status.CLOSED:
            return RefusalCode.CLOSED
        if not isinstance(given, Judgement):
            return None
        is_filled = given.slot in {row.slot for row in approvals}
        if is_filled or case.status not in _UNDECIDED:
            return RefusalCode.ALREADY_DECIDED
        return None

    async def _no_run(self, error: RPCError) -> NoReturn:
        """The books close a case before its run ends, so one that is open there was lost."""
        row = await self.case.row()
        if row is None or row.status is Status.CLOSED:
            await self.refuse(RefusalCode.CLOSED, "the case has ended")
        raise Unreachable(
            f"Temporal has lost {self.case.case_id}, which by the books is {row.status.value}: "
            "`reopen` takes it up again, then say it once more"
        ) from error

    async def _waits(self) -> bool:
        """Whether the case, by the books, waits for such a message."""
        row = await self.case.row()
        waiting = {Status.AWAITING_APPROVAL}
        if self.action is Action.WITHDRAW:
            waiting.add(Status.AWAITING_INFORMATION)
        return row is not None and row.status in waiting

    def sign(self, digest: str) -> SignedActor:
        return sign(
            self.case.client.signing_key,
            actor=self.by,
            action=self.action.value,
            case_id=self.case.case_id,
            digest=digest,
            click_id=self.click,
            at=self.at,
        )

    async def refuse(self, code: RefusalCode, message: str) -> NoReturn:
        """Put the attempt on record. Raises :class:`Refused`, with who decided and when."""
        message = await self._with_who(message)
        async with self.case.client.books.transaction() as tx:
            await tx.record_refused_attempt(
                RefusedAttempt(
                    case_id=self.case.case_id,
                    action=self.action.value,
                    actor=self.by,
                    code=code.value,
                    message=message,
                    request_id=self.click,
                    at=self.at,
                )
            )
        raise Refused(code.value, message)

    async def _with_who(self, message: str) -> str:
        """Add who decided and when, by the books."""
        async with self.case.client.books.reading() as reading:
            said = [
                f"{row.verdict.value}d by {row.actor.id} ({row.actor.role.value}) "
                f"at {row.at:%Y-%m-%d %H:%M} UTC"
                for row in await reading.approvals(self.case.case_id)
            ]
            closing = await reading.event(self.case.case_id, "close")
        if closing is not None and closing.kind is EventKind.CLOSED:
            said.append(
                f"ended as {closing.body['outcome']} by {closing.actor.id} "
                f"at {closing.occurred_at:%Y-%m-%d %H:%M} UTC"
            )
        return f"{message} ({'; '.join(said)})" if said else message
