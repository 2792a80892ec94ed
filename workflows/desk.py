"""The desk: messages that every case answers, and the waiting for people's decisions.

A message is judged twice. The validator sees workflow memory only and refuses at once what
can be refused (nothing left in history); the handler *claims* before its first await, so
that of any number who press at the same moment one is recorded and the others are told who.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from domain.actors import Actor
    from domain.approvals import Action, Answer, ApprovalSlot, Judgement, RefusalCode
    from domain.evidence import EvidenceAnswer
    from domain.messages import (
        Assignment,
        Contact,
        Delegation,
        Evidence,
        RemindInput,
        Transfer,
    )
    from domain.refunds import CaseDescription, ProviderNews, RecordVerdictInput, RefundCaseInput
    from workflows import steps
    from workflows.connection import CASE_DESK


MOST_MESSAGES = 500
"""Of those that decide nothing. Temporal takes 2,000 updates of a run and no more, and whoever may
decide on a case must always find room; a replay of so many takes a few seconds."""

KEPT_FOR_ANSWERS = 100
"""Whoever is asked for something is heard, however much was said before."""

MOST_IN_VAIN = 50
"""Of one person's clicks to decide that came to nothing: each takes of the same room."""


def refuse(code: RefusalCode, message: str) -> ApplicationError:
    """A refusal as callers receive it: its type is the code, its text is for people."""
    return ApplicationError(message, type=code.value, non_retryable=True)


class CaseDesk:
    """Base of the four cases: messages ``approve``, ``decline``, ``withdraw``, ``contact``,
    ``evidence``, ``transfer``, ``assign``, ``delegate``, the signal ``provider_news`` and the
    query ``describe``. It has no ``run``."""

    def __init__(self, case: RefundCaseInput) -> None:
        self.case = case
        self.status = "open"
        self.waits_for = "decision"
        self.until: datetime | None = None
        self.then = ""
        self.digest = ""
        self.slots: tuple[ApprovalSlot, ...] = ()
        self.filled: dict[str, str] = {}
        self.claimed: dict[str, str] = {}
        self.handing: dict[str, str] = {}
        self.transferring = asyncio.Lock()
        self.ending_claimed_by = ""
        self.ended_by: Action | None = None
        self.deadline: datetime | None = None
        self.expiring = False
        self.waiting = False
        self.asking = False
        self.answered = 0
        self.taking = 0
        self.spoken = 0
        self.in_vain: Counter[str] = Counter()
        self.acting = False
        self.news = 0

    # -- waiting ---------------------------------------------------------------------

    async def await_approvals(
        self, slots: tuple[ApprovalSlot, ...], filled: Mapping[str, str]
    ) -> bool:
        """Wait until every slot is filled (True), or the case ended another way (False).

        ``filled`` names who approved the slots that are filled in the books already. The
        earliest expiry counts for all. A claim that is being recorded when the time is up is
        let finish: otherwise an expired case would collect an approval.

        One timer runs at a time, to the next call or the deadline. A case that began to wait
        before there were calls has a timer to the deadline in its history, and that timer
        stands for the first one here: it fires too late for any call, so its history is
        repeated command by command and needs no ``workflow.patched``.
        """
        self.slots = slots
        self.filled = dict(filled)
        self.waiting = True
        self.deadline = deadline = min(slot.expires_at for slot in slots)
        self.show("awaiting_approval", "approval", deadline, "expires")
        for instant in (*self._calls(deadline), deadline):
            try:
                await workflow.wait_condition(
                    self._is_settled,
                    timeout=instant - workflow.now(),
                    timeout_summary="approval expires" if instant == deadline else "call again",
                )
                break
            except TimeoutError:
                if instant == deadline or workflow.now() >= deadline:
                    self.expiring = True
                    await workflow.wait_condition(self._nothing_claimed)
                    break
                await self._call(instant, deadline)
        self.waiting = False
        return self._is_approved()

    async def await_information(self, question: int, until: datetime) -> bool:
        """Wait until the customer's ``question`` is answered or its time is up (True), or the case
        ended another way (False). Evidence that is being recorded when the time is up counts."""
        self.asking = True
        self.show("awaiting_information", "customer", until, "decides again")
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self.answered >= question or self.ended_by is not None,
                timeout=until - workflow.now(),
                timeout_summary="information is due",
            )
        self.asking = False
        await workflow.wait_condition(lambda: self._nothing_claimed() and not self.taking)
        self.show("open", "decision", None, "")
        return self.ended_by is None

    def _calls(self, deadline: datetime) -> list[datetime]:
        """When the desk is called again: reminders and escalations that lie ahead."""
        instants = {at for slot in self.slots for at in slot.remind_at}
        instants |= {slot.escalates_at for slot in self.slots if slot.escalates_at is not None}
        return sorted(at for at in instants if workflow.now() < at < deadline)

    async def _call(self, instant: datetime, deadline: datetime) -> None:
        """Tell the desk of the slots whose instant this is, as long as they are open."""
        still_open = [slot for slot in self.slots if slot.id not in self.filled]
        reminded = tuple(slot.id for slot in still_open if instant in slot.remind_at)
        escalated = tuple(slot.id for slot in still_open if slot.escalates_at == instant)
        if self._is_settled() or not (reminded or escalated):
            return
        ordinal = sum(at <= instant for at in {at for s in self.slots for at in s.remind_at})
        await steps.remind(
            self.case,
            RemindInput(
                case_id=self.case.case_id,
                ordinal=ordinal,
                now=workflow.now(),
                reminded=reminded,
                escalated=escalated,
            ),
            until=deadline,
        )

    def _is_approved(self) -> bool:
        return len(self.filled) == len(self.slots)

    def _is_settled(self) -> bool:
        return self._is_approved() or self.ended_by is not None

    def _nothing_claimed(self) -> bool:
        return not self.claimed and not self.ending_claimed_by

    def show(self, status: str, waits_for: str, until: datetime | None, then: str) -> None:
        """Say where the case is: for ``describe`` and for Temporal's own pages."""
        self.status, self.waits_for, self.until, self.then = status, waits_for, until, then
        when = f" until {until.isoformat()}" if until else ""
        workflow.set_current_details(f"{status}: waits for {waits_for or 'nothing'}{when}")

    # -- approve and decline ---------------------------------------------------------

    @workflow.update
    async def approve(self, given: Judgement) -> Answer:
        """Fill an approval slot."""
        return await self._approve(given)

    @approve.validator
    def _may_approve(self, given: Judgement) -> None:
        self._check_slot(given.slot, given.signed.digest, given.signed.actor)

    async def _approve(self, given: Judgement) -> Answer:
        slot = self._slot(given.slot)
        self.claimed[slot.id] = given.signed.actor.id
        try:
            answer = await self._record(Action.APPROVE, slot, given)
            if answer.recorded:
                self.filled[slot.id] = given.signed.actor.id
            return answer
        finally:
            del self.claimed[slot.id]

    @workflow.update
    async def decline(self, given: Judgement) -> Answer:
        """Say no on an approval slot; ends the case."""
        return await self._end(Action.DECLINE, self._slot(given.slot), given)

    @decline.validator
    def _may_decline(self, given: Judgement) -> None:
        self._check_slot(given.slot, given.signed.digest, given.signed.actor)

    # -- withdraw --------------------------------------------------------------------

    @workflow.update
    async def withdraw(self, given: Judgement) -> Answer:
        """Take the request back; possible until the money is ordered."""
        return await self._end(Action.WITHDRAW, None, given)

    @withdraw.validator
    def _may_withdraw(self, given: Judgement) -> None:
        self._check_not_ended()
        self._check_patience(given.signed.actor)
        if self.acting:
            raise refuse(RefusalCode.TOO_LATE, "the money has been ordered already")
        if not (self.waiting or self.asking):
            raise refuse(RefusalCode.NOT_WAITING, "the case is being decided this moment")
        if given.signed.digest != self.digest:
            raise refuse(RefusalCode.STALE, "the case has changed since it was shown")

    async def _end(self, action: Action, slot: ApprovalSlot | None, given: Judgement) -> Answer:
        self.ending_claimed_by = given.signed.actor.id
        try:
            await workflow.wait_condition(lambda: not self.claimed)
            if self.slots and self._is_approved():
                raise refuse(RefusalCode.ALREADY_DECIDED, self._who_approved())
            answer = await self._record(action, slot, given)
            if answer.recorded:
                self.ended_by = action
            return answer
        finally:
            self.ending_claimed_by = ""

    async def _record(self, action: Action, slot: ApprovalSlot | None, given: Judgement) -> Answer:
        answer = await steps.record_verdict(
            self.case,
            RecordVerdictInput(
                case_id=self.case.case_id,
                action=action,
                slot=slot,
                signed=given.signed,
                note=given.note,
                now=workflow.now(),
            ),
        )
        if not answer.recorded:
            self.in_vain[given.signed.actor.id] += 1
        return answer

    # -- judging without waiting -----------------------------------------------------

    def _slot(self, slot_id: str) -> ApprovalSlot:
        for slot in self.slots:
            if slot.id == slot_id:
                return slot
        known = ", ".join(slot.id for slot in self.slots)
        raise refuse(RefusalCode.INVALID, f"slot: no {slot_id!r} here; allowed: {known}")

    def _check_not_ended(self) -> None:
        if self.ended_by is not None:
            raise refuse(RefusalCode.ALREADY_DECIDED, f"already ended by {self.ended_by.value}")
        if self.ending_claimed_by:
            at_it = ", ".join((*self.claimed.values(), self.ending_claimed_by))
            raise refuse(RefusalCode.ALREADY_DECIDED, f"being decided this moment by {at_it}")
        # the instant counts, not the timer: a message may be handled before it fires
        if self.expiring or (self.deadline is not None and workflow.now() > self.deadline):
            at_it = ", ".join(self.claimed.values())
            raise refuse(
                RefusalCode.ALREADY_DECIDED,
                f"the last decision in time is that of {at_it}"
                if at_it
                else "the time to decide has run out",
            )
        if self.slots and self._is_approved():
            raise refuse(RefusalCode.ALREADY_DECIDED, self._who_approved())

    def _check_slot(self, slot_id: str, digest: str, person: Actor) -> ApprovalSlot:
        """The slot, once ``person`` may decide on it now."""
        self._check_not_ended()
        self._check_patience(person)
        if not self.waiting:
            raise refuse(RefusalCode.NOT_WAITING, "the case waits for no approval")
        slot = self._slot(slot_id)
        holder = self.filled.get(slot.id) or self.claimed.get(slot.id)
        if holder:
            raise refuse(RefusalCode.ALREADY_DECIDED, f"decided by {holder} already")
        if slot.id in self.handing:
            raise refuse(
                RefusalCode.ALREADY_DECIDED,
                f"being handed over this moment by {self.handing[slot.id]}",
            )
        if digest != slot.digest:
            raise refuse(RefusalCode.STALE, "what is being approved has changed since it was shown")
        refusal = slot.why_may_not_fill(person, workflow.now(), self._decided())
        if refusal is not None:
            raise refuse(*refusal)
        return slot

    def _check_patience(self, person: Actor) -> None:
        if self.in_vain[person.id] >= MOST_IN_VAIN:
            message = f"{person.id} was refused here {MOST_IN_VAIN} times; others may still decide"
            raise refuse(RefusalCode.OVER_LIMIT, message)

    def _decided(self) -> list[str]:
        return [*self.filled.values(), *self.claimed.values()]

    def _who_approved(self) -> str:
        return "already approved by " + ", ".join(self.filled.values())

    # -- messages that decide nothing ------------------------------------------------

    @workflow.update
    async def contact(self, given: Contact) -> Answer:
        """The customer got in touch, or staff answered; possible until the case ends."""
        self.spoken += 1
        return await steps.record_contact(self.case, given)

    @workflow.update
    async def evidence(self, given: Evidence) -> EvidenceAnswer:
        """Something that proves; possible until the case ends. It may answer a question."""
        self.spoken += 1
        self.taking += 1
        try:
            answer = await steps.record_evidence(self.case, given)
            self.answered = max(self.answered, answer.answers)
            return answer
        finally:
            self.taking -= 1

    @workflow.update
    async def transfer(self, given: Transfer) -> Answer:
        """Hand the case to another desk; possible until the case ends."""
        self.spoken += 1
        async with self.transferring:  # or the search attribute could keep the desk before last
            answer = await steps.record_transfer(self.case, given)
            if answer.recorded:
                workflow.upsert_search_attributes([CASE_DESK.value_set(given.desk.value)])
            return answer

    @workflow.update
    async def assign(self, given: Assignment) -> Answer:
        """A person holds the case from here on, or nobody; possible until the case ends."""
        self.spoken += 1
        return await steps.record_assignment(self.case, given)

    @contact.validator
    def _may_contact(self, given: Contact) -> None:
        self._check_room()

    @evidence.validator
    def _may_prove(self, given: Evidence) -> None:
        self._check_room(MOST_MESSAGES + KEPT_FOR_ANSWERS if self.asking else MOST_MESSAGES)

    @transfer.validator
    def _may_transfer(self, given: Transfer) -> None:
        self._check_room()

    @assign.validator
    def _may_assign(self, given: Assignment) -> None:
        self._check_room()

    def _check_room(self, most: int = MOST_MESSAGES) -> None:
        if self.spoken >= most:
            message = f"a case takes {MOST_MESSAGES} messages; it can still be decided on"
            raise refuse(RefusalCode.OVER_LIMIT, message)

    @workflow.update
    async def delegate(self, given: Delegation) -> Answer:
        """Hand an open slot to a person who may fill it."""
        self.spoken += 1
        slot = self._slot(given.slot)
        self.handing[slot.id] = given.signed.actor.id
        try:
            answer = await steps.record_delegation(self.case, given)
            if answer.recorded:
                handed = slot.model_copy(update={"delegate": given.to})
                self.slots = tuple(handed if each is slot else each for each in self.slots)
            return answer
        finally:
            del self.handing[slot.id]

    @delegate.validator
    def _may_delegate(self, given: Delegation) -> None:
        self._check_room()
        by = given.signed.actor
        slot = self._check_slot(given.slot, given.digest, by)
        refusal = slot.why_may_not_delegate(by, given.to, workflow.now(), self._decided())
        if refusal is not None:
            raise refuse(*refusal)

    # -- news and description --------------------------------------------------------

    @workflow.signal
    def provider_news(self, news: ProviderNews) -> None:
        """The provider said something new about this case's money: look now."""
        self.news += 1

    @workflow.query
    def describe(self) -> CaseDescription:
        """Where the case is and what it waits for."""
        return CaseDescription(
            case_id=self.case.case_id,
            status=self.status,
            waits_for=self.waits_for,
            until=self.until,
            then=self.then,
            digest=self.digest,
            open_slots=tuple(s.id for s in self.slots if s.id not in self.filled),
            amount=None,
        )
