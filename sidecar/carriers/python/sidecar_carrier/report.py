"""The carrier's only voice: one line on standard error per kind of trouble."""

from __future__ import annotations

import sys

_said: set[str] = set()


def once(line: str) -> None:
    """Write *line* unless it was written before. Callers pass literals and type names only:
    the set stays small, and no handle or header value can end up in a log.
    """
    if line in _said:
        return
    _said.add(line)
    try:
        sys.stderr.write("sidecar carrier: " + line + "\n")
        sys.stderr.flush()  # before 3.9 a file or pipe is not written line by line
    except Exception:  # standard error may be closed, or None
        pass
