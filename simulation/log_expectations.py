"""docs/approval-log-expectations.md: what must come out of the log, worked out beforehand."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from domain.cases import Outcome
from domain.money import Money, total
from simulation.expense_log import (
    CURRENCY,
    FINAL_APPROVED,
    PAID,
    POLICY,
    REJECTERS,
    SUBMITTED,
    Trace,
    scenarios_of,
)
from simulation.oracle import Expected, Terms, expect_chain
from simulation.scenario import Scenario, chains, shifted

NO_CASE = "no case"


@dataclass(frozen=True)
class Plan:
    """The log as cases with what each must come to. ``expected`` is moved ``weeks`` ahead;
    ``scenarios`` carry the log's own instants."""

    traces: list[Trace]
    weeks: int
    terms: Terms
    expected: list[Expected]
    scenarios: list[Scenario]

    @cached_property
    def of_declaration(self) -> dict[str, list[Expected]]:
        found: dict[str, list[Expected]] = {trace.id: [] for trace in self.traces}
        for expected in self.expected:
            found[expected.scenario.customer.ref].append(expected)
        return found


def plan(traces: Sequence[Trace], weeks: int, terms: Terms) -> Plan:
    """Every case of these declarations, each with its expectation."""
    expected: list[Expected] = []
    scenarios: list[Scenario] = []
    for chain in chains(scenarios_of(traces)):
        moved = [shifted(scenario, weeks) for scenario in chain]
        told = expect_chain(moved, terms)
        expected.extend(told)
        scenarios.extend(
            scenario.model_copy(update={"expect": each.expect})
            for scenario, each in zip(chain, told, strict=True)
        )
    return Plan(list(traces), weeks, terms, expected, scenarios)


def log_end(trace: Trace) -> str:
    """How the log itself leaves a declaration."""
    names = trace.names
    if PAID in names:
        return "paid" if FINAL_APPROVED in names else "paid without a final approval"
    if SUBMITTED not in names:
        return "only saved"
    if FINAL_APPROVED in names:
        return "approved and never paid"
    return "rejected for good" if set(names) & set(REJECTERS) else "left open"


def engine_end(cases: Sequence[Expected]) -> str:
    """How the engine must leave a declaration: paid by one of its cases, or as the last one."""
    outcomes = [str(case.expect.outcome) for case in cases]
    if Outcome.REFUNDED.value in outcomes:
        return Outcome.REFUNDED.value
    return outcomes[-1] if outcomes else NO_CASE


def end_cause(cases: Sequence[Expected]) -> str:
    """Why: the cause of the paying case, or of the last one."""
    paying = [case for case in cases if case.expect.outcome == Outcome.REFUNDED.value]
    return (paying or list(cases))[-1].cause.value if cases else "it was never submitted"


def differences(made: Plan) -> Counter[tuple[str, str, str]]:
    """Declarations that log and engine leave otherwise: (log's end, engine's end, cause)."""
    found: Counter[tuple[str, str, str]] = Counter()
    for trace in made.traces:
        cases = made.of_declaration[trace.id]
        log, engine = log_end(trace), engine_end(cases)
        if not _agree(log, engine):
            found[log, engine, end_cause(cases)] += 1
    return found


def _agree(log: str, engine: str) -> bool:
    return (log, engine) in {
        ("paid", Outcome.REFUNDED.value),
        ("rejected for good", Outcome.DECLINED.value),
        ("rejected for good", Outcome.WITHDRAWN.value),
        ("only saved", NO_CASE),
    }


def asked(expected: Iterable[Expected]) -> Money:
    """What these cases ask for, in total."""
    return total(
        (
            Money(amount_minor=each.scenario.request.amount_minor or 0, currency=CURRENCY)
            for each in expected
        ),
        CURRENCY,
    )


def shape(scenario: Scenario) -> str:
    """A round in words: who said what, in order."""
    said = [
        f"{step.do.value} by {step.by.id.removeprefix('synthetic-')}"
        if step.by and not step.by.id.startswith("synthetic-employee")
        else f"{step.do.value} by employee"
        for step in scenario.script
    ]
    return ", ".join(said) or "nothing"


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table; the columns after the first are figures when they are numbers."""
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    for row in rows:
        cells = [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def counts_of(made: Plan) -> Mapping[str, int]:
    """The totals that a run is held against."""
    outcomes = Counter(str(each.expect.outcome) for each in made.expected)
    at_the_door = sum(each.expect.invalid_field == "amount_minor" for each in made.expected)
    return {
        "cases": len(made.expected),
        **{f"outcome {name}": count for name, count in sorted(outcomes.items())},
        "workflows started": len(made.expected) - at_the_door,
        "refused attempts": sum(len(each.attempts) for each in made.expected),
        "messages not sent (no case to send them to)": sum(
            each.expect.unsent or 0 for each in made.expected
        ),
        "refunds ordered at the provider": outcomes[Outcome.REFUNDED.value],
    }


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def expectations_text(made: Plan, log: Path, policies: Path) -> str:
    """The whole page, in Markdown."""
    terms = made.terms
    refunded = [e for e in made.expected if e.expect.outcome == Outcome.REFUNDED.value]
    causes = Counter((e.cause, str(e.expect.outcome)) for e in made.expected)
    attempts = Counter(
        (action, "synthetic-employee" if "employee" in who else who, code)
        for each in made.expected
        for action, who, code in each.attempts
    )
    shapes = Counter((shape(e.scenario), e.cause.value) for e in made.expected)
    ends = Counter(
        (log_end(trace), engine_end(made.of_declaration[trace.id])) for trace in made.traces
    )
    policy_files = sorted((policies / POLICY).glob("v*.yaml"))
    edge = min(each.edge for each in made.expected)
    lines = [
        "# What the engine should make of the approval log",
        "",
        "Written from the file alone, before the engine was run on it: `simulation/oracle.py` "
        "works it out from the policy's numbers and the calendar, without the engine. Each "
        "case carries its own line of this page as `expect`; docs/approval-log.md holds what "
        "came out.",
        "",
        f"- log: `{log.name}`, sha256 `{sha256(log)}`; {len(made.traces):,} declarations, "
        f"{sum(len(trace.events) for trace in made.traces):,} events",
        f"- policy: `{policy_files[-1].relative_to(policies.parent)}`: "
        f"one yes of a {terms.approver} within "
        f"{terms.expires_business_days} business days; the money is looked at first after "
        f"{terms.first_look_business_days} (calendar {terms.calendar.id} "
        f"{terms.calendar.version})",
        f"- moved {made.weeks} weeks ahead: ten years and two days, same weekday and local "
        "hour; so the calendar's holidays meet the log's own",
        f"- no message comes nearer than {edge.seconds // 3600} h to an instant at which its "
        "case ends, so no expectation hangs on seconds",
        "- again: `python -m simulation.expense_log LOG --out DIR --expectations FILE`",
        "",
        "## What is told to the engine",
        "",
        "The log names no person. Every actor is made up by role, and its id says `synthetic`.",
        "",
        *table(
            ("event of the log", "message", "as"),
            [
                (
                    "SUBMITTED",
                    "a new refund case on the declaration's own charge",
                    "`synthetic-employee-<n>` (agent)",
                ),
                ("FINAL_APPROVED by SUPERVISOR", "approve", "`synthetic-supervisor` (lead)"),
                ("APPROVED by ADMINISTRATION", "approve", "`synthetic-administration` (agent)"),
                ("APPROVED by PRE_APPROVER", "approve", "`synthetic-pre-approver` (agent)"),
                ("APPROVED by BUDGET OWNER", "approve", "`synthetic-budget-owner` (finance)"),
                ("REJECTED by SUPERVISOR", "decline", "`synthetic-supervisor` (lead)"),
                (
                    "REJECTED by another approver",
                    "decline",
                    "`synthetic-<role>-as-lead` (lead)",
                ),
                (
                    "REJECTED by EMPLOYEE",
                    "withdraw; nothing after a rejection (the form is handed back)",
                    "`synthetic-employee-<n>` (agent)",
                ),
                (
                    "SUBMITTED again",
                    "another case `<declaration>#2`, … on the same charge",
                    "the same employee",
                ),
                ("SAVED, Request Payment, Payment Handled", "nothing", "the engine settles itself"),
            ],
        ),
        "**One approval, not four.** The engine asks one yes here, a lead's. The earlier "
        "approvers of the log press the same button and are refused as `not_authorised`, which "
        "is recorded. Cases with several approvers come later.",
        "",
        "**A no counts from any of them.** In the log any approver's rejection ends the round; "
        "in the engine only the slot's role may end a case. So each rejecting role says it as "
        "a lead, under an id that shows it.",
        "",
        "**Money goes at the final approval**, not at a later payment run. A rejection after "
        "it comes too late: it is refused and recorded, the expense is paid once, and a new "
        "submission of it finds nothing left on the charge.",
        "",
        "## Cases",
        "",
        *table(
            ("why", "ends as", "cases", "amount asked"),
            [
                (
                    cause.value,
                    outcome,
                    count,
                    str(asked(e for e in made.expected if e.cause is cause)),
                )
                for (cause, outcome), count in causes.most_common()
            ],
        ),
        *table(("total", ""), counts_of(made).items()),
        f"Refunded: **{asked(refunded)}** in {len(refunded):,} refunds; ledger (posts less "
        "reversals), provider and results must each say this sum to the cent. Every one is "
        "confirmed by the bank's reference at the first look.",
        "",
        "## Refused attempts",
        "",
        *table(
            ("message", "by", "refused as", "attempts"), [(*k, n) for k, n in _sorted(attempts)]
        ),
        "## Each kind of round",
        "",
        *table(("what was said", "so", "cases"), [(*k, n) for k, n in _sorted(shapes)]),
        "## Declarations: how the log leaves them, and how the engine must",
        "",
        *table(("the log", "the engine", "declarations"), [(*k, n) for k, n in _sorted(ends)]),
        "Those that end otherwise, by cause; none is left out:",
        "",
        *table(
            ("the log", "the engine", "because", "declarations"),
            [(*k, n) for k, n in _sorted(differences(made))],
        ),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _sorted(counted: Counter[Any]) -> list[tuple[Any, int]]:
    return sorted(counted.items(), key=lambda item: (-item[1], str(item[0])))
