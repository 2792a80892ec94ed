"""docs/deep-report.md from a whole run's JUnit files: ``python -m tests.deep_report FILE …``.

The page says what ran, of which commit, and how it ended; nothing is left out.
"""

from __future__ import annotations

import os
import platform
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from simulation.run import commit_of

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "deep-report.md"
LONGEST_SAID = 300
NOT_SAID = ("-----", "#x1B[")
"""How lines begin that no test printed: the runner's headings, and a library's coloured log."""
FIGURES = ("seed", "branches", "mutants")
"""What a test prints is kept when it has one of these words."""

DATABASES = ("sqlite", "postgresql")
"""Where tests of whole cases keep their books; a run's file names the second as its suite."""


@dataclass
class Room:
    """The tests of one folder on one database. ``seconds`` are of wall time."""

    passed: int = 0
    skipped: int = 0
    seconds: float = 0
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ran:
    """A test as the file has it; ``said`` is what it printed (seeds and counts among it)."""

    room: str
    database: str
    name: str
    seconds: float
    outcome: str
    said: str


def tests_of(file: Path) -> list[Ran]:
    """Every test of a JUnit file. Raises ``OSError`` and ``ElementTree.ParseError``."""
    return [
        test
        for suite in ElementTree.parse(file).iter("testsuite")
        for test in _tests_in(suite, suite.get("name", ""))
    ]


def _tests_in(suite: ElementTree.Element, name: str) -> Iterator[Ran]:
    for case in suite.iter("testcase"):
        parts = case.get("classname", "").split(".")
        failed = case.find("failure") is not None or case.find("error") is not None
        outcome = (
            "failed" if failed else "skipped" if case.find("skipped") is not None else "passed"
        )
        yield Ran(
            room="/".join(parts[:2]) if len(parts) > 2 else parts[0],
            database=name if name in DATABASES else DATABASES[0],
            name=f"{parts[-1]}::{case.get('name', '')}",
            seconds=float(case.get("time", "0")),
            outcome=outcome,
            said=(case.findtext("system-out") or "").strip(),
        )


def page(tests: list[Ran], *, commit: str, at: datetime) -> str:
    """The report in Markdown."""
    rooms: defaultdict[tuple[str, str], Room] = defaultdict(Room)
    for test in tests:
        room = rooms[test.room, test.database]
        room.seconds += test.seconds
        room.passed += test.outcome == "passed"
        room.skipped += test.outcome == "skipped"
        if test.outcome == "failed":
            room.failed.append(f"`{test.name}` on {test.database}")
    failed = [name for room in rooms.values() for name in room.failed]
    verdict = f"**{len(failed)} failed**" if failed else "**all passed**"
    lines = [
        "# The deep run",
        "",
        f"Every test, the long matrices included (`make test-deep`): {len(tests):,} tests, "
        f"{verdict}.",
        "",
        f"- {at:%Y-%m-%d %H:%M} UTC, commit {commit or 'unknown'}",
        f"- {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{sum(test.seconds for test in tests) / 60:.0f} minutes of tests, two at a time",
        "",
        "Database: where whole cases keep their books. A test with a database in its own name is "
        "on that one in either run.",
        "",
        "| room | database | passed | skipped | failed | seconds |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {database} | {room.passed:,} | {room.skipped} | {len(room.failed)} | "
            f"{room.seconds:.0f} |"
            for (name, database), room in sorted(rooms.items())
        ),
        "",
    ]
    if failed:
        lines += ["Failed:", "", *(f"- {name}" for name in failed), ""]
    spoken = [test for test in tests if any(word in test.said for word in FIGURES)]
    if spoken:
        lines += [
            "## Seeds and counts, as the tests print them",
            "",
            "| test | database | said |",
            "|---|---|---|",
            *(f"| `{test.name}` | {test.database} | {_cell(test.said)} |" for test in spoken),
            "",
        ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    text = "\n".join(line for line in text.splitlines() if not line.startswith(NOT_SAID))
    shown = text if len(text) <= LONGEST_SAID else f"{text[:LONGEST_SAID]} …"
    return " · ".join(shown.replace("|", "\\|").splitlines())


def main(files: Sequence[str]) -> int:
    tests = [test for file in files for test in tests_of(Path(file))]
    text = page(tests, commit=commit_of(ROOT), at=datetime.now(UTC))
    PAGE.write_text(text, encoding="utf-8")
    print(f"· {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
