"""What the provider moved, case by case and along each chain of cases, held against the books:
nothing lost, nothing double.

    python -m tests.reliability.effects SANDBOX_URL DATABASE_URL

The provider's side is read from the sandbox's journal, which no process of ours can write. Exit
code 1 when the two differ, with a line for each difference.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from domain.cases import CaseKind, Outcome
from domain.provider import DEAD_REFUNDS
from ledger.books import Books
from ledger.projection import CaseRow
from simulation.checks import ledger_sums, provider_sums
from tests.workflows.world import BY_HAND

GAVE = frozenset({Outcome.REFUNDED, Outcome.CREDITED, Outcome.UNCONFIRMED, Outcome.FAILED_AT_BANK})
"""Ends of a refund before which the provider took exactly one order; before any other, none."""


@dataclass(frozen=True)
class Tally:
    """Refund cases of the books, movements of the provider, and in words what does not fit:
    ``lost`` and ``double`` name the cases, ``again`` the first cases of chains along which the
    movements of more than one stand: what the bank sent back does not. Sums are in minor units by
    currency.
    """

    cases: int
    effects: int
    still_open: tuple[str, ...]
    lost: tuple[str, ...]
    double: tuple[str, ...]
    again: tuple[str, ...]
    unwanted: tuple[str, ...]
    books: dict[str, int]
    provider: dict[str, int]

    @property
    def faults(self) -> list[str]:
        found = [f"{case}: has not ended" for case in self.still_open]
        found += [f"{case}: in the books, and not at the provider" for case in self.lost]
        found += [f"{case}: moved more than once at the provider" for case in self.double]
        found += [f"{case}: given again by a case that goes on from it" for case in self.again]
        found += [f"{case}: moved at the provider, and not in the books" for case in self.unwanted]
        if self.books != self.provider:
            found.append(f"sums: {self.books} in the books, {self.provider} at the provider")
        return found

    def __str__(self) -> str:
        return (
            f"{self.cases:,} cases, {self.effects:,} movements at the provider, "
            f"{len(self.lost)} lost, {len(self.double)} double, {len(self.again)} again, "
            f"{len(self.unwanted)} unwanted, {len(self.still_open)} not ended; "
            f"books {self.books}, provider {self.provider}"
        )


async def tally(books: Books, http: httpx.AsyncClient, sandbox_url: str) -> Tally:
    """Count both sides as they are now; cheap enough to be asked again."""

    async def ask(path: str) -> dict[str, Any]:
        answer = await http.get(f"{sandbox_url}/{path}", headers=BY_HAND)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    movements: dict[str, list[str]] = defaultdict(list)
    for entry in (await ask("_sandbox/journal?effects=true"))["entries"]:
        case_id = (entry["params"].get("metadata") or {}).get("case_id", "")
        if case_id:
            movements[case_id] += entry["effects"]
    moved = Counter({case_id: len(effects) for case_id, effects in movements.items()})
    async with books.reading() as reading:
        rows = {
            row.case_id: row
            for row in await reading.cases(limit=1_000_000)
            if row.kind is CaseKind.REFUND
        }
        posted = Counter(
            tx.case_id for tx in await reading.ledger_transactions() if tx.kind.value == "post"
        )
        sums = await ledger_sums(reading)

    async def stands(case_id: str) -> bool:
        refunds = [effect for effect in movements[case_id] if effect.startswith("re_")]
        now = [(await ask(f"v1/refunds/{refund}"))["status"] for refund in refunds]
        return not now or not DEAD_REFUNDS.issuperset(now)

    chains: dict[str, list[str]] = defaultdict(list)
    for case_id in movements:
        chains[first_of(case_id, rows)].append(case_id)
    again = [
        first
        for first, cases in chains.items()
        if len(cases) > 1 and sum([await stands(case_id) for case_id in cases]) > 1
    ]
    asked = {case_id for case_id, row in rows.items() if row.outcome in GAVE} | set(posted)
    return Tally(
        cases=len(rows),
        effects=sum(moved.values()),
        still_open=tuple(sorted(c for c, row in rows.items() if row.outcome is None)),
        lost=tuple(sorted(asked - set(moved))),
        double=tuple(sorted(c for c in moved | posted if moved[c] > 1 or posted[c] > 1)),
        again=tuple(sorted(again)),
        unwanted=tuple(sorted(set(moved) - asked)),
        books={currency: money.amount_minor for currency, money in sums.items() if money},
        provider={
            currency: money.amount_minor
            for currency, money in provider_sums(await ask("_sandbox/stats")).items()
            if money
        },
    )


def first_of(case_id: str, rows: Mapping[str, CaseRow]) -> str:
    """The case with which the chain began, whichever way it went on."""
    while (row := rows.get(case_id)) and row.goes_on_from is not None:
        case_id = row.goes_on_from
    return case_id


async def main(arguments: Sequence[str]) -> int:
    sandbox_url, database_url = arguments
    books = await Books.open(database_url)
    try:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            found = await tally(books, http, sandbox_url)
    finally:
        await books.close()
    print(found)
    for fault in found.faults:
        print(fault)
    return 1 if found.faults else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m tests.reliability.effects SANDBOX_URL DATABASE_URL")
    sys.exit(asyncio.run(main(sys.argv[1:])))
