"""The database refuses changes to the record; the engine's role may do what it must, no more."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from audit.rebuild import compare_projection
from audit.verify import verify
from domain.cases import EventKind, Outcome
from domain.errors import Unreachable
from ledger.books import Books
from ledger.engines import engine_for
from ledger.migrate import VERSION_TABLE, migrate, newest_revision
from ledger.tables import APPEND_ONLY, metadata
from tests.ledger.builders import AT, Refund, numbered, refused_attempt
from tests.ledger.conftest import Place
from tests.postgres import postgres_server

REFUSED = (sqlite3.IntegrityError, psycopg.Error)
APP_ROLE = "redress_app"
SECOND_REVISION = (
    "channel", "first_response_due", "first_responded_at", "appeal_of", "alternative_to",
)  # fmt: skip
"""Columns of ``cases`` that the first revision did not have."""


async def filled(books: Books) -> None:
    await Refund().refunded(books)
    async with books.transaction() as tx:
        await tx.record_refused_attempt(refused_attempt())


@pytest.mark.parametrize("table", [table.name for table in APPEND_ONLY if table.name != "archives"])
async def test_the_record_refuses_update_delete_and_replace(
    table: str, sqlite_place: Place, sqlite_books: Books
) -> None:
    await filled(sqlite_books)
    vandal = sqlite_place.vandal
    key = "seq" if table == "chain_links" else "rowid"
    for statement in (
        f"UPDATE {table} SET {key} = {key}",
        f"DELETE FROM {table}",
        f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            vandal.attempt(statement)
    assert (await verify(sqlite_books)).is_clean


async def test_the_record_refuses_the_owner_too_on_postgresql() -> None:
    server = postgres_server()
    place = Place(server.url(server.new_database()))
    await migrate(place.url)
    books = await Books.open(place.url)
    try:
        await filled(books)
        for table in APPEND_ONLY:
            for statement in (
                f"UPDATE {table.name} SET {table.columns.keys()[0]} = NULL",
                f"DELETE FROM {table.name}",
                f"TRUNCATE {table.name} CASCADE",
                f"SET session_replication_role = replica; DELETE FROM {table.name}",
            ):
                with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                    place.vandal.attempt(statement)
        assert (await verify(books)).is_clean
    finally:
        await books.close()


async def test_the_app_role_writes_the_books_and_nothing_else() -> None:
    server = postgres_server()
    server.new_role(APP_ROLE)
    database = server.new_database()
    for _ in range(2):  # rights are set anew each time
        await migrate(server.url(database), app_role=APP_ROLE)
    url = server.url(database, user=APP_ROLE)
    books = await Books.open(url)
    try:
        await filled(books)
        assert (await verify(books)).is_clean
    finally:
        await books.close()
    vandal = Place(url).vandal
    refused = [
        "ALTER TABLE case_events DISABLE TRIGGER ALL",
        "DROP TRIGGER case_events_refuses_change ON case_events",
        "ALTER TABLE case_events ADD COLUMN note text",
        "DROP TABLE cases",
        "CREATE TABLE mine (id int)",
        "SET session_replication_role = replica",
        "DELETE FROM chain_head",
        "INSERT INTO chain_head VALUES (2, 0, '')",
        "TRUNCATE cases",
        "DELETE FROM customer_keys",
        "UPDATE ledger_version SET version_num = '0000'",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN RETURN NULL; END'",
    ]
    for table in APPEND_ONLY:
        column = table.columns.keys()[0]
        refused += [
            f"UPDATE {table.name} SET {column} = {column}",
            f"DELETE FROM {table.name}",
            f"TRUNCATE {table.name} CASCADE",
        ]
    for statement in refused:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            vandal.attempt(statement)


async def test_a_missing_app_role_is_named_with_its_remedy() -> None:
    server = postgres_server()
    with pytest.raises(Unreachable, match="CREATE ROLE nobody_here"):
        await migrate(server.url(server.new_database()), app_role="nobody_here")


async def test_every_sqlite_connection_has_the_pragmas_the_books_rely_on(
    sqlite_place: Place,
) -> None:
    engine = engine_for(sqlite_place.url)
    wanted = {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "recursive_triggers": 1,
        "secure_delete": 1,
    }
    async with engine.connect() as connection:
        for name, value in wanted.items():
            found = await connection.exec_driver_sql(f"PRAGMA {name}")
            assert found.scalar_one() == value
    await engine.dispose()


async def test_the_migrations_make_the_tables_of_the_code(place: Place) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"version_table": VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata))

    assert await migrate(place.url) == newest_revision()
    engine = engine_for(place.url)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_books_of_the_first_revision_are_brought_up_and_are_the_fold_of_their_events(
    place: Place,
) -> None:
    books = await Books.open(place.url)
    done, refused, withdrawn, waiting, came_back = numbered(5)
    await done.refunded(books)
    await came_back.refunded(books)
    async with books.transaction() as tx:
        body = {"case_id": "exception-x", "why": "refund_failed_late"}
        await tx.append_event(came_back.event(EventKind.LINKED, body, 9, step="link:exception-x"))
    for case, outcome in ((refused, Outcome.DECLINED), (withdrawn, Outcome.WITHDRAWN)):
        async with books.transaction() as tx:
            await case.open_and_decide(tx)
            await case.void(tx, outcome)
    async with books.transaction() as tx:
        await waiting.open_and_decide(tx)
    async with books.reading() as reading:
        before = await reading.cases()
    await books.close()
    place.vandal.attempt(
        *(f"ALTER TABLE cases DROP COLUMN {name}" for name in SECOND_REVISION),
        f"UPDATE {VERSION_TABLE} SET version_num = '0001'",
    )
    with pytest.raises(Unreachable, match="are at revision 0001"):
        await Books.open(place.url)
    assert await migrate(place.url) == newest_revision()
    books = await Books.open(place.url)
    async with books.reading() as reading:
        assert await reading.cases() == before
    answered = [case.first_responded_at for case in before]
    assert sorted(at for at in answered if at) == [
        AT + timedelta(days=2), AT + timedelta(days=2), AT + timedelta(days=3),
    ]  # fmt: skip
    async with books.reading() as reading:
        states = {
            case.case_id: {
                each.state.value for each in await reading.reservations_of_case(case.case_id)
            }
            for case in (done, came_back)
        }
    assert states == {done.case_id: {"posted"}, came_back.case_id: {"released"}}
    assert await compare_projection(books) == []
    assert (await verify(books)).is_clean
    await books.close()


async def test_two_who_migrate_at_once_both_succeed(tmp_path: Path) -> None:
    server = postgres_server()
    for url in (server.url(server.new_database()), f"sqlite+aiosqlite:///{tmp_path / 'b.db'}"):
        reached = await asyncio.gather(migrate(url), migrate(url))
        assert set(reached) == {newest_revision()}


async def test_books_that_are_not_migrated_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"no books at .*migrate first"):
        await Books.open(f"sqlite+aiosqlite:///{tmp_path / 'none.db'}")
    sqlite3.connect(tmp_path / "empty.db").close()
    (tmp_path / "empty.db").touch()
    with pytest.raises(Unreachable, match=r"revision none, this code needs \d+: migrate them"):
        await Books.open(f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}")
    server = postgres_server()
    with pytest.raises(Unreachable, match="revision none"):
        await Books.open(server.url(server.new_database()))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql+psycopg://me:secret@127.0.0.1:1/books", "do not answer"),
        ("mysql://x/y", "cannot be kept by mysql"),
        ("not an address", "not a database address"),
        ("sqlite+aiosqlite://", "need a file"),
    ],
)
async def test_unreachable_books_are_named_without_their_password(url: str, sentence: str) -> None:
    with pytest.raises(Unreachable, match=sentence) as unreachable:
        await Books.open(url)
    assert "secret" not in str(unreachable.value)
    with pytest.raises(Unreachable, match=sentence):
        await migrate(url)


async def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database at all, but long enough to be read as one")
    with pytest.raises(Unreachable, match="not a database"):
        await Books.open(f"sqlite+aiosqlite:///{tmp_path / 'text.db'}")


async def test_one_open_case_per_thing_holds_against_raw_sql_too(place: Place) -> None:
    books = await Books.open(place.url)
    try:
        await Refund(business_key="charge:ch_1").settling(books)
        async with books.reading() as reading:
            columns = ", ".join(
                "'refund-b'" if c == "case_id" else c
                for c in list(metadata.tables["cases"].columns.keys())
            )
            assert await reading.case("refund-a") is not None
        copy = f"INSERT INTO cases SELECT {columns} FROM cases"
        with pytest.raises((*REFUSED, DBAPIError)):
            place.vandal.attempt(copy)
    finally:
        await books.close()
