"""An aiohttp client session that does only what fetching an issuer's documents needs.

Owns asking the guard at every step: before each hop for the URL, after each lookup for the
addresses. The rules themselves are in ``sidecar.fetch.guard``.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from sidecar import __version__
from sidecar.fetch import guard
from sidecar.fetch.client import (
    NO_FIELDS,
    AnswerFields,
    ClientCertificate,
    Document,
    FetchError,
    FetchFault,
    FormAnswer,
    Lookup,
)
from sidecar.fetch.trust import Trust, TrustError

MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_HEADERS: Final = {
    "Accept": "application/json",
    # A small compressed answer can be a large document: the size limit would be met too late.
    "Accept-Encoding": "identity",
    "User-Agent": f"jwt-sidecar/{__version__}",
}


async def system_lookup(host: str, port: int) -> Sequence[str]:
    """Resolve *host* as the system does."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class _AddressRefused(Exception):  # noqa: N818 - carries a refusal through aiohttp, never escapes
    pass


class _GuardedResolver(AbstractResolver):
    """Gives aiohttp addresses that passed the guard; those are what it connects to.

    One refused address refuses the name: an answer that mixes good and forbidden addresses
    is how names are rebound.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - aiohttp's; we take both
    ) -> list[ResolveResult]:
        addresses = await self._lookup(host, port)
        for address in addresses:
            if cause := guard.why_address_refused(address):
                raise _AddressRefused(cause)
            if guard.is_localhost(host) and not guard.is_loopback(address):
                raise _AddressRefused("localhost does not resolve to a loopback address")
        if not addresses:
            raise OSError("no address")
        return [_resolved(host, address, port) for address in dict.fromkeys(addresses)]

    async def close(self) -> None:
        """Release nothing: a lookup holds nothing between calls."""


def _resolved(host: str, address: str, port: int) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=0,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )


class Session:
    """A guarded session; needs a running loop to be made, and to be closed in the same one."""

    def __init__(self, *, lookup: Lookup | None, ssl_context: ssl.SSLContext | None) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_GuardedResolver(lookup or system_lookup),
                # Neither a cached answer nor an old connection outlives a check.
                use_dns_cache=False,
                force_close=True,
                ssl=ssl_context or ssl.create_default_context(),
            ),
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        self._trusts: dict[tuple[str, str, str], Trust] = {}
        """By path, of which there are as many as the configuration names."""

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def get(
        self,
        url: str,
        *,
        max_bytes: int,
        timeout_seconds: float,
        allow_plaintext: bool,
        named_by: str | None,
        ca: str | None = None,
    ) -> Document:
        """Return a 200 answer; see ``Fetcher.get``."""
        origin = _parsed(named_by) if named_by is not None else None
        target = _checked(_parsed(url), origin, allow_plaintext=allow_plaintext)
        try:
            async with asyncio.timeout(timeout_seconds):
                for _ in range(MAX_REDIRECTS + 1):
                    answer = await self._ask(target, max_bytes, self._trusted(target, ca))
                    if isinstance(answer, Document):
                        return answer
                    target = _checked(answer, target, allow_plaintext=allow_plaintext)
        except TimeoutError:
            raise _error(
                target, f"no complete answer within {timeout_seconds:g} s", "network_error"
            ) from None
        raise _error(target, f"more than {MAX_REDIRECTS} redirects", "http_error")

    async def post_form(
        self,
        url: str,
        form: Sequence[tuple[str, str]],
        *,
        authorization: str | None,
        max_bytes: int,
        timeout_seconds: float,
        allow_plaintext: bool,
        named_by: str | None,
        ca: str | None = None,
        certificate: ClientCertificate | None = None,
        max_error_bytes: int = 0,
    ) -> FormAnswer:
        """Send *form* once and return the answer; see ``Fetcher.post_form``."""
        origin = _parsed(named_by) if named_by is not None else None
        target = _checked(_parsed(url), origin, allow_plaintext=allow_plaintext)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if authorization is not None:
            headers["Authorization"] = authorization
        try:
            async with (
                asyncio.timeout(timeout_seconds),
                self._session.post(
                    target,
                    data=urlencode(form).encode(),
                    headers=headers,
                    allow_redirects=False,
                    ssl=self._trusted(target, ca, certificate),
                ) as response,
            ):
                if 300 <= response.status <= 399:
                    raise _error(target, "redirected; a secret is not sent on", "http_error")
                fields = _fields(response)
                if response.status != 200:
                    said = await _error_content(response, max_error_bytes)
                    return FormAnswer(response.status, said, fields)
                return FormAnswer(200, await _content(target, response, max_bytes), fields)
        except TimeoutError:
            raise _error(
                target, f"no complete answer within {timeout_seconds:g} s", "network_error"
            ) from None
        except _AddressRefused as refused:
            raise _error(target, str(refused), "refused_address") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # An error of aiohttp may hold the request's fields.
            raise _error(
                target, _cause(error), "network_error", unanswered=_is_unanswered(error)
            ) from None

    def _trusted(
        self, url: URL, ca: str | None, shown: ClientCertificate | None = None
    ) -> ssl.SSLContext | bool:
        """Return what says whose certificates are accepted; ``True`` is what the session has."""
        if ca is None and shown is None:
            return True
        pair = ("", "") if shown is None else (shown.certificate, shown.key)
        paths = ca or "", *pair
        try:
            return self._trusts.setdefault(paths, Trust(*paths)).context()
        except TrustError as error:
            raise _error(url, f"the `{error.role}` file {error}", "network_error") from None

    async def _ask(self, url: URL, max_bytes: int, trust: ssl.SSLContext | bool) -> Document | URL:
        """Return the document, or the URL to which the server redirects."""
        try:
            async with self._session.get(url, allow_redirects=False, ssl=trust) as response:
                if response.status in _REDIRECTS:
                    return _location(url, response)
                content = await _content(url, response, max_bytes)
                return Document(content, _fields(response))
        except _AddressRefused as refused:
            raise _error(url, str(refused), "refused_address") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _error(url, _cause(error), "network_error") from error


async def _error_content(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Return what an error says of itself; nothing where it says more than *max_bytes*."""
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding != "identity" or max_bytes == 0:
        return b""
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > max_bytes:
            return b""
    return bytes(content)


def _is_unanswered(error: Exception) -> bool:
    match error:
        case aiohttp.ClientSSLError():
            return False
        case aiohttp.ClientOSError() | aiohttp.ServerDisconnectedError() | ConnectionError():
            return True
        case _:
            return False


async def _content(url: URL, response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    if response.status != 200:
        cause = f"answered with status {response.status}"
        raise _error(url, cause, "http_error", _fields(response))
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise _error(url, "answered with a content coding nobody asked for", "http_error")
    # Said beforehand, it need not be received to be refused.
    if (response.content_length or 0) > max_bytes:
        raise _error(url, f"the document is larger than {max_bytes} bytes", "http_error")
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > max_bytes:
            raise _error(url, f"the document is larger than {max_bytes} bytes", "http_error")
    return bytes(content)


def _fields(response: aiohttp.ClientResponse) -> AnswerFields:
    headers = response.headers
    return AnswerFields(
        # A list may be spread over several lines (RFC 9110, section 5.3).
        cache_control=", ".join(headers.getall("Cache-Control", [])),
        age=headers.get("Age", ""),
        date=headers.get("Date", ""),
        retry_after=headers.get("Retry-After", ""),
    )


def _location(url: URL, response: aiohttp.ClientResponse) -> URL:
    location = guard.parse_url(response.headers.get("Location", ""))
    if location is None:
        raise _error(url, "redirected without a valid location", "http_error")
    return url.join(location)


def _parsed(text: str) -> URL:
    url = guard.parse_url(text)
    if url is None:
        raise FetchError("not a valid URL", "refused_address")
    return url


def _checked(target: URL, origin: URL | None, *, allow_plaintext: bool) -> URL:
    """Return *target* if it may be asked, being named by *origin* or else by the operator."""
    if cause := guard.why_url_refused(target, allow_plaintext=allow_plaintext):
        raise _error(target, cause, "refused_address")
    if origin is not None and (cause := guard.why_hop_refused(origin, target)):
        raise _error(target, cause, "refused_address")
    return target


def _cause(error: Exception) -> str:
    """Say what broke, in our words where aiohttp's would repeat the URL."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not accepted: {_certificate_fault(error)}"
        case aiohttp.ClientConnectorDNSError():
            return "the name does not resolve"
        case aiohttp.ClientSSLError():
            return "no TLS connection could be made"
        case aiohttp.ClientConnectorError(os_error=reason):
            return f"no connection could be made: {_said(reason)}"
        case aiohttp.ClientPayloadError():
            return "the answer ended early"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | ConnectionError():
            return "the connection was closed before an answer"
        case aiohttp.ClientResponseError():
            return "the answer was not valid HTTP"
        case _:
            return f"the request failed ({type(error).__name__})"


def _certificate_fault(error: aiohttp.ClientConnectorCertificateError) -> str:
    """Return what a person needs of OpenSSL's message: not its code and line numbers."""
    fault = error.certificate_error
    if isinstance(fault, ssl.SSLCertVerificationError):
        return fault.verify_message.rstrip(".")
    return str(fault)


def _said(error: OSError) -> str:
    """Say what the system said: asyncio puts a call and an address in its place."""
    return os.strerror(error.errno) if error.errno else type(error).__name__


def _error(
    url: URL,
    cause: str,
    kind: FetchFault,
    fields: AnswerFields = NO_FIELDS,
    *,
    unanswered: bool = False,
) -> FetchError:
    """Name the host of *url* and nothing else of it."""
    host = url.raw_host or "no host"
    port = "" if url.explicit_port is None else f":{url.explicit_port}"
    shown = f"[{host}]" if ":" in host else host
    message = " ".join(f"{shown[:255]}{port}: {cause}".split())
    return FetchError(message, kind, fields, unanswered=unanswered)
