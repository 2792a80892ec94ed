"""The case: its kinds, where it can be, how it can end, and the events that put it there."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from domain.actors import Actor


class CaseKind(StrEnum):
    REFUND = "refund"
    FEE_WAIVER = "fee_waiver"
    OVERCHARGE = "overcharge"
    CANCELLATION = "cancellation"
    EXCEPTION = "exception"
    """Money that the provider moved without us: recorded and put before finance, never moved."""


class Status(StrEnum):
    """Where a case is. Derived from its last lifecycle event; nobody sets it."""

    OPEN = "open"
    AWAITING_INFORMATION = "awaiting_information"
    AWAITING_APPROVAL = "awaiting_approval"
    SENDING = "sending"
    SETTLING = "settling"
    TRACING = "tracing"
    CLOSED = "closed"


class Outcome(StrEnum):
    """How a case ended."""

    REFUNDED = "refunded"
    CREDITED = "credited"
    REFUSED = "refused"
    DECLINED = "declined"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    REJECTED_BY_PROVIDER = "rejected_by_provider"
    FAILED_AT_BANK = "failed_at_bank"
    UNCONFIRMED = "unconfirmed"
    RECORDED = "recorded"
    """An exception: finance was told, and the engine does nothing by itself."""


A_NO = frozenset({Outcome.REFUSED, Outcome.DECLINED})
"""Ends by which somebody said no; such a no may be appealed."""

ASKED_IN_VAIN = A_NO | {Outcome.EXPIRED}
"""Ends after which a customer may come again for the same."""

CAME_BACK = frozenset({Outcome.FAILED_AT_BANK, Outcome.REJECTED_BY_PROVIDER})
"""Ends of a refund case after which its decision is still to be carried out."""

SCORES = range(1, 6)
"""What effort and satisfaction are counted in; 5 is the most of either."""


class EventKind(StrEnum):
    OPENED = "opened"
    DECIDED = "decided"
    APPROVAL_RECORDED = "approval_recorded"
    DECLINE_RECORDED = "decline_recorded"
    REMINDED = "reminded"
    ESCALATED = "escalated"
    DELEGATED = "delegated"
    CONTACTED = "contacted"
    """The customer got in touch."""
    ANSWERED = "answered"
    """Staff told the customer something."""
    EVIDENCE_ADDED = "evidence_added"
    INFORMATION_REQUESTED = "information_requested"
    """The customer was asked for something, until a deadline."""
    TRANSFERRED = "transferred"
    ASSIGNED = "assigned"
    """A person took the case from the desk's queue, or put it back."""
    ACCEPTED = "accepted"
    """The provider took the order to move the money."""
    LOOKED = "looked"
    TRACE_OPENED = "trace_opened"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    LINKED = "linked"
    CHARGEBACK_SEEN = "chargeback_seen"
    """The bank's procedure on the charge took another turn."""
    REPINNED = "repinned"
    """A newer version of the policy says from here on who may decide how much."""
    NOTICED = "noticed"
    """The provider moved money without us."""
    OUTCOME_UNKNOWN = "outcome_unknown"
    CLOSED = "closed"
    SURVEYED = "surveyed"


AFTER_THE_END = frozenset({EventKind.LINKED, EventKind.SURVEYED})
"""What may still be said of a case that has ended."""


class Desk(StrEnum):
    BILLING = "billing"
    RETENTION = "retention"
    FINANCE = "finance"


class Channel(StrEnum):
    """The way by which a customer got in touch."""

    EMAIL = "email"
    CHAT = "chat"
    PHONE = "phone"
    WHATSAPP = "whatsapp"
    SOCIAL = "social"
    WEB = "web"
    LETTER = "letter"


class Direction(StrEnum):
    """Who turns to whom: the customer to us, or we to the customer."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"


class Language(StrEnum):
    EN = "en"
    ES = "es"
    KO = "ko"


def case_id_for(kind: CaseKind, request_id: str) -> str:
    """The case that a request opens, whichever path it comes by.

    A digest of the request id, so that a process that dies between writing it down and
    starting the workflow finds the same case again. 26 base32 characters = 130 bits.
    """
    digest = hashlib.sha256(f"{kind.value}:{request_id}".encode()).digest()
    return f"{kind.value}-{base64.b32encode(digest).decode().lower()[:26]}"


_CASE_ID = re.compile(rf"({'|'.join(CaseKind)})-[a-z2-7]{{26}}")


def is_case_id(text: str) -> bool:
    """Whether a text has the form of what :func:`case_id_for` answers, in the books or not."""
    return _CASE_ID.fullmatch(text) is not None


def is_exception(case_id: str) -> bool:
    """Whether a case's id is that of an exception."""
    return case_id.startswith(f"{CaseKind.EXCEPTION.value}-")


class CaseEvent(BaseModel):
    """One line of a case's account in the books.

    ``step`` is unique within the case: a retried activity writes once. ``body`` holds JSON
    types, references and sealed text only; ``occurred_at`` is the case's own instant (UTC).
    """

    model_config = ConfigDict(frozen=True)

    case_id: str
    step: str
    kind: EventKind
    occurred_at: datetime
    actor: Actor
    body: dict[str, Any]
    policy: str = ""
    policy_version: int = 0
    policy_hash: str = ""
    workflow_id: str = ""
    run_id: str = ""
