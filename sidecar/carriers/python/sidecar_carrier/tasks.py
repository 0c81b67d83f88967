"""Structured children in asyncio, strict: a child may use the handle while its parent awaits it.

Whether the parent awaits it is looked at when the parent's step has ended, and from then on must
stay true. A child that is not awaited straight away is on its own for good: otherwise it would
hang on how fast the others are whether a call is refused.

Permits are given to coroutines, because those exist before their task does: no task is created or
wrapped here, the app's own calls are what runs. (The exception is a child that takes no permit,
because it is a library's own awaitable, as aiohttp's ``session.get()`` is: asyncio would make a
task of it, and has one of ours to make it of.)

In the standard grade the context variable does all this by itself; only a coroutine that is sent
to another thread's loop must be told that it counts there.
"""

from __future__ import annotations

import threading
import weakref
from types import CoroutineType

from . import grade, groups, held, report
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
    if grade.is_standard():
        _replace_function(module, "run_coroutine_threadsafe", _handing_over)
        return
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
    """Replace a function in both places where it can be found."""
    is_one = getattr(module, name) is getattr(module.tasks, name)
    replace(module.tasks, name, wrap)
    if is_one:
        setattr(module, name, getattr(module.tasks, name))
    else:  # somebody wrapped the one that apps call
        replace(module, name, wrap)


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


def _found() -> Optional[Tuple[held.Cell, held.Permit]]:
    try:
        return held.current()
    except Exception as error:
        _complain(error)
        return None


def _current(in_loop: bool) -> Optional[Tuple[held.Cell, held.Permit]]:
    """The request the caller may speak for, if it is (or is not) inside a running loop."""
    found = _found()
    return found if found and (held.running_loop() is not None) == in_loop else None


def _joined(kind: Type[_Joined]) -> Optional[Tuple[held.Cell, _Joined]]:
    found = _current(in_loop=True)
    if found is None:
        return None
    try:
        return found[0], kind(found[1], held.current_task())
    except Exception as error:
        _complain(error)
        return None


def _give(cell: held.Cell, permit: held.Permit, child: Any) -> Any:
    """Permit *child*, and return what is to be awaited in its place."""
    if not hasattr(type(child), "__await__") or hasattr(child, "add_done_callback"):
        return child  # a future: its task, if it has one, is already on its own
    coroutine = child if type(child) is CoroutineType else _wait(child)
    cell.by_coroutine[coroutine] = permit
    return coroutine


async def _wait(awaitable: Any) -> Any:
    return await awaitable


def _complain(error: Exception) -> None:
    report.once("a child of a request goes without its handle: %s" % type(error).__name__)


def _gathering(original: Callable[..., Any]) -> Callable[..., Any]:
    def gather(*children: Any, **kwargs: Any) -> Any:
        found = _joined(_Joined) if children else None
        if found is None:
            return original(*children, **kwargs)
        cell, permit = found
        # By identity: asyncio lets one child stand in several places.
        unique = {id(child): child for child in children}
        given = {key: _give(cell, permit, child) for key, child in unique.items()}
        permit.future = original(*(given[id(child)] for child in children), **kwargs)
        return permit.future

    return gather


def _timing(original: Callable[..., Any]) -> Callable[..., Any]:
    async def wait_for(fut: Any, *args: Any, **kwargs: Any) -> Any:
        found = _current(in_loop=True)
        if found is None:
            return await original(fut, *args, **kwargs)
        cell, parent = found
        permit = held.Permit(parent)
        fut = _give(cell, permit, fut)
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
        found = groups.permit_in(self) if hasattr(coro, "send") else None
        if found is not None:
            coro = _give(found[0], found[1], coro)
        return original(self, coro, **kwargs)

    return create_task


def blocking(original: Callable[..., Any]) -> Callable[..., Any]:
    def run_until_complete(self: Any, future: Any) -> Any:
        found = _current(in_loop=False)
        if found is None:
            return original(self, future)
        cell, parent = found
        permit = held.Permit(parent)
        try:
            return original(self, _give_root(cell, permit, future))
        finally:
            permit.is_open = False

    return run_until_complete


def _give_root(cell: held.Cell, permit: held.Permit, future: Any) -> Any:
    coroutine = future.get_coro() if hasattr(future, "get_coro") else None
    if coroutine is None:
        return _give(cell, permit, future)
    if type(coroutine) is CoroutineType:
        cell.by_coroutine[coroutine] = permit
    return future


def _handing_over(original: Callable[..., Any]) -> Callable[..., Any]:
    def run_coroutine_threadsafe(coro: Any, loop: Any) -> Any:
        if _found() is None:
            return original(coro, loop)
        token = held.send_to(loop)
        try:
            return original(coro, loop)
        finally:
            held.stay(token)

    return run_coroutine_threadsafe


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
