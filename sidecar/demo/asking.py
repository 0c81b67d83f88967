"""One call of a person on the tour, and its answer read to the end."""

from dataclasses import dataclass
from typing import Any

from sidecar.core.names import REASON_HEADER
from sidecar.demo.answers import document, problem_reason
from sidecar.demo.stage import Stage
from sidecar.testbed.users import User


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer."""

    status: int
    reason: str
    """Of a refusal by the sidecar that was called, from its header; else empty."""
    challenge: str
    """``WWW-Authenticate``; empty where there is none."""
    document: dict[str, Any]

    def __str__(self) -> str:
        further_on = problem_reason(self.document.get("answer"))
        reason = self.reason or (f"({further_on} further on)" if further_on else "")
        return f"{self.status} {reason}".rstrip()


async def ask(stage: Stage, url: str, token: str | None = None, method: str = "GET") -> Answer:
    """Make one call, with *token* if there is one. Raises ``aiohttp.ClientError``."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with stage.client.request(method, url, headers=headers) as response:
        return Answer(
            status=response.status,
            reason=response.headers.get(REASON_HEADER, ""),
            challenge=response.headers.get("WWW-Authenticate", ""),
            document=document(await response.read()),
        )


async def fetch_token(stage: Stage, user: User) -> str:
    """Get a token of *user* from the identity provider's token endpoint."""
    form = {"grant_type": "password", "username": user.name, "password": user.password}
    async with stage.client.post(stage.provider.token_url, data=form) as response:
        response.raise_for_status()
        token: str = (await response.json())["access_token"]
        return token
