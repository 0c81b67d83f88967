"""Judge the claims of a token whose signature is good (RFC 7519, section 4.1).

Owns which claims must be there, their types, and time. The clock is the caller's: ``now`` is an
argument. What differs between issuers belongs to ``sidecar.core.profiles``.
"""

from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

from sidecar.core.encoding import EncodingError, is_plain, json_object, printable
from sidecar.core.hints import audience_hint, missing_hint
from sidecar.core.hygiene import HygieneLimits
from sidecar.core.jose import ALGORITHMS
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Principal
from sidecar.core.profiles import Overrides, Profile, ProfileName, profile_of
from sidecar.core.rights import Claims, read_names, read_scopes

MAX_SUBJECT_LENGTH: Final = 1024
"""Characters; RFC 7519 has no limit, OpenID Connect Core says 255."""
MAX_NUMERIC_DATE: Final = 2**53
"""Seconds; above it a JSON number is no longer exact (RFC 8259, section 6)."""


@dataclass(frozen=True, slots=True)
class Introspected:
    """Which tokens of an issuer it is asked about, and how long its yes stands (RFC 7662)."""

    opaque: bool
    jwt: bool
    """Besides being verified: the issuer knows what it revoked."""
    positive_seconds: float


@dataclass(frozen=True, slots=True)
class IssuerPolicy:
    """What this service demands of one issuer's tokens.

    Raises ``ValueError`` for an algorithm that cannot be checked.
    """

    name: str
    """The issuer's name in the configuration."""
    issuer: str
    """Compared with ``iss`` character by character (RFC 7519, section 4.1.1)."""
    audiences: frozenset[str] | None
    """Any one of these must be in ``aud``; ``None`` accepts every audience."""
    algorithms: frozenset[str] = ALGORITHMS
    profile: ProfileName = "generic"
    leeway_seconds: float = 30.0
    max_token_age_seconds: float | None = None
    """Refuse a token whose ``iat`` is longer ago than this (plus leeway), or absent."""
    require_exp: bool = True
    introspection: Introspected | None = None
    overrides: Overrides | None = None
    """Where this issuer differs from its profile."""
    hygiene: HygieneLimits | None = None
    """What is worth a warning in tokens that are good; ``None``: nothing."""
    rules: Profile = field(init=False, repr=False, compare=False)
    """The profile with the overrides: asked several times per token, so made once."""

    def __post_init__(self) -> None:
        if unknown := self.algorithms - ALGORITHMS:
            raise ValueError(f"unsupported algorithms: {sorted(unknown)}")
        object.__setattr__(self, "rules", profile_of(self.profile, self.overrides))


@dataclass(init=False, slots=True)
class Lifetime:
    """When a token may be used, leeway included: ``valid_from <= now < valid_until``.

    Two instants say all that a cached token must be asked again on every use.
    """

    expires_at: Final[float]
    """``exp`` as it stands, ``inf`` when absent."""
    not_before: Final[float]
    """``nbf`` as it stands, ``-inf`` when absent."""
    valid_from: Final[float]
    expired_from: Final[float]
    too_old_from: Final[float]

    def __init__(
        self,
        expires_at: float,
        not_before: float,
        valid_from: float,
        expired_from: float,
        too_old_from: float,
    ) -> None:
        self.expires_at = expires_at
        self.not_before = not_before
        self.valid_from = valid_from
        self.expired_from = expired_from
        self.too_old_from = too_old_from

    @property
    def valid_until(self) -> float:
        return min(self.expired_from, self.too_old_from)

    def refuse(self, now: float) -> Denial | None:
        """Say why the token cannot be used at *now*, in seconds since the epoch."""
        # Written so that anything but a plain yes refuses, a NaN clock included.
        if self.valid_from <= now < self.valid_until:
            return None
        if now < self.valid_from:
            return Denial(
                Reason.TOKEN_NOT_YET_VALID,
                f"the token is valid {self.valid_from - now:.0f} s from now, leeway included;"
                " compare the clocks",
            )
        if self.too_old_from <= now < self.expired_from:
            return Denial(
                Reason.TOKEN_TOO_OLD,
                f"the token is {now - self.too_old_from:.0f} s older than it may be",
            )
        return Denial(
            Reason.TOKEN_EXPIRED, f"the token expired {now - self.expires_at:.0f} s ago (exp)"
        )


def parse_claims(payload: bytes) -> dict[str, Any] | Denial:
    """Decode the claims set of a token; nothing in it is checked yet."""
    try:
        return json_object(payload)
    except EncodingError as error:
        return Denial(Reason.TOKEN_MALFORMED, f"the token's claims set is {error}")


def read_principal(claims: dict[str, Any], policy: IssuerPolicy) -> Principal | Denial:
    """Judge everything but time: subject, audience, the profile's claims, scopes and roles.

    An audience mismatch comes before expiry because waiting for a new token does not help.
    """
    rules = policy.rules
    denial = (
        _refuse_subject(claims, policy.profile)
        or _refuse_audience(claims, policy, rules.audience_claim)
        or _refuse_required(claims, rules.required)
    )
    if denial is None and rules.refuse_family is not None:
        denial = rules.refuse_family(claims, policy.issuer)
    if denial is not None:
        return denial
    scopes = read_scopes(claims, rules.scopes_from)
    if isinstance(scopes, Denial):
        return scopes
    roles = rules.read_roles(claims)
    if isinstance(roles, Denial):
        return roles
    client_roles = rules.read_client_roles(claims)
    if isinstance(client_roles, Denial):
        return client_roles
    return Principal(
        issuer_name=policy.name,
        issuer=policy.issuer,
        subject=claims["sub"],
        scopes=scopes,
        roles=roles,
        claims=claims,
        client_roles=client_roles,
    )


def read_lifetime(claims: Claims, policy: IssuerPolicy) -> Lifetime | Denial:
    """Read ``exp``, ``nbf`` and ``iat`` (RFC 7519, sections 4.1.4 to 4.1.6) under *policy*."""
    for name in ("exp", "nbf", "iat"):
        if name in claims and not _is_numeric_date(claims[name]):
            return Denial(
                Reason.CLAIMS_MALFORMED,
                f"the token's {name} is not a number of seconds since the epoch",
            )
    if policy.require_exp and "exp" not in claims:
        return _missing("exp")
    max_age = policy.max_token_age_seconds
    if max_age is not None and "iat" not in claims:
        return _missing("iat")
    leeway = policy.leeway_seconds
    expires_at = float(claims.get("exp", inf))
    not_before = float(claims.get("nbf", -inf))
    issued_at = float(claims.get("iat", -inf))
    return Lifetime(
        expires_at=expires_at,
        not_before=not_before,
        valid_from=max(not_before, issued_at) - leeway,
        expired_from=expires_at + leeway,
        too_old_from=inf if max_age is None else issued_at + max_age + leeway,
    )


def _is_numeric_date(value: object) -> bool:
    # ``bool`` is an ``int`` in Python, but ``true`` is no date in JSON. (``int | float`` would be
    # put together anew for every token.)
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and 0 <= value <= MAX_NUMERIC_DATE
    )


def _refuse_subject(claims: Claims, profile: ProfileName) -> Denial | None:
    subject = claims.get("sub")
    if (
        is_plain(subject)
        and 0 < len(subject) <= MAX_SUBJECT_LENGTH
        # A header value loses its outer spaces: " admin" would reach the app as "admin".
        and subject == subject.strip()
    ):
        return None
    if subject is None:
        return _missing("sub", missing_hint("sub", profile))
    return Denial(
        Reason.CLAIMS_MALFORMED,
        f"the token's sub is not a plain string of 1 to {MAX_SUBJECT_LENGTH} characters",
    )


def _refuse_audience(claims: Claims, policy: IssuerPolicy, instead: str) -> Denial | None:
    """*instead*: the claim that holds the audience where there is no ``aud``."""
    name = "aud" if "aud" in claims else instead
    accepted = policy.audiences
    if name not in claims:
        if accepted is None:
            return None
        return _wrong_audience(f"the token has no {name}", policy, accepted)
    audience = claims[name]
    found = read_names((name,), [audience] if isinstance(audience, str) else audience)
    if isinstance(found, Denial):
        return found
    if accepted is None or not accepted.isdisjoint(found):
        return None
    return _wrong_audience(f"the token's audience is {_shown(found)}", policy, accepted)


def _wrong_audience(what: str, policy: IssuerPolicy, accepted: frozenset[str]) -> Denial:
    return Denial(
        Reason.AUDIENCE_MISMATCH,
        f"{what}; this service accepts {_shown(accepted)}; {audience_hint(policy.profile)}",
    )


def _refuse_required(claims: Claims, names: tuple[str, ...]) -> Denial | None:
    for name in names:
        if name not in claims:
            return _missing(name)
        if name in ("client_id", "jti") and not (isinstance(claims[name], str) and claims[name]):
            return Denial(
                Reason.CLAIMS_MALFORMED, f"the token's {name} is not a string, or an empty one"
            )
    return None


def _missing(name: str, hint: str = "") -> Denial:
    return Denial(Reason.CLAIM_MISSING, f"the token has no {printable(name)} claim{hint}")


def _shown(names: frozenset[str]) -> str:
    return printable(f"[{', '.join(sorted(names))}]")
