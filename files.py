"""Files that are there whole, or as they were before; folders that stay."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

PRIVATE = 0o600
"""The mode of a file that is its owner's alone."""


def write_whole(path: Path, content: str | bytes, mode: int = 0o666) -> None:
    """Put ``content`` (text as UTF-8) into ``path`` at once, and on disk before it returns.

    Whoever reads meanwhile, or after a death half way, finds the old file or the new one.
    ``mode`` less the umask is the file's from its first byte on. Two writers at a time are two
    whole files, of which the later stays. Raises :class:`OSError`, and then nothing has changed.
    """
    data = content.encode() if isinstance(content, str) else content
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_names(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing; their names are on disk before it
    returns. One that is there already may be of a process that died before it came so far."""
    missing = [each for each in (path, *path.parents) if not each.is_dir()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in {path.parent, *(each.parent for each in missing)}:
        _sync_names(folder)


def _sync_names(folder: Path) -> None:
    """Bring a folder's list to the disk: else a new name in it may be gone after a power cut."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
