"""Names and types of every activity: what workflows schedule and collaborators implement.

Workflow modules reach this file and the domain only, so that neither the provider's library
nor SQLAlchemy is ever loaded inside Temporal's sandbox.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from temporalio import activity

from domain.approvals import Answer
from domain.archives import ArchiveInput, ArchivePage
from domain.evidence import EvidenceAnswer
from domain.messages import (
    Assignment,
    Contact,
    Delegation,
    Evidence,
    RecordMessageInput,
    RemindInput,
    Transfer,
)
from domain.refunds import (
    DecideInput,
    ExpireInput,
    LinkInput,
    LookInput,
    LookResult,
    RecordVerdictInput,
    RefundProgress,
    SendInput,
    SendResult,
    UnknownInput,
)

DECIDE_REFUND = "decide_refund"
RECORD_VERDICT = "record_verdict"
SEND_REFUND = "send_refund"
LOOK_AT_REFUND = "look_at_refund"
EXPIRE_CASE = "expire_case"
ALARM_UNKNOWN = "alarm_unknown"
ARCHIVE_HISTORIES = "archive_histories"
REMIND_APPROVERS = "remind_approvers"
RECORD_CONTACT = "record_contact"
RECORD_EVIDENCE = "record_evidence"
RECORD_TRANSFER = "record_transfer"
RECORD_ASSIGNMENT = "record_assignment"
RECORD_DELEGATION = "record_delegation"
OPEN_LINKED_CASE = "open_linked_case"

INVALID_REQUEST = "InvalidRequest"
"""Error type of input that can never succeed; details: field, message, allowed."""


class DecisionActivities(ABC):
    """Policy: what may be done."""

    @abstractmethod
    @activity.defn(name=DECIDE_REFUND)
    async def decide_refund(self, asked: DecideInput) -> RefundProgress:
        """Fetch facts, then in one transaction decide, record and reserve.

        A case that was decided before answers with its decision and what came of it since. A
        later decision (``ordinal``) is made by the policy that the case began with; one that can
        no longer be made ends the case and tells its desk.
        """


class VerdictActivities(ABC):
    """What people decide, and whether this person may."""

    @abstractmethod
    @activity.defn(name=RECORD_VERDICT)
    async def record_verdict(self, given: RecordVerdictInput) -> Answer:
        """Judge signature, authority and day limit under lock; record, or say why not.

        A recorded decline or withdrawal ends the case in the same transaction.
        """


class PaymentActivities(ABC):
    """Money at the provider."""

    @abstractmethod
    @activity.defn(name=SEND_REFUND)
    async def send_refund(self, order: SendInput) -> SendResult:
        """Judge remainder, interlock and digest again, order the money, post it."""

    @abstractmethod
    @activity.defn(name=LOOK_AT_REFUND)
    async def look_at_refund(self, look: LookInput) -> LookResult:
        """Ask the provider where the money is; record it; end the case when it is known."""


class LinkedActivities(ABC):
    """Cases by which an ended case goes on."""

    @abstractmethod
    @activity.defn(name=OPEN_LINKED_CASE)
    async def open_linked_case(self, link: LinkInput) -> str:
        """Open the case that pays another way what came back; its id, however often asked."""


class RecordActivities(ABC):
    """Events that no provider and no policy has a part in."""

    @abstractmethod
    @activity.defn(name=EXPIRE_CASE)
    async def expire_case(self, expired: ExpireInput) -> None:
        """End a case that nobody decided in time and release what it held."""

    @abstractmethod
    @activity.defn(name=ALARM_UNKNOWN)
    async def alarm_unknown(self, unknown: UnknownInput) -> None:
        """Put a movement of unknown outcome before the finance desk."""

    @abstractmethod
    @activity.defn(name=REMIND_APPROVERS)
    async def remind_approvers(self, remind: RemindInput) -> None:
        """Tell the desk which slots still wait, and which are open to further roles now."""


class MessageActivities(ABC):
    """What people tell a case besides deciding it: judged under lock, recorded once a click."""

    @abstractmethod
    @activity.defn(name=RECORD_CONTACT)
    async def record_contact(self, given: RecordMessageInput[Contact]) -> Answer:
        """Record that the customer got in touch, or that staff answered."""

    @abstractmethod
    @activity.defn(name=RECORD_EVIDENCE)
    async def record_evidence(self, given: RecordMessageInput[Evidence]) -> EvidenceAnswer:
        """Record an item of evidence; a file that the case has already is the same item."""

    @abstractmethod
    @activity.defn(name=RECORD_TRANSFER)
    async def record_transfer(self, given: RecordMessageInput[Transfer]) -> Answer:
        """Hand the case to another desk, and tell that desk."""

    @abstractmethod
    @activity.defn(name=RECORD_ASSIGNMENT)
    async def record_assignment(self, given: RecordMessageInput[Assignment]) -> Answer:
        """Let a person of the desk hold the case, or nobody."""

    @abstractmethod
    @activity.defn(name=RECORD_DELEGATION)
    async def record_delegation(self, given: RecordMessageInput[Delegation]) -> Answer:
        """Hand an open approval slot to a person, and tell that person."""


class ArchiveActivities(ABC):
    """Evidence that outlives Temporal's retention."""

    @abstractmethod
    @activity.defn(name=ARCHIVE_HISTORIES)
    async def archive_histories(self, page: ArchiveInput) -> ArchivePage:
        """Write the histories of ended cases beside the books, and say which come late."""
