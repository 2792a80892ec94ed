"""What an audit found: which row, and one sentence on what is wrong with it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

MOST_FINDINGS = 1000
"""Kept in a report; books that are wrong throughout need no longer list."""


class Finding(BaseModel):
    """``seq`` is the row's link in the chain, None when it has none or the finding is of a
    case or a sum. ``invariant`` is I1 … I13 of the design, ``chain``, ``guard`` or
    ``evidence``."""

    model_config = ConfigDict(frozen=True)

    invariant: str
    table: str
    row: str
    seq: int | None
    sentence: str

    def __str__(self) -> str:
        link = "" if self.seq is None else f" (link {self.seq})"
        return f"{self.invariant} {self.table} {self.row}{link}: {self.sentence}"


class Findings:
    """Collects, up to :data:`MOST_FINDINGS`; ``dropped`` counts the rest."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.dropped = 0

    def add(
        self, invariant: str, table: str, row: str, sentence: str, *, seq: int | None = None
    ) -> None:
        if len(self.found) >= MOST_FINDINGS:
            self.dropped += 1
            return
        self.found.append(
            Finding(invariant=invariant, table=table, row=row, seq=seq, sentence=sentence)
        )
