"""``sidecar.telemetry.writer``: whole batches on awkward descriptors."""

import os
import socket
import threading

import pytest

from sidecar.telemetry.writer import BatchWriter, DescriptorWriter


def drained(reader: socket.socket) -> bytes:
    chunks = []
    while chunk := reader.recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_batch_larger_than_the_pipe_arrives_whole(blocking: bool) -> None:
    """Partial writes go on where they stopped, also where the descriptor is non-blocking."""
    near, far = socket.socketpair()
    near.setblocking(blocking)
    batch = os.urandom(3_000_000)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(drained(far)))
    reader.start()
    DescriptorWriter(near.fileno())(batch)
    near.close()
    reader.join(60)
    far.close()
    assert received == [batch]


def test_the_batch_after_a_torn_one_starts_on_its_own_line() -> None:
    """A write that failed halfway leaves half a line, and never glues it to a good one."""
    near, far = socket.socketpair()
    near.setblocking(False)
    writer = DescriptorWriter(near.fileno())
    failed = threading.Event()

    def tear() -> None:
        with pytest.raises(OSError):  # noqa: PT011 - EPIPE or ECONNRESET, as the kernel likes
            writer(b"x" * 10_000_000)
        failed.set()

    thread = threading.Thread(target=tear)
    thread.start()
    far.recv(1)
    far.close()
    assert failed.wait(60)
    thread.join()
    descriptor = near.fileno()
    reader, replacement = os.pipe()
    os.dup2(replacement, descriptor)
    writer(b'{"whole":1}\n')
    writer(b'{"whole":2}\n')
    assert os.read(reader, 100) == b'\n{"whole":1}\n{"whole":2}\n'
    near.close()
    os.close(reader)
    os.close(replacement)


def test_closing_a_writer_that_was_never_used_is_immediate() -> None:
    """No thread is started, and none waited for, where nothing was ever written."""
    before = threading.active_count()
    writer = BatchWriter(lambda batch: None, max_batches=1)
    writer.close(60)
    assert threading.active_count() == before
