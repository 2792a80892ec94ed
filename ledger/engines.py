"""Connections to the books: one place that knows SQLite from PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from domain.errors import Unreachable
from ledger.near import BEGIN_TO_WRITE, NearConnection

WRITES = "redress_writes"
"""Execution option of a connection that will write: SQLite then locks at once."""

CONNECTIONS = 30
"""Kept open by a process that needs so many at once; making one costs more than a case's reads."""

BUSY_TIMEOUT_MS = 30_000

SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # a hold must be on disk before the provider is called
    "PRAGMA foreign_keys=ON",
    "PRAGMA recursive_triggers=ON",  # INSERT OR REPLACE walks past the triggers otherwise
    "PRAGMA secure_delete=ON",  # a destroyed key is overwritten, not just unlinked
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
)

# a writer that hangs or dies must not hold the chain's head for ever
POSTGRESQL_OPTIONS = (
    "-c lock_timeout=30s -c idle_in_transaction_session_timeout=60s -c timezone=UTC"
)


def engine_for(url: str) -> AsyncEngine:
    """An engine for ``sqlite+aiosqlite:///path`` or ``postgresql+psycopg://…``.

    Raises ``Unreachable`` when the address is of another kind.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_async_engine(
            parsed,
            pool_size=CONNECTIONS,
            connect_args={"async_creator_fn": NearConnection},
        )
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    engine = create_async_engine(
        parsed,
        pool_size=CONNECTIONS,
        pool_pre_ping=True,
        # every statement sees what was committed before it: after a lock, the newest rows
        isolation_level="READ COMMITTED",
        connect_args={"options": POSTGRESQL_OPTIONS},
    )
    event.listen(engine.sync_engine, "checkin", _obey_the_server)
    return engine


def parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise Unreachable(
            "the address of the books is not a database address; "
            "write sqlite+aiosqlite:///path or postgresql+psycopg://…"
        ) from error
    if parsed.drivername not in ("sqlite+aiosqlite", "postgresql+psycopg"):
        raise Unreachable(
            f"the books cannot be kept by {parsed.drivername}; "
            "write sqlite+aiosqlite:///path or postgresql+psycopg://…"
        )
    if parsed.get_backend_name() == "sqlite" and not parsed.database:
        raise Unreachable("the books need a file: write sqlite+aiosqlite:///path")
    return parsed


def shown(url: str) -> str:
    """The address without its password, for messages."""
    return parse_url(url).render_as_string(hide_password=True)


def sqlite_file(url: str) -> Path | None:
    """The file of SQLite books; None for PostgreSQL."""
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    return Path(parsed.database or "")


def unreachable(url: str, error: Exception) -> Unreachable:
    return Unreachable(f"the books at {shown(url)} do not answer: {_first_line(error)}")


def why_unavailable(error: Exception) -> str:
    """What the database said that is gone, busy, full or read-only; empty when the error is
    none of the database's, or says that a statement of ours was wrong."""
    is_outage = isinstance(error, InterfaceError | InternalError | OperationalError)
    return _first_line(error) if is_outage else ""


def _first_line(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else "no answer"


def _obey_the_server(connection: Any, record: object) -> None:
    # after a reading, SQLAlchemy leaves the driver asking for READ WRITE: a server that was made
    # read-only (its disk is full, it is being moved) would be written to all the same
    if connection is not None:
        connection.set_read_only(None)


def _prepare_sqlite(connection: Any, record: object) -> None:
    # transactions begin and end where SQLAlchemy says, not where the driver guesses
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql(BEGIN_TO_WRITE if writes else "BEGIN")
