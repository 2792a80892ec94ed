"""How many whole cases from seeds are lived and judged a minute (``tests/reliability``).

Each seed is a course of people, time, bank and faults on the real workflow, Temporal with its clock
skipped, the provider's double and the books.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.refunds import server
from tests.reliability.judging import judged_together
from tests.reliability.whole_cases import AT_ONCE, ground_for_seeds, live_all

FIRST = 20261201000


@dataclass(frozen=True)
class Lives:
    """``cases`` are those of all chains; ``moved`` counts the lives in which money moved."""

    seeds: int
    cases: int
    moved: int
    minutes: float


async def measure(seeds: int) -> Lives:
    """Live and judge so many seeds. Raises ``AssertionError`` when an invariant does not hold."""
    async with server() as temporal, ground_for_seeds(temporal.address) as ground:
        began = time.monotonic()
        lives = await live_all(ground, range(FIRST, FIRST + seeds))
        minutes = (time.monotonic() - began) / 60
        _, wrong = await judged_together(ground, lives)
    wrong += [fault for lived in lives for fault in lived.faults]
    assert not wrong, "\n".join(wrong)
    return Lives(
        seeds=seeds,
        cases=sum(len(lived.cases) for lived in lives),
        moved=sum(lived.effects > 0 for lived in lives),
        minutes=minutes,
    )


def report(found: Lives) -> list[str]:
    """The section of the report."""
    return [
        "## Whole cases from seeds",
        "",
        f"{AT_ONCE} at once, with faults of the provider and the database; every invariant held.",
        "",
        "| seeds | cases of their chains | lives in which money moved | seeds a minute |",
        "|---|---|---|---|",
        f"| {found.seeds:,} | {found.cases:,} | {found.moved:,} | "
        f"{found.seeds / found.minutes:.0f} |",
        "",
    ]
