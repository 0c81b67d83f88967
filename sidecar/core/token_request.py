"""What an authorization server is asked for so that a destination gets a token of its own.

Pure values. Asking is ``sidecar.credentials.token_endpoint``'s, remembering the answers
``sidecar.credentials.token_source``'s.
"""

from dataclasses import dataclass
from typing import Final, Literal

Grant = Literal["exchange", "client_credentials", "jwt_bearer"]
"""RFC 8693, RFC 6749 section 4.4, RFC 7523 section 2.1."""

Actor = Literal["none", "client", "file"]
"""Whose token says who acts for the subject (RFC 8693, section 2.1): nobody's, one that the client
gets for itself, or one in a file."""

ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
TRANSACTION_TOKEN: Final = "urn:ietf:params:oauth:token-type:txn_token"  # noqa: S105 - a type


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One token of one destination, but for the subject. Equal ones may share their answers."""

    client: str
    """Name of the client, under ``clients``, that asks."""
    grant: Grant
    audience: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    requested_type: str = ""
    """A token type identifier (RFC 8693, section 3); empty: not sent."""
    subject_type: str = ACCESS_TOKEN
    """What the subject's token is called."""
    actor: Actor = "none"
    actor_file: str = ""
    """Path of the actor's token, read when it is needed."""
    subject_may_change: bool = False
    """Whether a token for somebody else than the subject is taken."""
    accepted_audiences: tuple[str, ...] = ()
    """One of them must be in ``aud`` of a JWT that comes back; none: one of *audience* must,
    where that is given."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Sent besides, as a vendor wants it."""
