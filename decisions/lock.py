"""``LOCK.json``: which versions are released, with their hashes. Released files never change.

``{"refund": {"1": "<sha-256 of the content>"}}``, or with who released it and when:
``{"hash": "…", "released_by": "lin", "released_at": "2026-11-22T09:00:00.000000Z"}``. A
version that is not listed is a draft.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decisions.findings import Finding
from decisions.pack import Pack
from domain.canonical import instant
from domain.errors import InvalidRequest, Refused
from files import write_whole

if TYPE_CHECKING:
    from decisions.library import Library

LOCK = "LOCK.json"


def read_lock(directory: Path) -> tuple[dict[str, dict[str, str]], list[Finding]]:
    """The released hashes by name and version; empty when there is no lock."""
    try:
        return {
            name: {version: _hash(entry) for version, entry in versions.items()}
            for name, versions in _entries(directory).items()
        }, []
    except (OSError, ValueError, KeyError, AttributeError) as error:
        return {}, [_finding(directory, LOCK, "lock", f"the lock cannot be read: {error}")]


def _entries(directory: Path) -> dict[str, dict[str, Any]]:
    path = directory / LOCK
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("not a map by policy")
    return found


def _hash(entry: Any) -> str:
    return str(entry["hash"] if isinstance(entry, dict) else entry)


def check_lock(directory: Path, packs: Iterable[tuple[Pack, str]]) -> list[Finding]:
    """Released packs that changed or are gone. ``packs`` come with the file they are from."""
    lock, findings = read_lock(directory)
    present = set()
    for pack, file in packs:
        present.add((pack.name, str(pack.version)))
        released = lock.get(pack.name, {}).get(str(pack.version))
        if released is not None and released != pack.hash:
            findings.append(
                Finding(
                    file,
                    1,
                    1,
                    "released-changed",
                    f"{pack.name} v{pack.version} was released as {released[:12]} and is "
                    f"{pack.hash[:12]} now: it, or a file that it includes, was changed",
                    f"write v{pack.version + 1}.yaml instead",
                )
            )
    for name, versions in lock.items():
        for version in versions:
            if (name, version) not in present:
                message = f"{name} v{version} is released, but its file is gone or does not load"
                findings.append(_finding(directory, LOCK, "released-missing", message))
    return findings


def release(
    library: Library, directory: Path, pack: Pack, by: str, now: datetime, signed_by: str = ""
) -> None:
    """List ``pack``, one of ``library`` as it was loaded from ``directory``, as released.

    ``by`` is who releases it, ``now`` the UTC instant; ``signed_by`` answers for what the pack's
    rule books hold unverified. A lock is added to, never corrected.

    Raises :class:`InvalidRequest` (field ``by``) when nobody is named, and :class:`Refused` when
    the version is released already (``released``), ``by`` is its owner (``own_policy``: what one
    writes, another releases; nor may the owner sign), something is not verified and nobody
    signed (``unverified``), or its first day has begun (``in_the_past``: cases of that day
    were decided under the version before). That versions follow each other in time is checked
    when a library is loaded.
    """
    what = f"{pack.name} v{pack.version}"
    if not by.strip():
        raise InvalidRequest("by", "is empty", "who releases it: an id such as lin")
    entries = _entries(directory)
    if str(pack.version) in entries.get(pack.name, {}):
        following = library.versions(pack.name)[-1].version + 1
        raise Refused("released", f"{what} is released; write v{following}.yaml for a change")
    if pack.owner in (by, signed_by):
        raise Refused("own_policy", f"{pack.owner} owns {pack.name}: somebody else releases it")
    doubts = sorted(
        f"{book.id}.{entry.id}" for book in pack.rule_books.values() for entry in book.unverified()
    )
    if doubts and not signed_by.strip():
        raise Refused(
            "unverified",
            f"{what} holds what nobody has read in its source: {', '.join(doubts)}; name who "
            "answers for it with --signed-by, or read it and write verified: true",
        )
    if pack.effective_at <= now:
        raise Refused(
            "in_the_past",
            f"{what} would be in force from {pack.effective_from}, which has begun; set "
            "effective_from to a day to come",
        )
    entry = {"hash": pack.hash, "released_at": instant(now), "released_by": by}
    if doubts:
        entry["unverified_signed_by"] = signed_by
    entries.setdefault(pack.name, {})[str(pack.version)] = entry
    ordered = {
        name: dict(sorted(versions.items(), key=lambda item: int(item[0])))
        for name, versions in sorted(entries.items())
    }
    text = json.dumps(ordered, indent=2, ensure_ascii=False) + "\n"
    write_whole(directory / LOCK, text)


def _finding(directory: Path, name: str, code: str, message: str) -> Finding:
    return Finding(f"{directory.name}/{name}", 1, 1, code, message)
