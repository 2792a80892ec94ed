"""Alembic's environment: runs on the connection that ``ledger.migrate`` hands over."""

from __future__ import annotations

from alembic import context

from ledger.migrate import VERSION_TABLE
from ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
