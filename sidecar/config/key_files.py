"""Key sets on disk, looked at while the configuration is checked.

Reading them for use, and again when they change, belongs to ``sidecar.issuers``.
"""

from typing import Final

from sidecar.config.references import ReferenceProblem, read_regular_file
from sidecar.core.jose import KeyUse
from sidecar.core.keyset import KeySetError, parse_jwks

MAX_KEY_SET_BYTES: Final = 256 * 1024


def problem_with(path: str, use: KeyUse = "sig") -> str | None:
    """Say why the key set at *path* cannot be used, or nothing."""
    try:
        parse_jwks(read_regular_file(path, MAX_KEY_SET_BYTES), use)
    except ReferenceProblem as problem:
        return str(problem)
    except KeySetError as error:
        return f"is not a usable key set (RFC 7517): {error}"
    return None
