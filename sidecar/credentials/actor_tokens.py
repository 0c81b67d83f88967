"""The tokens that say who acts for a subject (RFC 8693, 2.1): the client's own, or a file's.

Owns the client's own token: asked for once for everybody who waits, and replaced before it ends.
"""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final

from sidecar.core.obtained import Failure, FailureKind, ObtainedToken
from sidecar.core.token_request import TokenRequest
from sidecar.credentials.client_authentication import JwtFile

MARGIN_SECONDS: Final = 30.0
"""How long before its end the client's own token is replaced; a tenth of its life at most."""
DOUBTED_SECONDS: Final = 60.0
"""How old it is before a refused exchange makes us ask for another one."""
MAX_FILES: Final = 100


class ActorTokens:
    """What one client has to show for itself when it acts for others."""

    def __init__(
        self,
        name: str,
        ask: Callable[[TokenRequest, None], Awaitable[ObtainedToken | Failure]],
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        """*name* is the client's; *ask* gets its own token and never raises."""
        self._request = TokenRequest(name, "client_credentials")
        self._ask = ask
        self._clock = clock
        self._wall_clock = wall_clock
        self._files: dict[str, JwtFile] = {}
        self._own: ObtainedToken | None = None
        self._renewing: asyncio.Task[ObtainedToken | Failure] | None = None

    async def token_for(self, request: TokenRequest, ends_at: float = inf) -> str | Failure:
        """Return what *request* needs, empty where it needs none.

        Raises ``AuthenticationError``: there is nothing good in the file.
        """
        if request.grant != "exchange" or request.actor == "none":
            return ""
        if request.actor == "file":
            return self._file(request.actor_file).token()
        return await self._own_token(ends_at)

    def doubt(self, request: TokenRequest) -> None:
        """An exchange for *request* was refused, which may be because of the actor."""
        own = self._own
        if (
            own is not None
            and request.actor == "client"
            and self._wall_clock() - own.asked_at > DOUBTED_SECONDS
        ):
            self._own = None

    async def close(self) -> None:
        """Give up what is under way."""
        if (task := self._renewing) is not None:
            task.cancel()
            await asyncio.wait((task,))

    def _file(self, path: str) -> JwtFile:
        if path not in self._files and len(self._files) >= MAX_FILES:
            self._files.clear()
        return self._files.setdefault(path, JwtFile("actor_file", path, self._wall_clock))

    async def _own_token(self, ends_at: float) -> str | Failure:
        own = self._own
        if own is not None and self._wall_clock() < own.expires_at - _margin(own):
            return own.token.decode("ascii")
        if self._renewing is None:
            self._renewing = asyncio.create_task(
                self._renew(), name=f"token of client {self._request.client}"
            )
            self._renewing.add_done_callback(self._ended)
        task = self._renewing
        left = None if ends_at == inf else max(0.0, ends_at - self._clock())
        # Whoever leaves early ends it for nobody.
        await asyncio.wait((task,), timeout=left)
        got = task.result() if task.done() and not task.cancelled() else None
        if isinstance(got, ObtainedToken):
            return got.token.decode("ascii")
        if own is not None and self._wall_clock() < own.expires_at:
            return own.token.decode("ascii")
        if got is None:
            detail = f"client {self._request.client}: its own token did not come in time"
            return Failure("unavailable", detail)
        # That a service may have no token of its own is for its operator to mend.
        kind: FailureKind = "misconfigured" if got.kind == "refused" else got.kind
        return Failure(kind, f"{got.detail} (for its own token)", got.retry_after_seconds, got.code)

    async def _renew(self) -> ObtainedToken | Failure:
        got = await self._ask(self._request, None)
        if isinstance(got, ObtainedToken):
            self._own = got
        return got

    def _ended(self, _task: asyncio.Task[ObtainedToken | Failure]) -> None:
        self._renewing = None


def _margin(token: ObtainedToken) -> float:
    return min(MARGIN_SECONDS, (token.expires_at - token.asked_at) / 10)
