"""What the sidecar's own answers tell a browser (Fetch, section 3.3: the CORS protocol).

Only about answers that we write: what an app says about itself is never touched.
"""

from collections.abc import Sequence
from typing import Final

# Fetch, section 3.3.3: without this, a page could not read them.
_EXPOSED: Final = ("WWW-Authenticate", "x-sidecar-reason", "x-sidecar-decision")


class Cors:
    """The origins whose pages may read refusals."""

    def __init__(
        self, origins: Sequence[str], *, credentials: bool, expose: Sequence[str] = ()
    ) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origin.encode("ascii") for origin in origins)
        exposed = ", ".join((*_EXPOSED, *expose))
        self._rest = f"access-control-expose-headers: {exposed}\r\n".encode("ascii")
        if credentials:
            self._rest += b"access-control-allow-credentials: true\r\n"

    def lines(self, origin: bytes) -> bytes:
        """Return the field lines of an answer to a request from *origin*, empty for none."""
        if not origin:
            return b""
        if self._any:
            return b"access-control-allow-origin: *\r\n" + self._rest
        if origin in self._origins:
            return b"access-control-allow-origin: %b\r\nvary: Origin\r\n" % origin + self._rest
        return b""


def origin_of(lines: Sequence[bytes]) -> bytes:
    """Return the one value of ``Origin``, empty where there is none or more than one."""
    return _only(lines, b"origin")


def requested_method(method: bytes, lines: Sequence[bytes], *, has_content: bool) -> bytes:
    """Return what a preflight asks for, empty where the request is none.

    A preflight is OPTIONS with ``Origin`` and ``Access-Control-Request-Method``, and has no
    content (Fetch, sections 3.3.2 and 4.9).
    """
    if method != b"OPTIONS" or has_content or not origin_of(lines):
        return b""
    return _only(lines, b"access-control-request-method")


def _only(lines: Sequence[bytes], wanted: bytes) -> bytes:
    found = [
        value.strip()
        for name, _, value in (line.partition(b":") for line in lines)
        if name.lower() == wanted
    ]
    return found[0] if len(found) == 1 else b""
