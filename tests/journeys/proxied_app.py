"""An app whose HTTP clients are told of a proxy by the environment, as operators do it.

``/users/x?client=…&proxy=…&url=…`` calls *url* with *client* and answers with what it got.
"""

import http.server
import os
import urllib.request
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit


def by_urllib(url: str) -> int:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return int(answer.status)


def by_requests(url: str) -> int:
    import requests

    return int(requests.get(url, timeout=20).status_code)


def by_httpx(url: str) -> int:
    import httpx

    with httpx.Client(timeout=20) as client:
        return int(client.get(url).status_code)


CLIENTS: dict[str, Callable[[str], int]] = {
    "urllib": by_urllib,
    "requests": by_requests,
    "httpx": by_httpx,
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        os.environ["http_proxy"] = query["proxy"]
        try:
            status, text = CLIENTS[query["client"]](query["url"]), ""
        except Exception as error:
            status, text = 599, repr(error)
        body = f"{status} {text}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
