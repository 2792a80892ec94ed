"""Provider webhooks: verified, written down, answered fast; then told to the case they concern.

Events come twice, late and in any order, so an event's own snapshot decides one thing only:
whether it can tell the case something new. The case then looks for itself.

Sources: docs.stripe.com/webhooks (signatures, retries, duplicates, order),
docs.stripe.com/refunds (which events a refund fires).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import stripe
import structlog
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from domain.cases import Status, is_case_id
from domain.provider import API_VERSION
from domain.refunds import ProviderNews
from ledger.projection import CaseRow
from ledger.records import OUTSIDE
from web.store import Inbox
from workflows.refund import RefundCase

log = structlog.get_logger()

TOLERANCE_SECONDS = 300
NEWS_TYPES = frozenset({"refund.updated", "refund.failed"})
"""Events that may conclude a refund of ours. ``charge.refunded`` and ``refund.created`` tell of
an order that we made; ``charge.refund.updated`` repeats ``refund.updated``."""

CREATED = "refund.created"
"""Of a refund in a case's name news only where it is not the one that the case, by the books,
ordered: whoever ordered it late may have died before it was written down, or it was made by hand
with the metadata of ours."""

OUTSIDE_TYPES = NEWS_TYPES | {CREATED}
"""Events by which a refund that is none of ours is noticed."""

DISPUTE_TYPES = frozenset(
    {"charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed"}
)
"""Turns of a chargeback; the moving of its funds is told by two more, which add nothing."""

FAILURE = "refund.failed"

RECEIVED, NOTHING_NEW, OTHER_ACCOUNT = "received", "nothing_new", "other_account"

_CONCLUSIVE = frozenset({"failed", "canceled"})


class BadSignature(ValueError):
    """The body is not the provider's, or not of this moment."""


@dataclass(frozen=True)
class Told:
    """What an event says, and who is to hear it: the case or charge that is ``about[0]``
    (``received``), the worker (``outside``), or nobody (``nothing_new``, ``other_account``).

    ``about[-1]`` is the charge of a chargeback's event, and the refund of any other, before which
    a case's has its charge.
    """

    event_id: str
    event_type: str
    about: tuple[str, ...]
    state: str


def verified(body: bytes, header: str, secret: str, now: datetime) -> dict[str, Any]:
    """The event of a signed body.

    Raises :class:`BadSignature` when it is forged, altered, older than five minutes, or from
    the future (which the provider's library lets pass), and ``ValueError`` when it is no event.
    """
    try:
        stripe.WebhookSignature.verify_header(body.decode(), header, secret, TOLERANCE_SECONDS)
    except (stripe.SignatureVerificationError, UnicodeDecodeError) as error:
        raise BadSignature("the signature is not the provider's, or too old") from error
    stamp = next((part[2:] for part in header.split(",") if part.startswith("t=")), "0")
    if int(stamp) > now.timestamp() + TOLERANCE_SECONDS:
        raise BadSignature("the signature is from the future")
    event = json.loads(body)
    if not isinstance(event, dict) or event.get("object") != "event":
        raise ValueError("not a snapshot event")
    return event


def read_event(event: dict[str, Any]) -> Told:
    """Whom an event concerns: a refund's case by the metadata that every order of ours carries,
    a chargeback's cases by its charge. A refund whose metadata names something of another form is
    another system's.

    An event of a connected account (docs.stripe.com/connect/webhooks) concerns nobody here. The
    snapshot in one of another API version is not judged by: whoever it names looks for themselves.
    Raises ``KeyError``, ``TypeError`` or ``AttributeError`` when it is not of a known shape.
    """
    id, type, data = event["id"], event["type"], event["data"]
    subject = data["object"]
    if event.get("account"):
        return Told(id, type, (str(subject.get("id", "")),), OTHER_ACCOUNT)
    is_legible = event.get("api_version") in (None, API_VERSION)
    if type in DISPUTE_TYPES:
        has_turned = (
            not is_legible
            or type != "charge.dispute.updated"
            or "status" in (data.get("previous_attributes") or {})
        )
        return Told(id, type, (str(subject["charge"]),), RECEIVED if has_turned else NOTHING_NEW)
    case_id = str((subject.get("metadata") or {}).get("case_id", ""))
    if type in OUTSIDE_TYPES and not is_case_id(case_id):
        return Told(id, type, (str(subject["id"]),), OUTSIDE)
    if type == CREATED:
        is_news = not is_legible or subject.get("status") not in _CONCLUSIVE
    else:
        is_named = "metadata" in (data.get("previous_attributes") or {})
        is_news = type in NEWS_TYPES and (not is_legible or is_named or _is_conclusive(subject))
    about = (case_id, str(subject.get("charge") or ""), str(subject.get("id") or ""))
    return Told(id, type, about, RECEIVED if is_news and case_id else NOTHING_NEW)


def _is_conclusive(refund: dict[str, Any]) -> bool:
    details = refund.get("destination_details") or {}
    has_reference = any(
        isinstance(part, dict) and part.get("reference_status") == "available"
        for part in details.values()
    )
    return has_reference or refund.get("status") in _CONCLUSIVE


def _may_order(case: CaseRow) -> bool:
    return case.status is not Status.CLOSED and not case.provider_id


class Postman:
    """Takes written-down events to their cases, also those of before a restart."""

    def __init__(self, inbox: Inbox, temporal: Client, *, idle_seconds: float = 0.5) -> None:
        self._inbox = inbox
        self._temporal = temporal
        self._idle_seconds = idle_seconds
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        while True:
            self._woken.clear()
            try:
                await self._carry_waiting()
            except (SQLAlchemyError, OSError) as error:
                log.warning("webhooks_wait", error=type(error).__name__)
            try:
                await asyncio.wait_for(self._woken.wait(), self._idle_seconds)
            except TimeoutError:
                continue

    async def _carry_waiting(self) -> None:
        page = await self._inbox.waiting()
        while page:
            for row in page:
                try:
                    await self.carry(row.event_id, row.event_type, row.object_ids)
                except (RPCError, SQLAlchemyError, OSError) as error:
                    # it stays in the inbox; those behind it are not held up
                    log.warning("webhook_waits", event_id=row.event_id, error=type(error).__name__)
            page = await self._inbox.waiting(after=page[-1])

    async def carry(self, event_id: str, event_type: str, about: Sequence[str]) -> str:
        """Tell those whom an event concerns (:class:`Told`); answers what became of it."""
        if event_type in DISPUTE_TYPES:
            return await self._carry_chargeback(event_id, event_type, about[0])
        return await self._carry_to_case(event_id, event_type, about)

    async def _carry_chargeback(self, event_id: str, event_type: str, charge: str) -> str:
        """Have the cases whose money is under way look for it; the rest is the worker's."""
        cases = await self._inbox.open_cases(charge)
        if any(case.status is Status.SENDING for case in cases):
            return RECEIVED
        for case in cases:
            if case.status in (Status.SETTLING, Status.TRACING):
                await self._tell(event_id, event_type, case.case_id)
        await self._inbox.finish(event_id, OUTSIDE)
        return OUTSIDE

    async def _carry_to_case(self, event_id: str, event_type: str, about: Sequence[str]) -> str:
        case_id, refund_id = about[0], about[-1]
        case = await self._inbox.case(case_id)
        if case is not None and case.charge in about and _may_order(case):
            # our own answer is still on its way into the books, or the case will find by the name
            # what others made, and take it for its own order: come again
            return RECEIVED
        if case is None:
            state = "no_case"
        elif refund_id != case.provider_id:
            state = OUTSIDE  # in its name, and not what it ordered
        elif event_type == CREATED:
            state = NOTHING_NEW
        elif case.status is Status.CLOSED:
            state = OUTSIDE
        else:
            state = await self._tell(event_id, event_type, case_id)
            # the case may end this moment by a look that had not seen the failure yet
            state = OUTSIDE if event_type == FAILURE else state
        await self._inbox.finish(event_id, state)
        return state

    async def _tell(self, event_id: str, event_type: str, case_id: str) -> str:
        handle = self._temporal.get_workflow_handle(case_id)
        try:
            await handle.signal(
                RefundCase.provider_news, ProviderNews(event_id=event_id, event_type=event_type)
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return "case_ended"
        return "told"


async def receive(inbox: Inbox, postman: Postman, body: bytes, header: str, secret: str) -> str:
    """Verify, write down, answer. What tells nothing new is finished at once."""
    now = datetime.now(UTC)
    event = verified(body, header, secret, now)
    told = read_event(event)
    # in one step: between two, the postman would carry what tells nothing new
    if not await inbox.take(told.event_id, told.event_type, told.about, now, told.state):
        return "known"
    if told.state == OTHER_ACCOUNT:
        log.warning("webhook_of_another_account", event_id=told.event_id, type=told.event_type)
    if told.state in (NOTHING_NEW, OTHER_ACCOUNT):
        return told.state
    postman.wake()
    return "taken"
