"""Task groups: the tasks in a group that the request opened with ``async with`` keep its handle.

Leaving the block joins every task, whichever of them started it. But a group can also be entered
by hand, or into an exit stack that is kept, and then serve everybody for longer than the request
that happened to open it. So it must have been entered by a statement (see ``blocks``), and the
function with that must still be running in the task that opened the group, whenever a task is
started in it.
"""

from __future__ import annotations

import sys

from . import blocks, held, report
from .patching import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable, Iterator, Optional, Tuple

_SLOT = "_sidecar_block"


class _Block:
    """An ``async with`` block that a request's *task* opened around a group, in *frame*."""

    __slots__ = ("cell", "permit", "task")

    def __init__(self, cell: held.Cell, parent: held.Permit, frame: Optional[FrameType]) -> None:
        self.cell = cell
        self.permit = held.Permit(parent)
        self.task = held.current_task()
        if frame is not None:
            cell.frames[self.permit] = frame

    def close(self) -> None:
        self.permit.is_open = False
        self.cell.frames.pop(self.permit, None)

    def is_around(self) -> bool:
        opener = self.cell.frames.get(self.permit)
        if opener is None:
            return False
        own = held.current_task() is self.task
        frames = _running(sys._getframe(1)) if own else _awaiting(self.task.get_coro())
        return any(frame is opener for frame in frames)


def patch(group: Any) -> None:
    """Wrap the class *group* where its blocks are entered and left."""
    replace(group, "__aenter__", _entering)
    replace(group, "__aexit__", _leaving)


def permit_in(group: Any) -> Optional[Tuple[held.Cell, held.Permit]]:
    """For a task that the caller starts in *group*: its request, and its permit."""
    try:
        found = held.current()
        block = group.__dict__.get(_SLOT)
        if found is None or block is None or found[0] is not block.cell or not block.is_around():
            return None
        return block.cell, held.Permit(block.permit)
    except Exception as error:
        _complain(error)
        return None


def _entering(original: Callable[..., Any]) -> Callable[..., Any]:
    async def __aenter__(self: Any) -> Any:
        entered = await original(self)
        try:
            found = held.current()
            if found is not None:
                setattr(self, _SLOT, _Block(found[0], found[1], blocks.opener(sys._getframe(1))))
        except Exception as error:
            _complain(error)
        return entered

    return __aenter__


def _leaving(original: Callable[..., Any]) -> Callable[..., Any]:
    async def __aexit__(self: Any, *args: Any) -> Any:
        try:
            return await original(self, *args)
        finally:
            block = self.__dict__.pop(_SLOT, None)
            if block is not None:
                block.close()

    return __aexit__


def _running(frame: Optional[FrameType]) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _awaiting(coroutine: Any) -> Iterator[FrameType]:
    """The frames of a task that is not running, as far as they can be seen from outside."""
    while getattr(coroutine, "cr_frame", None) is not None:
        yield coroutine.cr_frame
        coroutine = coroutine.cr_await


def _complain(error: Exception) -> None:
    report.once("a child of a request goes without its handle: %s" % type(error).__name__)
