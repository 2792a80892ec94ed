"""What is wrong with a policy file, or with the facts put to it, as values.

A finding has a place (file, line, column; all counted from 1) because whoever writes a rule
is no developer: the message must lead to the cell. All findings of a load come at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from domain.errors import RedressError

if TYPE_CHECKING:
    from decisions.source import Node


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing wrong, where it stands, and what would be right.

    ``code`` is a stable word (``undefined-input``); ``allowed`` says in words what is
    accepted; ``nearest`` is the right word that is most like the wrong one, or empty.
    """

    file: str
    line: int
    column: int
    code: str
    message: str
    allowed: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}"
        if self.nearest:
            text += f"; did you mean {self.nearest}?"
        if self.allowed:
            text += f" (allowed: {self.allowed})"
        return text


class PolicyErrors(RedressError):
    """A policy file that does not load. ``findings`` are ordered by file, line and column."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(sorted(set(findings)))
        super().__init__("\n".join(str(finding) for finding in self.findings))


class FactError(RedressError):
    """A fact that is missing, null, mistyped or out of range: never "no match".

    ``fact`` is the input's name; ``message`` what was found; ``allowed`` what is accepted.
    """

    def __init__(self, fact: str, message: str, allowed: str) -> None:
        super().__init__(f"{fact}: {message}; allowed: {allowed}")
        self.fact = fact
        self.message = message
        self.allowed = allowed


class Undecided(RedressError):
    """Facts that a table leaves open (no rule, no accepted gap) or decides twice (``unique``)."""

    def __init__(self, table: str, message: str) -> None:
        super().__init__(f"table {table}: {message}")
        self.table = table
        self.message = message


class Collector:
    """Gathers findings while a file is read, so that all are told at once."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def add(
        self,
        node: Node,
        code: str,
        message: str,
        *,
        allowed: Iterable[str] | str = "",
        wrong: str = "",
    ) -> None:
        """Record a finding at ``node``. ``wrong`` is looked up among ``allowed`` words."""
        words = [] if isinstance(allowed, str) else list(allowed)
        text = allowed if isinstance(allowed, str) else ", ".join(words)
        close = get_close_matches(wrong, words, n=1, cutoff=0.5) if wrong else []
        self.findings.append(
            Finding(
                node.file,
                node.line,
                node.column,
                code,
                message,
                text,
                close[0] if close else "",
            )
        )

    def raise_if_any(self) -> None:
        if self.findings:
            raise PolicyErrors(self.findings)
