"""A token that was asked for, and why there is none."""

from dataclasses import dataclass
from typing import Final, Literal

from sidecar.core.digests import sha256

FailureKind = Literal[
    "unavailable",
    "limited",
    "circuit_open",
    "misconfigured",
    "refused",
    "invalid_answer",
    "subject_expired",
]
"""``unavailable``: no usable answer, which may pass. ``limited``: too many wait for one already.
``circuit_open``: nothing was asked, it failed too often. ``misconfigured``: ``invalid_client``,
``unauthorized_client``, ``invalid_target``, ``invalid_scope`` and their kin, which asking again
does not mend. ``refused``: not for this subject (``invalid_grant``, ``access_denied``).
``invalid_answer``: what came is not what was asked for. ``subject_expired``: nothing to ask
with."""


@dataclass(slots=True)
class Hold:
    """Whether whoever keeps a token still answers for it: would learn of its withdrawal."""

    live: bool = True


@dataclass(init=False, repr=False, slots=True)
class ObtainedToken:
    """A token for a destination, kept until *expires_at*. Its ``repr`` hides the token."""

    token: Final[bytes]
    asked_at: Final[float]
    """Seconds since the epoch, as everywhere here."""
    expires_at: Final[float]
    """The earlier of ``exp`` and what ``expires_in`` said."""
    issued_type: Final[str]
    """``issued_token_type``, empty where the grant has none."""
    subject: Final[str]
    """``sub`` of a JWT, otherwise empty."""
    actor: Final[str]
    """``sub`` of the outermost ``act`` of a JWT, otherwise empty."""
    digest: Final[bytes]
    log_id: Final[str]
    """First 16 hex digits of *digest*: the only form in which a token may appear in a log."""
    hold: Hold
    """Shared by the tokens that follow each other in one place of a cache."""

    def __init__(
        self,
        token: bytes,
        asked_at: float,
        expires_at: float,
        issued_type: str = "",
        subject: str = "",
        actor: str = "",
    ) -> None:
        self.token = token
        self.asked_at = asked_at
        self.expires_at = expires_at
        self.issued_type = issued_type
        self.subject = subject
        self.actor = actor
        self.digest = sha256(token)
        self.log_id = self.digest[:8].hex()
        self.hold = Hold()

    def __repr__(self) -> str:
        return f"ObtainedToken({self.subject!r}, {self.log_id})"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no token."""

    kind: FailureKind
    detail: str
    """One line for the operator, without token, secret or what else the server said at length."""
    retry_after_seconds: float | None = None
    """What the server, or the circuit, said of when to ask again."""
    code: str = ""
    """``error`` of the answer (RFC 6749, section 5.2), where it is one that is known."""
    is_about_client: bool = False
    """Whether the server does not know who asks, so that nothing else will be answered either.
    Status 401 says so; ``invalid_client`` alone does not: Keycloak has it for an unknown audience.
    """
