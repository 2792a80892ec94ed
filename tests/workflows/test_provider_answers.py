"""What the provider's answers must hold to be believed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from activities.provider import Provider, ProviderUnavailable
from domain.money import Money
from tests.stack import API_KEY

REFUND = {
    "id": "re_1", "status": "pending", "amount": 2500, "currency": "usd", "created": 1_800_000_000,
}  # fmt: skip


@asynccontextmanager
async def answering(body: Any) -> AsyncIterator[tuple[Provider, list[str]]]:
    """A provider that gives one answer to everything, and what it was asked (request lines)."""
    asked: list[str] = []
    content = json.dumps(body).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n")).decode().strip())
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    provider = Provider(API_KEY, base_url=f"http://127.0.0.1:{port}")
    try:
        yield provider, asked
    finally:
        await provider.close()
        server.close()
        await server.wait_closed()


async def test_what_we_do_not_read_makes_no_difference() -> None:
    async with answering({**REFUND, "object": "refund", "of_next_year": [1]}) as (provider, _):
        refund = await provider.refund("re_1")
    assert refund.amount == Money(amount_minor=2500, currency="usd")


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": "2500"},
        {"amount": None},
        {"id": 7},
        {"metadata": {"case_id": 1}},
        {"created": None},
    ],
)
async def test_an_answer_of_another_shape_is_no_answer(wrong: dict[str, Any]) -> None:
    (field,) = wrong
    async with answering({**REFUND, **wrong}) as (provider, _):
        with pytest.raises(ProviderUnavailable, match=field):
            await provider.refund("re_1")


async def test_an_id_stays_one_part_of_the_path() -> None:
    async with answering(REFUND) as (provider, asked):
        await provider.refund("../charges/ch_1?limit=1")
    assert asked == ["GET /v1/refunds/..%2Fcharges%2Fch_1%3Flimit%3D1 HTTP/1.1"]
