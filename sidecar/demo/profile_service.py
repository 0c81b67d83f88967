"""profile-service: an ordinary HTTP service that answers with what it knows of a user.

It imports the standard library alone. Who calls, it learns from the ``x-auth-*`` fields of the
request, and repeats them in its answers so that others can look.

    GET /healthz            alive
    GET /profiles/{id}      a profile, and who asked for it
    GET /admin/profiles     how many profiles were read
"""

import argparse
import itertools
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

_reads = itertools.count(1)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests, one after the other, in a thread of its own."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def do_GET(self) -> None:
        match self.path.strip("/").split("/"):
            case ["healthz"]:
                self._answer(200, {"status": "ok"})
            case ["profiles", user]:
                profile = {"id": unquote(user), "read": next(_reads)}
                self._answer(200, {**profile, **self._asked_by()})
            case ["admin", "profiles"]:
                self._answer(200, {"admin": "profiles", **self._asked_by()})
            case _:
                self._answer(404, {"error": "there is nothing here"})

    def _asked_by(self) -> dict[str, object]:
        names = sorted(name.lower() for name in self.headers)
        identity = {name: self.headers[name] for name in names if name.startswith("x-auth-")}
        return {"asked_by": identity, "fields_received": names}

    def _answer(self, status: int, document: dict[str, object]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Stay silent: the sidecar writes the access log."""


class Server(ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    parser = argparse.ArgumentParser(description="An ordinary service that knows profiles.")
    parser.add_argument("--port", type=int, default=8081, help="0: the kernel chooses")
    with Server(("127.0.0.1", parser.parse_args().port), Handler) as server:
        print(f"profile-service: listening on 127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
