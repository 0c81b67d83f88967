"""One complete identity provider: discovery, key set, tokens and introspection.

Owns the HTTP. What tokens say belongs to ``sidecar.testbed.token_mint``, and who may have one to
``sidecar.testbed.token_endpoint``. Its tokens protect nothing, for passwords are public; it listens
on loopback unless it is told otherwise, as the Kubernetes demo does.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl

from aiohttp import web

from sidecar.testbed.opaque_tokens import OpaqueTokens
from sidecar.testbed.token_endpoint import Grant, TokenEndpoint, TokenError
from sidecar.testbed.token_mint import TokenMint
from sidecar.testbed.users import SERVICES, USERS

_MAX_FORM_BYTES = 16 * 1024
_FORM = "application/x-www-form-urlencoded"
_NOT_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749, section 5.1


class IdentityProvider:
    """Serves from ``async with`` to its end; ``mint`` also issues what no endpoint would.

    *audience* is the ``aud`` of ordinary tokens. Port 0 lets the kernel choose; the issuer's
    URL is known once it serves. Raises ``OSError`` on entry when the port is taken.
    """

    mint: TokenMint
    opaque: OpaqueTokens
    address: tuple[str, int]
    """Where it listens; known once it serves."""

    def __init__(
        self,
        *,
        audience: Sequence[str],
        host: str = "127.0.0.1",
        port: int = 0,
        issuer: str | None = None,
        algorithms: Sequence[str] = ("RS256", "ES256"),
        lifetime_seconds: float = 300.0,
        issues_opaque: bool = False,
    ) -> None:
        """*issuer* is its URL where that is not the address it listens on.

        *issues_opaque*: the token endpoint gives tokens that only introspection can read.
        """
        self.key_set_requests = 0
        """How often the key set was asked for."""
        self.introspections = 0
        """How often a client that showed who it is asked about a token."""
        self._issues_opaque = issues_opaque
        self._audience = tuple(audience)
        self._host = host
        self._port = port
        self._named = issuer
        self._algorithms = tuple(algorithms)
        self._lifetime_seconds = lifetime_seconds
        self._endpoint = TokenEndpoint(USERS, SERVICES)
        self._runner = web.AppRunner(self._application(), access_log=None)

    @property
    def issuer(self) -> str:
        """The ``iss`` of every token and the prefix of every URL here; known once it serves."""
        return self.mint.issuer

    @property
    def discovery_url(self) -> str:
        """Where the metadata is (OpenID Connect Discovery 1.0, section 4)."""
        return f"{self.issuer}/.well-known/openid-configuration"

    @property
    def jwks_url(self) -> str:
        """Where the key set is."""
        return f"{self.issuer}/jwks"

    @property
    def token_url(self) -> str:
        """Where tokens are asked for."""
        return f"{self.issuer}/token"

    @property
    def introspection_url(self) -> str:
        """Where tokens are asked about (RFC 7662)."""
        return f"{self.issuer}/introspect"

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, self._host, self._port)
            await site.start()
        except BaseException:
            await self._runner.cleanup()
            raise
        host, port = self.address = self._runner.addresses[0][:2]
        self.mint = TokenMint(
            self._named or f"http://{host}:{port}",
            audience=self._audience,
            algorithms=self._algorithms,
            lifetime_seconds=self._lifetime_seconds,
        )
        self.opaque = OpaqueTokens(self.mint)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=_MAX_FORM_BYTES)
        application.router.add_get("/.well-known/openid-configuration", self._discovery)
        application.router.add_get("/jwks", self._key_set)
        application.router.add_post("/token", self._token)
        application.router.add_post("/introspect", self._introspect)
        return application

    async def _discovery(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.issuer,
                "jwks_uri": self.jwks_url,
                "token_endpoint": self.token_url,
                "introspection_endpoint": self.introspection_url,
                "grant_types_supported": ["client_credentials", "password"],
                "token_endpoint_auth_methods_supported": [
                    "client_secret_basic",
                    "client_secret_post",
                ],
                "response_types_supported": [],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": list(self.mint.algorithms),
            }
        )

    async def _key_set(self, _request: web.Request) -> web.Response:
        self.key_set_requests += 1
        return web.json_response(self.mint.jwks(), content_type="application/jwk-set+json")

    async def _token(self, request: web.Request) -> web.Response:
        form = await _form(request)
        if isinstance(form, TokenError):
            return _error(form)
        match self._endpoint.decide(form, request.headers.get("Authorization")):
            case TokenError() as error:
                return _error(error)
            case Grant(subject, scope):
                issue = self.opaque.issue if self._issues_opaque else self.mint.token
                return web.json_response(
                    {
                        "access_token": issue(subject),
                        "token_type": "Bearer",
                        "expires_in": int(self.mint.lifetime_seconds),
                        "scope": scope,
                    },
                    headers=_NOT_STORED,
                )

    async def _introspect(self, request: web.Request) -> web.Response:
        form = await _form(request)
        if isinstance(form, TokenError):
            return _error(form)
        asks = self._endpoint.authenticate(form, request.headers.get("Authorization"))
        if isinstance(asks, TokenError):
            return _error(asks)
        self.introspections += 1
        token = dict(form).get("token")
        if not token:
            return _error(TokenError("invalid_request", "token is missing"))
        return web.json_response(self.opaque.answer(token), headers=_NOT_STORED)


async def _form(request: web.Request) -> list[tuple[str, str]] | TokenError:
    if request.content_type != _FORM:
        return TokenError("invalid_request", f"send a form as {_FORM}")
    return parse_qsl((await request.read()).decode("utf-8", "replace"), keep_blank_values=True)


def _error(error: TokenError) -> web.Response:
    challenge = {"WWW-Authenticate": 'Basic realm="token"'} if error.basic else {}
    return web.json_response(
        {"error": error.code, "error_description": error.description},
        status=error.status,
        headers={**_NOT_STORED, **challenge},
    )
