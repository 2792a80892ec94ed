"""docs/policies.md, followed from top to bottom: every file, change and command on it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from decisions import Pack
from domain.money import Money
from ledger.books import Books
from settings import ROOT
from tests.entrances.machine import environment

PAGE = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$|^<!-- (.*?) -->$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"`(policies/\S+\.yaml)`")
PRODUCT = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'starter.py'))}"
AT = datetime(2035, 2, 1, 12, tzinfo=UTC)
PAST = [(1000, 0), (2500, 0), (2900, 1), (2900, 2), (9000, 0)]
"""Fee in minor units and waivers given, of the page's five past cases."""


async def test_the_page_can_be_followed_as_it_stands(tmp_path: Path) -> None:
    kinds = []
    for match in BLOCK.finditer(PAGE):
        kind, text, remark = match.groups()
        kinds.append(kind)
        told = PAGE[: match.start()]
        if remark is not None:
            assert remark == "books: the five past cases"
            await keep_past_cases(tmp_path)
        elif kind == "yaml":
            (tmp_path / FILE.findall(told)[-1]).write_text(text, encoding="utf-8")
        elif kind == "diff":
            change(tmp_path / FILE.findall(told)[-1], text)
        else:
            assert kind == "console"
            follow(tmp_path, text)
    assert {"yaml", "diff", "console", None} == set(kinds)
    assert (tmp_path / "late-fee.html").read_text("utf-8").startswith("<!doctype html>")
    assert (tmp_path / "change.svg").read_text("utf-8").startswith("<svg")


def change(path: Path, text: str) -> None:
    """Replace each line that goes by the one that comes; each is there once."""
    lines = path.read_text("utf-8").splitlines()
    marks = text.splitlines()
    for old, new in zip(marks[::2], marks[1::2], strict=True):
        assert (old[0], new[0]) == ("-", "+"), text
        assert lines.count(old[1:]) == 1, f"{old[1:]} is not once in {path}"
        lines[lines.index(old[1:])] = new[1:]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def follow(folder: Path, text: str) -> None:
    """Type each command; what the page shows must be said, in this order, on whole lines."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, *shown = part.splitlines()
        command, _, code = line.partition("  # exit ")
        done = subprocess.run(
            ["bash", "-c", re.sub("^starter.py", PRODUCT, command)],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == int(code or 0), f"{line}\n{said}"
        rest = said_plainly(said)
        for expected in shown:
            _, found, rest = rest.partition(said_plainly(expected))
            assert found, f"{line}\nnot said, or not in this order: {expected}\n{said}"


def said_plainly(text: str) -> str:
    return " ".join(text.split())


async def keep_past_cases(folder: Path) -> None:
    """Write five decisions of version 1 into the books, as the engine does."""
    pack = Pack.load(folder / "policies" / "late-fee" / "v1.yaml")
    books = await Books.open(f"sqlite+aiosqlite:///{folder / 'var' / 'books.db'}")
    for number, (fee, waivers) in enumerate(PAST, start=1):
        facts = {"fee": Money(amount_minor=fee, currency="usd"), "waivers": waivers}
        async with books.transaction() as tx:
            await tx.keep_policy(pack.name, pack.version, pack.hash, pack.content)
            await tx.record_decision(
                case_id=f"fee-{number}",
                step="decide",
                decision=pack.decide(facts, AT),
                outcome={},
                at=AT,
            )
    await books.close()
