"""Who acts: an id with roles, signed by the edge that knows who is there.

Whoever reaches Temporal cannot approve as anyone: the web and the command line hold the
Ed25519 signing key, workers hold the public half only.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field

from domain.canonical import canonical_json


class Role(StrEnum):
    CUSTOMER = "customer"
    SERVICE = "service"
    AGENT = "agent"
    LEAD = "lead"
    FINANCE = "finance"
    AUDITOR = "auditor"
    PUBLISHER = "publisher"
    ADMIN = "admin"
    ENGINE = "engine"


PERSON = r"^[A-Za-z0-9_.:-]{1,64}$"


class Actor(BaseModel):
    """``id`` is an opaque reference, never a name or an e-mail address."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(pattern=PERSON)
    role: Role


ENGINE = Actor(id="engine", role=Role.ENGINE)


class SignedActor(BaseModel):
    """An actor's intent on one case, with the edge's signature (hex) over all of it.

    ``digest`` binds the intent to what was shown; ``click_id`` is the one press of the one
    button, so that a double click is one decision. Instants are the edge's wall clock.
    """

    model_config = ConfigDict(frozen=True)

    actor: Actor
    action: str
    case_id: str
    digest: str
    click_id: str
    signed_at: datetime
    expires_at: datetime
    signature: str = ""

    def signed_bytes(self) -> bytes:
        return canonical_json(self.model_copy(update={"signature": ""})).encode()


SIGNATURE_LIFETIME = timedelta(minutes=15)


def sign(
    key: Ed25519PrivateKey,
    *,
    actor: Actor,
    action: str,
    case_id: str,
    digest: str,
    click_id: str,
    at: datetime,
) -> SignedActor:
    """Sign an intent at wall-clock instant ``at``; it holds for :data:`SIGNATURE_LIFETIME`."""
    unsigned = SignedActor(
        actor=actor,
        action=action,
        case_id=case_id,
        digest=digest,
        click_id=click_id,
        signed_at=at,
        expires_at=at + SIGNATURE_LIFETIME,
    )
    return unsigned.model_copy(update={"signature": key.sign(unsigned.signed_bytes()).hex()})


def why_not_authentic(
    key: Ed25519PublicKey,
    signed: SignedActor,
    *,
    action: str,
    case_id: str,
    digest: str,
    at: datetime,
) -> str | None:
    """None when the signature is the edge's, for this act, and fresh at wall-clock ``at``."""
    try:
        key.verify(bytes.fromhex(signed.signature), signed.signed_bytes())
    except (InvalidSignature, ValueError):
        return "the signature is not the edge's"
    if (signed.action, signed.case_id, signed.digest) != (action, case_id, digest):
        return "the signature is for another act"
    if not signed.signed_at - timedelta(minutes=1) <= at <= signed.expires_at:
        return "the signature has expired; decide again"
    return None
