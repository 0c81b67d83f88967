"""Tokens of one synthetic issuer: right ones, and wrong in any one way a test asks for.

Owns keys, their rotation and the claims. Serving any of it over HTTP belongs to
``sidecar.testbed.identity_provider``.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from sidecar.testbed.signing_key import SigningKey
from sidecar.testbed.users import SERVICES, USERS, Service, User

ABSENT: Final = object()
"""As the value of a claim: leave the claim out."""


class TokenMint:
    """Issues tokens under the current keys and publishes these and the ones before them.

    Two generations at most are published, as an issuer does whose tokens outlive a rotation by
    minutes and not by days.
    """

    def __init__(
        self,
        issuer: str,
        *,
        audience: Sequence[str],
        algorithms: Sequence[str] = ("RS256", "ES256"),
        principals: Iterable[User | Service] = (*USERS, *SERVICES),
        lifetime_seconds: float = 300.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = issuer
        self.lifetime_seconds = lifetime_seconds
        self._audience = tuple(audience)
        self._algorithms = tuple(algorithms)
        self._principals = {_subject(principal): principal for principal in principals}
        self._clock = clock
        self._generation = 0
        self._previous: tuple[SigningKey, ...] = ()
        self._current: tuple[SigningKey, ...] = ()
        self.rotate()

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The algorithms signed with; the first is the default."""
        return self._algorithms

    def rotate(self, *, withdraw: bool = False) -> None:
        """Sign with new keys from now on; *withdraw* stops publishing the ones before."""
        self._generation += 1
        self._previous = () if withdraw else self._current
        self._current = tuple(
            SigningKey.generate(algorithm, kid=f"{algorithm.lower()}-{self._generation}")
            for algorithm in self._algorithms
        )

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """The published key set (RFC 7517, section 5), newest keys first."""
        return {"keys": [key.public_jwk() for key in (*self._current, *self._previous)]}

    def token(self, subject: str, *, algorithm: str = "", **claims: object) -> str:
        """Return a token for *subject*; *claims* replace or (``ABSENT``) remove what it says.

        Raises ``KeyError`` for an algorithm this issuer has no key for.
        """
        return self._key(algorithm).sign(self._claims(subject, claims))

    def typed(self, kind: str, subject: str, **claims: object) -> str:
        """Return the same with *kind* as ``typ`` of its header."""
        return self._key("").sign(self._claims(subject, claims), header={"typ": kind})

    def expired(self, subject: str) -> str:
        """Return a token that was good until a minute ago, out of the reach of usual leeway."""
        ended = int(self._clock()) - 60
        return self.token(subject, iat=ended - int(self.lifetime_seconds), exp=ended)

    def forged(self, subject: str, *, algorithm: str = "") -> str:
        """Return a token signed by a key nobody published, under the ``kid`` of one that is."""
        published = self._key(algorithm)
        foreign = SigningKey.generate(published.algorithm, kid=published.kid)
        return foreign.sign(self._claims(subject, {}))

    def claims(self, subject: str, **changes: object) -> dict[str, object]:
        """Return what a token for *subject* says; *changes* are the ``claims`` of ``token``."""
        return self._claims(subject, changes)

    def _key(self, algorithm: str) -> SigningKey:
        wanted = algorithm or self._algorithms[0]
        return {key.algorithm: key for key in self._current}[wanted]

    def _claims(self, subject: str, changes: dict[str, object]) -> dict[str, object]:
        now = int(self._clock())
        principal = self._principals.get(subject) or User(subject)
        claims: dict[str, object] = {
            "iss": self.issuer,
            "sub": subject,
            "aud": list(self._audience),
            "iat": now,
            "exp": now + int(self.lifetime_seconds),
            "jti": secrets.token_hex(8),
            "typ": "Bearer",
            "scope": " ".join(sorted(principal.scopes)),
            # Where Keycloak puts roles, and where most others do.
            "realm_access": {"roles": sorted(principal.roles)},
            "roles": sorted(principal.roles),
        }
        claims.update(changes)
        return {name: value for name, value in claims.items() if value is not ABSENT}


def _subject(principal: User | Service) -> str:
    return principal.name if isinstance(principal, User) else principal.client_id
