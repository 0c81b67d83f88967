"""Structured children in anyio on asyncio: tasks of a group, worker threads and the way back.

Which group's tasks have a permit is told by ``groups``. Threads, and what they await in the loop,
are awaited by their caller; left early, they have no handle any more.
"""

from __future__ import annotations

import functools
from types import CoroutineType

from . import groups, held, joins
from .patching import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Tuple


def patch(module: Any) -> None:
    """Wrap what apps call, not what anyio makes of it, which differs between versions."""
    groups.patch(module.TaskGroup)
    replace(module.TaskGroup, "start_soon", _starting_soon)
    replace(module.TaskGroup, "start", _starting)
    if hasattr(module.TaskGroup, "create_task"):
        replace(module.TaskGroup, "create_task", _creating)
    backend = module.AsyncIOBackend
    replace(backend, "run_sync_in_worker_thread", _sending)
    replace(backend, "run_async_from_thread", _returning)


def _starting_soon(original: Callable[..., Any]) -> Callable[..., Any]:
    def start_soon(self: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
        return original(self, _entrusted(self, func), *args, **kwargs)

    return start_soon


def _starting(original: Callable[..., Any]) -> Callable[..., Any]:
    async def start(self: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
        return await original(self, _entrusted(self, func), *args, **kwargs)

    return start


def _creating(original: Callable[..., Any]) -> Callable[..., Any]:
    def create_task(self: Any, coro: Any, **kwargs: Any) -> Any:
        found = groups.permit_in(self)
        return original(self, coro if found is None else _led(found, coro), **kwargs)

    return create_task


def _entrusted(group: Any, func: Any) -> Any:
    found = groups.permit_in(group)
    if found is None:
        return func

    def child(*args: Any, **kwargs: Any) -> Any:
        return _led(found, func(*args, **kwargs))

    return functools.update_wrapper(child, func)


def _led(found: Tuple[held.Cell, held.Permit], coro: Any) -> Any:
    if type(coro) is not CoroutineType:
        return coro  # anyio complains about what is none
    leader: Any = joins.lead(found[0], found[1], coro, _Child(coro))
    leader.__name__, leader.__qualname__ = coro.__name__, coro.__qualname__
    return leader


class _Child:
    """Closes a coroutine that its task did not come to await: no reason to warn the app."""

    def __init__(self, coro: Any) -> None:
        self._coro = coro

    def __del__(self) -> None:
        self._coro.close()


def _sending(original: Callable[..., Any]) -> Callable[..., Any]:
    async def run_sync_in_worker_thread(func: Any, *args: Any, **kwargs: Any) -> Any:
        found = joins.current()
        if found is None:
            return await original(func, *args, **kwargs)
        permit = held.Permit(found[1])
        try:
            return await original(held.Errand(found[0], permit, func), *args, **kwargs)
        finally:
            permit.is_open = False

    return run_sync_in_worker_thread


def _returning(original: Callable[..., Any]) -> Callable[..., Any]:
    def run_async_from_thread(func: Any, *args: Any, **kwargs: Any) -> Any:
        found = joins.current()
        if found is None:
            return original(func, *args, **kwargs)
        cell, permit = found[0], held.Permit(found[1])

        def child(*args: Any) -> Any:
            return joins.lead(cell, permit, func(*args))

        try:
            return original(child, *args, **kwargs)
        finally:
            permit.is_open = False

    return run_async_from_thread
