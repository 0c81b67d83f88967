"""Thread pools, strict: the jobs of a pool that the request opened with ``with`` keep its handle.

Leaving the block joins every job, so no job outlives its submitter. For a pool that lives longer
there is no such guarantee: ``submit(fetch)`` and ``submit(endless_loop)`` look the same when they
are submitted, and the loop would do everybody's later work in the name of its first caller. Jobs
of such a pool therefore have no handle; ``loop.run_in_executor`` and ``asyncio.to_thread``, which
are awaited, have (see ``tasks``).

The standard grade makes the other choice: a job has the handle of whoever submitted it, in any
pool, and an endless one keeps it while that request lasts.
"""

from __future__ import annotations

import sys

from . import blocks, grade, held, report
from .patching import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable, Optional, Tuple

_SLOT = "_sidecar_block"


class _Block:
    """A ``with`` block that a request opened around a pool of its own, in *frame*."""

    __slots__ = ("cell", "permit")

    def __init__(self, cell: held.Cell, parent: held.Permit, frame: FrameType) -> None:
        self.cell = cell
        self.permit = held.Permit(parent)
        cell.frames[self.permit] = frame

    def close(self) -> None:
        self.permit.is_open = False
        self.cell.frames.pop(self.permit, None)

    def is_around(self, frame: Optional[FrameType]) -> bool:
        """Whether the frame that opened the block is still running further up this stack."""
        opener = self.cell.frames.get(self.permit)
        while frame is not None and frame is not opener:
            frame = frame.f_back
        return frame is not None


def patch(module: Any) -> None:
    """Wrap ``ThreadPoolExecutor`` of *module*. In the strict grade its subclasses, which may do
    anything, get nothing.
    """
    pool = module.ThreadPoolExecutor
    replace(module._base.Future, "add_done_callback", _calling_back)
    if grade.is_standard():
        replace(pool, "submit", _lending)
        return
    replace(pool, "__enter__", _entering)
    replace(pool, "__exit__", _leaving)
    replace(pool, "submit", _submitting)


def is_thread_pool(executor: Any) -> bool:
    module = sys.modules.get("concurrent.futures.thread")
    return module is not None and type(executor) is module.ThreadPoolExecutor


def _entering(original: Callable[..., Any]) -> Callable[..., Any]:
    def __enter__(self: Any) -> Any:
        entered = original(self)
        try:
            found = _found() if is_thread_pool(self) else None
            opener = None if found is None else blocks.opener(sys._getframe(1))
            if found is not None and opener is not None:
                self.__dict__[_SLOT] = _Block(found[0], found[1], opener)
        except Exception as error:
            _complain(error)
        return entered

    return __enter__


def _leaving(original: Callable[..., Any]) -> Callable[..., Any]:
    def __exit__(self: Any, *args: Any) -> Any:
        try:
            return original(self, *args)
        finally:
            block = self.__dict__.pop(_SLOT, None)
            if block is not None:
                block.close()

    return __exit__


def _submitting(original: Callable[..., Any]) -> Callable[..., Any]:
    def submit(*args: Any, **kwargs: Any) -> Any:
        block = args[0].__dict__.get(_SLOT) if len(args) > 1 else None
        if block is not None and _may_use(block, sys._getframe(1)):
            args = (args[0], held.Errand(block.cell, block.permit, args[1]), *args[2:])
        return original(*args, **kwargs)

    return submit


def _calling_back(original: Callable[..., Any]) -> Callable[..., Any]:
    """A callback is run by whoever settles the future, which may be another request's thread."""

    def add_done_callback(self: Any, fn: Any) -> Any:
        return original(self, held.Callback(fn))

    return add_done_callback


def _lending(original: Callable[..., Any]) -> Callable[..., Any]:
    def submit(*args: Any, **kwargs: Any) -> Any:
        found = _found() if len(args) > 1 and _runs_in_threads(args[0]) else None
        if found is not None:
            args = (args[0], held.Errand(found[0], held.Permit(None), args[1]), *args[2:])
        return original(*args, **kwargs)

    return submit


def _runs_in_threads(pool: Any) -> bool:
    """Since 3.14 a subclass runs its jobs in other interpreters, to which an errand cannot go."""
    module = sys.modules.get("concurrent.futures.interpreter")
    return module is None or not isinstance(pool, module.InterpreterPoolExecutor)


def _found() -> Optional[Tuple[held.Cell, held.Permit]]:
    try:
        return held.current()
    except Exception as error:
        _complain(error)
        return None


def _may_use(block: _Block, frame: FrameType) -> bool:
    found = _found()
    return found is not None and found[0] is block.cell and block.is_around(frame)


def _complain(error: Exception) -> None:
    report.once("a job of a request goes without its handle: %s" % type(error).__name__)
