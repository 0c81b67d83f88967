"""Which store obtained tokens are shared through, while configurations come and go."""

import asyncio
from collections.abc import Callable

from sidecar.config import model
from sidecar.credentials.obtained_tokens import Key, ObtainedTokens
from sidecar.credentials.withdrawals import Withdrawals
from sidecar.telemetry.shared_tokens import SharedTokenMetrics


class Sharing:
    """At most one store at a time; what was withdrawn is known whichever it is, or if none is."""

    def __init__(
        self,
        tokens: ObtainedTokens,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        report: Callable[[], SharedTokenMetrics],
    ) -> None:
        self._tokens = tokens
        self._clock = clock
        self._wall_clock = wall_clock
        self._report = report
        self._withdrawals = Withdrawals()
        self._configured: model.SharedTokens | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        tokens.on_withdrawal = self._withdrawn

    def use(self, configured: model.SharedTokens | None) -> None:
        """Share as *configured* from now on; nothing happens where that is as before."""
        if configured == self._configured:
            return
        self._configured = configured
        before, self._tokens.shared = self._tokens.shared, None
        if before is not None:
            task = asyncio.get_running_loop().create_task(before.close(), name="shared tokens")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        if configured is not None:
            # With its library it costs what only those pay who share.
            from sidecar.credentials.shared_tokens import SharedTokens

            self._tokens.shared = SharedTokens(
                configured,
                withdrawals=self._withdrawals,
                clock=self._clock,
                wall_clock=self._wall_clock,
                report=self._report(),
            )

    async def close(self) -> None:
        """End every connection."""
        shared, self._tokens.shared = self._tokens.shared, None
        self._configured = None
        if shared is not None:
            await shared.close()
        if self._leaving:
            await asyncio.wait(self._leaving)

    def _withdrawn(self, digest: bytes, keys: set[Key]) -> None:
        self._withdrawals.add(digest, self._wall_clock())
        if self._tokens.shared is not None:
            self._tokens.shared.delete(keys)
