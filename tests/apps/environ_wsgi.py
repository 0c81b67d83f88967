"""A WSGI app that answers with what it was told: its environment, on the server it is asked for."""

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from . import ports


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    told = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
    body = json.dumps(told).encode()
    start_response("200 OK", [("content-length", str(len(body)))])
    return [body]


class Silent(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve(server: str, port: int) -> None:
    match server:
        case "wsgiref":
            made = make_server("127.0.0.1", port, application, handler_class=Silent)
            ports.announce(made.server_port)
            made.serve_forever()
        case "waitress":
            from waitress.server import create_server

            listening = create_server(application, host="127.0.0.1", port=port)
            ports.announce(listening.effective_port)
            listening.run()
        case _:
            from gunicorn.app.base import BaseApplication

            from .gunicorn_app import announce

            class Application(BaseApplication):
                def load_config(self) -> None:
                    settings = {
                        "bind": f"127.0.0.1:{port}",
                        "loglevel": "critical",
                        "when_ready": announce,
                        # As before version 22: `X_User` is taken for `X-User`.
                        "header_map": "dangerous",
                        "control_socket_disable": True,
                    }
                    for name, value in settings.items():
                        if name in self.cfg.settings:
                            self.cfg.set(name, value)

                def load(self) -> Any:
                    return application

            Application().run()


if __name__ == "__main__":
    logging.disable()
    known = ports.parser()
    known.add_argument("server")
    options = known.parse_args()
    serve(options.server, options.port)
