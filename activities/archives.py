"""Histories of ended cases, kept beside the books before Temporal forgets them.

A history is written as Temporal has it: its payloads stay sealed under the customer's key, so
that a destroyed key makes the file unreadable too. The row that names a file and its SHA-256
is in the chain. A case's rows are written together, after its files are on disk: a file without
a row is written anew, and a row always has its file.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.contract import ARCHIVE_HISTORIES, ArchiveActivities
from activities.records import FINANCE_NOTICE, notify
from domain.archives import ArchiveInput, ArchivePage
from files import make_folder, write_whole
from ledger.books import Books
from ledger.projection import CaseRow
from ledger.records import ArchiveRow

log = structlog.get_logger()

LAST_EVENTS = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
    }
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a case's runs: newly archived, gone from Temporal, not at their end yet."""

    archived: int
    lost: int
    running: int


class Archives(ArchiveActivities):
    """Writes below ``folder``, a file a run: ``2026/11/CASE.RUN.json.gz``."""

    def __init__(self, books: Books, temporal: Client, folder: Path) -> None:
        self._books = books
        self._temporal = temporal
        self._folder = folder

    @activity.defn(name=ARCHIVE_HISTORIES)
    async def archive_histories(self, page: ArchiveInput) -> ArchivePage:
        async with self._books.reading() as reading:
            cases = await reading.unarchived(after=page.after, limit=page.limit)
        half = await self._retention() / 2
        archived, late, lost = 0, [], []
        for case in cases:
            kept = await self._archive(case, page)
            archived += kept.archived
            if kept.lost:
                lost.append(case.case_id)
            if case.closed_at is not None and page.now - case.closed_at > half:
                late.append(case.case_id)
                await self._alarm(case, page, is_kept=not (kept.lost or kept.running))
        return ArchivePage(
            archived=archived,
            late=tuple(late),
            lost=tuple(lost),
            next_after=cases[-1].case_id if len(cases) == page.limit else None,
        )

    async def _retention(self) -> timedelta:
        asked = DescribeNamespaceRequest(namespace=self._temporal.namespace)
        found = await self._temporal.workflow_service.describe_namespace(asked)
        return found.config.workflow_execution_retention_ttl.ToTimedelta()

    async def _archive(self, case: CaseRow, page: ArchiveInput) -> Kept:
        async with self._books.reading() as reading:
            runs = await reading.runs_of_case(case.case_id)
            archived = {row.run_id for row in await reading.archives(case.case_id)}
        rows, lost, running = [], 0, 0
        for run_id in runs:
            if run_id in archived:
                continue
            handle = self._temporal.get_workflow_handle(case.case_id, run_id=run_id)
            try:
                history = await handle.fetch_history()
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                lost += 1
                continue
            # the books close a case a moment before its workflow ends: the next sweep takes it
            if history.events[-1].event_type not in LAST_EVENTS:
                running += 1
                continue
            rows.append(await asyncio.to_thread(self._write, case, run_id, history.to_json(), page))
        async with self._books.transaction() as tx:
            for row in rows:
                await tx.record_archive(row)
        return Kept(archived=len(rows), lost=lost, running=running)

    def _write(self, case: CaseRow, run_id: str, text: str, page: ArchiveInput) -> ArchiveRow:
        assert case.closed_at is not None
        name = f"{case.closed_at:%Y/%m}/{case.case_id}.{run_id}.json.gz"
        # without an instant inside, the same history is the same file
        packed = gzip.compress(text.encode(), mtime=0)
        path = self._folder / name
        make_folder(path.parent)
        write_whole(path, packed)
        return ArchiveRow(
            case_id=case.case_id,
            workflow_id=case.case_id,
            run_id=run_id,
            file=name,
            sha256=hashlib.sha256(packed).hexdigest(),
            size_bytes=len(packed),
            at=page.now,
        )

    async def _alarm(self, case: CaseRow, page: ArchiveInput, *, is_kept: bool) -> None:
        """Half of the retention is over: finance hears of it, once a case."""
        log.error("archive_late", case_id=case.case_id, kept=is_kept)
        body = {"closed_at": case.closed_at, "archived": is_kept}
        async with self._books.transaction() as tx:
            await notify(tx, case, "case.archive_late", page.now, body, to=FINANCE_NOTICE)
