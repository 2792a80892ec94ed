"""Idempotency keys: docs.stripe.com/api/idempotent_requests and docs.stripe.com/error-low-level.

A key keeps the first answer that an endpoint gave, errors and 500s included. It is compared with
the request's method, path and parameters, and forgotten once it is 24 hours old by the clock of
the customer whom the request concerned.
"""

from __future__ import annotations

import hashlib
import json

from .errors import StripeError, invalid
from .store import Json
from .world import World

KEPT_SECONDS = 24 * 3600
MAX_LENGTH = 255


def fingerprint(method: str, path: str, params: Json) -> str:
    canonical = json.dumps([method, path, params], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


class Keys:
    def __init__(self, world: World) -> None:
        self._world = world
        self._in_flight: set[str] = set()

    def begin(self, key: str) -> None:
        """docs.stripe.com/error-codes#idempotency-key-in-use; not kept, may be retried."""
        if len(key) > MAX_LENGTH:
            raise invalid(f"Idempotency-Key must be at most {MAX_LENGTH} characters")
        if key in self._in_flight:
            raise StripeError(
                409,
                "There is currently another in-progress request using this Idempotent Key (that "
                "probably means you submitted twice, and the other request is still going "
                f"through): {key}. Please try again later.",
                type="idempotency_error",
                code="idempotency_key_in_use",
                executed=False,
            )
        self._in_flight.add(key)

    def end(self, key: str) -> None:
        self._in_flight.discard(key)

    def kept(self, key: str, method: str, path: str, params: Json) -> Json | None:
        """The kept answer ``{status, body, request_id}``; another call under its key is refused."""
        row = self._world.store.get("_key", key)
        if row is None or self._is_old(row):
            return None
        if row["path"] != path or row["method"] != method:
            raise StripeError(
                400,
                "Keys for idempotent requests can only be used for the same endpoint they were "
                f"first used for ('{path}' vs '{row['path']}'). Try using a key other than "
                f"'{key}' if you meant to execute a different request.",
                type="idempotency_error",
                executed=False,
            )
        if row["fingerprint"] != fingerprint(method, path, params):
            raise StripeError(
                400,
                "Keys for idempotent requests can only be used with the same parameters they were "
                f"first used with. Try using a key other than '{key}' if you meant to execute a "
                "different request.",
                type="idempotency_error",
                executed=False,
            )
        return row

    def keep(
        self,
        key: str,
        *,
        method: str,
        path: str,
        params: Json,
        customer: str,
        status: int,
        body: Json,
        request_id: str,
    ) -> None:
        if self._world.store.get("_key", key) is not None:
            self._world.store.remove("_key", key)
        self._world.store.add(
            "_key",
            key,
            {
                "method": method,
                "path": path,
                "fingerprint": fingerprint(method, path, params),
                "customer": customer,
                "created": self._world.clocks.now(customer),
                "status": status,
                "body": body,
                "request_id": request_id,
            },
        )

    def _is_old(self, row: Json) -> bool:
        age: int = self._world.clocks.now(row["customer"]) - row["created"]
        return age >= KEPT_SECONDS
