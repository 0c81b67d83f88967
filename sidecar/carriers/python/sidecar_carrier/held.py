"""The request being served, and which running code may speak for it.

A context variable alone is too generous. Python copies it into whatever is created while a
request runs: bare tasks, loop callbacks, threads (by default since 3.14 in free-threaded builds).
The first request to need a worker would then lend it its identity for all later work. So the
variable only says which request this code descends from, and a *permit* says whether this very
thread or coroutine is one that the request waits for. No permit, no handle: a way of starting
code that nobody thought of here starts it without.

Outside its reach: code that runs in a request's own frames on behalf of others, such as a request
that leads a batch for its neighbours, or a destructor.
"""

from __future__ import annotations

import _thread
import contextvars
import os
import sys
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Dict, MutableMapping, Optional, Tuple


class Permit:
    """Leave to use the handle, as long as this link and all those above it hold.

    Whoever gave it closes it when the child has been joined, or has been given up.
    """

    __slots__ = ("_parent", "is_open")

    def __init__(self, parent: Optional[Permit]) -> None:
        self._parent = parent
        self.is_open = True

    def holds(self) -> bool:
        return self.is_open and (self._parent is None or self._parent.holds())


class Cell:
    """One request's handle, shared by all its children and emptied when the request ends."""

    __slots__ = ("_fork", "by_coroutine", "by_thread", "frames", "handle")

    def __init__(self, handle: str) -> None:
        self.handle: Optional[str] = handle
        self._fork = _fork
        self.by_thread: Dict[int, Permit] = {}
        # Weak: a request may gather for as long as it lives, its finished children need not.
        self.by_coroutine: MutableMapping[Any, Permit] = weakref.WeakKeyDictionary()
        # Of ``pools``. Here, so that no frame is kept beyond its request.
        self.frames: Dict[Permit, FrameType] = {}

    def is_live(self) -> bool:
        return self.handle is not None and self._fork == _fork

    def close(self) -> None:
        self.handle = None
        self.by_thread.clear()
        self.by_coroutine.clear()
        self.frames.clear()


_request: contextvars.ContextVar[Optional[Cell]] = contextvars.ContextVar(
    "sidecar_request", default=None
)
_fork = 0


def begin(handle: Optional[str]) -> Optional[Cell]:
    """Open the request that the current thread or task now serves; without a handle it holds
    nothing.
    """
    if handle is None:
        _request.set(None)
        return None
    cell = Cell(handle)
    runner = running()
    if type(runner) is int:
        cell.by_thread[runner] = Permit(None)
    else:
        cell.by_coroutine[runner] = Permit(None)
    _request.set(cell)
    return cell


def opened() -> Optional[Cell]:
    """The request that this code descends from, whether or not it may speak for it."""
    return _request.get()


def end(cell: Optional[Cell], outer: Optional[Cell] = None) -> None:
    """Close the request. What the caller had opened before, it goes on with."""
    if cell is not None:
        cell.close()
    # A coroutine may be closed by whoever happens to collect it: his request is none of ours.
    if _request.get() is cell:
        _request.set(outer)


def readmit(handle: Optional[str]) -> None:
    """Let the running task speak for the request it descends from, if that has this *handle*."""
    cell, runner = _request.get(), running()
    if cell is None or not cell.is_live() or cell.handle != handle or type(runner) is int:
        return
    cell.by_coroutine[runner] = Permit(None)


def current() -> Optional[Tuple[Cell, Permit]]:
    """The request that the calling code may speak for, and by which permit."""
    cell = _request.get()
    if cell is None or not cell.is_live():
        return None
    runner = running()
    permit = cell.by_thread.get(runner) if type(runner) is int else cell.by_coroutine.get(runner)
    return (cell, permit) if permit is not None and permit.holds() else None


def handle() -> Optional[str]:
    """The handle to write on a call made here and now."""
    found = current()
    return None if found is None else found[0].handle


def running() -> Any:
    """What the calling code runs in: a task's coroutine, a thread's ident, or a fresh object for
    a callback, which belongs to nobody.
    """
    if not _in_loop():
        # Asked by attribute each time: gevent replaces it, so that greenlets differ.
        return _thread.get_ident()
    task = current_task()
    return _Callback() if task is None else task.get_coro()


def current_task() -> Any:
    """The asyncio task that is running here; ``None`` in a callback. Only inside a loop."""
    return sys.modules["asyncio.tasks"].current_task()


def _in_loop() -> bool:
    # The app imports asyncio, we do not; without it no loop can run.
    running_loop = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    return running_loop is not None and running_loop() is not None


class _Callback:
    __slots__ = ("__weakref__",)


class Errand:
    """A function to be run in a worker thread under *permit*."""

    def __init__(self, cell: Cell, permit: Permit, function: Any) -> None:
        self._cell = cell
        self._permit = permit
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        by_thread = self._cell.by_thread
        ident = _thread.get_ident()
        outer = by_thread.get(ident)
        token = _request.set(self._cell)
        by_thread[ident] = self._permit
        try:
            return self._function(*args, **kwargs)
        finally:
            if outer is None:
                by_thread.pop(ident, None)
            else:
                by_thread[ident] = outer
            _request.reset(token)


def _forget() -> None:
    global _fork
    _fork += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
