"""Scenario files: histories, acceptance cases and back-tests, one case a line (JSON Lines).

docs/scenarios.md explains the format, docs/scenario.schema.json describes it for machines.
Loading is strict: every mistake of the file is named at once, with line, field and remedy.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    ValidationError,
    field_validator,
    model_validator,
)

from domain.actors import Actor
from domain.cases import Channel, Language
from domain.errors import InvalidRequest
from domain.refunds import Attribute, RefundReason
from files import write_whole
from rendering import counted

REFUSED_AS_INPUT = "refused_as_input"
"""The outcome of a request that never became a case; ``invalid_field`` names the field."""

OFFSET = r"^\+[0-9]{1,4}(m|h|d|w|bd)$"
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_NAME = r"^[A-Za-z0-9_]{1,28}$"


class Does(StrEnum):
    """What happens at an instant of the script."""

    APPROVE = "approve"
    DECLINE = "decline"
    WITHDRAW = "withdraw"
    PROVIDER = "provider"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CustomerSpec(_Part):
    """A customer at the provider. Cases that name the same ``ref`` share the customer."""

    ref: str = Field(pattern=_NAME)
    created_at: AwareDatetime
    name: str = ""
    email: str = ""


class ChargeSpec(_Part):
    """A captured charge of the case's customer; ``amount_minor`` 0: none was captured.

    ``instrument`` and ``refund_behaviour`` are the sandbox's words (see docs/scenarios.md).
    """

    ref: str = Field(pattern=_NAME)
    amount_minor: StrictInt = Field(ge=0)
    currency: str = Field(pattern=r"^[a-z]{3}$")
    created_at: AwareDatetime
    instrument: str = "pm_card_visa"
    refund_behaviour: str | None = None


class RequestSpec(_Part):
    """What is asked, as the caller would ask it. ``charge`` is the ``ref`` of a charge.

    ``amount_minor`` is not bounded here: that an amount is refused may be the point.
    """

    charge: str
    amount_minor: StrictInt | None = None
    reason: RefundReason
    requested_by: Actor
    language: Language = Language.EN
    channel: Channel = Channel.WEB
    jurisdiction: str = "US"
    consents_to_credit: bool = False
    text: str = ""
    attributes: dict[str, Attribute] = Field(default_factory=dict)
    policy: str = "refund"


class ProviderAct(_Part):
    """What happens at the provider: to the case's refund, or to its charge (``dispute``)."""

    refund: Literal["succeeded", "failed", "canceled"] | None = None
    failure_reason: str | None = None
    reference: str | None = Field(default=None, min_length=1)
    dispute: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.refund or self.reference or self.dispute):
            raise ValueError("give refund, reference or dispute")
        return self


class Step(_Part):
    """One line of the script. ``at`` is an instant, or an offset from the step before it
    (from ``opened_at`` for the first): +30m +2h +2d +1w +3bd."""

    at: AwareDatetime | str = Field(union_mode="left_to_right")
    do: Does
    by: Actor | None = None
    note: str = ""
    with_: ProviderAct | None = Field(default=None, alias="with")

    @field_validator("at")
    @classmethod
    def _is_offset(cls, at: datetime | str) -> datetime | str:
        if isinstance(at, str) and not re.match(OFFSET, at):
            raise ValueError(
                f"{at!r} is neither an instant with an offset from UTC "
                "(2027-01-11T09:49:50+01:00) nor +30m, +2h, +2d, +1w, +3bd"
            )
        return at

    @model_validator(mode="after")
    def _has_its_parts(self) -> Self:
        if self.do is Does.PROVIDER:
            if self.with_ is None or self.by is not None:
                raise ValueError('a provider step has "with" and no "by"')
        elif self.by is None or self.with_ is not None:
            raise ValueError(f'{self.do.value} has "by" (id and role) and no "with"')
        return self


class Expectation(_Part):
    """What the case should come to; only what is written is compared, field by field with
    the case's result. ``refused`` are the codes of refused attempts, in order."""

    outcome: str | None = None
    rule: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    policy: str | None = None
    policy_version: int | None = None
    method: str | None = None
    confirmed_by: str | None = None
    invalid_field: str | None = None
    refused: tuple[str, ...] | None = None
    unsent: int | None = None


class Scenario(_Part):
    """One case. Instants carry their offset from UTC; ``zone`` is where the people are, so
    that a file moved by whole weeks keeps their hours over a change of the clocks."""

    id: str = Field(pattern=r"^[A-Za-z0-9_.:#-]{1,200}$")
    kind: Literal["refund"]
    zone: str = "UTC"
    opened_at: AwareDatetime
    customer: CustomerSpec
    charges: tuple[ChargeSpec, ...] = Field(min_length=1)
    request: RequestSpec
    budget: str = ""
    script: tuple[Step, ...] = ()
    expect: Expectation = Expectation()

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (KeyError, ValueError):
            raise ValueError(f"{zone!r} is no time zone, such as Europe/Amsterdam") from None
        return zone

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        refs = [charge.ref for charge in self.charges]
        if self.request.charge not in refs:
            raise ValueError(
                f"request.charge is {self.request.charge!r}, but charges has {', '.join(refs)}"
            )
        instants = self.instants()
        if any(later < earlier for earlier, later in itertools.pairwise(instants)):
            raise ValueError("script: instants must not go back, nor lie before opened_at")
        return self

    @property
    def charge(self) -> ChargeSpec:
        """The charge that the request names."""
        return next(charge for charge in self.charges if charge.ref == self.request.charge)

    @property
    def customer_id(self) -> str:
        return f"cus_{self.customer.ref}"

    def charge_id(self, charge: ChargeSpec) -> str:
        return f"ch_{self.customer.ref}_{charge.ref}"

    def instants(self) -> list[datetime]:
        """``opened_at`` and each step's instant, in order."""
        found = [self.opened_at]
        for step in self.script:
            at = step.at
            found.append(after(found[-1], at, self.zone) if isinstance(at, str) else at)
        return found


def after(start: datetime, offset: str, zone: str) -> datetime:
    """``start`` plus an offset. Days, weeks and business days keep the local hour; business
    days are Monday to Friday, as banks' clearing counts them, with no holidays."""
    number, unit = int(re.sub(r"\D", "", offset)), offset.lstrip("+0123456789")
    if unit in ("m", "h"):
        return start.astimezone(UTC) + timedelta(**{_UNITS[unit]: number})
    local = start.astimezone(ZoneInfo(zone))
    if unit in ("d", "w"):
        return (local + timedelta(**{_UNITS[unit]: number})).astimezone(UTC)
    while number > 0:
        local += timedelta(days=1)
        number -= local.isoweekday() < 6
    return local.astimezone(UTC)


def shift(instant: datetime, weeks: int, zone: str) -> datetime:
    """Whole weeks later at the same local weekday and hour, whatever the clocks did between.

    UTC. An hour that the clocks skip on that day becomes the hour after it.
    """
    local = instant.astimezone(ZoneInfo(zone))
    return (local + timedelta(weeks=weeks)).astimezone(UTC)


def shifted(scenario: Scenario, weeks: int) -> Scenario:
    """The same case ``weeks`` later, every instant of it; offsets become instants.

    Two instants keep their order even where the clocks tell one hour twice.
    """
    if weeks == 0:
        return scenario

    def move(at: datetime) -> datetime:
        return shift(at, weeks, scenario.zone)

    script: list[Step] = []
    latest = move(scenario.opened_at)
    for step in scenario.script:
        moved = after(latest, step.at, scenario.zone) if isinstance(step.at, str) else move(step.at)
        latest = max(latest, moved)
        script.append(step.model_copy(update={"at": latest}))
    charges = [
        charge.model_copy(update={"created_at": move(charge.created_at)})
        for charge in scenario.charges
    ]
    customer = scenario.customer.model_copy(
        update={"created_at": move(scenario.customer.created_at)}
    )
    return scenario.model_copy(
        update={
            "opened_at": move(scenario.opened_at),
            "customer": customer,
            "charges": tuple(charges),
            "script": tuple(script),
        }
    )


MARGIN = timedelta(days=1)
"""How far ahead a file must begin: a long run must not be overtaken by the wall clock."""


def least_weeks(scenarios: Iterable[Scenario], now: datetime) -> int:
    """The least number of whole weeks that puts the first instant ahead of ``now``; 0 if it is."""
    first = min(scenarios, key=lambda scenario: scenario.opened_at)
    weeks = max(0, (now + MARGIN - first.opened_at) // timedelta(weeks=1))
    while shift(first.opened_at, weeks, first.zone) < now + MARGIN:
        weeks += 1
    return weeks


def chains(scenarios: Iterable[Scenario]) -> list[list[Scenario]]:
    """Groups of cases that share a customer (so also a charge) or a budget, in order of opening.

    Cases within a group depend on each other; groups do not.
    """
    group_of: dict[str, int] = {}
    groups: dict[int, list[Scenario]] = {}
    for number, scenario in enumerate(scenarios):
        keys = [f"customer {scenario.customer.ref}"]
        if scenario.budget:
            keys.append(f"budget {scenario.budget}")
        joined = sorted({group_of[key] for key in keys if key in group_of})
        home = joined[0] if joined else number
        members = groups.setdefault(home, [])
        for other in joined[1:]:
            members.extend(groups.pop(other))
            group_of.update({key: home for key, group in group_of.items() if group == other})
        members.append(scenario)
        group_of.update(dict.fromkeys(keys, home))
    return [sorted(group, key=lambda s: (s.opened_at, s.id)) for group in groups.values()]


class ScenarioFaults(InvalidRequest):
    """Mistakes of a scenario file, each as ``file:line: field: what; remedy``."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("scenarios", counted(len(faults), "mistake"), "see docs/scenarios.md")
        self.faults = faults
        self.args = ("\n".join(faults),)


def load(file: Path) -> list[Scenario]:
    """Every case of a file. Raises :class:`ScenarioFaults` with all its mistakes."""
    faults: list[str] = []
    found: dict[str, tuple[int, Scenario]] = {}
    seeds: dict[str, tuple[int, BaseModel]] = {}
    for number, line in _lines(file):
        where = f"{file.name}:{number}"
        try:
            scenario = Scenario.model_validate_json(line)
        except ValidationError as error:
            faults.extend(_faults(where, error))
            continue
        if scenario.id in found:
            faults.append(f"{where}: id: {scenario.id!r} is on line {found[scenario.id][0]} too")
            continue
        found[scenario.id] = (number, scenario)
        for name, spec in _seeds(scenario):
            line_before, before = seeds.setdefault(name, (number, spec))
            if before != spec:
                faults.append(
                    f"{where}: {name}: differs from line {line_before}; say the same, or rename it"
                )
    if faults:
        raise ScenarioFaults(faults)
    if not found:
        raise ScenarioFaults([f"{file.name}: holds no case; one JSON object a line"])
    return [scenario for _, scenario in found.values()]


def _seeds(scenario: Scenario) -> Iterator[tuple[str, BaseModel]]:
    yield f"customer.ref {scenario.customer.ref}", scenario.customer
    for charge in scenario.charges:
        yield f"charges.ref {scenario.customer.ref}/{charge.ref}", charge


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioFaults([f"{file}: cannot be read: {error}"]) from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line


def _faults(where: str, error: ValidationError) -> Iterator[str]:
    found = error.errors(include_input=False, include_url=False)
    inner = {each["loc"][:depth] for each in found for depth in range(len(each["loc"]))}
    for each in found:
        if each["type"] == "too_short" and each["loc"] in inner:
            continue  # it is short only of the part whose own mistake is told
        field = ".".join(str(part) for part in each["loc"] if part not in ("datetime", "str"))
        said = each["msg"].removeprefix("Value error, ")
        if each["type"] == "extra_forbidden":
            said = "there is no such field; docs/scenarios.md has those there are"
        yield f"{where}: {field or 'case'}: {said}"


def write(file: Path, scenarios: Iterable[Scenario]) -> int:
    """Write a scenario file; answers the number of cases."""
    made = [each.model_dump(mode="json", by_alias=True, exclude_unset=True) for each in scenarios]
    lines = (json.dumps(fields, ensure_ascii=False, separators=(",", ":")) for fields in made)
    write_whole(file, "".join(f"{line}\n" for line in lines))
    return len(made)


def schema() -> dict[str, Any]:
    """The JSON Schema of one line, as docs/scenario.schema.json holds it."""
    made = Scenario.model_json_schema(by_alias=True)
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "Redress scenario: one line of a scenario file"
    made["$defs"]["Step"]["properties"]["at"]["anyOf"][1]["pattern"] = OFFSET
    return made


def schema_text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
