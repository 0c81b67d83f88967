"""Where an issuer is asked about or for tokens: a URL written down, or of provider metadata."""

import asyncio
from collections.abc import Callable, Mapping
from math import inf
from typing import Final, Protocol

from sidecar.core.keyset import MAX_DOCUMENT_BYTES
from sidecar.fetch.client import Fetcher, FetchError
from sidecar.issuers.sources import FETCH_TIMEOUT_SECONDS, SourceError, own_metadata

FRESH_SECONDS: Final = 3600.0
"""How long metadata is believed. Endpoints move as rarely as issuers do."""
FAILED_SECONDS: Final = 1.0
"""How long it is not tried again without an endpoint: others wait behind whoever tries."""
RETRY_SECONDS: Final = 60.0
"""How long an endpoint known from old metadata is used before those are asked for again."""


class Endpoint(Protocol):
    """Finds the URL of an endpoint."""

    @property
    def named_by(self) -> str | None:
        """The URL of the document that names it, if any."""

    async def url(self) -> str:
        """Return the URL. Raises ``FetchError`` or ``SourceError``."""
        ...


class GivenEndpoint:
    """The operator wrote it down."""

    named_by = None

    def __init__(self, url: str) -> None:
        self._url = url

    async def url(self) -> str:
        return self._url


class Find(Protocol):
    """Finds an endpoint in provider metadata that are *issuer*'s own. Raises ``SourceError``."""

    def __call__(self, metadata: bytes, *, issuer: str) -> str: ...


def introspection_endpoint_of(metadata: bytes, *, issuer: str) -> str:
    """Return the endpoint in provider *metadata* that is *issuer*'s own.

    Another issuer's metadata must not name where our secret is sent. Raises ``SourceError``.
    """
    return _endpoint(own_metadata(metadata, issuer=issuer), "introspection_endpoint")


def token_endpoint_of(metadata: bytes, *, issuer: str) -> str:
    """Return the one where tokens are asked for, as ``introspection_endpoint_of`` does."""
    return _endpoint(own_metadata(metadata, issuer=issuer), "token_endpoint")


def mtls_token_endpoint_of(metadata: bytes, *, issuer: str) -> str:
    """Return the one for clients that show a certificate, if it is another (RFC 8705, 5)."""
    members = own_metadata(metadata, issuer=issuer)
    aliases = members.get("mtls_endpoint_aliases")
    if isinstance(aliases, dict) and "token_endpoint" in aliases:
        return _endpoint(aliases, "token_endpoint")
    return _endpoint(members, "token_endpoint")


def _endpoint(members: Mapping[str, object], name: str) -> str:
    endpoint = members.get(name)
    if not isinstance(endpoint, str):
        raise SourceError(f"the provider metadata has no {name}", "invalid_document")
    return endpoint


class DiscoveredEndpoint:
    """An endpoint in provider metadata (RFC 8414, section 2).

    Asked for when first needed, once for everybody who waits. An endpoint that was found stays
    in use while the metadata cannot be had.
    """

    def __init__(
        self,
        metadata_url: str,
        fetch: Fetcher,
        *,
        issuer: str,
        allow_plaintext: bool,
        ca: str | None = None,
        clock: Callable[[], float],
        find: Find = introspection_endpoint_of,
    ) -> None:
        """*clock* is monotonic; *find* says which endpoint it is."""
        self.named_by = metadata_url
        self._find = find
        self._fetch = fetch
        self._issuer = issuer
        self._allow_plaintext = allow_plaintext
        self._ca = ca
        self._clock = clock
        self._known = ""
        self._failure: FetchError | SourceError | None = None
        self._due_at = -inf
        self._one_at_a_time = asyncio.Lock()

    async def url(self) -> str:
        async with self._one_at_a_time:
            if self._clock() >= self._due_at:
                await self._renew()
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            return self._known

    async def _renew(self) -> None:
        try:
            metadata = await self._fetch.get(
                self.named_by,
                max_bytes=MAX_DOCUMENT_BYTES,
                timeout_seconds=FETCH_TIMEOUT_SECONDS,
                allow_plaintext=self._allow_plaintext,
                ca=self._ca,
            )
            self._known = self._find(metadata, issuer=self._issuer)
        except (FetchError, SourceError) as failure:
            self._failure = None if self._known else failure
            self._due_at = self._clock() + (RETRY_SECONDS if self._known else FAILED_SECONDS)
        else:
            self._failure = None
            self._due_at = self._clock() + FRESH_SECONDS
