"""What a call says about the request that caused it, and what of it may not leave the pod."""

from collections.abc import Callable, Mapping
from typing import Final

from sidecar.core.attribution import Claim, Evidence, Method, is_handle
from sidecar.core.bearer import read_bearer
from sidecar.core.headers import AUTHORIZATION, CARRIER, CONTEXT, RESERVED
from sidecar.core.propagation import (
    BAGGAGE,
    CORRELATION,
    FIRST_MARK,
    LISTS,
    REQUEST_ID,
    TRACE_ID,
    TRACEPARENT,
    TRACESTATE,
    Alias,
    carried_back,
)
from sidecar.wire.fields import HOST
from sidecar.wire.heads import RequestHead

_METHODS: Final[Mapping[int, Method]] = {
    BAGGAGE: "baggage",
    CORRELATION: "baggage",
    TRACESTATE: "tracestate",
    REQUEST_ID: "request_id",
    TRACEPARENT: "trace_id",
    TRACE_ID: "trace_id",
}


def take_out(
    head: RequestHead, original: Callable[[bytes], Alias | None], *, swaps_ids: bool
) -> Evidence:
    """Drop handles, reserved names and Host from *head*; return what it says about its cause.

    *original* knows the ids that callers had in place of ours, which the app may send where it
    *swaps_ids*. An ``Authorization`` stays: whether it may is decided later.
    """
    authorization: tuple[bytes, ...] = ()
    context: tuple[bytes, ...] = ()
    carrier: tuple[bytes, ...] = ()
    claims: tuple[Claim, ...] = ()
    fault = ""
    listed = 0  # bits of the list fields that had our member already
    for mark, index, value in head.marked:
        line = b""
        if mark == CONTEXT:
            context += (value,)
        elif mark == CARRIER:
            carrier += (value,)
        elif mark == AUTHORIZATION:
            authorization += (value,)
            continue
        elif mark >= FIRST_MARK:
            if not swaps_ids and mark not in LISTS:
                continue
            line, keys = carried_back(mark, head.lines[index], value, original)
            if keys:
                method = _METHODS[mark]
                claims += tuple(Claim(method, key) for key in keys)
                if mark <= TRACESTATE:
                    if len(keys) > 1 or listed & 1 << mark:
                        fault = f"our member was more than once in {method}"
                    listed |= 1 << mark
        elif mark not in (RESERVED, HOST):
            continue
        head.lines[index] = line
    statement: bytes | None = None
    if authorization:
        token = read_bearer(authorization)
        if isinstance(token, bytes) and is_handle(token):
            claims = (Claim("placeholder", token), *claims)
        else:
            statement = token if isinstance(token, bytes) else b""
    return Evidence(context, carrier, claims, statement, fault)
