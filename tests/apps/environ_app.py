"""An app on a WSGI server that answers with what it was given: its environ, as JSON."""

import json
import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any

from . import ports


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    given = {key: value for key, value in environ.items() if isinstance(value, str)}
    body = json.dumps(given).encode()
    start_response("200 OK", [("content-length", str(len(body)))])
    return [body]


def _waitress(port: int) -> None:
    from waitress.server import create_server

    server = create_server(application, host="127.0.0.1", port=port, threads=4)
    ports.announce(server.effective_port)
    server.run()


def _gunicorn(port: int) -> None:
    from .gunicorn_app import Application, announce

    class Echo(Application):
        def load(self) -> Any:
            return application

    # What it believes of its peers, and which of them, is left as it comes.
    settings = {"bind": f"127.0.0.1:{port}", "worker_class": "sync", "when_ready": announce}
    Echo({**settings, "loglevel": "critical", "control_socket_disable": True}).run()


if __name__ == "__main__":
    logging.disable()
    options = ports.parser()
    options.add_argument("server", choices=("waitress", "gunicorn"))
    chosen = options.parse_args(sys.argv[1:])
    {"waitress": _waitress, "gunicorn": _gunicorn}[chosen.server](chosen.port)
