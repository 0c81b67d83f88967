"""An origin that reads with h11 and forgives nothing: what reaches it must be well-formed."""

import h11

from tests.support.wire_peer import Peer


class StrictOrigin:
    """Script: record every request that arrives whole, answer it with its target."""

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]] = []
        """Method, target, fields, content."""
        self.violations: list[str] = []

    async def __call__(self, peer: Peer) -> None:
        reader = h11.Connection(h11.SERVER)
        request: h11.Request | None = None
        content = b""
        while True:
            try:
                event = reader.next_event()
            except h11.RemoteProtocolError as error:
                if reader.trailing_data[0] or request is None:
                    self.violations.append(str(error))
                return  # the proxy gave up an upload: allowed
            if event is h11.NEED_DATA:
                reader.receive_data(await peer.some())
            elif isinstance(event, h11.Request):
                request, content = event, b""
            elif isinstance(event, h11.Data):
                content += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                await self._answer(peer, request, content)
                reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                reader.send(h11.EndOfMessage())
                reader.start_next_cycle()
                request = None
            else:
                return

    async def _answer(self, peer: Peer, request: h11.Request, content: bytes) -> None:
        fields = [(bytes(name), bytes(value)) for name, value in request.headers]
        self.requests.append((bytes(request.method), bytes(request.target), fields, content))
        body = b"" if request.method == b"HEAD" else bytes(request.target)
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request.target), body)
        )
