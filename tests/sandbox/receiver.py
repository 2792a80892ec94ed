"""A webhook receiver of the tests: it keeps what it gets and answers what it is told to."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

import stripe


class Receiver:
    """``statuses`` are the next answers; after them always 200."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.bodies: list[tuple[bytes, str]] = []
        self.url = ""
        self._server: asyncio.Server | None = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head)
            }
            body = await reader.readexactly(int(headers["content-length"]))
            self.bodies.append((body, headers["stripe-signature"]))
            status = self.statuses.pop(0) if self.statuses else 200
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            await writer.drain()
        finally:
            writer.close()
            await writer.wait_closed()

    async def __aenter__(self) -> Receiver:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/hooks"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def judged(self, secret: str) -> list[str]:
        """What Stripe's own library says to each body: the event's type, or why it is refused."""
        verdicts = []
        for body, signature in self.bodies:
            try:
                event: Any = stripe.Webhook.construct_event(body, signature, secret)
                verdicts.append(str(event.type))
            except stripe.SignatureVerificationError as error:
                verdicts.append("stale" if "tolerance" in str(error) else "forged")
        return verdicts
