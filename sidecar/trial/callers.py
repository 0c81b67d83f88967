"""Many users at once, on connections that they share, who hang up, try again, and take turns.

Owns what a caller does. What became of the calls that the app makes is the destination's to see.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Final

import aiohttp
from yarl import URL

from sidecar.core.names import REASON_HEADER
from sidecar.trial.cast import Member
from sidecar.trial.report import HUNG_UP
from sidecar.trial.tally import Tally

UNREACHABLE: Final = "upstream_unreachable"
_GIVE_UP_AFTER: Final = 30
"""Requests in a row that did not reach the app: it is gone."""
_LONGEST_PAUSE_SECONDS: Final = 0.01
_ABORT_SECONDS: Final = (0.001, 0.05)


class Callers:
    """The users' side of the sidecar. *is_over* tells that no more are wanted."""

    def __init__(
        self,
        client: aiohttp.ClientSession,
        base_url: str,
        tally: Tally,
        *,
        rng: random.Random,
        aborts: float,
        call_timeout_seconds: float,
        is_over: Callable[[], bool],
    ) -> None:
        self._client = client
        self._base_url = base_url
        self._tally = tally
        self._rng = rng
        self._aborts = aborts
        self._call_timeout_seconds = call_timeout_seconds
        self._is_over = is_over
        self._unreached = 0

    @property
    def app_is_gone(self) -> bool:
        """Whether request after request did not reach the app."""
        return self._unreached >= _GIVE_UP_AFTER

    async def make(self, members: Iterator[Member], concurrency: int) -> None:
        """Make a request for each of *members*, *concurrency* of them at a time."""
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._work(members))

    async def _work(self, members: Iterator[Member]) -> None:
        for member in members:
            if self._is_over() or self.app_is_gone:
                return
            await asyncio.sleep(self._rng.random() * _LONGEST_PAUSE_SECONDS)
            hangs_up = self._rng.random() < self._aborts
            again = await self.ask(member, hangs_up=hangs_up)
            if again and not self._is_over():
                await self.ask(member)

    async def ask(self, member: Member, *, hangs_up: bool = False) -> bool:
        """Make one request; return whether a caller would try once more."""
        patience = self._rng.uniform(*_ABORT_SECONDS) if hangs_up else self._call_timeout_seconds
        try:
            async with asyncio.timeout(patience):
                status, reason = await self._exchange(member)
        except TimeoutError:
            self._tally.answered(member, HUNG_UP if hangs_up else "timeout")
            return hangs_up
        except aiohttp.ClientError as error:
            self._tally.answered(member, type(error).__name__)
            return True
        self._tally.answered(member, reason or str(status))
        self._unreached = self._unreached + 1 if reason == UNREACHABLE else 0
        return status >= 500

    async def _exchange(self, member: Member) -> tuple[int, str]:
        endpoint = member.endpoint
        headers = {"Authorization": f"Bearer {member.token}"}
        body = endpoint.body_for(member.name)
        if body is not None:
            headers["Content-Type"] = endpoint.content_type
        async with self._client.request(
            endpoint.method,
            URL(self._base_url + endpoint.target_for(member.name), encoded=True),
            headers=headers,
            data=body,
            allow_redirects=False,
        ) as answer:
            async for _ in answer.content.iter_any():
                pass
            return answer.status, answer.headers.get(REASON_HEADER, "")
