"""Replace a function of a library so that it still looks like itself, once per process."""

from __future__ import annotations

import functools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_MARK = "__sidecar_carrier__"


def replace(owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    """Set ``owner.name`` to ``wrap(original)``, unless a carrier has done so already.

    The mark is on the function, not in this module: two copies of the carrier in one process
    would otherwise each write their header.
    """
    original = getattr(owner, name)
    if is_replaced(original):
        return
    wrapper = functools.wraps(original)(wrap(original))
    setattr(wrapper, _MARK, True)
    setattr(owner, name, wrapper)


def is_replaced(function: Any) -> bool:
    return hasattr(function, _MARK)
