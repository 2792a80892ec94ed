"""Whole cases from seeds: each drawn course is lived through on real servers, then judged.

The workflow, the activities, Temporal with its clock skipped, the provider's double and the
books are the real ones; the worker is in this process, so that many seeds fit beside each
other. Faults come from the course: the provider's from the sandbox, the database's from
:mod:`tests.reliability.faulty_books`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

from structlog.testing import capture_logs

from activities.outside import OutsideNews
from tests.reliability.courses import course_of
from tests.reliability.faulty_books import FaultyBooks
from tests.reliability.judging import judged
from tests.reliability.lives import Ground, Life, Lived
from tests.workflows.world import empty_world
from web.store import Inbox
from web.webhooks import Postman

AT_ONCE = 20
FAULT_RATE = 0.1


@asynccontextmanager
async def ground_for_seeds(temporal_address: str) -> AsyncIterator[Ground]:
    """A world with its worker on faulty books, and those who carry the provider's news."""
    async with empty_world(temporal_address, attempt_seconds=10, workflow_sandbox=False) as world:
        books = await FaultyBooks.open(world.stack.books.url)
        assert isinstance(books, FaultyBooks)
        books.rate = FAULT_RATE
        cursed = replace(world.stack, books=books)
        inbox = Inbox(world.stack.books)
        postman = Postman(inbox, world.stack.temporal, idle_seconds=0.5)
        news = OutsideNews(world.stack.books, world.stack.provider, idle_seconds=0.2)
        async with cursed.worker(task_queue=world.queue):
            beside = [asyncio.create_task(postman.run()), asyncio.create_task(news.run())]
            try:
                with _said_quietly():
                    yield Ground(world, books, inbox, postman)
            finally:
                for task in beside:
                    task.cancel()
        await books.close()


@contextmanager
def _said_quietly() -> Iterator[None]:
    """Without the traceback of every fault that was asked for: writing them takes longer than
    the lives do."""
    loggers = [logging.getLogger("temporalio.activity"), logging.getLogger("temporalio.workflow")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with capture_logs():
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


async def live_all(ground: Ground, seeds: Iterable[int]) -> list[Lived]:
    """Every seed, many at once; a life that fails is a fault of its own and ends nobody else's."""
    waiting = list(reversed(list(seeds)))
    ended: list[Lived] = []

    async def take() -> None:
        while waiting:
            ended.append(await Life(ground, course_of(waiting.pop())).live())

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(take())
    # what is left of the faults is not for the judge
    await ground.world.stack.http.delete(f"{ground.world.stack.sandbox_url}/_sandbox/faults")
    for lived in ended:
        if not lived.faults:
            await judged(ground.world, lived)
    return ended
