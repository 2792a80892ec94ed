"""All packs of a directory: ``policies/refund/v1.yaml`` is version 1 of the policy refund."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Self

from decisions.findings import Finding, PolicyErrors
from decisions.lock import LOCK, check_lock, read_lock
from decisions.merge import shown
from decisions.pack import Pack
from domain.canonical import instant
from domain.errors import InvalidRequest

_FILE = re.compile(r"v([1-9][0-9]{0,5})\.yaml")


class Library:
    """Packs by name, version and hash. ``drafts`` are those that decide nothing yet."""

    def __init__(self, packs: Iterable[Pack], drafts: Iterable[Pack] = ()) -> None:
        self.packs = tuple(sorted(packs, key=lambda pack: (pack.name, pack.version)))
        self._drafts = {pack.hash for pack in drafts}
        self._by_hash = {pack.hash: pack for pack in self.packs}

    @classmethod
    def load(cls, directory: Path, *, with_drafts: bool = False) -> Self:
        """Every pack below ``directory``. Raises :class:`PolicyErrors` with all findings of
        all files, released files that changed among them.

        Where there is a lock, what it does not list is a draft, which decides nothing unless
        asked for ``with_drafts``; in a directory without one everything counts.
        """
        packs, findings = _load(directory)
        if findings:
            raise PolicyErrors(findings)
        if with_drafts or not (directory / LOCK).exists():
            return cls(packs)
        lock, _ = read_lock(directory)
        return cls(packs, [p for p in packs if str(p.version) not in lock.get(p.name, {})])

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted({pack.name for pack in self.packs}))

    def versions(self, name: str) -> tuple[Pack, ...]:
        """The packs of a name, oldest first; empty when there are none."""
        return tuple(pack for pack in self.packs if pack.name == name)

    def active(self, name: str, at: datetime) -> Pack:
        """The highest released version whose ``effective_from`` has begun at the instant ``at``.

        Raises :class:`InvalidRequest` (field ``policy``) when there is none.
        """
        versions = self._released(name)
        in_force = _in_force(versions, at)
        if in_force is not None:
            return in_force
        if not versions and self.versions(name):
            raise InvalidRequest(
                "policy", f"{name} is a draft", "release it: starter.py policy release"
            )
        if not versions:
            raise InvalidRequest("policy", f"there is no policy {name!r}", ", ".join(self.names))
        listed = ", ".join(f"v{pack.version} from {pack.effective_from}" for pack in versions)
        raise InvalidRequest("policy", f"{name} is not in force at {instant(at)}", listed)

    def successor(self, name: str, version: int, at: datetime) -> Pack | None:
        """The version in force at ``at``, if it takes over the running cases of ``version``."""
        pack = _in_force(self._released(name), at)
        return pack if pack is not None and version in pack.repins else None

    def _released(self, name: str) -> list[Pack]:
        return [pack for pack in self.versions(name) if pack.hash not in self._drafts]

    def by_hash(self, content_hash: str) -> Pack:
        """Raises ``LookupError`` when no pack here has the hash: the books hold its content."""
        if content_hash not in self._by_hash:
            raise LookupError(f"no policy with the hash {content_hash[:12]} in this library")
        return self._by_hash[content_hash]


def _in_force(versions: list[Pack], at: datetime) -> Pack | None:
    begun = [pack for pack in versions if pack.effective_at <= at]
    return begun[-1] if begun else None


def check(directory: Path) -> list[Finding]:
    """Everything wrong below ``directory``, ordered by file, line and column."""
    return sorted(set(_load(directory)[1]))


def _ranges(packs: list[tuple[Pack, str]]) -> list[Finding]:
    """Versions whose time in force overlaps another's, and cases moved from versions that are
    not there. A version is in force until the next one begins."""
    found: list[Finding] = []
    before: Pack | None = None
    for pack, file in sorted(packs, key=lambda pair: (pair[0].name, pair[0].version)):
        earlier = before if before is not None and before.name == pack.name else None
        if earlier is not None and pack.effective_at <= earlier.effective_at:
            message = f"v{earlier.version} begins on {earlier.effective_from} already"
            later = f"effective_from after {earlier.effective_from}"
            found.append(Finding(file, 1, 1, "effective-overlap", message, later))
        before = pack
        known = {other.version for other, _ in packs if other.name == pack.name}
        found += [
            Finding(file, 1, 1, "repin", f"repin: there is no v{version} of {pack.name}")
            for version in pack.repins
            if version not in known
        ]
    return found


def _load(directory: Path) -> tuple[list[Pack], list[Finding]]:
    if not directory.is_dir():
        return [], [Finding(directory.name, 1, 1, "file", "there is no such directory")]
    packs: list[tuple[Pack, str]] = []
    rightly_named: list[tuple[Pack, str]] = []
    findings: list[Finding] = []
    for path in sorted(directory.glob("*/v[0-9]*.yaml")):
        match = _FILE.fullmatch(path.name)
        file = shown(path, directory)
        if match is None:
            findings.append(
                Finding(file, 1, 1, "file", "a policy file is named v1.yaml, v2.yaml …")
            )
            continue
        try:
            pack = Pack.load(path, directory)
        except PolicyErrors as error:
            findings.extend(error.findings)
            continue
        packs.append((pack, file))
        if (pack.name, pack.version) == (path.parent.name, int(match[1])):
            rightly_named.append((pack, file))
        else:
            findings.append(
                Finding(
                    file,
                    1,
                    1,
                    "file",
                    f"the file says {pack.name} version {pack.version}",
                    f"policy: {path.parent.name}, version: {match[1]}",
                )
            )
    findings.extend(_ranges(rightly_named))
    findings.extend(check_lock(directory, packs))
    return [pack for pack, _ in packs], findings
