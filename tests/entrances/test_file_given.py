"""A file that somebody names on the command line: read no further than a case takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commands.people import content_of
from domain.errors import InvalidRequest
from domain.evidence import EvidenceLimits

LIMITS = EvidenceLimits(file_bytes=100)
STATUS = Path("/proc/self/status")


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


@pytest.mark.skipif(not STATUS.exists(), reason="a file without a size is Linux's")
def test_a_file_that_says_nothing_of_its_size_is_read_no_further_than_the_limit() -> None:
    with pytest.raises(InvalidRequest, match="allowed: up to 100 bytes a file"):
        content_of(STATUS, LIMITS)
