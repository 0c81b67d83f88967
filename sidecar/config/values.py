"""The written forms of single values: durations, sizes, methods, path patterns, names.

Every parser takes a string and returns the value, or raises ``Complaint`` with words that
follow the quoted value in a message. No complaint repeats the value: it may have come from
a reference to a secret. Hosts and URLs are in ``sidecar.config.endpoints``.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from sidecar.core.routes import MAX_SEGMENTS, name_of

DURATION_UNITS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
SIZE_UNITS: Final[Mapping[str, int]] = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

DURATION_PATTERN: Final = r"^[0-9]{1,9}(ms|s|m|h)$"
SIZE_PATTERN: Final = r"^[0-9]{1,9}(B|KiB|MiB|GiB)$"
METHOD_PATTERN: Final = r"^[A-Z0-9!#$%&'*+.^_`|~-]{1,32}$"
NAME_PATTERN: Final = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
PSEUDONYM_PATTERN: Final = r"^[0-9A-Za-z!#$&'*+.^_`|~-]{1,64}$"
"""``token`` of RFC 9110, section 5.6.2, without ``%``."""
LABEL_PATTERN: Final = r"^[^\x00-\x1f\x7f]{1,128}$"
CONTROL_PATTERN: Final = r"^(off|unix:/?[^/\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^/\x00-\x1f\x7f])?)$"
SCOPE_PATTERN: Final = r"^[\x21\x23-\x5b\x5d-\x7e]+$"
"""``scope-token`` of RFC 6749, section 3.3."""

MAX_SOCKET_PATH_BYTES: Final = 107
"""``sun_path`` of Linux without its NUL; on macOS 103, which binding then says."""

RESERVED_LABEL: Final = "other"
"""The metric label of everything over the bound on labels."""

_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~!$&'()+,=:@-]+")
"""``pchar`` of RFC 3986, section 3.3, without ``%``, ``;`` and our own ``*``."""


class Complaint(ValueError):  # noqa: N818 - words for a Problem, not an error of ours
    """What is wrong with a value, without the value."""

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


def duration(least: float, most: float) -> Callable[[str], float]:
    """Return a parser of durations between *least* and *most* seconds."""
    bounds = f"from {format_duration(least)} to {format_duration(most)}"

    def parse(text: str) -> float:
        number, unit = _quantity(text, "a duration such as 250ms, 30s, 5m or 1h", "s")
        if (factor := DURATION_UNITS.get(unit)) is None:
            raise Complaint("has no such unit; use ms, s, m or h", _spelled(number, unit))
        # Milliseconds by division: 250 * 0.001 is not the float that 0.25 is.
        seconds = number / 1000 if unit == "ms" else number * factor
        if not least <= seconds <= most:
            raise Complaint(f"must be {bounds}")
        return seconds

    return parse


def size(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of sizes between *least* and *most* bytes."""
    bounds = f"from {format_size(least)} to {format_size(most)}"

    def parse(text: str) -> int:
        number, unit = _quantity(text, "a size such as 512B, 64KiB or 1MiB", "B")
        if (factor := SIZE_UNITS.get(unit)) is None:
            raise Complaint("has no such unit; use B, KiB, MiB or GiB", _spelled(number, unit))
        if not least <= number * factor <= most:
            raise Complaint(f"must be {bounds}")
        return number * factor

    return parse


def format_duration(seconds: float) -> str:
    """Return the usual written form of a whole number of milliseconds."""
    if seconds != int(seconds):
        return f"{round(seconds * 1000)}ms"
    if seconds and seconds % 3600 == 0:
        return f"{int(seconds // 3600)}h"
    if seconds > 60 and seconds % 60 == 0:
        return f"{int(seconds // 60)}m"
    return f"{int(seconds)}s"


def format_size(count: int) -> str:
    """Return the shortest written form of a number of bytes."""
    for unit, factor in reversed(tuple(SIZE_UNITS.items())):
        if count and count % factor == 0:
            return f"{count // factor}{unit}"
    return f"{count}B"


def text(value: str) -> str:
    """Any string that can be shown and is not empty, at most 2,048 characters."""
    if not value:
        raise Complaint("must not be empty")
    if len(value) > 2048:
        raise Complaint("must not be longer than 2,048 characters")
    if not value.isprintable():
        raise Complaint("must not hold control characters")
    return value


def file_path(value: str) -> str:
    if value.startswith("file:"):
        raise Complaint("must be a path, without `file:`")
    return text(value)


def control(value: str) -> str | None:
    """``unix:`` and the path of a socket, or ``off``, which is ``None``."""
    if value == "off":
        return None
    path = value.removeprefix("unix:")
    if path == value:
        if value.startswith(("/", "./", "../")):
            raise Complaint("needs `unix:` before the path", f"unix:{value}")
        if re.match(r"tcp:|https?:|.*:[0-9]+$|[0-9]+$", value):
            raise Complaint(
                "asks for TCP, which is not supported by this version; use "
                "unix:/path/to/control.sock"
            )
        raise Complaint("must be unix:/path/to/control.sock or off")
    if path.startswith("//"):
        raise Complaint("must be a path after `unix:`", f"unix:/{path.lstrip('/')}")
    if not path or path.endswith("/"):
        raise Complaint("must name a file after `unix:`")
    return text(path)


def format_control(path: str | None) -> str:
    return "off" if path is None else f"unix:{path}"


def method(value: str) -> str:
    """A request method (RFC 9110, section 9.1: case-sensitive, upper-case by convention)."""
    if re.fullmatch(METHOD_PATTERN, value):
        return value
    if re.fullmatch(METHOD_PATTERN, value.upper()):
        raise Complaint("must be upper-case", value.upper())
    raise Complaint("is not an HTTP method")


def scope(value: str) -> str:
    if " " in value.strip():
        raise Complaint("must be one scope; give each its own entry")
    if not re.fullmatch(SCOPE_PATTERN, value):
        raise Complaint("is not a scope (RFC 6749, section 3.3)")
    return value


def acr(value: str) -> str:
    """One authentication context class; several are joined by spaces in a challenge (RFC 9470)."""
    if " " in value.strip():
        raise Complaint("must be one word; give each its own entry")
    if not re.fullmatch(SCOPE_PATTERN, value):
        raise Complaint("must be printable ASCII without quotes and backslashes")
    return value


def pseudonym(value: str) -> str:
    """A name to stand in ``Via`` (RFC 9110, section 7.6.3), without the comment it may have."""
    if not re.fullmatch(PSEUDONYM_PATTERN, value):
        raise Complaint("must be 1 to 64 letters, digits, `.`, `_` or `-`")
    return value


def label(value: str) -> str:
    """A rule's name, which is a metric label."""
    if value == RESERVED_LABEL:
        raise Complaint("is reserved: it is the metric label of all routes over the bound")
    if not value.isprintable() or not re.fullmatch(LABEL_PATTERN, value):
        raise Complaint("must be 1 to 128 characters that can be shown")
    return value


def name(value: str) -> str:
    """The name of an issuer or a destination: a metric label and part of paths and logs."""
    if value == RESERVED_LABEL:
        raise Complaint("is reserved: it is the metric label of all routes over the bound")
    if not re.fullmatch(NAME_PATTERN, value):
        raise Complaint(
            "must be 1 to 63 letters, digits, `.`, `_` or `-`, a letter or digit at both ends"
        )
    return value


def path_pattern(value: str) -> str:
    """A path whose segments are literal, ``*`` or ``{name}`` (one segment), and may end in ``/**``.

    What is refused here could never match: a request whose path holds it is refused before
    rules are asked.
    """
    if not value.startswith("/"):
        raise Complaint("must start with `/`", f"/{value}" if value else None)
    if len(value) > 1024:
        raise Complaint("must not be longer than 1,024 characters")
    segments = value[1:].split("/")
    for position, segment in enumerate(segments):
        _check_segment(segment, is_last=position == len(segments) - 1)
    names = [name for segment in segments if (name := name_of(segment)) is not None]
    for name in names:
        if names.count(name) > 1:
            raise Complaint(f"has two segments that are named {{{name}}}")
    if len(segments) > MAX_SEGMENTS:
        raise Complaint(f"must not have more than {MAX_SEGMENTS} segments")
    return value


def _check_segment(segment: str, *, is_last: bool) -> None:
    if segment == "**":
        if not is_last:
            raise Complaint("must have `**` only as its last segment")
    elif segment == "*" or (is_last and not segment) or name_of(segment) is not None:
        return
    elif not segment:
        raise Complaint("must not hold an empty segment (`//`)")
    elif segment in {".", ".."}:
        raise Complaint("must not hold dot segments")
    elif "*" in segment:
        raise Complaint("must have `*` only as a whole segment")
    elif "{" in segment or "}" in segment:
        raise Complaint("must have `{name}` only as a whole segment, of letters, digits and `_`")
    elif "%" in segment:
        raise Complaint("must not hold `%`: rules match decoded paths")
    elif ";" in segment:
        raise Complaint("must not hold `;`")
    elif "?" in segment or "#" in segment:
        raise Complaint("must be a path only, without query or fragment")
    elif not _SEGMENT.fullmatch(segment):
        raise Complaint("holds a character that no path can have")


def _quantity(value: str, kind: str, unit: str) -> tuple[int, str]:
    match = re.fullmatch(r"([0-9]{1,9}) ?([A-Za-zµ]{0,12})", value)
    if match is None:
        raise Complaint(f"is not {kind}")
    if not match[2]:
        raise Complaint(f"needs a unit: it must be {kind}", f"{match[1]}{unit}")
    if " " in value:
        raise Complaint("must not hold a space", value.replace(" ", ""))
    return int(match[1]), match[2]


_OTHER_SPELLINGS: Final = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "min": "m", "mins": "m",
    "minute": "m", "minutes": "m", "hr": "h", "hour": "h", "hours": "h", "msec": "ms",
    "k": "KiB", "kb": "KiB", "ki": "KiB", "kib": "KiB", "mb": "MiB", "mi": "MiB", "mib": "MiB",
    "g": "GiB", "gb": "GiB", "gi": "GiB", "gib": "GiB", "b": "B", "byte": "B", "bytes": "B",
}  # fmt: skip


def _spelled(number: int, unit: str) -> str | None:
    meant = _OTHER_SPELLINGS.get(unit.lower())
    return f"{number}{meant}" if meant else None
