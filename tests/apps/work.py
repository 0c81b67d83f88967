"""What an app does for a request: call out in some style, by some client."""

import http.client
from urllib.parse import parse_qs, urlsplit


def respond(target: str) -> tuple[int, bytes]:
    """Serve ``/<style>/<client>?out=<url>``."""
    parts = urlsplit(target)
    if parts.path != "/direct/http_client":
        return 404, b""
    call(parse_qs(parts.query)["out"][0])
    return 200, b"ok"


async def respond_async(target: str) -> tuple[int, bytes]:
    return respond(target)


def call(url: str) -> None:
    parts = urlsplit(url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.request("GET", parts.path)
    connection.getresponse().read()
    connection.close()
