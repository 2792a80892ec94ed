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
from ledger.records import StoredEvent

_IN_VAIN = ASKED_IN_VAIN | {Outcome.WITHDRAWN}
"""Ends after which nothing was given, and nothing that was granted is owed."""


async def given_outside(reading: Reading, case_id: str, *, before: int | None = None) -> str | None:
    """The exception by which money is booked that went in the name of a case after it had ended
    without; None when there is none, or the bank sent it back. What went in the name of one that
    ordered itself is drawn from what that case granted, and is not told here. ``before`` leaves out
    what was booked after that link of the chain."""
    if await reading.event(case_id, "accept") is not None:
        return None
    for event in await _links(reading, case_id):
        if event.body["why"] not in (OUTSIDE_REFUND, OUTSIDE_CREDIT):
            continue
        if before is not None and event.seq > before:
            continue
        exception = str(event.body["case_id"])
        after = {link.body["why"] for link in await _links(reading, exception)}
        if OUTSIDE_REFUND_FAILED not in after:
            return exception
    return None


async def begun_by(reading: Reading, case_id: str) -> list[str]:
    """A case, and those that it goes on from or whose decision it carries out, to the first."""
    found = [case_id]
    for each in found:  # those before it are appended meanwhile
        opened = await reading.event(each, "open")
        body = opened.body if opened else {}
        carried_out = (body.get("authorised_by") or {}).get("case_id")
        for earlier in (body.get("appeal_of"), body.get("alternative_to"), carried_out):
            if earlier and earlier not in found:
                found.append(earlier)
    return found


async def went_before(reading: Reading, case_id: str, *, before: int | None = None) -> str | None:
    """The exception by which money went after all in the name of a case, or of one before it
    (:func:`begun_by`); ``before`` as in :func:`given_outside`."""
    for each in await begun_by(reading, case_id):
        if exception := await given_outside(reading, each, before=before):
            return exception
    return None


async def _links(reading: Reading, case_id: str) -> list[StoredEvent]:
    """By which a case is linked with others, oldest first."""
    events = await reading.events(case_id)
    return [event for event in events if event.kind is EventKind.LINKED]


async def way_taken(reading: Reading, case_id: str, *, before: int | None = None) -> str | None:
    """The case by which what ``case_id`` asked for was given, is owed or may yet be given, or the
    exception by which it went after all; None when there is none beside those that it goes on from.

    A no may be appealed and may offer another way, and whoever took one of the two and was given
    it would be given it again by the other. Call it under the charge's lock to rely on it.
    ``before`` leaves out exceptions that were booked after that link of the chain.
    """
    earlier: list[str] = []
    first: str | None = case_id
    while first is not None and first not in earlier:  # nor are books that were edited endless
        earlier.append(first)
        row = await reading.case(first)
        first = row.goes_on_from if row else None
    chain = [earlier[-1]]
    for at in chain:  # those that go on from it are appended meanwhile
        row = await reading.case(at)
        if at not in earlier and (row is None or row.outcome not in _IN_VAIN):
            return at
        if exception := await given_outside(reading, at, before=before):
            return exception
        links = [await reading.event(at, step) for step in (APPEAL_STEP, ALTERNATIVE_STEP)]
        found = [str(link.body["case_id"]) for link in links if link is not None]
        chain += [each for each in found if each not in chain]
    return None
