"""Our two header fields of a call: what every client library's patch writes and removes.

On a call to the sidecar the two fields are the carrier's. What the app set itself is replaced by
the handle held here. Where none is held, a handle that the app copied from its own request stays,
but without our self-report: it is the app's word, not ours, and the sidecar grades it so. On any
other call both are removed, so that an app which forwards all it received does not publish its
handle.
"""

from __future__ import annotations

from . import grade
from .names import CARRIER_HEADER, CONTEXT_HEADER, is_handle, self_report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, List, Optional, Sequence, Tuple

_CONTEXT = CONTEXT_HEADER.encode()
_CARRIER = CARRIER_HEADER.encode()
_REPORT = self_report(grade.chosen).encode()  # the grade is chosen before any library is patched
_CONTEXT_START = _CONTEXT + b": "
_REPORT_END = b"\r\n" + _CARRIER + b": " + _REPORT + b"\r\n"
_LENGTHS = (len(CONTEXT_HEADER), len(CARRIER_HEADER))


def are_ours(name: Any) -> bool:
    """Whether *name*, text or bytes, is one of the two."""
    return len(name) in _LENGTHS and text(name).lower() in (CONTEXT_HEADER, CARRIER_HEADER)


def copies(name: Any, values: Iterable[Any]) -> List[str]:
    """The handles among the *values* that the app gave to the field *name*."""
    if text(name).lower() != CONTEXT_HEADER:
        return []
    return [value for value in map(text, values) if is_handle(value)]


def pairs(handle: Optional[str], copied: Sequence[str]) -> List[Tuple[bytes, bytes]]:
    """What goes on a call to the sidecar: *handle* was held here, *copied* is the app's."""
    if handle is not None:
        return [(_CONTEXT, handle.encode()), (_CARRIER, _REPORT)]
    if copied:
        return [(_CONTEXT, value.encode()) for value in copied]
    return [(_CARRIER, _REPORT)]


def lines(handle: Optional[str], copied: Sequence[str]) -> bytes:
    """The same as it stands in a head."""
    if handle is not None:  # nearly always; the rest may cost something
        return _CONTEXT_START + handle.encode() + _REPORT_END
    return b"".join(b"%b: %b\r\n" % pair for pair in pairs(handle, copied))


def text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
