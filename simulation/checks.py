"""After a run: the invariants, and that ledger, provider and results say one sum.

Numbers I1-I14 are those of docs: what each check here reads is said beside it, and lands in
the report, so that nobody has to believe it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from client import Client
from domain.cards import has_card_number
from domain.money import Money, total
from ledger.postings import CUSTOMER_CREDIT, PROVIDER
from ledger.reading import Reading
from ledger.records import RefusedAttempt
from rendering import counted
from settings import ROOT
from simulation import driving
from simulation.results import Result, moved
from simulation.scenario import Scenario

LATEST_SECONDS = 60
VISIBLE_SECONDS = 30
VIOLATION = "sandbox_violation"
"""The code of the provider's own alarm; a 500 that a test asked for has another."""


class Check(BaseModel):
    """``how`` is what was compared, ``faults`` what broke (at most a few of them are kept)."""

    model_config = ConfigDict(frozen=True)

    id: str
    how: str
    seen: str
    faults: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.faults


class Agreement(BaseModel):
    """What moved, by currency in minor units, as each party tells it."""

    model_config = ConfigDict(frozen=True)

    ledger: dict[str, int]
    provider: dict[str, int]
    results: dict[str, int]
    provider_effects: int
    started: int
    started_by_server: int

    @property
    def holds(self) -> bool:
        return self.ledger == self.provider == self.results and (
            self.started == self.started_by_server
        )


async def ledger_sums(reading: Reading) -> dict[str, Money]:
    """Posts less reversals, by currency: what left by the provider or became credit."""
    sums: dict[str, list[Money]] = {}
    for balance in await reading.trial_balance():
        if balance.account in (PROVIDER, CUSTOMER_CREDIT):
            money = Money(amount_minor=-balance.amount_minor, currency=balance.currency)
            sums.setdefault(balance.currency, []).append(money)
    return {currency: total(found, currency) for currency, found in sorted(sums.items())}


def provider_sums(stats: Mapping[str, Any]) -> dict[str, Money]:
    """Refunds that are alive and credits, by currency, as the provider counts them."""
    return {
        currency: Money(amount_minor=each["refunded"], currency=currency)
        + Money(amount_minor=each["credited"], currency=currency)
        for currency, each in sorted(stats["by_currency"].items())
    }


async def agreement(
    client: Client, provider: driving.Provider, results: Sequence[Result]
) -> Agreement:
    async with client.books.reading() as reading:
        ledger = await ledger_sums(reading)
    stats = await provider.ask("stats")
    started = sum(1 for r in results if r.started)
    return Agreement(
        ledger=_minor(ledger),
        provider=_minor(provider_sums(stats)),
        results=_minor(moved(results)),
        provider_effects=stats["effects"],
        started=started,
        started_by_server=await _started(client, started),
    )


def _minor(sums: Mapping[str, Money]) -> dict[str, int]:
    return {currency: money.amount_minor for currency, money in sums.items() if money.amount_minor}


async def _started(client: Client, wanted: int) -> int:
    """Refund workflows, counted by the server, whose index may lag a few seconds behind."""
    found = 0
    for _ in range(VISIBLE_SECONDS):
        found = (await client.temporal.count_workflows("WorkflowType = 'RefundCase'")).count
        if found >= wanted:
            break
        await asyncio.sleep(1)
    return found


async def verified_books(environment: Mapping[str, str]) -> dict[str, Any]:
    """The report of ``starter.py audit verify --json``, run as anybody would run it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "starter.py"),
        "audit",
        "verify",
        "--json",
        env=dict(environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await process.communicate()
    try:
        report: dict[str, Any] = json.loads(out)
    except ValueError:
        report = {"message": (said or out).decode(errors="replace").strip()[-500:]}
    if "findings" in report:
        return report
    finding = {"invariant": "I8", "table": "books", "row": "", "sentence": str(report)}
    return {"findings": [finding], "counts": {}}


async def invariants(
    client: Client,
    provider: driving.Provider,
    scenarios: Sequence[Scenario],
    results: Sequence[Result],
    verified: Mapping[str, Any],
    logs: Sequence[Path],
    secrets: Sequence[str],
) -> list[Check]:
    """I1-I8 and I10-I13, each with how it was checked; I9 and I14 are for other kinds.

    ``logs`` are the processes' logs, ``secrets`` what must not be in them.
    """
    entries = (await provider.ask("journal?effects=true"))["entries"]
    ours = Counter(
        str((entry["params"].get("metadata") or {}).get("case_id", "")) for entry in entries
    )
    async with client.books.reading() as reading:
        totals = await reading.totals()
        refused = await reading.refused_attempts()
        transactions = [tx for tx in await reading.ledger_transactions() if tx.provider_id]
    posted = Counter(tx.case_id for tx in transactions if tx.kind.value == "post")
    by_finding = _by_invariant(verified)
    ended = [r for r in results if r.case_id and r.closed_at is None]
    late = [r for r in results if r.late_seconds > LATEST_SECONDS or r.early]
    told = sum(len(r.refused) + (r.outcome == "refused_as_input") for r in results)
    known = sum(each.cases for each in totals)
    worst = max((r.late_seconds for r in results), default=0)

    def books(id: str, how: str) -> Check:
        found = by_finding.get(id, [])
        return Check(id=id, how=how, seen=counted(len(found), "finding"), faults=tuple(found[:5]))

    return [
        await within_captured(provider, captured_of(scenarios), entries),
        Check(
            id="I2",
            how="effects in the provider's journal by case = posts in the ledger by case, one each",
            seen=f"{counted(ours.total(), 'effect')}, {counted(posted.total(), 'post')}",
            faults=tuple(
                f"{case}: {ours[case]} at the provider, {posted[case]} in the ledger"
                for case in sorted(set(ours) | set(posted))
                if not ours[case] == posted[case] == 1
            )[:5],
        ),
        books("I3", "audit verify: every transaction sums to zero, pending accounts are empty"),
        books("I4", "audit verify: one valid approval chain, or the rule, for each movement"),
        books("I5", "audit verify: approvals judged again from the books and the pinned policy"),
        Check(
            id="I6",
            how="every case that began has ended",
            seen=f"{len(ended)} still open",
            faults=tuple(f"{r.id}: {r.outcome}" for r in ended[:5]),
        ),
        Check(
            id="I7",
            how="instants of events against the script, the expiry and the look instants: "
            f"never early, at most {LATEST_SECONDS} s late",
            seen=f"the latest by {worst:.1f} s",
            faults=tuple(f"{r.id}: {r.late_seconds} s, early {r.early}" for r in late[:5]),
        ),
        books("I8", "audit verify: sequence, hash chain, projection = events"),
        await _same_request_twice(client, results),
        _nothing_private(refused, logs, secrets),
        Check(
            id="I12",
            how="cases by `totals` of the books = cases among the results; refused attempts too",
            seen=f"{counted(known, 'case')}, {counted(len(refused), 'refused attempt')}",
            faults=tuple(
                f"{what}: {found} in the books, {wanted} among the results"
                for what, found, wanted in (
                    ("cases", known, sum(1 for r in results if r.case_id)),
                    ("refused attempts", len(refused), told),
                )
                if found != wanted
            ),
        ),
        books("I13", "audit verify: nothing after a case's end"),
    ]


def captured_of(scenarios: Iterable[Scenario]) -> dict[str, Money]:
    """What each charge captured, by the provider's id of it: the files say so, not the provider."""
    return {
        scenario.charge_id(charge): Money(
            amount_minor=charge.amount_minor, currency=charge.currency
        )
        for scenario in scenarios
        for charge in scenario.charges
    }


async def within_captured(
    provider: driving.Provider, captured: Mapping[str, Money], effects: Sequence[Mapping[str, Any]]
) -> Check:
    """I1, twice: added up here from the journal, and as the provider judges itself."""
    requests = (await provider.ask("stats"))["requests"]
    broken = (await provider.ask("journal?status_from=500"))["entries"]
    broken = [e for e in broken if (e["response"] or {}).get("error", {}).get("code") == VIOLATION]
    by_charge: dict[str, list[Mapping[str, Any]]] = {}
    for entry in effects:
        made = entry["response"] or {}
        if made.get("object") == "refund":
            by_charge.setdefault(str(made["charge"]), []).append(made)
    faults = [f"{e['method']} {e['path']}: {e['response']['error']['message']}" for e in broken]
    for charge, refunds in sorted(by_charge.items()):
        limit = captured.get(charge)
        if limit is None:
            faults.append(f"{charge} has refunds and is no charge of these cases")
        elif any(refund["currency"] != limit.currency for refund in refunds):
            faults.append(f"{charge}: a refund in another currency than {limit.currency}")
        elif _sum(refunds, limit.currency) > limit:
            # a refund that failed in the meantime gave its room back
            alive = [refund for refund in refunds if await _is_alive(provider, refund)]
            back = _sum(alive, limit.currency)
            if back > limit:
                faults.append(f"{charge}: {back} of {limit} captured")
    return Check(
        id="I1",
        how="refunds added up by charge from the provider's journal, against what the case file "
        "says was captured; and the provider's own check of its money after every request, "
        "whose breach is a 500 in the journal",
        seen=f"{counted(len(by_charge), 'charge')} with refunds, {counted(requests, 'request')}, "
        f"{counted(len(broken), 'breach', 'breaches')}",
        faults=tuple(faults[:5]),
    )


def _sum(refunds: Iterable[Mapping[str, Any]], currency: str) -> Money:
    """All of one currency."""
    return total(
        (Money(amount_minor=each["amount"], currency=each["currency"]) for each in refunds),
        currency,
    )


async def _is_alive(provider: driving.Provider, refund: Mapping[str, Any]) -> bool:
    """Whether it has not failed, by the newest answer about it in the journal."""
    seen = (await provider.ask(f"journal?path=/v1/refunds/{refund['id']}"))["entries"]
    told = [e["response"]["status"] for e in seen if (e["response"] or {}).get("status")]
    return [refund["status"], *told][-1] not in ("failed", "canceled")


async def _same_request_twice(client: Client, results: Sequence[Result]) -> Check:
    """I10: every request id stands for the case that it opened, for ever."""
    faults: list[str] = []
    asked = [result for result in results if result.case_id]
    async with client.books.reading() as reading:
        for result in asked:
            known = await reading.request(result.id)
            if known is None or known.case_id != result.case_id:
                faults.append(f"{result.id}: {known.case_id if known else 'not registered'}")
    return Check(
        id="I10",
        how="each request id is registered with its body's hash and its one case",
        seen=counted(len(asked), "request"),
        faults=tuple(faults[:5]),
    )


def _nothing_private(
    refused: Sequence[RefusedAttempt], logs: Sequence[Path], secrets: Sequence[str]
) -> Check:
    """I11, as far as a run leaves texts behind: the logs and the refusals' messages."""
    texts = {log.name: log.read_text(encoding="utf-8", errors="replace") for log in logs}
    lines = sum(text.count("\n") for text in texts.values())
    faults = [
        f"{name} holds a key"
        for name, text in texts.items()
        if any(secret in text for secret in secrets)
    ]
    faults += [name for name, text in texts.items() if has_card_number(text)]
    faults += [f"a refusal of {r.case_id}" for r in refused if has_card_number(r.message)]
    return Check(
        id="I11",
        how="no key in any process's log, no card number in the logs and the refusals' texts",
        seen=f"{counted(lines, 'line')}, {counted(len(refused), 'refusal')}",
        faults=tuple(faults[:5]),
    )


def _by_invariant(verified: Mapping[str, Any]) -> dict[str, list[str]]:
    """Findings of the books by invariant; those of none go to I8, so that none is lost."""
    found: dict[str, list[str]] = {}
    for finding in verified["findings"]:
        id = str(finding["invariant"])
        text = f"{finding['table']} {finding['row']}: {finding['sentence']}"
        found.setdefault(id if id in _OF_THE_BOOKS else "I8", []).append(text)
    return found


_OF_THE_BOOKS = frozenset({"I3", "I4", "I5", "I8", "I13"})
