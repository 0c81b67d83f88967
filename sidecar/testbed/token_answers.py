"""The answers of the embedded identity provider as HTTP, right ones and those of a fault."""

from collections.abc import Mapping
from typing import Any, Final, assert_never

from aiohttp import web

from sidecar.testbed.grants import ACCESS_TOKEN, TRANSACTION_TOKEN, Grant
from sidecar.testbed.opaque_tokens import OpaqueTokens
from sidecar.testbed.token_errors import TokenError
from sidecar.testbed.token_faults import Cut, Faults, Instead, Page, Refusal, Status
from sidecar.testbed.token_mint import ABSENT, TokenMint

NOT_STORED: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749, section 5.1
_PAGE: Final = "<!doctype html><title>Sign in</title><p>You are not connected."


def granted(
    grant: Grant, faults: Faults, *, now: float, mint: TokenMint, opaque: OpaqueTokens | None
) -> web.Response:
    """Issue the token of *grant*; *opaque* issues what need not be a JWT."""
    ends = int(now) + int(mint.lifetime_seconds)
    if grant.latest_end is not None:
        ends = min(ends, int(grant.latest_end))
    claims: dict[str, Any] = {**grant.claims, "exp": ends, **faults.claims}
    subject = str(claims.pop("sub", grant.subject))
    answer: dict[str, object] = {"token_type": "Bearer", "expires_in": ends - int(now)}
    if grant.scope:
        answer["scope"] = grant.scope
    if grant.is_exchanged:
        answer["issued_token_type"] = grant.token_type
    if grant.token_type == TRANSACTION_TOKEN:
        answer["access_token"] = mint.typed("txntoken+jwt", subject, **claims)
        answer["token_type"] = "N_A"  # noqa: S105 - it is none (RFC 8693, section 2.2.1)
    elif grant.token_type == ACCESS_TOKEN and opaque is not None:
        answer["access_token"] = opaque.issue(subject, **claims)
    else:
        answer["access_token"] = mint.token(subject, **claims)
    return web.json_response(_changed(answer, faults.answer), headers=NOT_STORED)


def _changed(answer: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in {**answer, **changes}.items() if value is not ABSENT}


def refused(error: TokenError) -> web.Response:
    """Answer *error*."""
    challenge = {"WWW-Authenticate": 'Basic realm="token"'} if error.basic else {}
    return web.json_response(
        {"error": error.code, "error_description": error.description},
        status=error.status,
        headers={**NOT_STORED, **challenge},
    )


def wrong(fault: Instead, request: web.Request) -> web.Response:
    """Answer *request* with what *fault* says."""
    match fault:
        case Status(code, retry_after):
            headers = {"Retry-After": retry_after} if retry_after else {}
            return web.Response(status=code, headers=headers)
        case Page():
            return web.Response(text=_PAGE, content_type="text/html")
        case Cut():
            if request.transport is not None:
                request.transport.abort()
            return web.Response()  # goes nowhere
        case Refusal(code, status):
            return refused(TokenError(code, "it was told to refuse", status))
        case never:
            assert_never(never)
