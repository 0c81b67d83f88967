"""Contexts that follow their files: certificates and keys are replaced without a restart.

Owns when to look and what to keep. Whoever replaces files does it in more than one step, so a set
that does not fit together is looked at again before anybody is told.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from sidecar.tls.files import (
    TlsContents,
    TlsFileError,
    TlsPaths,
    Validity,
    check_authorities,
    check_pair,
    read,
)

LOOK_SECONDS: Final = 2.0
"""Between two looks. Files are compared by content, which works on every kind of mount."""
_MAX_ATTEMPTS: Final = 3

_log = logging.getLogger("sidecar.tls")

Build = Callable[[TlsPaths, TlsContents], ssl.SSLContext]


class RotationReport(Protocol):
    """Where the outcome of each replacement is counted."""

    def reloaded(self, successful: bool) -> None:
        """New files were taken, or could not be."""

    def valid_until(self, ends: datetime) -> None:
        """Take note of when the certificate in use ends."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A context and the contents it was made of."""

    contents: TlsContents
    context: ssl.SSLContext
    validity: Validity | None
    """``None`` where there is no certificate of ours."""


def load(paths: TlsPaths, build: Build) -> Loaded:
    """Read the files and make a context of them. Raises ``TlsFileError``. Blocks.

    ``ssl`` reads certificate and key by itself, so both are read again to know what it saw.
    """
    for _ in range(_MAX_ATTEMPTS):
        contents = read(paths)
        validity = check_pair(contents) if paths.certificate else None
        if paths.ca:
            check_authorities(contents)
        context = build(paths, contents)
        if read(paths) == contents:
            return Loaded(contents, context, validity)
    raise TlsFileError("certificate", "changes while it is read")


class RotatingContext:
    """One endpoint's context. What works is only ever replaced by what works."""

    def __init__(
        self,
        name: str,
        paths: TlsPaths,
        build: Build,
        *,
        report: RotationReport,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Load for the first time. *changed* is called when there is a new context.

        Raises:
            TlsFileError: the files cannot be used.
        """
        self.name = name
        self.paths = paths
        self.changed = changed
        self._build = build
        self._report = report
        self._loaded = load(paths, build)
        self._doubtful: tuple[TlsContents | None, str] | None = None
        self._told: tuple[TlsContents | None, str] | None = None
        self._tell_validity()

    @property
    def context(self) -> ssl.SSLContext:
        return self._loaded.context

    def current(self) -> ssl.SSLContext:
        """Return ``context``, as a function for whoever asks again and again."""
        return self._loaded.context

    def look(self) -> Loaded | TlsFileError | None:
        """Return what the files have become; nothing where they are as before. Blocks."""
        contents = None
        try:
            contents = read(self.paths)
            if contents == self._loaded.contents:
                self._doubtful = self._told = None
                return None
            return load(self.paths, self._build)
        except TlsFileError as error:
            found = contents, f"{error.role}: {error}"
            if found == self._told:
                return None
            if found == self._doubtful:  # twice the same: nobody is in the middle of it
                self._told = found
                return error
            self._doubtful = found
            return None

    def take(self, found: Loaded | TlsFileError) -> None:
        """Use a new context, or say why not."""
        if isinstance(found, TlsFileError):
            path = getattr(self.paths, found.role)
            _log.error("%s: the old certificates stay in use: %s %s", self.name, path, found)
            self._report.reloaded(False)
            return
        self._doubtful = self._told = None
        self._loaded = found
        self._report.reloaded(True)
        self._tell_validity()
        until = f", valid until {found.validity.ends:%Y-%m-%dT%H:%M:%SZ}" if found.validity else ""
        _log.info("%s: new TLS files are in use%s", self.name, until)
        self.changed()

    def _tell_validity(self) -> None:
        if self._loaded.validity is not None:
            self._report.valid_until(self._loaded.validity.ends)


class Rotation:
    """Looks after all contexts, off the loop: a mount may hang."""

    def __init__(
        self,
        contexts: Sequence[RotatingContext],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._contexts = contexts
        self._sleep = sleep

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self._sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        for each in self._contexts:
            found = await asyncio.to_thread(each.look)
            if found is not None:
                each.take(found)
