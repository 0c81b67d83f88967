"""A service without auth code that asks the next one, as ordinary services do.

Run as a program: it prints its port, then reads the URL of the next service from standard input,
an empty line if there is none. With ``relay`` as an argument it passes ``Authorization`` on by
itself, as a Feign interceptor or a TokenRelay filter does.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import Request, urlopen

RELAYS = "relay" in sys.argv[1:]
next_url = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        status, document = self.ask() if next_url else (200, self.seen())
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def ask(self) -> tuple[int, object]:
        request = Request(next_url + self.path)
        if RELAYS and "Authorization" in self.headers:
            request.add_header("Authorization", self.headers["Authorization"])
        try:
            with urlopen(request, timeout=10) as answer:
                return answer.status, [self.seen(), *json.load(answer)]
        except HTTPError as refusal:
            return refusal.code, [self.seen(), {"reason": refusal.headers["x-sidecar-reason"]}]

    def seen(self) -> object:
        seen = {
            "path": self.path,
            "subject": self.headers["x-auth-subject"],
            "authorization": self.headers["Authorization"],
        }
        return seen if next_url else [seen]

    def log_message(self, *_: object) -> None:
        """Stay silent."""


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    next_url = sys.stdin.readline().strip()
    server.serve_forever()
