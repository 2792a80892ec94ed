"""Messages to one case take turns, and nobody waits for an answer that will not come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

import pytest
from temporalio.client import (
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from client import turns
from client.turns import AT_ONCE, NoTurn, Turns
from domain.approvals import Answer

RECORDED = Answer(recorded=True)
FULL = RPCError("limit has been reached", RPCStatusCode.RESOURCE_EXHAUSTED, b"")
ABORTED = RPCError("workflow update was aborted", RPCStatusCode.UNAVAILABLE, b"")
CLOSING = RPCError(
    "workflow update was aborted by closing workflow", RPCStatusCode.UNAVAILABLE, b""
)
AWAY = RPCError("connection refused", RPCStatusCode.UNAVAILABLE, b"")
OUT_OF_TIME = WorkflowUpdateRPCTimeoutOrCancelledError()
TOO_EARLY = WorkflowUpdateFailedError(ApplicationError("not yet"))


class FakeCase:
    """Answers each message with the next of ``answers`` (the last one repeats); None is silence."""

    id = "refund-1"

    def __init__(self, *answers: Answer | Exception | None) -> None:
        self.answers = list(answers)
        self.sent: list[str] = []
        self.was_sent = asyncio.Event()
        self.under_way = 0
        self.most_under_way = 0

    async def execute_update(self, update: Any, message: Any, *, id: str) -> Answer:
        self.sent.append(id)
        self.was_sent.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0 if answer is not None else 3600)
        finally:
            self.under_way -= 1
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer


async def ask(
    case: FakeCase, *, is_over: bool = False, is_not_yet: bool = True, by: Turns | None = None
) -> Answer:
    def says(what: bool) -> Callable[..., Awaitable[bool]]:
        async def it(*_: object) -> bool:
            return what

        return it

    return await (by or Turns()).ask(
        cast("WorkflowHandle[Any, Any]", case),
        None,
        None,
        update_id="approve:click",
        is_not_yet=says(is_not_yet),
        is_over=says(is_over),
    )


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "ANSWERED", timedelta(milliseconds=20))
    monkeypatch.setattr(turns, "TURN", timedelta(milliseconds=500))
    monkeypatch.setattr(turns, "PAUSES", (0.001, 0.01))


@pytest.mark.parametrize("first", [FULL, ABORTED, OUT_OF_TIME, None, TOO_EARLY], ids=repr)
async def test_who_is_turned_away_or_hears_nothing_sends_the_same_message_again(
    first: Exception | None,
) -> None:
    case = FakeCase(first, first, RECORDED)
    assert await ask(case) == RECORDED
    assert case.sent == ["approve:click"] * 3
    assert case.under_way == 0


@pytest.mark.parametrize("answer", [FULL, CLOSING, OUT_OF_TIME, None], ids=repr)
async def test_who_speaks_to_a_case_that_is_over_does_not_wait_for_its_answer(
    answer: Exception | None,
) -> None:
    case = FakeCase(answer)
    with pytest.raises(NoTurn):
        await ask(case, is_over=True)
    assert len(case.sent) == 1


async def test_an_answer_counts_also_when_the_case_is_over() -> None:
    assert await ask(FakeCase(RECORDED), is_over=True) == RECORDED


@pytest.mark.parametrize("answer", [FULL, OUT_OF_TIME, None], ids=repr)
async def test_whoever_gets_no_answer_in_their_time_is_told_so(answer: Exception | None) -> None:
    with pytest.raises(NoTurn, match="no answer in"):
        await ask(FakeCase(answer))


async def test_a_case_that_stays_too_early_says_so_in_its_own_words() -> None:
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await ask(FakeCase(TOO_EARLY))
    assert refused.value is TOO_EARLY


async def test_a_refusal_and_a_server_away_are_told_at_once() -> None:
    for error, is_not_yet in ((TOO_EARLY, False), (AWAY, True)):
        case = FakeCase(error)
        with pytest.raises(type(error)):
            await ask(case, is_not_yet=is_not_yet)
        assert len(case.sent) == 1


async def test_a_crowd_keeps_no_more_than_its_share_of_a_case_under_way() -> None:
    case, by = FakeCase(RECORDED), Turns()
    answers = await asyncio.gather(*(ask(case, by=by) for _ in range(25)))
    assert answers == [RECORDED] * 25
    assert case.most_under_way == AT_ONCE


async def test_who_gives_up_leaves_nothing_under_way() -> None:
    case = FakeCase(None)
    waiting = asyncio.ensure_future(ask(case))
    await case.was_sent.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert case.under_way == 0
