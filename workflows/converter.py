"""What Temporal stores: pydantic models as JSON, encrypted under a key per customer.

Failures are encrypted too (message and stack trace), since an error text may quote input.
Once a customer's key is destroyed their payloads decode to a tombstone and nothing raises.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    ActivitySerializationContext,
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

ENCODING = b"binary/aes-gcm"
TOMBSTONE = {"tombstone": "the key of this customer was destroyed"}


class CaseKeys(Protocol):
    """Where keys come from: the ledger's keyring, or fixed ones in a replay."""

    async def key_for_case(self, case_id: str) -> tuple[str, bytes] | None:
        """Id and 32 bytes of the key for a case's payloads; None when it has no customer."""

    def engine_key(self) -> tuple[str, bytes]:
        """The key for whatever belongs to no customer, so that nothing is ever in the clear."""

    async def key_by_id(self, key_id: str) -> bytes | None:
        """The key, or None once it was destroyed."""


class SealingCodec(PayloadCodec, WithSerializationContext):
    """AES-GCM over whole payloads; the key id travels in the payload's metadata."""

    def __init__(self, keys: CaseKeys, workflow_id: str = "") -> None:
        self._keys = keys
        self._workflow_id = workflow_id

    def with_context(self, context: SerializationContext) -> Self:
        if isinstance(context, WorkflowSerializationContext | ActivitySerializationContext):
            return type(self)(self._keys, context.workflow_id or "")
        return self

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        key_id, key = await self._keys.key_for_case(self._workflow_id) or self._keys.engine_key()
        return [self._encrypt(payload, key_id, key) for payload in payloads]

    @staticmethod
    def _encrypt(payload: Payload, key_id: str, key: bytes) -> Payload:
        nonce = os.urandom(12)
        sealed = AESGCM(key).encrypt(nonce, payload.SerializeToString(), key_id.encode())
        return Payload(
            metadata={"encoding": ENCODING, "key-id": key_id.encode()}, data=nonce + sealed
        )

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [await self._decrypt(payload) for payload in payloads]

    async def _decrypt(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        key_id = payload.metadata["key-id"]
        key = await self._keys.key_by_id(key_id.decode())
        if key is None:
            return _tombstone()
        try:
            clear = AESGCM(key).decrypt(payload.data[:12], payload.data[12:], key_id)
        except InvalidTag:
            return _tombstone()
        return Payload.FromString(clear)


def _tombstone() -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(TOMBSTONE).encode())


_CONVERTERS = tuple(PydanticPayloadConverter().converters.values())


class OneForAll(CompositePayloadConverter):
    """:class:`PydanticPayloadConverter`, whose parts are made once: Temporal makes a converter
    a payload, and a new one has forgotten every type adapter."""

    def __init__(self) -> None:
        super().__init__(*_CONVERTERS)


def sealing_converter(keys: CaseKeys) -> DataConverter:
    """The converter of every client and worker of the product."""
    return dataclasses.replace(
        DataConverter.default,
        payload_converter_class=OneForAll,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
        payload_codec=SealingCodec(keys),
    )
