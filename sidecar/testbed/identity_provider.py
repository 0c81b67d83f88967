"""One complete identity provider: discovery, key set, tokens and introspection.

Owns the HTTP. What tokens say belongs to ``sidecar.testbed.token_mint``, who may have one to
``sidecar.testbed.token_endpoint``, and what goes wrong to ``sidecar.testbed.token_faults``. Its
tokens protect nothing, for passwords are public; it listens on loopback unless it is told
otherwise, as the Kubernetes demo does.
"""

import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl

from aiohttp import web

from sidecar.testbed.client_authentication import Certificate, ClientAuthentication
from sidecar.testbed.grants import Asked, Grant, read
from sidecar.testbed.opaque_tokens import OpaqueTokens
from sidecar.testbed.signing_key import ASYMMETRIC
from sidecar.testbed.token_answers import NOT_STORED, granted, refused, wrong
from sidecar.testbed.token_endpoint import GRANT_TYPES, TokenEndpoint
from sidecar.testbed.token_errors import TokenError
from sidecar.testbed.token_faults import Faults, TokenRequests
from sidecar.testbed.token_mint import TokenMint
from sidecar.testbed.trusted_tokens import TrustedTokens
from sidecar.testbed.users import SERVICES, USERS, Service

_MAX_FORM_BYTES = 16 * 1024
_SHUTDOWN_SECONDS = 0.01  # 0 would wait for those who wait
_FORM = "application/x-www-form-urlencoded"

Handler = Callable[[web.Request], Awaitable[web.Response]]


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
        services: Iterable[Service] = SERVICES,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """*issuer* is its URL where that is not the address it listens on.

        *issues_opaque*: the token endpoint gives tokens that only introspection can read.
        *services* are its clients. With *tls* it speaks HTTPS; a context that asks for
        certificates is what ``tls_client_auth`` needs. *clock* says seconds since the epoch.
        """
        self.key_set_requests = 0
        """How often the key set was asked for."""
        self.introspections = 0
        """How often a client that showed who it is asked about a token."""
        self.token_requests = TokenRequests()
        """What the token endpoint was asked."""
        self.faults = Faults()
        """What goes wrong; nothing at first."""
        self._issues_opaque = issues_opaque
        self._audience = tuple(audience)
        self._host = host
        self._port = port
        self._named = issuer
        self._algorithms = tuple(algorithms)
        self._lifetime_seconds = lifetime_seconds
        self._services = tuple(services)
        self._tls = tls
        self._clock = clock
        self._runner: web.AppRunner | None = None

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
        await self._listen()
        host, port = self.address
        scheme = "http" if self._tls is None else "https"
        self._become(self._named or f"{scheme}://{host}:{port}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.go_down()

    def _become(self, issuer: str) -> None:
        self.mint = TokenMint(
            issuer,
            audience=self._audience,
            algorithms=self._algorithms,
            lifetime_seconds=self._lifetime_seconds,
            principals=(*USERS, *self._services),
            clock=self._clock,
        )
        self.opaque = OpaqueTokens(self.mint, clock=self._clock)
        self._tokens = TrustedTokens(self.mint, opaque=self.opaque, clock=self._clock)
        self._workloads = TrustedTokens(clock=self._clock)
        recipients = (self.issuer, self.token_url)
        self._clients = ClientAuthentication(
            self._services, recipients=recipients, workloads=self._workloads, clock=self._clock
        )
        self._endpoint = TokenEndpoint(USERS, self._clients, self._tokens, recipients=recipients)

    def trust(self, mint: TokenMint) -> None:
        """Exchange tokens of *mint*, another provider's, as if they were its own."""
        self._tokens.trust(mint)

    def trust_workloads(self, mint: TokenMint) -> None:
        """Take a token of *mint* for the service whose ``workload`` is its subject."""
        self._workloads.trust(mint)

    async def go_down(self) -> None:
        """Listen no more and end every connection; nothing happens where it is down."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def come_back(self) -> None:
        """Serve again where it did, with the same keys."""
        self._port = self.address[1]
        await self._listen()

    async def _listen(self) -> None:
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            handler_cancellation=True,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, ssl_context=self._tls).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        host, port = runner.addresses[0][:2]
        self.address = host, port

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=_MAX_FORM_BYTES)
        router = application.router
        router.add_get("/.well-known/openid-configuration", self._beside(self._discovery))
        router.add_get("/jwks", self._beside(self._key_set))
        router.add_post("/introspect", self._beside(self._introspect))
        router.add_post("/token", self._token)
        return application

    def _beside(self, handler: Handler) -> Handler:
        """Answer by *handler* unless faults concern more than tokens."""

        async def answer(request: web.Request) -> web.Response:
            faults = self.faults
            if faults.everywhere:
                await faults.wait()
                if faults.instead is not None:
                    return wrong(faults.instead, request)
            return await handler(request)

        return answer

    async def _discovery(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.issuer,
                "jwks_uri": self.jwks_url,
                "token_endpoint": self.token_url,
                "introspection_endpoint": self.introspection_url,
                "grant_types_supported": GRANT_TYPES,
                "token_endpoint_auth_methods_supported": [
                    "client_secret_basic",
                    "client_secret_post",
                    "private_key_jwt",
                    *(["tls_client_auth"] if self._tls is not None else []),
                ],
                "token_endpoint_auth_signing_alg_values_supported": ASYMMETRIC,
                "response_types_supported": [],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": list(self.mint.algorithms),
            }
        )

    async def _key_set(self, _request: web.Request) -> web.Response:
        self.key_set_requests += 1
        return web.json_response(self.mint.jwks(), content_type="application/jwk-set+json")

    async def _token(self, request: web.Request) -> web.Response:
        with self.token_requests.counted():
            form = await _form(request)
            if isinstance(form, TokenError):
                return refused(form)
            asked = read(form)
            if isinstance(asked, TokenError):
                return refused(asked)
            self.token_requests.add(asked)
            faults = self.faults
            await faults.wait()
            if faults.instead is not None:
                return wrong(faults.instead, request)
            return self._decided(asked, faults, request)

    def _decided(self, asked: Asked, faults: Faults, request: web.Request) -> web.Response:
        match self._endpoint.decide(
            asked, request.headers.get("Authorization"), _certificate(request)
        ):
            case TokenError() as error:
                return refused(error)
            case Grant() as grant:
                opaque = self.opaque if self._issues_opaque else None
                return granted(grant, faults, now=self._clock(), mint=self.mint, opaque=opaque)

    async def _introspect(self, request: web.Request) -> web.Response:
        form = await _form(request)
        if isinstance(form, TokenError):
            return refused(form)
        asks = self._clients.authenticate(
            dict(form), request.headers.get("Authorization"), _certificate(request)
        )
        if isinstance(asks, TokenError):
            return refused(asks)
        self.introspections += 1
        token = dict(form).get("token")
        if not token:
            return refused(TokenError("invalid_request", "token is missing"))
        return web.json_response(self.opaque.answer(token), headers=NOT_STORED)


async def _form(request: web.Request) -> list[tuple[str, str]] | TokenError:
    if request.content_type != _FORM:
        return TokenError("invalid_request", f"send a form as {_FORM}")
    return parse_qsl((await request.read()).decode("utf-8", "replace"), keep_blank_values=True)


def _certificate(request: web.Request) -> Certificate | None:
    transport = request.transport
    return None if transport is None else transport.get_extra_info("peercert")
