"""Canonical JSON: one byte string per value, so that hashes mean something.

Keys sorted by code point, no white space, UTF-8 unescaped, instants as UTC ISO 8601 with
``Z``, enums as their values. Floats are refused: no amount or rate in the product is one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from enum import Enum
from typing import Any

from pydantic import BaseModel


def plain(value: Any) -> Any:
    """``value`` as JSON types only. Raises ``TypeError`` on a float or an unknown type."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no canonical form")


def canonical_json(value: Any) -> str:
    """The canonical text of ``value``; see the module's rules."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_of(value: Any) -> str:
    """Lower-case hex SHA-256 over the canonical form."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def instant(at: datetime) -> str:
    """A UTC instant as ``2026-12-01T09:30:00.000000Z``: fixed width, so text order is time order.

    Raises ``ValueError`` on a naive datetime.
    """
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_instant(text: str) -> datetime:
    """The inverse of :func:`instant`; any ISO 8601 text with a zone is read.

    Raises ``ValueError`` when it is not one.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return at.astimezone(UTC)
