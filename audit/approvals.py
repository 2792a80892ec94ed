"""Every approval, judged again: might this person say yes to so much, and did they say it?

The rule is the one that ``activities.verdicts`` records a verdict by: the limits of the policy
that the case began with, or of the newer one that took it over; a day is a day of UTC; and what
somebody approved that day before is what was sealed before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import ColumnElement, ScalarSelect, Select, and_, func, select

from audit.findings import Findings
from audit.replay import pinned_pack
from decisions.pack import Pack
from domain.actors import SignedActor, why_not_authentic
from domain.approvals import Verdict
from domain.cases import EventKind
from domain.money import Money
from ledger import tables as t
from ledger.reading import Reading
from ledger.records import ApprovalRow
from ledger.rows import approval_of

UNSEALED = 2**62
"""After every link: a row without one is a finding of the chain."""


async def check_approvals(
    reading: Reading, found: Findings, verify_keys: Sequence[Ed25519PublicKey]
) -> int | None:
    """I5: each yes is within its giver's limits, each time and for the day, and each verdict is
    what its signature says. Whether the signature is the edge's takes the public halves of its
    keys; returns how many were held against them, None without a key.
    """
    judge = _Judge(reading)
    checked = 0
    async for row in reading.stream(_by_person_and_day()):
        try:
            approval = approval_of(row)
        except (KeyError, TypeError, ValueError):
            continue  # a finding of its case
        for wrong in (
            await judge.why_not_within(approval, row),
            why_not_signed(approval, verify_keys),
        ):
            if wrong is not None:
                found.add("I5", "approvals", row["id"], wrong, seq=row["seq"])
        checked += 1
    return checked if verify_keys else None


def _by_person_and_day() -> Select[Any]:
    a, c, link = t.approvals.c, t.cases.c, t.chain_links.c
    seal = and_(link.entry_table == t.approvals.name, link.entry_id == a.id)
    return (
        select(
            t.approvals,
            c.kind.label("case_kind"),
            c.policy_hash.label("pinned"),
            link.seq,
            _last_repin(t.case_events.c.body).label("repin"),
            _last_repin(t.case_events.c.occurred_at).label("repinned_at"),
        )
        .join_from(t.approvals, t.cases, c.case_id == a.case_id)
        .outerjoin(t.chain_links, seal)
        .order_by(a.actor_id, func.substr(a.at, 1, 10), func.coalesce(link.seq, UNSEALED), a.id)
    )


def _last_repin(column: ColumnElement[str]) -> ScalarSelect[Any]:
    """Of the last event before an approval by which a newer policy took its case over."""
    e, sealed = t.case_events.c, t.chain_links.alias("repin_links")
    return (
        select(column)
        .join(sealed, and_(sealed.c.entry_table == "case_events", sealed.c.entry_id == e.id))
        .where(
            e.case_id == t.approvals.c.case_id,
            e.kind == EventKind.REPINNED.value,
            sealed.c.seq < t.chain_links.c.seq,
        )
        # by its place in the case: by link, SQLite would walk the chain for each approval
        .order_by(e.ordinal.desc())
        .limit(1)
        .correlate(t.approvals, t.chain_links)
        .scalar_subquery()
    )


class _Judge:
    """Adds up what one person approves in a day; takes approvals by person, day and link."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._packs: dict[str, Pack | str] = {}
        self._day: tuple[str, str] = ("", "")
        self._spent: dict[tuple[str, str], Money] = {}

    async def why_not_within(self, approval: ApprovalRow, row: Mapping[str, Any]) -> str | None:
        """None when the approval is within its giver's limits, or is a no; else which is not."""
        if approval.verdict is not Verdict.APPROVE:
            return None
        day = (approval.actor.id, approval.at.date().isoformat())
        if day != self._day:
            self._day, self._spent = day, {}
        on = (row["case_kind"], approval.amount.currency)
        spent = self._spent.get(on, Money.zero(approval.amount.currency))
        try:
            self._spent[on] = spent + approval.amount
            return await self._why_not(approval, row, spent)
        except (KeyError, TypeError, ValueError) as error:
            return f"who might decide it cannot be told: {error}"

    async def _why_not(
        self, approval: ApprovalRow, row: Mapping[str, Any], spent: Money
    ) -> str | None:
        asked = (approval.actor.role, row["case_kind"], approval.amount, spent)
        pinned = await self._pack(row["pinned"])
        if row["repin"] is None:
            return pinned.why_may_not(*asked)
        newer = await self._pack(json.loads(row["repin"])["policy_hash"])
        if newer.name != pinned.name or pinned.version not in newer.repins:
            return (
                f"{newer.name} v{newer.version}, by which it was judged, takes over no case "
                f"of {pinned.name} v{pinned.version}"
            )
        refusal = newer.why_may_not(*asked)
        # a version after that one need not take the case over: then its own limits hold again,
        # and no event says so
        if refusal is not None and row["repinned_at"] < row["at"]:
            return refusal if pinned.why_may_not(*asked) else None
        return refusal

    async def _pack(self, content_hash: str) -> Pack:
        """Raises ``ValueError`` when the books do not keep it as it was."""
        if content_hash not in self._packs:
            self._packs[content_hash] = await pinned_pack(self._reading, content_hash)
        pack = self._packs[content_hash]
        if isinstance(pack, str):
            raise ValueError(pack)
        return pack


def why_not_signed(approval: ApprovalRow, keys: Sequence[Ed25519PublicKey]) -> str | None:
    """None when the row says what was signed, by the edge where its ``keys`` are given.

    What is signed covers actor, act, case, digest, click and instants. Freshness is judged when
    a verdict comes, by the wall clock of then, and not again.
    """
    try:
        signed = SignedActor.model_validate_json(approval.signature_json)
    except ValueError:
        return "its signature cannot be read"
    differing = [
        name
        for name, is_same in (
            ("actor", signed.actor == approval.actor),
            ("verdict", signed.action == approval.verdict.value),
            ("case", signed.case_id == approval.case_id),
            ("digest", signed.digest == approval.digest),
        )
        if not is_same
    ]
    if differing:
        return f"it differs from what was signed in {', '.join(differing)}"
    refusals = [
        why_not_authentic(
            key,
            signed,
            action=approval.verdict.value,
            case_id=approval.case_id,
            digest=approval.digest,
            at=signed.signed_at,
        )
        for key in keys
    ]
    return None if None in refusals or not refusals else refusals[0]
