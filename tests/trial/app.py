"""An app without auth code that calls out in one of several ways, right and wrong ones.

    python -m tests.trial.app WAY

It listens on ``PORT`` and calls ``DESTINATION_PROFILES``, as the trial tells it.
"""

import http.server
import os
import queue
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import ClassVar

DESTINATION = os.environ.get("DESTINATION_PROFILES", "")
CONTEXT = "x-sidecar-context"
WAYS: dict[str, Callable[["Handler", str], int]] = {}


def way(function: Callable[["Handler", str], int]) -> Callable[["Handler", str], int]:
    WAYS[function.__name__] = function
    return function


def call(path: str, **headers: str) -> int:
    """Call the destination and return its status."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(DESTINATION + path, headers=fields)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            refusal.read()
            return refusal.code
    except OSError:
        return 502


@way
def right(_: "Handler", user: str) -> int:
    """In the frame of the request, by the carrier."""
    return call(f"/profiles/{user}")


@way
def by_hand(handler: "Handler", user: str) -> int:
    """As who has no carrier may do it."""
    return call(f"/profiles/{user}", x_sidecar_context=handler.headers[CONTEXT])


@way
def first_for_all(handler: "Handler", user: str) -> int:
    """Remember the first handle and send it with everybody's calls."""
    handler.remembered.setdefault("first", handler.headers[CONTEXT])
    return call(f"/profiles/{user}", x_sidecar_context=handler.remembered["first"])


@way
def lazy_worker(handler: "Handler", user: str) -> int:
    """The first request starts a worker that makes everybody's second call."""
    with handler.lock:
        if "worker" not in handler.remembered:
            handler.remembered["worker"] = handler.headers[CONTEXT]
            threading.Thread(target=_work, args=(handler.jobs,), daemon=True).start()
    done = queue.SimpleQueue[int]()
    handler.jobs.put((user, handler.remembered["worker"], done))
    direct = call(f"/direct/{user}", x_sidecar_context=handler.headers[CONTEXT])
    return max(direct, done.get())


def _work(jobs: "queue.SimpleQueue[tuple[str, str, queue.SimpleQueue[int]]]") -> None:
    while True:
        user, handle, done = jobs.get()
        if WAY == "lazy_worker_carried":
            done.put(call(f"/profiles/{user}"))
        else:
            done.put(call(f"/profiles/{user}", x_sidecar_context=handle))


WAYS["lazy_worker_carried"] = lazy_worker


@way
def only_by_worker(handler: "Handler", user: str) -> int:
    """The same, with no call of the request's own."""
    with handler.lock:
        if "worker" not in handler.remembered:
            handler.remembered["worker"] = handler.headers[CONTEXT]
            threading.Thread(target=_work, args=(handler.jobs,), daemon=True).start()
    done = queue.SimpleQueue[int]()
    handler.jobs.put((user, handler.remembered["worker"], done))
    return done.get()


@way
def silent(_: "Handler", _user: str) -> int:
    """Call nobody."""
    return 200


@way
def nameless(_: "Handler", _user: str) -> int:
    """Say nothing about the user."""
    return call("/profiles/all")


@way
def batched(handler: "Handler", user: str) -> int:
    """Make one call for two users."""
    other = handler.remembered.setdefault("other", user)
    return call(f"/profiles/{user}?with={other}")


@way
def afterwards(handler: "Handler", user: str) -> int:
    """Answer first."""
    handle = handler.headers[CONTEXT]
    threading.Timer(0.2, lambda: call(f"/late/{user}", x_sidecar_context=handle)).start()
    return 200


@way
def crashing(handler: "Handler", user: str) -> int:
    """End at the tenth request."""
    with handler.lock:
        handler.remembered["count"] = handler.remembered.get("count", "") + "x"
        if len(handler.remembered["count"]) == 10:
            sys.stderr.write("out of cheese\n")
            os._exit(7)
    return call(f"/profiles/{user}")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    remembered: ClassVar[dict[str, str]] = {}
    jobs: ClassVar["queue.SimpleQueue[tuple[str, str, queue.SimpleQueue[int]]]"] = (
        queue.SimpleQueue()
    )
    lock: ClassVar[threading.Lock] = threading.Lock()

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        user = self.path.rpartition("/")[2]
        status = WAYS[WAY](self, user)
        body = b"{}"
        self.send_response(200 if status < 400 else 502)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        pass


if __name__ == "__main__":
    WAY = sys.argv[1]
    with Server(("127.0.0.1", int(os.environ["PORT"])), Handler) as server:
        sys.stdout.write(f"listening on 127.0.0.1:{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()
