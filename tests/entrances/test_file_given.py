"""A file that somebody names on the command line: read no further than a case takes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from commands.people import content_of
from domain.errors import InvalidRequest
from domain.evidence import EvidenceLimits

LIMITS = EvidenceLimits(file_bytes=100)


@pytest.mark.parametrize("size", [0, 99, 100])
def test_a_file_up_to_the_limit_is_read(tmp_path: Path, size: int) -> None:
    (tmp_path / "it").write_bytes(b"x" * size)
    assert content_of(tmp_path / "it", LIMITS) == b"x" * size


@pytest.mark.parametrize(
    ("size", "words"),
    [(101, "file: 101 bytes; allowed: up to 100 bytes a file"), (1 << 40, "file: 1099511.7 MB")],
)
def test_a_file_over_the_limit_is_refused_and_not_read(
    tmp_path: Path, size: int, words: str
) -> None:
    with (tmp_path / "it").open("wb") as file:
        file.truncate(size)  # it has no blocks: to read it would take its memory all the same
    with pytest.raises(InvalidRequest) as no:
        content_of(tmp_path / "it", LIMITS)
    assert str(no.value).startswith(words)


def test_a_device_a_pipe_a_folder_and_nothing_at_all_are_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe", tmp_path, tmp_path / "gone"):
        with pytest.raises(InvalidRequest, match="is no file; allowed: a file"):
            content_of(path, LIMITS)


class Unsized(type(Path())):  # type: ignore[misc]
    """A file that says nothing of its size, as those of ``/proc`` do, or that grows meanwhile."""

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        told = list(super().stat(follow_symlinks=follow_symlinks))
        told[stat.ST_SIZE] = 0
        return os.stat_result(told)


@pytest.mark.parametrize(("size", "is_read"), [(100, True), (101, False)])
def test_a_file_that_says_nothing_of_its_size_is_read_no_further_than_the_limit(
    tmp_path: Path, size: int, is_read: bool
) -> None:
    (tmp_path / "it").write_bytes(b"x" * size)
    unsized = Unsized(tmp_path / "it")
    assert unsized.stat().st_size == 0
    if is_read:
        assert content_of(unsized, LIMITS) == b"x" * size
        return
    with pytest.raises(InvalidRequest, match="allowed: up to 100 bytes a file"):
        content_of(unsized, LIMITS)
