"""Cases that go on as another: whether they may, and the other one's opening.

What may go wrong between two lines, and what holds then: the first case names the second in
the transaction that decides the second, so of any number of appeals one is decided and the rest
are refused. The opening is repeated until Temporal has the case; its id comes from the first
one's, so that it is opened once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from temporalio import activity

from activities.contract import OPEN_LINKED_CASE, LinkedActivities
from activities.records import case_event, existing_case
from domain.canonical import parse_instant
from domain.cases import A_NO, CAME_BACK, CaseEvent, CaseKind, EventKind
from domain.errors import InvalidRequest
from domain.linked import (
    ALTERNATIVE_STEP,
    APPEAL_STEP,
    case_id_of,
    owed_request,
    why_no_other_way,
)
from domain.refunds import LinkInput, RefundCaseInput, RefundRequest
from ledger.books import Books
from ledger.linked import way_taken
from ledger.projection import CaseRow
from ledger.reading import Reading
from ledger.writing import BookTransaction

Start = Callable[[RefundCaseInput], Awaitable[bool]]
"""Start a case's workflow; one that runs or has ended already is left alone."""


def ending(
    *,
    appeal_until: datetime | None = None,
    alternatives: tuple[str, ...] = (),
    alternative_until: datetime | None = None,
) -> Mapping[str, Any]:
    """What a closing event says of how the customer may come back; nothing where they may not."""
    said: dict[str, Any] = {} if appeal_until is None else {"appeal_until": appeal_until}
    if alternatives and alternative_until is not None:
        said |= {"alternatives": alternatives, "alternative_until": alternative_until}
    return said


async def judges_before(
    reading: Reading, request: RefundRequest, now: datetime | None
) -> frozenset[str]:
    """Who may not decide on a case that goes on from others: whoever asked in one of those, and
    whoever judged one that was appealed. Empty for a case of its own.

    Judges the links of ``request`` against the books; call it under the charge's lock. Raises
    :class:`InvalidRequest` (fields ``appeal_of``, ``alternative_to``) unless the named case is
    about this charge, ended so that it may go on, its time is not over at ``now`` (None where that
    was judged before), and no other case went on from it, this way or by another that gave
    something or may yet.
    """
    if request.appeal_of is not None:
        field = "appeal_of"
        first, closing = await _ended(reading, request, field, request.appeal_of)
        if first.outcome not in A_NO:
            raise InvalidRequest(field, f"ended as {closing.body['outcome']}", "a case with a no")
        if not request.text:
            raise InvalidRequest("text", "is empty", "what is new since the no")
        _check_time(closing, field, "appeal_until", now)
        await _check_first(reading, request, field, first.case_id, APPEAL_STEP)
        await _must_carry_on(reading, request, first)
        judged = await _judged(reading, first.case_id)
        return judged | await _not_again(reading, first.case_id)
    if request.alternative_to is not None:
        field = "alternative_to"
        first, closing = await _ended(reading, request, field, request.alternative_to)
        await _must_carry_on(reading, request, first)
        offered = closing.body.get("alternatives") or ()
        if request.alternative not in offered:
            allowed = ", ".join(offered) or "nothing"
            raise InvalidRequest("alternative", f"{request.alternative} was not offered", allowed)
        if not closing.body.get("goes_on"):  # what needs nobody's word is owed however late
            _check_time(closing, field, "alternative_until", now)
        await _check_first(reading, request, field, first.case_id, ALTERNATIVE_STEP)
        return await _not_again(reading, first.case_id)
    return frozenset()


async def _must_carry_on(reading: Reading, request: RefundRequest, first: CaseRow) -> None:
    """What goes on from a case carries out the decision that is still to be carried out there:
    beside it, what was granted once would still be there to be given again."""
    granting = first.case_id
    if first.outcome not in CAME_BACK:
        opened = await reading.event(first.case_id, "open")
        granting = ((opened.body.get("authorised_by") if opened else None) or {}).get("case_id", "")
    named = request.authorised_by.case_id if request.authorised_by else ""
    if named != granting:
        raise InvalidRequest(
            "authorised_by", "is not what is carried out there", granting or "none"
        )


async def _not_again(reading: Reading, case_id: str | None) -> frozenset[str]:
    """Who asked, in a case and in those that it goes on from, and who judged what was appealed on
    the way: what comes after an appeal is for others too."""
    found: set[str] = set()
    while case_id and (opened := await reading.event(case_id, "open")):
        found.add(str(opened.body["requested_by"]["id"]))
        if appealed := opened.body.get("appeal_of"):
            found |= await _judged(reading, appealed)
        case_id = appealed or opened.body.get("alternative_to")
    return frozenset(found)


async def _judged(reading: Reading, case_id: str) -> frozenset[str]:
    """Who said yes or no in a case."""
    return frozenset(row.actor.id for row in await reading.approvals(case_id))


async def _ended(
    reading: Reading, request: RefundRequest, field: str, case_id: str
) -> tuple[CaseRow, CaseEvent]:
    first = await reading.case(case_id)
    if first is None or (first.customer, first.charge) != (request.customer, request.charge):
        raise InvalidRequest(field, "names no case about this charge", "a case of this charge")
    closing = await reading.event(case_id, "close")
    if closing is None:
        raise InvalidRequest(field, "names a case that has not ended", "a case that has ended")
    return first, closing


def _check_time(closing: CaseEvent, field: str, until: str, now: datetime | None) -> None:
    last = closing.body.get(until)
    if last is None:
        raise InvalidRequest(field, "names a case that is final", "a case that says until when")
    if now is not None and now > parse_instant(last):
        raise InvalidRequest(field, f"the time for it ended at {last}", "a new request")


async def _check_first(
    reading: Reading, request: RefundRequest, field: str, case_id: str, step: str
) -> None:
    linked = await reading.event(case_id, step)
    other = linked.body["case_id"] if linked else await way_taken(reading, case_id)
    if other is None or other == case_id_of(request):
        return
    if linked:
        raise InvalidRequest(field, f"goes on as {other} already", "that case")
    raise InvalidRequest(field, *why_no_other_way(other))


async def link_first(
    tx: BookTransaction, request: RefundRequest, case_id: str, now: datetime
) -> None:
    """Let the first case name this one, which names it in turn."""
    for first_id, step, why in (
        (request.appeal_of, APPEAL_STEP, "appeal"),
        (request.alternative_to, ALTERNATIVE_STEP, "alternative"),
    ):
        if first_id is None:
            continue
        first = await tx.case(first_id)
        if first is None:
            raise LookupError(f"{first_id} is not in the books")
        body = {"case_id": case_id, "why": why}
        await tx.append_event(case_event(first, step, EventKind.LINKED, now, body))


class Linked(LinkedActivities):
    """Opens the case by which one goes on without anybody's word."""

    def __init__(self, books: Books, start: Start) -> None:
        self._books = books
        self._start = start

    @activity.defn(name=OPEN_LINKED_CASE)
    async def open_linked_case(self, link: LinkInput) -> str:
        async with self._books.reading() as reading:
            case = await existing_case(reading, link.case_id)
            opened = await reading.event(link.case_id, "open")
            closing = await reading.event(link.case_id, "close")
            stored = await reading.decision(link.case_id)
        if opened is None or closing is None or stored is None:
            raise LookupError(f"{link.case_id} has not ended")
        request = owed_request(
            opened, closing, stored.decision.facts, stored.authority(case.charge)
        )
        case_id = case_id_of(request)
        async with self._books.transaction() as tx:
            await tx.register_request(
                request_id=request.request_id,
                kind=CaseKind.REFUND,
                body_hash=request.body_hash(),
                case_id=case_id,
                customer=request.customer,
                at=link.now,
            )
        await self._start(
            RefundCaseInput(case_id=case_id, request=request, attempt_seconds=link.attempt_seconds)
        )
        return case_id
