"""Every server: each request's calls carry its own handle, and nothing outlives the request."""

import concurrent.futures
import contextlib
import http.client
import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from sidecar.core.names import CONTEXT_HEADER
from tests.apps.handoffs import LAZY_CALLS
from tests.support.needs import needs_module

from .app_process import App, running
from .conftest import Service, handles, new_handle, reports
from .upstream import Upstream

REPORT = "python/0.1.0; grade=strict"

UVICORN = ("uvicorn", "httptools", "starlette")
WSGI_APPS = [
    App("http_server_app"),
    App("flask_dev", (), ("flask",)),
    App("gunicorn_app", ("sync",), ("gunicorn",)),
    App("gunicorn_app", ("sync", "--preload"), ("gunicorn",)),
    App("gunicorn_app", ("gthread",), ("gunicorn",)),
    App("gunicorn_app", ("gthread", "--preload"), ("gunicorn",)),
    App("gunicorn_app", ("gevent",), ("gunicorn", "gevent")),
    App("gunicorn_app", ("gevent", "--preload"), ("gunicorn", "gevent")),
    App("gevent_app", (), ("gevent",)),
    App("waitress_app", (), ("waitress",)),
    App("django_wsgi", ("runserver", "--middleware"), ("django",)),
    App("django_wsgi", ("waitress",), ("django", "waitress")),
    App("tornado_app", ("sync",), ("tornado",)),
    App("tornado_app", ("wsgi",), ("tornado",)),
    App("django_asgi", ("--endpoint", "sync", "--middleware"), ("django", *UVICORN)),
    App("fastapi_app", ("--endpoint", "sync", "--middleware"), ("fastapi", *UVICORN)),
    App("starlette_app", ("--endpoint", "sync", "--loop", "uvloop"), UVICORN),
]
"""Those whose handlers are plain functions, and with them all that follows PEP 3333."""

ASYNC_APPS = [
    App("aiohttp_app"),
    App("aiohttp_app", ("--cancel",)),
    App("tornado_app", ("async",), ("tornado",)),
    App("hypercorn_app", (), ("hypercorn", "starlette")),
    App("hypercorn_app", ("--loop", "uvloop"), ("hypercorn", "starlette")),
    App("gunicorn_app", ("asgi",), ("gunicorn", "starlette")),
    App("starlette_app", (), UVICORN),
    App("starlette_app", ("--loop", "uvloop", "--http", "httptools", "--middleware"), UVICORN),
    App("fastapi_app", ("--http", "httptools"), ("fastapi", *UVICORN)),
    App("fastapi_app", ("--loop", "uvloop", "--middleware"), ("fastapi", *UVICORN)),
    App("django_asgi", ("--middleware",), ("django", *UVICORN)),
    App("django_asgi", ("--loop", "uvloop", "--http", "httptools"), ("django", *UVICORN)),
    App("django_wsgi", ("waitress", "--view", "async"), ("django", "waitress")),
]

TORNADO_SYNC, TORNADO_WSGI = (app for app in WSGI_APPS if app.program == "tornado_app")

STREAMING = [
    *(
        app
        for app in WSGI_APPS
        if app.program not in ("http_server_app", "django_asgi") and app != TORNADO_SYNC
    ),
    *(app for app in ASYNC_APPS if app.program != "django_wsgi"),
]
"""Not Django's of the wrong kind: it reads such a response whole, and warns."""

ANSWERING_ERRORS = [app for app in [*WSGI_APPS, *ASYNC_APPS] if app != TORNADO_WSGI]
"""Tornado's WSGI container leaves the client waiting when the app raises."""


@pytest.fixture(scope="module")
def app(request: pytest.FixtureRequest) -> App:
    assert isinstance(request.param, App)
    return request.param


@pytest.fixture(scope="module")
def service(app: App) -> Iterator[Service]:
    with running(app) as running_service:
        yield running_service


def each(apps: list[App]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("app", apps, ids=str, indirect=True)


@each([*WSGI_APPS, *ASYNC_APPS])
def test_many_users_at_once(service: Service, upstream: Upstream, path: str) -> None:
    """Thirty kept connections with four requests each, every third request without a handle."""
    turns = range(4)
    sent = {
        (user, turn): [] if turn % 3 == 1 else [new_handle()]
        for user in range(30)
        for turn in turns
    }

    def use(user: int) -> set[int]:
        with contextlib.closing(connection_to(service)) as connection:
            return {
                service.get_on(
                    connection,
                    "handoff/calls",
                    *sent[user, turn],
                    out=upstream.url(f"{path}/{user}/{turn}"),
                )
                for turn in turns
            }

    with concurrent.futures.ThreadPoolExecutor(30) as users:
        assert list(users.map(use, range(30))) == [{200}] * 30
    for (user, turn), values in sent.items():
        heads = upstream.heads(f"{path}/{user}/{turn}")
        assert handles(heads) == [values] * 3
        assert reports(heads) == [[REPORT]] * 3


@each([*WSGI_APPS, *ASYNC_APPS])
def test_kept_connection(service: Service, upstream: Upstream, path: str) -> None:
    """Whatever the request before it held, each request holds its own, or nothing."""
    twice = new_handle()
    sent = [[new_handle()], [], [new_handle()], [twice, twice], ["sdc1"], [new_handle()], []]
    with contextlib.closing(connection_to(service)) as connection:
        for values in sent:
            service.get_on(connection, "direct/http_client", *values, out=upstream.url(path))
    expected = [values if len(values) == 1 and len(values[0]) == 32 else [] for values in sent]
    assert handles(upstream.heads(path)) == expected


@each([*WSGI_APPS, *ASYNC_APPS])
def test_pipelined_requests(service: Service, upstream: Upstream, path: str) -> None:
    """Requests that were sent before the first was answered are still requests of their own."""
    sent = [[new_handle()], [], [new_handle()], [new_handle()], []]
    heads = b"".join(
        head("handoff/calls", values, upstream.url(f"{path}/{i}"), last=i == len(sent) - 1)
        for i, values in enumerate(sent)
    )
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as client:
        client.sendall(heads)
        while client.recv(65536):
            pass
    answered = [handles(upstream.heads(f"{path}/{i}")) for i in range(len(sent))]
    assert answered[0] == [sent[0]] * 3
    for got, values in zip(answered, sent, strict=True):
        assert got in ([values] * 3, [])  # some servers close after the first


@each(ANSWERING_ERRORS)
def test_failing_handler(service: Service, upstream: Upstream, path: str) -> None:
    """A handler that raises has had its handle; the requests after it have nothing of it."""
    sent = [[new_handle()], []] * 4
    for values in sent:
        with contextlib.suppress(http.client.RemoteDisconnected, ConnectionResetError):
            service.get("handoff/fails", *values, out=upstream.url(path))
    assert handles(upstream.heads(path)) == sent


@each([*WSGI_APPS, *ASYNC_APPS])
def test_client_that_goes_away(service: Service, upstream: Upstream, path: str) -> None:
    """What a request still does then, it does in its own name or none, and others in theirs."""
    gone = {f"{path}/{i}": new_handle() for i in range(3)}
    for target, handle in gone.items():
        with upstream.holding(target):
            client = socket.create_connection(("127.0.0.1", service.port))
            client.sendall(head("handoff/abandoned", [handle], upstream.url(target)))
            upstream.wait_for(target)
            client.close()
        after = upstream.wait_for(target + "/after")
        assert handles([after])[0] in ([handle], [])
        assert handles([upstream.wait_for(target)]) == [[handle]]
    for values in [[], [new_handle()], [], []]:
        service.get("direct/http_client", *values, out=upstream.url(f"{path}/next/{len(values)}"))
    assert handles(upstream.heads(f"{path}/next/0")) == [[], [], []]


@each([*WSGI_APPS, *ASYNC_APPS])
def test_loose_children(service: Service, upstream: Upstream, path: str) -> None:
    """Bare threads and tasks, also with a copy of the context, carry no handle but report."""
    service.get("handoff/loose", new_handle(), out=upstream.url(path))
    heads = upstream.heads(path)
    assert heads
    assert handles(heads) == [[]] * len(heads)
    assert reports(heads) == [[REPORT]] * len(heads)


@each(STREAMING)
def test_streamed_response(service: Service, upstream: Upstream, path: str) -> None:
    """An app that calls out while its response is being sent, or closed, has the handle."""
    for values in [[new_handle()], [], [new_handle()]]:
        target = f"{path}/{''.join(values)}"
        assert service.get("handoff/stream", *values, out=upstream.url(target)) == 200
        heads = upstream.heads(target)
        assert len(heads) in (3, 4)  # Starlette closes no iterator
        assert handles(heads) == [values] * len(heads)


STARLETTE = [app for app in ASYNC_APPS if app.program in ("starlette_app", "fastapi_app")]
ON_ASGIREF = [app for app in ASYNC_APPS if "django" in app.needs]
ASYNCIO_JOINS = {"gathered": 6, "grouped": 6, "executed": 3}
ANYIO_JOINS = {"anyio_group": 15, "group_in_group": 12, "anyio_thread": 5, "stream_sync": 3}
JOINS = {
    "aiohttp_app": ASYNCIO_JOINS,
    "tornado_app": {**ASYNCIO_JOINS, "tornado_thread": 3},
    "hypercorn_app": {**ASYNCIO_JOINS, **ANYIO_JOINS},
    "gunicorn_app": {**ASYNCIO_JOINS, **ANYIO_JOINS},
    "starlette_app": {**ASYNCIO_JOINS, **ANYIO_JOINS, "bridged": 12},
    "fastapi_app": {**ASYNCIO_JOINS, **ANYIO_JOINS, "dependency": 3},
    "django_asgi": {**ASYNCIO_JOINS, "bridged": 12},
    "django_wsgi": {**ASYNCIO_JOINS, "bridged": 12},
}
"""By program: what its requests may start and wait for, and the calls that makes."""


@each(ASYNC_APPS)
def test_joined_children(app: App, service: Service, upstream: Upstream, path: str) -> None:
    """A child that the framework waits for has the handle, and every user's child its own."""
    joins = JOINS[app.program]
    sent = {(way, f"{path}/{way}/{i}"): new_handle() for way in joins for i in range(8)}

    def get(request: tuple[str, str]) -> int:
        way, target = request
        return service.get(f"handoff/{way}", sent[request], out=upstream.url(target))

    with concurrent.futures.ThreadPoolExecutor(16) as users:
        assert set(users.map(get, sent)) == {200}
    for (way, target), handle in sent.items():
        upstream.wait_for_count(target, joins[way])  # FastAPI leaves a dependency after answering
        assert handles(upstream.heads(target)) == [[handle]] * joins[way], way


LEFT_BEHIND = {
    "starlette_app": {
        "anyio_left_behind": 2,
        "anyio_foreign_group": 3,
        "kept_groups": 9,
        "bridged_left_behind": 2,
    },
    "fastapi_app": {"anyio_left_behind": 2, "anyio_foreign_group": 3, "kept_groups": 9},
    "django_asgi": {"bridged_left_behind": 2},
    "django_wsgi": {"bridged_left_behind": 2},
}
"""By program: what its requests may start and not wait for, and the calls that makes."""


@each([*STARLETTE, *ON_ASGIREF])
def test_children_left_behind(app: App, service: Service, upstream: Upstream, path: str) -> None:
    """A child that nobody waits for any more, or that somebody else started, has no handle."""
    for way, calls in LEFT_BEHIND[app.program].items():
        target = f"{path}/{way}"
        assert service.get(f"handoff/{way}", new_handle(), out=upstream.url(target)) == 200
        assert handles(upstream.heads(target)) == [[]] * calls, way


@each([app for app in ASYNC_APPS if app.program != "django_wsgi"])  # that has a loop per request
def test_lazily_started_worker(app: App, service: Service, upstream: Upstream, path: str) -> None:
    """The first request starts a worker and stays open: whatever the worker then does for others,
    by whichever library, it does in nobody's name.
    """
    needs_module("anyio")
    needs_module("asgiref")
    first = new_handle()
    targets = [f"{path}/{i}" for i in range(6)]
    with concurrent.futures.ThreadPoolExecutor(7) as users:
        with upstream.holding(path + "/open"):
            starter = users.submit(service.get, "handoff/lazy_first", first, out=upstream.url(path))
            upstream.wait_for(path + "/open")
            asked = [
                users.submit(
                    service.get, "handoff/lazy_next", new_handle(), out=upstream.url(target)
                )
                for target in targets
            ]
            assert [answer.result() for answer in asked] == [200] * 6
        assert starter.result() == 200
    for target in [path + "/first", *targets]:
        assert handles(upstream.heads(target)) == [[]] * LAZY_CALLS
    assert handles(upstream.heads(path + "/open")) == [[first]]


@each([app for app in WSGI_APPS if "django" in app.needs])
def test_coroutine_in_a_sync_view(service: Service, upstream: Upstream, path: str) -> None:
    """``async_to_sync`` blocks the view, so the coroutine has the view's handle."""
    handle = new_handle()
    assert service.get("handoff/bridged", handle, out=upstream.url(path)) == 200
    assert handles(upstream.heads(path)) == [[handle]] * 5


@each(STARLETTE)
def test_background_tasks(service: Service, upstream: Upstream, path: str) -> None:
    """They carry their own request's handle, which the sidecar calls dead by then, or none."""
    sent = {f"{path}/{i}": new_handle() for i in range(20)}

    def get(target: str) -> int:
        return service.get("handoff/background", sent[target], out=upstream.url(target))

    with concurrent.futures.ThreadPoolExecutor(8) as users:
        assert set(users.map(get, sent)) == {200}
    for target, handle in sent.items():
        upstream.wait_for_count(target, 4)
        assert all(values in ([handle], []) for values in handles(upstream.heads(target)))


@each(
    [
        App("starlette_app", ("--loop", "uvloop"), (*UVICORN, "wsproto")),
        App("hypercorn_app", (), ("hypercorn", "starlette")),
    ]
)
def test_websocket(service: Service, upstream: Upstream, path: str) -> None:
    """A websocket's handler has the handle that came with the opening request."""
    handle = new_handle()
    upgrade = (
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    opening = head("handoff/websocket", [handle], upstream.url(path))[:-2] + upgrade.encode()
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as client:
        client.sendall(opening)
        upstream.wait_for_count(path, 3)
    assert handles(upstream.heads(path)) == [[handle]] * 3


@each([app for app in ASYNC_APPS if app.program == "hypercorn_app"])
def test_http2(app: App, service: Service, upstream: Upstream, path: str) -> None:
    """Requests that share a connection at the same time have each their own handle."""
    needs_module("h2")
    from h2.connection import H2Connection
    from h2.events import StreamEnded

    sent = {stream: [] if stream % 3 == 0 else [new_handle()] for stream in range(1, 40, 2)}
    connection = H2Connection()
    connection.initiate_connection()
    for stream, values in sent.items():
        target = f"/handoff/gathered?out={quote(upstream.url(f'{path}/{stream}'))}"
        pseudo = {":method": "GET", ":scheme": "http", ":authority": "a", ":path": target}
        fields = [*pseudo.items(), *((CONTEXT_HEADER, value) for value in values)]
        connection.send_headers(stream, fields, end_stream=True)
    ended = 0
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as client:
        while ended < len(sent):
            client.sendall(connection.data_to_send())
            events = connection.receive_data(client.recv(65536))
            ended += sum(isinstance(event, StreamEnded) for event in events)
    for stream, values in sent.items():
        assert handles(upstream.heads(f"{path}/{stream}")) == [values] * 6


def test_workers_that_are_replaced(upstream: Upstream, path: str) -> None:
    """gunicorn's workers end after some requests: those of the next one have their own handles."""
    app = App("gunicorn_app", ("gthread", "--preload", "--max-requests", "5"), ("gunicorn",))
    sent = [[new_handle()] if i % 3 else [] for i in range(20)]
    with running(app) as service:
        for values in sent:
            service.get("direct/http_client", *values, out=upstream.url(path))
    assert handles(upstream.heads(path)) == sent


def connection_to(service: Service) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)


def head(name: str, values: list[str], out: str, *, last: bool = False) -> bytes:
    fields = "".join(f"{CONTEXT_HEADER}: {value}\r\n" for value in values)
    ending = "connection: close\r\n" if last else ""
    line = f"GET /{name}?out={quote(out)} HTTP/1.1\r\nhost: a\r\n"
    return f"{line}{fields}{ending}\r\n".encode()
