"""Proof over the books, from nothing but the books: chain, sums, charges, approvals, projection;
and, where it is asked for, over their signatures and the evidence that lies beside them.

Reads only, in one snapshot, with bounded memory; safe on books that are being written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select

from audit.approvals import check_approvals
from audit.case_checks import check_case
from audit.case_files import case_files
from audit.charges import check_charges
from audit.evidence import check_evidence
from audit.findings import Finding, Findings
from audit.linked import check_linked
from audit.links import check_chain, check_guards, check_rows
from ledger import tables as t
from ledger.books import Books
from ledger.chain import Head
from ledger.postings import TRANSIENT_PREFIXES, TransactionKind
from ledger.reading import Reading

_MOVEMENTS = (TransactionKind.POST.value, TransactionKind.OUTSIDE.value)


class VerifyReport(BaseModel):
    """``counts`` are rows per table, ``head`` the chain's last link: keep it elsewhere, and
    give it to the next verification. ``dropped`` counts findings beyond those listed.
    ``signatures`` of approvals were held against the edge's key; ``unnamed_files`` lie in the
    evidence store and no event names them: what was given too late. Each is None when nobody
    looked."""

    model_config = ConfigDict(frozen=True)

    findings: tuple[Finding, ...]
    dropped: int
    counts: dict[str, int]
    head: Head
    signatures: int | None = None
    unnamed_files: int | None = None

    @property
    def is_clean(self) -> bool:
        return not self.findings


async def verify(
    books: Books,
    *,
    expected_head: Head | None = None,
    now: datetime | None = None,
    evidence: Path | None = None,
    verify_keys: Sequence[Ed25519PublicKey] = (),
) -> VerifyReport:
    """Check everything; a finding is a value, not an exception.

    ``expected_head`` is a head kept outside the books (an earlier report, an export): without
    it, a tail cut off together with the head, or a chain computed anew from the first row,
    cannot be told from books that were never longer. ``now`` (UTC) also finds overdue cases.
    ``evidence`` is the folder of the evidence store: files that are gone are found too.
    ``verify_keys`` are the public halves of the keys that the edge has signed by: without one an
    approval is held against what was signed, and the signature itself is not checked.
    """
    found = Findings()
    async with books.reading() as reading:
        counts = await reading.counts()
        await check_guards(reading, found)
        head = await check_chain(reading, found, expected_head)
        await check_rows(reading, found)
        await _check_sums(reading, found)
        await _check_booked_once(reading, found)
        await _check_policies(reading, found)
        all_ended = True
        async for file in case_files(reading, found):
            has_ended = check_case(file, found, now)
            await check_linked(reading, file, found, now)
            all_ended = all_ended and has_ended
        if all_ended:
            await _check_nothing_pending(reading, found)
        signatures = await check_approvals(reading, found, verify_keys)
        await check_charges(reading, found)
        unnamed = None if evidence is None else await check_evidence(reading, evidence, found)
    return VerifyReport(
        findings=tuple(found.found),
        dropped=found.dropped,
        counts=counts,
        head=head,
        signatures=signatures,
        unnamed_files=unnamed,
    )


async def _check_sums(reading: Reading, found: Findings) -> None:
    """I3: every transaction sums to zero in each currency."""
    e = t.ledger_entries.c
    unbalanced = (
        select(e.transaction_id, e.currency, func.sum(e.amount_minor).label("amount_minor"))
        .group_by(e.transaction_id, e.currency)
        .having(func.sum(e.amount_minor) != 0)
        .order_by(e.transaction_id)
    )
    async for row in reading.stream(unbalanced):
        found.add(
            "I3",
            "ledger_transactions",
            row["transaction_id"],
            f"its entries leave {row['amount_minor']} minor units of {row['currency']}",
        )


async def _check_booked_once(reading: Reading, found: Findings) -> None:
    """I2: what the provider moved once is booked once, as a case's own or as nobody's."""
    tx = t.ledger_transactions.c
    twice = (
        select(tx.provider_id, func.min(tx.id).label("first"), func.max(tx.id).label("last"))
        .where(tx.kind.in_(_MOVEMENTS), tx.provider_id != "")
        .group_by(tx.provider_id)
        .having(func.count() > 1)
        .order_by(tx.provider_id)
    )
    async for row in reading.stream(twice):
        found.add(
            "I2",
            "ledger_transactions",
            row["last"],
            f"{row['provider_id']} is booked here and in {row['first']}",
        )


async def _check_nothing_pending(reading: Reading, found: Findings) -> None:
    """I3: with no case open, pending and clearing accounts are zero in total."""
    for balance in await reading.trial_balance():
        if balance.account.startswith(TRANSIENT_PREFIXES) and balance.amount_minor != 0:
            found.add(
                "I3",
                "ledger_entries",
                balance.account,
                f"no case is open, but {balance.amount_minor} minor units of "
                f"{balance.currency} are left on it",
            )


async def _check_policies(reading: Reading, found: Findings) -> None:
    """Every decision's policy is kept, and its text has the hash it is kept under."""
    d, p = t.decisions.c, t.policy_contents.c
    missing = (
        select(d.id, d.policy_hash)
        .outerjoin_from(t.decisions, t.policy_contents, p.id == d.policy_hash)
        .where(p.id.is_(None))
        .order_by(d.id)
    )
    async for row in reading.stream(missing):
        found.add("I4", "decisions", row["id"], f"the policy {row['policy_hash'][:12]} is not kept")
    async for row in reading.stream(select(p.id, p.content).order_by(p.id)):
        if hashlib.sha256(row["content"].encode()).hexdigest() != row["id"]:
            found.add("I4", "policy_contents", row["id"], "its text has another hash")
