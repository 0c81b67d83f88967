"""The document that ``GET /status`` gives and ``sidecar status`` reads: one type for both ends.

Scripts read it too, so fields are added and never renamed.
"""

from typing import Final

from msgspec import Struct

STATUS_PATH: Final = "/status"


class KeyStatus(Struct, frozen=True, kw_only=True):
    """One key in force."""

    kid: str | None
    last_used_seconds: float | None
    """Since it last vouched for a token that was not known; ``None``: it did not yet."""


class ReloadStatus(Struct, frozen=True, kw_only=True):
    """The latest attempt to put a changed configuration in place."""

    result: str
    """``reloaded`` or ``refused``."""
    at: str
    """RFC 3339."""
    problems: tuple[str, ...] = ()
    """Why the configuration from before stays in use; the first ones, if there are many."""


class ConfigurationStatus(Struct, frozen=True, kw_only=True):
    """The configuration in use."""

    files: tuple[str, ...] = ()
    """As they were given; empty where all of it came from the command line."""
    loaded_at: str = ""
    """RFC 3339."""
    loaded_seconds: float = 0.0
    """Since then."""
    last_reload: ReloadStatus | None = None
    """``None``: it was not read again since the start."""
    warnings: tuple[str, ...] = ()
    """As ``sidecar check`` prints them."""


class DecisionsStatus(Struct, frozen=True, kw_only=True):
    """What ``sidecar explain`` can be asked about."""

    recorded: int = 0
    """Since the start, kept or not."""
    kept: int = 0


class IssuerStatus(Struct, frozen=True, kw_only=True):
    """What is known of one issuer's keys."""

    name: str
    issuer: str
    state: str
    """``loading``, ``fresh``, ``stale`` or ``blind``."""
    keys_age_seconds: float | None
    """Since they were last fetched; ``None``: there are none."""
    last_error: str
    """Why the last fetch failed; empty when it did not."""
    next_refresh_seconds: float = 0.0
    keys: tuple[KeyStatus, ...] = ()
    clock_offset_seconds: float | None = None
    """How far the issuer's clock was ahead of ours in its last answer, to the second."""
    clock_bound_seconds: float = 0.0
    """How far off that may be."""
    clock_compared_seconds: float | None = None
    """Since that was measured."""
    circuit: str | None = None
    """Of introspection: ``closed``, ``open`` or ``half_open``; ``None``: it is not asked."""


class LedgerStatus(Struct, frozen=True, kw_only=True):
    """Live inbound requests."""

    entries: int
    capacity: int


class TokenCacheStatus(Struct, frozen=True, kw_only=True):
    """Look-ups in the cache of verified tokens."""

    hits: int
    misses: int


class CarrierStatus(Struct, frozen=True, kw_only=True):
    """Calls that reported the same carrier."""

    name: str
    """As the app reported it; ``other`` for what is no name, empty for calls without a report."""
    version: str
    grade: str
    """``strict``, ``standard``, ``none`` (no report) or ``unrecognised``."""
    calls: int


class AttributionStatus(Struct, frozen=True, kw_only=True):
    """The carrier that is configured, and what the app's calls report."""

    carrier: str
    expectation: str
    """Why calls should have a carrier; empty where they need not."""
    seen: tuple[CarrierStatus, ...]


class ClientStatus(Struct, frozen=True, kw_only=True):
    """Who asks an authorization server for tokens of destinations."""

    name: str
    circuit: str
    """``closed``, ``open`` or ``half_open``."""
    troubles: tuple[str, ...] = ()
    """What it does not get at present, and why."""


class DestinationStatus(Struct, frozen=True, kw_only=True):
    """One place the app may call."""

    name: str
    listen: str
    upstream: str
    token: str
    min_assurance: str
    mode: str
    """``observe``: calls go on whatever is decided, and *calls* says what would have come."""
    calls: dict[str, int] | None
    """By outcome: ``attached``, ``own`` (the service's own token), ``accompanied`` (a transaction
    token alone), ``anonymous``, ``forwarded`` or the reason of the refusal.
    ``None`` for destinations past the bound on metric labels, which are counted together."""
    circuit: str | None = None
    """``closed``, ``open`` or ``half_open``; ``None``: it has none."""


class AppStatus(Struct, frozen=True, kw_only=True):
    """What is known of where the app listens."""

    address: str
    exposed: bool | None = None
    """Whether it can be reached past the sidecar; ``None``: it has not answered yet."""
    where: tuple[str, ...] = ()
    """Where it answers besides, of the pod's own addresses."""


class Status(Struct, frozen=True, kw_only=True):
    """Everything a person with a minute asks first."""

    version: str
    uptime_seconds: float
    ready: bool
    draining: bool
    missing: tuple[str, ...]
    """What stands between us and readiness."""
    issuers: tuple[IssuerStatus, ...]
    ledger: LedgerStatus
    token_cache: TokenCacheStatus
    attribution: AttributionStatus
    destinations: tuple[DestinationStatus, ...]
    configuration: ConfigurationStatus = ConfigurationStatus()
    decisions: DecisionsStatus = DecisionsStatus()
    draining_seconds: float | None = None
    """Since it began to drain; ``None``: it does not."""
    stopping: bool = False
    """It drains and takes no more, as it does from SIGTERM on."""
    app: AppStatus | None = None
    """``None``: it is not looked at."""
    clients: tuple[ClientStatus, ...] = ()
    obtained_tokens: int = 0
    """Tokens of destinations that are kept."""
    warnings: tuple[str, ...] = ()
    """What runs and is not as it should be."""
