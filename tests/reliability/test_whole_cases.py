"""Whole cases from seeds, with random people, time and faults: the invariants hold for each.

Every failure names its seed, and the seed is the whole course. To live one again:

    REDRESS_SEED=20261130137 python -m pytest tests/reliability/test_whole_cases.py -k some -s

``REDRESS_SEEDS`` is how many seeds the deep test lives (1,000 unless told).
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence

import pytest
import uvloop

from tests.reliability.courses import course_of
from tests.reliability.judging import judged_together
from tests.reliability.lives import Met
from tests.reliability.whole_cases import ground_for_seeds, live_all
from tests.stack import TemporalServer

FIRST = 20261130132
SOME = 25
LEAST_SHARE_PERCENT = 30
DEEP_PARTS = 4
DEEP_SEEDS = int(os.environ.get("REDRESS_SEEDS", "1000"))


def test_some_whole_cases_with_random_faults_keep_every_invariant(
    temporal_server: TemporalServer,
) -> None:
    one = os.environ.get("REDRESS_SEED")
    met = live_and_judge(temporal_server, [int(one)] if one else range(FIRST, FIRST + SOME))
    assert one or set(met) == set(Met), "a case that goes on or asks is among them, of each kind"


@pytest.mark.deep
@pytest.mark.parametrize("part", range(DEEP_PARTS))
def test_a_thousand_whole_cases_with_random_faults_keep_every_invariant(
    temporal_server: TemporalServer, part: int
) -> None:
    seeds = range(FIRST + SOME, FIRST + SOME + DEEP_SEEDS)
    live_and_judge(temporal_server, seeds[part::DEEP_PARTS])


def test_a_seed_is_one_course_for_ever() -> None:
    assert course_of(FIRST) == course_of(FIRST)
    assert len({repr(course_of(seed)) for seed in range(FIRST, FIRST + SOME)}) == SOME


def live_and_judge(server: TemporalServer, seeds: Sequence[int]) -> Counter[Met]:
    """How often what was met along these lives."""
    # the worker's own loop: the lives of a thousand cases are its work
    return uvloop.run(_live_and_judge(server.address, seeds))


async def _live_and_judge(address: str, seeds: Sequence[int]) -> Counter[Met]:
    async with ground_for_seeds(address) as ground:
        began = time.monotonic()
        lives = await live_all(ground, seeds)
        minutes = (time.monotonic() - began) / 60
        counted, together = await judged_together(ground, lives)
    moved = sum(lived.effects > 0 for lived in lives)
    share = 100 * moved / len(lives)
    ends = Counter(str(outcome) for lived in lives for outcome in lived.outcomes)
    met = sum((lived.met for lived in lives), Counter[Met]())
    print(
        f"seeds {seeds[0]} to {seeds[-1]}: {len(lives)} lives of {ends.total()} cases, "
        f"{len(lives) / minutes:.0f} seeds a minute, {share:.0f} % moved money; "
        f"database faults {dict(ground.books.struck)}"
    )
    print({str(each): number for each, number in met.most_common()})
    print(dict(ends.most_common()))
    print(counted)
    wrong = [
        f"seed {lived.course.seed} ({', '.join(case.id for case in lived.cases) or 'no case'}): "
        f"{fault}"
        for lived in lives
        for fault in lived.faults
    ]
    wrong += together
    assert not wrong, "\n".join(wrong)
    assert len(lives) == len(seeds)
    if len(seeds) >= SOME:
        assert share >= LEAST_SHARE_PERCENT
    return met
