"""One recorded request, judged again under another configuration.

Owns what can be known of it: whatever depends on something that was not recorded is undecidable,
never guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from msgspec import DecodeError
from msgspec.json import Decoder

from sidecar.core.claim_paths import ABSENT, ClaimPath, look_up, parse_claim_path, show_claim_path
from sidecar.core.claims import IssuerPolicy, read_lifetime
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Principal
from sidecar.rehearsal.judging import Asked, Found, Judge, Verdict, refused
from sidecar.rehearsal.recordings import moment
from sidecar.telemetry.decision_records import TOKEN_REASONS, Caller, DecisionRecord

MAX_KEPT_CALLERS: Final = 10_000

_BY_RULES: Final = frozenset(
    {"no_rule", "path_ambiguous", "scope_missing", "role_missing", "claim_condition"}
    | {"authentication_insufficient", "actor_refused", "issuer_mismatch", "audience_mismatch"}
)
"""What rules refuse a request for whose token was verified, or not wanted."""
_BEFORE_CONDITIONS: Final = frozenset(
    {"scope_missing", "role_missing", "issuer_mismatch", "audience_mismatch"}
)
_ALWAYS_RECORDED: Final[Mapping[ClaimPath, str]] = {
    ("sub",): "sub", ("iss",): "iss", ("aud",): "aud", ("exp",): "exp", ("iat",): "iat",
    ("acr",): "acr", ("auth_time",): "auth_time", ("act",): "act", ("act", "sub"): "act",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Undecidable:
    """Why a request cannot be judged again. *claim* names what to record from now on."""

    why: str
    claim: str = ""


def recorded_verdict(record: DecisionRecord) -> Verdict:
    """Return what the rules said then. A failure behind them is no verdict of theirs."""
    about_token = record.reason in TOKEN_REASONS and record.presented != "verified"
    if not about_token and record.reason not in _BY_RULES:
        return Verdict(True, record.rule)
    return Verdict(not record.enforced, record.rule, record.reason)


class Callers:
    """Recorded callers as principals, each token's read once."""

    def __init__(self) -> None:
        self._decode = Decoder(Caller).decode
        self._known: dict[bytes, tuple[Caller, Principal] | None] = {}

    def read(self, content: bytes) -> tuple[Caller, Principal] | None:
        """Return the caller in a record, nothing where it is malformed."""
        if content in self._known:
            return self._known[content]
        try:
            caller = self._decode(content)
            found = caller, _principal(caller)
        except (DecodeError, ValueError):  # ValueError: a path of a claim that is none
            found = None
        if len(self._known) >= MAX_KEPT_CALLERS:
            self._known.clear()
        self._known[content] = found
        return found


def _principal(caller: Caller) -> Principal:
    claims: dict[str, Any] = {"iss": caller.iss, "sub": caller.subject, "aud": caller.audiences}
    for name in ("exp", "iat", "acr", "auth_time"):
        if (value := getattr(caller, name)) is not None:
            claims[name] = value
    if caller.act is not None:
        # Where they are hashed, what is deeper than the outermost says nothing.
        whole = caller.actors and "act.sub" not in caller.redacted
        claims |= _chain(caller.actors if whole else [caller.act])
    for shown, value in caller.claims.items():
        _put(claims, parse_claim_path(shown), value)
    return Principal(
        issuer_name=caller.issuer,
        issuer=caller.iss,
        subject=caller.subject,
        scopes=frozenset(caller.scopes),
        roles=frozenset(caller.roles),
        claims=claims,
        client_roles={each: frozenset(held) for each, held in caller.client_roles.items()},
    )


def _chain(actors: Sequence[str]) -> dict[str, Any]:
    """Return ``act`` as a token has it, from its actors, the outermost first."""
    claims: dict[str, Any] = {}
    for actor in reversed(actors):
        claims = {"act": {"sub": actor, **claims} if actor else claims}
    return claims


def _put(claims: dict[str, Any], path: ClaimPath, value: Any) -> None:
    for name in path[:-1]:
        inner = claims.get(name)
        if not isinstance(inner, dict):
            inner = claims[name] = {}
        claims = inner
    claims[path[-1]] = value


def rejudge(
    record: DecisionRecord, known: tuple[Caller, Principal] | None, judge: Judge
) -> Verdict | Undecidable:
    """Return what *judge* makes of *record*; *known* is its caller, where there is one."""
    if record.cut:
        return Undecidable("the path was too long to be recorded whole")
    now = moment(record.time)
    asked = Asked(record.method.encode(), record.path.encode(), record.host.encode(), now)
    found = judge.find(asked)
    if isinstance(found, Denial):
        return refused(found)
    if not found.rule.looks_at_tokens:
        return Verdict(True, found.rule.name)
    if record.presented == "verified":
        if known is None:
            return Undecidable("the caller in the record cannot be read")
        return _with_caller(found, *known, judge, now)
    return _without_caller(record, found, judge, now)


def _without_caller(
    record: DecisionRecord, found: Found, judge: Judge, now: float
) -> Verdict | Undecidable:
    match record.presented:
        case "none":
            return judge.authorize(found, None, now)
        case "refused":
            # What a token said that was refused is not recorded, so the refusal stands.
            return Verdict(False, found.rule.name, record.reason)
        case "unread":
            return Undecidable("a token was sent and not looked at: the request needed none then")
        case _:
            return Undecidable("whether a token was sent is not recorded")


def _with_caller(
    found: Found, caller: Caller, principal: Principal, judge: Judge, now: float
) -> Verdict | Undecidable:
    rule = found.rule.name
    if caller.cut:
        return Undecidable("the caller was too large to be recorded")
    policy = judge.by_iss.get(caller.iss)
    if policy is None:
        return refused(Denial(Reason.ISSUER_MISMATCH, "its issuer is not trusted any more"), rule)
    if policy.name != principal.issuer_name:
        principal = Principal(
            policy.name, principal.issuer, principal.subject, principal.scopes, principal.roles,
            principal.claims, principal.client_roles,
        )  # fmt: skip
    denial = _refuse_token(caller, principal, policy, now)
    if isinstance(denial, Undecidable):
        return denial
    if denial is not None:
        return refused(denial, rule)
    requirement = found.rule.requirement
    asks_rights = requirement is not None and (
        requirement.scopes or requirement.roles or requirement.client_roles
    )
    if asks_rights and caller.read_as != judge.read_as[policy.name]:
        return Undecidable(
            f"scopes and roles of the issuer {policy.name} were read from other claims"
        )
    verdict = judge.authorize(found, principal, now)
    if verdict.reason in _BEFORE_CONDITIONS:
        return verdict
    return _missing(caller, principal, judge.conditioned[rule]) or verdict


def _missing(
    caller: Caller, principal: Principal, wanted: tuple[ClaimPath, ...]
) -> Undecidable | None:
    """Say which claim that a condition asks for is not in the record, or only as a hash."""
    for path in wanted:
        shown = show_claim_path(path)
        if shown in caller.redacted and path != ("sub",):
            return Undecidable(f"the claim {shown} is recorded as a hash")
        if path in _ALWAYS_RECORDED or shown in caller.absent:
            continue
        if look_up(principal.claims, path) is ABSENT:
            return Undecidable(f"the claim {shown} is not recorded", shown)
    return None


def _refuse_token(
    caller: Caller, principal: Principal, policy: IssuerPolicy, now: float
) -> Denial | Undecidable | None:
    """Judge of a token what an issuer's own keys ask: audience, claims that must be there, age."""
    accepted = policy.audiences
    says_aud = policy.rules.audience_claim == "aud"
    if says_aud and accepted is not None and accepted.isdisjoint(caller.audiences):
        return Denial(Reason.AUDIENCE_MISMATCH, "none of its audiences is accepted any more")
    for name in policy.rules.required:
        if name in principal.claims:
            continue
        if name in caller.absent:
            return Denial(Reason.CLAIM_MISSING, f"the token has no {name} claim")
        if policy.overrides is not None and policy.overrides.required is not None:
            return Undecidable(f"the claim {name} is not recorded", name)
    if policy.max_token_age_seconds is None and (caller.exp is not None or not policy.require_exp):
        return None
    lifetime = read_lifetime(principal.claims, policy)
    if isinstance(lifetime, Denial):
        return lifetime
    denial = lifetime.refuse(now)
    # The end of a long exchange is what is recorded: the token may have ended meanwhile.
    return denial if denial is not None and denial.reason is Reason.TOKEN_TOO_OLD else None
