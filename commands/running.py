"""How every command runs to its exit code, how its errors are told, and what it works on."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from domain.errors import InvalidRequest, RedressError, Refused, Unreachable
from rendering import err

if TYPE_CHECKING:
    from client import Client
    from ledger.books import Books
    from ledger.reading import Reading

DONE, REFUSED, WRONG_USE, NOT_REACHABLE = 0, 1, 2, 3


def run(work: Coroutine[Any, Any, int]) -> None:
    """Run a command to its exit code; the one place where errors become codes."""
    try:
        code = asyncio.run(work)
    except InvalidRequest as error:
        code = fail(WRONG_USE, "wrong input", str(error), field=error.field, allowed=error.allowed)
    except Refused as error:
        code = fail(REFUSED, "refused", error.message, why=error.code)
    except Unreachable as error:
        code = fail(NOT_REACHABLE, "not reachable", f"{error}{_hint()}")
    except RedressError as error:
        from decisions.findings import PolicyErrors

        if isinstance(error, PolicyErrors):
            code = fail(WRONG_USE, "policy", str(error))
        else:
            code = fail(REFUSED, "error", str(error))
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = 130
    except Exception as error:
        if why := _of_the_database(error):
            code = fail(NOT_REACHABLE, "not reachable", why)
        elif isinstance(error, OSError) and isinstance(error.filename, str | Path):
            code = fail(WRONG_USE, "file", f"{error.filename}: {error.strerror}")
        else:
            raise
    # temporalio may abort at interpreter exit with calls pending, which spoils the code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _of_the_database(error: Exception) -> str:
    """What a database says that was reached and then failed, in words; empty for a bug."""
    from ledger.engines import why_unavailable

    why = why_unavailable(error)
    return why and f"the database of the books: {why}; ask again when it is back"


def _hint() -> str:
    """Where no settings lead elsewhere, the remedy is a machine of one's own."""
    from settings import DEV_FILE, VAR, settings_file

    elsewhere = [name for name in os.environ if name.startswith("REDRESS_") and name != VAR]
    if elsewhere or settings_file().name != DEV_FILE:
        return ""
    return "\n`starter.py dev` starts everything on this machine"


def fail(code: int, kind: str, message: str, **details: str) -> int:
    if "--json" in sys.argv:
        print(json.dumps({"error": kind, "message": message, **details}, ensure_ascii=False))
    else:
        err.print(f"[bold red]{kind}:[/] {escape(message)}", highlight=False, soft_wrap=True)
    return code


@asynccontextmanager
async def opened_books() -> AsyncIterator[Books]:
    """The books that the settings name. Raises ``Unreachable`` when there are none."""
    from ledger.books import Books
    from settings import load

    books = await Books.open(load().database_url)
    try:
        yield books
    finally:
        await books.close()


async def with_books(work: Callable[[Reading], Awaitable[int]]) -> int:
    async with opened_books() as books, books.reading() as reading:
        return await work(reading)


async def with_client(work: Callable[[Client], Awaitable[int]]) -> int:
    from client import Client

    async with Client.connect() as client:
        return await work(client)
