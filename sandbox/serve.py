"""The sandbox as a process: uvicorn on one loopback socket."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .app import create_app
from .settings import Settings


class DroppableProtocol(H11Protocol):
    """Hands the connection's transport to the application, which may have to drop it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn raises the signal again after its shutdown; a clean end should exit with 0."""
        yield


def listening_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it an answer costs 40 ms.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    return sock


def url_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def announce(url: str, port_file: Path | None) -> None:
    """One JSON line on stdout and, atomically, the same in ``port_file``."""
    line = json.dumps({"url": url})
    if port_file is not None:
        draft = port_file.with_name(f"{port_file.name}.{os.getpid()}.tmp")
        draft.write_text(line + "\n", encoding="utf-8")
        draft.replace(port_file)
    print(line, flush=True)


async def serve(
    *,
    host: str,
    port: int,
    state_path: Path | None,
    port_file: Path | None,
    settings: Settings,
) -> int:
    app = create_app(state_path=state_path, settings=settings)
    config = uvicorn.Config(
        app,
        http=DroppableProtocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, server)
    with listening_socket(host, port) as sock:
        running = asyncio.create_task(server.serve(sockets=[sock]))
        while not server.started:
            if running.done():
                await running
                print("the sandbox could not start", file=sys.stderr)
                return 1
            await asyncio.sleep(0.005)
        announce(url_of(sock), port_file)
        await running
    return 0


def _stop(server: Server) -> None:
    server.should_exit = True
