"""What a person says to a case that waits: judged under its lock, recorded once a click.

Who may say so is judged by the newest policy in force, what the case costs by the one that it
began with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from temporalio import activity

from activities.contract import RECORD_VERDICT, VerdictActivities
from activities.linked import ending
from activities.pinned import pinned
from activities.progress import verdict_before
from activities.records import (
    amount_of,
    case_event,
    close,
    locked_case,
    record_refusal,
    void_and_close,
)
from decisions.library import Library
from domain.actors import Role, why_not_authentic
from domain.approvals import Action, Answer, ApprovalSlot, RefusalCode, Verdict
from domain.canonical import canonical_json
from domain.cases import CaseKind, EventKind, Outcome, Status
from domain.refunds import RecordVerdictInput
from ledger.books import Books
from ledger.projection import CaseRow, slots_of
from ledger.reading import Reading
from ledger.records import ApprovalRow, RefusedAttempt
from ledger.writing import BookTransaction


class Verdicts(VerdictActivities):
    """Judges the people who decide cases."""

    def __init__(
        self,
        books: Books,
        library: Library,
        verify_key: Ed25519PublicKey,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._books = books
        self._library = library
        self._verify_key = verify_key
        # A signature's freshness is the edge's wall clock against ours; case time has no part.
        self._wall_clock = wall_clock

    @activity.defn(name=RECORD_VERDICT)
    async def record_verdict(self, given: RecordVerdictInput) -> Answer:
        step = given.action.value + (f":{given.slot.id}" if given.slot else "")
        async with self._books.transaction() as tx:
            # under the lock: an attempt that was given up for late may commit the same meanwhile
            case = await locked_case(tx, given.case_id)
            before = await verdict_before(tx.reading, given, step)
            if before is not None and before.actor == given.signed.actor:
                return Answer(recorded=True)
            person = given.signed.actor
            refusal = await self._why_not(tx, case, given)
            if refusal is not None:
                code, message = refusal
                await record_refusal(
                    tx,
                    RefusedAttempt(
                        case_id=case.case_id,
                        action=given.action.value,
                        actor=person,
                        code=code.value,
                        message=message,
                        request_id=given.signed.click_id,
                        at=given.now,
                    ),
                )
                return Answer(recorded=False, code=code, message=message)
            await self._repin(tx, case, given.now)
            if given.slot is not None:
                await self._record_slot(tx, case, given, given.slot, step)
            if given.action is Action.DECLINE:
                await void_and_close(
                    tx, case, Outcome.DECLINED, given.now, actor=person, reason_key="declined",
                    ending=await self._appealable(tx.reading, case, given.now),
                )  # fmt: skip
            elif given.action is Action.WITHDRAW:
                is_held = case.status is not Status.AWAITING_INFORMATION
                end = void_and_close if is_held else close
                await end(
                    tx, case, Outcome.WITHDRAWN, given.now, actor=person, reason_key="withdrawn"
                )
        return Answer(recorded=True)

    async def _repin(self, tx: BookTransaction, case: CaseRow, now: datetime) -> None:
        """Record, once, that a newer version says who may decide how much."""
        pack = self._library.successor(case.policy, case.policy_version, now)
        if pack is None:
            return
        await tx.keep_policy(pack.name, pack.version, pack.hash, pack.content)
        body = {"version": pack.version, "policy_hash": pack.hash}
        step = f"repin:{pack.version}"
        await tx.append_event(case_event(case, step, EventKind.REPINNED, now, body))

    async def _record_slot(
        self,
        tx: BookTransaction,
        case: CaseRow,
        given: RecordVerdictInput,
        slot: ApprovalSlot,
        step: str,
    ) -> None:
        approves = given.action is Action.APPROVE
        slots = slots_of(await tx.reading.events(case.case_id))
        # by the books: of two people who say yes at once, neither's workflow knows of the other
        filled = {row.slot for row in await tx.reading.approvals(case.case_id)}
        if approves:
            filled.add(slot.id)
        await tx.record_approval(
            ApprovalRow(
                case_id=case.case_id,
                slot=slot.id,
                verdict=Verdict.APPROVE if approves else Verdict.DECLINE,
                actor=given.signed.actor,
                digest=given.signed.digest,
                amount=amount_of(case),
                policy_hash=case.policy_hash,
                signature_json=canonical_json(given.signed),
                note=given.note,
                at=given.now,
            )
        )
        kind = EventKind.APPROVAL_RECORDED if approves else EventKind.DECLINE_RECORDED
        body = {
            "slot": slot.id,
            "verdict": given.action.value,
            "approver": given.signed.actor,
            "note": given.note,
            "slots_left": sum(each.id not in filled for each in slots),
        }
        await tx.append_event(
            case_event(case, step, kind, given.now, body, actor=given.signed.actor)
        )

    async def _why_not(
        self, tx: BookTransaction, case: CaseRow, given: RecordVerdictInput
    ) -> tuple[RefusalCode, str] | None:
        if case.outcome is not None:
            return RefusalCode.CLOSED, f"the case ended as {case.outcome.value}"
        reason = why_not_authentic(
            self._verify_key,
            given.signed,
            action=given.action.value,
            case_id=case.case_id,
            digest=case.digest,
            at=self._wall_clock(),
        )
        if reason is not None:
            return RefusalCode.NOT_AUTHENTIC, reason
        person = given.signed.actor
        if person.role in {Role.AUDITOR, Role.PUBLISHER, Role.ADMIN}:
            return RefusalCode.NOT_AUTHORISED, f"role {person.role.value} moves no money"
        if given.slot is not None:
            refusal = await self._why_may_not_fill(tx.reading, given.slot, given)
            if refusal is not None:
                return refusal
        if given.action is not Action.APPROVE:
            return None
        amount = amount_of(case)
        start = datetime.combine(given.now.date(), time(0), UTC)
        await tx.lock_budget(person.id, amount.currency, given.now.date())
        spent = await tx.reading.approved_on(
            person.id, amount.currency, CaseKind.REFUND, start, start + timedelta(days=1)
        )
        pack = self._library.successor(case.policy, case.policy_version, given.now)
        pack = pack or await pinned(self._library, tx.reading, case.policy_hash)
        reason = pack.why_may_not(person.role, CaseKind.REFUND.value, amount, spent)
        return None if reason is None else (RefusalCode.OVER_LIMIT, reason)

    async def _why_may_not_fill(
        self, reading: Reading, slot: ApprovalSlot, given: RecordVerdictInput
    ) -> tuple[RefusalCode, str] | None:
        """The workflow has judged the same; what counts is who is in the books, under the lock."""
        if given.now > slot.expires_at:
            return RefusalCode.ALREADY_DECIDED, "the time to decide has run out"
        decided = {row.slot: row.actor.id for row in await reading.approvals(given.case_id)}
        if slot.id in decided:
            return RefusalCode.ALREADY_DECIDED, f"decided by {decided[slot.id]} already"
        return slot.why_may_not_fill(given.signed.actor, given.now, decided.values())

    async def _appealable(
        self, reading: Reading, case: CaseRow, now: datetime
    ) -> Mapping[str, Any]:
        """A person's no may be appealed, once."""
        pack = await pinned(self._library, reading, case.policy_hash)
        return ending(appeal_until=None if case.appeal_of else pack.appeal_until(now))
