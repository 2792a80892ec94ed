"""Versions of one policy: when each is in force, and whose running cases it takes over."""

from __future__ import annotations

from pathlib import Path

import pytest

from decisions import Library, Pack, PolicyErrors, check
from tests.decisions.builders import SMALL, changed


def write(directory: Path, version: int, begins: str, head: str = "") -> None:
    text = changed("version: 1", f"version: {version}")
    text = changed("2026-01-01", begins, changed("owner:", f"{head}owner:", text))
    path = directory / "small" / f"v{version}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    directory = tmp_path / "policies"
    write(directory, 1, "2026-01-01")
    write(directory, 2, "2026-06-01")
    return directory


@pytest.mark.parametrize("day", ["2026-05-31", "2026-06-01"])
def test_a_version_that_does_not_begin_after_the_one_before_it_is_an_error(
    policies: Path, day: str
) -> None:
    write(policies, 3, day)
    [finding] = check(policies)
    assert (finding.file, finding.code) == ("policies/small/v3.yaml", "effective-overlap")
    assert str(finding).endswith(
        "v2 begins on 2026-06-01 already (allowed: effective_from after 2026-06-01)"
    )


def test_a_version_may_begin_the_day_after_the_one_before_it(policies: Path) -> None:
    write(policies, 3, "2026-06-02")
    assert check(policies) == []


def test_a_version_says_which_earlier_ones_give_it_their_running_cases(policies: Path) -> None:
    write(policies, 3, "2026-06-02", "repin: [2, 1]\n")
    library = Library.load(policies)
    assert [pack.repins for pack in library.versions("small")] == [(), (), (1, 2)]


def test_cases_do_not_move_from_a_version_that_is_not_there(policies: Path) -> None:
    (policies / "small/v1.yaml").unlink()
    write(policies, 3, "2026-06-02", "repin: [1, 2]\n")
    [finding] = check(policies)
    assert (finding.code, finding.message) == ("repin", "repin: there is no v1 of small")


@pytest.mark.parametrize(
    ("repin", "code"),
    [
        ("[2]", "out-of-range"), ("[0]", "out-of-range"), ("[1, 1]", "duplicate-value"),
        ("[one]", "wrong-type"), ("1", "wrong-type"), ("[]", "wrong-type"),
    ],
)  # fmt: skip
def test_only_earlier_versions_are_repinned_each_once(repin: str, code: str) -> None:
    text = changed("owner:", f"repin: {repin}\nowner:", changed("version: 1", "version: 2"))
    with pytest.raises(PolicyErrors) as caught:
        Pack.from_text(text)
    assert [f.code for f in caught.value.findings] == [code]


def test_a_repin_is_content() -> None:
    second = changed("version: 1", "version: 2", SMALL)
    moving = changed("owner:", "repin: [1]\nowner:", second)
    assert Pack.from_text(second).hash != Pack.from_text(moving).hash
    assert Pack.from_content(Pack.from_text(moving).content).repins == (1,)
