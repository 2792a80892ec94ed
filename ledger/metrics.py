"""How cases were handled, counted over the books; docs/metrics.md defines every figure.

Rows are streamed, so that what stays in memory is a number of eight bytes for each duration.
Exceptions are left out: nobody asked for them.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, case, false, or_, select

from domain.canonical import instant, parse_instant
from domain.cases import A_NO, ASKED_IN_VAIN, CaseKind, EventKind, Outcome, Status
from ledger import tables as t
from ledger.figures import By, Figures, Metrics, durations_of, overdue_of, rate_of, scores_of
from ledger.reading import Reading

GIVEN = frozenset({Outcome.REFUNDED, Outcome.CREDITED, Outcome.UNCONFIRMED})
"""Ends after which the provider has taken our money and no bank has sent it back."""

RESOLVED = frozenset({Outcome.REFUNDED, Outcome.CREDITED, Outcome.REFUSED, Outcome.DECLINED})
"""Ends with money or with an answer."""

_TOLD = (
    EventKind.DECIDED, EventKind.APPROVAL_RECORDED, EventKind.DECLINE_RECORDED,
    EventKind.ACCEPTED, EventKind.CONFIRMED, EventKind.SURVEYED,
)  # fmt: skip
_READ = (EventKind.DECIDED, EventKind.APPROVAL_RECORDED, EventKind.SURVEYED)
"""Kinds of event that are asked for, and those of them whose body is."""


async def metrics(
    reading: Reading, *, since: datetime, until: datetime, now: datetime, by: By | None = None
) -> Metrics:
    """Count the cases opened in ``[since, until)``, and what is late at ``now``."""
    total = _Tally()
    groups: dict[str, _Tally] = {}
    async for told in _cases(reading, since, until):
        tallies = [total]
        if by is not None:
            tallies.append(groups.setdefault(_group(told.row, by), _Tally()))
        for tally in tallies:
            if told.status is not Status.CLOSED:
                tally.add_waiting(told, now)
            if since <= told.opened_at < until:
                tally.add(told, now)
    return Metrics(
        since=since,
        until=until,
        now=now,
        by=by,
        total=total.figures("all"),
        groups=tuple(groups[name].figures(name) for name in sorted(groups)),
    )


def _group(row: Mapping[str, Any], by: By) -> str:
    if by is By.POLICY:
        return f"{row['policy']} v{row['policy_version']}"
    return str(row[by.value] or "unknown")


# -- one case --------------------------------------------------------------------------


class _Case:
    """One case with the instants that its events tell."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.row = row
        self.status = Status(row["status"])
        self.outcome = Outcome(row["outcome"]) if row["outcome"] else None
        self.opened_at = parse_instant(row["opened_at"])
        self.decided_at: datetime | None = None
        self.accepted_at: datetime | None = None
        self.confirmed_at: datetime | None = None
        self.survey: Mapping[str, Any] | None = None
        self.slots: dict[str, Mapping[str, Any]] = {}

    def hear(self, row: Mapping[str, Any]) -> None:
        """One of its events, in order."""
        if row["event"] is None:
            return
        at, body = parse_instant(row["occurred_at"]), json.loads(row["body"] or "{}")
        is_decision = False
        match EventKind(row["event"]):
            case EventKind.DECIDED:
                self.slots = {slot["id"]: slot for slot in body["slots"]}
                is_decision = body["verdict"] == "refuse" or (
                    body["verdict"] == "approve" and not self.slots
                )
            case EventKind.APPROVAL_RECORDED:
                self.slots.pop(body["slot"], None)
                is_decision = body["slots_left"] == 0
            case EventKind.DECLINE_RECORDED:
                is_decision = True
            case EventKind.ACCEPTED:
                self.accepted_at = self.accepted_at or at
            case EventKind.CONFIRMED:
                self.confirmed_at = self.confirmed_at or at
            case EventKind.SURVEYED:
                self.survey = body
        if is_decision:
            self.decided_at = self.decided_at or at

    def instant(self, column: str) -> datetime | None:
        text = self.row[column]
        return parse_instant(text) if text else None

    @property
    def money_known_at(self) -> datetime | None:
        """When the money was known to be there: a credit is as soon as the provider has it."""
        return self.accepted_at if self.outcome is Outcome.CREDITED else self.confirmed_at

    def called_for_at(self) -> datetime | None:
        """When the policy first calls for an approval that is still wanted; None without one."""
        if self.status is not Status.AWAITING_APPROVAL:
            return None
        instants = [
            at
            for slot in self.slots.values()
            for at in (*slot["remind_at"], slot.get("escalates_at"), slot["expires_at"])
            if at is not None
        ]
        return parse_instant(min(instants)) if instants else None


async def _cases(reading: Reading, since: datetime, until: datetime) -> AsyncIterator[_Case]:
    current: _Case | None = None
    async for row in reading.stream(_statement(since, until)):
        if current is None or current.row["case_id"] != row["case_id"]:
            if current is not None:
                yield current
            current = _Case(row)
        current.hear(row)
    if current is not None:
        yield current


def _statement(since: datetime, until: datetime) -> Select[Any]:
    """Every case of the window, and every open one, beside each of its events in order."""
    c, e = t.cases.c, t.case_events.c
    later = t.cases.alias("later")
    again = select(later.c.case_id).where(
        later.c.charge == c.charge,
        later.c.kind == c.kind,
        later.c.case_id != c.case_id,
        later.c.opened_at >= c.closed_at,
        later.c.appeal_of.is_(None),
        later.c.alternative_to.is_(None),
    )
    appeal = select(later.c.case_id).where(
        later.c.charge == c.charge, later.c.appeal_of == c.case_id
    )
    in_vain = c.outcome.in_([outcome.value for outcome in ASKED_IN_VAIN])
    told = (e.case_id == c.case_id) & e.kind.in_([kind.value for kind in _TOLD])
    in_window = (c.opened_at >= instant(since)) & (c.opened_at < instant(until))
    return (
        select(
            c.case_id, c.kind, c.channel, c.language, c.desk, c.policy, c.policy_version,
            c.status, c.outcome, c.currency, c.amount_minor, c.opened_at, c.closed_at,
            c.first_response_due, c.first_responded_at,
            case((in_vain, again.exists()), else_=false()).label("asked_again"),
            case((in_vain, appeal.exists()), else_=false()).label("appealed"),
            e.kind.label("event"),
            e.occurred_at,
            case((e.kind.in_([kind.value for kind in _READ]), e.body)).label("body"),
        )
        .outerjoin_from(t.cases, t.case_events, told)
        .where(
            c.kind != CaseKind.EXCEPTION.value, or_(in_window, c.status != Status.CLOSED.value)
        )
        .order_by(c.case_id, e.ordinal)
    )  # fmt: skip


# -- many cases ------------------------------------------------------------------------


def _lengths() -> array[int]:
    return array("q")


@dataclass
class _Tally:
    """What is counted of a group while its cases go by; lengths in whole seconds."""

    cases: int = 0
    first_response: array[int] = field(default_factory=_lengths)
    decision: array[int] = field(default_factory=_lengths)
    acceptance: array[int] = field(default_factory=_lengths)
    confirmation: array[int] = field(default_factory=_lengths)
    approvals_late: array[int] = field(default_factory=_lengths)
    answers_late: array[int] = field(default_factory=_lengths)
    counts: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)
    effort: Counter[int] = field(default_factory=Counter)
    satisfaction: Counter[int] = field(default_factory=Counter)

    def add(self, told: _Case, now: datetime) -> None:
        """A case of the window."""
        self.cases += 1
        self._add_first_response(told, now)
        for lengths, at in (
            (self.decision, told.decided_at),
            (self.acceptance, told.accepted_at),
            (self.confirmation, told.money_known_at),
        ):
            if at is not None:
                lengths.append(_seconds(at - told.opened_at))
        if told.survey is not None:
            self.effort[told.survey["effort"]] += 1
            self.satisfaction[told.survey["satisfaction"]] += 1
        if told.outcome is not None:
            self._add_outcome(told, told.outcome)

    def _add_first_response(self, told: _Case, now: datetime) -> None:
        due, at = told.instant("first_response_due"), told.instant("first_responded_at")
        if at is not None:
            self.first_response.append(_seconds(at - told.opened_at))
        if due is None:
            return
        ran_until = at or told.instant("closed_at") or now
        if at is not None or ran_until > due:
            self.counts["clocks"] += 1
            self.counts["in_time"] += at is not None and at <= due

    def _add_outcome(self, told: _Case, outcome: Outcome) -> None:
        self.outcomes[outcome.value] += 1
        if outcome is not Outcome.WITHDRAWN:
            self.counts["ended"] += 1
            self.counts["resolved"] += outcome in RESOLVED
        if outcome in GIVEN:
            self.given[told.row["currency"]] += told.row["amount_minor"]
        if outcome in ASKED_IN_VAIN:
            self.counts["in_vain"] += 1
            self.counts["asked_again"] += bool(told.row["asked_again"])
        if outcome in A_NO:
            self.counts["noes"] += 1
            self.counts["appealed"] += bool(told.row["appealed"])

    def add_waiting(self, told: _Case, now: datetime) -> None:
        """An open case, whenever it was opened."""
        called_for_at = told.called_for_at()
        if called_for_at is not None:
            self.counts["approvals"] += 1
            if called_for_at < now:
                self.approvals_late.append(_seconds(now - called_for_at))
        due = told.instant("first_response_due")
        if due is not None and told.instant("first_responded_at") is None:
            self.counts["unanswered"] += 1
            if due < now:
                self.answers_late.append(_seconds(now - due))

    def figures(self, name: str) -> Figures:
        count = self.counts
        return Figures(
            name=name,
            cases=self.cases,
            first_response=durations_of(self.first_response),
            answered_in_time=rate_of(count["in_time"], count["clocks"]),
            time_to_decision=durations_of(self.decision),
            time_to_acceptance=durations_of(self.acceptance),
            time_to_confirmation=durations_of(self.confirmation),
            resolved=rate_of(count["resolved"], count["ended"]),
            asked_again=rate_of(count["asked_again"], count["in_vain"]),
            appealed=rate_of(count["appealed"], count["noes"]),
            effort=scores_of(self.effort),
            satisfaction=scores_of(self.satisfaction),
            outcomes=dict(sorted(self.outcomes.items())),
            given_minor=dict(sorted(self.given.items())),
            approvals_overdue=overdue_of(self.approvals_late, count["approvals"]),
            first_responses_overdue=overdue_of(self.answers_late, count["unanswered"]),
        )


def _seconds(length: timedelta) -> int:
    return length // timedelta(seconds=1)
