"""aiohttp's client and httpx in a service whose requests share one event loop."""

import concurrent.futures
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.needs import needs_module

from .conftest import Service, handles, new_handle, reports, serving_with_libraries
from .tls import tls_running
from .upstream import FickleUpstream, Head, RedirectingUpstream, SlowUpstream, Upstream

REPORT = "python/0.1.0; grade=strict"
CLIENTS = ["aiohttp", "httpx"]


@pytest.fixture(scope="module", autouse=True)
def needs_libraries() -> None:
    needs_module("httpx")


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def app(request: pytest.FixtureRequest, unix_upstream: tuple[Upstream, str]) -> Iterator[Service]:
    environment = {"UNIX_UPSTREAM": unix_upstream[1], "SERVICE_LOOP": request.param}
    with serving_with_libraries("async_service", environment=environment) as service:
        yield service


@pytest.mark.parametrize(
    ("pattern", "calls"),
    [
        ("shared_aiohttp", 2),
        ("aiohttp_kinds", 6),
        ("aiohttp_joined", 7),
        ("aiohttp_leaves_no_mark", 1),
        ("aiohttp_middleware", 2),
        ("aiohttp_copies_headers", 1),
        ("shared_httpx", 2),
        ("httpx_kinds", 3),
        ("httpx_joined", 4),
        ("httpx_copies_headers", 1),
    ],
)
def test_call(app: Service, upstream: Upstream, path: str, pattern: str, calls: int) -> None:
    """Each way of calling sends the handle and the self-report once each, with any body."""
    for user in ["/a", "/b"]:
        handle = new_handle()
        assert app.get(pattern, handle, out=upstream.url(path + user)) == 200
        heads = upstream.heads(path + user)
        assert handles(heads) == [[handle]] * calls
        assert reports(heads) == [[REPORT]] * calls


@pytest.mark.parametrize(
    ("pattern", "calls"),
    [("aiohttp_bare_task", 2), ("httpx_bare_task", 1), ("bare_thread_with_loop", 1)],
)
def test_other_children(
    app: Service, upstream: Upstream, path: str, pattern: str, calls: int
) -> None:
    """A child that nothing forces its parent to wait for calls without handle, but reports."""
    assert app.get(pattern, new_handle(), out=upstream.url(path)) == 200
    assert handles(upstream.heads(path)) == [[]] * calls
    assert reports(upstream.heads(path)) == [[REPORT]] * calls


def test_copied_handle_where_none_is_held(app: Service, upstream: Upstream, path: str) -> None:
    """A copied handle stays where the carrier holds none, without the carrier vouching for it."""
    handle = new_handle()
    app.get("aiohttp_copies_headers_in_task", handle, out=upstream.url(path))
    assert handles(upstream.heads(path)) == [[handle]]
    assert reports(upstream.heads(path)) == [[]]


@pytest.mark.parametrize("client", CLIENTS)
def test_forward_proxy(app: Service, upstream: Upstream, path: str, client: str) -> None:
    """A plain-HTTP call through a proxy that is a target carries the handle to the proxy."""
    handle = new_handle()
    assert app.get(f"{client}_proxy", handle, out=upstream.url(path)) == 200
    (head,) = upstream.heads(path)
    assert head.target == f"http://profile.example{path}"
    assert handles([head]) == [[handle]]


@pytest.mark.parametrize("client", CLIENTS)
def test_tunnel(app: Service, upstream: Upstream, client: str) -> None:
    """A request for a tunnel carries nothing of ours."""
    before = len(upstream.heads("tunnelled.example:443"))
    assert app.get(f"{client}_tunnel", new_handle(), out=upstream.url("/")) == 200
    heads = upstream.heads("tunnelled.example:443")[before:]
    assert [head.method for head in heads] == ["CONNECT"]
    assert handles(heads) == reports(heads) == [[]]


@pytest.mark.parametrize("client", CLIENTS)
def test_unix_socket(
    app: Service, unix_upstream: tuple[Upstream, str], path: str, client: str
) -> None:
    """A unix socket behind the host name localhost is not the sidecar."""
    assert app.get(f"{client}_unix", new_handle(), out=f"http://localhost{path}") == 200
    heads = unix_upstream[0].heads(path)
    assert handles(heads) == reports(heads) == [[]]


@pytest.mark.parametrize("client", CLIENTS)
def test_tls(
    app: Service, tmp_path_factory: pytest.TempPathFactory, path: str, client: str
) -> None:
    """A TLS connection never carries the headers, not even copied ones."""
    with tls_running(tmp_path_factory.mktemp("tls")) as upstream:
        assert app.get(f"{client}_tls", new_handle(), out=upstream.url(path)) == 200
        assert handles(upstream.heads(path)) == reports(upstream.heads(path)) == [[], []]


def test_own_transport(app: Service, upstream: Upstream, path: str) -> None:
    """A transport into an application of this process is given nothing of ours."""
    assert app.get("httpx_own_transport", new_handle(), out=upstream.url(path)) == 200
    assert upstream.heads(path) == []


@pytest.mark.parametrize("client", CLIENTS)
def test_redirect(upstream: Upstream, path: str, client: str) -> None:
    """A redirect to a target carries the handle again; one to anything else does not."""
    with (
        RedirectingUpstream().running() as kept,
        RedirectingUpstream(upstream.url("")).running() as away,
    ):
        targets = ",".join(f"127.0.0.1:{one.port}" for one in (kept, away))
        with serving_with_libraries(
            "async_service", environment={"SIDECAR_TARGETS": targets}
        ) as app:
            handle = new_handle()
            for first in [kept, away]:
                assert app.get(f"{client}_redirect", handle, out=first.url(path)) == 200
        assert handles(kept.heads(path) + kept.heads(path + "/moved")) == [[handle]] * 2
        assert handles(away.heads(path)) == [[handle]]
    moved = upstream.heads(path + "/moved")
    assert handles(moved) == reports(moved) == [[]]


def test_listed_targets(upstream: Upstream, path: str) -> None:
    """Once targets are listed, the others lose even copied headers."""
    environment = {"SIDECAR_TARGETS": "127.0.0.1:1"}
    with serving_with_libraries("async_service", environment=environment) as app:
        for client in CLIENTS:
            app.get(f"shared_{client}", new_handle(), out=upstream.url(path))
            app.get(f"{client}_copies_headers", new_handle(), out=upstream.url(path))
    assert handles(upstream.heads(path)) == reports(upstream.heads(path)) == [[]] * 6


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("connections", [1, 2, 4])
def test_bounded_pool(path: str, connections: int, loop: str) -> None:
    """A hundred users per client on a few connections: each call has its own request's handle."""
    with SlowUpstream().running() as upstream:
        served = serve_many(upstream, path, ["shared_aiohttp", "shared_httpx"], connections, loop)
    for handle, heads in served:
        assert handles(heads) == [[handle]] * 2


@pytest.mark.parametrize("connections", [1, 3])
def test_retry_after_close(path: str, connections: int) -> None:
    """A call that is sent again, because its kept connection was closed, keeps its handle."""
    patterns = ["insistent_aiohttp", "insistent_httpx"]
    with FickleUpstream().running() as upstream:
        served = serve_many(upstream, path, patterns, connections, "asyncio")
    assert sum(len(heads) for _, heads in served) > 250  # some of the 200 were sent again
    for handle, heads in served:
        assert heads
        assert handles(heads) == [[handle]] * len(heads)


def serve_many(
    upstream: Upstream, path: str, patterns: list[str], connections: int, loop: str
) -> list[tuple[str, list[Head]]]:
    """Let sixty users at a time make each pattern's calls; return each one's handle and calls."""
    sent = [
        (new_handle(), pattern, f"{path}/{pattern}/{user}/")
        for user in range(100)
        for pattern in patterns
    ]
    environment = {"SERVICE_CONNECTIONS": str(connections), "SERVICE_LOOP": loop}
    with (
        serving_with_libraries("async_service", environment=environment) as app,
        concurrent.futures.ThreadPoolExecutor(60) as users,
    ):
        answers = users.map(lambda one: app.get(one[1], one[0], out=upstream.url(one[2])), sent)
        assert set(answers) == {200}
    called = [(urlsplit(head.target).path, head) for head in upstream.heads("/")]
    return [(handle, [head for at, head in called if at == target]) for handle, _, target in sent]
