"""The request being served, and which running code may speak for it.

A context variable alone is too generous. Python copies it into whatever is created while a
request runs: bare tasks, loop callbacks, threads (by default since 3.14 in free-threaded builds).
The first request to need a worker would then lend it its identity for all later work. So the
variable only says which request this code descends from, and a *permit* says whether this very
thread or coroutine is one that the request waits for. No permit, no handle: a way of starting
code that nobody thought of here starts it without.

That is the strict grade. In the standard grade a second variable says *where* the first one means
something: in the event loop that the request runs in, or was sent to. There the runtime's copies
count, in any task and callback. In a thread a permit is needed all the same, and the first user of
a worker task does lend it its identity: for that, the grade is the lower one.

Outside the reach of both: code that runs in a request's own frames on behalf of others, such as a
request that leads a batch for its neighbours, or a destructor.
"""

from __future__ import annotations

import _thread
import contextvars
import os
import sys
import weakref

from . import grade

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
    """One request's handle, shared by all its children.

    When the request ends it is emptied, in the strict grade. In the standard grade work that goes
    on keeps it: the sidecar knows whether such a call may still be made (``linger``), and tells
    one that comes too late from one that belongs to nobody.
    """

    __slots__ = ("_fork", "by_coroutine", "by_thread", "frames", "handle", "root")

    def __init__(self, handle: str) -> None:
        self.handle: Optional[str] = handle
        self._fork = _fork
        # Of the code that serves the request itself.
        self.root = Permit(None)
        self.by_thread: Dict[int, Permit] = {}
        # Weak: a request may gather for as long as it lives, its finished children need not.
        self.by_coroutine: MutableMapping[Any, Permit] = weakref.WeakKeyDictionary()
        # Of ``pools``. Here, so that no frame is kept beyond its request.
        self.frames: Dict[Permit, FrameType] = {}

    def is_live(self) -> bool:
        return self.handle is not None and self._fork == _fork

    def close(self) -> None:
        self.root.is_open = False
        if grade.is_standard():
            return
        self.handle = None
        self.by_thread.clear()
        self.by_coroutine.clear()
        self.frames.clear()


_request: contextvars.ContextVar[Optional[Cell]] = contextvars.ContextVar(
    "sidecar_request", default=None
)
_place: contextvars.ContextVar[Any] = contextvars.ContextVar("sidecar_place", default=None)
"""The event loop in which ``_request`` counts without a permit. Not a flag: a thread that was
started with a copy of the context, and runs a loop of its own, is in another place.
"""
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
        cell.by_thread[runner] = cell.root
    else:
        _permit_coroutine(cell, runner, cell.root)
    _request.set(cell)
    _place.set(running_loop())
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
    permit = permit_of(cell, running())
    if permit is not None and permit.holds():
        return cell, permit
    if grade.is_standard() and _is_in_place(cell):
        return cell, Permit(None)
    return None


def permit_of(cell: Cell, runner: Any) -> Optional[Permit]:
    """The permit given to *runner*, a coroutine or a thread's ident; it may no longer hold."""
    if type(runner) is int:
        return cell.by_thread.get(runner)
    try:
        return cell.by_coroutine.get(runner)
    except TypeError:  # a library's own kind of coroutine; see ``_permit_coroutine``
        return None


def _permit_coroutine(cell: Cell, coroutine: Any, permit: Permit) -> None:
    try:
        cell.by_coroutine[coroutine] = permit
    except TypeError:  # it takes no weak reference, and a strong one would outlive its task
        pass


def _is_in_place(cell: Cell) -> bool:
    """Whether this is a loop that the request runs in: it was begun there or sent there, or the
    thread that runs the loop has the request's permit.
    """
    loop = running_loop()
    if loop is None:
        return False
    if _place.get() is loop:
        return True
    permit = cell.by_thread.get(_thread.get_ident())
    return permit is not None and permit.holds()


def send_to(loop: Any) -> contextvars.Token[Any]:
    """Have the context copies made from here on count in *loop*, until ``_place`` is reset."""
    return _place.set(loop)


def stay(token: contextvars.Token[Any]) -> None:
    _place.reset(token)


def handle() -> Optional[str]:
    """The handle to write on a call made here and now."""
    found = current()
    return None if found is None else found[0].handle


def running() -> Any:
    """What the calling code runs in: a task's coroutine, a thread's ident, or a fresh object for
    a callback, which belongs to nobody.
    """
    if running_loop() is None:
        # Asked by attribute each time: gevent replaces it, so that greenlets differ.
        return _thread.get_ident()
    task = current_task()
    return _Callback() if task is None else task.get_coro()


def current_task() -> Any:
    """The asyncio task that is running here; ``None`` in a callback. Only inside a loop."""
    return sys.modules["asyncio.tasks"].current_task()


def running_loop() -> Any:
    """The event loop that is running in this thread, or ``None``."""
    # The app imports asyncio, we do not; without it no loop can run.
    running_loop = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    return None if running_loop is None else running_loop()


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


class Callback:
    """A function that speaks for the request it was made in, or for none: not for whoever runs
    it.
    """

    def __init__(self, function: Any) -> None:
        self._cell = _request.get()
        self._function = function

    def __call__(self, *args: Any) -> Any:
        if _request.get() in (None, self._cell):
            return self._function(*args)
        token = _request.set(None)
        try:
            return self._function(*args)
        finally:
            _request.reset(token)


def _forget() -> None:
    global _fork
    _fork += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
