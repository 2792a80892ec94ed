"""One ASGI app: the provider's webhooks and health. It only asks; it decides nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from domain.errors import RedressError
from ledger.keys import Keyring
from settings import Settings, load
from web.store import Inbox, open_books
from web.webhooks import BadSignature, Postman, receive
from workflows.connection import connect

log = structlog.get_logger()

LARGEST_BODY = 1_000_000
"""Bytes; the provider's events are far smaller."""


def problem(status: int, kind: str, detail: str, *, retryable: bool) -> JSONResponse:
    """An error as RFC 9457 problem details."""
    return JSONResponse(
        {"type": f"about:blank#{kind}", "title": kind, "status": status, "detail": detail,
         "retryable": retryable},
        status_code=status,
        media_type="application/problem+json",
    )  # fmt: skip


def _tell_if_dead(carrying: asyncio.Task[None]) -> None:
    """Without its postman the app would take events in and tell nobody: say so, and end."""
    if not carrying.cancelled() and carrying.exception() is not None:
        log.error("webhooks_stopped", exc_info=carrying.exception())
        os.kill(os.getpid(), signal.SIGTERM)


def create(settings: Settings | None = None) -> FastAPI:
    """The app; its connections live as long as it does."""
    known = settings or load()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not known.stripe_webhook_secret.get_secret_value():
            raise RedressError("REDRESS_STRIPE_WEBHOOK_SECRET is not set")
        async with open_books(known.database_url) as books:
            temporal = await connect(Keyring(books, known.master_key_bytes()))
            app.state.inbox = Inbox(books)
            app.state.postman = Postman(app.state.inbox, temporal)
            carrying = asyncio.create_task(app.state.postman.run())
            carrying.add_done_callback(_tell_if_dead)
            yield
            carrying.cancel()

    app = FastAPI(title="Redress", version="0.1.0", lifespan=lifespan, openapi_url=None)

    @app.post("/webhooks/stripe")
    async def stripe_webhook(request: Request) -> Response:
        """Answers 2xx once the event is written down, 4xx when it is not the provider's."""
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                break
        if len(body) > LARGEST_BODY:
            return problem(413, "too_large", "the body is too large", retryable=False)
        header = request.headers.get("stripe-signature", "")
        try:
            state = await receive(
                app.state.inbox,
                app.state.postman,
                body,
                header,
                known.stripe_webhook_secret.get_secret_value(),
            )
        except BadSignature as error:
            log.warning("webhook_refused", why=str(error))
            return problem(400, "bad_signature", str(error), retryable=False)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return problem(400, "bad_event", f"not an event: {error}", retryable=False)
        return JSONResponse({"received": True, "state": state})

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> Response:
        try:
            await app.state.inbox.is_ready()
        except (SQLAlchemyError, OSError):
            return problem(503, "not_ready", "the books do not answer", retryable=True)
        return JSONResponse({"status": "ready"})

    return app
