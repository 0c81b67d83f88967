"""Who a verified token speaks for, and the credential kept to speak for them again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Principal:
    """The claims of one verified token in the form that rules and headers need."""

    issuer_name: str
    """The issuer's name in the configuration: a closed set, fit for a metric label."""
    issuer: str
    """The ``iss`` claim."""
    subject: str
    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Credential:
    """A verified token kept for re-use until *expires_at*. Its ``repr`` hides the token."""

    principal: Principal
    token: bytes = field(repr=False)
    """The compact serialization exactly as received."""
    digest: bytes = field(repr=False)
    """SHA-256 of *token*; logs show its first 16 hex digits."""
    expires_at: float
    """``exp`` in seconds since the epoch; ``inf`` where the issuer may omit it and did."""
    not_before: float
    """``nbf`` in seconds since the epoch, ``-inf`` when absent."""

    @property
    def log_id(self) -> str:
        """The only form in which a token may appear in a log."""
        return self.digest.hex()[:16]
