"""user-service: an ordinary HTTP service that asks profile-service about a user.

It imports the standard library alone and calls ``http://localhost:9001`` (or ``PROFILES_URL``)
as if nobody stood in between.

    GET  /healthz           alive
    GET  /users/{id}        a user, with what profile-service said
    POST /reports           start a thread that asks profile-service when this request is over
    GET  /reports/last      what that thread saw
    GET  /warmup            what a thread started at start-up saw (with WARM_UP=1)
"""

import argparse
import json
import os
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote
from urllib.request import urlopen

PROFILES_URL = os.environ.get("PROFILES_URL", "http://localhost:9001")
_TIMEOUT_SECONDS = 5


def ask_profile_service(user: str) -> tuple[int, object]:
    """Return the status and the document of its answer; 502 when there was none."""
    url = f"{PROFILES_URL}/profiles/{quote(user, safe='')}"
    try:
        with urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - http, as configured
            return answer.status, json.load(answer)
    except HTTPError as refusal:
        with refusal:
            return refusal.code, _document(refusal.read())
    except (URLError, OSError) as error:
        return 502, {"title": f"profile-service did not answer: {error}"}


def _document(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


class BackgroundCall:
    """One call to profile-service from a thread of its own, and what came of it."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._seen: dict[str, object] = {}

    def start(self, user: str, *, delay_seconds: float = 0) -> None:
        threading.Thread(target=self._run, args=(user, delay_seconds), daemon=True).start()

    def seen(self) -> dict[str, object]:
        """Wait for the call to end, and return the status and document it got."""
        self._done.wait(_TIMEOUT_SECONDS)
        return self._seen or {"title": "nothing yet"}

    def _run(self, user: str, delay_seconds: float) -> None:
        time.sleep(delay_seconds)
        status, document = ask_profile_service(user)
        self._seen = {"status": status, "answer": document}
        self._done.set()


class Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests, one after the other, in a thread of its own."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: "Server"

    def do_GET(self) -> None:
        match self.path.strip("/").split("/"):
            case ["healthz"]:
                self._answer(200, {"status": "ok"})
            case ["users", user]:
                self._user(unquote(user))
            case ["reports", "last"] if self.server.report is not None:
                self._answer(200, self.server.report.seen())
            case ["warmup"] if self.server.warm_up is not None:
                self._answer(200, self.server.warm_up.seen())
            case _:
                self._answer(404, {"error": "there is nothing here"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path != "/reports":
            self._answer(404, {"error": "there is nothing here"})
            return
        report = BackgroundCall()
        self.server.report = report
        self._answer(202, {"report": "started"})
        report.start("alice", delay_seconds=0.05)

    def _user(self, user: str) -> None:
        time.sleep(random.uniform(0.005, 0.050))  # noqa: S311 - pretends to work
        status, document = ask_profile_service(user)
        if status == 200:
            self._answer(200, {"user": user, "profile": document, **self._asked_by()})
        else:
            error = f"profile-service answered {status}"
            self._answer(502, {"user": user, "error": error, "status": status, "answer": document})

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
    """A thread for each connection, and what its background calls came to."""

    daemon_threads = True
    request_queue_size = 128
    report: BackgroundCall | None = None
    warm_up: BackgroundCall | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description="An ordinary service that knows users.")
    parser.add_argument("--port", type=int, default=8080, help="0: the kernel chooses")
    with Server(("127.0.0.1", parser.parse_args().port), Handler) as server:
        print(f"user-service: listening on 127.0.0.1:{server.server_port}", flush=True)
        if os.environ.get("WARM_UP") == "1":
            server.warm_up = BackgroundCall()
            server.warm_up.start("alice")
        server.serve_forever()


if __name__ == "__main__":
    main()
