"""Who a verified token speaks for, and the credential kept to speak for them again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

NO_NAMES: Final[frozenset[str]] = frozenset()
NO_CLIENT_ROLES: Final[Mapping[str, frozenset[str]]] = {}


@dataclass(init=False, repr=False, slots=True)
class Principal:
    """The claims of one verified token in the form that rules and headers need."""

    issuer_name: Final[str]
    """The issuer's name in the configuration: a closed set, fit for a metric label."""
    issuer: Final[str]
    """The ``iss`` claim."""
    subject: Final[str]
    scopes: Final[frozenset[str]]
    roles: Final[frozenset[str]]
    claims: Final[Mapping[str, Any]]
    client_roles: Final[Mapping[str, frozenset[str]]]
    """Roles that hold at one client alone, by its id."""

    def __init__(
        self,
        issuer_name: str,
        issuer: str,
        subject: str,
        scopes: frozenset[str] = NO_NAMES,
        roles: frozenset[str] = NO_NAMES,
        claims: Mapping[str, Any] | None = None,
        client_roles: Mapping[str, frozenset[str]] = NO_CLIENT_ROLES,
    ) -> None:
        self.issuer_name = issuer_name
        self.issuer = issuer
        self.subject = subject
        self.scopes = scopes
        self.roles = roles
        self.claims = {} if claims is None else claims
        self.client_roles = client_roles

    def __repr__(self) -> str:
        return f"Principal({self.issuer_name!r}, {self.subject!r})"


@dataclass(init=False, repr=False, slots=True)
class Credential:
    """A verified token kept for re-use until *expires_at*. Its ``repr`` hides the token."""

    principal: Final[Principal]
    token: Final[bytes]
    """The compact serialization exactly as received."""
    digest: Final[bytes]
    """SHA-256 of *token*."""
    expires_at: Final[float]
    """``exp`` in seconds since the epoch; ``inf`` where the issuer may omit it and did."""
    not_before: Final[float]
    """``nbf`` in seconds since the epoch, ``-inf`` when absent."""
    key: Final[tuple[str, str | None] | None]
    """Algorithm and name of the key that vouched for it; ``None``: its issuer was asked."""
    log_id: Final[str]
    """First 16 hex digits of *digest*: the only form in which a token may appear in a log."""

    def __init__(
        self,
        principal: Principal,
        token: bytes,
        digest: bytes,
        expires_at: float,
        not_before: float,
        key: tuple[str, str | None] | None = None,
    ) -> None:
        self.principal = principal
        self.token = token
        self.key = key
        self.digest = digest
        self.expires_at = expires_at
        self.not_before = not_before
        self.log_id = digest[:8].hex()

    def __repr__(self) -> str:
        return f"Credential({self.principal!r}, {self.log_id})"
