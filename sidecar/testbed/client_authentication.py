"""How a client shows the embedded identity provider who it is.

Owns the methods: a secret as HTTP Basic or in the form (RFC 6749, section 2.3.1), an assertion that
the client signed (``private_key_jwt``, RFC 7523, section 2.2) or that its platform signed for it,
as Kubernetes does for a pod, and its certificate (``tls_client_auth``, RFC 8705, section 2.1).
"""

import base64
import binascii
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, assert_never
from urllib.parse import unquote_plus

from sidecar.testbed.token_errors import TokenError, invalid_client
from sidecar.testbed.trusted_tokens import Claims, TrustedTokens, audiences, signed_claims
from sidecar.testbed.users import Service

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LONGEST_ASSERTION_SECONDS: Final = 600.0
_KEPT_IDS: Final = 10_000
_UNKNOWN: Final = "the client is unknown or its secret is wrong"

Certificate = Mapping[str, Any]
"""What ``ssl.SSLSocket.getpeercert`` says of a certificate that was verified."""


@dataclass(frozen=True, slots=True)
class _Secret:
    client_id: str
    secret: str = field(repr=False)
    basic: bool


@dataclass(frozen=True, slots=True)
class _Assertion:
    token: str = field(repr=False)
    client_id: str


@dataclass(frozen=True, slots=True)
class _Certified:
    client_id: str


_Shown = _Secret | _Assertion | _Certified


class ClientAuthentication:
    """Knows the clients. An assertion that a client signed is taken once."""

    def __init__(
        self,
        services: Iterable[Service],
        *,
        recipients: Iterable[str] = (),
        workloads: TrustedTokens | None = None,
        clock: Callable[[], float],
    ) -> None:
        """*recipients*: ``aud`` of an assertion is one; *workloads* reads platforms' tokens."""
        self._services = {service.client_id: service for service in services}
        self._workloads = workloads
        self._recipients = frozenset(recipients)
        self._clock = clock
        self._seen: dict[tuple[str, str], None] = {}  # in order; the oldest are forgotten

    def authenticate(
        self,
        form: Mapping[str, str],
        authorization: str | None,
        certificate: Certificate | None = None,
    ) -> Service | TokenError:
        """Return which service sent *form*, or the error to answer with."""
        match _shown(form, authorization):
            case TokenError() as error:
                return error
            case _Secret(client_id, secret, basic):
                service = self._services.get(client_id)
                if service is None or not same(secret, service.client_secret):
                    return invalid_client(_UNKNOWN, basic=basic)
                return service
            case _Assertion(token, client_id):
                return self._asserted(token, client_id)
            case _Certified(client_id):
                service = self._services.get(client_id)
                if service is None or service.certificate_name not in _names(certificate):
                    return invalid_client("the client showed neither a secret nor its certificate")
                return service
            case never:
                assert_never(never)

    def _asserted(self, token: str, client_id: str) -> Service | TokenError:
        found = self._by_its_own_key(token) or self._by_its_platform(token)
        if found is None:
            return invalid_client("the client assertion is not of a client, or has ended")
        service, claims = found
        if client_id and client_id != service.client_id:
            return invalid_client("client_id and the client assertion name two clients")
        if audiences(claims).isdisjoint(self._recipients):
            return invalid_client("the client assertion is for somebody else")
        if claims["sub"] == service.workload:
            return service  # the platform chose how long it lasts; it is shown many times
        if claims["exp"] > self._clock() + _LONGEST_ASSERTION_SECONDS:
            return invalid_client("the client assertion is good for too long")
        if not self._is_new(service, claims):
            return invalid_client("the client assertion has no jti, or was used before")
        return service

    def _by_its_own_key(self, token: str) -> tuple[Service, Claims] | None:
        for service in self._services.values():
            if service.jwks is None:
                continue
            claims = signed_claims(token, service.jwks, now=self._clock())
            # A key may be several services': the one that the assertion names is meant.
            if claims and claims["sub"] == claims.get("iss") == service.client_id:
                return service, claims
        return None

    def _by_its_platform(self, token: str) -> tuple[Service, Claims] | None:
        claims = self._workloads.claims(token) if self._workloads is not None else None
        if claims is None:
            return None
        for service in self._services.values():
            if service.workload and service.workload == claims["sub"]:
                return service, claims
        return None

    def _is_new(self, service: Service, claims: Claims) -> bool:
        mark = service.client_id, str(claims.get("jti", ""))
        if not mark[1] or mark in self._seen:
            return False
        self._seen[mark] = None
        if len(self._seen) > _KEPT_IDS:
            del self._seen[next(iter(self._seen))]
        return True


def _shown(form: Mapping[str, str], authorization: str | None) -> _Shown | TokenError:
    client_id = form.get("client_id", "")
    ways = ("client_secret" in form, "client_assertion" in form, authorization is not None)
    if sum(ways) > 1:
        return TokenError("invalid_request", "the client authenticated in two ways")
    if authorization is not None:
        return _basic(authorization)
    if "client_assertion" in form:
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            return TokenError("invalid_request", f"client_assertion_type is not {ASSERTION_TYPE}")
        return _Assertion(form["client_assertion"], client_id)
    if not client_id:
        return invalid_client("the client did not authenticate")
    if "client_secret" in form:
        return _Secret(client_id, form["client_secret"], basic=False)
    return _Certified(client_id)


def _basic(authorization: str) -> _Secret | TokenError:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return invalid_client("only HTTP Basic is supported", basic=True)
    try:
        pair = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return invalid_client("the Basic credentials are malformed", basic=True)
    client_id, _, secret = pair.partition(":")
    # Both halves are form-encoded before they are joined (RFC 6749, section 2.3.1).
    return _Secret(unquote_plus(client_id), unquote_plus(secret), basic=True)


def _names(certificate: Certificate | None) -> frozenset[str]:
    if not certificate:
        return frozenset()
    return frozenset(
        name for kind, name in certificate.get("subjectAltName", ()) if kind in {"DNS", "URI"}
    )


def same(given: str, expected: str) -> bool:
    """Compare two secrets in a time that tells nothing of them."""
    return hmac.compare_digest(given.encode(), expected.encode())
