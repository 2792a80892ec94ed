"""Does what our cases hold and give of a charge stay within what was captured (I1)?

By the books alone. What was captured, and what the provider left of it, is in the facts of each
decision. A refund that was ordered may have failed there, which frees the charge at once, before
our books hear of it; so from its order on it is the provider who counts it, and what each later
decision was told was left. What no provider counts is counted here: holds that nobody has ordered
yet, and account credit, also what another hand gave in a case's name.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, and_, select

from audit.findings import Findings
from domain.cases import CaseKind, EventKind
from domain.decisions import RefundMethod, RefundVerdict
from ledger import tables as t
from ledger.postings import CUSTOMER_CREDIT, PENDING_REFUNDS, TransactionKind
from ledger.reading import Reading

PAGE = 200

TOLD = ("captured", "remainder")
"""Facts of a decision, in the currency of its charge, that its hold is held against; not every
policy asks for them."""


@dataclass
class _Case:
    """What one case took of its charge, in minor units: held by the link ``at`` of the chain,
    and counted by us until another. ``told`` are amounts that its decision knew, by fact."""

    hold: str = ""
    amount: int = 0
    currency: str = ""
    at: int = 0
    voided_at: int | None = None
    ordered_at: int | None = None
    is_credit: bool = False
    told: dict[str, int] = field(default_factory=dict)

    @property
    def until(self) -> int | None:
        if self.is_credit or self.ordered_at is None:
            return self.voided_at
        return self.ordered_at


async def check_charges(reading: Reading, found: Findings) -> None:
    """I1: no case of ours held more than its decision was told was left, nor, together with what
    only we count, more than was captured.

    Not seen from the books alone: what others refund, or a bank sends back, that no event tells
    of. Restored books may count a hold that the provider has seen ordered and failed.
    """
    after = ""
    while charges := await _next_charges(reading, after):
        for cases in (await _cases_on(reading, charges)).values():
            _check_charge(list(cases.values()), found)
        after = charges[-1]


def _check_charge(cases: list[_Case], found: Findings) -> None:
    """Each hold against those before it that still count, per currency."""
    standing: Counter[str] = Counter()
    ends: list[tuple[int, str, int]] = []
    for case in sorted((case for case in cases if case.hold), key=lambda each: each.at):
        while ends and ends[0][0] < case.at:
            _, currency, gone = heapq.heappop(ends)
            standing[currency] -= gone
        _check_hold(case, standing[case.currency], found)
        if case.until is None or case.until > case.at:
            standing[case.currency] += case.amount
            if case.until is not None:
                heapq.heappush(ends, (case.until, case.currency, case.amount))


def _check_hold(case: _Case, beside: int, found: Findings) -> None:
    wrong = []
    left = case.told.get("remainder", case.amount)
    if left < case.amount:
        wrong.append(f"it holds {case.amount} minor units where {left} were left to refund")
    captured = case.told.get("captured", beside + case.amount)
    if captured < beside + case.amount:
        wrong.append(
            f"it holds {case.amount} minor units beside {beside} of other cases, "
            f"and {captured} were captured"
        )
    for sentence in wrong:
        found.add("I1", "ledger_transactions", case.hold, sentence, seq=case.at or None)


async def _next_charges(reading: Reading, after: str) -> list[str]:
    charge = t.cases.c.charge
    page = select(charge).where(charge > after).distinct().order_by(charge).limit(PAGE)
    return [str(row.charge) for row in await reading.execute(page)]


async def _cases_on(reading: Reading, charges: list[str]) -> dict[str, dict[str, _Case]]:
    """The refund cases of some charges, by charge and id, and account credit that no case accounts
    for, by its exception. Rows that cannot be read are findings of their cases."""
    found: dict[str, dict[str, _Case]] = {charge: {} for charge in charges}
    mine = t.cases.c.charge.in_(charges) & (t.cases.c.kind == CaseKind.REFUND.value)
    statement = select(t.cases.c.case_id, t.cases.c.charge, t.cases.c.method).where(mine)
    for row in await reading.execute(statement):
        is_credit = row.method == RefundMethod.ACCOUNT_CREDIT
        found[row.charge][row.case_id] = _Case(is_credit=is_credit)
    by_id = {case_id: case for cases in found.values() for case_id, case in cases.items()}
    await _fill_holds(reading, mine, by_id)
    await _fill_orders(reading, mine, by_id)
    await _fill_facts(reading, mine, by_id)
    for charge, exception, credit in await _outside_credit(reading, charges):
        found[charge][exception] = credit
    return found


async def _fill_holds(
    reading: Reading, mine: ColumnElement[bool], by_id: Mapping[str, _Case]
) -> None:
    tx, entry, link = t.ledger_transactions, t.ledger_entries.c, t.chain_links.c
    statement = (
        select(tx.c.id, tx.c.case_id, tx.c.kind, entry.amount_minor, entry.currency, link.seq)
        .join_from(tx, t.cases, t.cases.c.case_id == tx.c.case_id)
        .join(t.ledger_entries, entry.transaction_id == tx.c.id)
        .outerjoin(t.chain_links, and_(link.entry_table == tx.name, link.entry_id == tx.c.id))
        .where(mine, entry.account == PENDING_REFUNDS)
    )
    for row in await reading.execute(statement):
        case = by_id[row.case_id]
        if row.kind == TransactionKind.HOLD:
            case.hold, case.at = row.id, row.seq or 0
            case.amount, case.currency = row.amount_minor, row.currency
        elif row.kind == TransactionKind.VOID:
            case.voided_at = row.seq or 0


async def _outside_credit(reading: Reading, charges: list[str]) -> list[tuple[str, str, _Case]]:
    """By charge and exception; nobody decided it, so that it is beside others and never too much
    itself."""
    tx, entry, link = t.ledger_transactions, t.ledger_entries.c, t.chain_links.c
    statement = (
        select(
            t.cases.c.charge, tx.c.case_id, tx.c.id, entry.amount_minor, entry.currency, link.seq
        )
        .join_from(tx, t.cases, t.cases.c.case_id == tx.c.case_id)
        .join(t.ledger_entries, entry.transaction_id == tx.c.id)
        .outerjoin(t.chain_links, and_(link.entry_table == tx.name, link.entry_id == tx.c.id))
        .where(
            t.cases.c.charge.in_(charges),
            tx.c.kind == TransactionKind.OUTSIDE.value,
            entry.account == CUSTOMER_CREDIT,
        )
    )
    return [
        (
            row.charge,
            row.case_id,
            _Case(
                hold=row.id,
                amount=-row.amount_minor,
                currency=row.currency,
                at=row.seq or 0,
                is_credit=True,
            ),
        )
        for row in await reading.execute(statement)
    ]


async def _fill_orders(
    reading: Reading, mine: ColumnElement[bool], by_id: Mapping[str, _Case]
) -> None:
    """From its last yes on, or from a decision that needs none, a case may have ordered."""
    e, link = t.case_events.c, t.chain_links.c
    kinds = (EventKind.DECIDED.value, EventKind.APPROVAL_RECORDED.value)
    statement = (
        select(e.case_id, e.kind, e.body, link.seq)
        .join_from(t.case_events, t.cases, t.cases.c.case_id == e.case_id)
        .outerjoin(
            t.chain_links, and_(link.entry_table == t.case_events.name, link.entry_id == e.id)
        )
        .where(mine, e.kind.in_(kinds))
    )
    for row in await reading.execute(statement):
        try:
            body = json.loads(row.body)
            is_last = (
                body["verdict"] == RefundVerdict.APPROVE and not body["slots"]
                if row.kind == EventKind.DECIDED
                else body["slots_left"] == 0
            )
        except (KeyError, TypeError, ValueError):
            continue
        if is_last:
            by_id[row.case_id].ordered_at = row.seq or 0


async def _fill_facts(
    reading: Reading, mine: ColumnElement[bool], by_id: Mapping[str, _Case]
) -> None:
    d = t.decisions.c
    statement = (
        select(d.case_id, d.step, d.decision)
        .join_from(t.decisions, t.cases, t.cases.c.case_id == d.case_id)
        .where(mine)
    )
    rows = sorted(await reading.execute(statement), key=lambda row: (len(row.step), row.step))
    for row in rows:  # the last of a case stands
        try:
            facts = json.loads(row.decision)["facts"]
            told = {name: int(facts[name]["amount_minor"]) for name in TOLD if name in facts}
        except (KeyError, TypeError, ValueError):
            continue
        by_id[row.case_id].told = told
