"""A case's passage through time, its provider in step: deadline by deadline."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from domain.cases import Status
from ledger.projection import slots_of
from tests.workflows.world import Case, World

NATURALLY = 0.05
"""Seconds to wait for a timer at which a case stands (see ``simulation/driving.py``)."""

FRUITLESS = 400


class CaseTime:
    """Time of one case. ``ahead`` is how much farther its provider's clock is: a case by which
    another goes on begins at the wall's time, when the provider has lived through the first."""

    def __init__(self, world: World, case: Case, ahead: timedelta) -> None:
        self._world, self._case, self._ahead = world, case, ahead
        self._seen: set[datetime] = set()
        self._before: dict[datetime, int] = {}

    @classmethod
    async def of(cls, world: World, case: Case) -> CaseTime:
        """For a case that has just begun."""
        clock = await world.stack.control(f"clock?customer={case.customer}")
        return cls(world, case, timedelta(seconds=clock["offset_seconds"]))

    async def idle(self) -> bool:
        """Wait until nothing of the case is in flight; False when its workflow has ended."""
        return await self._world.clock.until_idle(self._case.handle.workflow)

    async def live_for(self, hours: int) -> None:
        now = await self._world.clock.now(self._case.handle.workflow)
        await self._live_to(now + timedelta(hours=hours))

    async def live_to_the_end(self) -> None:
        await self._live_to(None)

    async def _live_to(self, at: datetime | None) -> None:
        fruitless = 0
        while await self.idle():
            row = await self._world.row(self._case)
            if row.status is Status.CLOSED:
                return
            due = await self._next_instant()
            if at is not None and due > at:
                await self._advance(at)
                return
            before = self._before.setdefault(due, row.events)
            await self._advance(due)
            if await self._happened(before):
                self._seen.add(due)
                fruitless = 0
                continue
            fruitless += 1
            assert fruitless < FRUITLESS, f"I6: nothing happens at {due}, {row.status.value}"
            await asyncio.sleep(NATURALLY)

    async def _advance(self, at: datetime) -> None:
        await self._world.move_provider_to(self._case, at + self._ahead)
        await self._world.clock.advance_to(self._case.handle.workflow, at)

    async def _next_instant(self) -> datetime:
        """The case's next deadline or call, by the books."""
        row = await self._world.row(self._case)
        assert row.due_at is not None, f"I6: {row.status.value} without a deadline"
        calls: list[datetime] = []
        if row.status is Status.AWAITING_APPROVAL:
            async with self._world.stack.books.reading() as reading:
                filled = {given.slot for given in await reading.approvals(self._case.id)}
            for slot in slots_of(await self._world.events(self._case)):
                if slot.id not in filled:
                    calls += [*slot.remind_at, *([slot.escalates_at] if slot.escalates_at else [])]
        return min((at for at in calls if at not in self._seen), default=row.due_at)

    async def _happened(self, before: int) -> bool:
        """Whether the case went on at its instant, at which it may stand for a moment."""
        await self.idle()
        return (await self._world.row(self._case)).events > before
