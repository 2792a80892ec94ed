"""Messages between the refund workflow, its activities and those who start it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from domain.actors import Actor, SignedActor
from domain.approvals import Action, ApprovalSlot
from domain.canonical import sha256_of
from domain.cases import Channel, Language, Outcome
from domain.decisions import RefundMethod, RefundVerdict
from domain.money import LARGEST_MINOR, Money


class RefundReason(StrEnum):
    DUPLICATE_CHARGE = "duplicate_charge"
    SERVICE_UNAVAILABLE = "service_unavailable"
    BILLED_AFTER_CANCELLATION = "billed_after_cancellation"
    CANCELLED_IN_TRIAL = "cancelled_in_trial"
    UNUSED_PERIOD = "unused_period"
    NOT_AS_AGREED = "not_as_agreed"
    COURTESY = "courtesy"
    OTHER = "other"


CONCESSION_REASONS = frozenset({RefundReason.COURTESY})
"""Refunds that are given rather than owed; they count on the customer's concession account."""


class Authority(BaseModel):
    """The decision of another case that this refund carries out.

    The refund re-checks it, the remainder and the interlock, and asks no second approval.
    """

    model_config = ConfigDict(frozen=True)

    case_id: str
    decision_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    approval_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    charge: str
    amount: Money


LONGEST_TEXT = 10_000
"""Characters of a customer's own words, or of a note, in the clear."""

LONGEST_SEALED = 6 * LONGEST_TEXT
"""Characters of the same text sealed: at most four bytes a character, in base64."""

MOST_ATTRIBUTES = 64

CASE_ID = r"^[a-z_]+-[a-z2-7]{26}$"

AttributeText = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f]*$")]
Attribute = StrictBool | StrictInt | AttributeText | None


class RefundRequest(BaseModel):
    """What is asked, as the workflow carries it: references and sealed text, no personal data.

    ``amount_minor`` None asks for all that remains. ``customer`` and ``charge`` are the
    provider's ids. ``channel`` is how the customer asked, ``text`` is in their own words, sealed
    under the customer's key. ``appeal_of`` names the case whose no is appealed;
    ``alternative_to`` the case that could not pay as it was asked to, and ``alternative`` the way
    that is taken instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_id: str = Field(pattern=r"^[A-Za-z0-9_.:#-]{1,200}$")
    customer: str = Field(pattern=r"^cus_[A-Za-z0-9_]{1,60}$")
    charge: str = Field(pattern=r"^(ch|py)_[A-Za-z0-9_]{1,60}$")
    amount_minor: StrictInt | None = Field(default=None, gt=0, le=LARGEST_MINOR)
    currency: str = Field(pattern=r"^[a-z]{3}$")
    reason: RefundReason
    requested_by: Actor
    language: Language = Language.EN
    channel: Channel = Channel.WEB
    jurisdiction: str = Field(default="US", pattern=r"^[A-Z]{2}(-[A-Z]{2})?$")
    consents_to_credit: bool = False
    text: str = Field(default="", max_length=LONGEST_SEALED)
    attributes: dict[str, Attribute] = Field(default_factory=dict, max_length=MOST_ATTRIBUTES)
    authorised_by: Authority | None = None
    appeal_of: str | None = Field(default=None, pattern=CASE_ID)
    alternative_to: str | None = Field(default=None, pattern=CASE_ID)
    alternative: RefundMethod | None = None
    policy: str = Field(default="refund", pattern=r"^[a-z][a-z0-9_-]{0,63}$")

    def body_hash(self, text: str = "") -> str:
        """What tells requests of one id apart; ``text`` stands for the customer's own words.

        The channel has no part in it: a request is the same whichever way it comes by. Fields
        that came later have none while they are empty, so that a request of before them is still
        itself.
        """
        later = {"appeal_of", "alternative_to", "alternative"}
        body = {
            name: value
            for name, value in {**dict(self), "text": text}.items()
            if name != "channel" and not (name in later and value is None)
        }
        return sha256_of(body)


class RefundCaseInput(BaseModel):
    """``attempt_seconds`` bounds one attempt of one activity (start to close). ``asked_at`` is
    when somebody asked for the case, or had it taken up again, which may be long before a worker
    first sees it; None where the engine did."""

    model_config = ConfigDict(frozen=True)

    case_id: str
    request: RefundRequest
    attempt_seconds: int = 30
    asked_at: datetime | None = None


class DecideInput(BaseModel):
    """``now`` is the workflow's instant: activities ask no clock what day it is. ``asked_at`` is
    the case's (:class:`RefundCaseInput`).

    ``ordinal`` numbers the decisions of a case: each but the first follows a question to the
    customer.
    """

    model_config = ConfigDict(frozen=True)

    case_id: str
    request: RefundRequest
    now: datetime
    ordinal: int = 1
    asked_at: datetime | None = None

    @property
    def step(self) -> str:
        """Under which the decision is on record."""
        return "decide" if self.ordinal == 1 else f"decide#{self.ordinal}"


class RefundDecision(BaseModel):
    """What the workflow must know of a decision; the rest lies in the books.

    A refusal is already closed in the books when this comes back. ``tax`` is the part of
    ``amount`` that is tax; None where the decision was made before shares were told.
    """

    model_config = ConfigDict(frozen=True)

    verdict: RefundVerdict
    rule: str
    why: str
    policy: str
    version: int
    policy_hash: str
    amount: Money
    tax: Money | None = None
    method: RefundMethod
    destination: str
    digest: str
    slots: tuple[ApprovalSlot, ...]


class RefundProgress(RefundDecision):
    """A decision with what the books hold since, for a workflow that starts in mid-case.

    ``filled`` names who approved each slot; ``outcome`` is set when the case has ended, and
    ``goes_on`` as for :class:`LookResult`. ``ordinal`` is the decision's number. While the customer
    is asked for something, ``asked_until`` is their deadline (UTC), and ``is_answered`` says that
    something was given.
    """

    ordinal: int = 1
    asked_until: datetime | None = None
    is_answered: bool = False
    filled: dict[str, str] = Field(default_factory=dict)
    outcome: Outcome | None = None
    goes_on: bool = False


class RecordVerdictInput(BaseModel):
    """A person's yes, no or withdrawal, to be judged under lock and recorded once.

    ``slot`` is None for a withdrawal.
    """

    model_config = ConfigDict(frozen=True)

    case_id: str
    action: Action
    slot: ApprovalSlot | None
    signed: SignedActor
    note: str
    now: datetime


class SendInput(BaseModel):
    """The order as it was approved (``digest``); ``now`` is the case's instant (UTC)."""

    model_config = ConfigDict(frozen=True)

    case_id: str
    digest: str
    now: datetime


class SendStatus(StrEnum):
    ACCEPTED = "accepted"
    REFUSED = "refused"


class SendResult(BaseModel):
    """``looks`` are the instants of settlement, ascending, the last the maximum day;
    ``looked`` counts the looks that are on record already."""

    model_config = ConfigDict(frozen=True)

    status: SendStatus
    provider_id: str = ""
    reason: str = ""
    outcome: Outcome | None = None
    looks: tuple[datetime, ...] = ()
    trace_looks: tuple[datetime, ...] = ()
    looked: int = 0


class LookInput(BaseModel):
    """``ordinal`` numbers the looks of a case; ``at_maximum`` is the maximum day,
    ``last`` the end of patience after it."""

    model_config = ConfigDict(frozen=True)

    case_id: str
    ordinal: int
    now: datetime
    at_maximum: bool = False
    last: bool = False


class LookResult(BaseModel):
    """``outcome`` is set when this look closed the case in the books; ``goes_on`` when the money
    is to be paid another way that needs nobody's word any more."""

    model_config = ConfigDict(frozen=True)

    outcome: Outcome | None = None
    goes_on: bool = False


class LinkInput(BaseModel):
    """Open the case by which ``case`` goes on; ``now`` is the case's instant (UTC)."""

    model_config = ConfigDict(frozen=True)

    case_id: str
    attempt_seconds: int
    now: datetime


class ExpireInput(BaseModel):
    """End a case that nobody decided in time: release what it held."""

    model_config = ConfigDict(frozen=True)

    case_id: str
    now: datetime


class UnknownInput(BaseModel):
    """Tell finance of an order whose outcome is unknown since ``now``; ``why`` is what the last
    attempt came to, where one answered."""

    model_config = ConfigDict(frozen=True)

    case_id: str
    now: datetime
    why: str = ""


class ProviderNews(BaseModel):
    """A webhook that tells something new about money of this case; the case looks for itself."""

    model_config = ConfigDict(frozen=True)

    event_id: str
    event_type: str


class CaseDescription(BaseModel):
    """The running case's own answer: what it waits for and until when (UTC)."""

    model_config = ConfigDict(frozen=True)

    case_id: str
    status: str
    waits_for: str
    until: datetime | None
    then: str
    digest: str
    open_slots: tuple[str, ...]
    amount: Money | None


class RefundResult(BaseModel):
    model_config = ConfigDict(frozen=True)

    case_id: str
    outcome: Outcome
    rule: str
    amount: Money
