"""A WSGI app (or, with the worker class ``asgi``, Starlette) on gunicorn."""

from typing import Any

from gunicorn.app.base import BaseApplication

from . import ports


class Application(BaseApplication):
    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            if name in self.cfg.settings:  # older ones have no control socket
                self.cfg.set(name, value)

    def load(self) -> Any:
        if self._settings["worker_class"] == "asgi":
            from . import starlette_app

            return starlette_app.build(middleware=True)
        from .wsgi import application

        return application


def announce(arbiter: Any) -> None:
    ports.announce(arbiter.LISTENERS[0].sock.getsockname()[1])


if __name__ == "__main__":
    parser = ports.parser()
    parser.add_argument("worker", nargs="?", default="sync")
    parser.add_argument("--preload", action="store_true")
    parser.add_argument("--max-requests", type=int, default=0)
    options = parser.parse_args()
    Application(
        {
            "bind": f"127.0.0.1:{options.port}",
            "worker_class": options.worker,
            "workers": 4 if options.worker == "sync" else 1,
            "threads": 16 if options.worker == "gthread" else 1,
            "preload_app": options.preload,
            "max_requests": options.max_requests,
            "loglevel": "critical",
            "when_ready": announce,
            "control_socket_disable": True,
        }
    ).run()
