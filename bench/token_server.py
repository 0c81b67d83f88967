"""A token endpoint that always gives the same token (RFC 8693), on a loop in a thread of its own.

A sidecar asks it once and then has the token at hand: what is measured is having it.
"""

import asyncio
import json
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

_CONTENT_LENGTH: Final = b"content-length:"


class TokenServer:
    """Serves from ``with`` to its end; knows how often it was asked."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.asked = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/token"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(_CONTENT_LENGTH)[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or b"0"))
            self.asked += 1
            body = json.dumps(
                {
                    "access_token": self.token,
                    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                    "token_type": "Bearer",
                    "expires_in": 86_400,
                }
            ).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
                b"content-length: %d\r\n\r\n%b" % (len(body), body)
            )
            await writer.drain()
        writer.close()

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        await asyncio.sleep(0)
