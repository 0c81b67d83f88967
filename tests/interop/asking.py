"""Ask a token endpoint by plain HTTP: what a server does is to be known apart from the sidecar."""

import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from sidecar.testbed.client_authentication import ASSERTION_TYPE
from sidecar.testbed.grants import ACCESS_TOKEN, TOKEN_EXCHANGE
from sidecar.testbed.signing_key import SigningKey
from tests.interop.issuer import claims_of

OWN: Final = {"grant_type": "client_credentials"}


async def ask_token(
    url: str, form: Mapping[str, str], *, secret_of: str = "", **options: Any
) -> tuple[int, dict[str, Any]]:
    """Post *form*, as the client *secret_of* with its secret; return status and JSON."""
    if secret_of:
        basic = aiohttp.encode_basic_auth(secret_of, f"{secret_of}-secret")
        options["headers"] = {"authorization": basic}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
        session.post(url, data=form, **options) as answer,
    ):
        return answer.status, await answer.json()


def exchange(subject_token: str, **others: str) -> dict[str, str]:
    """Return the form of a token exchange (RFC 8693)."""
    return {
        "grant_type": TOKEN_EXCHANGE,
        "subject_token": subject_token,
        "subject_token_type": ACCESS_TOKEN,
        **others,
    }


def signed_by(key: SigningKey, audience: str) -> dict[str, str]:
    """Return what the client called as its *key* adds to a form (RFC 7523, section 2.2)."""
    now = int(time.time())
    claims = {
        "iss": key.kid,
        "sub": key.kid,
        "aud": audience,
        "iat": now,
        "exp": now + 60,
        "jti": secrets.token_hex(8),
    }
    return {
        "client_id": key.kid,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": key.sign(claims),
    }


def said(answer: Mapping[str, Any], *names: str) -> tuple[object, ...]:
    """Return the claims *names* of the token in *answer*."""
    claims = claims_of(answer["access_token"])
    return tuple(claims.get(name) for name in names)
