"""A file is replaced whole, private from its first byte, and nothing is left beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from files import make_folder, write_whole


def test_a_file_is_replaced_by_text_and_by_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content, read in (("first ñ", "first ñ".encode()), (b"\x00\xff", b"\x00\xff"), ("", b"")):
        write_whole(path, content)
        assert path.read_bytes() == read
    assert list(tmp_path.iterdir()) == [path]


def test_who_has_the_old_file_open_reads_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")
    with path.open(encoding="utf-8") as stream:
        write_whole(path, "new and longer")
        assert stream.read() == "old"


@pytest.mark.parametrize(("mode", "umask", "seen"), [
    (0o600, 0o022, 0o600), (0o666, 0o022, 0o644), (0o666, 0o077, 0o600),
])  # fmt: skip
def test_a_file_has_its_mode_less_the_umask(
    tmp_path: Path, mode: int, umask: int, seen: int
) -> None:
    path = tmp_path / "file"
    path.write_text("open to all", encoding="utf-8")
    path.chmod(0o666)
    before = os.umask(umask)
    try:
        write_whole(path, "text", mode)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == seen


def test_what_cannot_take_a_files_place_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a-folder"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(path, "text")
    assert list(tmp_path.iterdir()) == [path]
    assert list(path.iterdir()) == []


@pytest.mark.parametrize("there_already", ["", "a", "a/b"])
def test_a_folders_own_name_is_on_disk_before_anything_is_put_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there_already: str
) -> None:
    (tmp_path / there_already).mkdir(parents=True, exist_ok=True)
    synced: set[int] = set()
    sync = os.fsync

    def watched(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    make_folder(tmp_path / "a" / "b")
    holding = {"": (tmp_path, tmp_path / "a")}.get(there_already, (tmp_path / "a",))
    assert synced == {folder.stat().st_ino for folder in holding}
