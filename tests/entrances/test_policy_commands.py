"""`starter.py policy …` as typed: formats, exit codes, and errors that name what is allowed."""

from __future__ import annotations

from pathlib import Path

from settings import ROOT
from tests.decisions.builders import SMALL, changed
from tests.entrances.machine import command


def a_file(folder: Path, text: str = SMALL, name: str = "v1.yaml") -> str:
    path = folder / "policies" / "small" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_policy_is_shown_in_three_formats_and_as_json(tmp_path: Path) -> None:
    file = a_file(tmp_path)
    terminal = command(tmp_path, "policy", "show", file)
    assert "If tenure is at least 24" in " ".join(terminal.out.split())
    markdown = command(tmp_path, "policy", "show", file, "--format", "markdown")
    assert markdown.out.startswith("# Policy small, version 1\n")
    page = command(tmp_path, "policy", "show", file, "--format", "html", "--language", "ko")
    assert '<html lang="ko">' in page.out
    told = command(tmp_path, "policy", "show", file, "--json")
    assert (told.code, told.json["policy"], told.json["version"]) == (0, "small", 1)
    assert [row[0] for row in told.json["grids"][0]["rows"]] == ["LOYAL", "REST"]


def test_a_policy_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    a_file(tmp_path)
    for reference, allowed in (("smal", "small"), ("small@7", "small@1"), ("x.yaml", "file")):
        answer = command(tmp_path, "policy", "show", reference, "--policies", "policies", "--json")
        assert answer.code == 2
        assert answer.json["field"] == "policy"
        assert allowed in answer.json["allowed"]


def test_every_mistake_of_a_file_is_told_with_its_place_and_as_json(tmp_path: Path) -> None:
    broken = changed("tenure: {gte: 24}", "tenur: {gte: 24}", changed("answer: no", "answer: nope"))
    file = a_file(tmp_path, broken)
    told = command(tmp_path, "policy", "check", file)
    assert told.code == 2
    assert "policies/small/v1.yaml:18:40: " in told.err
    assert "policies/small/v1.yaml:19:62: " in told.err
    found = command(tmp_path, "policy", "check", file, "--json")
    assert (found.code, found.json["ok"], len(found.json["findings"])) == (2, False, 2)
    assert {each["nearest"] for each in found.json["findings"]} == {"tenure", "no"}


def test_a_calendar_that_knows_less_than_a_year_ahead_is_told_and_the_policy_loads(
    tmp_path: Path,
) -> None:
    calendar = """\
calendars:
  old:
    version: "7"
    zone: UTC
    weekend: [sat, sun]
    covers: {from: "2026-01-01", to: "2026-03-31"}
    holidays: []
rules:
"""
    file = a_file(tmp_path, changed("rules:\n", calendar))
    told = command(tmp_path, "policy", "check", file)
    assert told.code == 0
    assert "small v1: calendar old 7 knows holidays until 2026-03-31, less than" in told.err
    assert told.out.startswith("ok small v1")
    found = command(tmp_path, "policy", "check", file, "--json")
    assert (found.code, found.json["ok"], len(found.json["warnings"])) == (0, True, 1)
    fine = command(tmp_path, "policy", "check", a_file(tmp_path), "--json")
    assert fine.json["warnings"] == []


def test_a_difference_is_exit_code_1_and_none_is_0(tmp_path: Path) -> None:
    first = a_file(tmp_path)
    second = a_file(tmp_path, changed("gte: 24", "gte: 25").replace("tenure: 24", "tenure: 25"),
                    "other.yaml")  # fmt: skip
    answer = command(tmp_path, "policy", "diff", first, second, "--json")
    assert (answer.code, answer.json["equal"]) == (1, False)
    assert [each["rule"] for each in answer.json["rules"]] == ["LOYAL"]
    same = command(tmp_path, "policy", "diff", first, first, "--json")
    assert (same.code, same.json["equal"]) == (0, True)


def test_a_simulation_without_books_is_not_reachable(tmp_path: Path) -> None:
    file = str(ROOT / "policies" / "refund" / "v1.yaml")
    answer = command(tmp_path, "policy", "simulate", "--from", file, "--to", file)
    assert answer.code == 3
    assert "there are no books" in answer.err
