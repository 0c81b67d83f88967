"""A copy of an issuer's key set on disk, for a start while the issuer is down.

Owns the file: what it must be to be believed, and writing it whole or not at all. When it is used
belongs to ``sidecar.issuers.keys``.
"""

import json
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkstemp
from typing import Final

from sidecar.config.model import Discovery, Issuer, JwksFile, JwksUri
from sidecar.core.encoding import EncodingError, json_object
from sidecar.core.jose import KeyUse
from sidecar.core.keyset import MAX_DOCUMENT_BYTES, KeySet, KeySetError, parse_jwks
from sidecar.core.profiles import profile_of

_VERSION: Final = 1
_MAX_FILE_BYTES: Final = 2 * MAX_DOCUMENT_BYTES + 16_384
"""The document is kept as a JSON string, in which every quotation mark has a backslash."""
_MEMBERS: Final = {"version", "issuer", "source", "fetched_at", "jwks"}


class CopyError(Exception):
    """The copy cannot be used. The message is one line and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was read from disk."""

    keys: KeySet
    fetched_at: float
    """When the issuer was asked, in seconds since the epoch."""


class KeyCopy:
    """One issuer's copy. Whoever may write the file decides whose tokens are believed.

    So it is believed only if it is ours alone to write, and says that it is of this issuer and
    from this source: the copy of another issuer, or from before the configuration changed, is
    as good as none.
    """

    def __init__(
        self, directory: str, *, name: str, issuer: str, source: str, use: KeyUse = "sig"
    ) -> None:
        self.path = Path(directory, f"{name}.keys.json")
        self._issuer = issuer
        self._source = source
        self._use: KeyUse = use

    def read(self, *, now: float, max_age_seconds: float) -> Copied | None:
        """Return the copy, or ``None`` where there is none.

        Raises ``CopyError`` for one that is not as we wrote it, is from the future, or is
        *max_age_seconds* old.
        """
        try:
            content = _own_bytes(self.path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            cause = error.strerror if isinstance(error, OSError) else str(error)
            raise CopyError(f"cannot be used: {cause}") from None
        copied = self._parsed(content)
        if copied.fetched_at > now:
            raise CopyError("is from the future")
        if now - copied.fetched_at >= max_age_seconds:
            raise CopyError("is older than `stale_for`")
        return copied

    def write(self, jwks: bytes, fetched_at: float) -> None:
        """Replace the copy in one step. Raises ``OSError``. May block."""
        text = json.dumps(
            {
                "version": _VERSION,
                "issuer": self._issuer,
                "source": self._source,
                "fetched_at": fetched_at,
                "jwks": jwks.decode(),
            },
            ensure_ascii=False,
        )
        # mkstemp's files are 0600 whatever the umask.
        descriptor, name = mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        try:
            with open(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise

    def _parsed(self, content: bytes) -> Copied:
        try:
            document = json_object(content)
        except EncodingError as error:
            raise CopyError(f"is {error}") from None
        if document.keys() != _MEMBERS or document["version"] != _VERSION:
            raise CopyError("is not a copy that this version wrote")
        if document["issuer"] != self._issuer or document["source"] != self._source:
            raise CopyError("is of another issuer or from another source")
        fetched_at, jwks = document["fetched_at"], document["jwks"]
        if type(fetched_at) is not float or not isinstance(jwks, str):
            raise CopyError("is not a copy that this version wrote")
        try:
            return Copied(parse_jwks(jwks.encode(), self._use), fetched_at)
        except KeySetError as error:
            raise CopyError(f"is not usable: {error}") from None


def copy_of(issuer: Issuer) -> KeyCopy | None:
    """Return the copy that *issuer*'s configuration asks for."""
    match issuer.keys:
        case JwksUri(url) | Discovery(url) if issuer.keys_cache is not None:
            return KeyCopy(
                issuer.keys_cache,
                name=issuer.name,
                issuer=issuer.issuer,
                source=url,
                use=profile_of(issuer.profile).key_use,
            )
        case JwksUri() | Discovery() | JwksFile():
            return None


def _own_bytes(path: Path) -> bytes:
    """Read a regular file that nobody else may write, never through a link of somebody's."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        if status.st_uid != os.geteuid():
            raise ValueError("owned by another user")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ValueError("others may write it")
        content = file.read(_MAX_FILE_BYTES + 1)
    if len(content) > _MAX_FILE_BYTES:
        raise ValueError("too large")
    return content
