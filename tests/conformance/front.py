"""A real ``sidecar run`` between a raw client and strict backends, and what becomes of raw bytes.

One process serves all cases of a module, one after the other, so that whatever a case leaves behind
is there when the next one comes. After each case two innocent requests follow: one on the same
connection where that is still open, one from somebody else, which takes the same connection to the
backend. Each must arrive unchanged and get the answer to itself.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.testbed.processes import sidecar
from sidecar.testbed.token_mint import TokenMint
from tests.support.strict_backend import Received, StrictBackend, whole_requests
from tests.support.wire_peer import Message, Peer, connected

LIMITS = "{header_timeout: 400ms, body_timeout: 400ms, idle_timeout: 2s}"
"""How long the sidecar waits for the rest of a message: cases that lack it take this long."""

CONFIGURATION = """\
version: 1
issuers:
  main:
    issuer: https://issuer.example
    audiences: [app]
    algorithms: [ES256]
    jwks_file: {jwks}
inbound:
  listen: 127.0.0.1:0
  app: http://127.0.0.1:{app}
  rules:
    - paths: [/**]
      require: authenticated
  reuse_after_content: true
  limits: {limits}
outbound:
  destinations:
    store:
      listen: 127.0.0.1:0
      upstream: http://127.0.0.1:{destination}
      token: none
      without_context: anonymous
      app_credentials: keep
      limits: {limits}
admin:
  listen: 127.0.0.1:0
log: {{access: "off", level: error}}
"""

INNOCENT_FIELDS = (b"host", b"x-innocent")


@dataclass
class Outcome:
    """What became of a case."""

    answers: list[Message]
    forwarded: list[Received]
    """Requests that reached the backend whole."""
    has_ended: bool
    """The sidecar closed the connection, without an innocent request being sent on it."""

    @property
    def kind(self) -> str:
        """``forward``, ``reject`` or ``close``, in the words of the public cases."""
        return "forward" if self.forwarded else "reject" if self.answers else "close"

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]

    @property
    def reason(self) -> str:
        """The code of our refusal, empty where there is none."""
        reasons = [answer.get(b"x-sidecar-reason") for answer in self.answers]
        return b"".join(each for each in reasons if each).decode()


@dataclass
class Side:
    """One listener of the sidecar and the backend behind it."""

    address: tuple[str, int]
    backend: StrictBackend
    authorization: bytes
    """The line that lets a request pass, empty where none is needed."""
    _innocents: int = 0
    _usual_names: set[bytes] = field(default_factory=set)

    def fill(self, raw: bytes) -> bytes:
        """Put the host and the caller's token where *raw* has ``{H}`` and ``{A}``."""
        host = b"localhost:%d" % self.address[1]
        return raw.replace(b"{H}", host).replace(b"{A}", self.authorization)

    async def run(self, raw: bytes) -> Outcome:
        """Send *raw*, read what comes back, then let the innocent follow."""
        before = len(self.backend.received)
        methods = whole_requests(raw.removeprefix(b"\r\n"))
        async with connected(*self.address) as client:
            await client.send(raw)
            answers, has_ended = await _read_answers(client, methods)
            forwarded = self.backend.received[before:]
            followers = [] if has_ended else [await self.innocent(client)]
        async with connected(*self.address) as somebody_else:
            followers.append(await self.innocent(somebody_else))
        if forwarded:  # and answered: that connection is the first one to be used again
            assert {each.connection for each in followers} == {forwarded[-1].connection}
        self.check_faults()
        return Outcome(answers, forwarded, has_ended)

    async def innocent(self, client: Peer) -> Received:
        """Have an innocent request answered; return it as it arrived, which is unchanged."""
        self._innocents += 1
        target = b"/innocent/%d" % self._innocents
        before = len(self.backend.received)
        await client.send(
            b"GET %b HTTP/1.1\r\nHost: localhost\r\nX-Innocent: %d\r\n%b\r\n"
            % (target, self._innocents, self.authorization)
        )
        answer = await client.message()
        assert (answer.status, answer.body) == (200, b"GET " + target), answer
        (request,) = self.backend.received[before:]
        assert (request.method, request.target, request.body) == (b"GET", target, b"")
        assert request.all(b"x-innocent") == [b"%d" % self._innocents]
        self._usual_names = self._usual_names or request.names
        assert request.names == self._usual_names
        return request

    def check_faults(self) -> None:
        """Assert that the backend had nothing to complain of since this was asked last."""
        faults, self.backend.faults = self.backend.faults, []
        assert faults == []

    def check(self) -> None:
        """What no case may have left behind."""
        self.check_faults()
        self.backend.check_with_h11()


@dataclass
class Front:
    """The running sidecar, from both directions."""

    inbound: Side
    outbound: Side


async def _read_answers(client: Peer, methods: list[bytes] | None) -> tuple[list[Message], bool]:
    """Read the answers to requests with *methods*, or all there are until the sidecar closes."""
    answers: list[Message] = []
    while methods is None or len(answers) < len(methods):
        head_only = methods is not None and methods[len(answers)] == b"HEAD"
        try:
            answer = await client.message(head_only=head_only)
        except asyncio.IncompleteReadError as error:
            if error.partial:  # something that is no whole answer
                raise
            return answers, True
        if answer.status in (100, 102, 103):  # the final one follows
            continue
        answers.append(answer)
        if answer.get(b"connection") == b"close":
            rest = await client.rest()
            assert rest == b"" or head_only, rest
            return answers, True
    return answers, False


@asynccontextmanager
async def front(directory: Path) -> AsyncIterator[Front]:
    """Run a sidecar with a strict app behind it and a strict destination."""
    mint = TokenMint("https://issuer.example", audience=["app"], algorithms=("ES256",))
    jwks = directory / "jwks.json"
    jwks.write_text(json.dumps(mint.jwks()))
    app, destination = StrictBackend(), StrictBackend()
    async with app.running(), destination.running():
        configuration = directory / "sidecar.yaml"
        configuration.write_text(
            CONFIGURATION.format(
                jwks=jwks,
                app=app.port,
                destination=destination.port,
                limits=LIMITS,
            )
        )
        async with sidecar("conformance", configuration) as running:
            token = mint.token("alice").encode()
            yield Front(
                Side(
                    _address(running.listener("inbound")),
                    app,
                    b"Authorization: Bearer %b\r\n" % token,
                ),
                Side(_address(running.listener("outbound")), destination, b""),
            )


def _address(text: str) -> tuple[str, int]:
    host, port = re.fullmatch(r"(.+):(\d+)", text).groups()  # type: ignore[union-attr]
    return host, int(port)
