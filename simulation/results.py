"""What a driven case came to, and where that differs from what was expected of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from domain.canonical import parse_instant
from domain.cases import CaseEvent, EventKind, Outcome
from domain.money import Money, total
from files import write_whole
from ledger.reading import Reading
from simulation.driving import CaseRun
from simulation.scenario import REFUSED_AS_INPUT, Does, Scenario

MOVED = frozenset({Outcome.REFUNDED.value, Outcome.CREDITED.value, Outcome.UNCONFIRMED.value})
"""Ends of a case whose money is with the customer."""


class Difference(BaseModel):
    """One field that came out otherwise than the scenario expected."""

    model_config = ConfigDict(frozen=True)

    field: str
    expected: Any
    found: Any


class Result(BaseModel):
    """One line of ``results.jsonl``. Amounts in minor units, instants in UTC (case time).

    ``started`` tells whether it had a workflow: a request refused at the door has none.
    ``refused`` are the codes of refused attempts in order, ``unsent`` the messages that had
    no case to go to. ``late_seconds`` is the most that a timer or a message came after its
    instant; ``early`` whether any came before it (I7). ``error`` is set when the case could
    not be driven.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    case_id: str = ""
    run_id: str = ""
    started: bool = False
    history_length: int = 0
    outcome: str = ""
    rule: str = ""
    why: str = ""
    policy: str = ""
    policy_version: int = 0
    amount_minor: int | None = None
    currency: str = ""
    method: str = ""
    provider_id: str = ""
    confirmed_by: str = ""
    invalid_field: str = ""
    refused: tuple[str, ...] = ()
    unsent: int = 0
    asked_at: datetime
    opened_at: datetime | None = None
    decided_at: datetime | None = None
    approved_at: datetime | None = None
    accepted_at: datetime | None = None
    confirmed_at: datetime | None = None
    closed_at: datetime | None = None
    late_seconds: float = 0
    early: bool = False
    differences: tuple[Difference, ...] = ()
    error: str = ""

    @property
    def moved(self) -> Money | None:
        """What the customer has after this case; None for nothing."""
        if self.outcome not in MOVED or self.amount_minor is None:
            return None
        return Money(amount_minor=self.amount_minor, currency=self.currency)

    @property
    def is_as_expected(self) -> bool:
        return not self.differences and not self.error


async def result_of(run: CaseRun, reading: Reading) -> Result:
    """Everything the books and the server say of one case, against its expectation."""
    found: dict[str, Any] = {
        "id": run.scenario.id,
        "started": run.started,
        "invalid_field": run.invalid_field,
        "refused": tuple(run.refused),
        "unsent": run.unsent,
        "error": run.error,
        "asked_at": run.instants[0],
    }
    if run.invalid_field:
        found["outcome"] = REFUSED_AS_INPUT
    if run.handle is not None and run.row is not None:
        row = run.row
        description = await run.handle.workflow.describe()
        events = await reading.events(run.handle.case_id)
        found |= {
            **row.model_dump(include=set(Result.model_fields) & set(type(row).model_fields)),
            **_instants(events, run),
            "outcome": row.outcome.value if row.outcome else row.status.value,
            "run_id": description.run_id or "",
            "history_length": description.history_length,
        }
    result = Result(**found)
    return result.model_copy(update={"differences": tuple(_differences(run.scenario, result))})


def failed(scenario: Scenario, error: str) -> Result:
    """A case that could not be driven to its end."""
    return Result(id=scenario.id, asked_at=scenario.opened_at, error=error)


def _differences(scenario: Scenario, result: Result) -> Iterable[Difference]:
    wanted = scenario.expect
    for name in sorted(wanted.model_fields_set):
        expected, got = getattr(wanted, name), getattr(result, name)
        if expected != got:
            yield Difference(field=name, expected=expected, found=got)


_WHEN = {
    EventKind.OPENED: "opened_at",
    EventKind.DECIDED: "decided_at",
    EventKind.APPROVAL_RECORDED: "approved_at",
    EventKind.ACCEPTED: "accepted_at",
    EventKind.CONFIRMED: "confirmed_at",
    EventKind.CLOSED: "closed_at",
}


def _instants(events: Sequence[CaseEvent], run: CaseRun) -> dict[str, Any]:
    found: dict[str, Any] = {}
    lateness = [timedelta(0)]
    scripted = _scripted(run.scenario, run.instants)
    looks: list[datetime] = []
    expires: list[datetime] = []
    for event in events:
        found[_WHEN.get(event.kind, "_")] = event.occurred_at
        match event.kind:
            case EventKind.OPENED:
                lateness.append(event.occurred_at - run.instants[0])
            case EventKind.DECIDED:
                found["why"] = event.body.get("why", "")
                expires = [parse_instant(slot["expires_at"]) for slot in event.body["slots"]]
            case EventKind.APPROVAL_RECORDED | EventKind.DECLINE_RECORDED:
                due = scripted.get((event.body["verdict"], event.actor.id))
                if due is not None:
                    lateness.append(event.occurred_at - due)
            case EventKind.ACCEPTED:
                looks = [parse_instant(at) for at in event.body["looks"]]
                looks += [parse_instant(at) for at in event.body["trace_looks"]]
            case EventKind.LOOKED if looks:
                lateness.append(event.occurred_at - looks.pop(0))
            case EventKind.CONFIRMED:
                found["confirmed_by"] = event.body["confirmed_by"]
            case EventKind.CLOSED if event.body["outcome"] == Outcome.EXPIRED.value:
                lateness.append(event.occurred_at - min(expires, default=event.occurred_at))
            case _:
                pass
    found.pop("_", None)
    found["late_seconds"] = round(max(lateness).total_seconds(), 3)
    found["early"] = min(lateness) < timedelta(0)
    return found


def _scripted(
    scenario: Scenario, instants: Sequence[datetime]
) -> Mapping[tuple[str, str], datetime]:
    steps = zip(scenario.script, instants[1:], strict=True)
    return {
        (step.do.value, step.by.id): at
        for step, at in steps
        if step.by is not None and step.do is not Does.PROVIDER
    }


def outcomes(results: Iterable[Result]) -> Counter[str]:
    """How many cases ended how; ``not driven`` for those with an error."""
    return Counter("not driven" if result.error else result.outcome for result in results)


def moved(results: Iterable[Result]) -> dict[str, Money]:
    """What customers have, by currency."""
    sums: dict[str, list[Money]] = {}
    for result in results:
        if result.moved is not None:
            sums.setdefault(result.moved.currency, []).append(result.moved)
    return {currency: total(amounts, currency) for currency, amounts in sorted(sums.items())}


def write_results(file: Path, results: Iterable[Result]) -> None:
    write_whole(file, "".join(result.model_dump_json() + "\n" for result in results))


def read_results(file: Path) -> list[Result]:
    with file.open(encoding="utf-8") as stream:
        return [Result.model_validate_json(line) for line in stream]
