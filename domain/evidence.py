"""Evidence: what may be given to a case, judged by what it is and not only by what it is called.

Limits belong to the operator; every refusal says what was given and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from email import message_from_bytes
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.approvals import Answer


class EvidenceKind(StrEnum):
    STATEMENT = "statement"
    FILE = "file"


class Information(StrEnum):
    """What became of the last question to the customer."""

    NOT_ASKED = "not_asked"
    GIVEN = "given"
    SILENT = "silent"


class EvidenceFile(BaseModel):
    """A file by everything but its bytes.

    ``name`` is sealed under the customer's key; ``sha256`` is of the bytes as they were given,
    and ``stored`` is where the evidence store keeps them, sealed: ``KEY/SHA-256``, of the key and
    of these bytes. Raises ``ValueError`` for any other place.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    media_type: str
    size_bytes: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    stored: str = Field(pattern=r"^[0-9A-Za-z-]+/[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _lies_under_its_own_sum(self) -> Self:
        if self.stored.partition("/")[2] != self.sha256:
            raise ValueError("stored: is the place of other bytes; allowed: KEY/SHA-256 of these")
        return self

    @property
    def key_id(self) -> str:
        """The key under which it is sealed."""
        return self.stored.partition("/")[0]


class EvidenceAnswer(Answer):
    """What became of an item; ``answers`` is the number of the question that it answers, of
    those that the case asked its customer, and 0 when it answers none."""

    answers: int = 0


_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f]")
"""What no text has: in UTF-8 these bytes stand for nothing but the control characters."""


def _is_text(content: bytes) -> bool:
    if _CONTROL.search(content):
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_email(content: bytes) -> bool:
    """Header fields with a sender, an empty line, and whatever follows (RFC 5322)."""
    header = content.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    read = message_from_bytes(header + b"\n\n")
    return bool(read["from"]) and not read.defects


MEDIA_TYPES: dict[str, Callable[[bytes], bool]] = {
    "application/pdf": lambda content: content.startswith(b"%PDF-"),
    "image/png": lambda content: content.startswith(b"\x89PNG\r\n\x1a\n"),
    "image/jpeg": lambda content: content.startswith(b"\xff\xd8\xff"),
    "message/rfc822": _is_email,
    "text/plain": _is_text,
}
"""What the engine can tell by its first bytes, or by all of them; the first that fits."""


def media_type_of(content: bytes) -> str:
    """What the content is; empty when it is none of :data:`MEDIA_TYPES`."""
    return next((name for name, fits in MEDIA_TYPES.items() if fits(content)), "")


LONGEST_NAME = 200
"""Bytes of UTF-8; a file system takes 255, and saving adds a few."""


class EvidenceLimits(BaseModel):
    """What an operator lets a case take. ``items`` counts files and statements of one case."""

    model_config = ConfigDict(frozen=True)

    items: int = 20
    file_bytes: int = 10_000_000
    media_types: tuple[str, ...] = tuple(MEDIA_TYPES)
    statement_characters: int = 10_000

    def why_not_file(self, name: str, said: str, content: bytes) -> str:
        """What speaks against a file that is said to be of a type; empty when nothing does.

        ``said`` may be empty: then only its content is judged. An e-mail may be called a text.
        """
        size = len(content)
        if not size:
            return "file: is empty; allowed: a file with something in it"
        if why := self.why_not_size(size):
            return why
        if not _is_file_name(name):
            most = f"up to {LONGEST_NAME} bytes"
            return f"name: is no file name; allowed: {most}, without / and \\"
        allowed = ", ".join(self.media_types)
        found = media_type_of(content)
        if said and said not in self.media_types:
            return f"media_type: {said}; allowed: {allowed}"
        is_text_too = (said, found) == ("text/plain", "message/rfc822") and _is_text(content)
        if said and said != found and not is_text_too:
            return f"file: is said to be {said} and is {found or 'not'}; allowed: {allowed}"
        if not said and found not in self.media_types:
            return f"file: is {found or 'of no type that we know'}; allowed: {allowed}"
        return ""

    def why_not_size(self, size_bytes: int) -> str:
        """What speaks against a file of this size; empty when nothing does."""
        if size_bytes <= self.file_bytes:
            return ""
        most = size_in_words(self.file_bytes)
        return f"file: {size_in_words(size_bytes, more=True)}; allowed: up to {most} a file"

    def why_not_statement(self, text: str) -> str:
        """What speaks against a statement; empty when nothing does."""
        most = self.statement_characters
        if not text.strip():
            return f"text: is empty; allowed: up to {most} characters"
        if len(text) > most:
            return f"text: has {len(text)} characters; allowed: up to {most}"
        return ""

    def why_no_more(self, items: int) -> str:
        """What speaks against another item beside so many; empty when nothing does."""
        if items < self.items:
            return ""
        return f"evidence: the case has {items} items; allowed: up to {self.items} a case"


def _is_file_name(name: str) -> bool:
    is_text = not any(char in "/\\" or not char.isprintable() for char in name)
    return is_text and bool(name.strip(". ")) and len(name.encode()) <= LONGEST_NAME


def size_in_words(size_bytes: int, *, more: bool = False) -> str:
    """``999 bytes``, ``12.3 MB``: decimal units, rounded down; up when ``more``, so that what is
    over a limit never reads like the limit."""
    for unit, size in (("MB", 1_000_000), ("kB", 1_000)):
        if size_bytes >= size:
            tenths = -(-size_bytes * 10 // size) if more else size_bytes * 10 // size
            whole, part = divmod(tenths, 10)
            return f"{whole}.{part} {unit}" if part else f"{whole} {unit}"
    return f"{size_bytes} bytes"
