"""Blocks: what the language itself makes a function wait for.

A function cannot go on after, or return from, a ``with`` or ``async with`` *statement* without
leaving the block, and leaving it joins the pool's jobs or the group's tasks. Whatever enters by
other means may never leave: a call of ``__enter__`` in a method that then returns, an exit stack
that is kept, a generator that was started and forgotten. A worker that is started there serves
everybody for as long as its first user's request is open.

Only the instruction that the function has come to tells a statement from a call. Where it is not
one that is known here, in a Python to come, nothing was entered by a statement.
"""

from __future__ import annotations

from opcode import opmap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Optional

_GENERATORS = 0x20 | 0x200  # inspect.CO_GENERATOR, CO_ASYNC_GENERATOR
_ENTER = (opmap.get("BEFORE_WITH"), opmap.get("SETUP_WITH"))  # since 3.11, before
_LOAD_SPECIAL = opmap.get("LOAD_SPECIAL")  # since 3.14, followed by an ordinary call
_GET_AWAITABLE = opmap["GET_AWAITABLE"]
_BEFORE_ASYNC_WITH = opmap.get("BEFORE_ASYNC_WITH")
_CACHE = opmap.get("CACHE")  # since 3.11, behind some instructions
_OF_ASYNC_WITH = 1  # argument of GET_AWAITABLE, since 3.11


def opener(frame: Optional[FrameType]) -> Optional[FrameType]:
    """The function whose statement is entering what *frame* enters; ``None`` if there is none.

    A generator that makes a context manager is what the function enters that uses it.
    """
    while frame is not None and frame.f_code.co_flags & _GENERATORS:
        frame = _user_of_generator(frame.f_back)
    return frame if frame is not None and _is_entering(frame) else None


def _user_of_generator(frame: Optional[FrameType]) -> Optional[FrameType]:
    if frame is None or frame.f_globals.get("__name__") != "contextlib":
        return None
    return frame.f_back if frame.f_code.co_name in ("__enter__", "__aenter__") else None


def _is_entering(frame: FrameType) -> bool:
    code, at = frame.f_code.co_code, frame.f_lasti
    while code[at] == _CACHE:
        at -= 2
    if code[at] in _ENTER or (_LOAD_SPECIAL is not None and code[at - 2] == _LOAD_SPECIAL):
        return True
    # At the instruction that runs the coroutine: behind GET_AWAITABLE and LOAD_CONST.
    if at < 6 or code[at - 4] != _GET_AWAITABLE:
        return False
    return code[at - 3] == _OF_ASYNC_WITH or code[at - 6] == _BEFORE_ASYNC_WITH
