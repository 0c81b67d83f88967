"""What a document is that was meant to be JSON, for whoever has to find the right one.

Owns the guess. Reading the document belongs to ``sidecar.core.encoding``.
"""

from typing import Final

_MARK: Final = b"\xef\xbb\xbf"
_BEGINNINGS: Final = (
    (b"<?xml", "it begins like XML; is this the right URL?"),
    (b"<", "it begins like HTML; is this the right URL, or a login page in front of it?"),
    (b"-----BEGIN ", "it begins like PEM; a key set is JSON (RFC 7517)"),
    (b"eyJ", "it begins like a signed token; the plain document is needed"),
    (b"\x1f\x8b", "it is compressed with gzip"),
    (_MARK, "it begins with a byte order mark"),
)


def found_instead(document: bytes) -> str:
    """Return what *document*, which is not JSON, seems to be, in parentheses; nothing if unknown.

    Nothing of the document is quoted.
    """
    start = document[:256].removeprefix(_MARK).strip().lower()
    if not start and len(document) <= 256:
        return " (it is empty)"
    for beginning, found in _BEGINNINGS:
        if start.startswith(beginning.lower()) or document.startswith(beginning):
            return f" ({found})"
    return ""
