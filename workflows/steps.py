"""Verbs of the procedures: one activity each, with its time-outs and their reason."""

from __future__ import annotations

from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

with workflow.unsafe.imports_passed_through():
    from activities.contract import (
        DecisionActivities,
        LinkedActivities,
        MessageActivities,
        PaymentActivities,
        RecordActivities,
        VerdictActivities,
    )
    from domain.approvals import Answer
    from domain.evidence import EvidenceAnswer
    from domain.messages import (
        Assignment,
        Contact,
        Delegation,
        Evidence,
        M,
        RecordMessageInput,
        RemindInput,
        Transfer,
    )
    from domain.refunds import (
        DecideInput,
        ExpireInput,
        LinkInput,
        LookInput,
        LookResult,
        RecordVerdictInput,
        RefundCaseInput,
        RefundProgress,
        SendInput,
        SendResult,
        UnknownInput,
    )

PATIENT = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2,
    maximum_interval=timedelta(minutes=1),
)
"""A database or provider that is away comes back; a minute is as long as a person would wait
to try again, and gentle enough for a provider in trouble."""

ALARM_AFTER = timedelta(minutes=15)
"""A movement whose outcome is unknown for longer is put before finance."""

LONGEST_WORD = 500
"""Characters of an error that finance is told."""

KEY_IS_SAFE_FOR = timedelta(hours=22)
"""The provider may forget an idempotency key after 24 h; no execution of ``send`` lives
longer than this, and each attempt looks before it orders."""


def _attempt(case: RefundCaseInput) -> timedelta:
    return timedelta(seconds=case.attempt_seconds)


async def decide(case: RefundCaseInput, ordinal: int = 1) -> RefundProgress:
    """Facts, decision and hold in one activity; retried until the provider answers."""
    asked = DecideInput(
        case_id=case.case_id,
        request=case.request,
        now=workflow.now(),
        ordinal=ordinal,
        asked_at=case.asked_at,
    )
    return await workflow.execute_activity_method(
        DecisionActivities.decide_refund,
        asked,
        start_to_close_timeout=_attempt(case),
        retry_policy=PATIENT,
        summary="facts, decision, hold",
    )


async def record_verdict(case: RefundCaseInput, given: RecordVerdictInput) -> Answer:
    return await workflow.execute_activity_method(
        VerdictActivities.record_verdict,
        given,
        start_to_close_timeout=_attempt(case),
        retry_policy=PATIENT,
        summary=f"{given.action} by {given.signed.actor.id}",
    )


def _recorded(case: RefundCaseInput, message: M) -> RecordMessageInput[M]:
    return RecordMessageInput(case_id=case.case_id, message=message, now=workflow.now())


async def record_contact(case: RefundCaseInput, given: Contact) -> Answer:
    return await workflow.execute_activity_method(
        MessageActivities.record_contact,
        _recorded(case, given),
        start_to_close_timeout=_attempt(case),
        retry_policy=PATIENT,
        summary=f"{given.direction} contact by {given.channel}",
    )


async def record_evidence(case: RefundCaseInput, given: Evidence) -> EvidenceAnswer:
    return await workflow.execute_activity_method(
        MessageActivities.record_evidence,
        _recorded(case, given),
        start_to_close_timeout=_attempt(case),
        retry_policy=PATIENT,
        summary=f"evidence by {given.signed.actor.id}",
    )


async def record_transfer(case: RefundCaseInput, given: Transfer) -> Answer:
    return await workflow.execute_activity_method(
        MessageActivities.record_transfer,
        _recorded(case, given),
        start_to_close_timeout=_attempt(case),
        retry_policy=PATIENT,
        summary=f"to {given.desk}, by {given.signed.actor.id}",
    )


async def record_assignment(case: RefundCaseInput, given: Assignment) -> Answer:
    return await workflow.execute_activity_method(
        MessageActivities.record_assignment,
        _recorded(case, given),
        start_to_close_timeout=_attempt(case),
        retry_policy=PATIENT,
        summary=f"held by {given.to or 'nobody'}",
    )


async def record_delegation(case: RefundCaseInput, given: Delegation) -> Answer:
    return await workflow.execute_activity_method(
        MessageActivities.record_delegation,
        _recorded(case, given),
        start_to_close_timeout=_attempt(case),
        retry_policy=PATIENT,
        summary=f"slot {given.slot} to {given.to.id}",
    )


async def remind(case: RefundCaseInput, remind: RemindInput, *, until: datetime) -> None:
    """Tell the desk what waits; given up at ``until``, when the case expires and says so."""
    try:
        await workflow.execute_activity_method(
            RecordActivities.remind_approvers,
            remind,
            start_to_close_timeout=_attempt(case),
            schedule_to_close_timeout=max(until - workflow.now(), _attempt(case)),
            retry_policy=PATIENT,
            summary="approval still waits",
        )
    except ActivityError as error:
        if not isinstance(error.cause, TemporalTimeoutError) and _is_final(error):
            raise
        workflow.logger.warning("reminder given up", extra={"ordinal": remind.ordinal})


async def send(case: RefundCaseInput, digest: str) -> SendResult:
    """Order the money until the provider's answer is known, for as long as that takes.

    The first execution ends after :data:`ALARM_AFTER` so that finance hears of it.
    """
    order = SendInput(case_id=case.case_id, digest=digest, now=workflow.now())
    patience, sent_at = ALARM_AFTER, workflow.now()
    while True:
        try:
            return await workflow.execute_activity_method(
                PaymentActivities.send_refund,
                order,
                start_to_close_timeout=_attempt(case),
                schedule_to_close_timeout=patience,
                retry_policy=PATIENT,
                summary="order the money",
            )
        except ActivityError as error:
            if not isinstance(error.cause, TemporalTimeoutError) and _is_final(error):
                raise
            await alarm_unknown(case, sent_at, _last_word(error))
            order = order.model_copy(update={"now": workflow.now()})
            patience = KEY_IS_SAFE_FOR


def _is_final(error: ActivityError) -> bool:
    cause = error.cause
    return bool(getattr(cause, "non_retryable", False))


def _last_word(error: BaseException) -> str:
    """What the last attempt said; empty when none answered."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ApplicationError):
        cause = cause.__cause__
    return "" if cause is None else cause.message[:LONGEST_WORD]


async def alarm_unknown(case: RefundCaseInput, since: datetime, why: str) -> None:
    await workflow.execute_activity_method(
        RecordActivities.alarm_unknown,
        UnknownInput(case_id=case.case_id, now=since, why=why),
        start_to_close_timeout=_attempt(case),
        retry_policy=PATIENT,
        summary="outcome unknown: tell finance",
    )


async def look(case: RefundCaseInput, look: LookInput) -> LookResult:
    return await workflow.execute_activity_method(
        PaymentActivities.look_at_refund,
        look,
        start_to_close_timeout=_attempt(case),
        retry_policy=PATIENT,
        summary="where is the money",
    )


async def open_linked(case: RefundCaseInput) -> None:
    await workflow.execute_activity_method(
        LinkedActivities.open_linked_case,
        LinkInput(case_id=case.case_id, attempt_seconds=case.attempt_seconds, now=workflow.now()),
        start_to_close_timeout=_attempt(case),
        retry_policy=PATIENT,
        summary="pay it another way",
    )


async def expire(case: RefundCaseInput) -> None:
    await workflow.execute_activity_method(
        RecordActivities.expire_case,
        ExpireInput(case_id=case.case_id, now=workflow.now()),
        start_to_close_timeout=_attempt(case),
        retry_policy=PATIENT,
        summary="nobody decided in time",
    )
