"""Provider webhooks: verified, written down, answered fast; then told to the case they concern.

Events come twice, late and in any order, so an event's own snapshot decides one thing only:
whether it can tell the case something new. The case then looks for itself.

Sources: docs.stripe.com/webhooks (signatures, retries, duplicates, order),
docs.stripe.com/refunds (which events a refund fires).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import stripe
import structlog
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from domain.cases import Status
from domain.refunds import ProviderNews
from web.store import Inbox
from workflows.refund import RefundCase

log = structlog.get_logger()

TOLERANCE_SECONDS = 300
NEWS_TYPES = frozenset({"refund.updated", "refund.failed"})
"""Events that may conclude a refund. ``charge.refunded`` and ``refund.created`` tell of an
order that is ours; ``charge.refund.updated`` repeats ``refund.updated``."""

_CONCLUSIVE = frozenset({"failed", "canceled"})


class BadSignature(ValueError):
    """The body is not the provider's, or not of this moment."""


@dataclass(frozen=True)
class Told:
    """What an event says: about which case, and whether that can be news."""

    event_id: str
    event_type: str
    case_id: str
    is_news: bool


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
    """Which case an event concerns, by the metadata that every order of ours carries."""
    subject = event["data"]["object"]
    metadata = subject.get("metadata") or {}
    details = subject.get("destination_details") or {}
    has_reference = any(
        isinstance(part, dict) and part.get("reference_status") == "available"
        for part in details.values()
    )
    is_news = event["type"] in NEWS_TYPES and (
        has_reference or subject.get("status") in _CONCLUSIVE
    )
    return Told(event["id"], event["type"], str(metadata.get("case_id", "")), is_news)


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
                waiting = await self._inbox.waiting()
            except (SQLAlchemyError, OSError) as error:
                log.warning("webhooks_wait", error=type(error).__name__)
                waiting = []
            for row in waiting:
                try:
                    await self.carry(row.event_id, row.event_type, row.object_ids[0])
                except (RPCError, SQLAlchemyError, OSError) as error:
                    # it stays in the inbox; those behind it are not held up
                    log.warning("webhook_waits", event=row.event_id, error=type(error).__name__)
            try:
                await asyncio.wait_for(self._woken.wait(), self._idle_seconds)
            except TimeoutError:
                continue

    async def carry(self, event_id: str, event_type: str, case_id: str) -> str:
        """Tell one case; answers what became of the event."""
        case = await self._inbox.case(case_id)
        if case is not None and case.status is Status.SENDING:
            return "received"  # our own answer is still on its way into the books; come again
        state = await self._tell(event_id, event_type, case_id) if case else "no_case"
        await self._inbox.finish(event_id, state)
        return state

    async def _tell(self, event_id: str, event_type: str, case_id: str) -> str:
        handle = self._temporal.get_workflow_handle_for(RefundCase.run, case_id)
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
    state = "received" if told.is_news and told.case_id else "nothing_new"
    if not await inbox.take(told.event_id, told.event_type, told.case_id, now, state):
        return "known"
    if state == "nothing_new":
        return state
    postman.wake()
    return "taken"
