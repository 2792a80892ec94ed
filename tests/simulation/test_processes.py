"""Ports that are held for servers to come."""

from __future__ import annotations

import gc
import socket

import pytest

from simulation import processes
from simulation.processes import LOOPBACK, HeldPort


def listening(port: int) -> socket.socket:
    """A socket that listens there, as a server's does."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((LOOPBACK, port))
    server.listen()
    return server


def test_a_server_may_listen_on_a_held_port_again_and_again() -> None:
    held = HeldPort()
    for _ in range(2):
        with listening(held.number), socket.create_connection((LOOPBACK, held.number), 5):
            pass


def test_nobody_is_there_until_a_server_comes() -> None:
    held = HeldPort()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, held.number), 5)


def test_a_port_on_which_somebody_listens_is_not_taken_and_one_that_is_left_may_be() -> None:
    held = HeldPort()
    with listening(held.number):
        assert HeldPort(held.number).number != held.number
    number = held.number
    del held
    gc.collect()
    assert HeldPort(number).number == number


@pytest.mark.skipif(not processes.IS_SHARED, reason="ports are chosen here, and not held")
def test_the_system_gives_a_held_port_to_nobody_else() -> None:
    held = [HeldPort() for _ in range(300)]
    ours = {each.number for each in held}
    assert len(ours) == len(held)
    for _ in range(20_000):
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind((LOOPBACK, 0))
            assert other.getsockname()[1] not in ours


def test_where_two_sockets_cannot_share_a_port_it_is_left_to_its_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "IS_SHARED", False)
    chosen = HeldPort()
    with socket.socket() as server:  # without SO_REUSEADDR, as if the system knew no such thing
        server.bind((LOOPBACK, chosen.number))
