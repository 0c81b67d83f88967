"""What the operator is told of a token endpoint: when something changes, and never per request.

Owns what is told already. Which words of the server may be repeated is ``sidecar.core``'s.
"""

import logging
from collections.abc import Callable
from typing import Final

from sidecar.config.model import Client
from sidecar.core.token_request import TokenRequest
from sidecar.resilience.rate import Rate

MAX_TOLD: Final = 1000
"""Of what does not work; there are as many as destinations are configured, and then some."""
REFUSALS_PER_SECOND: Final = 1 / 60
"""How often one of the refusals that concern a caller is shown, as an example."""

_log: Final = logging.getLogger("sidecar.credentials")

_CREDENTIAL: Final = {
    "client_secret_basic": "client_secret",
    "client_secret_post": "client_secret",
    "private_key_jwt": "key, key_id, algorithm and assertion_audience",
    "client_assertion_file": "assertion_file",
    "tls_client_auth": "tls",
    "none": "whether it is a public client",
}
_HINTS: Final = {
    "unauthorized_client": "check whether this client may use this grant",
    "unsupported_grant_type": "check whether the server and this client may use this grant",
    "invalid_target": "check audience and resource of the destination",
    "invalid_scope": "check scopes of the destination",
    "unsupported_token_type": "check the token types of the destination",
    "invalid_request": "check what the destination asks for",
}
_OR_AUDIENCE: Final = ", and audience of the destination, which some servers mean by that"


class TokenEndpointLog:
    """Says each change once, of each kind of request for a token by itself."""

    def __init__(self, client: Client, clock: Callable[[], float]) -> None:
        """*clock* is monotonic."""
        self._client = client
        self._told: dict[TokenRequest, str] = {}
        """What does not work, and why."""
        self._without_actor: set[TokenRequest] = set()
        self._failing = False
        self._alone = False
        self._refusals = Rate(REFUSALS_PER_SECOND, clock=clock)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What does not work at present, and why, one line each."""
        return tuple(f"{_shown(request)}: {cause}" for request, cause in self._told.items())

    def works(self, request: TokenRequest) -> None:
        """A token came."""
        self._alone = False
        if self._told and self._told.pop(request, None) is not None:
            _log.info("client %s: %s works again", self._client.name, _shown(request))

    def lacks_actor(self, request: TokenRequest) -> None:
        """A token came for its subject, and does not say who acts for it."""
        if request not in self._without_actor and len(self._without_actor) < MAX_TOLD:
            self._without_actor.add(request)
            _log.warning(
                "client %s: %s: the actor's token was sent, and what came has no `act`: the server "
                "may not know actors; whoever requires one refuses such tokens",
                self._client.name,
                _shown(request),
            )

    def misconfigured(
        self,
        request: TokenRequest,
        cause: str,
        code: str,
        description: str,
        *,
        is_doubtful: bool = False,
    ) -> None:
        """Asking again does not mend it. *is_doubtful*: it may not be about the client at all."""
        if self._is_new(request, cause):
            _log.error(
                "client %s: %s: %s%s%s%s; calls that need this token are refused",
                self._client.name,
                _shown(request),
                cause,
                _quoted(description),
                self._hint(code),
                _OR_AUDIENCE if is_doubtful and request.audience else "",
            )

    def invalid(self, request: TokenRequest, cause: str) -> None:
        """What came is not what was asked for."""
        # Of one subject another thing may be wrong: that is no change.
        if self._is_new(request, "invalid answer"):
            _log.error(
                "client %s: %s: the answer is not used: %s",
                self._client.name,
                _shown(request),
                cause,
            )

    def refused(self, request: TokenRequest, code: str, description: str) -> None:
        """There is none for this subject, which is no state of ours: now and then an example."""
        if self._refusals.take():
            _log.info(
                "client %s: %s: the token endpoint refused a subject's token: %s%s",
                self._client.name,
                _shown(request),
                code,
                _quoted(description),
            )

    def failing(self, cause: str) -> None:
        """It is not asked for a while."""
        if not self._failing:
            self._failing = True
            _log.warning(
                "client %s: the token endpoint failed several times in a row, last: %s; tokens that"
                " are not known are not obtained",
                self._client.name,
                cause,
            )

    def answers(self) -> None:
        """It does so again."""
        if self._failing:
            self._failing = False
            _log.info("client %s: the token endpoint works again", self._client.name)

    def left_alone(self, cause: str, seconds: float) -> None:
        """It asked for that."""
        if not self._alone:
            self._alone = True
            _log.warning(
                "client %s: %s and is left alone for %.0f s", self._client.name, cause, seconds
            )

    def _is_new(self, request: TokenRequest, cause: str) -> bool:
        if self._told.get(request) == cause:
            return False
        if len(self._told) >= MAX_TOLD:
            self._told.clear()
        self._told[request] = cause
        return True

    def _hint(self, code: str) -> str:
        if not code:
            return ""
        name, credential = self._client.name, _CREDENTIAL[self._client.auth]
        own = f"check client_id, auth and {credential} of clients.{name}"
        return f"; {_HINTS.get(code, own)}"


def _shown(request: TokenRequest) -> str:
    meant = ", ".join((*request.audience, *request.resource, *request.scopes))
    return f"{request.grant} for {meant}" if meant else request.grant


def _quoted(description: str) -> str:
    return f' ("{description}")' if description else ""
