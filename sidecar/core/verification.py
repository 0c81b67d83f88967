"""Decide whether a token is to be believed, and remember those that are.

Owns the order of the checks and the verified-token cache. Fetching a key that is missing belongs to
``sidecar.issuers``, and so does asking the issuer about a token: here what is missing is an answer,
``KeyNeeded`` or ``IntrospectionNeeded``, and no wait.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from sidecar.core.claims import IssuerPolicy, parse_claims, read_lifetime, read_principal
from sidecar.core.digests import sha256
from sidecar.core.encoding import printable
from sidecar.core.families import SPIFFE_SCHEME, trust_domain_of
from sidecar.core.hints import issuer_hint
from sidecar.core.hygiene import HygieneKind, unclean
from sidecar.core.introspection import Answer, is_opaque, judge_opaque, refuse_jwt
from sidecar.core.jose import Compact, parse_compact, too_large
from sidecar.core.keyset import KeySet, VerificationKey
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Credential, Principal
from sidecar.core.rights import Claims
from sidecar.core.token_cache import TokenCache

__all__ = [
    "IntrospectionNeeded",
    "IssuerPolicy",
    "KeyNeeded",
    "Rejected",
    "Verdict",
    "Verified",
    "Verifier",
]

_COST_PER_TOKEN_BYTE: Final = 4
_COST_PER_ENTRY: Final = 1024
"""Measured: decoded claims, scopes and roles take three to four times the token's own bytes."""
_MAX_SHOWN: Final = 128
"""Characters of an issuer in a detail: the difference is often at the end."""


@dataclass(init=False, repr=False, slots=True)
class Verified:
    """The token is good at the moment asked about."""

    credential: Final[Credential]
    identity: Final[bytes]
    """What ``render`` made of the principal: computed once per token, not per request."""

    def __init__(self, credential: Credential, identity: bytes) -> None:
        self.credential = credential
        self.identity = identity


@dataclass(frozen=True, slots=True)
class Rejected:
    """The token is not good, whatever keys may arrive."""

    denial: Denial


@dataclass(frozen=True, slots=True)
class KeyNeeded:
    """Undecided: no installed key has this name, or none is installed. Obtain keys, ask again."""

    issuer_name: str
    kid: str | None


@dataclass(frozen=True, slots=True)
class IntrospectionNeeded:
    """Undecided: the issuer has to be asked (``sidecar.core.introspection``)."""

    issuer_name: str
    vouched: bool
    """The token is a JWT that is good by itself at the moment asked about."""


Verdict = Verified | Rejected | KeyNeeded | IntrospectionNeeded


@dataclass(init=False, repr=False, eq=False, slots=True)
class _Entry:
    """A verified token, and what must still be true for it to be so again."""

    verified: Final[Verified]
    valid_from: Final[float]
    valid_until: Final[float]
    kid: Final[str | None]
    alg: Final[str]
    key: Final[VerificationKey | None]
    """``None``: an opaque token, for which its issuer spoke."""
    said_bytes: Final[int]
    """Size of the issuer's answer, besides the token's own."""

    def __init__(
        self,
        verified: Verified,
        valid_from: float,
        valid_until: float,
        kid: str | None,
        alg: str,
        key: VerificationKey | None,
        said_bytes: int = 0,
    ) -> None:
        self.verified = verified
        self.valid_from = valid_from
        self.valid_until = valid_until
        self.kid = kid
        self.alg = alg
        self.key = key
        self.said_bytes = said_bytes

    @property
    def issuer_name(self) -> str:
        return self.verified.credential.principal.issuer_name

    @property
    def cost_bytes(self) -> int:
        size_bytes = len(self.verified.credential.token) + self.said_bytes
        identity_bytes = len(self.verified.identity)
        return _COST_PER_TOKEN_BYTE * size_bytes + identity_bytes + _COST_PER_ENTRY


class Verifier:
    """Judges tokens against the policies of the configured issuers. For one thread.

    Only good tokens are remembered: a refusal costs its sender as much the second time, and a
    flood of bad tokens evicts no good one. Clock readings are seconds since the epoch.
    """

    def __init__(
        self,
        policies: Iterable[IssuerPolicy],
        *,
        render: Callable[[Principal], bytes | Denial],
        max_token_bytes: int,
        cache_max_entries: int,
        cache_max_bytes: int,
        unclean_token: Callable[[str, HygieneKind], object] | None = None,
    ) -> None:
        """A token whose principal *render* denies is refused, good as it may be.

        *unclean_token* is told the issuer's name and what is unwise about a good new token.

        An opaque token does not say whose it is, so one issuer at most may be asked about them.
        Raise ``ValueError`` when two policies share a name or an ``iss``, or two are asked.
        """
        self._policies: dict[str, IssuerPolicy] = {}
        for policy in policies:
            if policy.issuer in self._policies:
                raise ValueError(f"two issuers have the iss {printable(policy.issuer)}")
            self._policies[policy.issuer] = policy
        self._names = frozenset(policy.name for policy in self._policies.values())
        if len(self._names) != len(self._policies):
            raise ValueError("two issuers have the same name")
        asked = [
            policy
            for policy in self._policies.values()
            if policy.introspection is not None and policy.introspection.opaque
        ]
        if len(asked) > 1:
            raise ValueError("two issuers introspect opaque tokens")
        self._opaque: IssuerPolicy | None = asked[0] if asked else None
        self._without_iss: IssuerPolicy | None = next(
            (each for each in self._policies.values() if each.profile == "transaction_token"), None
        )
        self._keys: dict[str, KeySet] = {}
        self._cache: TokenCache[_Entry] = TokenCache(
            max_entries=cache_max_entries, max_bytes=cache_max_bytes
        )
        self._render = render
        self._unclean_token = unclean_token
        self._max_token_bytes = max_token_bytes
        self.hits = 0
        self.misses = 0
        self._last_used: dict[tuple[str, str | None, bytes], float] = {}
        """When each key last vouched for a token that was new; as many as there are keys."""
        self.generation = 0
        """Changes with every key set that is installed: what was verified before may not be now."""

    def verify(self, token: bytes, *, now: float) -> Verdict:
        """Judge *token* at *now*. Any bytes give a verdict; nothing raises."""
        if len(token) > self._max_token_bytes:
            return Rejected(too_large(len(token), self._max_token_bytes))
        known = self.recall(token, now=now)
        if known is not None:
            return known
        self.misses += 1
        outcome = self._verify_anew(token, now)
        if isinstance(outcome, _Entry):
            policy = self._policies[outcome.verified.credential.principal.issuer]
            if policy.introspection is not None and policy.introspection.jwt:
                return IntrospectionNeeded(policy.name, vouched=True)
            self._cache.put(token, outcome)
            return outcome.verified
        return Rejected(outcome) if isinstance(outcome, Denial) else outcome

    def introspected(self, token: bytes, answer: Answer, *, asked_at: float, now: float) -> Verdict:
        """Judge *token* at *now* by what its issuer, asked at *asked_at*, said of it.

        A yes is remembered from *asked_at* for the issuer's ``positive_seconds``, never past
        ``exp``; a no ends what was remembered.
        """
        self._cache.discard(token)
        outcome = self._verify_anew(token, now)
        if isinstance(outcome, IntrospectionNeeded):
            assert self._opaque is not None
            outcome = self._opaque_entry(token, answer, self._opaque, asked_at, now)
        elif isinstance(outcome, _Entry):
            outcome = self._vouched_entry(outcome, answer, asked_at)
        if isinstance(outcome, _Entry):
            if outcome.valid_from <= now < outcome.valid_until:
                self._cache.put(token, outcome)
            return outcome.verified
        return Rejected(outcome) if isinstance(outcome, Denial) else outcome

    def recall(self, token: bytes, *, now: float) -> Verified | None:
        """Return what is known of *token* if it still holds at *now*; never looks at it anew."""
        entry = self._cache.get(token)
        if entry is None:
            return None
        if entry.valid_from <= now < entry.valid_until:
            self.hits += 1
            return entry.verified
        self._cache.discard(token)
        return None

    def install(self, issuer_name: str, keys: KeySet, *, now: float = 0.0) -> int:
        """Use *keys* for the issuer from now on; the empty set leaves it without any.

        Tokens whose key the new set would no longer choose are forgotten. Returns how many of
        them would still have been good at *now*. Raises ``ValueError`` for an issuer without
        policy.
        """
        if issuer_name not in self._names:
            raise ValueError(f"no policy for the issuer {printable(issuer_name)}")
        if self._keys.get(issuer_name) == keys:
            return 0
        self._keys[issuer_name] = keys
        self.generation += 1
        # Few keys vouch for many tokens, and the loop waits for this.
        selected = cache(keys.select)
        forgotten = [0]

        def holds(entry: _Entry) -> bool:
            if (
                entry.issuer_name != issuer_name
                or entry.key is None
                or entry.key in selected(entry.kid, entry.alg)
            ):
                return True
            forgotten[0] += now < entry.valid_until
            return False

        self._cache.retain(holds)
        held = {_use_of(issuer_name, key) for key in keys.keys}
        for use in [*self._last_used]:
            if use[0] == issuer_name and use not in held:
                del self._last_used[use]
        return forgotten[0]

    def forget_tokens(self) -> None:
        """Verify every token anew from now on."""
        self._cache.retain(lambda _entry: False)

    def last_used(self, issuer_name: str, key: VerificationKey) -> float | None:
        """Return when *key* last vouched for a token that was not known; ``None``: it did not."""
        return self._last_used.get(_use_of(issuer_name, key))

    def _opaque_entry(
        self, token: bytes, answer: Answer, policy: IssuerPolicy, asked_at: float, now: float
    ) -> _Entry | Denial:
        judged = judge_opaque(answer, policy, now)
        if isinstance(judged, Denial):
            return judged
        principal, lifetime = judged
        identity = self._render(principal)
        if isinstance(identity, Denial):
            return identity
        credential = Credential(
            principal, token, sha256(token), lifetime.expires_at, lifetime.not_before
        )
        return _Entry(
            Verified(credential, identity),
            # The answer is no older than the question, also for a clock that was set back.
            max(lifetime.valid_from, asked_at),
            min(lifetime.valid_until, lifetime.expires_at, asked_at + _positive_seconds(policy)),
            None,
            "",
            None,
            answer.size_bytes,
        )

    def _vouched_entry(self, entry: _Entry, answer: Answer, asked_at: float) -> _Entry | Denial:
        principal = entry.verified.credential.principal
        policy = self._policies[principal.issuer]
        denial = refuse_jwt(answer, principal, policy)
        if denial is not None:
            return denial
        return _Entry(
            entry.verified,
            max(entry.valid_from, asked_at),
            min(entry.valid_until, asked_at + _positive_seconds(policy)),
            entry.kid,
            entry.alg,
            entry.key,
        )

    def _verify_anew(
        self, token: bytes, now: float
    ) -> _Entry | Denial | KeyNeeded | IntrospectionNeeded:
        compact = parse_compact(token)
        if isinstance(compact, Denial):
            if self._opaque is not None and is_opaque(token):
                return IntrospectionNeeded(self._opaque.name, vouched=False)
            return compact
        claims = parse_claims(compact.payload)
        if isinstance(claims, Denial):
            return claims
        # Nothing is proven yet: the issuer that the token claims only selects what it must meet.
        policy = self._policy_for(claims)
        if isinstance(policy, Denial):
            return policy
        if (denial := _refuse_algorithm(compact.header.alg, policy)) is not None:
            return denial
        if (denial := policy.rules.refuse_type(compact.header.typ, claims)) is not None:
            return denial
        key = self._find_signer(compact, policy)
        if not isinstance(key, VerificationKey):
            return key
        principal = read_principal(claims, policy)
        if isinstance(principal, Denial):
            return principal
        lifetime = read_lifetime(claims, policy)
        if isinstance(lifetime, Denial):
            return lifetime
        if (denial := lifetime.refuse(now)) is not None:
            return denial
        identity = self._render(principal)
        if isinstance(identity, Denial):
            return identity
        self._last_used[_use_of(policy.name, key)] = now
        if policy.hygiene is not None and self._unclean_token is not None:
            for kind in unclean(policy.hygiene, claims, len(token)):
                self._unclean_token(policy.name, kind)
        credential = Credential(
            principal,
            token,
            sha256(token),
            lifetime.expires_at,
            lifetime.not_before,
            (compact.header.alg, key.kid),
        )
        return _Entry(
            Verified(credential, identity),
            lifetime.valid_from,
            lifetime.valid_until,
            compact.header.kid,
            compact.header.alg,
            key,
        )

    def _policy_for(self, claims: Claims) -> IssuerPolicy | Denial:
        match claims.get("iss"):
            case str(issuer) if issuer in self._policies:
                return self._policies[issuer]
            case None | str() if (policy := self._trust_domain_policy(claims)) is not None:
                return policy
            case None if self._without_iss is not None:
                return self._without_iss
            case None:
                return Denial(Reason.CLAIM_MISSING, "the token has no iss claim")
            case str(issuer):
                return self._issuer_mismatch(issuer)
            case _:
                return Denial(Reason.CLAIMS_MALFORMED, "the token's iss is not a string")

    def _trust_domain_policy(self, claims: Claims) -> IssuerPolicy | None:
        """Return the policy for the trust domain of the token's ``sub``, if there is one.

        A JWT-SVID need not have an ``iss``, and if it has one it says nothing: its keys are those
        of the trust domain (JWT-SVID, section 6).
        """
        domain = trust_domain_of(claims.get("sub"))
        return None if domain is None else self._policies.get(SPIFFE_SCHEME + domain)

    def _issuer_mismatch(self, issuer: str) -> Denial:
        trusted = printable(f"[{', '.join(self._policies)}]", _MAX_SHOWN)
        return Denial(
            Reason.ISSUER_MISMATCH,
            f"the token's issuer is {printable(issuer, _MAX_SHOWN)}; this service trusts {trusted}"
            f"{issuer_hint(issuer, self._policies)}",
        )

    def _find_signer(
        self, compact: Compact, policy: IssuerPolicy
    ) -> VerificationKey | Denial | KeyNeeded:
        keys = self._keys.get(policy.name)
        if keys is None:
            return KeyNeeded(policy.name, compact.header.kid)
        candidates = keys.select(compact.header.kid, compact.header.alg)
        for key in candidates:
            if key.verify(compact.header.alg, compact.signing_input, compact.signature):
                return key
        named = compact.header.kid in keys.kids
        if named and not candidates:
            return Denial(
                Reason.ALGORITHM_REFUSED,
                f"the issuer did not publish the token's key for {compact.header.alg}",
            )
        if named or (candidates and compact.header.kid is None):
            return Denial(
                Reason.SIGNATURE_INVALID,
                f"the token's signature was not made with a key of {printable(policy.name)}",
            )
        return KeyNeeded(policy.name, compact.header.kid)


def _use_of(issuer_name: str, key: VerificationKey) -> tuple[str, str | None, bytes]:
    """What a key is remembered by: quicker to hash than the key, which is done for every token."""
    return issuer_name, key.kid, key.fingerprint


def _positive_seconds(policy: IssuerPolicy) -> float:
    return 0.0 if policy.introspection is None else policy.introspection.positive_seconds


def _refuse_algorithm(alg: str, policy: IssuerPolicy) -> Denial | None:
    permitted = policy.rules.algorithms
    algorithms = policy.algorithms if permitted is None else policy.algorithms & permitted
    if alg in algorithms:
        return None
    accepted = ", ".join(sorted(algorithms))
    return Denial(
        Reason.ALGORITHM_REFUSED,
        f"the token's alg is {alg}; {printable(policy.name)} may use [{accepted}]",
    )
