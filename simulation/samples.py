"""Sample accounts and cases, so that a fresh machine has something to look at.

``examples/accounts.jsonl`` holds what the sandbox is to know, ``examples/cases.jsonl`` what is
asked and what people do then. Request ids are fixed, so a second run finds the same cases, goes
on where the first one stopped, and opens nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from client import Client
from domain.actors import Actor
from domain.cases import CaseKind, Status, case_id_for
from domain.errors import InvalidRequest
from settings import ROOT
from simulation.passage import Passage, SandboxClock

EXAMPLES = ROOT / "examples"


class SampleStep(BaseModel):
    """A person's decision, or a wait of some days."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    do: Literal["approve", "decline", "withdraw", "wait"]
    by: Actor | None = None
    note: str = ""
    span: str = Field(default="", alias="for")


class SampleCase(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    request: dict[str, Any]
    script: tuple[SampleStep, ...] = ()

    @property
    def case_id(self) -> str:
        return case_id_for(CaseKind.REFUND, str(self.request["request_id"]))


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidRequest("examples", f"{file.name} cannot be read: {error}", "the file") from (
            error
        )
    return [line for line in text.splitlines() if line.strip()]


def read_cases(file: Path = EXAMPLES / "cases.jsonl") -> list[SampleCase]:
    return [SampleCase.model_validate_json(line) for line in _lines(file)]


def read_accounts(now: datetime, file: Path = EXAMPLES / "accounts.jsonl") -> list[dict[str, Any]]:
    """Accounts as the sandbox takes them: hours before ``now`` become instants."""

    def dated(fields: dict[str, Any]) -> dict[str, Any]:
        created = now - timedelta(hours=fields["hours_ago"])
        rest = {name: value for name, value in fields.items() if name != "hours_ago"}
        return {**rest, "created": int(created.timestamp())}

    accounts = [dated(json.loads(line)) for line in _lines(file)]
    return [{**each, "charges": [dated(one) for one in each["charges"]]} for each in accounts]


async def load_accounts(sandbox: SandboxClock, now: datetime) -> int:
    """Make the accounts known to the sandbox; those that it knows are left as they are."""
    accounts = read_accounts(now)
    await sandbox.ask("seed", {"customers": accounts})
    return len(accounts)


async def open_cases(
    client: Client,
    passage: Passage,
    cases: list[SampleCase],
    on_case: Callable[[SampleCase], object] = lambda case: None,
) -> None:
    """Open each case and do what its script says, unless that was done before."""
    for case in cases:
        await _open(client, passage, case)
        on_case(case)


async def _open(client: Client, passage: Passage, case: SampleCase) -> None:
    handle = client.case(case.case_id)
    if (row := await handle.row()) is None:
        handle = await client.open_refund(case.request)
        row = await handle.decided()
    for step in case.script:
        if row.status is Status.CLOSED:
            return
        if step.do == "wait":
            await passage.advance_case(row, step.span)
        elif row.status is not Status.AWAITING_APPROVAL or step.by is None:
            continue  # decided in an earlier run
        elif step.do == "approve":
            await handle.approve(step.by, note=step.note)
        elif step.do == "decline":
            await handle.decline(step.by, note=step.note)
        else:
            await handle.withdraw(step.by, note=step.note)
        row = await handle.row() or row
    await passage.rest(row)
