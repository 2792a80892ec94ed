"""``LOCK.json``: which versions are released, with their hashes. Released files never change.

``{"refund": {"1": "<sha-256 of the content>"}}``. A version that is not listed is a draft.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from decisions.findings import Finding
from decisions.pack import Pack

LOCK = "LOCK.json"


def read_lock(directory: Path) -> tuple[dict[str, dict[str, str]], list[Finding]]:
    """The lock's entries by name and version; empty when there is no lock."""
    path = directory / LOCK
    if not path.exists():
        return {}, []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not a map by policy")
        return {
            str(name): {str(version): str(value) for version, value in versions.items()}
            for name, versions in found.items()
        }, []
    except (OSError, ValueError, AttributeError) as error:
        return {}, [_finding(directory, LOCK, "lock", f"the lock cannot be read: {error}")]


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


def write_lock(directory: Path) -> dict[str, dict[str, str]]:
    """Release every pack that is not released yet; returns the new lock.

    Raises :class:`~decisions.findings.PolicyErrors` when a pack does not load or a released
    one has changed: a lock is added to, never corrected.
    """
    from decisions.library import Library

    library = Library.load(directory)
    lock, _ = read_lock(directory)
    for pack in library.packs:
        lock.setdefault(pack.name, {}).setdefault(str(pack.version), pack.hash)
    ordered = {
        name: dict(sorted(versions.items(), key=lambda item: int(item[0])))
        for name, versions in sorted(lock.items())
    }
    text = json.dumps(ordered, indent=2) + "\n"
    (directory / LOCK).write_text(text, encoding="utf-8")
    return ordered


def _finding(directory: Path, name: str, code: str, message: str) -> Finding:
    return Finding(f"{directory.name}/{name}", 1, 1, code, message)
