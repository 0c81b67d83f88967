"""Tokens among the WebSocket subprotocols that a caller offers."""

import pytest

from sidecar.core.subprotocols import TokenProtocols

PREFIX = b"base64url.bearer.authorization.k8s.io."
PROTOCOLS = TokenProtocols([PREFIX], frozenset({b"bearer"}))


@pytest.mark.parametrize(
    ("values", "kept", "taken", "marker"),
    [
        ([b"chat"], [None], [], b""),
        ([b"chat, v2", b"v3"], [None, None], [], b""),
        ([PREFIX + b"eHl6"], [b""], [(PREFIX, b"eHl6")], b""),
        ([b"chat, " + PREFIX + b"eHl6, v2"], [b"chat, v2"], [(PREFIX, b"eHl6")], b""),
        ([b"chat", PREFIX + b"eHl6"], [None, b""], [(PREFIX, b"eHl6")], b""),
        ([PREFIX], [b""], [(PREFIX, b"")], b""),
        ([PREFIX + b"a,v2 ," + PREFIX + b"b"], [b"v2"], [(PREFIX, b"a"), (PREFIX, b"b")], b""),
        ([b"bearer, a.b.c"], [b""], [(b"bearer", b"a.b.c")], b"bearer"),
        ([b"chat,bearer,\ta.b.c ,  v2"], [b"chat,  v2"], [(b"bearer", b"a.b.c")], b"bearer"),
        ([b"bearer", b"a.b.c, chat"], [b"", b"chat"], [(b"bearer", b"a.b.c")], b"bearer"),
        ([b"bearer, , a.b.c"], [b""], [(b"bearer", b"a.b.c")], b"bearer"),
        ([b"bearer"], [b""], [(b"bearer", b"")], b"bearer"),
        ([b"bearer, a, bearer, b"], [b""], [(b"bearer", b"a"), (b"bearer", b"b")], b"bearer"),
        ([b"bearer, bearer, a"], [b""], [(b"bearer", b""), (b"bearer", b"a")], b"bearer"),
        ([b"Bearer, a.b.c"], [None], [], b""),
        ([b""], [None], [], b""),
        ([b", ,"], [None], [], b""),
        ([b"\xff, \x80"], [None], [], b""),
    ],
)
def test_an_offer_is_taken_apart(
    values: list[bytes],
    kept: list[bytes | None],
    taken: list[tuple[bytes, bytes]],
    marker: bytes,
) -> None:
    """All fields are one list; what is no token stays as it was written."""
    offer = PROTOCOLS.take(values)
    assert (offer.kept, offer.taken, offer.marker) == (kept, taken, marker)


@pytest.mark.parametrize(
    ("lines", "marker", "corrected"),
    [
        ([], b"", []),
        ([], b"bearer", [b"sec-websocket-protocol: bearer\r\n"]),
        (
            [b"Sec-WebSocket-Protocol: chat\r\n"],
            b"bearer",
            [b"Sec-WebSocket-Protocol: chat\r\n"],
        ),
        ([b"Sec-WebSocket-Protocol: " + PREFIX + b"eHl6\r\n"], b"", [b""]),
        (
            [b"sec_websocket_protocol:bearer\r\n", b"x: y\r\n"],
            b"bearer",
            [b"", b"x: y\r\n", b"sec-websocket-protocol: bearer\r\n"],
        ),
    ],
)
def test_no_token_is_selected(lines: list[bytes], marker: bytes, corrected: list[bytes]) -> None:
    """The marker is selected where the app selects nothing, a token never."""
    lines = list(lines)
    PROTOCOLS.correct(lines, marker)
    assert lines == corrected
