"""SHA-2 digests, without what starting each of them anew would cost.

OpenSSL looks its implementation up whenever a hash is started, which for the length of a token
takes as long as hashing it. A copy of one that has seen nothing is ready.
"""

import hashlib
from typing import Any, Final

_SHA256: Final[Any] = hashlib.sha256()
_SHA384: Final[Any] = hashlib.sha384()
_SHA512: Final[Any] = hashlib.sha512()


def sha256(data: bytes) -> bytes:
    """Return the 32 octets of FIPS 180-4's SHA-256."""
    started = _SHA256.copy()
    started.update(data)
    digest: bytes = started.digest()
    return digest


def sha384(data: bytes) -> bytes:
    """Return the 48 octets of FIPS 180-4's SHA-384."""
    started = _SHA384.copy()
    started.update(data)
    digest: bytes = started.digest()
    return digest


def sha512(data: bytes) -> bytes:
    """Return the 64 octets of FIPS 180-4's SHA-512."""
    started = _SHA512.copy()
    started.update(data)
    digest: bytes = started.digest()
    return digest
