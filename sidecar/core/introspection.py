"""Judge what an issuer says of a token when it is asked (RFC 7662, section 2.2).

Owns which tokens are opaque, and what an answer must say. When an issuer is asked belongs to
``sidecar.issuers.introspection``, for how long its answer stands to ``sidecar.core.verification``.
"""

from dataclasses import dataclass
from typing import Any, Final

from sidecar.core.attribution import is_handle
from sidecar.core.bearer import is_b64token
from sidecar.core.claims import IssuerPolicy, Lifetime, read_lifetime, read_principal
from sidecar.core.documents import found_instead
from sidecar.core.encoding import EncodingError, base64url_decode, json_object, printable
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Principal

_JWS_DOTS: Final = 2
_JWE_DOTS: Final = 4
_ACCESS_TOKENS: Final = frozenset({"bearer", "access_token"})
"""``token_type``, lower-cased. RFC 7662 has RFC 6749's types; Hydra 1 said what the token is for,
and said ``refresh_token`` of active refresh tokens, which are not for us."""


class AnswerError(ValueError):
    """An answer cannot be used, whatever token it is about. The message quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an issuer said of one token; *members* is empty of what is ``null``."""

    active: bool
    members: dict[str, Any]
    size_bytes: int

    def __repr__(self) -> str:
        return f"Answer(active={self.active})"


def is_opaque(token: bytes) -> bool:
    """Whether *token* is one that only its issuer can read.

    What has the parts of a JWS or JWE, or starts with the header of one, is a JWT, maybe a broken
    one: its place is not at an introspection endpoint. Nor is that of a handle of ours.
    """
    if not is_b64token(token):
        return False
    if token.count(b".") in (_JWS_DOTS, _JWE_DOTS) or is_handle(token):
        return False
    try:
        header = json_object(base64url_decode(token.partition(b".")[0]))
    except EncodingError:
        return True
    return "alg" not in header and "enc" not in header


def read_answer(content: bytes) -> Answer:
    """Read an answer, whose size is the caller's to bound. Raises ``AnswerError``.

    A member that is ``null`` counts as absent: some issuers write all of them every time.
    """
    try:
        members = json_object(content)
    except EncodingError as error:
        raise AnswerError(f"the answer is {error}{found_instead(content)}") from None
    active = members.get("active")
    if not isinstance(active, bool):
        raise AnswerError("the answer's active is neither true nor false")
    said = {name: value for name, value in members.items() if value is not None}
    return Answer(active, said, len(content))


def judge_opaque(
    answer: Answer, policy: IssuerPolicy, now: float
) -> tuple[Principal, Lifetime] | Denial:
    """Return who an opaque token speaks for and until when, or why it is refused.

    What holds for a JWT's claims holds for the answer, ``aud`` included, without leeway in
    ``exp``: the issuer's own clock has decided already.
    """
    denial = _refuse(answer, policy) or _refuse_kind(answer, policy)
    if denial is not None:
        return denial
    if "aud" not in answer.members and policy.audiences is not None:
        return Denial(
            Reason.AUDIENCE_MISMATCH,
            "the issuer's answer has no aud; let it tell the audience, or write `audiences: any`",
        )
    principal = read_principal(answer.members, policy)
    if isinstance(principal, Denial):
        return principal
    lifetime = read_lifetime(answer.members, policy)
    if isinstance(lifetime, Denial):
        return lifetime
    denial = lifetime.refuse(now)
    if denial is None and now >= lifetime.expires_at:
        denial = Denial(Reason.TOKEN_EXPIRED, "the token has expired (exp of the issuer's answer)")
    return denial if denial is not None else (principal, lifetime)


def refuse_jwt(answer: Answer, principal: Principal, policy: IssuerPolicy) -> Denial | None:
    """Say why *answer* stands against a JWT that is good by itself."""
    denial = _refuse(answer, policy)
    if denial is None and answer.members.get("sub", principal.subject) != principal.subject:
        denial = Denial(
            Reason.CLAIMS_MALFORMED, "the issuer's answer has another sub than the token"
        )
    return denial


def _refuse(answer: Answer, policy: IssuerPolicy) -> Denial | None:
    if not answer.active:
        return Denial(Reason.TOKEN_INACTIVE, f"{printable(policy.name)} says so")
    issuer = answer.members.get("iss", policy.issuer)
    if issuer == policy.issuer:
        return None
    shown = printable(issuer) if isinstance(issuer, str) else "not a string"
    return Denial(Reason.ISSUER_MISMATCH, f"the iss of the issuer's answer is {shown}")


def _refuse_kind(answer: Answer, policy: IssuerPolicy) -> Denial | None:
    """Refuse what is active and no bearer access token: refresh tokens are active, too."""
    for name in ("token_type", "token_use"):
        kind = answer.members.get(name, "bearer")
        if not isinstance(kind, str) or kind.lower() not in _ACCESS_TOKENS:
            shown = printable(kind) if isinstance(kind, str) else "not a string"
            return Denial(Reason.TOKEN_TYPE, f"the {name} of the issuer's answer is {shown}")
    # There is no header to have a type, so one that passes stands for it.
    typ = next(iter(policy.rules.token_types))
    return policy.rules.refuse_type(typ, answer.members)
