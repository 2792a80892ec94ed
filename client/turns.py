"""How a message reaches a case: in turn, and for as long as its sender may wait.

Temporal takes ten updates of one workflow at a time. The eleventh is turned away, and with it the
server forgets the ten and the workflow task that carried them; all are sent again, and a crowd that
presses on keeps a case from ever answering (docs/decisions/0025).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

from temporalio.client import (
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError, RPCStatusCode

from domain.approvals import Answer

TURN = timedelta(seconds=30)
"""How long a message waits for its answer, its place in the queue included."""

AT_ONCE = 3
"""Messages to one case that one client has under way: three processes stay within the ten."""

ANSWERED = timedelta(seconds=2)
"""After this long a message is sent again, under its own id, unless the case is over."""

PAUSES = (0.05, 2.0)
"""The first and the longest pause of somebody who was turned away, in seconds; each is drawn at
random up to its length, so that a crowd does not come back as one."""


class NoTurn(Exception):
    """The case gave no answer in time; whether it took the message is not known."""


class Turns:
    """The queues of one client, one for each case that somebody is talking to."""

    def __init__(self) -> None:
        self._queues: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def ask(
        self,
        case: WorkflowHandle[Any, Any],
        update: Any,
        message: Any,
        *,
        update_id: str,
        is_not_yet: Callable[[WorkflowUpdateFailedError], Awaitable[bool]],
        is_over: Callable[[], Awaitable[bool]],
    ) -> Answer:
        """The case's answer to a message.

        Whoever is turned away comes again unless the case is over by the books (``is_over``: the
        server may turn away what met a workflow at its very end for as long as it is asked), and
        so does whoever was too early (``is_not_yet``). Raises :class:`NoTurn`,
        ``WorkflowUpdateFailedError`` when the case refuses, ``RPCError`` when Temporal does.
        """
        queue = self._queues.setdefault(case.id, asyncio.Semaphore(AT_ONCE))
        too_early: WorkflowUpdateFailedError | None = None
        try:
            async with asyncio.timeout(TURN.total_seconds()), queue:
                for pause in _pauses():
                    try:
                        answer = await _answer(case, update, message, update_id)
                    except WorkflowUpdateFailedError as error:
                        if not await is_not_yet(error):
                            raise
                        too_early = error
                    else:
                        if answer is not None:
                            return answer
                        if await is_over():
                            raise NoTurn("no answer any more")
                    await asyncio.sleep(pause)
        except TimeoutError as error:
            raise too_early or NoTurn(f"no answer in {TURN.total_seconds():.0f} s") from error
        raise AssertionError("pauses have no end")


async def _answer(
    case: WorkflowHandle[Any, Any], update: Any, message: Any, update_id: str
) -> Answer | None:
    """None when the message was turned away, or not answered in the time for one attempt."""
    asked: asyncio.Future[Answer] = asyncio.ensure_future(
        case.execute_update(update, message, id=update_id)
    )
    try:
        done, _ = await asyncio.wait([asked], timeout=ANSWERED.total_seconds())
        return asked.result() if done else None
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        return None
    except RPCError as error:
        if not _is_turned_away(error):
            raise
        return None
    finally:
        asked.add_done_callback(_forget)
        asked.cancel()


def _forget(asked: asyncio.Future[Answer]) -> None:
    """What comes of an attempt that nobody waits for any more is nobody's error."""
    if not asked.cancelled():
        asked.exception()


def _pauses() -> Iterator[float]:
    shortest, longest = PAUSES
    for attempt in count():
        yield random.uniform(0, min(longest, shortest * 2**attempt))


def _is_turned_away(error: RPCError) -> bool:
    is_full = error.status is RPCStatusCode.RESOURCE_EXHAUSTED
    return is_full or "update was aborted" in error.message
