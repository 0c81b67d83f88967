"""Write batches of lines from a thread, so that a reader who stalls never stalls the loop.

Owns the thread, the bound on what waits for it, and writing whole batches to a descriptor. What
the lines say belongs to whoever hands them over.
"""

import os
import select
import time
from collections.abc import Callable
from queue import Full, Queue
from threading import Lock, Thread


class DescriptorWriter:
    """Write each batch completely to a file descriptor, blocking for as long as that takes.

    Several threads may share one: batches never mix.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._torn = False
        self._lock = Lock()

    def __call__(self, batch: bytes) -> None:
        """Write *batch*; raise OSError when the descriptor fails.

        A failure may leave half a line behind. The next batch then starts on a new one.
        """
        with self._lock:
            self._write(batch)

    def _write(self, batch: bytes) -> None:
        rest = memoryview(b"\n" + batch if self._torn else batch)
        while rest:
            try:
                written = os.write(self._descriptor, rest)
            except BlockingIOError:
                self._wait()
                continue
            self._torn = written < len(rest)
            rest = rest[written:]

    def _wait(self) -> None:
        # Whoever shares our standard output may have made it non-blocking for all of us.
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        poll.poll()


class BatchWriter:
    """A daemon thread behind a bounded queue. Full means the caller keeps or drops its batch."""

    def __init__(
        self, write: Callable[[bytes], object], *, max_batches: int, name: str = "access-log"
    ) -> None:
        self._write = write
        self._name = name
        self._queue: Queue[tuple[bytes, int] | None] = Queue(max_batches)
        self.lost_lines = 0
        """Lines whose batch could not be written. Only the thread adds to it."""
        self._thread: Thread | None = None

    def offer(self, batch: bytes, lines: int, *, timeout_seconds: float = 0.0) -> bool:
        """Take over *batch*, or return false when the queue stays full for *timeout_seconds*."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        try:
            self._queue.put((batch, lines), timeout_seconds > 0.0, timeout_seconds)
        except Full:
            return False
        return True

    def close(self, timeout_seconds: float) -> None:
        """Write what was taken over and end the thread; give up after *timeout_seconds*.

        May be called again.
        """
        if self._thread is None or not self._thread.is_alive():
            return
        deadline = time.monotonic() + timeout_seconds
        try:
            self._queue.put(None, timeout=timeout_seconds)
        except Full:
            return
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            batch, lines = item
            try:
                self._write(batch)
            except (OSError, ValueError):  # ValueError: a file object that was closed
                self.lost_lines += lines
