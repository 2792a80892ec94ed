"""How every command runs to its exit code, and how its errors are told."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from typing import Annotated, Any

import typer
from rich.markup import escape

from decisions.findings import PolicyErrors
from domain.errors import InvalidRequest, RedressError, Refused, Unreachable
from rendering import err
from settings import DEV_FILE, VAR, settings_file

DONE, REFUSED, WRONG_USE, NOT_REACHABLE = 0, 1, 2, 3

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


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
    except PolicyErrors as error:
        code = fail(WRONG_USE, "policy", str(error))
    except RedressError as error:
        code = fail(REFUSED, "error", str(error))
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = 130
    # temporalio may abort at interpreter exit with calls pending, which spoils the code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _hint() -> str:
    """Where no settings lead elsewhere, the remedy is a machine of one's own."""
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
