"""One living world for all tests of whole cases; each case has a customer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client as TemporalClient
from temporalio.service import RetryConfig

from client import Client
from ledger.books import Books
from ledger.migrate import migrate
from tests.stack import TemporalServer, new_database
from tests.workflows.world import WebProcess, World, living_world
from web.store import open_books
from workflows.converter import sealing_converter


@pytest.fixture(scope="session")
async def world(temporal_server: TemporalServer) -> AsyncIterator[World]:
    async with living_world(temporal_server.address) as world:
        yield world
        await world.assert_sound()


@pytest.fixture(scope="module")
async def web(world: World) -> AsyncIterator[WebProcess]:
    async with WebProcess(world) as web:
        yield web


@pytest.fixture
async def fresh_books(tmp_path: Path) -> AsyncIterator[Books]:
    """Books with nothing in them."""
    url = new_database(tmp_path)
    await migrate(url, app_role=None)
    async with open_books(url) as books:
        yield books


@pytest.fixture
async def cut_off(world: World) -> Client:
    """A client whose line to Temporal was cut after it had connected; the books it does reach."""
    host, port = world.stack.temporal_address.split(":")
    writers: list[asyncio.StreamWriter] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while chunk := await reader.read(65536):
            writer.write(chunk)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer))

    line = await asyncio.start_server(forward, "127.0.0.1", 0)
    temporal = await TemporalClient.connect(
        "127.0.0.1:{1}".format(*line.sockets[0].getsockname()),
        data_converter=sealing_converter(world.stack.keyring),
        retry_config=RetryConfig(initial_interval_millis=10, max_elapsed_time_millis=100),
    )
    line.close()
    for writer in writers:
        writer.close()
    stack = world.stack
    return Client(temporal, stack.books, stack.keyring, stack.client.signing_key)
