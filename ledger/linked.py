"""Cases that go on from one another, by the links in the books."""

from __future__ import annotations

from domain.cases import ASKED_IN_VAIN, Outcome
from domain.linked import ALTERNATIVE_STEP, APPEAL_STEP
from ledger.reading import Reading

_IN_VAIN = ASKED_IN_VAIN | {Outcome.WITHDRAWN}
"""Ends after which nothing was given, and nothing that was granted is owed."""


async def way_taken(reading: Reading, case_id: str) -> str | None:
    """The case by which what ``case_id`` asked for was given, is owed or may yet be given; None
    when there is none beside those that it goes on from.

    A no may be appealed and may offer another way, and whoever took one of the two and was given
    it would be given it again by the other. Call it under the charge's lock to rely on it.
    """
    before: list[str] = []
    first: str | None = case_id
    while first is not None and first not in before:  # nor are books that were edited endless
        before.append(first)
        row = await reading.case(first)
        first = row.goes_on_from if row else None
    chain = [before[-1]]
    for at in chain:  # those that go on from it are appended meanwhile
        row = await reading.case(at)
        if at not in before and (row is None or row.outcome not in _IN_VAIN):
            return at
        links = [await reading.event(at, step) for step in (APPEAL_STEP, ALTERNATIVE_STEP)]
        found = [str(link.body["case_id"]) for link in links if link is not None]
        chain += [each for each in found if each not in chain]
    return None
