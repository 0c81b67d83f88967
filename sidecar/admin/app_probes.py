"""``/app-probe/<n>``: the kubelet's question to the app, asked by us over loopback.

An app that listens on loopback only cannot be probed from outside, and the sidecar's inbound port
asks for a token. So each of the app's own probes becomes a relay with one method, one port and one
path. Whoever can reach the admin port learns a status, which is why nothing else comes back, and
nothing of what they send goes on: neither fields nor query nor content.

It judges as the kubelet does: certificates are not verified, as the peer is a neighbour on
loopback and its certificate could not say ``127.0.0.1`` anyway. It differs in one point:
redirections are not followed, and count as the success that a 3xx is.
"""

import asyncio
import os
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response

from sidecar.admin.serving import Route, text
from sidecar.config.model import Address, AppProbe

PATH: Final = "/app-probe/"
SHARED_SECONDS: Final = 0.2
"""How long an answer stands for whoever asks next: this, and not those who ask, decides how often
the app is asked."""
MAX_HEAD_BYTES: Final = 32 * 1024
MAX_INTERIM: Final = 4
MAX_CONTENT_BYTES: Final = 10 * 1024
"""Read so that the app is not cut off in its answer; the kubelet reads as much."""
_CONTENT_SECONDS: Final = 0.05

_BAD_GATEWAY: Final = 502
_GATEWAY_TIMEOUT: Final = 504
_WITHOUT_CONTENT: Final = frozenset({204, 205, 304})
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])(?: [^\r\n]*)?\r\n")
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length:[ \t]*([0-9]{1,12})[ \t]*\r\n")

Answer = tuple[int, str]


def app_probe_routes(
    probes: Sequence[AppProbe], host: str, *, clock: Callable[[], float]
) -> Mapping[str, Route]:
    """Return what answers by path. *host* is the loopback address on which the app listens."""
    return {
        f"{PATH}{number}": _route(f"{PATH}{number}", _Relay(probe, host, clock))
        for number, probe in enumerate(probes)
    }


def _route(path: str, relay: "_Relay") -> Route:
    async def answer(request: BaseRequest) -> Response:
        # As it was sent: no query, and no other spelling that only decoding makes this path.
        if request.raw_path != path:
            return text(404, "not found\n")
        status, line = await relay.answer()
        return text(status, "" if status in _WITHOUT_CONTENT else line)

    return Route(answer, ("GET",))


class _Relay:
    """One probe. However many ask, the app is asked by one at a time."""

    def __init__(self, probe: AppProbe, host: str, clock: Callable[[], float]) -> None:
        self._probe = probe
        self._address = Address(host, probe.port)
        self._clock = clock
        self._latest: Answer = (_BAD_GATEWAY, "")
        self._stands_until = float("-inf")
        self._asking: asyncio.Future[Answer] | None = None
        self._request = _request(probe, self._address)
        self._tls = _unverified() if probe.scheme == "https" else None

    async def answer(self) -> Answer:
        if self._asking is not None:
            return await asyncio.shield(self._asking)
        if self._clock() < self._stands_until:
            return self._latest
        self._asking = asyncio.get_running_loop().create_future()
        answer = _BAD_GATEWAY, "asking the app was broken off\n"
        try:
            answer = await self._ask()
        finally:
            self._latest, self._stands_until = answer, self._clock() + SHARED_SECONDS
            self._asking.set_result(answer)
            self._asking = None
        return answer

    async def _ask(self) -> Answer:
        seconds = self._probe.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange()
        except TimeoutError:
            return _GATEWAY_TIMEOUT, f"the app did not answer within {seconds:g} s\n"
        except ssl.SSLError:
            return _BAD_GATEWAY, "the app cannot be reached: no TLS there\n"
        except OSError as error:
            cause = os.strerror(error.errno) if error.errno else "no connection"
            return _BAD_GATEWAY, f"the app cannot be reached: {cause}\n"
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            return _BAD_GATEWAY, "what the app answers is no HTTP\n"

    async def _exchange(self) -> Answer:
        reader, writer = await asyncio.open_connection(
            self._address.host, self._address.port, ssl=self._tls, limit=MAX_HEAD_BYTES
        )
        try:
            if self._probe.tcp:
                return 200, "the app accepts connections\n"
            writer.write(self._request)
            status, head = await _final_head(reader)
            await _take_content(reader, head)
        finally:
            writer.close()
        return status, f"the app answers {status}\n"


def _request(probe: AppProbe, address: Address) -> bytes:
    fields = {
        "host": f"Host: {address}",
        "user-agent": "User-Agent: kube-probe/jwt-sidecar",  # which many leave out of their logs
        "accept": "Accept: */*",
        **{name.lower(): f"{name}: {value}" for name, value in probe.headers},
        "connection": "Connection: close",
    }
    lines = [f"GET {probe.path} HTTP/1.1", *fields.values(), "", ""]
    return "\r\n".join(lines).encode("ascii")


async def _final_head(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    for _ in range(MAX_INTERIM):
        head = await reader.readuntil(b"\r\n\r\n")
        match = _STATUS_LINE.match(head)
        if match is None or head.startswith(b"HTTP/1.1 101"):
            raise ValueError
        status = int(match[1])
        if status >= 600:
            raise ValueError
        if status >= 200:
            return status, head
    raise ValueError


async def _take_content(reader: asyncio.StreamReader, head: bytes) -> None:
    """Read what there is, for a moment: the status is known, and nobody waits for the rest."""
    length = _LENGTH.search(head)
    wanted = MAX_CONTENT_BYTES if length is None else min(int(length[1]), MAX_CONTENT_BYTES)
    with suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
        async with asyncio.timeout(_CONTENT_SECONDS):
            await reader.readexactly(wanted)


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
