"""Names of header fields that say how long somebody will wait."""

import re
from typing import Final

from sidecar.config.kinds import Text
from sidecar.config.values import Complaint
from sidecar.core.headers import classify

_NAME: Final = r"^[0-9A-Za-z!#$&'*+.^_`|~-]{1,64}$"
"""``token`` of RFC 9110, section 5.6.2, without ``%``."""
_TAKEN: Final = frozenset(
    ("accept", "connection", "cookie", "date", "expect", "forwarded", "host", "keep-alive",
     "origin", "range", "referer", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade",
     "user-agent", "via")
)  # fmt: skip
_TAKEN_PREFIXES: Final = ("content-", "if-", "proxy-", "sec-")


def _header(value: str) -> str:
    if not re.fullmatch(_NAME, value):
        raise Complaint("is not the name of a header")
    name = value.lower()
    if name in _TAKEN or name.startswith(_TAKEN_PREFIXES) or classify(name.encode()):
        raise Complaint("has another meaning, and cannot say how long somebody waits")
    return name


DEADLINE_HEADER: Final = Text("string", _header, _NAME, is_free=True)
