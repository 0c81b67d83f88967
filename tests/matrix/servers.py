"""The servers of the matrix: which program, and what must be installed for it."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["blocking", "asyncio", "greenlets", "loops"]
"""What runs the handlers; ``loops``: coroutines, but each request has a loop of its own."""


@dataclass(frozen=True, slots=True)
class Server:
    """A program of ``tests.apps``; *kind* says which styles it can do."""

    name: str
    command: tuple[str, ...]
    kind: Kind
    needs: tuple[str, ...] = ()
    """Distributions, for their versions and for whether this server can be tested."""
    is_variant: bool = False
    """Differs from another one only below the styles: gets the shorter list of them."""
    is_traced: bool = False
    """Stands for those that OpenTelemetry instruments."""

    def arguments(self, port: int = 0) -> tuple[str, ...]:
        """Arguments for the interpreter."""
        module, *options = self.command
        return ("-m", f"tests.apps.{module}", str(port), *options)


def _server(
    name: str, command: str, kind: Kind, needs: str = "", *, is_traced: bool = False
) -> Server:
    return Server(name, tuple(command.split()), kind, tuple(needs.split()), is_traced=is_traced)


def _variant(name: str, command: str, kind: Kind, needs: str = "") -> Server:
    return Server(name, tuple(command.split()), kind, tuple(needs.split()), is_variant=True)


SERVERS: tuple[Server, ...] = (
    _server("http.server", "http_server_app", "blocking"),
    _server("Flask, werkzeug", "flask_dev", "blocking", "flask werkzeug", is_traced=True),
    _server("gunicorn gthread", "gunicorn_app gthread", "blocking", "gunicorn"),
    _variant("gunicorn gthread, preload", "gunicorn_app gthread --preload", "blocking", "gunicorn"),
    _variant("gunicorn sync", "gunicorn_app sync", "blocking", "gunicorn"),
    _variant("gunicorn sync, preload", "gunicorn_app sync --preload", "blocking", "gunicorn"),
    _server("gunicorn gevent", "gunicorn_app gevent", "greenlets", "gunicorn gevent"),
    _variant("gevent pywsgi", "gevent_app", "greenlets", "gevent"),
    _variant("waitress", "waitress_app", "blocking", "waitress"),
    _variant("Django WSGI, runserver", "django_wsgi runserver", "blocking", "django"),
    _variant("Django WSGI, waitress", "django_wsgi waitress", "blocking", "django waitress"),
    _variant(
        "Django WSGI, waitress, async view",
        "django_wsgi waitress --view async --middleware",
        "loops",
        "django waitress",
    ),
    _server("aiohttp.web", "aiohttp_app", "asyncio", "aiohttp"),
    _server(
        "FastAPI, uvicorn asyncio h11",
        "fastapi_app",
        "asyncio",
        "fastapi starlette uvicorn h11",
        is_traced=True,
    ),
    _variant(
        "FastAPI, uvicorn uvloop httptools, BaseHTTPMiddleware",
        "fastapi_app --loop uvloop --http httptools --middleware",
        "asyncio",
        "fastapi starlette uvicorn uvloop httptools",
    ),
    _variant(
        "FastAPI, sync endpoint, BaseHTTPMiddleware",
        "fastapi_app --endpoint sync --middleware",
        "blocking",
        "fastapi starlette uvicorn",
    ),
    _variant(
        "Starlette, uvicorn uvloop h11",
        "starlette_app --loop uvloop --http h11",
        "asyncio",
        "starlette uvicorn uvloop",
    ),
    _variant(
        "Starlette, uvicorn asyncio httptools, BaseHTTPMiddleware",
        "starlette_app --http httptools --middleware",
        "asyncio",
        "starlette uvicorn httptools",
    ),
    _variant("Django ASGI, uvicorn", "django_asgi --middleware", "asyncio", "django uvicorn"),
    _variant(
        "Django ASGI, uvicorn, sync view",
        "django_asgi --endpoint sync",
        "blocking",
        "django uvicorn",
    ),
    _variant("hypercorn asyncio", "hypercorn_app", "asyncio", "hypercorn starlette"),
    _variant(
        "hypercorn uvloop", "hypercorn_app --loop uvloop", "asyncio", "hypercorn starlette uvloop"
    ),
    _variant("gunicorn asgi", "gunicorn_app asgi", "asyncio", "gunicorn starlette"),
    _variant("Tornado", "tornado_app", "asyncio", "tornado"),
)
