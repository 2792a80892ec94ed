"""The ASGI application: Stripe's API under ``/v1``, the control routes under ``/_sandbox``."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount
from starlette.types import Message, Receive, Scope, Send

from .control import control_routes
from .engine import Answer, Incoming, Sandbox
from .settings import Settings

TICK_SECONDS = 1
FLUSH_SECONDS, FLUSH_TRIES = 2, 200


class ConnectionDropped(ConnectionResetError):
    """Raised towards the server when the application runs without a transport to close."""


def create_app(
    *,
    state_path: Path | None = None,
    settings: Settings | None = None,
    wall: Callable[[], float] = time.time,
) -> Starlette:
    """``app.state.sandbox`` is the :class:`Sandbox`. State is in memory without ``state_path``.

    The ticker and the webhooks run while the application's lifespan does.
    """
    sandbox = Sandbox(state_path, settings, wall)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(_tick(sandbox)), asyncio.create_task(sandbox.webhooks.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            sandbox.close()

    api = StripeApi(sandbox)
    app = Starlette(
        # Stripe's paths first: they are many, and routes are tried in order.
        routes=[Mount("/v1", app=api), *control_routes(sandbox), Mount("/", app=api)],
        lifespan=lifespan,
    )
    app.state.sandbox = sandbox
    return app


async def _tick(sandbox: Sandbox) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        try:
            sandbox.tick()
        except Exception:  # a fault of one tick is told, and must not stop all clocks for good
            traceback.print_exc(file=sys.stderr)


class StripeApi:
    """Plain ASGI, because an answer may be no answer."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        incoming = Incoming(
            method=request.method,
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            body=await request.body(),
            headers={name.lower(): value for name, value in request.headers.items()},
        )
        answer = await self._sandbox.answer(incoming)
        if answer.delivery == "drop":
            await _drop(scope)
            return
        await send(_start(answer))
        if answer.delivery == "truncate":
            half = answer.body[: len(answer.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
            await _drop(scope, gently=True)
            return
        await send({"type": "http.response.body", "body": answer.body})


def _start(answer: Answer) -> Message:
    headers = answer.headers | {"Content-Length": str(len(answer.body))}
    return {
        "type": "http.response.start",
        "status": answer.status,
        "headers": [(name.lower().encode(), _header(value)) for name, value in headers.items()],
    }


def _header(value: str) -> bytes:
    return value.encode("latin-1", errors="replace")


async def _drop(scope: Scope, *, gently: bool = False) -> None:
    """Close the socket without an answer; ``gently`` sends first what was written.

    ``serve.DroppableProtocol`` puts the transport into the scope.
    """
    transport = scope.get("state", {}).get("transport")
    if transport is None:
        raise ConnectionDropped("the sandbox drops this connection")
    if gently:
        transport.close()
    else:
        transport.abort()
    # The server must learn of the loss before this returns, or it would answer 500 itself.
    await asyncio.sleep(0)
    for _ in range(FLUSH_TRIES):
        if transport.get_write_buffer_size() == 0:
            return
        await asyncio.sleep(FLUSH_SECONDS / FLUSH_TRIES)
    transport.abort()
