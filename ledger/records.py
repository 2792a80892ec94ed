"""What goes into the books and comes out of them: frozen records, amounts as Money."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

from domain.actors import Actor
from domain.approvals import Verdict
from domain.canonical import sha256_of
from domain.cases import CaseEvent, CaseKind, Outcome, Status
from domain.decisions import Decision
from domain.errors import RedressError
from domain.money import Money
from domain.refunds import Authority
from ledger.postings import LedgerTransaction


def _storable(text: str) -> str:
    # PostgreSQL text knows no NUL and no lone surrogate; a record must not fail on what
    # a stranger typed
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()


StoredText = Annotated[str, AfterValidator(_storable)]


class Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class AlreadyOpen(RedressError):
    """Another case is open on the same thing; ``case_id`` names it."""

    def __init__(self, case_id: str, business_key: str) -> None:
        super().__init__(f"{business_key} has an open case: {case_id}")
        self.case_id = case_id
        self.business_key = business_key


class ApprovalRow(Record):
    """A person's yes or no on one slot, with the edge's signature over it as JSON text.

    ``note`` is sealed text or empty; ``at`` is the case's instant (UTC).
    """

    case_id: str
    slot: str
    verdict: Verdict
    actor: Actor
    digest: str
    amount: Money
    policy_hash: str
    signature_json: str
    note: str
    at: datetime


class RefusedAttempt(Record):
    """Something that was asked and refused. ``case_id`` is empty when there was no case."""

    case_id: StoredText = ""
    action: StoredText
    actor: Actor | None = None
    code: str
    message: StoredText
    request_id: StoredText = ""
    at: datetime


class ReservationScope(StrEnum):
    """Which account a reservation counts on; ``authority`` is another case's decision."""

    CHARGE = "charge"
    CONCESSIONS = "concessions"
    BUDGET = "budget"
    AUTHORITY = "authority"


class ReservationState(StrEnum):
    HELD = "held"
    POSTED = "posted"
    RELEASED = "released"


class Reservation(Record):
    case_id: str
    step: str
    scope: ReservationScope
    key: str
    amount: Money
    state: ReservationState
    at: datetime


class RegisteredRequest(Record):
    """Which case a request id stands for. ``is_new`` when this call wrote it down."""

    request_id: str
    kind: CaseKind
    body_hash: str
    case_id: str
    customer: str
    created_at: datetime
    is_new: bool = False


class StoredEvent(CaseEvent):
    """An event with its place: ``ordinal`` within the case, ``seq`` and ``hash`` of its link.

    Inside the transaction that writes it, the link is not there yet: 0 and "".
    ``recorded_at`` is the wall clock of whoever wrote it.
    """

    ordinal: int
    seq: int
    hash: str
    recorded_at: datetime


class StoredDecision(Record):
    case_id: str
    step: str
    decision: Decision
    outcome: dict[str, Any]
    at: datetime

    @property
    def hash(self) -> str:
        """What another case names when it carries this decision out."""
        return sha256_of(self.decision)

    def authority(self, charge: str) -> Authority:
        """What lets another case carry out this decision of a refund of ``charge``."""
        made = self.outcome["made"]
        return Authority.model_validate(
            {
                "case_id": self.case_id,
                "decision_hash": self.hash,
                "approval_digest": made["digest"],
                "charge": charge,
                "amount": made["amount"],
            },
            strict=False,
        )


class StoredTransaction(LedgerTransaction):
    recorded_at: datetime


class ArchiveRow(Record):
    """A workflow's history, kept beside the books: ``file`` relative to the archive."""

    case_id: str
    workflow_id: str
    run_id: str
    file: str
    sha256: str
    size_bytes: int
    at: datetime


class OutboxRow(Record):
    """Something that leaves the engine, once; ``attempts`` counts failed tries."""

    id: int
    case_id: str
    topic: str
    key: str
    body: dict[str, Any]
    created_at: datetime
    sent_at: datetime | None
    attempts: int
    next_try_at: datetime


OUTSIDE = "outside"
"""State of a provider's event that concerns no single case of ours; the worker looks into it."""


class InboxRow(Record):
    event_id: str
    event_type: str
    object_ids: list[str]
    received_at: datetime
    state: str


class CustomerHistory(Record):
    """What a customer was given since an instant.

    Refunds are refund cases opened since then whose money the provider took and the bank did
    not return; concessions are reservations on the customer's concession account, held or
    posted. Sums are per currency.
    """

    refunds: int
    refunded: dict[str, Money]
    concessions: int
    conceded: dict[str, Money]


class Balance(Record):
    """An account's sum in minor units; beyond the range of one Money, hence a plain integer."""

    account: str
    currency: str
    amount_minor: int


class CaseTotal(Record):
    """How many cases, and how much, of one kind, status and outcome in one currency."""

    kind: CaseKind
    status: Status
    outcome: Outcome | None
    currency: str
    cases: int
    amount_minor: int
