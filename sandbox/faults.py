"""Faults on demand: what a network, a proxy or Stripe itself may do to a request.

A fault matches by method, by path (a regular expression over the whole path) and by equality of
parameters (``{"metadata[case_id]": "..."}``), skips ``skip`` matches and then strikes ``count``
times. In random mode it strikes by chance, the same way for the same seed.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any

from .errors import INVALID_REQUEST, StripeError
from .store import Json, Store

KINDS = ("status", "reset_before", "lost_after_commit", "slow", "truncated", "html")

# status -> type, code, message: docs.stripe.com/error-low-level, docs.stripe.com/rate-limits
BODIES: dict[int, tuple[str, str | None, str]] = {
    400: (INVALID_REQUEST, None, "Invalid request (sandbox fault)."),
    401: (INVALID_REQUEST, None, "Invalid API Key provided (sandbox fault)."),
    402: ("card_error", "card_declined", "Your card was declined."),
    403: (INVALID_REQUEST, None, "The provided key does not have the required permissions."),
    404: (INVALID_REQUEST, "resource_missing", "No such object (sandbox fault)."),
    409: (
        "idempotency_error",
        "idempotency_key_in_use",
        "There is currently another in-progress request using this Idempotent Key.",
    ),
    429: (
        INVALID_REQUEST,
        "rate_limit",
        "Request rate limit exceeded. You can learn more about rate limits here "
        "https://stripe.com/docs/rate-limits.",
    ),
    500: ("api_error", None, "An unknown error occurred."),
    502: ("api_error", None, "Bad gateway."),
    503: ("api_error", None, "Stripe is temporarily unavailable."),
}
# Kept under the idempotency key, because the endpoint had begun: docs.stripe.com/error-low-level
KEPT_STATUSES = (400, 402, 500)


@dataclass(frozen=True)
class Fault:
    kind: str
    status: int = 500
    code: str | None = None
    message: str | None = None
    ms: int = 1000
    when: str = "before"  # of slow: before the request is executed, or after its commit
    committed: bool = False  # of status and html: the request is executed all the same
    kept: bool | None = None  # of status: whether the idempotency key keeps it

    @property
    def name(self) -> str:
        if self.kind == "status":
            return f"status_{self.status}" + ("_committed" if self.committed else "")
        return f"slow_{self.when}" if self.kind == "slow" else self.kind

    def error(self) -> StripeError:
        type, code, message = BODIES.get(self.status, ("api_error", None, "Sandbox fault."))
        kept = self.status in KEPT_STATUSES if self.kept is None else self.kept
        extra: dict[str, Any] = {"decline_code": "generic_decline"} if self.status == 402 else {}
        return StripeError(
            self.status,
            self.message or message,
            type=type,
            code=self.code or code,
            executed=kept,
            **extra,
        )


def flat(params: Any, prefix: str = "") -> dict[str, str]:
    """``{"metadata": {"a": "b"}}`` -> ``{"metadata[a]": "b"}``"""
    if isinstance(params, dict):
        pairs = [(f"{prefix}[{name}]" if prefix else name, v) for name, v in params.items()]
    elif isinstance(params, list):
        pairs = [(f"{prefix}[{place}]", v) for place, v in enumerate(params)]
    else:
        return {prefix: str(params)}
    return {name: text for at, value in pairs for name, text in flat(value, at).items()}


_FIELDS: dict[str, type] = {
    "method": str,
    "path": str,
    "body": dict,
    "skip": int,
    "count": int,
    "kind": str,
    "status": int,
    "code": str,
    "message": str,
    "ms": int,
    "when": str,
    "committed": bool,
    "kept": bool,
    "random": dict,
}


def checked(given: Json) -> Json:
    """A fault as it was asked for, with its defaults; raises ValueError on nonsense."""
    for name, value in given.items():
        if name not in _FIELDS:
            raise ValueError(f"a fault has no {name!r}: {', '.join(_FIELDS)}")
        if value is not None and type(value) is not _FIELDS[name]:
            raise ValueError(f"{name} is of type {_FIELDS[name].__name__}")
    given = {name: value for name, value in given.items() if value is not None}
    if "random" in given:
        chance = {"seed": 0, "rate": 0.1, "kinds": ["status_500"], **given["random"]}
        if set(chance) != {"seed", "rate", "kinds"} or not 0 <= chance["rate"] <= 1:
            raise ValueError("random has seed, rate (from 0 to 1) and kinds")
        for kind in chance["kinds"]:
            fault_of({"kind": kind})
        given = {"kind": "random", **given, "random": chance}
    else:
        fault_of(given)
    re.compile(given.get("path", ""))
    return {"method": None, "path": ".*", "body": {}, "skip": 0, "count": None, **given}


def fault_of(row: Json) -> Fault:
    """``kind`` may carry its detail: ``status_503``, ``slow_after``."""
    kind = str(row.get("kind", ""))
    fields = {
        name: row[name]
        for name in ("status", "code", "message", "ms", "when", "committed", "kept")
        if name in row
    }
    if kind.startswith("status_"):
        kind, fields["status"] = "status", int(kind.removeprefix("status_"))
    if kind in ("slow_before", "slow_after"):
        kind, fields["when"] = "slow", kind.removeprefix("slow_")
    if kind not in KINDS:
        raise ValueError(f"kind is one of {', '.join(KINDS)} (or status_503, slow_after ...)")
    if fields.get("when", "before") not in ("before", "after"):
        raise ValueError("when is before or after")
    if not 400 <= fields.get("status", 500) <= 599:
        raise ValueError("status is an error status")
    return Fault(kind, **fields)


class Faults:
    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, given: Json) -> Json:
        row = checked(given)
        id = f"fault_{self._store.serial():08d}"
        return self._store.add("_fault", id, {"id": id, **row, "matched": 0, "struck": 0})

    def list(self) -> list[Json]:
        return self._store.all("_fault")

    def clear(self) -> int:
        rows = self.list()
        for row in rows:
            self._store.remove("_fault", row["id"])
        return len(rows)

    def choose(self, method: str, path: str, params: Json) -> Fault | None:
        """The first fault that strikes this request. Counts matches, so call it once."""
        rows = self.list()
        if not rows:
            return None
        fields = flat(params)
        for row in rows:
            if not _matches(row, method, path, fields):
                continue
            row = self._store.edit("_fault", row["id"])
            row["matched"] += 1
            if row["matched"] <= row["skip"]:
                continue
            if row["count"] is not None and row["struck"] >= row["count"]:
                continue
            fault = _by_chance(row) if "random" in row else fault_of(row)
            if fault is not None:
                row["struck"] += 1
                return fault
        return None


def _matches(row: Json, method: str, path: str, fields: dict[str, str]) -> bool:
    return (
        row["method"] in (None, method)
        and re.fullmatch(row["path"], path) is not None
        and all(fields.get(name) == str(value) for name, value in row["body"].items())
    )


def _by_chance(row: Json) -> Fault | None:
    chance = row["random"]
    dice = random.Random(f"{chance['seed']}:{row['matched']}")
    if dice.random() >= chance["rate"]:
        return None
    return fault_of({**row, "kind": dice.choice(chance["kinds"])})
