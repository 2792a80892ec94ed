"""Settings of every process, from ``REDRESS_*`` variables or one file of them.

The file is ``.env`` where there is one; else ``var/dev.env``, which ``starter.py dev`` writes, so
that every command in the same folder finds the machine it runs. Variables win over the file.
Temporal's own settings are not here: ``TEMPORAL_*`` variables and profiles, as its tools use;
those that the file names are put into the environment.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.errors import InvalidRequest
from domain.evidence import MEDIA_TYPES, EvidenceLimits

ROOT = Path(__file__).resolve().parent

VAR = "REDRESS_VAR"
"""Names the folder of `starter.py dev`; its ``dev.env`` is then read instead of ``.env``."""

DEV_FILE = "dev.env"


def dev_folder() -> Path:
    """Where `starter.py dev` keeps what it makes: ``var`` of the working directory, by default."""
    return Path(os.environ.get(VAR) or "var")


def settings_file() -> Path:
    """The one file that settings come from; it need not exist.

    Never two: half of a production ``.env`` with half of a development machine would be worse
    than either.
    """
    if not os.environ.get(VAR) and Path(".env").exists():
        return Path(".env")
    return dev_folder() / DEV_FILE


def _bytes32(name: str, secret: SecretStr) -> bytes:
    try:
        raw = base64.b64decode(secret.get_secret_value(), validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise InvalidRequest(name, "not a key", "32 bytes in base64")
    return raw


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for part in text.split(",") if (word := part.strip()))


class Settings(BaseSettings):
    """One object for all processes; a process reads only what its part needs."""

    model_config = SettingsConfigDict(env_prefix="REDRESS_", extra="ignore")

    database_url: str = "sqlite+aiosqlite:///var/books.db"
    owner_database_url: str = ""
    stripe_api_key: SecretStr = SecretStr("")
    stripe_base_url: str = ""
    stripe_webhook_secret: SecretStr = SecretStr("")
    allow_live_key: bool = False
    master_key: SecretStr = SecretStr("")
    actor_signing_key: SecretStr = SecretStr("")
    actor_verify_key: str = ""
    actor_verify_keys_before: str = ""
    policies: Path = ROOT / "policies"
    allow_drafts: bool = False
    notices_file: Path = Path("var/notices.jsonl")
    archive: Path = Path("var/archive")
    evidence_dir: Path = Path("var/evidence")
    evidence_items: int = Field(default=20, ge=1, le=1_000)
    evidence_file_bytes: int = Field(default=10_000_000, ge=1, le=100_000_000)
    evidence_media_types: str = ", ".join(MEDIA_TYPES)
    evidence_statement_characters: int = Field(default=10_000, ge=1, le=10_000)
    attempt_seconds: int = Field(default=30, ge=1, le=600)
    worker_cache: int = Field(default=200, ge=0)
    worker_slots: int = Field(default=50, ge=1)
    workflow_sandbox: bool = False
    build_id: str = ""

    @model_validator(mode="after")
    def _no_live_key_by_accident(self) -> Settings:
        key = self.stripe_api_key.get_secret_value()
        if key.startswith(("sk_live_", "rk_live_")) and not self.allow_live_key:
            raise ValueError(
                "REDRESS_STRIPE_API_KEY is a live key, which is refused unless "
                "REDRESS_ALLOW_LIVE_KEY=true says so by name"
            )
        return self

    @field_validator("evidence_media_types")
    @classmethod
    def _known_media_types(cls, given: str) -> str:
        if not set(_words(given)) <= set(MEDIA_TYPES) or not _words(given):
            raise ValueError(f"some of {', '.join(MEDIA_TYPES)}, with commas between them")
        return given

    def evidence_limits(self) -> EvidenceLimits:
        """What a case takes as evidence."""
        return EvidenceLimits(
            items=self.evidence_items,
            file_bytes=self.evidence_file_bytes,
            media_types=_words(self.evidence_media_types),
            statement_characters=self.evidence_statement_characters,
        )

    def master_key_bytes(self) -> bytes:
        """The key that wraps customers' keys. Raises :class:`InvalidRequest` when it is none."""
        return _bytes32("REDRESS_MASTER_KEY", self.master_key)

    def signing_key(self) -> Ed25519PrivateKey:
        """The edge's key; only the web and the command line hold it."""
        return Ed25519PrivateKey.from_private_bytes(
            _bytes32("REDRESS_ACTOR_SIGNING_KEY", self.actor_signing_key)
        )

    def verify_key(self) -> Ed25519PublicKey:
        """The public half that workers judge signatures by."""
        return Ed25519PublicKey.from_public_bytes(
            _bytes32("REDRESS_ACTOR_VERIFY_KEY", SecretStr(self.actor_verify_key))
        )

    def verify_keys(self) -> tuple[Ed25519PublicKey, ...]:
        """Public halves of every key that the edge has signed by, this one first; none where it is
        not set. What was signed stays as it was signed when the key is changed."""
        if not self.actor_verify_key:
            return ()
        name = "REDRESS_ACTOR_VERIFY_KEYS_BEFORE"
        before = [_bytes32(name, SecretStr(key)) for key in _words(self.actor_verify_keys_before)]
        return (self.verify_key(), *map(Ed25519PublicKey.from_public_bytes, before))


def load() -> Settings:
    """Settings of this process. Raises :class:`InvalidRequest` naming the variable."""
    file = settings_file()
    for name, value in dotenv_values(file).items():
        if name.startswith("TEMPORAL_") and value:
            os.environ.setdefault(name, value)
    try:
        return Settings(_env_file=file)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = "REDRESS_" + "_".join(str(part) for part in first["loc"]).upper()
        if not first["loc"]:
            name = "REDRESS_STRIPE_API_KEY"
        raise InvalidRequest(name, first["msg"], "see docs/settings.md") from None
