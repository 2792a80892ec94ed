"""Cases that go on from one another, by the links in the books."""

from __future__ import annotations

from domain.cases import ASKED_IN_VAIN, EventKind, Outcome
from domain.linked import (
    ALTERNATIVE_STEP,
    APPEAL_STEP,
    OUTSIDE_CREDIT,
    OUTSIDE_REFUND,
    OUTSIDE_REFUND_FAILED,
)
from ledger.reading import Reading

_IN_VAIN = ASKED_IN_VAIN | {Outcome.WITHDRAWN}
"""Ends after which nothing was given, and nothing that was granted is owed."""


async def given_outside(reading: Reading, case_id: str) -> str | None:
    """The exception by which money is booked that went in the case's name after it had ended
    without; None when there is none, or the bank sent it back."""
    for why, exception in await _links(reading, case_id):
        if why not in (OUTSIDE_REFUND, OUTSIDE_CREDIT):
            continue
        if OUTSIDE_REFUND_FAILED not in {after for after, _ in await _links(reading, exception)}:
            return exception
    return None


async def _links(reading: Reading, case_id: str) -> list[tuple[str, str]]:
    """Why a case is linked, and with which other, oldest first."""
    return [
        (str(event.body["why"]), str(event.body["case_id"]))
        for event in await reading.events(case_id)
        if event.kind is EventKind.LINKED
    ]


async def way_taken(reading: Reading, case_id: str) -> str | None:
    """The case by which what ``case_id`` asked for was given, is owed or may yet be given, or the
    exception by which it went after all; None when there is none beside those that it goes on from.

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
        if exception := await given_outside(reading, at):
            return exception
        links = [await reading.event(at, step) for step in (APPEAL_STEP, ALTERNATIVE_STEP)]
        found = [str(link.body["case_id"]) for link in links if link is not None]
        chain += [each for each in found if each not in chain]
    return None
