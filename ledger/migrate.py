"""Bring the books' schema to this code's newest revision.

The owner of the schema runs this. On PostgreSQL the engine itself works under another role,
which is granted what it needs and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from domain.errors import Unreachable
from ledger.engines import WRITES, engine_for, shown, sqlite_file, unreachable
from ledger.tables import APPEND_ONLY, MUTABLE, chain_head, customer_keys

VERSION_TABLE = "ledger_version"


def config_for(connection: Connection | None = None) -> Config:
    """Alembic's settings, held in code: no ini file is needed."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def newest_revision() -> str:
    head = ScriptDirectory.from_config(config_for()).get_current_head()
    if head is None:
        raise RuntimeError("ledger/migrations holds no revision")
    return head


def current_revision(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


async def migrate(url: str, *, app_role: str | None = None) -> str:
    """Create or upgrade the schema; safe to repeat. Returns the revision reached.

    ``app_role`` is the PostgreSQL role that the engine works under; it must exist, and its
    rights are set anew each time. SQLite has no roles: there the triggers stand alone.
    Raises ``Unreachable`` when the database does not answer or the role is missing.
    """
    file = sqlite_file(url)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    engine = engine_for(url)
    try:
        async with engine.connect() as connection:
            await connection.execution_options(**{WRITES: True})
            async with connection.begin():
                await connection.run_sync(_upgrade)
                if app_role is not None and file is None:
                    await connection.run_sync(_grant, app_role, shown(url))
    except (DBAPIError, OSError) as error:
        raise unreachable(url, error) from error
    finally:
        await engine.dispose()
    return newest_revision()


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # of two that migrate at once, the second waits and finds nothing left to do
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('redress ledger'))"))
    command.upgrade(config_for(connection), "head")


def _grant(connection: Connection, app_role: str, where: str) -> None:
    known = connection.execute(
        text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": app_role}
    ).first()
    if known is None:
        raise Unreachable(
            f"{where} has no role {app_role}: create it (CREATE ROLE {app_role} LOGIN …), "
            "then migrate again"
        )
    role = connection.dialect.identifier_preparer.quote(app_role)
    every = ", ".join(table.name for table in (*APPEND_ONLY, *MUTABLE))
    statements = [
        f"REVOKE ALL ON {every}, {VERSION_TABLE} FROM PUBLIC, {role}",
        f"GRANT SELECT ON {every}, {VERSION_TABLE} TO {role}",
        f"GRANT USAGE ON SEQUENCE outbox_id_seq TO {role}",
    ]
    statements += [f"GRANT INSERT ON {table.name} TO {role}" for table in APPEND_ONLY]
    for table in MUTABLE:
        if table is chain_head:  # one row, made by the migration
            rights = "UPDATE"
        elif table is customer_keys:  # a key is destroyed, its row remains
            rights = "INSERT, UPDATE"
        else:
            rights = "INSERT, UPDATE, DELETE"
        statements.append(f"GRANT {rights} ON {table.name} TO {role}")
    for statement in statements:
        connection.execute(text(statement))
