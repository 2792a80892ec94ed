"""What a case under a one-approval policy must come to, worked out without the engine.

The adapter of the expense log writes it into ``expect`` before anything runs. It knows the
policy file's numbers and the calendar, and none of the engine's code but the counting of
business days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from domain.approvals import RefusalCode
from domain.cases import Outcome
from domain.deadlines import BusinessCalendar
from domain.errors import InvalidRequest
from simulation.scenario import REFUSED_AS_INPUT, Does, Expectation, Scenario

_WEEKDAYS = {"mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6, "sun": 7}


@dataclass(frozen=True)
class Terms:
    """The policy's numbers: who may decide, for how long, and the first look at the money."""

    policy: str
    calendar: BusinessCalendar
    approver: str
    expires_business_days: int
    first_look_business_days: int

    def expires_at(self, opened_at: datetime) -> datetime:
        return self.calendar.instant_after(opened_at, self.expires_business_days)

    def looked_at(self, sent_at: datetime) -> datetime:
        """The first look; the provider has the bank's reference days before it."""
        return self.calendar.instant_after(sent_at, self.first_look_business_days)


def terms_of(policies: Path, policy: str) -> Terms:
    """Read from the newest file of a policy. Raises :class:`InvalidRequest` when it asks for
    anything but one approval by one role."""
    files = sorted((policies / policy).glob("v*.yaml"), key=lambda f: int(f.stem[1:]))
    if not files:
        raise InvalidRequest("policies", f"{policies} has no policy {policy}", "a pack of it")
    pack = yaml.safe_load(files[-1].read_text(encoding="utf-8"))
    routes: list[list[dict[str, Any]]] = list(pack["routes"].values())
    if len(routes) != 1 or len(routes[0]) != 1 or len(routes[0][0]["roles"]) != 1:
        raise InvalidRequest("policies", f"{policy} has other routes", "one approval by one role")
    slot = routes[0][0]
    timers = pack["timers"]
    return Terms(
        policy=policy,
        calendar=_calendar(policies, timers["calendar"]),
        approver=slot["roles"][0],
        expires_business_days=int(str(slot["expires"]).removesuffix("bd")),
        first_look_business_days=timers["settlement"]["min_business_days"],
    )


def _calendar(policies: Path, name: str) -> BusinessCalendar:
    file = policies / "calendars" / f"{name}.yaml"
    given = yaml.safe_load(file.read_text(encoding="utf-8"))["calendars"][name]
    return BusinessCalendar(
        id=name,
        version=given["version"],
        zone=given["zone"],
        weekend=frozenset(_WEEKDAYS[day] for day in given["weekend"]),
        holidays=frozenset(date.fromisoformat(day["date"]) for day in given["holidays"]),
        day_zero=given["day_zero"],
        covers_from=date.fromisoformat(given["covers"]["from"]),
        covers_to=date.fromisoformat(given["covers"]["to"]),
    )


class Cause(StrEnum):
    """Why a case ends as it does, in one sentence each."""

    APPROVED_IN_TIME = "a supervisor said yes in time"
    REJECTED_IN_TIME = "somebody said no in time"
    TAKEN_BACK = "the employee took it back while it was open"
    APPROVED_TOO_LATE = "the supervisor's yes came after the time to decide"
    REJECTED_TOO_LATE = "a no came after the time to decide"
    NEVER_DECIDED = "nobody decided"
    NOTHING_ASKED = "the amount is zero or less"
    ALREADY_PAID = "an earlier submission was paid, and the no came after that"
    STILL_HELD = "an earlier submission is still open"


@dataclass
class Expected:
    """``ends_at`` is when the case must end; ``edge`` the least distance between a message and
    an end that it could miss by seconds."""

    scenario: Scenario
    cause: Cause
    expect: Expectation
    sent_at: datetime | None = None
    ends_at: datetime | None = None
    edge: timedelta = timedelta.max
    attempts: list[tuple[str, str, str]] = field(default_factory=list)
    """Refused attempts: action, actor, code."""


def expect_chain(chain: Sequence[Scenario], terms: Terms) -> list[Expected]:
    """What each case of one charge must come to, in order of opening (shifted already)."""
    found: list[Expected] = []
    for scenario in chain:
        if (scenario.request.amount_minor or 0) <= 0:
            found.append(_never_a_case(scenario, Cause.NOTHING_ASKED, "amount_minor"))
        elif any(before.sent_at is not None for before in found):
            found.append(_never_a_case(scenario, Cause.ALREADY_PAID, "charge"))
        elif any(_holds(before, scenario.opened_at) for before in found):
            found.append(_never_a_case(scenario, Cause.STILL_HELD, "charge"))
        else:
            found.append(_lived(scenario, terms))
    return found


def _holds(before: Expected, at: datetime) -> bool:
    return before.ends_at is not None and before.ends_at > at


def _never_a_case(scenario: Scenario, cause: Cause, invalid_field: str) -> Expected:
    asker = scenario.request.requested_by.id
    return Expected(
        scenario=scenario,
        cause=cause,
        expect=Expectation(
            outcome=REFUSED_AS_INPUT, invalid_field=invalid_field, unsent=len(scenario.script)
        ),
        attempts=[("open_refund", asker, RefusalCode.INVALID.value)],
    )


_NO_WORD = {Does.DECLINE: Outcome.DECLINED, Does.WITHDRAW: Outcome.WITHDRAWN}


def _lived(scenario: Scenario, terms: Terms) -> Expected:
    opened_at, *instants = scenario.instants()
    ends_at = terms.expires_at(opened_at)
    outcome, cause = Outcome.EXPIRED, Cause.NEVER_DECIDED
    made = Expected(scenario=scenario, cause=cause, expect=Expectation())
    for step, at in zip(scenario.script, instants, strict=True):
        assert step.by is not None
        made.edge = min(made.edge, abs(ends_at - at))
        may = step.do is Does.WITHDRAW or step.by.role.value == terms.approver
        if at >= ends_at:
            made.attempts.append((step.do.value, step.by.id, RefusalCode.CLOSED.value))
            if may and outcome is Outcome.EXPIRED and cause is Cause.NEVER_DECIDED:
                is_yes = step.do is Does.APPROVE
                cause = Cause.APPROVED_TOO_LATE if is_yes else Cause.REJECTED_TOO_LATE
        elif made.sent_at is not None:
            made.attempts.append((step.do.value, step.by.id, RefusalCode.ALREADY_DECIDED.value))
        elif not may:
            made.attempts.append((step.do.value, step.by.id, RefusalCode.NOT_AUTHORISED.value))
        elif step.do is Does.APPROVE:
            outcome, cause = Outcome.REFUNDED, Cause.APPROVED_IN_TIME
            made.sent_at, ends_at = at, terms.looked_at(at)
        else:
            outcome, ends_at = _NO_WORD[step.do], at
            taken_back = step.do is Does.WITHDRAW
            cause = Cause.TAKEN_BACK if taken_back else Cause.REJECTED_IN_TIME
    made.cause, made.ends_at = cause, ends_at
    made.expect = Expectation(
        outcome=outcome.value,
        amount_minor=scenario.request.amount_minor,
        currency=scenario.charge.currency,
        policy=terms.policy,
        refused=tuple(code for _, _, code in made.attempts),
        confirmed_by="reference" if outcome is Outcome.REFUNDED else "",
        unsent=0,
    )
    return made
