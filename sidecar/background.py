"""The work that goes on beside the requests, and what of it a new configuration changes.

A part of ``sidecar.assembly``.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from sidecar.admin.app_fence import AppFence
from sidecar.issuers.keys import IssuerKeys
from sidecar.wiring import Wiring


class Background:
    """Tasks of one group, which ends with the first that fails unexpectedly."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: set[asyncio.Task[Any]] = set()
        self._keys: dict[IssuerKeys, asyncio.Task[Any]] = {}
        self._rotation: asyncio.Task[Any] | None = None
        self._looking: asyncio.Task[Any] | None = None

    def add(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[Any]:
        """Do *work*, until it is done or everything ends."""
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def follow(
        self, wiring: Wiring, loading: Mapping[IssuerKeys, asyncio.Task[Any]] | None = None
    ) -> None:
        """Keep the keys and the TLS files of *wiring* current, and nobody else's.

        *loading* are the keys for which that has begun already.
        """
        begun = {**self._keys, **(loading or {})}
        self._keys = {
            keys: begun.pop(keys) if keys in begun else self.add(keys.run())
            for keys in wiring.keys.values()
        }
        for task in begun.values():
            task.cancel()
        if self._rotation is not None:
            self._rotation.cancel()
            self._rotation = None
        if (rotation := wiring.tls.rotation) is not None:
            self._rotation = self.add(rotation.run())

    def look_at(self, fence: AppFence | None) -> None:
        """Keep *fence* current, and no other."""
        if self._looking is not None:
            self._looking.cancel()
        self._looking = None if fence is None else self.add(fence.run())

    def cancel(self) -> None:
        """End all of it."""
        for task in self._tasks:
            task.cancel()
