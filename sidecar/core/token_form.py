"""The form with which a token is asked for (RFC 6749, 4.4; RFC 7523, 2.1; RFC 8693, 2.1).

Pure, and without the client's own credential, which ``sidecar.credentials.client_authentication``
adds.
"""

from collections.abc import Iterator
from typing import Final

from sidecar.core.token_request import ACCESS_TOKEN, JWT, TokenRequest

Form = list[tuple[str, str]]
"""In the order in which it is sent; names may repeat."""

GRANT_TYPES: Final = {
    "exchange": "urn:ietf:params:oauth:grant-type:token-exchange",
    "client_credentials": "client_credentials",
    "jwt_bearer": "urn:ietf:params:oauth:grant-type:jwt-bearer",
}

RESERVED: Final = frozenset(
    {
        "grant_type", "scope", "audience", "resource", "requested_token_type", "subject_token",
        "subject_token_type", "actor_token", "actor_token_type", "assertion", "client_id",
        "client_secret", "client_assertion", "client_assertion_type",
    }
)  # fmt: skip
"""What ``parameters`` never says: a server may take either of two."""


def token_form(request: TokenRequest, *, subject_token: str = "", actor_token: str = "") -> Form:
    """Return the form for *request* on behalf of *subject_token*, which some grants have.

    *actor_token* is that of whoever acts for the subject; empty: nobody says so.
    """
    return [
        ("grant_type", GRANT_TYPES[request.grant]),
        *_subject(request, subject_token, actor_token),
        *(("audience", each) for each in request.audience),
        *(("resource", each) for each in request.resource),
        *([("scope", " ".join(request.scopes))] if request.scopes else []),
        *(each for each in request.parameters if each[0] not in RESERVED),
    ]


def _subject(
    request: TokenRequest, subject_token: str, actor_token: str
) -> Iterator[tuple[str, str]]:
    match request.grant:
        case "client_credentials":
            return
        case "jwt_bearer":
            yield "assertion", subject_token
        case "exchange":
            yield "subject_token", subject_token
            yield "subject_token_type", request.subject_type
            if request.requested_type:
                yield "requested_token_type", request.requested_type
            if actor_token:
                # RFC 8693, section 2.1: the one exactly when there is the other.
                yield "actor_token", actor_token
                yield "actor_token_type", ACCESS_TOKEN if request.actor == "client" else JWT
