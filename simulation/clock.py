"""Skipping time on a real Temporal server: the one file that knows its experimental API.

Each workflow has a clock of its own. A case is started with its clock at the wall's (plus a
start delay) and is moved to an instant only when it is idle, so that no skip overshoots.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError
from temporalio.testing import TimeSkipper

SERVER_FLAGS = (
    "--dynamic-config-value",
    "frontend.WorkflowTimeSkippingEnabled=true",
    "--dynamic-config-value",
    'history.timerProcessorMaxTimeShift="1ms"',
)
"""Flags of the development server without which no time can be skipped."""

PAUSES = (0.002, 0.005, 0.01, 0.02, 0.05)


class CaseClock:
    """Moves running cases through time."""

    def __init__(self, client: Client) -> None:
        self._skipper = TimeSkipper(client)

    async def now(self, handle: WorkflowHandle[Any, Any]) -> datetime:
        """The case's own instant (UTC)."""
        return await self._skipper.get_current_time(handle)

    async def advance_to(self, handle: WorkflowHandle[Any, Any], instant: datetime) -> bool:
        """Let the case live until ``instant``; False when it ended before.

        Answers once the case is idle again. An instant in the case's past is no move.
        """
        if not await self.until_idle(handle):
            return False
        left = instant - await self.now(handle)
        if left > timedelta(0):
            try:
                if not await self._skipper.fast_forward(handle, left):
                    return False
            except RPCError as error:
                if "already completed" not in error.message:
                    raise
                return False
        return await self.until_idle(handle)

    async def until_idle(self, handle: WorkflowHandle[Any, Any]) -> bool:
        """Wait until nothing of the case is in flight; False when it has ended."""
        pauses = iter(PAUSES)
        while True:
            description = await handle.describe()
            if description.status is not WorkflowExecutionStatus.RUNNING:
                return False
            raw = description.raw_description
            if not raw.pending_activities and not raw.HasField("pending_workflow_task"):
                return True
            await asyncio.sleep(next(pauses, PAUSES[-1]))


def utc_now() -> datetime:
    """The wall clock, for callers that set a case's start against it."""
    return datetime.now(UTC)
