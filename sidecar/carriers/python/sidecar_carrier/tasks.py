"""Structured children in asyncio: a child may use the handle while its parent awaits it.

Whether the parent awaits it is looked at when the parent's step has ended, and from then on must
stay true. A child that is not awaited straight away is on its own for good: otherwise it would
hang on how fast the others are whether a call is refused.

Permits are given to coroutines, because those exist before their task does: no task is created or
wrapped here, the app's own calls are what runs.
"""

from __future__ import annotations

import threading
import weakref
from types import CoroutineType

from . import groups, held, report
from .patching import replace
from .pools import is_thread_pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, MutableMapping, Optional, Tuple, Type

_STEP_TIMEOUT_SECONDS = 2.0
"""How long a worker thread waits for the step that started its job to end."""

_waiting: MutableMapping[Any, Any] = weakref.WeakKeyDictionary()
"""By task: the future for which an older ``wait_for`` awaits a waiter of its own."""


def patch(module: Any, version: Tuple[Any, ...]) -> None:
    """Wrap what joins its children. The rest of asyncio needs no patch: it gives no permit."""
    loop = module.base_events.BaseEventLoop
    replace(loop, "run_until_complete", blocking)
    replace(loop, "run_in_executor", sending)
    _replace_function(module, "gather", _gathering)
    if version < (3, 12):  # later ones await in the caller's own task
        _replace_function(module, "wait_for", _timing)
    if hasattr(module, "TaskGroup"):
        groups.patch(module.TaskGroup)
        replace(module.TaskGroup, "create_task", _grouping)


def _replace_function(module: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    replace(module.tasks, name, wrap)
    setattr(module, name, getattr(module.tasks, name))


class _Joined(held.Permit):
    """Holds while *task* awaits ``future``, directly or inside ``gather``."""

    __slots__ = ("_step_ended", "_task", "future")

    def __init__(self, parent: held.Permit, task: Any) -> None:
        super().__init__(parent)
        self._task = task
        self._step_ended = False
        self.future: Any = None
        # Due after the step of *task* that is running, and before the first step of any child.
        task.get_loop().call_soon(self._end_step)

    def _end_step(self) -> None:
        self._step_ended = True
        self.is_open = self.is_open and self._is_awaited()

    def holds(self) -> bool:
        if not self._step_ended:  # a child that an eager task factory started at once
            return False
        if not self._is_awaited():
            self.is_open = False
        return super().holds()

    def _is_awaited(self) -> bool:
        if self.future is None or self.future.done():
            return False
        awaited = _waiting.get(self._task) or self._task._fut_waiter
        return _includes(awaited, self.future)


class _Job(_Joined):
    """The same for a job in a worker thread, which may well be faster than its parent's step."""

    __slots__ = ("_decided",)

    def __init__(self, parent: held.Permit, task: Any) -> None:
        self._decided = threading.Event()
        super().__init__(parent, task)

    def _end_step(self) -> None:
        super()._end_step()
        self._decided.set()

    def holds(self) -> bool:
        if not self._decided.wait(_STEP_TIMEOUT_SECONDS):
            self.is_open = False
        return super().holds()


def _includes(awaited: Any, future: Any) -> bool:
    if awaited is future:
        return True
    return any(_includes(child, future) for child in getattr(awaited, "_children", ()))


def _current(in_loop: bool) -> Optional[Tuple[held.Cell, held.Permit]]:
    """The request the caller may speak for, if it is (or is not) inside a running loop."""
    try:
        found = held.current()
        return found if found and isinstance(held.running(), int) != in_loop else None
    except Exception as error:
        _complain(error)
        return None


def _joined(kind: Type[_Joined]) -> Optional[Tuple[held.Cell, _Joined]]:
    found = _current(in_loop=True)
    if found is None:
        return None
    try:
        return found[0], kind(found[1], held.current_task())
    except Exception as error:
        _complain(error)
        return None


def _give(cell: held.Cell, permit: held.Permit, child: Any) -> None:
    if type(child) is CoroutineType:
        cell.by_coroutine[child] = permit


def _complain(error: Exception) -> None:
    report.once("a child of a request goes without its handle: %s" % type(error).__name__)


def _gathering(original: Callable[..., Any]) -> Callable[..., Any]:
    def gather(*children: Any, **kwargs: Any) -> Any:
        found = _joined(_Joined) if children else None
        if found is None:
            return original(*children, **kwargs)
        cell, permit = found
        for child in children:
            _give(cell, permit, child)
        permit.future = original(*children, **kwargs)
        return permit.future

    return gather


def _timing(original: Callable[..., Any]) -> Callable[..., Any]:
    async def wait_for(fut: Any, *args: Any, **kwargs: Any) -> Any:
        found = _current(in_loop=True)
        if found is None:
            return await original(fut, *args, **kwargs)
        cell, parent = found
        permit = held.Permit(parent)
        _give(cell, permit, fut)
        task = held.current_task()
        if hasattr(fut, "done"):
            _waiting[task] = fut
        try:
            return await original(fut, *args, **kwargs)
        finally:
            permit.is_open = False
            _waiting.pop(task, None)

    return wait_for


def _grouping(original: Callable[..., Any]) -> Callable[..., Any]:
    def create_task(self: Any, coro: Any, **kwargs: Any) -> Any:
        found = groups.permit_in(self)
        if found is not None:
            _give(found[0], found[1], coro)
        return original(self, coro, **kwargs)

    return create_task


def blocking(original: Callable[..., Any]) -> Callable[..., Any]:
    def run_until_complete(self: Any, future: Any) -> Any:
        found = _current(in_loop=False)
        if found is None:
            return original(self, future)
        cell, parent = found
        permit = held.Permit(parent)
        _give(cell, permit, future.get_coro() if hasattr(future, "get_coro") else future)
        try:
            return original(self, future)
        finally:
            permit.is_open = False

    return run_until_complete


def sending(original: Callable[..., Any]) -> Callable[..., Any]:
    def run_in_executor(self: Any, executor: Any, func: Any, *args: Any) -> Any:
        pool = getattr(self, "_default_executor", None) if executor is None else executor
        found = _joined(_Job) if pool is None or is_thread_pool(pool) else None
        if found is None:
            return original(self, executor, func, *args)
        cell, permit = found
        permit.future = original(self, executor, held.Errand(cell, permit, func), *args)
        return permit.future

    return run_in_executor
