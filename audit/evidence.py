"""What lies in the evidence store, held against the events that name it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from sqlalchemy import select

from audit.findings import Findings
from domain.cases import EventKind
from ledger import tables as t
from ledger.evidence import names_in
from ledger.reading import Reading


async def check_evidence(reading: Reading, folder: Path, found: Findings) -> int:
    """Every file that an event names lies below ``folder``; returns how many lie there that none
    names.

    Those are no finding: a file is kept before its case hears of it, so whoever lost the race for
    the last place, or for the case's end, leaves one. Nor is a file that is gone once its
    customer's key is destroyed: nobody could read it. The names of all files are in memory
    meanwhile. Whether a file was altered is told by its seal, when somebody opens it.
    """
    unnamed = await asyncio.to_thread(set, names_in(folder))
    lying = frozenset(unnamed)
    e = t.case_events.c
    added = (
        select(e.case_id, e.step, e.body)
        .where(e.kind == EventKind.EVIDENCE_ADDED.value)
        .order_by(e.case_id, e.ordinal)
    )
    async for row in reading.stream(added):
        file = json.loads(row["body"]).get("file")
        if not file:
            continue
        stored = str(file["stored"])
        unnamed.discard(stored)
        if stored not in lying and not await reading.is_destroyed(stored.partition("/")[0]):
            where = f"{row['case_id']}:{row['step']}"
            found.add("evidence", "case_events", where, f"its file {stored} is gone")
    return len(unnamed)
