"""A real log of expense approvals as scenarios: ``python -m simulation.expense_log LOG``.

The log (BPI Challenge 2020, domestic declarations) names no person, so every actor is made
up by role and says so. Each declaration is a customer with one charge of its own; each time
it is submitted is one case. docs/approval-log-expectations.md says what must come out.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from domain.actors import Actor, Role
from domain.errors import InvalidRequest
from domain.money import Money, Rounding
from domain.refunds import RefundReason
from simulation.scenario import ChargeSpec, CustomerSpec, Does, RequestSpec, Scenario, Step

ZONE = "Europe/Amsterdam"
CURRENCY = "eur"
POLICY = "expense-log"
TEN_YEARS = 522
"""Weeks. The least drift from ten calendar years (2 days), so that the calendar's Christmas
falls on the log's own quiet days."""

CHARGED_BEFORE = timedelta(days=1)
KNOWN_BEFORE = timedelta(days=365)

SUBMITTED = "SUBMITTED by EMPLOYEE"
SAVED = "SAVED by EMPLOYEE"
TAKEN_BACK = "REJECTED by EMPLOYEE"
FINAL_APPROVED = "FINAL_APPROVED by SUPERVISOR"
PAYMENT_REQUESTED = "Request Payment"
PAID = "Payment Handled"

APPROVERS: dict[str, Actor] = {
    FINAL_APPROVED: Actor(id="synthetic-supervisor", role=Role.LEAD),
    "APPROVED by ADMINISTRATION": Actor(id="synthetic-administration", role=Role.AGENT),
    "APPROVED by PRE_APPROVER": Actor(id="synthetic-pre-approver", role=Role.AGENT),
    "APPROVED by BUDGET OWNER": Actor(id="synthetic-budget-owner", role=Role.FINANCE),
}
"""Who says yes. One approval is asked, a lead's: the earlier approvers are refused."""

REJECTERS: dict[str, Actor] = {
    f"REJECTED by {role}": Actor(id=f"synthetic-{name}", role=Role.LEAD)
    for role, name in {
        "SUPERVISOR": "supervisor",
        "ADMINISTRATION": "administration-as-lead",
        "PRE_APPROVER": "pre-approver-as-lead",
        "BUDGET OWNER": "budget-owner-as-lead",
        "MISSING": "missing-as-lead",
    }.items()
}
"""Who says no. In the log any approver's no ends the round; here only the slot's role may
end a case, so each of them says it as a lead, and the id says so."""

SILENT = frozenset({SAVED, PAYMENT_REQUESTED, PAID})
"""Events that the engine is not told: it settles by itself."""


@dataclass(frozen=True)
class Trace:
    """One declaration as the log has it; ``amount`` is the log's own text, in euros."""

    id: str
    amount: str
    events: tuple[tuple[str, datetime], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.events)

    def instants(self, name: str) -> list[datetime]:
        return [at for each, at in self.events if each == name]

    @property
    def money(self) -> Money:
        """The amount rounded once, half to even, to cents."""
        return Money.from_decimal(self.amount, CURRENCY, Rounding.HALF_EVEN)


_COLUMNS = {"case_id", "amount", "event", "timestamp"}
_KNOWN = {SUBMITTED, TAKEN_BACK, *SILENT, *APPROVERS, *REJECTERS}


def read_log(file: Path) -> list[Trace]:
    """Every declaration, in order of the file. Raises :class:`InvalidRequest` naming the line."""
    events: dict[str, list[tuple[str, datetime]]] = {}
    amounts: dict[str, str] = {}
    for number, row in _rows(file):
        name = row["event"].removeprefix("Declaration ")
        if name not in _KNOWN:
            raise InvalidRequest(f"{file.name}:{number}", f"event {name!r} is not known", "the log")
        events.setdefault(row["case_id"], []).append(
            (name, datetime.fromisoformat(row["timestamp"]))
        )
        amounts.setdefault(row["case_id"], row["amount"])
    return [
        Trace(id=id, amount=amounts[id], events=tuple(sorted(found, key=lambda event: event[1])))
        for id, found in events.items()
    ]


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    if not file.exists():
        raise InvalidRequest("log", f"there is no {file}", "the log's .csv or .csv.gz")
    with (
        gzip.open(file, "rt", encoding="utf-8")
        if file.suffix == ".gz"
        else file.open(encoding="utf-8") as stream
    ):
        reader = csv.DictReader(stream)
        if not set(reader.fieldnames or ()) >= _COLUMNS:
            wanted = ", ".join(sorted(_COLUMNS))
            raise InvalidRequest("log", f"{file.name} lacks columns", wanted)
        yield from enumerate(reader, 2)


def scenarios_of(traces: Iterable[Trace]) -> Iterator[Scenario]:
    """A case for each submission; a declaration that was only saved makes none."""
    for number, trace in enumerate(traces, 1):
        yield from _rounds(trace, number)


def _rounds(trace: Trace, number: int) -> Iterator[Scenario]:
    employee = Actor(id=f"synthetic-employee-{number}", role=Role.AGENT)
    submitted = trace.instants(SUBMITTED)
    if not submitted:
        return
    amount = trace.money
    charge = ChargeSpec(
        ref="c1",
        amount_minor=max(0, amount.amount_minor),
        currency=CURRENCY,
        created_at=submitted[0] - CHARGED_BEFORE,
    )
    customer = CustomerSpec(ref=trace.id, created_at=submitted[0] - KNOWN_BEFORE)
    for ordinal, (opened_at, events) in enumerate(_split(trace), 1):
        yield Scenario(
            id=trace.id if ordinal == 1 else f"{trace.id}#{ordinal}",
            kind="refund",
            zone=ZONE,
            opened_at=opened_at,
            customer=customer,
            charges=(charge,),
            request=RequestSpec(
                charge=charge.ref,
                amount_minor=amount.amount_minor,
                reason=RefundReason.OTHER,
                requested_by=employee,
                jurisdiction="EU",
                policy=POLICY,
            ),
            script=tuple(_script(events, employee)),
        )


def _split(trace: Trace) -> list[tuple[datetime, list[tuple[str, datetime]]]]:
    """The events of each round; those before the first submission are told to nobody."""
    rounds: list[tuple[datetime, list[tuple[str, datetime]]]] = []
    for name, at in trace.events:
        if name == SUBMITTED:
            rounds.append((at, []))
        elif rounds:
            rounds[-1][1].append((name, at))
    return rounds


def _script(events: Iterable[tuple[str, datetime]], employee: Actor) -> Iterator[Step]:
    is_rejected = False
    for name, at in events:
        if name in APPROVERS:
            yield Step(at=at, do=Does.APPROVE, by=APPROVERS[name])
        elif name in REJECTERS:
            is_rejected = True
            yield Step(at=at, do=Does.DECLINE, by=REJECTERS[name])
        elif name == TAKEN_BACK and not is_rejected:
            # after a rejection it only hands the form back: the round has ended already
            yield Step(at=at, do=Does.WITHDRAW, by=employee)


if __name__ == "__main__":
    from simulation.log_command import main

    main()
