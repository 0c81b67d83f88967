"""What is asked of a socket below a transport, and what is not."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.wire.sockets import LAST_READ_BYTES, is_quiet, last_read


class Transport(asyncio.BaseTransport):
    """A transport over one end of a pair of sockets."""

    def __init__(self, **extra: object) -> None:
        super().__init__(extra)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end, which does not block, and the peer's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def test_quiet_means_neither_bytes_nor_the_end(pair: Pair) -> None:
    """Both make a connection readable."""
    ours, theirs = pair
    assert is_quiet(Transport(socket=ours))
    theirs.send(b"x")
    assert not is_quiet(Transport(socket=ours))
    ours.recv(1)
    assert is_quiet(Transport(socket=ours))
    theirs.shutdown(socket.SHUT_WR)
    assert not is_quiet(Transport(socket=ours))


def test_what_has_no_socket_any_more_is_not_quiet(pair: Pair) -> None:
    """A closed connection is not one to write to."""
    ours, _ = pair
    ours.close()
    assert not is_quiet(Transport(socket=ours))
    assert not is_quiet(Transport())
    assert last_read(Transport(socket=ours)) == b""
    assert last_read(Transport()) == b""


def test_the_last_read_takes_what_is_there_within_its_bound(pair: Pair) -> None:
    """Nothing is waited for."""
    ours, theirs = pair
    assert last_read(Transport(socket=ours)) == b""
    theirs.send(b"answer")
    theirs.close()
    assert last_read(Transport(socket=ours)) == b"answer"
    assert last_read(Transport(socket=ours)) == b""
    assert LAST_READ_BYTES == 256 * 1024


def test_what_is_encrypted_is_not_read(pair: Pair) -> None:
    """Ciphertext is no answer."""
    ours, theirs = pair
    theirs.send(b"\x17\x03\x03")
    context: Any = object()
    assert last_read(Transport(socket=ours, sslcontext=context)) == b""
