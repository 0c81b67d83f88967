"""Whose certificates are accepted where a file of authorities is named, and which one is shown.

Owns reading the files again when they changed. What they must hold is in ``sidecar.tls``.
"""

import logging
import os
import ssl
from typing import Final

from sidecar.tls import files
from sidecar.tls.contexts import client_context

_log: Final = logging.getLogger("sidecar.fetch")

_Seen = tuple[int, int, int, int] | None


class TrustError(Exception):
    """A file cannot be used. The message is the rest of a sentence about it; *role* says which."""

    def __init__(self, message: str, role: files.Role) -> None:
        super().__init__(message)
        self.role: files.Role = role


class Trust:
    """The authorities in one file, and no others; without a file those of the system.

    A file of authorities that cannot be read is an error and not the authorities it had before:
    those may be what it was changed to be rid of. A certificate of ours and its key are two files
    that cannot change at once, so that the old ones are shown until the new ones can be used.
    """

    def __init__(self, path: str, certificate: str = "", key: str = "") -> None:
        self._paths = files.TlsPaths(certificate, key, path)
        self._seen: tuple[_Seen, _Seen, _Seen] | None = None
        self._context: ssl.SSLContext | None = None
        self._taken: tuple[_Seen, _Seen, _Seen] | None = None
        """What the context in use was made of."""

    def context(self) -> ssl.SSLContext:
        """Return what a server is spoken to with. Raises ``TrustError``."""
        paths = self._paths
        ca = _look(paths.ca, "ca")
        pair = _look_leniently(paths.certificate), _look_leniently(paths.key)
        seen = (ca, *pair)
        if self._context is None or seen != self._seen:
            try:
                contents = files.read(paths)
                if paths.certificate:
                    files.check_pair(contents)
                self._context = client_context(paths, contents)
                self._taken = seen
            except files.TlsFileError as error:
                self._keep(seen, error)
            self._seen = seen
        assert self._context is not None  # or an error was raised
        return self._context

    def _keep(self, seen: tuple[_Seen, _Seen, _Seen], error: files.TlsFileError) -> None:
        """Go on with what there is, unless whom we trust changed."""
        kept = self._context is not None and self._taken is not None and self._taken[0] == seen[0]
        if not kept:
            self._context = None
            raise TrustError(str(error), error.role) from None
        path = getattr(self._paths, error.role)
        _log.warning("the client certificate in use stays the old one: %s %s", path, error)


def _look(path: str, role: files.Role) -> _Seen:
    if not path:
        return None
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not a path"
        raise TrustError(f"cannot be read: {cause}", role) from None
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev


def _look_leniently(path: str) -> _Seen:
    """What is gone is found out when it is read."""
    try:
        return _look(path, "certificate")
    except TrustError:
        return None
