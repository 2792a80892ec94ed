"""Evidence: where a case's files lie, and what its account says of the rest.

Bytes are sealed under the customer's key and lie beside the books, addressed by the key and
by what they are; no event, message or history ever holds them.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, ConfigDict

from domain.actors import Actor
from domain.canonical import parse_instant
from domain.cases import CaseEvent, EventKind
from domain.evidence import EvidenceFile, EvidenceKind, EvidenceLimits, Information
from files import PRIVATE, make_folder, write_whole
from ledger.keys import NONCE_BYTES, Keyring, SealBroken
from ledger.records import StoredEvent


class EvidenceStore:
    """Files below ``folder``, one for each content of each customer: ``KEY/SHA-256``.

    Destroying the customer's key destroys them: what then still lies there cannot be read.
    ``limits`` are the operator's, for whoever puts something in.
    """

    def __init__(
        self, keyring: Keyring, folder: Path, limits: EvidenceLimits | None = None
    ) -> None:
        self._keyring = keyring
        self._folder = folder
        self.limits = limits or EvidenceLimits()

    async def describe(
        self, customer: str, name: str, media_type: str, content: bytes
    ) -> EvidenceFile:
        """The file as it will be kept; ``name`` is sealed already. The same content of a customer
        is one file."""
        key_id, _ = await self._keyring.data_key(customer)
        sha256 = hashlib.sha256(content).hexdigest()
        return EvidenceFile(
            name=name,
            media_type=media_type,
            size_bytes=len(content),
            sha256=sha256,
            stored=f"{key_id}/{sha256}",
        )

    async def put(self, file: EvidenceFile, content: bytes) -> None:
        """Keep the content; returns once it is on disk. Raises ``RuntimeError`` when the
        customer's key was destroyed since the file was described."""
        if await self.has(file.stored):
            return
        key = await self._keyring.key_by_id(file.key_id)
        if key is None:
            raise RuntimeError("the customer's key was destroyed meanwhile; give it again")
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + AESGCM(key).encrypt(nonce, content, file.stored.encode())
        await asyncio.to_thread(self._write, self._folder / file.stored, sealed)

    @staticmethod
    def _write(path: Path, sealed: bytes) -> None:
        make_folder(path.parent)
        write_whole(path, sealed, PRIVATE)

    async def get(self, stored: str) -> bytes | None:
        """The content as it was given; None once the customer's key is destroyed.

        Raises :class:`SealBroken` when the file is gone or was altered.
        """
        key_id = stored.partition("/")[0]
        try:
            key = await self._keyring.key_by_id(key_id)
            if key is None:
                return None
            blob = await asyncio.to_thread((self._folder / stored).read_bytes)
            return AESGCM(key).decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], stored.encode())
        except (LookupError, OSError) as error:
            raise SealBroken(f"no evidence is kept as {stored}") from error
        except (ValueError, InvalidTag) as error:
            raise SealBroken(f"the evidence kept as {stored} was altered") from error

    async def has(self, stored: str) -> bool:
        return await asyncio.to_thread((self._folder / stored).is_file)


def names_in(folder: Path) -> Iterator[str]:
    """What lies in a store, as ``EvidenceFile.stored`` names it; drafts of a death half way too."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.relative_to(folder).as_posix()


class EvidenceItem(BaseModel):
    """One item of a case, in the clear: a statement's ``text``, or a file with its name."""

    model_config = ConfigDict(frozen=True)

    kind: EvidenceKind
    text: str
    file: EvidenceFile | None
    at: datetime
    by: Actor


async def evidence_of(events: Iterable[CaseEvent], keyring: Keyring) -> list[EvidenceItem]:
    """The items of a case in the order in which they were given; what is erased says so."""
    found: list[EvidenceItem] = []
    for event in events:
        if event.kind is not EventKind.EVIDENCE_ADDED:
            continue
        item = EvidenceItem.model_validate(
            {**event.body, "at": event.occurred_at, "by": event.actor}
        )
        if item.file is None:
            clear = {"text": await keyring.unseal(item.text)}
            found.append(item.model_copy(update=clear))
        else:
            named = item.file.model_copy(update={"name": await keyring.unseal(item.file.name)})
            found.append(item.model_copy(update={"file": named}))
    return found


class Inquiry(BaseModel):
    """What a case knows of its evidence and its questions.

    ``times`` counts the questions, ``until`` is the last one's deadline (UTC), and
    ``is_answered`` says whether anything was given since it was asked.
    """

    model_config = ConfigDict(frozen=True)

    items: int = 0
    times: int = 0
    until: datetime | None = None
    is_answered: bool = False

    @property
    def information(self) -> Information:
        if not self.times:
            return Information.NOT_ASKED
        return Information.GIVEN if self.is_answered else Information.SILENT


def kept_already(events: Iterable[StoredEvent], file: EvidenceFile | None) -> StoredEvent | None:
    """The event by which the case has this file already; None for a statement. Pure.

    By where it is kept: a file whose key was destroyed since is another when it is given anew.
    """
    for event in events:
        if event.kind is EventKind.EVIDENCE_ADDED and file is not None:
            kept = event.body["file"]
            if kept and kept["stored"] == file.stored:
                return event
    return None


def inquiry_of(events: Iterable[CaseEvent]) -> Inquiry:
    """The fold of a case's events. Pure."""
    found = Inquiry()
    for event in events:
        if event.kind is EventKind.EVIDENCE_ADDED:
            found = found.model_copy(update={"items": found.items + 1, "is_answered": True})
        elif event.kind is EventKind.INFORMATION_REQUESTED:
            asked = {"times": found.times + 1, "until": parse_instant(event.body["until"])}
            found = found.model_copy(update={**asked, "is_answered": False})
    return found
