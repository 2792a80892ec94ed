"""Two versions of a policy over every decision of the books: what would have come out otherwise.

Reads only, in one snapshot; one decision at a time, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import func, select

from audit.replay import PROGRESS_EVERY
from decisions.pack import Pack
from decisions.transitions import Transitions
from ledger import tables as t
from ledger.reading import Reading
from ledger.rows import decision_of


async def stored_decisions(reading: Reading, policy: str) -> int:
    """How many decisions of a policy, of whatever version, the books hold."""
    counted = select(func.count()).select_from(t.decisions).where(t.decisions.c.policy == policy)
    [[count]] = await reading.execute(counted)
    return int(count)


async def backtest(
    reading: Reading,
    before: Pack,
    after: Pack,
    *,
    progress: Callable[[int], object] | None = None,
) -> Transitions:
    """Decide the facts of every stored decision of ``before``'s policy under both versions.

    The books' own versions play no part: facts are facts. ``progress`` is told now and then
    how many more decisions are done.
    """
    found = Transitions(before, after)
    d = t.decisions
    statement = select(d).where(d.c.policy == before.name).order_by(d.c.id)
    async for row in reading.stream(statement):
        stored = decision_of(row)
        found.add(stored.case_id, stored.decision.facts, stored.at)
        if progress is not None and found.total.cases % PROGRESS_EVERY == 0:
            progress(PROGRESS_EVERY)
    return found
