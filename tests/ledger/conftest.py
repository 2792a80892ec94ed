"""Books for tests: SQLite files copied from one migrated file, PostgreSQL databases anew."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.books import Books
from ledger.migrate import migrate
from tests.ledger.builders import Vandal
from tests.postgres import postgres_server


@dataclass(frozen=True)
class Place:
    """Where the books of a test are, for those who come with raw SQL or other roles."""

    url: str

    @property
    def vandal(self) -> Vandal:
        return Vandal(self.url)


@pytest.fixture(scope="session")
async def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("migrated") / "books.db"
    await migrate(f"sqlite+aiosqlite:///{file}")
    return file


_migrated_databases: list[str] = []


async def migrated_database() -> str:
    """The database that others are copied from; made when the first test wants PostgreSQL."""
    if not _migrated_databases:
        server = postgres_server()
        name = server.new_database()
        await migrate(server.url(name))
        _migrated_databases.append(name)
    return _migrated_databases[0]


@pytest.fixture
def sqlite_place(migrated_file: Path, tmp_path: Path) -> Place:
    shutil.copy(migrated_file, tmp_path / "books.db")
    return Place(f"sqlite+aiosqlite:///{tmp_path / 'books.db'}")


@pytest.fixture(params=["sqlite", "postgresql"])
async def place(request: pytest.FixtureRequest, migrated_file: Path, tmp_path: Path) -> Place:
    """Each test that asks for it runs on both databases."""
    if request.param == "sqlite":
        shutil.copy(migrated_file, tmp_path / "books.db")
        return Place(f"sqlite+aiosqlite:///{tmp_path / 'books.db'}")
    server = postgres_server()
    return Place(server.url(server.new_database(await migrated_database())))


@pytest.fixture
async def books(place: Place) -> AsyncIterator[Books]:
    opened = await Books.open(place.url)
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite_books(sqlite_place: Place) -> AsyncIterator[Books]:
    opened = await Books.open(sqlite_place.url)
    yield opened
    await opened.close()
