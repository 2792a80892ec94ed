"""The books as files that finance opens: one CSV per table, and a manifest that proves them.

All files are of one snapshot. They appear together or not at all: they are written beside
the target and renamed at the end. Personal text leaves sealed, as it is stored.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Select, select

from domain.errors import InvalidRequest
from ledger import tables as t
from ledger.books import Books
from ledger.chain import Head
from ledger.reading import Reading, events_with_links
from ledger.records import Balance, CaseTotal

Progress = Callable[[str, int], None]
"""Told the file's name and the rows written so far, now and then."""

PROGRESS_EVERY = 1000

MANIFEST = "manifest.json"

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class ExportedFile(BaseModel):
    """``sha256`` (hex) over the file's bytes; ``rows`` without the heading."""

    model_config = ConfigDict(frozen=True)

    name: str
    rows: int
    sha256: str


class Manifest(BaseModel):
    """``balances`` are the sums of ``ledger.csv`` by account and currency, ``cases`` those of
    ``cases.csv``; all in minor units. ``head`` anchors the chain: give it to the verifier."""

    model_config = ConfigDict(frozen=True)

    books: str
    note: str = (
        "Amounts are minor units (ISO 4217), instants UTC. Text that a spreadsheet would take "
        "for a formula has an apostrophe before it."
    )
    files: tuple[ExportedFile, ...]
    balances: tuple[Balance, ...]
    cases: tuple[CaseTotal, ...]
    head: Head


async def export(books: Books, out: Path, *, progress: Progress | None = None) -> Manifest:
    """Write all files into ``out``, a new or empty directory.

    Raises ``InvalidRequest`` (field ``out``) when it holds anything: no export is overwritten.
    """
    partial = _begin(out)
    try:
        async with books.reading() as reading:
            files = [
                await _write(reading, partial / name, statement, progress)
                for name, statement in _statements().items()
            ]
            manifest = Manifest(
                books=str(books),
                files=tuple(files),
                balances=tuple(await reading.trial_balance()),
                cases=tuple(await reading.totals()),
                head=await reading.head(),
            )
        _finish(partial, out, manifest)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return manifest


def _statements() -> dict[str, Select[Any]]:
    tx, entry = t.ledger_transactions, t.ledger_entries.c
    events = t.case_events.c
    return {
        "cases.csv": select(t.cases).order_by(t.cases.c.case_id),
        "events.csv": events_with_links().order_by(events.case_id, events.ordinal),
        # one line per entry: what a pivot table wants
        "ledger.csv": select(tx, entry.ordinal, entry.account, entry.amount_minor, entry.currency)
        .join_from(tx, t.ledger_entries, entry.transaction_id == tx.c.id)
        .order_by(tx.c.id, entry.ordinal),
        "approvals.csv": select(t.approvals).order_by(t.approvals.c.id),
        "refused_attempts.csv": select(t.refused_attempts).order_by(
            t.refused_attempts.c.at, t.refused_attempts.c.id
        ),
        "decisions.csv": select(t.decisions).order_by(t.decisions.c.id),
    }


async def _write(
    reading: Reading, path: Path, statement: Select[Any], progress: Progress | None
) -> ExportedFile:
    with _CsvFile(path, [column.name for column in statement.selected_columns]) as file:
        async for row in reading.stream(statement):
            file.write(row)
            if progress is not None and file.rows % PROGRESS_EVERY == 0:
                progress(path.name, file.rows)
        if progress is not None:
            progress(path.name, file.rows)
    return ExportedFile(name=path.name, rows=file.rows, sha256=file.sha256)


class _CsvFile:
    """A CSV file (RFC 4180, UTF-8) that knows its hash when it is closed."""

    def __init__(self, path: Path, columns: list[str]) -> None:
        self.rows = 0
        self._columns = columns
        self._digest = hashlib.sha256()
        self._file = path.open("wb")
        self._line = io.StringIO(newline="")
        self._writer = csv.writer(self._line)
        self._put(columns)

    def __enter__(self) -> _CsvFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, row: Mapping[str, Any]) -> None:
        self._put(_cell(row[name]) for name in self._columns)
        self.rows += 1

    def _put(self, cells: Iterable[Any]) -> None:
        self._writer.writerow(cells)
        encoded = self._line.getvalue().encode()
        self._line.seek(0)
        self._line.truncate()
        self._digest.update(encoded)
        self._file.write(encoded)


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value


def _begin(out: Path) -> Path:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidRequest("out", f"{out} is not empty", "a new or empty directory")
    out.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{out.name}-partial-", dir=out.parent))


def _finish(partial: Path, out: Path, manifest: Manifest) -> None:
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False)
    with (partial / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.rename(out)  # onto an empty directory or nothing, in one step
