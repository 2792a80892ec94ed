"""Personal text at rest: sealed under a key per customer that can be destroyed.

Rows, chain and exports hold ciphertext only. Destroying a customer's key leaves every hash
as it was and every sealed text unreadable: what remains decodes to the tombstone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import select, update
from sqlalchemy.engine import Row

from domain.canonical import instant
from domain.errors import InvalidRequest
from ledger import tables as t
from ledger.books import Books, wall_clock

TOMBSTONE: Final = "[erased]"
"""What sealed text says once its key is destroyed."""

KEY_BYTES = 32
NONCE_BYTES = 12
PREFIX = "sealed:v1:"

DEFAULT_TTL_SECONDS = 30
CACHE_SIZE = 4096

V = TypeVar("V")


ENGINE_KEY_ID = "engine"


class SealBroken(Exception):
    """Sealed text that was altered, cut, or never sealed by these books."""


class Keyring:
    """Keys of 32 random bytes per customer, stored only wrapped under ``master_key``.

    A key is cached for ``ttl_seconds``: that long another process may still read a customer
    whose key was destroyed here. New keys are written in a transaction of their own, so seal
    before opening one.
    """

    def __init__(
        self,
        books: Books,
        master_key: bytes,
        *,
        ttl_seconds: int = DEFAULT_TTL_SECONDS,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        if len(master_key) != KEY_BYTES:
            raise InvalidRequest(
                "master_key", f"it has {len(master_key)} bytes", f"{KEY_BYTES} bytes"
            )
        self._books = books
        self._wrapping = AESGCM(_derive(master_key, b"redress customer keys v1"))
        self._lookup_key = _derive(master_key, b"redress look-ups v1")
        self._engine_key = _derive(master_key, b"redress engine payloads v1")
        self._keys = _TimedCache[bytes](ttl_seconds, elapsed)
        self._current = _TimedCache[str](ttl_seconds, elapsed)
        self._case_customers = _TimedCache[str](ttl_seconds, elapsed)

    async def seal(self, customer: str, text: str) -> str:
        """``sealed:v1:<key id>:<base64 of nonce and ciphertext>``; bound to the key's id."""
        key_id, key = await self.data_key(customer)
        nonce = secrets.token_bytes(NONCE_BYTES)
        ciphertext = AESGCM(key).encrypt(nonce, text.encode(), key_id.encode())
        return f"{PREFIX}{key_id}:{base64.b64encode(nonce + ciphertext).decode()}"

    async def unseal(self, sealed: str) -> str:
        """The text, or :data:`TOMBSTONE` when its key is destroyed.

        Raises ``SealBroken`` on text that these books never sealed.
        """
        key_id, _, encoded = sealed.removeprefix(PREFIX).partition(":")
        if not sealed.startswith(PREFIX) or not encoded:
            raise SealBroken("the text is not sealed:v1")
        try:
            key = await self.key_by_id(key_id)
        except LookupError as error:
            raise SealBroken(f"the text names a key that was never made: {key_id}") from error
        if key is None:
            return TOMBSTONE
        try:
            blob = base64.b64decode(encoded, validate=True)
            text = AESGCM(key).decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], key_id.encode())
        except (ValueError, InvalidTag) as error:
            raise SealBroken("the sealed text was altered") from error
        return text.decode()

    async def destroy(self, customer: str) -> None:
        """Overwrite the customer's keys with nothing, for ever.

        A later ``seal`` makes a new generation. What the database itself still keeps for a
        while (an SQLite write-ahead log that a reader holds open; on PostgreSQL the old row
        version until VACUUM, logs and backups) is wrapped under the master key.
        """
        k = t.customer_keys.c
        async with self._books.transaction() as transaction:
            rows = await transaction.execute(
                update(t.customer_keys)
                .where(k.customer == customer, k.wrapped.is_not(None))
                .values(wrapped=None, destroyed_at=instant(wall_clock()))
                .returning(k.id)
            )
        self._current.forget(customer)
        for row in rows:
            self._keys.forget(row.id)
        await self._books.checkpoint()

    def lookup_hash(self, text: str) -> str:
        """HMAC-SHA256 (hex) to look up an e-mail address by, without storing it."""
        return hmac.new(self._lookup_key, text.encode(), hashlib.sha256).hexdigest()

    async def data_key(self, customer: str) -> tuple[str, bytes]:
        """The customer's living key and its id; made on first use."""
        key_id = self._current.get(customer)
        if key_id is not None:
            key = await self.key_by_id(key_id)
            if key is not None:
                return key_id, key
        row = await self._living(customer)
        if row is None:
            row = await self._make(customer)
        return self._known(customer, row.id, row.wrapped)

    def _known(self, customer: str, key_id: str, wrapped: str) -> tuple[str, bytes]:
        """The customer's living key, unwrapped and remembered for a while."""
        key = self._unwrap(wrapped, key_id, customer)
        self._current.put(customer, key_id)
        self._keys.put(key_id, key)
        return key_id, key

    async def key_by_id(self, key_id: str) -> bytes | None:
        """The key, or None when it was destroyed. Raises ``LookupError`` when never made."""
        if key_id == ENGINE_KEY_ID:
            return self._engine_key
        cached = self._keys.get(key_id)
        if cached is not None:
            return cached
        k = t.customer_keys.c
        async with self._books.reading() as reading:
            rows = await reading.execute(select(k.customer, k.wrapped).where(k.id == key_id))
        if not rows:
            raise LookupError(key_id)
        if rows[0].wrapped is None:
            return None
        key = self._unwrap(rows[0].wrapped, key_id, rows[0].customer)
        self._keys.put(key_id, key)
        return key

    async def key_for_case(self, case_id: str) -> tuple[str, bytes] | None:
        """The key of the customer whose request opened the case; None when none did."""
        customer = self._case_customers.get(case_id)
        if customer is None:
            k, r = t.customer_keys.c, t.requests.c
            async with self._books.reading() as reading:
                rows = await reading.execute(
                    select(r.customer, k.id, k.wrapped)
                    .select_from(
                        t.requests.outerjoin(
                            t.customer_keys, (k.customer == r.customer) & k.wrapped.is_not(None)
                        )
                    )
                    .where(r.case_id == case_id)
                    .order_by(k.generation.desc())
                    .limit(1)
                )
            if not rows:
                return None
            customer = str(rows[0].customer)
            self._case_customers.put(case_id, customer)
            row = rows[0] if rows[0].id is not None else await self._make(customer)
            return self._known(customer, row.id, row.wrapped)
        return await self.data_key(customer)

    def engine_key(self) -> tuple[str, bytes]:
        """The key for payloads that belong to no customer; derived, never destroyed."""
        return ENGINE_KEY_ID, self._engine_key

    async def _living(self, customer: str) -> Row[tuple[str, str]] | None:
        k = t.customer_keys.c
        async with self._books.reading() as reading:
            rows = await reading.execute(
                select(k.id, k.wrapped)
                .where(k.customer == customer, k.wrapped.is_not(None))
                .order_by(k.generation.desc())
                .limit(1)
            )
        return rows[0] if rows else None

    async def _make(self, customer: str) -> Row[tuple[str, str]]:
        """A living key of the customer: a new one, or that which another made meanwhile."""
        k = t.customer_keys.c
        mine = select(k.id, k.wrapped, k.generation).where(k.customer == customer)
        key_id = secrets.token_hex(12)
        key = secrets.token_bytes(KEY_BYTES)
        async with self._books.transaction() as transaction:
            known = await transaction.execute(mine)
            if not any(row.wrapped for row in known):
                await transaction.insert_once(
                    t.customer_keys,
                    {
                        "id": key_id,
                        "customer": customer,
                        # of two that make the same generation, one is kept and both use it
                        "generation": len(known) + 1,
                        "wrapped": self._wrap(key, key_id, customer),
                        "created_at": instant(wall_clock()),
                    },
                    on=["customer", "generation"],
                )
            made = await transaction.execute(
                mine.where(k.wrapped.is_not(None)).order_by(k.generation.desc()).limit(1)
            )
        if not made:
            raise RuntimeError("the customer's new key was destroyed as it was made; ask again")
        return made[0]

    def _wrap(self, key: bytes, key_id: str, customer: str) -> str:
        nonce = secrets.token_bytes(NONCE_BYTES)
        wrapped = self._wrapping.encrypt(nonce, key, f"{customer}:{key_id}".encode())
        return base64.b64encode(nonce + wrapped).decode()

    def _unwrap(self, wrapped: str, key_id: str, customer: str) -> bytes:
        blob = base64.b64decode(wrapped)
        try:
            return self._wrapping.decrypt(
                blob[:NONCE_BYTES], blob[NONCE_BYTES:], f"{customer}:{key_id}".encode()
            )
        except InvalidTag as error:
            raise SealBroken(
                f"key {key_id} does not open: another master key, or the row was altered"
            ) from error


def _derive(master_key: bytes, purpose: bytes) -> bytes:
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=purpose).derive(master_key)


class _TimedCache(Generic[V]):
    """Values that are forgotten after a while; emptied when it grows past its size."""

    def __init__(self, ttl_seconds: int, elapsed: Callable[[], float]) -> None:
        self._ttl_seconds = ttl_seconds
        self._elapsed = elapsed
        self._entries: dict[str, tuple[float, V]] = {}

    def get(self, name: str) -> V | None:
        entry = self._entries.get(name)
        if entry is None or self._elapsed() - entry[0] >= self._ttl_seconds:
            self._entries.pop(name, None)
            return None
        return entry[1]

    def put(self, name: str, value: V) -> None:
        if len(self._entries) >= CACHE_SIZE:
            self._entries.clear()
        self._entries[name] = (self._elapsed(), value)

    def forget(self, name: str) -> None:
        self._entries.pop(name, None)
