"""Every history that was ever released replays on today's code, and says the same commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer

from tests.replay.record import HISTORIES, PATHS, FixedKeys
from worker import workflow_runner
from workflows.converter import sealing_converter
from workflows.refund import RefundCase

FILES = sorted(HISTORIES.glob("*.json"))
FINGERPRINTS = Path(__file__).resolve().parent / "fingerprints.json"

COMMANDS = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: "activity",
    EventType.EVENT_TYPE_TIMER_STARTED: "timer",
    EventType.EVENT_TYPE_TIMER_CANCELED: "timer cancelled",
    EventType.EVENT_TYPE_TIMER_FIRED: "timer fired",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: "update accepted",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED: "update completed",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: "signal",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: "completed",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: "failed",
}


def history_of(file: Path) -> WorkflowHistory:
    kept = json.loads(file.read_text(encoding="utf-8"))
    return WorkflowHistory.from_json(kept.pop("workflow_id"), kept)


def fingerprint(history: WorkflowHistory) -> list[str]:
    """What the case did, in order: its commands and what came in."""
    found = []
    for event in history.events:
        word = COMMANDS.get(EventType.ValueType(event.event_type))
        if word == "activity":
            word = event.activity_task_scheduled_event_attributes.activity_type.name
        if word is not None:
            found.append(word)
    return found


def test_every_path_has_its_history() -> None:
    assert {file.stem for file in FILES} >= {f"refund-v1-{name}" for name in PATHS}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_a_released_history_replays_on_todays_code(file: Path) -> None:
    replayer = Replayer(
        workflows=[RefundCase],
        data_converter=sealing_converter(FixedKeys()),
        workflow_runner=workflow_runner(sandboxed=True),
        workflow_failure_exception_types=[ApplicationError],
    )
    await replayer.replay_workflow(history_of(file))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_path_takes_the_steps_that_its_fingerprint_says(file: Path) -> None:
    known = json.loads(FINGERPRINTS.read_text(encoding="utf-8"))
    assert fingerprint(history_of(file)) == known[file.stem]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_kept_history_holds_nothing_in_the_clear(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for word in ('"please"', "Ada Example", "cus_t", "lead-1:"):
        assert word not in text
