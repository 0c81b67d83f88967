"""What the embedded identity provider's token endpoint answers (RFC 6749).

Owns the grants ``client_credentials`` (section 4.4) and ``password`` (section 4.3; only here, so
that a person with curl can be alice), and the choice between these and the ones that begin with a
token. Who the client is belongs to ``sidecar.testbed.client_authentication``, sockets to
``sidecar.testbed.identity_provider``.
"""

from collections.abc import Iterable
from typing import Final

from sidecar.testbed.assertion_grant import assert_subject
from sidecar.testbed.client_authentication import Certificate, ClientAuthentication, same
from sidecar.testbed.grants import (
    CLIENT_CREDENTIALS,
    JWT_BEARER,
    PASSWORD,
    TOKEN_EXCHANGE,
    Asked,
    Grant,
    narrowed,
    targets,
)
from sidecar.testbed.token_errors import TokenError
from sidecar.testbed.token_exchange import exchange
from sidecar.testbed.trusted_tokens import TrustedTokens
from sidecar.testbed.users import Service, User

GRANT_TYPES: Final = (CLIENT_CREDENTIALS, PASSWORD, TOKEN_EXCHANGE, JWT_BEARER)


class TokenEndpoint:
    """Decides about one token request at a time."""

    def __init__(
        self,
        users: Iterable[User],
        clients: ClientAuthentication,
        tokens: TrustedTokens,
        *,
        recipients: Iterable[str] = (),
    ) -> None:
        """*recipients* is what ``aud`` of an assertion for this server may be."""
        self._users = {user.name: user for user in users}
        self._clients = clients
        self._tokens = tokens
        self._recipients = frozenset(recipients)

    def decide(
        self,
        asked: Asked,
        authorization: str | None,
        certificate: Certificate | None = None,
    ) -> Grant | TokenError:
        """Return the token to issue for what was *asked*, or the error to answer with."""
        grant_type = asked.grant_type
        if not grant_type:
            return TokenError("invalid_request", "grant_type is missing")
        if grant_type not in GRANT_TYPES:
            return TokenError("unsupported_grant_type", f"use one of {', '.join(GRANT_TYPES)}")
        if grant_type == PASSWORD:
            return self._password(asked)
        service = self._clients.authenticate(asked.form, authorization, certificate)
        if isinstance(service, TokenError):
            return service
        if grant_type == TOKEN_EXCHANGE:
            return exchange(asked, service, self._tokens)
        if grant_type == JWT_BEARER:
            return assert_subject(
                asked,
                service,
                self._tokens,
                recipients=self._recipients,
                default_scopes=service.scopes,
            )
        return _client_credentials(asked, service)

    def _password(self, asked: Asked) -> Grant | TokenError:
        form = asked.form
        if not form.get("username") or not form.get("password"):
            return TokenError("invalid_request", "username or password is missing")
        user = self._users.get(form["username"])
        if user is None or not same(form["password"], user.password):
            return TokenError("invalid_grant", "the user is unknown or the password is wrong")
        return Grant(user.name, " ".join(sorted(user.scopes)))


def _client_credentials(asked: Asked, service: Service) -> Grant | TokenError:
    audience: dict[str, object] | TokenError = targets(asked, service)
    if isinstance(audience, TokenError):
        return audience
    scope = narrowed(asked, service.scopes)
    if isinstance(scope, TokenError):
        return scope
    return Grant(service.client_id, scope, {**audience, "scope": scope})
