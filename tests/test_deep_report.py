"""The page of the deep run says what ran, where, and how it ended."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests import deep_report

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


def a_file(folder: Path, *, suite: str = "pytest", case: str = "") -> Path:
    """A JUnit file as pytest writes it, with one test in it; ``case`` is within the test."""
    file = folder / f"{suite}.xml"
    file.write_text(
        f"""<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests">
        <testsuite name="{suite}" tests="1"><testcase classname="tests.workflows.test_races"
        name="test_one_wins[2]" time="1.500">{case}</testcase></testsuite></testsuites>""",
        encoding="utf-8",
    )
    return file


def the_page(*files: Path) -> str:
    return deep_report.page(
        [test for file in files for test in deep_report.tests_of(file)], commit="abc", at=AT
    )


def test_each_room_is_told_with_the_database_that_it_ran_on(tmp_path: Path) -> None:
    text = the_page(a_file(tmp_path), a_file(tmp_path, suite="postgresql"))
    assert "2 tests, **all passed**" in text
    assert "| tests/workflows | sqlite | 1 | 0 | 0 | 2 |" in text
    assert "| tests/workflows | postgresql | 1 | 0 | 0 | 2 |" in text


@pytest.mark.parametrize("kind", ["failure", "error"])
def test_what_fails_on_one_database_is_named_with_it(tmp_path: Path, kind: str) -> None:
    broken = a_file(tmp_path, suite="postgresql", case=f'<{kind} message="no"/>')
    text = the_page(a_file(tmp_path), broken)
    assert "2 tests, **1 failed**" in text
    assert "- `test_races::test_one_wins[2]` on postgresql" in text
    assert "| tests/workflows | postgresql | 0 | 0 | 1 | 2 |" in text
    assert "| tests/workflows | sqlite | 1 | 0 | 0 | 2 |" in text


def test_a_seed_that_a_test_printed_stands_on_the_page_and_other_words_do_not(
    tmp_path: Path,
) -> None:
    said = "<system-out>----- Captured Out -----\nseed 7\n#x1B[2m WARN a log\nwon: 2</system-out>"
    quiet = a_file(tmp_path, case="<system-out>nothing of note</system-out>")
    text = the_page(quiet, a_file(tmp_path, suite="postgresql", case=said))
    assert "| `test_races::test_one_wins[2]` | postgresql | seed 7 · won: 2 |" in text
    assert "nothing of note" not in text
