"""What a token endpoint was asked for, and what it decided to issue.

Owns the parameters that every grant shares: for whom the token is (``audience`` and ``resource``,
RFC 8693 and RFC 8707), and for what (``scope``, RFC 6749, section 3.3).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from sidecar.testbed.token_errors import TokenError
from sidecar.testbed.users import Service

CLIENT_CREDENTIALS: Final = "client_credentials"
PASSWORD: Final = "password"  # noqa: S105 - a grant
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a grant
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"

ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
TRANSACTION_TOKEN: Final = "urn:ietf:params:oauth:token-type:txn_token"  # noqa: S105 - a type

_REPEATABLE: Final = frozenset({"audience", "resource"})


@dataclass(frozen=True, slots=True)
class Grant:
    """The token that the endpoint decided to issue."""

    subject: str
    scope: str
    claims: Mapping[str, object] = field(default_factory=dict)
    """What it says other than an ordinary token of this issuer."""
    token_type: str = ACCESS_TOKEN
    """Which token it is (RFC 8693, section 3)."""
    is_exchanged: bool = False
    """Whether the answer names that type, as only an exchange's does."""
    latest_end: float | None = None
    """When it ends at the latest."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The form of a token request, read."""

    form: Mapping[str, str] = field(repr=False)
    """The parameters that may be there once."""
    audience: tuple[str, ...]
    resource: tuple[str, ...]

    @property
    def grant_type(self) -> str:
        """Which grant it is; empty where it does not say."""
        return self.form.get("grant_type", "")

    @property
    def scope(self) -> frozenset[str]:
        """The scopes asked for; none means what may be had."""
        return frozenset(self.form.get("scope", "").split())


def read(parameters: Sequence[tuple[str, str]]) -> Asked | TokenError:
    """Read the *parameters* of a form (RFC 6749, section 3.2: none but a few more than once)."""
    single = [(name, value) for name, value in parameters if name not in _REPEATABLE]
    form = dict(single)
    if len(form) != len(single):
        return TokenError("invalid_request", "a parameter was sent more than once")
    return Asked(form, _all(parameters, "audience"), _all(parameters, "resource"))


def _all(parameters: Iterable[tuple[str, str]], wanted: str) -> tuple[str, ...]:
    return tuple(value for name, value in parameters if name == wanted)


def targets(asked: Asked, service: Service) -> dict[str, object] | TokenError:
    """Return the claim ``aud`` of a token for *service*, none where it did not say for whom.

    A target that *service* may not ask for is ``invalid_target`` (RFC 8693, section 2.2.2).
    """
    for resource in asked.resource:
        parts = urlsplit(resource)
        if not parts.scheme or parts.fragment or "#" in resource:
            return TokenError("invalid_target", "a resource is no absolute URI without fragment")
    return permitted((*asked.audience, *asked.resource), service)


def permitted(wanted: Sequence[str], service: Service) -> dict[str, object] | TokenError:
    """Return the claim ``aud`` that names all of *wanted*, provided *service* may have each."""
    if service.audiences is not None and not service.audiences.issuperset(wanted):
        return TokenError("invalid_target", f"{service.client_id} may not ask for that target")
    return {"aud": list(dict.fromkeys(wanted))} if wanted else {}


def narrowed(asked: Asked, held: frozenset[str]) -> str | TokenError:
    """Return the scopes asked for, which must be among those *held*; all of these for none."""
    if not asked.scope <= held:
        return TokenError("invalid_scope", "more was asked for than there is to give")
    return " ".join(sorted(asked.scope or held))
