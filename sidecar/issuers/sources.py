"""Where an issuer's key set comes from: a file, a URL, or metadata that names the URL.

Owns obtaining the document's bytes. Reading keys out of them belongs to
``sidecar.core.keyset``, deciding when to ask again to ``sidecar.issuers.keys``.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final, Literal, Protocol, assert_never

from sidecar.config.model import Discovery, Issuer, JwksFile, JwksUri
from sidecar.core.documents import found_instead
from sidecar.core.encoding import EncodingError, json_object, printable
from sidecar.core.keyset import MAX_DOCUMENT_BYTES
from sidecar.fetch.client import Document, Fetcher

FETCH_TIMEOUT_SECONDS: Final = 5.0
"""Bound of one document; callers may be waiting for it."""
FILE_POLL_SECONDS: Final = 2.0
"""One ``stat`` costs microseconds, and works on every kind of mount, unlike notifications."""


class SourceError(Exception):
    """A document could be reached but is not what it has to be. The message is one line."""

    def __init__(self, message: str, kind: Literal["invalid_document", "issuer_mismatch"]) -> None:
        super().__init__(message)
        self.kind: Literal["invalid_document", "issuer_mismatch"] = kind


class Source(Protocol):
    """Gives an issuer's key set as published."""

    poll_seconds: float
    """How often ``changed`` is worth asking; ``inf`` where it never is."""

    async def read(self) -> Document:
        """Return the document. Raises ``SourceError`` or ``FetchError``."""
        ...

    def changed(self) -> bool:
        """Tell, cheaply, whether ``read`` would now return something else than last time."""
        ...


def source_of(issuer: Issuer, fetch: Fetcher) -> Source:
    """Return the source that *issuer* configures, reading URLs through *fetch*."""
    match issuer.keys:
        case JwksFile(path):
            return FileSource(path)
        case JwksUri(url):
            return UriSource(url, fetch, allow_plaintext=issuer.allow_plaintext, ca=issuer.ca)
        case Discovery(url):
            return DiscoverySource(
                url,
                fetch,
                issuer=issuer.issuer,
                allow_plaintext=issuer.allow_plaintext,
                ca=issuer.ca,
            )
        case never:
            assert_never(never)


@dataclass(frozen=True, slots=True)
class _Signature:
    """What changes when a file is written, replaced, or a link to it is turned."""

    modified_ns: int
    size: int
    inode: int
    device: int


def _signature(status: os.stat_result) -> _Signature:
    return _Signature(status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)


class FileSource:
    """A key set on disk.

    It is read on the loop's thread: the size is bounded, and opening never waits for a
    writer, whatever kind of file the path turns out to be.
    """

    poll_seconds = FILE_POLL_SECONDS

    def __init__(self, path: str) -> None:
        self._path = path
        self._read: _Signature | None = None

    async def read(self) -> Document:
        # Looked at before it is read: a change in between is then seen as one later.
        self._read = self._look()
        try:
            content = _first_bytes(self._path, MAX_DOCUMENT_BYTES + 1)
        except (OSError, ValueError) as error:
            raise SourceError(
                f"{self._path}: {_why_unreadable(error)}", "invalid_document"
            ) from error
        if len(content) > MAX_DOCUMENT_BYTES:
            raise SourceError(
                f"{self._path}: larger than {MAX_DOCUMENT_BYTES} bytes", "invalid_document"
            )
        return Document(content)

    def changed(self) -> bool:
        return self._look() != self._read

    def _look(self) -> _Signature | None:
        try:
            return _signature(os.stat(self._path))
        except (OSError, ValueError):
            return None


def _first_bytes(path: str, count: int) -> bytes:
    """Read up to *count* bytes of a regular file, never waiting for a pipe's other end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(count)
    finally:
        os.close(descriptor)


def _why_unreadable(error: OSError | ValueError) -> str:
    cause = error.strerror if isinstance(error, OSError) else str(error)
    return f"cannot be read: {cause}"


class UriSource:
    """A key set at a URL."""

    poll_seconds = inf

    def __init__(
        self, url: str, fetch: Fetcher, *, allow_plaintext: bool, ca: str | None = None
    ) -> None:
        self._url = url
        self._fetch = fetch
        self._ca = ca
        self._allow_plaintext = allow_plaintext

    async def read(self) -> Document:
        return await self._fetch.get_document(
            self._url,
            max_bytes=MAX_DOCUMENT_BYTES,
            timeout_seconds=FETCH_TIMEOUT_SECONDS,
            allow_plaintext=self._allow_plaintext,
            ca=self._ca,
        )

    def changed(self) -> bool:
        return False


class DiscoverySource:
    """A key set named by provider metadata (OpenID Connect Discovery 1.0, RFC 8414).

    The metadata is read again each time: issuers move their keys, and the check that it is
    this issuer's metadata is only worth something if it is made every time.
    """

    poll_seconds = inf

    def __init__(
        self,
        url: str,
        fetch: Fetcher,
        *,
        issuer: str,
        allow_plaintext: bool,
        ca: str | None = None,
    ) -> None:
        self._url = url
        self._fetch = fetch
        self._ca = ca
        self._issuer = issuer
        self._allow_plaintext = allow_plaintext

    async def read(self) -> Document:
        metadata = await self._get(self._url, named_by=None)
        jwks_uri = jwks_uri_of(metadata.content, issuer=self._issuer)
        return await self._get(jwks_uri, named_by=self._url)

    def changed(self) -> bool:
        return False

    async def _get(self, url: str, *, named_by: str | None) -> Document:
        return await self._fetch.get_document(
            url,
            max_bytes=MAX_DOCUMENT_BYTES,
            timeout_seconds=FETCH_TIMEOUT_SECONDS,
            allow_plaintext=self._allow_plaintext,
            named_by=named_by,
            ca=self._ca,
        )


def jwks_uri_of(metadata: bytes, *, issuer: str) -> str:
    """Return ``jwks_uri`` of provider *metadata* that is *issuer*'s own.

    Raises ``SourceError``.
    """
    jwks_uri = own_metadata(metadata, issuer=issuer).get("jwks_uri")
    if not isinstance(jwks_uri, str):
        raise SourceError("the provider metadata has no jwks_uri", "invalid_document")
    return jwks_uri


def own_metadata(metadata: bytes, *, issuer: str) -> Mapping[str, object]:
    """Return provider *metadata* that is *issuer*'s own.

    The ``issuer`` member must be identical, character for character (RFC 8414, section
    3.3): else one issuer's metadata could vouch for another's keys, or name where our secret
    is sent. Raises ``SourceError``.
    """
    try:
        document = json_object(metadata)
    except EncodingError as error:
        cause = f"the provider metadata is {error}{found_instead(metadata)}"
        raise SourceError(cause, "invalid_document") from None
    said = document.get("issuer")
    if said != issuer:
        raise SourceError(
            f"the provider metadata says issuer {_shown(said)}, configured is {issuer}"
            f"{_difference(said, issuer)}",
            "issuer_mismatch",
        )
    return document


def _shown(issuer: object) -> str:
    return printable(issuer, limit=200) if isinstance(issuer, str) else "(not a string)"


def _difference(said: object, issuer: str) -> str:
    """Name a difference that is easily overlooked."""
    if not isinstance(said, str) or said.rstrip("/") != issuer.rstrip("/"):
        return ""
    return ": they differ in the slash at the end"
