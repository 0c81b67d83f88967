"""A destination's token that somebody else writes into a file, and replaces in time.

Such as a projected service account token, or a secret that an agent rotates. Owns when the file is
looked at, and what in it may be sent.
"""

import logging
import os
import re
from collections.abc import Callable
from math import inf
from typing import Final

from sidecar.config.references import ReferenceProblem, read_regular_file
from sidecar.core.obtained import Failure, Hold, ObtainedToken
from sidecar.core.principal import Credential
from sidecar.core.unverified_claims import end_of, unverified_claims
from sidecar.telemetry.token_exchanges import TokenExchangeMetrics

MAX_BYTES: Final = 16 * 1024
LOOK_SECONDS: Final = 1.0
"""Least time between two looks at the file that calls cause: one ``stat``, some microseconds."""

_VISIBLE: Final = re.compile(rb"[\x21-\x7e]+")
"""What can stand in a field after ``Bearer`` without being two things."""

_log = logging.getLogger("sidecar.tokens")


class TokenFile:
    """One file's token, for every caller; used like a ``TokenSource``.

    It is read when it is first needed, and again when it was changed or replaced, on the loop's
    thread: its size is bounded, and opening it never waits. A file that is gone, empty or no
    token is no token from the next look on, whatever was in it before.
    """

    def __init__(
        self,
        path: str,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        report: TokenExchangeMetrics,
    ) -> None:
        """*clock* is monotonic, *wall_clock* says seconds since the epoch."""
        self._path = path
        self._clock = clock
        self._wall_clock = wall_clock
        self._report = report
        self._next_look = -inf
        self._seen: tuple[int, int, int, int] | None = None
        self._hold = Hold()
        self._found: ObtainedToken | Failure = Failure("unavailable", "not looked at so far")
        self._told = ""

    def get(self, subject: Credential | None) -> ObtainedToken | Failure:  # noqa: ARG002
        """Return the token, or why there is none; it is the same for every *subject*."""
        if self._clock() >= self._next_look:
            self._look()
        found = self._found
        if isinstance(found, ObtainedToken):
            if self._wall_clock() < found.expires_at:
                self._report.cached += 1
                return found
            found = self._tell("holds a token that has expired, and nobody has replaced it")
        self._report.came_to("unavailable")
        return found

    def still_good(self, token: ObtainedToken) -> bool:
        """Whether *token* may be sent now. One that was replaced since is, by the call that has
        it in hand; one whose file is gone is not.
        """
        if self._clock() >= self._next_look:
            self._look()
        return token.hold.live and self._wall_clock() < token.expires_at

    def refused(self, token: ObtainedToken, subject: Credential | None) -> bool:  # noqa: ARG002
        """Look at the file at once, since *token* was answered with 401; say whether that helps."""
        self._look()
        return isinstance(self._found, ObtainedToken) and self._found.digest != token.digest

    def _look(self) -> None:
        self._next_look = self._clock() + LOOK_SECONDS
        try:
            status = os.stat(self._path)
        except OSError as error:
            self._seen = None
            self._lose(f"cannot be read: {error.strerror}")
            return
        # Looked at before it is read: a change in between is seen as one the next time.
        seen = status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev
        if seen != self._seen:
            self._seen = seen
            self._read()

    def _read(self) -> None:
        try:
            content = read_regular_file(self._path, MAX_BYTES)
        except ReferenceProblem as problem:
            self._lose(str(problem))
            return
        token = content.removesuffix(b"\n").removesuffix(b"\r")
        if not token:
            self._lose("is empty")
        elif not _VISIBLE.fullmatch(token):
            self._lose("is not one line of visible ASCII characters")
        elif not (isinstance(self._found, ObtainedToken) and self._found.token == token):
            self._take(token)

    def _take(self, token: bytes) -> None:
        claims = unverified_claims(token)
        end = None if claims is None else end_of(claims)
        found = ObtainedToken(token, self._wall_clock(), inf if end is None else end)
        found.hold = self._hold
        self._found = found
        self._report.came_to("obtained")
        if self._told:
            self._told = ""
            _log.info("token file %s: is good again", self._path)

    def _lose(self, cause: str) -> None:
        self._hold.live = False
        self._hold = Hold()
        self._found = self._tell(cause)

    def _tell(self, cause: str) -> Failure:
        """Return the failure; the log says it once, until it changes."""
        if cause != self._told:
            self._told = cause
            _log.warning("token file %s: %s; calls that need it are refused", self._path, cause)
        return Failure("unavailable", f"token file {self._path}: {cause}")
