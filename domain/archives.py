"""Messages of the archive sweep: histories kept beside the books before Temporal forgets them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class ArchiveInput(BaseModel):
    """One page of the sweep: ended cases after ``after`` (a case id), at most ``limit``."""

    model_config = ConfigDict(frozen=True)

    after: str = ""
    limit: int = Field(default=100, ge=1, le=1000)
    now: datetime


class ArchivePage(BaseModel):
    """``late`` are cases that should have been archived before half of Temporal's retention was
    over, ``lost`` those of which Temporal has a run's history no more and nobody kept it;
    ``next_after`` is None at the end."""

    model_config = ConfigDict(frozen=True)

    archived: int = 0
    late: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    next_after: str | None = None


class ArchiveSummary(BaseModel):
    """What a whole sweep came to."""

    model_config = ConfigDict(frozen=True)

    archived: int = 0
    late: int = 0
    lost: int = 0
