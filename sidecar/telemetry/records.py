"""The form of an access log line: which values there are, and which are left out."""

from msgspec import Struct


class AttributionRecord(Struct, gc=False, frozen=True):
    """How an outbound call found the request that caused it."""

    method: str
    grade: str
    outcome: str


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
    attribution: AttributionRecord | None = None
    destination: str = ""
