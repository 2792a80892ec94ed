"""What people tell a case besides deciding it, and the calls that the case itself makes to them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from domain.actors import Actor, SignedActor
from domain.cases import Channel, Desk, Direction
from domain.evidence import EvidenceFile, EvidenceKind


class DeskMessage(BaseModel):
    """A signed message to an open case.

    The signature's digest is the SHA-256 of :meth:`content`, so that nobody on the way makes
    another message of it. Texts are sealed under the customer's key.
    """

    model_config = ConfigDict(frozen=True)

    signed: SignedActor

    def content(self) -> dict[str, Any]:
        """The message by its fields, without who sent it; see :meth:`content_of`."""
        return self.content_of({name: getattr(self, name) for name in type(self).model_fields})

    @classmethod
    def content_of(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What is signed and kept of ``fields``. One that has its default is left out: a message
        that was signed before there was the field says the same."""
        return {
            name: value
            for name, value in fields.items()
            if name != "signed" and value != cls.model_fields[name].default
        }


class Contact(DeskMessage):
    """A further contact between customer and staff; ``text`` is what was said, sealed."""

    channel: Channel
    text: str
    direction: Direction = Direction.INCOMING


class Evidence(DeskMessage):
    """Something that proves: a statement (``text``, sealed) or a file, whose bytes lie in the
    evidence store already."""

    kind: EvidenceKind
    text: str
    file: EvidenceFile | None


class Transfer(DeskMessage):
    """Another desk takes the case over; ``reason`` is sealed."""

    desk: Desk
    reason: str


class Assignment(DeskMessage):
    """A person of the desk takes the case on (``to``: their id), or gives it back to the desk's
    queue (empty)."""

    to: str


class Delegation(DeskMessage):
    """An approval slot is handed to a person; ``digest`` is what was shown of the case."""

    slot: str
    to: Actor
    digest: str


M = TypeVar("M", bound=DeskMessage)


class RecordMessageInput(BaseModel, Generic[M]):
    """A message to be judged under lock and recorded once; ``now`` is the case's instant."""

    model_config = ConfigDict(frozen=True)

    case_id: str
    message: M
    now: datetime


class RemindInput(BaseModel):
    """Tell the desk what waits: slots by id, of which those still open in the books count.

    ``ordinal`` numbers the reminders of a case by their instants; ``escalated`` slots are open
    to further roles from ``now`` on.
    """

    model_config = ConfigDict(frozen=True)

    case_id: str
    ordinal: int
    now: datetime
    reminded: tuple[str, ...] = ()
    escalated: tuple[str, ...] = ()
