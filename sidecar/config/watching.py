"""Whether the files of a configuration are still what was read.

By content: a projected volume replaces links, an editor files, and neither has to change a time.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from sidecar.config.references import ReferenceProblem, read_regular_file

MAX_WATCHED_BYTES: Final = 1 << 20
"""Of each file; no file of a configuration is larger."""


def digest(content: bytes) -> bytes:
    """Return what a file is remembered by; nothing for one that is empty or not there."""
    return sha256(content).digest() if content else b""


def digests(paths: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the digests of what the files at *paths* hold now. Blocks."""
    return {path: _digest_now(path) for path in paths}


def _digest_now(path: str) -> bytes:
    try:
        return digest(read_regular_file(path, MAX_WATCHED_BYTES))
    except ReferenceProblem:
        return b""
