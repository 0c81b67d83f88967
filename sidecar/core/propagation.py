"""Handles inside the headers that tracing libraries and hand-written code carry on by themselves.

An app without our carrier may still bring a handle back: in ``baggage`` and ``tracestate`` (W3C
Baggage and Trace Context; OpenTelemetry, .NET), or as a request id or trace id that it was given
in place of the caller's. Owns writing, reading and removing those. What such evidence is worth is
decided in ``sidecar.core.attribution``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote_plus
from uuid import UUID

from sidecar.core.names import MEMBER_KEY, folded
from sidecar.core.trace_ids import key_of, read_trace_id, with_trace_id

CompatCarrier = Literal["baggage", "tracestate", "request_id", "trace_id"]

# Marks of the fields this module is about; those of ``sidecar.core.headers`` are below.
BAGGAGE: Final = 32
CORRELATION: Final = 33
"""``correlation-context``, which .NET before 10 sends in place of ``baggage``."""
TRACESTATE: Final = 34
TRACEPARENT: Final = 35
REQUEST_ID: Final = 36
TRACE_ID: Final = 37
"""Another tracer's field with a trace id in it (B3, Jaeger, Datadog)."""
FIRST_MARK: Final = BAGGAGE
LISTS: Final = (BAGGAGE, CORRELATION, TRACESTATE)
"""The fields that hold members, ours among others'."""

MARKS: Final = {
    "baggage": BAGGAGE,
    "correlation-context": CORRELATION,
    "tracestate": TRACESTATE,
    "traceparent": TRACEPARENT,
    "x-request-id": REQUEST_ID,
    "b3": TRACE_ID,
    "x-b3-traceid": TRACE_ID,
    "uber-trace-id": TRACE_ID,
    "x-datadog-trace-id": TRACE_ID,
}

MAX_MEMBERS: Final = 31
"""Foreign members given to the app beside ours: OpenTelemetry for Python loses ours at 33."""
MAX_LIST_BYTES: Final = 7168
"""Of them in all: over 8,192 OpenTelemetry for Python drops the whole of ``baggage``."""

_KEY: Final = MEMBER_KEY.encode()
_OWS: Final = b" \t"
# What every parser accepts: a member that one of them refuses may cost it the whole list.
_BAGGAGE_MEMBER = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e \t]*"
)
_TRACESTATE_MEMBER = re.compile(
    rb"([a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    rb"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)


@dataclass(frozen=True, slots=True)
class Alias:
    """An id that stands for one live entry, and what its caller had in its place."""

    key: bytes
    original: bytes | int | None
    """``None``: the caller sent none."""


def take_members(value: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Split a list into what is not ours, byte for byte, and the values of our members.

    A key is ours in every spelling that some parser reads as it: in any case, percent-encoded,
    with a ``+`` for a space.
    """
    if _KEY not in value.lower() and b"%" not in value:
        return value, ()
    kept: list[bytes] = []
    ours: list[bytes] = []
    for member in value.split(b","):
        key, _, rest = member.partition(b"=")
        key, has_property, _ = key.partition(b";")
        if _is_ours(key):
            ours.append(b"" if has_property else rest.strip(_OWS))
        else:
            kept.append(member)
    return (b",".join(kept).strip(_OWS), tuple(ours)) if ours else (value, ())


def without_members(line: bytes, value: bytes) -> bytes:
    """Return the line of a list field without our members, or as it is where it has none."""
    rest, ours = take_members(value)
    return _with_value(line, rest) if ours else line


def _is_ours(key: bytes) -> bool:
    return unquote_plus(key.decode("latin-1")).strip().lower() == MEMBER_KEY


class IncomingContext:
    """What a caller's request has of these fields, cleaned of our keys, with room for a handle.

    *carriers* says in which of them a handle goes to the app. Where no destination would accept
    one, that is none, and ``without_members`` is all there is to do.
    """

    __slots__ = (
        "_aliases", "_baggage", "_carriers", "_correlation", "_random", "_request_id", "_trace_id",
        "_traceparents", "_tracestate",
    )  # fmt: skip

    def __init__(self, carriers: frozenset[CompatCarrier], random: Callable[[int], bytes]) -> None:
        self._carriers = carriers
        self._random = random
        self._baggage: list[bytes] = []
        self._correlation: list[bytes] = []
        self._tracestate: list[bytes] = []
        self._traceparents: list[bytes] = []
        self._request_id: bytes | None = None
        self._trace_id: int | None = None
        self._aliases: list[Alias] = []

    def receive(self, mark: int, line: bytes, value: bytes) -> bytes:
        """Take in one field and return the line for the app; empty where ``lines`` writes it."""
        if mark == TRACEPARENT:
            self._traceparents.append(value)
        elif mark == REQUEST_ID:
            if "request_id" not in self._carriers:
                return line
            self._request_id = value
            return b""
        elif mark != TRACE_ID:
            return self._receive_list(mark, line, value)
        return self._swap_trace_id(line, value) if "trace_id" in self._carriers else line

    def _receive_list(self, mark: int, line: bytes, value: bytes) -> bytes:
        rest, ours = take_members(value)
        if mark == TRACESTATE:
            if "tracestate" in self._carriers:
                self._tracestate.append(rest)
                return b""
        elif "baggage" in self._carriers:
            (self._baggage if mark == BAGGAGE else self._correlation).append(rest)
            return b""
        return _with_value(line, rest) if ours else line

    def _swap_trace_id(self, line: bytes, value: bytes) -> bytes:
        name = _name_of(line)
        found = read_trace_id(name, value)
        if found is None:
            return line
        if self._trace_id is None:
            # The top bit of each half is set: no format may shorten the number.
            top = 1 << 63
            self._trace_id = int.from_bytes(self._random(16)) | top | top << 64
            self._aliases.append(Alias(key_of(self._trace_id), found.number))
        return _with_value(line, with_trace_id(name, value, found, self._trace_id))

    def lines(self, handle: bytes) -> bytes:
        """Return the lines that give the app *handle* in every carrier, ours first in each list.

        Members that some parser would stumble over are left out, and so are those over
        ``MAX_MEMBERS`` and ``MAX_LIST_BYTES``: with them the app would lose all of the list.
        """
        carriers = self._carriers
        member = b"%b=%b" % (_KEY, handle)
        lines = b""
        if "baggage" in carriers:
            # .NET reads the older field only where the newer one is absent.
            older = bool(self._correlation) and not self._baggage
            name = b"correlation-context" if older else b"baggage"
            rest = self._correlation if older else self._baggage
            lines += _list_line(name, member, rest, _BAGGAGE_MEMBER)
            if self._correlation and not older:
                lines += b"correlation-context: %b\r\n" % b",".join(self._correlation)
        if "tracestate" in carriers:
            if self._is_traced():
                lines += _list_line(b"tracestate", member, self._tracestate, _TRACESTATE_MEMBER)
            elif self._tracestate:
                lines += b"tracestate: %b\r\n" % b",".join(self._tracestate)
        if "request_id" in carriers:
            minted = str(UUID(bytes=self._random(16), version=4)).encode()
            self._aliases.append(Alias(minted, self._request_id))
            lines += b"x-request-id: %b\r\n" % minted
        return lines

    def _is_traced(self) -> bool:
        """Whether an app reads ``tracestate`` at all: only beside one valid ``traceparent``."""
        return (
            len(self._traceparents) == 1
            and _TRACEPARENT.fullmatch(self._traceparents[0]) is not None
        )

    @property
    def aliases(self) -> tuple[Alias, ...]:
        """The ids that stand for the handle; complete once ``lines`` were made."""
        return tuple(self._aliases)


def _list_line(name: bytes, ours: bytes, lists: list[bytes], pattern: re.Pattern[bytes]) -> bytes:
    kept = [ours]
    seen: set[bytes] = set()
    length = 0
    for member in b",".join(lists).split(b",") if lists else ():
        match = pattern.fullmatch(member.strip(_OWS))
        if match is None or match[1] in seen:
            continue
        length += len(member) + 1
        if len(kept) > MAX_MEMBERS or length > MAX_LIST_BYTES:
            break
        seen.add(match[1])
        kept.append(member)
    return b"%b: %b\r\n" % (name, b",".join(kept))


class Carried(NamedTuple):
    """What one field of a message from the app says, and the line without it."""

    line: bytes
    keys: tuple[bytes, ...] = ()
    """What stands for an entry; more than one in a list is no evidence but a fault."""


def carried_back(
    mark: int, line: bytes, value: bytes, original: Callable[[bytes], Alias | None]
) -> Carried:
    """Read one field of an outbound request; other members and ids stay byte for byte.

    *original* finds the alias of a live entry, so that the caller's own id goes out again. A
    request id that the caller did not send goes out as none.
    """
    if mark in LISTS:
        rest, ours = take_members(value)
        return Carried(_with_value(line, rest) if ours else line, ours)
    if mark == REQUEST_ID:
        alias = original(value)
        if alias is None:
            return Carried(line, (value,))
        sent = alias.original if isinstance(alias.original, bytes) else b""
        return Carried(_with_value(line, sent), (value,))
    name = _name_of(line)
    found = read_trace_id(name, value)
    if found is None:
        return Carried(line)
    key = key_of(found.number)
    alias = original(key)
    if alias is None or not isinstance(alias.original, int):
        return Carried(line, (key,))
    return Carried(_with_value(line, with_trace_id(name, value, found, alias.original)), (key,))


def _name_of(line: bytes) -> bytes:
    return folded(line[: line.find(b":")].lower())


def _with_value(line: bytes, value: bytes) -> bytes:
    return b"%b: %b\r\n" % (line[: line.find(b":")], value) if value else b""
