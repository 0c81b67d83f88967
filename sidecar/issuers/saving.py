"""Keeps the copy of an issuer's keys on disk current, without anybody waiting for the disk."""

import asyncio
import logging
from typing import Final

from sidecar.issuers.copies import KeyCopy

_LAST_WRITE_SECONDS: Final = 1.0

_log = logging.getLogger("sidecar.issuers")


class Saver:
    """One write at a time. What comes meanwhile waits, and only the newest of it."""

    def __init__(self, name: str, copy: KeyCopy) -> None:
        self._name = name
        self._copy = copy
        self._next: tuple[bytes, float] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._fails = False

    def save(self, jwks: bytes, fetched_at: float) -> None:
        """Have the copy replaced, soon."""
        self._next = jwks, fetched_at
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name=f"copy of {self._name}")

    async def close(self) -> None:
        """Wait for the last write, but not for a disk that does not answer."""
        if self._writing is not None and not self._writing.done():
            await asyncio.wait((self._writing,), timeout=_LAST_WRITE_SECONDS)
            self._writing.cancel()

    async def _write(self) -> None:
        while self._next is not None:
            (jwks, fetched_at), self._next = self._next, None
            try:
                await asyncio.to_thread(self._copy.write, jwks, fetched_at)
            except OSError as error:
                if not self._fails:
                    cause = error.strerror or type(error).__name__
                    _log.warning("issuer %s: no copy of its keys is kept: %s", self._name, cause)
                self._fails = True
            else:
                self._fails = False
