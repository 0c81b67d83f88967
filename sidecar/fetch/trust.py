"""Whose certificates are accepted where the operator names a file of authorities.

Owns reading the file again when it changed. What such a file must hold is in ``sidecar.tls``.
"""

import os
import ssl

from sidecar.tls import files
from sidecar.tls.contexts import client_context


class TrustError(Exception):
    """The file cannot be used. The message is the rest of a sentence about it."""


class Trust:
    """The authorities in one file, and no others.

    A file that cannot be read is an error and not the authorities it had before: those may be
    what it was changed to be rid of, and the keys in use outlast the error.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, int, int, int] | None = None
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Return what a server is spoken to with. Raises ``TrustError``."""
        try:
            status = os.stat(self._path)
        except (OSError, ValueError) as error:
            cause = error.strerror if isinstance(error, OSError) else "not a path"
            raise TrustError(f"cannot be read: {cause}") from None
        seen = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)
        if self._context is None or seen != self._seen:
            paths = files.TlsPaths(ca=self._path)
            try:
                self._context = client_context(paths, files.read(paths))
            except files.TlsFileError as error:
                self._context = None
                raise TrustError(str(error)) from None
            self._seen = seen
        return self._context
