"""What people tell a case besides deciding it: judged under lock, recorded once a click."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from temporalio import activity

from activities.contract import (
    RECORD_ASSIGNMENT,
    RECORD_CONTACT,
    RECORD_DELEGATION,
    RECORD_EVIDENCE,
    RECORD_TRANSFER,
    MessageActivities,
)
from activities.records import (
    DESK_NOTICE,
    case_event,
    locked_case,
    notify,
    open_slots,
    record_refusal,
)
from domain.actors import Actor, Role, why_not_authentic
from domain.approvals import STAFF, Answer, DeskAction, RefusalCode, why_may_not_speak
from domain.canonical import sha256_of
from domain.cases import Desk, Direction, EventKind, Status
from domain.evidence import EvidenceAnswer, EvidenceLimits
from domain.messages import (
    Assignment,
    Contact,
    Delegation,
    Evidence,
    M,
    RecordMessageInput,
    Transfer,
)
from ledger.books import Books
from ledger.evidence import inquiry_of, kept_already
from ledger.projection import CaseRow
from ledger.reading import Reading
from ledger.records import RefusedAttempt
from ledger.writing import BookTransaction

Refusal = tuple[RefusalCode, str]

RECORDED = Answer(recorded=True)

NOTHING_NEW = "the case has it already; something else is wanted"
"""Said of what was given before the question that waits. It answers nothing: the question was
asked with this in sight, so to decide on it again would spend another question on the same facts;
and silence would have the customer wait until their time is up."""


class Messages(MessageActivities):
    """Judges and records messages; ``wall_clock`` tells how fresh a signature is, ``limits`` how
    much evidence a case takes."""

    def __init__(
        self,
        books: Books,
        verify_key: Ed25519PublicKey,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        limits: EvidenceLimits | None = None,
    ) -> None:
        self._books = books
        self._verify_key = verify_key
        self._wall_clock = wall_clock
        self._limits = limits or EvidenceLimits()

    @activity.defn(name=RECORD_CONTACT)
    async def record_contact(self, given: RecordMessageInput[Contact]) -> Answer:
        async with self._books.transaction() as tx:
            case = await locked_case(tx, given.case_id)
            is_answer = given.message.direction is Direction.OUTGOING
            refusal = _why_not_answer(given.message.signed.actor) if is_answer else None
            answer = await self._judge(tx, case, DeskAction.CONTACT, given, refusal)
            if answer is None:
                kind = EventKind.ANSWERED if is_answer else EventKind.CONTACTED
                body = given.message.content()
                await _append(tx, case, DeskAction.CONTACT, kind, given, body)
        return answer or RECORDED

    @activity.defn(name=RECORD_EVIDENCE)
    async def record_evidence(self, given: RecordMessageInput[Evidence]) -> EvidenceAnswer:
        async with self._books.transaction() as tx:
            case = await locked_case(tx, given.case_id)
            events = await tx.reading.events(case.case_id)
            same = kept_already(events, given.message.file)
            refusal = await _why_not_kept(tx.reading, case, given.message)
            if refusal is None and same is None:
                full = self._limits.why_no_more(inquiry_of(events).items)
                refusal = (RefusalCode.OVER_LIMIT, full) if full else None
            answer = await self._judge(tx, case, DeskAction.EVIDENCE, given, refusal)
            if answer is None and same is None:
                body = given.message.content()
                await _append(tx, case, DeskAction.EVIDENCE, EventKind.EVIDENCE_ADDED, given, body)
            answer = answer or RECORDED
            if not answer.recorded:
                return EvidenceAnswer(**dict(answer))
            step = same.step if same is not None else _step(DeskAction.EVIDENCE, given)
            answers = await _answered_by(tx.reading, case, step)
            is_old = case.status is Status.AWAITING_INFORMATION and not answers
            return EvidenceAnswer(recorded=True, answers=answers, message=NOTHING_NEW * is_old)

    @activity.defn(name=RECORD_TRANSFER)
    async def record_transfer(self, given: RecordMessageInput[Transfer]) -> Answer:
        async with self._books.transaction() as tx:
            case = await locked_case(tx, given.case_id)
            answer = await self._judge(
                tx, case, DeskAction.TRANSFER, given, _why_not_to(case, given.message.desk)
            )
            if answer is None:
                body = {"from": case.desk, **given.message.content()}
                await _append(tx, case, DeskAction.TRANSFER, EventKind.TRANSFERRED, given, body)
                await notify(
                    tx, case, "case.transferred", given.now, body,
                    to=DESK_NOTICE, ordinal=case.events,
                )  # fmt: skip
        return answer or RECORDED

    @activity.defn(name=RECORD_ASSIGNMENT)
    async def record_assignment(self, given: RecordMessageInput[Assignment]) -> Answer:
        async with self._books.transaction() as tx:
            case = await locked_case(tx, given.case_id)
            answer = await self._judge(
                tx, case, DeskAction.ASSIGN, given, _why_not_assign(case, given.message)
            )
            if answer is None:
                body = {"from": case.assignee, **given.message.content()}
                await _append(tx, case, DeskAction.ASSIGN, EventKind.ASSIGNED, given, body)
        return answer or RECORDED

    @activity.defn(name=RECORD_DELEGATION)
    async def record_delegation(self, given: RecordMessageInput[Delegation]) -> Answer:
        async with self._books.transaction() as tx:
            case = await locked_case(tx, given.case_id)
            refusal = await _why_not_delegate(tx.reading, case, given)
            answer = await self._judge(tx, case, DeskAction.DELEGATE, given, refusal)
            if answer is None:
                body = given.message.content()
                await _append(tx, case, DeskAction.DELEGATE, EventKind.DELEGATED, given, body)
                await notify(
                    tx, case, f"case.delegated.{given.message.slot}", given.now,
                    {"slot": given.message.slot, "by": given.message.signed.actor.id},
                    to=given.message.to.id, ordinal=case.events,
                )  # fmt: skip
        return answer or RECORDED

    async def _judge(
        self,
        tx: BookTransaction,
        case: CaseRow,
        action: DeskAction,
        given: RecordMessageInput[M],
        refusal: Refusal | None = None,
    ) -> Answer | None:
        """None when the message is to be recorded now. ``refusal`` is what else speaks against
        it; the reasons that every message has come first."""
        signed = given.message.signed
        before = await tx.reading.event(case.case_id, _step(action, given))
        if before is not None and before.actor == signed.actor:
            return RECORDED  # an earlier attempt, or the same click again
        refusal = self._why_not_heard(case, action, given) or refusal
        if before is not None:
            refusal = RefusalCode.REQUEST_REUSED, "click_id: another person's; allowed: a new one"
        if refusal is None:
            return None
        code, message = refusal
        attempt = RefusedAttempt(
            case_id=case.case_id,
            action=action.value,
            actor=signed.actor,
            code=code.value,
            message=message,
            request_id=signed.click_id,
            at=given.now,
        )
        await record_refusal(tx, attempt)
        return Answer(recorded=False, code=code, message=message)

    def _why_not_heard(
        self, case: CaseRow, action: DeskAction, given: RecordMessageInput[M]
    ) -> Refusal | None:
        if case.outcome is not None:
            return RefusalCode.CLOSED, f"the case ended as {case.outcome.value}"
        reason = why_not_authentic(
            self._verify_key,
            given.message.signed,
            action=action.value,
            case_id=case.case_id,
            digest=sha256_of(given.message.content()),
            at=self._wall_clock(),
        )
        if reason is not None:
            return RefusalCode.NOT_AUTHENTIC, reason
        reason = why_may_not_speak(given.message.signed.actor)
        return None if reason is None else (RefusalCode.NOT_AUTHORISED, reason)


async def _answered_by(reading: Reading, case: CaseRow, step: str) -> int:
    """The number of the question that the item of ``step`` answers; 0 when it came before."""
    events = await reading.events(case.case_id)
    since = [event.step for event in events].index(step)
    asked = inquiry_of(events)
    return 0 if inquiry_of(events[:since]).times < asked.times else asked.times


def _step(action: DeskAction, given: RecordMessageInput[M]) -> str:
    return f"{action.value}:{given.message.signed.click_id}"


async def _append(
    tx: BookTransaction,
    case: CaseRow,
    action: DeskAction,
    kind: EventKind,
    given: RecordMessageInput[M],
    body: dict[str, Any],
) -> None:
    signed = given.message.signed
    told = {**body, "click_id": signed.click_id}
    event = case_event(case, _step(action, given), kind, given.now, told, actor=signed.actor)
    await tx.append_event(event)


async def _why_not_kept(reading: Reading, case: CaseRow, message: Evidence) -> Refusal | None:
    """Whoever can sign could otherwise put another customer's file on this account."""
    if message.file is None or await reading.has_key(case.customer, message.file.key_id):
        return None
    return RefusalCode.INVALID, "file: is sealed under no key of this customer; allowed: theirs"


def _why_not_answer(person: Actor) -> Refusal | None:
    reason = why_may_not_speak(person, STAFF)
    return None if reason is None else (RefusalCode.NOT_AUTHORISED, f"direction: {reason}")


def _why_not_to(case: CaseRow, desk: Desk) -> Refusal | None:
    if desk.value != case.desk:
        return None
    others = ", ".join(other.value for other in Desk if other is not desk)
    return RefusalCode.INVALID, f"desk: the case is at {desk.value} already; allowed: {others}"


def _why_not_assign(case: CaseRow, message: Assignment) -> Refusal | None:
    person, holder = message.signed.actor, case.assignee
    reason = why_may_not_speak(person, STAFF)
    if reason is not None:
        return RefusalCode.NOT_AUTHORISED, reason
    if message.to not in ("", person.id):
        return RefusalCode.INVALID, f"to: {message.to}; allowed: {person.id}, or nobody"
    if message.to == holder:
        held = f"{holder} holds the case already" if holder else "nobody holds the case"
        return RefusalCode.INVALID, held
    if holder not in ("", person.id) and person.role is not Role.LEAD:
        return RefusalCode.NOT_AUTHORISED, f"{holder} holds the case; allowed: they, or a lead"
    return None


async def _why_not_delegate(
    reading: Reading, case: CaseRow, given: RecordMessageInput[Delegation]
) -> Refusal | None:
    message = given.message
    slot = (await open_slots(reading, case)).get(message.slot)
    if slot is None:
        return RefusalCode.ALREADY_DECIDED, f"slot {message.slot} waits for nobody"
    if message.digest != slot.digest:
        return RefusalCode.STALE, "what is being handed over has changed since it was shown"
    decided = [row.actor.id for row in await reading.approvals(case.case_id)]
    return slot.why_may_not_delegate(message.signed.actor, message.to, given.now, decided)
