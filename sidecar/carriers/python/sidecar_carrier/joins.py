"""What the ways to a child that is joined have in common: a permit for as long as it is waited
for, and a coroutine that uses it in whatever task it comes to run in.
"""

from __future__ import annotations

from . import held, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Tuple


def current() -> Optional[Tuple[held.Cell, held.Permit]]:
    """The request the caller may speak for."""
    try:
        return held.current()
    except Exception as error:
        report.once("a child of a request goes without its handle: %s" % type(error).__name__)
        return None


async def lead(cell: held.Cell, permit: held.Permit, child: Any, _keep: Any = None) -> Any:
    """Await *child* in a task that thereby comes to act under *permit*."""
    by_coroutine, runner = cell.by_coroutine, held.running()
    outer = by_coroutine.get(runner)
    by_coroutine[runner] = permit
    try:
        return await child
    finally:
        if outer is None:
            by_coroutine.pop(runner, None)
        else:
            by_coroutine[runner] = outer
