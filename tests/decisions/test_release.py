"""Releasing a version: what goes into the lock, who may, and from when it may be in force."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from decisions import Library, PolicyErrors, check
from decisions.lock import LOCK, read_lock, release
from domain.errors import InvalidRequest, Refused
from tests.decisions.builders import SMALL, changed

BEGINS = datetime(2026, 6, 1, tzinfo=UTC)
BEFORE = BEGINS - timedelta(microseconds=1)


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """Two versions of one policy: from January, and from June."""
    directory = tmp_path / "policies"
    (directory / "small").mkdir(parents=True)
    (directory / "small/v1.yaml").write_text(SMALL, "utf-8")
    later = changed("version: 1", "version: 2", SMALL)
    (directory / "small/v2.yaml").write_text(changed("2026-01-01", "2026-06-01", later), "utf-8")
    return directory


def released(directory: Path, version: int = 2, by: str = "lin", now: datetime = BEFORE) -> None:
    library = Library.load(directory)
    [pack] = [p for p in library.packs if p.version == version]
    release(library, directory, pack, by, now)


def test_a_release_is_recorded_with_its_hash_who_and_when(policies: Path) -> None:
    released(policies)
    lock = json.loads((policies / LOCK).read_text("utf-8"))
    [_, pack] = Library.load(policies).packs
    assert lock == {
        "small": {
            "2": {
                "hash": pack.hash,
                "released_at": "2026-05-31T23:59:59.999999Z",
                "released_by": "lin",
            }
        }
    }
    assert read_lock(policies) == ({"small": {"2": pack.hash}}, [])


def test_a_released_version_does_not_change_any_more(policies: Path) -> None:
    released(policies)
    path = policies / "small/v2.yaml"
    path.write_text(path.read_text("utf-8").replace("two years", "2 years"), "utf-8")
    assert [finding.code for finding in check(policies)] == ["released-changed"]


def test_a_lock_of_hashes_alone_is_read_and_added_to(policies: Path) -> None:
    first, second = Library.load(policies).packs
    (policies / LOCK).write_text(json.dumps({"small": {"1": first.hash}}), "utf-8")
    assert check(policies) == []
    released(policies)
    lock = json.loads((policies / LOCK).read_text("utf-8"))
    assert lock["small"]["1"] == first.hash
    assert read_lock(policies)[0] == {"small": {"1": first.hash, "2": second.hash}}


@contextmanager
def files_end_after(size: int) -> Iterator[None]:
    """The system takes ``size`` bytes of any file and no more, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_release_that_fails_half_way_leaves_the_old_lock_whole(policies: Path) -> None:
    first, _ = Library.load(policies).packs
    (policies / LOCK).write_text(json.dumps({"small": {"1": first.hash}}), "utf-8")
    before = (policies / LOCK).read_bytes()
    library = Library.load(policies)
    with files_end_after(20), pytest.raises(OSError, match="File too large"):
        release(library, policies, library.packs[1], "lin", BEFORE)
    assert (policies / LOCK).read_bytes() == before
    assert sorted(path.name for path in policies.iterdir()) == [LOCK, "small"]
    released(policies)
    assert set(read_lock(policies)[0]["small"]) == {"1", "2"}


def refusal(directory: Path, **asked: object) -> Refused:
    before = (directory / LOCK).read_bytes() if (directory / LOCK).exists() else None
    with pytest.raises(Refused) as caught:
        released(directory, **asked)  # type: ignore[arg-type]
    after = (directory / LOCK).read_bytes() if (directory / LOCK).exists() else None
    assert after == before
    return caught.value


def test_a_version_is_released_once(policies: Path) -> None:
    released(policies)
    again = refusal(policies)
    assert again.code == "released"
    assert "write v3.yaml" in again.message


@pytest.mark.parametrize("now", [BEGINS, BEGINS + timedelta(microseconds=1)])
def test_a_version_whose_day_has_begun_is_not_released(policies: Path, now: datetime) -> None:
    found = refusal(policies, now=now)
    assert found.code == "in_the_past"
    assert "2026-06-01" in found.message


def test_a_version_is_in_force_after_every_version_before_it(policies: Path) -> None:
    text = (policies / "small/v2.yaml").read_text("utf-8").replace("version: 2", "version: 3")
    third = policies / "small/v3.yaml"
    for day in ("2026-05-31", "2026-06-01"):
        third.write_text(text.replace("2026-06-01", day), "utf-8")
        with pytest.raises(PolicyErrors):
            released(policies, 3)
    third.write_text(text.replace("2026-06-01", "2026-06-02"), "utf-8")
    released(policies, 3)
    assert set(read_lock(policies)[0]["small"]) == {"3"}


def test_what_one_writes_another_releases(policies: Path) -> None:
    assert refusal(policies, by="tests").code == "own_policy"
    with pytest.raises(InvalidRequest, match="who releases it"):
        released(policies, by=" ")


def test_nothing_is_released_while_a_file_has_a_mistake(policies: Path) -> None:
    (policies / "small/v3.yaml").write_text("format: 1\n", "utf-8")
    with pytest.raises(PolicyErrors):
        released(policies)
    assert not (policies / LOCK).exists()


@pytest.mark.parametrize("text", ["[]", "{", '{"small": []}', '{"small": {"1": {"by": "lin"}}}'])
def test_a_lock_of_another_shape_is_a_finding(policies: Path, text: str) -> None:
    (policies / LOCK).write_text(text, "utf-8")
    assert [finding.code for finding in check(policies)] == ["lock"]
