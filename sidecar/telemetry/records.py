"""The form of an access log line: which values there are, and which are left out."""

from msgspec import Struct


class AttributionRecord(Struct, gc=False, frozen=True):
    """How an outbound call found the request that caused it."""

    method: str
    grade: str
    outcome: str


class AttachedRecord(Struct, omit_defaults=True, gc=False, frozen=True):
    """Which token went with an outbound call, where it was not the caller's own."""

    kind: str
    """``exchange``, ``client_credentials``, ``jwt_bearer`` or ``file``; ``relay`` is the caller's
    own, of which the line says everything already."""
    token: str = ""
    """First 16 hex digits of the token's SHA-256."""
    subject: str = ""
    """``sub``, where the token is a JWT."""
    actor: str = ""
    """``sub`` of the outermost ``act``."""
    audience: str = ""
    """For whom it was asked for."""


class AccessRecord(Struct, kw_only=True, omit_defaults=True, gc=False):
    """One exchange. A value left at its default is left out of the line.

    Never holds a token, a handle or a query string.
    """

    time: str = ""
    """RFC 3339 in UTC with milliseconds; the log fills it in."""
    direction: str
    decision: str
    method: str
    path: str
    route: str = ""
    status: int
    reason: str = ""
    """Code of the refusal, enforced or only observed."""
    detail: str = ""
    """The denial's sentence for the operator."""
    enforced: bool | None = None
    """Set exactly where *reason* is."""
    duration_ms: float
    overhead_ms: float
    issuer: str = ""
    subject: str = ""
    token: str = ""
    """First 16 hex digits of the token's SHA-256."""
    actor: str | None = None
    """Who uses the token for its subject: ``sub`` of the outermost ``act`` (RFC 8693), empty for
    one without a name; ``None``: nobody does."""
    actors: tuple[str, ...] = ()
    """That one and those before it, the outermost first, where there is more than one."""
    transaction: str = ""
    """``txn`` of the transaction token, verified or passed on."""
    attribution: AttributionRecord | None = None
    destination: str = ""
    attached: AttachedRecord | None = None
