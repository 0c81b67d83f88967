"""Ask the embedded provider's token endpoint over real HTTP."""

from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
import jwt

from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.users import Service

Fields = Mapping[str, str] | Iterable[tuple[str, str]]


async def ask(
    provider: IdentityProvider,
    form: Fields,
    *,
    client: Service | None = None,
    **options: Any,
) -> tuple[int, dict[str, Any]]:
    """Post *form*, as *client* with its secret, and return status and JSON of the answer."""
    fields = [*(form.items() if isinstance(form, Mapping) else form)]
    if client is not None:
        fields += [("client_id", client.client_id), ("client_secret", client.client_secret)]
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
        session.post(provider.token_url, data=aiohttp.FormData(fields), **options) as answer,
    ):
        return answer.status, await answer.json()


def claims(token: str) -> dict[str, Any]:
    """Return what *token* says, unchecked."""
    said: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return said
