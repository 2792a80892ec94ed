"""Ended cases outlive Temporal's retention: their histories are kept beside the books."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import (
    ScheduleActionExecutionStartWorkflow,
    ScheduleOverlapPolicy,
    WorkflowHandle,
    WorkflowHistory,
)
from temporalio.service import RPCError
from temporalio.testing import ActivityEnvironment

from activities.archives import Archives
from domain.archives import ArchiveInput, ArchiveSummary
from domain.cases import EventKind
from ledger.books import Books
from ledger.projection import CaseRow
from ledger.reading import Reading
from ledger.records import ArchiveRow
from tests.ledger.builders import AT, Refund
from tests.reliability.test_provider_faults import reset_to_its_first_decision
from tests.workflows.builders import LEAD, MEDIUM
from tests.workflows.world import Case, World
from workflows.archive import EVERY, SCHEDULE_ID, ArchiveSweep, keep_archiving


async def a_declined_case(world: World, text: str = "") -> Case:
    case = await world.open_decided(amount_minor=MEDIUM, text=text)
    await case.handle.decline(LEAD)
    await world.result(case)
    return case


async def sweep(world: World, id: str) -> ArchiveSummary:
    summary: ArchiveSummary = await world.stack.temporal.execute_workflow(
        ArchiveSweep.run, id=id, task_queue=world.queue
    )
    return summary


def kept(world: World, file: str) -> bytes:
    return (world.stack.settings.archive / file).read_bytes()


async def test_an_ended_case_is_archived_once_and_an_open_one_is_not(world: World) -> None:
    ended = await a_declined_case(world)
    waiting = await world.open_decided(amount_minor=MEDIUM)
    first = await sweep(world, f"sweep-{ended.id}")
    assert first.archived >= 1
    assert (await sweep(world, f"again-{ended.id}")).archived == 0
    async with world.stack.books.reading() as reading:
        (row,) = await reading.archives(ended.id)
        assert await reading.archives(waiting.id) == []
    packed = kept(world, row.file)
    assert hashlib.sha256(packed).hexdigest() == row.sha256
    assert len(packed) == row.size_bytes
    events = json.loads(gzip.decompress(packed))["events"]
    history = await ended.handle.workflow.fetch_history()
    assert len(events) == len(history.events)
    assert events[-1]["eventType"] == "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"


async def test_what_a_customer_wrote_is_sealed_in_the_archive_too(world: World) -> None:
    case = await a_declined_case(world, text="my flat in Lavapiés was dark for a week")
    await sweep(world, f"sweep-{case.id}")
    async with world.stack.books.reading() as reading:
        (row,) = await reading.archives(case.id)
    text = gzip.decompress(kept(world, row.file)).decode()
    assert "Lavapi" not in text
    assert "YmluYXJ5L2Flcy1nY20=" in text  # binary/aes-gcm: payloads as Temporal has them


async def test_a_sweep_that_died_after_a_file_writes_it_again_and_one_row(world: World) -> None:
    case = await a_declined_case(world)
    archives = Archives(world.stack.books, world.stack.temporal, world.stack.settings.archive)
    page = ArchiveInput(now=datetime.now(UTC), limit=1000)
    row = await world.row(case)
    async with world.stack.books.reading() as reading:
        (run_id,) = await reading.runs_of_case(case.id)
    history = (await case.handle.workflow.fetch_history()).to_json()
    archives._write(row, run_id, history, page)  # and the process died before the row
    for _ in range(2):
        await ActivityEnvironment().run(archives.archive_histories, page)
    async with world.stack.books.reading() as reading:
        (kept_row,) = await reading.archives(case.id)
    assert hashlib.sha256(kept(world, kept_row.file)).hexdigest() == kept_row.sha256


class DiesAtTheSecondFile(Archives):
    """The process ends when it is about to write the second file of one case."""

    def __init__(self, world: World, case: Case) -> None:
        super().__init__(world.stack.books, world.stack.temporal, world.stack.settings.archive)
        self.case_id = case.id
        self.written: list[str] = []

    def _write(self, case: CaseRow, run_id: str, text: str, page: ArchiveInput) -> ArchiveRow:
        if case.case_id == self.case_id:
            if self.written:
                raise RuntimeError("the process dies here")
            self.written.append(run_id)
        return super()._write(case, run_id, text, page)


async def a_case_of_two_runs(world: World) -> Case:
    case = await world.open_decided(amount_minor=MEDIUM)
    await world.calm(case)
    await reset_to_its_first_decision(world, case)
    await case.handle.decline(LEAD)
    await world.result(case)
    return case


async def test_every_run_of_a_case_is_archived_though_a_sweep_died_between_two(
    world: World,
) -> None:
    case = await a_case_of_two_runs(world)
    async with world.stack.books.reading() as reading:
        runs = await reading.runs_of_case(case.id)
    assert len(runs) == 2
    page = ArchiveInput(now=datetime.now(UTC), limit=1000)
    dying = DiesAtTheSecondFile(world, case)
    with pytest.raises(RuntimeError, match="dies here"):
        await ActivityEnvironment().run(dying.archive_histories, page)
    assert dying.written == runs[:1]
    async with world.stack.books.reading() as reading:
        assert await reading.archives(case.id) == [], "the rows of a case come together"
    archives = Archives(world.stack.books, world.stack.temporal, world.stack.settings.archive)
    swept = [await ActivityEnvironment().run(archives.archive_histories, page) for _ in range(2)]
    assert swept[0].archived >= 2
    assert swept[1].archived == 0
    async with world.stack.books.reading() as reading:
        rows = await reading.archives(case.id)
    assert {row.run_id for row in rows} == set(runs)
    assert len(rows) == 2
    for row in rows:
        assert hashlib.sha256(kept(world, row.file)).hexdigest() == row.sha256


async def test_a_case_with_one_of_two_runs_gone_is_lost_and_keeps_the_other(
    world: World, tmp_path: Path
) -> None:
    case = await a_case_of_two_runs(world)
    gone = "00000000-0000-4000-8000-000000000000"
    real = Reading.runs_of_case

    async def one_is_gone(reading: Reading, case_id: str) -> list[str]:
        runs = await real(reading, case_id)
        return [gone, *runs[1:]] if case_id == case.id else runs

    archives = Archives(world.stack.books, world.stack.temporal, tmp_path)
    page = ArchiveInput(now=datetime.now(UTC), limit=1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reading, "runs_of_case", one_is_gone)
        swept = [await ActivityEnvironment().run(archives.archive_histories, page)
                 for _ in range(2)]  # fmt: skip
    assert [case.id in page.lost for page in swept] == [True, True]
    assert swept[1].archived == 0
    async with world.stack.books.reading() as reading:
        (row,) = await reading.archives(case.id)
        runs = await reading.runs_of_case(case.id)
    assert row.run_id == runs[1]
    await sweep(world, f"sweep-{case.id}")
    async with world.stack.books.reading() as reading:
        assert {row.run_id for row in await reading.archives(case.id)} == set(runs)


async def test_a_history_without_its_end_waits_for_the_next_sweep(
    world: World, tmp_path: Path
) -> None:
    case = await a_declined_case(world)
    archives = Archives(world.stack.books, world.stack.temporal, tmp_path)
    page = ArchiveInput(now=datetime.now(UTC), limit=1000)
    real = WorkflowHandle.fetch_history

    async def without_its_end(handle: Any) -> WorkflowHistory:
        history = await real(handle)
        return WorkflowHistory(history.workflow_id, history.events[:-1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkflowHandle, "fetch_history", without_its_end)
        early = await ActivityEnvironment().run(archives.archive_histories, page)
    assert (early.archived, case.id in early.lost) == (0, False)
    assert (await ActivityEnvironment().run(archives.archive_histories, page)).archived >= 1
    async with world.stack.books.reading() as reading:
        assert len(await reading.archives(case.id)) == 1


@pytest.mark.parametrize(("after", "late"), [(-1, False), (0, False), (1, True)])
async def test_after_half_of_the_retention_finance_hears_of_it(
    world: World, tmp_path: Path, after: int, late: bool
) -> None:
    case = await a_declined_case(world)
    archives = Archives(world.stack.books, world.stack.temporal, tmp_path)
    closed_at = (await world.row(case)).closed_at
    assert closed_at is not None
    half = await archives._retention() / 2
    page = ArchiveInput(now=closed_at + half + timedelta(microseconds=after), limit=1000)
    found = await ActivityEnvironment().run(archives.archive_histories, page)
    assert (case.id in found.late) is late
    async with world.stack.books.reading() as reading:
        topics = [notice.topic for notice in await reading.outbox_of_case(case.id)]
    assert ("case.archive_late" in topics) is late


async def test_a_history_that_temporal_has_no_more_is_said_to_be_lost(
    world: World, tmp_path: Path
) -> None:
    case = await a_declined_case(world)
    archives = Archives(world.stack.books, world.stack.temporal, tmp_path)

    async def elsewhere(case_id: str) -> list[str]:
        return ["00000000-0000-4000-8000-000000000000"]

    page = ArchiveInput(now=datetime.now(UTC), limit=1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ledger.reading.Reading.runs_of_case", lambda _, id: elsewhere(id))
        found = await ActivityEnvironment().run(archives.archive_histories, page)
    assert case.id in found.lost
    assert found.archived == 0


async def test_the_schedule_is_made_once_and_never_overlaps(world: World) -> None:
    schedule = world.stack.temporal.get_schedule_handle(SCHEDULE_ID)
    with suppress(RPCError):  # of a worker that an earlier test started, on a queue of its own
        await schedule.delete()
    for _ in range(2):
        await keep_archiving(world.stack.temporal, world.queue)
    described = (await schedule.describe()).schedule
    assert described.spec.intervals[0].every == EVERY
    assert described.policy.overlap is ScheduleOverlapPolicy.SKIP
    await schedule.trigger()
    async with asyncio.timeout(30):
        while not (done := (await schedule.describe()).info.recent_actions):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert isinstance(done[0].action, ScheduleActionExecutionStartWorkflow)
    sweep = world.stack.temporal.get_workflow_handle(
        done[0].action.workflow_id, result_type=ArchiveSummary
    )
    async with asyncio.timeout(60):
        assert (await sweep.result()).lost == 0
    await schedule.delete()


@pytest.mark.parametrize(
    ("workflow_id", "archived", "due"),
    [
        ("some-other-workflow", (), True),
        ("some-other-workflow", ("run-1",), False),
        ("refund-a", ("run-1",), True),
        ("refund-a", ("run-1", "run-2"), False),
    ],
)
async def test_only_runs_of_the_cases_own_workflow_are_due(
    fresh_books: Books, workflow_id: str, archived: tuple[str, ...], due: bool
) -> None:
    case = Refund(slots=())
    looked = case.event(EventKind.LOOKED, {"provider_status": "pending"}, 0, step="look")
    looked = looked.model_copy(update={"workflow_id": workflow_id, "run_id": "run-2"})
    async with fresh_books.transaction() as tx:
        await case.open_and_decide(tx)
        await tx.append_event(looked)
        await case.void(tx)
        for run_id in archived:
            await tx.record_archive(
                ArchiveRow(case_id=case.case_id, workflow_id=case.case_id, run_id=run_id,
                           file=f"{run_id}.json.gz", sha256="a" * 64, size_bytes=1, at=AT)
            )  # fmt: skip
    async with fresh_books.reading() as reading:
        found = [row.case_id for row in await reading.unarchived()]
        runs = await reading.runs_of_case(case.case_id)
    assert found == [case.case_id] * due
    assert runs == (["run-1", "run-2"] if workflow_id == case.case_id else ["run-1"])
