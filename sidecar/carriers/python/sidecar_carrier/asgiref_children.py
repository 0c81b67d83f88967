"""Structured children in asgiref: ``sync_to_async`` awaits the thread, ``async_to_sync`` blocks
until the coroutine is done. When either is left early, what goes on without it has no handle.

A thread that blocks in ``async_to_sync`` meanwhile runs what others send it, a bare task of its
request included. So whoever may not speak for the request takes the thread's permit away for as
long as his function runs there.

Both are objects that the app keeps and calls for many requests, so a call works on a copy.
"""

from __future__ import annotations

from . import held, joins
from .patching import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


def patch(module: Any) -> None:
    replace(module.SyncToAsync, "__call__", _sending)
    replace(module.AsyncToSync, "__call__", _blocking)


def _copy(bridge: Any, **changes: Any) -> Any:
    copy = object.__new__(type(bridge))
    copy.__dict__.update(bridge.__dict__, **changes)
    return copy


def _sending(original: Callable[..., Any]) -> Callable[..., Any]:
    async def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = joins.current()
        cell = held.opened()
        if cell is None:
            return await original(self, *args, **kwargs)
        permit = held.Permit(None if found is None else found[1])
        permit.is_open = found is not None
        errand = held.Errand(cell, permit, self.func)
        try:
            return await original(_copy(self, func=errand), *args, **kwargs)
        finally:
            permit.is_open = False

    return __call__


def _blocking(original: Callable[..., Any]) -> Callable[..., Any]:
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = joins.current()
        if found is None:
            return original(self, *args, **kwargs)
        cell, permit = found[0], held.Permit(found[1])

        # Awaited in a task that asgiref makes for it, here or in another thread.
        def main_wrap(*args: Any, **kwargs: Any) -> Any:
            return joins.lead(cell, permit, self.main_wrap(*args, **kwargs))

        try:
            return original(_copy(self, main_wrap=main_wrap), *args, **kwargs)
        finally:
            permit.is_open = False

    return __call__
