"""Approvals: who must say yes, to exactly what, until when."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from domain.actors import Actor, Role, SignedActor
from domain.canonical import sha256_of
from domain.money import Money


class Verdict(StrEnum):
    """A person's answer on an approval slot."""

    APPROVE = "approve"
    DECLINE = "decline"


class Action(StrEnum):
    """What a person may do to a waiting case."""

    APPROVE = "approve"
    DECLINE = "decline"
    WITHDRAW = "withdraw"


class ApprovalSlot(BaseModel):
    """One yes that is needed.

    ``roles`` may fill it, from ``escalates_at`` on ``escalates_to`` too; ``excluded`` persons
    (the requester, whose no is appealed) may not. ``delegate`` is whom it was handed to.
    ``digest`` is what the approver must send back. Instants are UTC.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    roles: tuple[Role, ...]
    excluded: tuple[str, ...]
    digest: str
    expires_at: datetime
    remind_at: tuple[datetime, ...] = ()
    escalates_at: datetime | None = None
    escalates_to: tuple[Role, ...] = ()
    delegate: Actor | None = None

    def roles_at(self, at: datetime) -> tuple[Role, ...]:
        """Who may fill the slot at this instant of the case."""
        if self.escalates_at is None or at < self.escalates_at:
            return self.roles
        return self.roles + self.escalates_to

    def why_may_not_fill(
        self, person: Actor, at: datetime, decided: Collection[str] = ()
    ) -> tuple[RefusalCode, str] | None:
        """None when ``person`` may decide on the slot at the case's instant ``at``, else why not.

        ``decided`` are the persons who have decided on another slot of the case. A delegated
        slot is its delegate's and the leads'; the roles that it escalates to may fill it all the
        same, since they are asked because the delegate stayed silent.
        """
        if person.id in self.excluded:
            return (
                RefusalCode.SELF_APPROVAL,
                f"{person.id} asked for it, or judged it before, and may not decide",
            )
        if person.id in decided:
            return (
                RefusalCode.SELF_APPROVAL,
                f"{person.id} has decided another step of this case",
            )
        roles = self.roles_at(at)
        if person.role not in roles:
            allowed = ", ".join(role.value for role in roles)
            return (
                RefusalCode.NOT_AUTHORISED,
                f"role {person.role.value} may not; allowed: {allowed}",
            )
        may_anyway = {Role.LEAD, *roles[len(self.roles) :]}
        if self.delegate and person.id != self.delegate.id and person.role not in may_anyway:
            return (
                RefusalCode.NOT_AUTHORISED,
                f"slot {self.id} was handed to {self.delegate.id}; allowed: they, or a lead",
            )
        return None

    def why_may_not_delegate(
        self, by: Actor, to: Actor, at: datetime, decided: Collection[str] = ()
    ) -> tuple[RefusalCode, str] | None:
        """None when ``by``, who may fill the slot, may hand it to ``to``, who then may.

        Instant and ``decided`` as for :meth:`why_may_not_fill`.
        """
        refusal = self.why_may_not_fill(by, at, decided)
        if refusal is not None:
            return refusal
        if by.id == to.id:
            return RefusalCode.INVALID, f"to: {to.id} hands it over; allowed: another person"
        refusal = self.model_copy(update={"delegate": None}).why_may_not_fill(to, at, decided)
        return None if refusal is None else (refusal[0], f"to: {refusal[1]}")


class DeskAction(StrEnum):
    """What people do to a case besides deciding it."""

    CONTACT = "contact"
    TRANSFER = "transfer"
    ASSIGN = "assign"
    DELEGATE = "delegate"
    EVIDENCE = "evidence"
    SURVEY = "survey"
    APPEAL = "appeal"
    ACCEPT = "accept"


MAY_SPEAK = frozenset({Role.CUSTOMER, Role.SERVICE, Role.AGENT, Role.LEAD, Role.FINANCE})
"""Who may tell a case something; auditors, publishers and admins leave no word in one."""

STAFF = MAY_SPEAK - {Role.CUSTOMER, Role.SERVICE}
"""Who may answer a customer, in their own name."""


def why_may_not_speak(person: Actor, roles: Collection[Role] = MAY_SPEAK) -> str | None:
    """None when the person's role may tell a case something, else which of ``roles`` may."""
    if person.role in roles:
        return None
    allowed = ", ".join(sorted(role.value for role in roles))
    return f"role {person.role.value} may not; allowed: {allowed}"


class RefusalCode(StrEnum):
    """Why a message to a case was refused; recorded with every refused attempt."""

    INVALID = "invalid"
    STALE = "stale"
    SELF_APPROVAL = "self_approval"
    NOT_AUTHORISED = "not_authorised"
    OVER_LIMIT = "over_limit"
    ALREADY_DECIDED = "already_decided"
    CLOSED = "closed"
    NOT_WAITING = "not_waiting"
    NOT_AUTHENTIC = "not_authentic"
    TOO_LATE = "too_late"
    TOO_EARLY = "too_early"
    REQUEST_REUSED = "request_reused"
    UNKNOWN_CASE = "unknown_case"


class Judgement(BaseModel):
    """A person's message to a waiting case, as the edge sends it.

    ``slot`` is empty for a withdrawal. ``note`` is sealed text or empty.
    """

    model_config = ConfigDict(frozen=True)

    slot: str
    signed: SignedActor
    note: str = ""


class Answer(BaseModel):
    """What became of it: recorded, or refused with the reason."""

    model_config = ConfigDict(frozen=True)

    recorded: bool
    code: RefusalCode | None = None
    message: str = ""


def approval_digest(
    *,
    case_id: str,
    step: str,
    amount: Money,
    destination: str,
    policy_hash: str,
) -> str:
    """What an approval binds to: change any of it and the approval is stale."""
    return sha256_of(
        {
            "case_id": case_id,
            "step": step,
            "amount": amount,
            "destination": destination,
            "policy_hash": policy_hash,
        }
    )
