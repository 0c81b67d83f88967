"""Structured children in uvloop, whose loop inherits nothing from asyncio's (see ``tasks``)."""

from __future__ import annotations

from . import grade, tasks
from .patching import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


def patch(module: Any) -> None:
    if grade.is_standard():
        return
    replace(module.Loop, "run_until_complete", tasks.blocking)
    replace(module.Loop, "run_in_executor", tasks.sending)
    replace(module.Loop, "set_default_executor", _remembering)


def _remembering(original: Callable[..., Any]) -> Callable[..., Any]:
    """Show the default executor, which may be one of processes, as asyncio's loop does."""

    def set_default_executor(self: Any, executor: Any) -> Any:
        answer = original(self, executor)
        self._default_executor = executor
        return answer

    return set_default_executor
