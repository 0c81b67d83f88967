"""How a client shows a token endpoint who it is (RFC 6749, 2.3; RFC 7523, 2.2; RFC 8705, 2).

Owns what is added to a form. A certificate is shown by the connection (``sidecar.fetch``).
"""

import base64
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus

from sidecar.config.model import Client
from sidecar.core.encoding import EncodingError, base64url_decode, json_object
from sidecar.core.token_form import Form
from sidecar.credentials.changing_file import ChangingFile, FileProblem

if TYPE_CHECKING:
    from sidecar.core.assertion_key import AssertionKey, KeyCertificate

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS: Final = 60
"""Of an assertion that we sign; it is made anew for each attempt."""
MAX_JWT_FILE_BYTES: Final = 16 * 1024

_COMPACT: Final = re.compile(rb"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){2}")


class AuthenticationError(Exception):
    """There is nothing to show. The message is one line that names the key of the configuration."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """A JWT of somebody else's that is passed on as it is."""

    token: str = field(repr=False)
    expires_at: float
    """``exp``; ``inf`` where it has none."""


def read_jwt(content: bytes) -> Assertion:
    """Return the JWT in *content*. Raises ``ValueError`` with words that follow a path."""
    text = content.strip()
    if not _COMPACT.fullmatch(text):
        raise ValueError("holds no signed JWT")
    try:
        claims = json_object(base64url_decode(text.split(b".")[1]))
    except EncodingError:
        raise ValueError("holds no signed JWT") from None
    exp = claims.get("exp", inf)
    if isinstance(exp, bool) or not isinstance(exp, int | float):
        raise ValueError("holds a JWT whose exp is not a time")  # noqa: TRY004 - of the content
    return Assertion(text.decode("ascii"), float(min(exp, 1e15)))


class JwtFile:
    """A file with a JWT that is renewed in time by whoever writes it."""

    def __init__(self, key: str, path: str, wall_clock: Callable[[], float]) -> None:
        """*key* is where the configuration names it."""
        self._key = key
        self._file = ChangingFile(path, MAX_JWT_FILE_BYTES, read_jwt)
        self._wall_clock = wall_clock

    def token(self) -> str:
        """Return the JWT while it is good. Raises ``AuthenticationError``."""
        try:
            found = self._file.value()
        except FileProblem as problem:
            raise AuthenticationError(f"the file of `{self._key}` {problem}") from None
        if found.expires_at <= self._wall_clock():
            raise AuthenticationError(
                f"the JWT in the file of `{self._key}` has expired; whoever writes it does not"
                " renew it"
            )
        return found.token


class ClientAuthentication:
    """What one client adds to each of its requests."""

    def __init__(self, client: Client, *, issuer: str, wall_clock: Callable[[], float]) -> None:
        """*issuer* is the URL of the issuer that is asked, where the client names one."""
        self._client = client
        self._issuer = issuer
        self._wall_clock = wall_clock
        self._key: ChangingFile[AssertionKey] | None = None
        self._certificate: ChangingFile[KeyCertificate] | None = None
        self._pair: tuple[AssertionKey, KeyCertificate] | None = None
        self._assertion = JwtFile("assertion_file", client.assertion_file, wall_clock)

    def add_to(self, form: Form, endpoint: str) -> str | None:
        """Complete *form*, which goes to *endpoint*, and return the Authorization field, if any.

        Raises ``AuthenticationError``.
        """
        client = self._client
        match client.auth:
            case "client_secret_basic":
                # Both halves are form-encoded before they are joined (RFC 6749, section 2.3.1).
                pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
                return f"Basic {base64.b64encode(pair.encode()).decode()}"
            case "client_secret_post":
                form.append(("client_secret", client.client_secret))
            case "private_key_jwt":
                form.append(("client_assertion_type", ASSERTION_TYPE))
                form.append(("client_assertion", self._signed(endpoint)))
            case "client_assertion_file":
                form.append(("client_assertion_type", ASSERTION_TYPE))
                form.append(("client_assertion", self._assertion.token()))
            case "tls_client_auth" | "none":
                pass
        form.append(("client_id", client.client_id))
        return None

    def _signed(self, endpoint: str) -> str:
        now = int(self._wall_clock())
        client = self._client
        stands_for = {"token_endpoint": endpoint, "issuer": self._issuer}
        audience = client.assertion_audience
        key, certificate = self._signing_pair()
        return key.sign(
            {
                "iss": client.client_id,
                "sub": client.client_id,
                "aud": stands_for.get(audience, audience),
                "jti": secrets.token_urlsafe(16),
                "iat": now,
                "exp": now + ASSERTION_SECONDS,
            },
            certificate,
        )

    def _signing_pair(self) -> "tuple[AssertionKey, KeyCertificate | None]":
        """Return the key, and its certificate where one is to be named."""
        key = self._signing_key()
        if not self._client.certificate:
            return key, None
        certificate = self._named_certificate()
        # Two files do not change at once: until they fit each other, the old ones do.
        if self._pair is None or key.fits(certificate):
            if not key.fits(certificate):
                raise AuthenticationError("the file of `certificate` is not one of `key`")
            self._pair = key, certificate
        return self._pair

    def _named_certificate(self) -> "KeyCertificate":
        if self._certificate is None:
            from sidecar.core.assertion_key import MAX_KEY_FILE_BYTES, read_key_certificate

            self._certificate = ChangingFile(
                self._client.certificate, MAX_KEY_FILE_BYTES, read_key_certificate
            )
        try:
            return self._certificate.value()
        except FileProblem as problem:
            raise AuthenticationError(f"the file of `certificate` {problem}") from None

    def _signing_key(self) -> "AssertionKey":
        if self._key is None:
            # cryptography's private keys and PyJWT come with it: not for those who need neither.
            from sidecar.core.assertion_key import MAX_KEY_FILE_BYTES, read_assertion_key

            client = self._client
            self._key = ChangingFile(
                client.key,
                MAX_KEY_FILE_BYTES,
                lambda content: read_assertion_key(
                    content, algorithm=client.algorithm, key_id=client.key_id
                ),
            )
        try:
            return self._key.value()
        except FileProblem as problem:
            raise AuthenticationError(f"the file of `key` {problem}") from None
