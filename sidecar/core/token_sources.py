"""Where in a request its token is, for listeners that look beyond ``Authorization``.

Owns finding it in every configured place, taking it out of the request, and the rule that there
is one at most (RFC 6750, section 2). A listener that looks at ``Authorization`` alone needs none
of this.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from sidecar.core.bearer import is_b64token, read_bearer
from sidecar.core.caching import keep_private
from sidecar.core.encoding import EncodingError, base64url_decode
from sidecar.core.names import folded
from sidecar.core.outcome import Denial, Reason
from sidecar.core.parameters import parameter_name, take_cookies, take_parameters
from sidecar.core.subprotocols import FIELD, TokenProtocols

SourceKind = Literal[
    "authorization", "header", "cookie", "websocket_protocol", "websocket_protocol_after", "query"
]

# Marks of fields that hold a token; others are in ``sidecar.core.headers`` and ``propagation``.
COOKIES: Final = 22
PROTOCOLS: Final = 23
TOKEN_HEADER: Final = 24
REFERERS: Final = 25
"""Has the URL of the page before, with its query."""

Marked = Sequence[tuple[int, int, bytes]]
"""Mark, index into the lines, and value of the fields that are not ordinary."""


@dataclass(frozen=True, slots=True)
class TokenSource:
    """One place, as configured."""

    kind: SourceKind
    name: str = ""
    """Of the header, cookie or parameter; the prefix or the marker; empty for ``authorization``."""

    def __str__(self) -> str:
        return f"{_SAID[self.kind]}{self.name}"

    @property
    def compared(self) -> bytes:
        """The name in the form in which it is compared with what callers send."""
        match self.kind:
            case "header":
                return folded(self.name.lower().encode())
            case "query":
                return parameter_name(self.name.encode())
            case _:
                return self.name.encode()


ENCODED: Final = "base64url."
"""A prefix that begins so is followed by the token in base64url; any other by the token itself."""
AUTHORIZATION_SOURCE: Final = TokenSource("authorization")
AUTHORIZATION_ONLY: Final = (AUTHORIZATION_SOURCE,)

_SAID: Final[dict[SourceKind, str]] = {
    "authorization": "Authorization",
    "header": "the header ",
    "cookie": "the cookie ",
    "websocket_protocol": "a WebSocket subprotocol with the prefix ",
    "websocket_protocol_after": "the WebSocket subprotocol after ",
    "query": "the query parameter ",
}

_Names = dict[bytes, TokenSource]
_SWITCHED: Final = 101
_FINAL: Final = 200


class Sought:
    """What was found in one request, and what that means for the answer."""

    __slots__ = ("_marker", "_protocols", "_seen_by_caches", "query", "source", "token")

    def __init__(
        self,
        token: bytes | Denial,
        query: bytes,
        *,
        source: TokenSource | None,
        seen_by_caches: bool,
        protocols: TokenProtocols | None,
        marker: bytes,
    ) -> None:
        self.token = token
        """The one token, or why there is none to verify."""
        self.query = query
        """What is left of the query."""
        self.source = source
        """Where it was, if it was in one place."""
        self._seen_by_caches = seen_by_caches
        self._protocols = protocols
        self._marker = marker

    def correct(self, status: int, lines: list[bytes]) -> None:
        """Make the *lines* of the app's answer fit a request that it did not see whole."""
        if status == _SWITCHED:
            if self._protocols is not None:
                self._protocols.correct(lines, self._marker)
        elif status >= _FINAL and not self._seen_by_caches:
            keep_private(lines)


class TokenSources:
    """The places of one listener. A name counts in every spelling that an app may read as it."""

    def __init__(self, sources: Iterable[TokenSource]) -> None:
        sources = tuple(sources)

        def of(kind: SourceKind) -> _Names:
            return {each.compared: each for each in sources if each.kind == kind}

        self._authorization = of("authorization").get(b"")
        self._headers = of("header")
        self._cookies = of("cookie")
        self._parameters = of("query")
        self._by_protocol = of("websocket_protocol") | of("websocket_protocol_after")
        self._protocols: TokenProtocols | None = None
        if self._by_protocol:
            self._protocols = TokenProtocols(
                of("websocket_protocol"), frozenset(of("websocket_protocol_after"))
            )
        self._absent = Denial(
            Reason.TOKEN_MISSING, f"there is none in {' or '.join(map(str, sources))}"
        )

    def classifier(self, classify: Callable[[bytes], int]) -> Callable[[bytes], int]:
        """Return *classify* extended by the marks above, which its own marks go before."""

        def extended(lower_name: bytes) -> int:
            mark = classify(lower_name)
            if mark:
                return mark
            name = folded(lower_name)
            if name in self._headers:
                return TOKEN_HEADER
            if name == b"cookie" and self._cookies:
                return COOKIES
            if name == b"referer" and self._parameters:
                return REFERERS
            return PROTOCOLS if name == FIELD and self._by_protocol else 0

        return extended

    def take(
        self, authorization: Sequence[bytes], lines: list[bytes], marked: Marked, query: bytes
    ) -> Sought:
        """Take every token out of *lines* and of *query*, which has its ``?`` or is empty.

        *authorization* are the values of that field, which is removed from *lines* in any case.
        """
        found: list[tuple[TokenSource, bytes]] = []
        if self._authorization is not None:
            found += [(self._authorization, value) for value in authorization]
        offered: list[tuple[int, bytes]] = []
        for mark, index, value in marked:
            if mark == TOKEN_HEADER:
                found.append((self._headers[_name_of(lines[index])], value))
                lines[index] = b""
            elif mark == COOKIES:
                rest, cookies = take_cookies(value, self._cookies.keys())
                if cookies:
                    lines[index] = _with_value(lines[index], rest)
                    found += [(self._cookies[name], content) for name, content in cookies]
            elif mark == PROTOCOLS:
                offered.append((index, value))
            elif mark == REFERERS:
                page, _, sent = value.partition(b"?")
                rest, parameters = take_parameters(sent, self._parameters.keys())
                if parameters:  # of another request, so it is none of this one's tokens
                    lines[index] = _with_value(lines[index], page + b"?" + rest if rest else page)
        marker = b""
        if self._protocols is not None and offered:
            offer = self._protocols.take([value for _, value in offered])
            for (index, _), kept in zip(offered, offer.kept, strict=True):
                if kept is not None:
                    lines[index] = _with_value(lines[index], kept)
            found += [(self._by_protocol[name], content) for name, content in offer.taken]
            marker = offer.marker
        if self._parameters and query:
            rest, parameters = take_parameters(query[1:], self._parameters.keys())
            if parameters:
                query = b"?" + rest if rest else b""
                found += [(self._parameters[name], content) for name, content in parameters]
        return Sought(
            self._judge(found),
            query,
            source=found[0][0] if len(found) == 1 else None,
            seen_by_caches=all(source is self._authorization for source, _ in found),
            protocols=self._protocols,
            marker=marker,
        )

    def hold_back(
        self, lines: list[bytes], marked: Marked, is_ours: Callable[[bytes], bool]
    ) -> None:
        """Drop from a call of the app the configured headers and cookies whose value is ours."""
        for mark, index, value in marked:
            if mark == TOKEN_HEADER:
                if is_ours(value):
                    lines[index] = b""
            elif mark == COOKIES:
                rest, cookies = take_cookies(value, self._cookies.keys(), is_ours)
                if cookies:
                    lines[index] = _with_value(lines[index], rest)

    def _judge(self, found: Sequence[tuple[TokenSource, bytes]]) -> bytes | Denial:
        if not found:
            return self._absent
        if len(found) > 1:
            return _repeated(found)
        source, value = found[0]
        if source.kind == "authorization":
            return read_bearer((value,)) or self._absent
        if source.kind == "header" and b"," in value:
            return _repeated((found[0], found[0]))  # two fields, joined on the way here
        token = _read(source, value)
        if is_b64token(token):
            return token
        return Denial(
            Reason.TOKEN_MALFORMED, f"what is in {source} is not a token (RFC 6750, section 2.1)"
        )


def _repeated(found: Sequence[tuple[TokenSource, bytes]]) -> Denial:
    places = " and ".join(dict.fromkeys(str(source) for source, _ in found))
    return Denial(
        Reason.TOKEN_REPEATED, f"the request has {len(found)} tokens, in {places}; send one"
    )


def _name_of(line: bytes) -> bytes:
    return folded(line.partition(b":")[0].lower())


def _with_value(line: bytes, value: bytes) -> bytes:
    """Return *line* with another value; no line where that is empty."""
    return line[: line.find(b":") + 1] + b" " + value + b"\r\n" if value else b""


def _read(source: TokenSource, value: bytes) -> bytes:
    """Return what *value* holds in *source*; whether that is a token is yet to be seen."""
    match source.kind:
        case "header":
            return _without_scheme(value)
        case "cookie":
            # Within quotes or without (RFC 6265, section 4.1.1).
            quoted = len(value) > 1 and value[0] == 0x22 and value[-1] == 0x22
            return _without_scheme(value[1:-1] if quoted else value)
        case "query":
            return unquote_to_bytes(value.replace(b"+", b" "))
        case "websocket_protocol" if source.name.startswith(ENCODED):
            return _decoded(value)
        case _:
            return value


def _without_scheme(value: bytes) -> bytes:
    """The whole value, or what follows ``Bearer``: a token has no space in it."""
    scheme, _, rest = value.partition(b" ")
    return rest.strip(b" ") if scheme.lower() == b"bearer" else value


def _decoded(value: bytes) -> bytes:
    try:
        return base64url_decode(value)
    except EncodingError:
        return b""
