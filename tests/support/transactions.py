"""Transaction tokens of a synthetic trust domain: right ones, and wrong in any one way."""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sidecar.config.model import Address
from sidecar.testbed.token_mint import ABSENT, TokenMint
from tests.support.pod import AUDIENCE, TRUST_DOMAIN

TTS = "https://tts.shop.example"


class TransactionMint(TokenMint):
    """The token service of the trust domain. Its tokens have no ``iss``, as the draft lets them.

    It can be an authorization server at the same time, which ``token`` gives access tokens.
    """

    def __init__(self) -> None:
        super().__init__(TTS, audience=[AUDIENCE], algorithms=("ES256",))

    def transaction(
        self, subject: str, *, header: Mapping[str, Any] | None = None, **changes: object
    ) -> str:
        """Return one for *subject*; *changes* replace or (``ABSENT``) remove what it says."""
        now = int(time.time())
        claims: dict[str, object] = {
            "iat": now,
            "aud": TRUST_DOMAIN,
            "exp": now + 60,
            "txn": secrets.token_hex(8),
            "sub": subject,
            "scope": "trade.stocks",
            "req_wl": "apigateway.shop.example",
            "tctx": {"action": "BUY", "ticker": "MSFT"},
            **changes,
        }
        said = {name: value for name, value in claims.items() if value is not ABSENT}
        return self._key("").sign(said, header={"typ": "txntoken+jwt", **(header or {})})


async def raw_answer(
    address: Address, lines: Sequence[bytes], body: bytes = b""
) -> tuple[int, str]:
    """Send a GET with *lines*, byte for byte; return status and reason of the answer."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            head = b"".join(line + b"\r\n" for line in lines)
            writer.write(
                b"GET /users/alice HTTP/1.1\r\nhost: x\r\nconnection: close\r\n%b\r\n%b"
                % (head, body)
            )
            answer, _, _ = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
    status, *fields = answer.decode("latin-1").split("\r\n")
    reasons = [f.partition(": ")[2] for f in fields if f.startswith("x-sidecar-reason")]
    return int(status.split(" ")[1]), "".join(reasons)
