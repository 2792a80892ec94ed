"""Is every stored decision what its policy says of its stored facts?

Reads only, in one snapshot, one policy after the other, so that memory stays bounded however
many cases there are. What the chain cannot show, this does: a decision that was written wrongly
to begin with, or an engine that has come to decide otherwise.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from audit.findings import MOST_FINDINGS
from decisions.findings import FactError, PolicyErrors, Undecided
from decisions.pack import Pack, facts_from_json
from domain.canonical import canonical_json, plain
from domain.decisions import Decision
from ledger import tables as t
from ledger.books import Books
from ledger.reading import Reading
from ledger.records import StoredDecision
from ledger.rows import decision_of

PROGRESS_EVERY = 100

COLUMNS = {"policy": "policy", "policy_version": "version", "policy_hash": "hash", "rule": "rule"}
"""Columns of ``decisions`` that repeat a field of the decision itself."""


class ReplayDifference(BaseModel):
    """A stored decision that does not come out again. ``fields`` holds (stored, recomputed) by
    field of the decision; ``problem`` says instead why it could not be decided at all."""

    model_config = ConfigDict(frozen=True)

    case_id: str
    step: str
    policy: str
    version: int
    hash: str
    fields: dict[str, tuple[Any, Any]] = {}
    problem: str = ""

    def __str__(self) -> str:
        where = f"{self.case_id} {self.step} ({self.policy} v{self.version} {self.hash[:12]})"
        told = self.problem or "; ".join(
            f"{name} is stored as {canonical_json(stored)}, comes out as {canonical_json(again)}"
            for name, (stored, again) in self.fields.items()
        )
        return f"{where}: {told}"


class ReplayReport(BaseModel):
    """``decisions`` were looked at under ``policies`` contents; ``dropped`` counts differences
    beyond those listed."""

    model_config = ConfigDict(frozen=True)

    decisions: int
    policies: int
    differences: tuple[ReplayDifference, ...]
    dropped: int

    @property
    def is_clean(self) -> bool:
        return not self.differences


async def replay(books: Books, *, progress: Callable[[int], object] | None = None) -> ReplayReport:
    """Decide every stored decision again, from its stored facts and its pinned content.

    A difference is a value, not an exception. ``progress`` is told now and then how many more
    decisions are done.
    """
    found: list[ReplayDifference] = []
    count = dropped = policies = 0
    async with books.reading() as reading:
        for content_hash in await _hashes(reading):
            policies += 1
            pack = await pinned_pack(reading, content_hash)
            async for row in rows_under(reading, content_hash):
                difference = _judged(pack, row)
                if difference is not None and len(found) < MOST_FINDINGS:
                    found.append(difference)
                else:
                    dropped += difference is not None
                count += 1
                if progress is not None and count % PROGRESS_EVERY == 0:
                    progress(PROGRESS_EVERY)
    if progress is not None:
        progress(count % PROGRESS_EVERY)
    return ReplayReport(
        decisions=count, policies=policies, differences=tuple(found), dropped=dropped
    )


async def rows_under(reading: Reading, content_hash: str) -> AsyncIterator[Mapping[str, Any]]:
    """The rows of ``decisions`` made under one policy content, by id."""
    d = t.decisions
    statement = select(d).where(d.c.policy_hash == content_hash).order_by(d.c.id)
    async for row in reading.stream(statement):
        yield row


async def _hashes(reading: Reading) -> list[str]:
    column = t.decisions.c.policy_hash
    return [
        str(row[0]) for row in await reading.execute(select(column).distinct().order_by(column))
    ]


async def pinned_pack(reading: Reading, content_hash: str) -> Pack | str:
    """The pack that the books keep under a hash, or why there is none."""
    content = await reading.policy_content(content_hash)
    if content is None:
        return "its policy is not kept"
    try:
        pack = Pack.from_content(content)
    except PolicyErrors as error:
        return f"the policy that is kept does not load: {str(error).splitlines()[0]}"
    if pack.hash != content_hash:
        return f"the policy that is kept has the hash {pack.hash[:12]}: its text was changed"
    return pack


def _judged(pack: Pack | str, row: Mapping[str, Any]) -> ReplayDifference | None:
    def difference(**told: Any) -> ReplayDifference:
        return ReplayDifference(
            case_id=row["case_id"],
            step=row["step"],
            policy=row["policy"],
            version=row["policy_version"],
            hash=row["policy_hash"],
            **told,
        )

    if isinstance(pack, str):
        return difference(problem=pack)
    try:
        stored = decision_of(row)
        again = decided_again(pack, stored)
    except (ValueError, TypeError) as error:
        return difference(problem=f"it cannot be read: {str(error).splitlines()[0]}")
    except (FactError, Undecided) as error:
        return difference(problem=f"it cannot be decided again: {error}")
    fields = {
        name: (plain(getattr(stored.decision, name)), plain(getattr(again, name)))
        for name in Decision.model_fields
    }
    for column, name in COLUMNS.items():
        fields[f"column {column}"] = (row[column], plain(getattr(again, name)))
    wrong = {name: pair for name, pair in fields.items() if pair[0] != pair[1]}
    return difference(fields=wrong) if wrong else None


def decided_again(pack: Pack, stored: StoredDecision) -> Decision:
    """What ``pack`` says of a decision's stored facts at its instant.

    Raises :class:`FactError` when the facts are not what the pack declares, and
    :class:`Undecided`.
    """
    return pack.decide(facts_from_json(pack, stored.decision.facts), stored.at)
