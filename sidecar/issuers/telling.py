"""What an operator hears of an issuer's keys besides the state they are in."""

import logging
from collections.abc import Sequence
from typing import Final

from sidecar.core.encoding import printable
from sidecar.core.keyset import KeySet, VerificationKey

_MOST_SHOWN: Final = 8
"""Keys named in one line."""

_log = logging.getLogger("sidecar.issuers")


def tell_changes(issuer: str, before: KeySet, after: KeySet, forgotten: int) -> None:
    """Say which keys came and which left; *forgotten* tokens were good under those that left."""
    if gone := [key for key in before.keys if key not in after.keys]:
        _log.log(
            logging.WARNING if forgotten else logging.INFO,
            "issuer %s: left the key set: %s; verified tokens refused from now on: %d",
            issuer,
            _shown(gone),
            forgotten,
        )
    if new := [key for key in after.keys if key not in before.keys]:
        _log.info("issuer %s: new in the key set: %s", issuer, _shown(new))


def tell_clock(issuer: str, before: float | None, offset: float, *, leeway_seconds: float) -> None:
    """Warn when the issuer's clock has come to differ by more than its tokens are forgiven."""
    limit = leeway_seconds + 1  # the field it was read from has whole seconds
    if abs(offset) > limit and (before is None or abs(before) <= limit):
        _log.warning(
            "issuer %s: its clock is %.0f s %s ours, more than the leeway of %.0f s: good tokens "
            "may be refused as expired or not yet valid",
            issuer,
            abs(offset),
            "ahead of" if offset > 0 else "behind",
            leeway_seconds,
        )


def _shown(keys: Sequence[VerificationKey]) -> str:
    names = ["(no kid)" if key.kid is None else printable(key.kid) for key in keys[:_MOST_SHOWN]]
    return ", ".join([*names, *(["..."] if len(keys) > _MOST_SHOWN else [])])
