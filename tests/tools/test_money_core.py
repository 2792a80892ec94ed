"""The money core's tests, tested: no branch is left out, and no small change goes unnoticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.money_core import MONEY_CORE, ROOT, Core, Tally, branches_missed
from tests.tools.mutants import mutants_of

SOURCE = """\
LIMITS = (1, 2)

class Till:
    @property
    def is_open(self):
        "Texts and docstrings stay."
        return self.at < 9 and self.name == "till"

def allowed(amount, limit: int = 3):
    for each in {amount, limit}:
        if not each:
            continue
        each = max(each, 5)
        note(each, by="me")
    return [each for each in [amount] if each > 0] or {"a": 1}
"""


def changes(where: str) -> list[str]:
    found = [m for m in mutants_of("till.py", SOURCE) if m.where == where]
    return [f"{m.before} -> {m.after}" + (f" #{m.number}" if m.number > 1 else "") for m in found]


def test_a_condition_is_moved_turned_and_taken_apart() -> None:
    whole = "self.at < 9 and self.name == 'till'"
    assert changes("Till.is_open") == [
        f"return {whole} -> return None",
        f"{whole} -> self.at < 9 or self.name == 'till'",
        f"{whole} -> self.name == 'till'",
        f"{whole} -> self.at < 9",
        "self.at < 9 -> self.at <= 9",
        "self.at < 9 -> self.at >= 9",
        "9 -> 10",
        "9 -> 8",
        "self.name == 'till' -> self.name != 'till'",
    ]


def test_statements_elements_and_named_arguments_are_left_out() -> None:
    found = changes("allowed")
    for expected in (
        "amount -> nothing",
        "not each -> each",
        "continue -> pass",
        "each = max(each, 5) -> pass",
        "max -> min",
        "note(each, by='me') -> pass",
        "by='me' -> nothing",
        "each > 0 -> each >= 0",
        "1 -> nothing",
    ):
        assert expected in found, found


def test_what_takes_effect_on_import_belongs_to_no_function() -> None:
    on_import = [m for m in mutants_of("till.py", SOURCE) if not m.first_line]
    assert {m.where for m in on_import} == {""}
    assert [m.line for m in on_import] == [1] * 6 + [9] * 2


def test_a_mutants_name_stays_when_lines_are_added_above_it() -> None:
    moved = [m.name for m in mutants_of("till.py", f"# more\n\n{SOURCE}")]
    assert moved == [m.name for m in mutants_of("till.py", SOURCE)]
    assert len(set(moved)) == len(moved)


@pytest.mark.parametrize(
    ("survivors", "explained", "complaint"),
    [
        (0, [], None),
        (1, [0], None),
        (1, [], "survived, unexplained"),
        (1, [0, 1], "explained, but is killed"),
        (1, [0, 99], "explained, but is no mutant any more"),
        (2, [0, 1], "at least 90 %"),
    ],
)
def test_a_survivor_is_explained_and_an_explanation_is_needed(
    survivors: int, explained: list[int], complaint: str | None
) -> None:
    mutants = list(mutants_of("till.py", SOURCE))[:10]
    names = [*(m.name for m in mutants), *["till.py gone"] * 90]
    tally = Tally("till.py", frozenset(names[:10]), tuple(mutants[:survivors]))
    found = tally.complaints({names[n]: "the same" for n in explained})
    assert (not found) if complaint is None else (len(found) == 1 and complaint in found[0])


@pytest.mark.deep
def test_every_branch_of_the_money_core_is_taken() -> None:
    branches, missed = branches_missed()
    print(f"{branches} branches of {len(MONEY_CORE)} modules, {len(missed)} not taken")
    assert not missed, "\n".join(missed)


@pytest.mark.deep
@pytest.mark.parametrize("core", MONEY_CORE, ids=lambda core: core.path)
def test_mutants_of_the_money_core_are_killed_or_explained(core: Core) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.tools.money_core", core.path],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    print(run.stdout)
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"


def test_the_money_core_is_where_it_is_said_to_be() -> None:
    for core in MONEY_CORE:
        assert (ROOT / core.path).is_file()
        assert all(Path(ROOT / test).is_file() for test in core.tests)
