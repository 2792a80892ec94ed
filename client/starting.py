"""Starting a case's workflow: one way, for callers and for the engine itself."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from domain.cases import CaseKind, Desk
from domain.errors import Unreachable
from domain.refunds import RefundCaseInput
from workflows.connection import CASE_DESK, CASE_KIND, TASK_QUEUE
from workflows.refund import RefundCase


async def start_case(
    temporal: Client,
    case: RefundCaseInput,
    *,
    task_queue: str = TASK_QUEUE,
    start_delay: timedelta | None = None,
    desk: Desk = Desk.BILLING,
    reuse: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
    conflict: WorkflowIDConflictPolicy = WorkflowIDConflictPolicy.USE_EXISTING,
) -> bool:
    """Whether the case was started: False when it has ended already, and the books answer for it.

    One that runs is joined. ``reuse`` and ``conflict`` are for whoever knows that the books are
    to be believed and not Temporal. Raises :class:`Unreachable`.
    """
    try:
        await temporal.start_workflow(
            RefundCase.run,
            case,
            id=case.case_id,
            task_queue=task_queue,
            id_reuse_policy=reuse,
            id_conflict_policy=conflict,
            search_attributes=TypedSearchAttributes(
                [
                    SearchAttributePair(CASE_KIND, CaseKind.REFUND.value),
                    SearchAttributePair(CASE_DESK, desk.value),
                ]
            ),
            start_delay=start_delay,
            static_summary=f"refund of {case.request.charge}: {case.request.reason.value}",
        )
    except WorkflowAlreadyStartedError:
        return False
    except RPCError as error:
        raise Unreachable(f"Temporal does not answer: {error.message}") from error
    return True
