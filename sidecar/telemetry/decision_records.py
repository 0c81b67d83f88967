"""The form of a recorded decision: what ``sidecar rules`` reads back, and which version it is.

Public, like a metric's name: fields are added, never renamed. A reader passes over fields it does
not know, and over lines of another version.
"""

from typing import Any, Final, Literal

from msgspec import Raw, Struct

from sidecar.core.outcome import Reason
from sidecar.telemetry.records import AttachedRecord

FORMAT: Final = "decision/1"
NOBODY: Final = Raw(b"null")

TOKEN_REASONS: Final = frozenset(
    reason.code
    for reason in Reason
    if reason.code.startswith("token_") or reason.facts.error == "invalid_token"
) | {Reason.KEYS_UNAVAILABLE.code, Reason.INTROSPECTION_UNAVAILABLE.code}
"""What is said of a token that was looked at, or looked for. A rule may say two of them as well,
of a token that was verified: ``issuer_mismatch`` and ``audience_mismatch``."""

Presented = Literal["none", "unread", "refused", "verified", "unknown"]
"""What became of the caller's token: none was sent; one was and nobody looked at it, because no
rule asked or the request was refused before; it was refused, or verified. ``unknown``: unread, and
it may have been in a place where it was not looked for."""


class Caller(Struct, kw_only=True, omit_defaults=True, gc=False):
    """What a verified token said of its bearer, as far as rules may ask. Never the token."""

    issuer: str
    """The issuer's name in the configuration."""
    iss: str = ""
    subject: str
    client: str = ""
    """``azp``, or else ``client_id``, ``appid`` or ``cid``."""
    audiences: list[str] = []
    scopes: list[str] = []
    roles: list[str] = []
    client_roles: dict[str, list[str]] = {}
    exp: float | int | None = None
    iat: float | int | None = None
    acr: str | None = None
    auth_time: float | int | None = None
    act: str | None = None
    """``sub`` of the current actor; empty: there is one without a name."""
    actors: list[str] = []
    """That one and those before it, the outermost first, where there is more than one."""
    claims: dict[str, Any] = {}
    """Further claims by path: those that conditions ask for, and those of ``log.decisions``."""
    absent: list[str] = []
    """Paths of such claims that the token did not have."""
    redacted: list[str] = []
    """Paths of what stands here as a hash."""
    read_as: str = ""
    """Changes with where the issuer's scopes and roles are looked for."""
    cut: bool = False
    """The rest was over the bound on a record and is left out."""


class DecisionRecord(Struct, kw_only=True, omit_defaults=True, gc=False):
    """One exchange. A value left at its default is left out of the line.

    Never holds a token, a handle or a query string.
    """

    record: str
    """``FORMAT``, which also tells these lines from those of the access log."""
    time: str
    """RFC 3339 in UTC with milliseconds: when the exchange ended."""
    id: str
    """What the access log and the caller's answer call the decision."""
    direction: str
    method: str
    host: str = ""
    path: str
    """Canonical, without query; as it was sent where it has no canonical form."""
    rule: str = ""
    """Empty where none matched, and outbound."""
    status: int
    allowed: bool
    """False: refused, or no answer came; the reason says which."""
    reason: str = ""
    enforced: bool | None = None
    """Set exactly where *reason* is; false: the request went on (``mode: observe``)."""
    transaction: str = ""
    """``txn`` of the transaction token, verified or passed on."""
    cut: bool = False
    """The path was over the bound on a record."""

    # inbound
    presented: Presented | Literal[""] = ""
    caller: Raw = NOBODY
    """A ``Caller``, where the token was verified."""

    # outbound
    destination: str = ""
    cause: str = ""
    """*id* of the inbound request that caused the call."""
    attached: Literal["token", "none", ""] = ""
    obtained: AttachedRecord | None = None
    """What is known of a token that was attached and is not the caller's own."""
    issuer: str = ""
    """Of the caller's own token, attached, as the two after it."""
    client: str = ""
    audiences: list[str] = []
