"""Approvals: who must say yes, to exactly what, until when."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from domain.actors import Role, SignedActor
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

    ``roles`` may fill it; ``excluded`` persons (the requester, who filled an earlier slot)
    may not. ``digest`` is what the approver must send back. Instants are UTC.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    roles: tuple[Role, ...]
    excluded: tuple[str, ...]
    digest: str
    expires_at: datetime
    remind_at: tuple[datetime, ...] = ()


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
