"""Judge what a token endpoint answers (RFC 6749, 5; RFC 8693, 2.2).

Owns what makes an answer one to the question that was asked. A JWT in it is read and not verified:
it came over TLS from the server that was asked, and whom it is for has its own keys to check it
with. What is held against the question are its audience, its subject and its end.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final, TypeGuard

from sidecar.core.documents import found_instead
from sidecar.core.encoding import EncodingError, base64url_decode, is_plain, json_object, printable
from sidecar.core.obtained import FailureKind, ObtainedToken
from sidecar.core.token_request import ACCESS_TOKEN, JWT, TRANSACTION_TOKEN, TokenRequest

MAX_TOKEN_BYTES: Final = 16 * 1024
"""As many as a token may have that comes in."""
MAX_LIFETIME_SECONDS: Final = 10 * 365 * 86400.0
"""Beyond it somebody has counted in milliseconds."""
NOT_BEFORE_LEEWAY_SECONDS: Final = 60.0

_VISIBLE: Final = re.compile(r"[!-~]+")
_DIGITS: Final = re.compile(r"[0-9]{1,10}")
_JWTS: Final = frozenset({JWT, TRANSACTION_TOKEN})

_CODES: Final[Mapping[str, FailureKind]] = {
    "invalid_client": "misconfigured",
    "unauthorized_client": "misconfigured",
    "invalid_target": "misconfigured",
    "invalid_scope": "misconfigured",
    "unsupported_grant_type": "misconfigured",
    "unsupported_token_type": "misconfigured",
    "invalid_request": "misconfigured",
    "invalid_grant": "refused",
    "invalid_token": "refused",
    "access_denied": "refused",
    "interaction_required": "refused",
    "login_required": "refused",
    "consent_required": "refused",
    "insufficient_user_authentication": "refused",
    "server_error": "unavailable",
    "temporarily_unavailable": "unavailable",
    "slow_down": "unavailable",
}
"""``error`` of RFC 6749, RFC 8693, OpenID Connect and Entra. Others are not repeated anywhere."""


class TokenAnswerError(ValueError):
    """An answer cannot be used. The message quotes nothing that could be a token.

    *is_garbage*: it is no answer of a token endpoint at all, whatever was asked.
    """

    def __init__(self, message: str, *, is_garbage: bool = False) -> None:
        super().__init__(message)
        self.is_garbage = is_garbage


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """What an error answer says (RFC 6749, section 5.2)."""

    kind: FailureKind
    code: str
    description: str
    """In a form fit for the operator's log, and for nobody else; empty where there is none."""


def read_token(
    content: bytes, request: TokenRequest, *, subject: str | None, asked_at: float
) -> ObtainedToken:
    """Return the token in *content*, an answer to *request* whose size is the caller's to bound.

    *subject* is the ``sub`` that it was asked for; ``None``: nobody's. *asked_at* is in seconds
    since the epoch. Raises ``TokenAnswerError``.
    """
    try:
        members = json_object(content)
    except EncodingError as error:
        cause = f"the answer is {error}{found_instead(content)}"
        raise TokenAnswerError(cause, is_garbage=True) from None
    token = _token(members)
    issued_type = _issued_type(members, request)
    _check_token_type(members, issued_type)
    claims = _claims(token, must_be_jwt=issued_type in _JWTS)
    if claims is not None:
        _check_audience(claims, request)
        _check_subject(claims, request, subject)
    return ObtainedToken(
        token.encode("ascii"),
        asked_at,
        _end(members, claims, asked_at),
        issued_type,
        "" if claims is None else _text(claims.get("sub")),
        "" if claims is None else _actor(claims),
    )


def read_error(
    status: int, content: bytes, request: TokenRequest, *, sent: Iterable[str] = ()
) -> ErrorAnswer | None:
    """Return what an answer other than 200 says, or nothing where it says it in no known form.

    *sent* is what it must not repeat: tokens and secrets.
    """
    try:
        members = json_object(content)
    except EncodingError:
        members = {}
    code = members.get("error")
    kind = _CODES.get(code) if isinstance(code, str) else None
    if kind is None or not isinstance(code, str):
        if status == 401:  # which is for the client's own credential alone
            return ErrorAnswer("misconfigured", "invalid_client", "")
        return None
    if code == "invalid_request" and request.grant == "exchange":
        # RFC 8693, section 2.2.2, has it for a subject's token that is not acceptable, too.
        kind = "refused"
    if status >= 500:
        kind = "unavailable"
    return ErrorAnswer(kind, code, safe_description(members.get("error_description"), sent))


def safe_description(said: object, sent: Iterable[str] = ()) -> str:
    """Return what a server *said* of an error, fit for a log: short, printable, without tokens.

    Servers quote what they dislike. A word that is longer than words are is left out, so that no
    token, assertion or URL is in what is left; a user's name may be.
    """
    if not isinstance(said, str) or any(each and each in said for each in sent):
        return ""
    words = said[:1024].split()
    shown = " ".join(word if len(word) <= 24 else "..." for word in words)
    return printable(shown, 160).replace('"', "'")


def _token(members: Mapping[str, Any]) -> str:
    token = members.get("access_token")
    if not isinstance(token, str) or not token:
        raise TokenAnswerError("the answer has no access_token", is_garbage=True)
    if len(token) > MAX_TOKEN_BYTES:
        raise TokenAnswerError(f"the token has more than {MAX_TOKEN_BYTES} bytes")
    if not _VISIBLE.fullmatch(token):
        raise TokenAnswerError("the token holds a character that no header field may have")
    return token


def _issued_type(members: Mapping[str, Any], request: TokenRequest) -> str:
    if request.grant != "exchange":
        return ""
    issued = members.get("issued_token_type")
    if not isinstance(issued, str):
        raise TokenAnswerError("the answer has no issued_token_type (RFC 8693, section 2.2.1)")
    wanted = (request.requested_type,) if request.requested_type else (ACCESS_TOKEN, JWT)
    if issued not in wanted:
        raise TokenAnswerError(
            f"the issued_token_type is {printable(issued, 80)}, asked for was {' or '.join(wanted)}"
        )
    return issued


def _check_token_type(members: Mapping[str, Any], issued_type: str) -> None:
    token_type = members.get("token_type")
    said = token_type.lower() if isinstance(token_type, str) else ""
    if said == "bearer":
        return
    # RFC 8693, section 2.2.1: what is issued is no access token, nor usable as one.
    if said == "n_a" and issued_type not in ("", ACCESS_TOKEN):
        return
    shown = printable(token_type, 24) if isinstance(token_type, str) else "not a string"
    raise TokenAnswerError(f"the token_type is {shown}, which is not Bearer")


def _claims(token: str, *, must_be_jwt: bool) -> Mapping[str, Any] | None:
    """Return what a JWT says; nothing where only others can read the token."""
    parts = token.encode("ascii").split(b".")
    if len(parts) == 3:
        try:
            header = json_object(base64url_decode(parts[0]))
        except EncodingError:
            header = {}
        if "alg" in header:
            try:
                return json_object(base64url_decode(parts[1]))
            except EncodingError as error:
                raise TokenAnswerError(f"the payload of the JWT is {error}") from None
    if must_be_jwt:
        raise TokenAnswerError("the token is no signed JWT, which its issued_token_type says it is")
    return None


def _check_audience(claims: Mapping[str, Any], request: TokenRequest) -> None:
    accepted = request.accepted_audiences or request.audience
    if not accepted:
        return
    said = claims.get("aud")
    audiences = said if isinstance(said, list) else [said]
    if any(each in accepted for each in audiences if isinstance(each, str)):
        return
    shown = ", ".join(printable(each) for each in audiences[:4] if isinstance(each, str))
    wanted = ", ".join(accepted)
    raise TokenAnswerError(f"the aud of the token is {shown or 'absent'}, asked for was {wanted}")


def _check_subject(claims: Mapping[str, Any], request: TokenRequest, subject: str | None) -> None:
    if subject is None or request.grant == "client_credentials" or request.subject_may_change:
        return
    if claims.get("sub") != subject:
        raise TokenAnswerError(
            "the sub of the token is not that of the token it was asked for with; if the server "
            "names subjects anew for each audience, write `subject_may_change: true`"
        )


def _end(members: Mapping[str, Any], claims: Mapping[str, Any] | None, asked_at: float) -> float:
    """Return when the token ends: the earliest that either the answer or the token says."""
    expires_in = _seconds(members)
    exp = inf if claims is None else _instant(claims, "exp", inf)
    if expires_in is None and exp == inf:
        raise TokenAnswerError(
            "nothing says when the token ends: the answer has no expires_in"
            + ("" if claims is None else ", and the token no exp")
        )
    end = min(exp, inf if expires_in is None else asked_at + expires_in)
    if end <= asked_at:
        raise TokenAnswerError("the token has expired already; do both clocks agree?")
    if end - asked_at > MAX_LIFETIME_SECONDS:
        raise TokenAnswerError("the token is said to live for more than ten years")
    if claims is not None:
        starts = _instant(claims, "nbf", -inf)
        if starts > asked_at + NOT_BEFORE_LEEWAY_SECONDS:
            raise TokenAnswerError("the token is not valid yet (nbf); do both clocks agree?")
    return end


def _seconds(members: Mapping[str, Any]) -> float | None:
    value = members.get("expires_in")
    if value is None:
        return None
    if isinstance(value, str) and _DIGITS.fullmatch(value):  # Entra's endpoints of version 1
        return float(value)
    if not _is_time(value):
        raise TokenAnswerError("the expires_in of the answer is not a number of seconds")
    return float(value)


def _instant(claims: Mapping[str, Any], name: str, absent: float) -> float:
    value = claims.get(name)
    if value is None:
        return absent
    if not _is_time(value):
        raise TokenAnswerError(f"the {name} of the token is not a time")
    return float(value)


def _is_time(value: object) -> TypeGuard[float]:
    """Whether *value* is a number of seconds; an integer may be too long to become a float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _actor(claims: Mapping[str, Any]) -> str:
    """Return who acts: the outermost ``act`` alone says so (RFC 8693, section 4.1)."""
    act = claims.get("act")
    return _text(act.get("sub")) if isinstance(act, dict) else ""


def _text(value: object) -> str:
    return value if is_plain(value) else ""
