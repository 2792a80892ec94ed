"""The archive sweep: every ended case's history is written beside the books.

A Temporal Schedule starts it once a day (:data:`SCHEDULE_ID`); two never run at once.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)
from temporalio.service import RPCError

with workflow.unsafe.imports_passed_through():
    from activities.contract import ArchiveActivities
    from domain.archives import ArchiveInput, ArchiveSummary
    from domain.errors import Unreachable
    from workflows.steps import PATIENT

SCHEDULE_ID = "redress-archive"
SWEEP_ID = "redress-archive-sweep"
EVERY = timedelta(days=1)
PAGE_TIME = timedelta(minutes=10)
"""A page is a hundred histories, each fetched, packed and written to disk."""


@workflow.defn(name="ArchiveSweep")
class ArchiveSweep:
    """One sweep over the ended cases that have no archive yet."""

    @workflow.run
    async def run(self) -> ArchiveSummary:
        archived, late, lost, after = 0, 0, 0, ""
        while True:
            page = await workflow.execute_activity_method(
                ArchiveActivities.archive_histories,
                ArchiveInput(after=after, now=workflow.now()),
                start_to_close_timeout=PAGE_TIME,
                retry_policy=PATIENT,
                summary="keep histories",
            )
            archived, late = archived + page.archived, late + len(page.late)
            lost += len(page.lost)
            if page.next_after is None:
                return ArchiveSummary(archived=archived, late=late, lost=lost)
            after = page.next_after


async def keep_archiving(client: Client, task_queue: str) -> None:
    """Have Temporal start the sweep every day; it is told once, whoever starts first.

    Raises :class:`Unreachable`.
    """
    try:
        await client.create_schedule(
            SCHEDULE_ID,
            Schedule(
                action=ScheduleActionStartWorkflow(
                    ArchiveSweep.run, id=SWEEP_ID, task_queue=task_queue
                ),
                spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=EVERY)]),
                policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
            ),
        )
    except ScheduleAlreadyRunningError:
        return
    except RPCError as error:
        raise Unreachable(f"Temporal takes no schedule: {error.message}") from error
