"""The one form in which a path is both matched and forwarded.

Rules are bypassed where the proxy and the app read a path differently. Whatever could be read in
two ways is refused; what is left is the same for both (CVE-2021-29492 and its kin; the precedent
is Spring's strict firewall).
"""

import re
from dataclasses import dataclass
from typing import Final

from sidecar.core.outcome import Denial, Reason

_UNRESERVED: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
)
# No percent, no semicolon, no empty segment: with no dot after a slash, nothing is left to do.
_PLAIN = re.compile(rb"/(?:[A-Za-z0-9._~!$&'()*+,=:@-]+(?:/[A-Za-z0-9._~!$&'()*+,=:@-]+)*/?)?")
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})?")
_LEGAL: Final = b"/%ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@"


@dataclass(frozen=True, slots=True)
class PathOptions:
    """What an operator may allow because the app behind needs it."""

    allow_encoded_slash: bool = False
    allow_semicolon: bool = False


def _ambiguous(detail: str) -> Denial:
    return Denial(Reason.PATH_AMBIGUOUS, detail, public=True)


def canonical(path: bytes, options: PathOptions) -> bytes | Denial:
    """Return the canonical form of *path* (no query), or why there is none.

    Percent-encoded unreserved characters are decoded (RFC 3986, 6.2.2.2), the others keep their
    encoding in upper case.
    """
    if b"/." not in path and _PLAIN.fullmatch(path):
        return path
    return _canonical_slowly(path, options)


def _canonical_slowly(path: bytes, options: PathOptions) -> bytes | Denial:
    if b"\\" in path:
        return _ambiguous("backslash in the path")
    if not path.startswith(b"/") or path.translate(None, _LEGAL):
        return _ambiguous("a character that a path cannot have")
    decoded = _decode(path, options)
    if isinstance(decoded, Denial):
        return decoded
    if b";" in decoded and not options.allow_semicolon:
        return _ambiguous("semicolon in the path; allow_semicolon permits it")
    segments = decoded.split(b"/")[1:]
    if b"" in segments[:-1]:
        return _ambiguous("empty path segment")
    # A matrix parameter hides a dot segment from whoever strips it later, "..;x", and an encoded
    # slash from whoever decodes it later: "..%2Fx".
    parts = [part for segment in segments for part in segment.split(b"%2F")]
    if any(re.split(rb";|%3B", part)[0] in (b".", b"..") for part in parts):
        return _ambiguous("dot segment in the path")
    return decoded


def _decode(path: bytes, options: PathOptions) -> bytes | Denial:
    problem: Denial | None = None
    octets = bytearray()

    def replace(match: re.Match[bytes]) -> bytes:
        nonlocal problem
        if match[1] is None:
            problem = _ambiguous("percent sign without two hex digits")
            return b""
        octet = int(match[1], 16)
        octets.append(octet)
        if octet in _UNRESERVED:
            return bytes((octet,))
        problem = _refused_octet(octet, options) or problem
        return match[0].upper()

    decoded = _ENCODED.sub(replace, path)
    if problem is not None:
        return problem
    try:
        _ENCODED.sub(lambda match: bytes((int(match[1], 16),)), decoded).decode("utf-8")
    except UnicodeDecodeError:
        return _ambiguous("percent-encoded octets that are not UTF-8")
    return decoded


def _refused_octet(octet: int, options: PathOptions) -> Denial | None:
    if octet < 0x20 or octet == 0x7F:
        return _ambiguous("encoded control character")
    if octet == ord("/") and not options.allow_encoded_slash:
        return _ambiguous("encoded slash; allow_encoded_slash permits it")
    if octet == ord("\\"):
        return _ambiguous("encoded backslash")
    if octet == ord("%"):
        return _ambiguous("encoded percent sign, so a double encoding")
    if octet == ord(";") and not options.allow_semicolon:
        return _ambiguous("encoded semicolon; allow_semicolon permits it")
    return None
