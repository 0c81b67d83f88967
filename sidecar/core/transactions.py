"""Transaction tokens: the one that a request has, and what is said of a bad one.

As draft-ietf-oauth-transaction-tokens has them (working text of July 2026, after -08): context of
one transaction within one trust domain, beside an access token and never in place of it. What a
token must say is ``sidecar.core.families``'s and ``.profiles``'s.
"""

from collections.abc import Sequence
from typing import Final

from sidecar.core.names import TRANSACTION_HEADER, folded
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Credential, Principal

_NAME: Final = TRANSACTION_HEADER.encode()
_LINE: Final = TRANSACTION_HEADER.encode() + b": %b\r\n"
MISSING: Final = Denial(
    Reason.TRANSACTION_TOKEN_MISSING,
    "`inbound.transaction_tokens.require` asks for one beside the access token",
)
OTHER_SUBJECT: Final = Denial(
    Reason.TRANSACTION_TOKEN_INVALID,
    "its sub is not the access token's, as `inbound.transaction_tokens.subject: same` demands",
)


def is_transaction_line(line: bytes) -> bool:
    """Whether a field line has a transaction token, in any spelling that an app may read so."""
    return folded(line[: line.find(b":")].lower()) == _NAME


def line_of(token: bytes) -> bytes:
    """Return the field line with *token*, unmodified."""
    return _LINE % token


def the_one(values: Sequence[bytes]) -> bytes | Denial | None:
    """Return the token among the *values* of the field, ``None`` where there is no field."""
    if not values:
        return None
    if len(values) > 1 or b"," in values[0]:
        return Denial(
            Reason.TRANSACTION_TOKEN_REPEATED, "Txn-Token must be exactly one token, in one field"
        )
    return values[0]


def refused(denial: Denial) -> Denial:
    """Return why the request is refused, where its transaction token would be by *denial*."""
    reason = Reason.TRANSACTION_TOKEN_INVALID
    if denial.reason is Reason.TOKEN_EXPIRED:
        reason = Reason.TRANSACTION_TOKEN_EXPIRED
    return Denial(reason, f"{denial.reason.code}: {denial.detail}")


def transaction_id(principal: Principal) -> str:
    """Return ``txn``, by which logs of a whole trust domain can be joined."""
    txn = principal.claims.get("txn")
    return txn if isinstance(txn, str) else ""


def expired(transaction: Credential, wall_now: float) -> Denial | None:
    """Say why *transaction* may not be sent on at *wall_now*, in seconds since the epoch."""
    if wall_now < transaction.expires_at:
        return None
    return Denial(Reason.TOKEN_EXPIRED, "the caller's transaction token expired during its request")
