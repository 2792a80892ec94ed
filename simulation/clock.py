"""Skipping time on a real Temporal server: the one file that knows its experimental API.

Each workflow has a clock of its own. A case is started with its clock at the wall's (plus a
start delay) and is moved to an instant only when it is idle, so that no skip overshoots.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
)
from temporalio.service import RPCError
from temporalio.testing import TimeSkipper

SERVER_FLAGS = (
    "--dynamic-config-value",
    "frontend.WorkflowTimeSkippingEnabled=true",
    "--dynamic-config-value",
    'history.timerProcessorMaxTimeShift="1ms"',
    # Skipped timers make the server take its timer queue for stuck and hand a part of it to a
    # second reader that may starve: a due case then waits for minutes (docs/decisions/0019).
    "--dynamic-config-value",
    "history.queueReaderStuckCriticalAttempts=1000000000",
    "--dynamic-config-value",
    "history.timerProcessorMaxPollRPS=200",
)
"""Flags of the development server without which time is not skipped, or not soon enough."""

PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds between looks at a case that is busy; each look costs the server about a millisecond."""


OVERSHOT_BY = timedelta(hours=1)
"""More than any waiting in real time could explain."""


class Overshot(Exception):
    """A case ran past the instant it was to be stopped at."""


class CaseClock:
    """Moves running cases through time."""

    def __init__(self, client: Client) -> None:
        self._skipper = TimeSkipper(client)

    async def now(self, handle: WorkflowHandle[Any, Any]) -> datetime:
        """The case's own instant (UTC)."""
        return _now_of(await handle.describe())

    async def advance_to(self, handle: WorkflowHandle[Any, Any], instant: datetime) -> bool:
        """Let the case live until ``instant``; False when it ended before.

        Answers once the case is idle again. An instant in the case's past is no move. Nothing
        may be due before ``instant``: the server takes a skip whose end passes while work is in
        flight for one without an end, and the case would run on to its own. Raises
        :class:`Overshot` when that happens and the case still lives.
        """
        idle = await self._idle(handle)
        if idle is None:
            return False
        left = instant - _now_of(idle)
        if left <= timedelta(0):
            return True
        try:
            if not await self._skipper.fast_forward(handle, left):
                return False
        except RPCError as error:
            if "already completed" not in error.message:
                raise
            return False
        idle = await self._idle(handle)
        if idle is None:
            return False
        if _now_of(idle) > instant + OVERSHOT_BY:
            raise Overshot(f"{handle.id} was to stop at {instant} and is at {_now_of(idle)}")
        return True

    async def run_out(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Let the case live to its end without a stop."""
        try:
            await self._skipper.fast_forward(handle)
        except RPCError as error:
            if "already completed" not in error.message:
                raise

    async def until_idle(self, handle: WorkflowHandle[Any, Any]) -> bool:
        """Wait until nothing of the case is in flight; False when it has ended."""
        return await self._idle(handle) is not None

    async def _idle(self, handle: WorkflowHandle[Any, Any]) -> WorkflowExecutionDescription | None:
        pauses = iter(PAUSES)
        while True:
            description = await handle.describe()
            if description.status is not WorkflowExecutionStatus.RUNNING:
                return None
            raw = description.raw_description
            if not raw.pending_activities and not raw.HasField("pending_workflow_task"):
                return description
            await asyncio.sleep(next(pauses, PAUSES[-1]))


def _now_of(description: WorkflowExecutionDescription) -> datetime:
    """The case's instant (UTC) at the moment it was described; the wall's before any skip."""
    extended = description.raw_description.workflow_extended_info
    if not extended.HasField("time_skipping_info"):
        return utc_now()
    return extended.time_skipping_info.current_time.ToDatetime().replace(tzinfo=UTC)


def utc_now() -> datetime:
    """The wall clock, for callers that set a case's start against it."""
    return datetime.now(UTC)
