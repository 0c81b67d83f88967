"""The one client for keys, discovery and other APIs of issuers, opened on first use.

Owns the life of the session and the errors. What the session does, and what it refuses,
is in ``sidecar.fetch.session``; it is imported on the first request, because a pod whose
keys are on disk should not pay for an HTTP client in memory and start-up time.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    import ssl

    from sidecar.fetch.session import Session

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolves a host name (for a port) to IP literals; raises ``OSError`` where it cannot."""

FetchFault = Literal["network_error", "http_error", "refused_address"]
"""``network_error``: no complete answer came. ``http_error``: an answer came that we do not
accept (status, coding, size, redirects). ``refused_address``: we did not even ask."""


@dataclass(frozen=True, slots=True)
class AnswerFields:
    """What an answer said of itself, as written; empty where it said nothing."""

    cache_control: str = ""
    age: str = ""
    date: str = ""
    retry_after: str = ""


NO_FIELDS = AnswerFields()


@dataclass(frozen=True, slots=True)
class Document:
    """The content of a 200 answer, and what the answer said of itself."""

    content: bytes = field(repr=False)
    fields: AnswerFields = NO_FIELDS


class FetchError(Exception):
    """A document could not be fetched.

    The message is one line that names the host and the cause, and never contains the path,
    the query or credentials of the URL.
    """

    def __init__(
        self,
        message: str,
        kind: FetchFault,
        fields: AnswerFields = NO_FIELDS,
        *,
        unanswered: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind: FetchFault = kind
        self.fields = fields
        """Of the answer that was not accepted, where there was one."""
        self.unanswered = unanswered
        """No connection came about, or it was closed before an answer began: what asking at once
        again may mend."""


@dataclass(frozen=True, slots=True)
class FormAnswer:
    """A complete answer to a form, whatever its status."""

    status: int
    content: bytes = field(repr=False)
    """Empty where the status is not 200, unless what an error says of itself was asked for."""
    fields: AnswerFields = field(default=NO_FIELDS, compare=False)


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """Files of a certificate to show, and of its key; read again when they change."""

    certificate: str
    key: str


class Fetcher:
    """Guarded HTTP client: at most one session, made lazily, closed by whoever made this.

    Use it as an asynchronous context manager, or call ``close()``.
    """

    def __init__(
        self, *, lookup: Lookup | None = None, ssl_context: "ssl.SSLContext | None" = None
    ) -> None:
        """Make a client that resolves by *lookup* (default: the system's resolver).

        *ssl_context* says which certificates are trusted; the default is the system's store.
        """
        self._lookup = lookup
        self._ssl_context = ssl_context
        self._session: Session | None = None
        self._closed = False

    async def get(
        self,
        url: str,
        *,
        max_bytes: int,
        timeout_seconds: float,
        allow_plaintext: bool = False,
        named_by: str | None = None,
        ca: str | None = None,
    ) -> bytes:
        """Return the content of a 200 answer; see ``get_document``."""
        document = await self.get_document(
            url,
            max_bytes=max_bytes,
            timeout_seconds=timeout_seconds,
            allow_plaintext=allow_plaintext,
            named_by=named_by,
            ca=ca,
        )
        return document.content

    async def get_document(
        self,
        url: str,
        *,
        max_bytes: int,
        timeout_seconds: float,
        allow_plaintext: bool = False,
        named_by: str | None = None,
        ca: str | None = None,
    ) -> Document:
        """Return a 200 answer whose content is at most *max_bytes* long.

        *timeout_seconds* bounds everything together: lookup, connection, redirects (at most
        three) and content. *allow_plaintext* permits ``http://`` to something other than a
        loopback literal or ``localhost``. *named_by* is the URL of the document in which
        *url* was found, if any: the rules for redirects then hold between the two. *ca* is the
        path of a file with the only authorities that may vouch for the servers asked; it is read
        again when it changes.

        Raises ``FetchError``.
        """
        return await self._opened().get(
            url,
            max_bytes=max_bytes,
            timeout_seconds=timeout_seconds,
            allow_plaintext=allow_plaintext,
            named_by=named_by,
            ca=ca,
        )

    async def post_form(
        self,
        url: str,
        form: Sequence[tuple[str, str]],
        *,
        authorization: str | None,
        max_bytes: int,
        timeout_seconds: float,
        allow_plaintext: bool = False,
        named_by: str | None = None,
        ca: str | None = None,
        certificate: ClientCertificate | None = None,
        max_error_bytes: int = 0,
    ) -> FormAnswer:
        """Send *form* and return the answer; the other arguments are those of ``get_document``.

        A redirect is an error: what is sent is a secret, and meant for this one place. The server
        is shown *certificate* if it asks for one. Of an answer whose status is not 200 the content
        is read if it has at most *max_error_bytes*.

        Raises ``FetchError``.
        """
        return await self._opened().post_form(
            url,
            form,
            authorization=authorization,
            max_bytes=max_bytes,
            timeout_seconds=timeout_seconds,
            allow_plaintext=allow_plaintext,
            named_by=named_by,
            ca=ca,
            certificate=certificate,
            max_error_bytes=max_error_bytes,
        )

    def _opened(self) -> "Session":
        if self._closed:
            raise FetchError("the client is closed", "network_error")
        if self._session is None:
            from sidecar.fetch.session import Session

            self._session = Session(lookup=self._lookup, ssl_context=self._ssl_context)
        return self._session

    async def close(self) -> None:
        """Close the session. Further requests raise ``FetchError``."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()
