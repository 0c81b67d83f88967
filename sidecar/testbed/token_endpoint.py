"""What the embedded identity provider's token endpoint answers (RFC 6749).

Owns the grants ``client_credentials`` (section 4.4) and ``password`` (section 4.3; only here,
so that a person with curl can be alice). Sockets belong to ``sidecar.testbed.identity_provider``.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never
from urllib.parse import unquote_plus

from sidecar.testbed.users import Service, User


@dataclass(frozen=True, slots=True)
class TokenError:
    """An error answer (section 5.2); *basic* asks for HTTP Basic because Basic was tried."""

    code: str
    description: str
    status: int = 400
    basic: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """Whose token the endpoint decided to issue."""

    subject: str
    scope: str


@dataclass(frozen=True, slots=True)
class _ClientCredentials:
    client_id: str
    secret: str = field(repr=False)
    basic: bool


_UNKNOWN_CLIENT = "the client is unknown or its secret is wrong"


class TokenEndpoint:
    """Decides about one token request at a time and remembers none."""

    def __init__(self, users: Iterable[User], services: Iterable[Service]) -> None:
        self._users = {user.name: user for user in users}
        self._services = {service.client_id: service for service in services}

    def decide(
        self, parameters: Sequence[tuple[str, str]], authorization: str | None
    ) -> Grant | TokenError:
        """Return whose token to issue for the form *parameters*, or the error to answer with."""
        form = dict(parameters)
        if len(form) != len(parameters):
            return TokenError("invalid_request", "a parameter was sent more than once")
        match form.get("grant_type"):
            case None | "":
                return TokenError("invalid_request", "grant_type is missing")
            case "client_credentials":
                return self._client_credentials(form, authorization)
            case "password":
                return self._password(form)
            case _:
                return TokenError(
                    "unsupported_grant_type", "use client_credentials or, for a person, password"
                )

    def authenticate(
        self, parameters: Sequence[tuple[str, str]], authorization: str | None
    ) -> Service | TokenError:
        """Return which service sent the form *parameters*, or the error to answer with."""
        return self._authenticated(dict(parameters), authorization)

    def _authenticated(
        self, form: Mapping[str, str], authorization: str | None
    ) -> Service | TokenError:
        match _presented(form, authorization):
            case TokenError() as error:
                return error
            case _ClientCredentials(client_id, secret, basic):
                service = self._services.get(client_id)
                if service is None or not _same(secret, service.client_secret):
                    return TokenError("invalid_client", _UNKNOWN_CLIENT, 401, basic)
                return service
            case never:
                assert_never(never)

    def _client_credentials(
        self, form: Mapping[str, str], authorization: str | None
    ) -> Grant | TokenError:
        service = self._authenticated(form, authorization)
        if isinstance(service, TokenError):
            return service
        return Grant(service.client_id, " ".join(sorted(service.scopes)))

    def _password(self, form: Mapping[str, str]) -> Grant | TokenError:
        if not form.get("username") or not form.get("password"):
            return TokenError("invalid_request", "username or password is missing")
        user = self._users.get(form["username"])
        if user is None or not _same(form["password"], user.password):
            return TokenError("invalid_grant", "the user is unknown or the password is wrong")
        return Grant(user.name, " ".join(sorted(user.scopes)))


def _presented(
    form: Mapping[str, str], authorization: str | None
) -> _ClientCredentials | TokenError:
    if authorization is None:
        if not form.get("client_id"):
            return TokenError("invalid_client", "the client did not authenticate", 401)
        return _ClientCredentials(form["client_id"], form.get("client_secret", ""), basic=False)
    if "client_secret" in form:
        return TokenError("invalid_request", "the client authenticated in two ways")
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return TokenError("invalid_client", "only HTTP Basic is supported", 401, basic=True)
    try:
        pair = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return TokenError("invalid_client", "the Basic credentials are malformed", 401, basic=True)
    client_id, _, secret = pair.partition(":")
    # Both halves are form-encoded before they are joined (RFC 6749, section 2.3.1).
    return _ClientCredentials(unquote_plus(client_id), unquote_plus(secret), basic=True)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
