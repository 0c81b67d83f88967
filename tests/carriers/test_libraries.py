"""Third-party clients in an ordinary threaded service: httpx, urllib3, requests, botocore."""

import concurrent.futures
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.needs import needs_module

from .conftest import CARRIER, Service, handles, new_handle, reports, serving_with_libraries
from .tls import tls_running
from .upstream import FickleUpstream, Head, RedirectingUpstream, SlowUpstream, Upstream

REPORT = "python/0.1.0; grade=strict"
LIBRARIES = ("httpx", "urllib3", "requests", "botocore")


@pytest.fixture(scope="module", autouse=True)
def needs_libraries() -> None:
    for library in LIBRARIES:
        needs_module(library)


@pytest.fixture(scope="module")
def app(unix_upstream: tuple[Upstream, str]) -> Iterator[Service]:
    with serving_with_libraries(
        "library_service", environment={"UNIX_UPSTREAM": unix_upstream[1]}
    ) as service:
        yield service


@pytest.mark.parametrize(
    ("pattern", "calls"),
    [
        ("shared_httpx", 2),
        ("shared_urllib3", 2),
        ("shared_requests", 2),
        ("shared_botocore", 2),
        ("botocore_upload", 1),
        ("httpx_kinds", 5),
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


def test_request_object_sent_twice(app: Service, upstream: Upstream, path: str) -> None:
    """One request object, sent from two threads, has the handle only where it is held."""
    handle = new_handle()
    app.get("httpx_same_request_twice", handle, out=upstream.url(path))
    assert handles(upstream.heads(path)) == [[handle], []]


def test_trace_hooks(app: Service, upstream: Upstream, path: str) -> None:
    """A trace hook sees the request as the app wrote it, and the call has its handle."""
    handle = new_handle()
    assert app.get("httpx_seen_by_trace", handle, out=upstream.url(path)) == 200
    assert handles(upstream.heads(path)) == [[handle]]


def test_copied_handle_where_none_is_held(app: Service, upstream: Upstream, path: str) -> None:
    """A copied handle stays where the carrier holds none, without the carrier vouching for it."""
    handle = new_handle()
    app.get("httpx_copies_headers_in_thread", handle, out=upstream.url(path))
    assert handles(upstream.heads(path)) == [[handle]]
    assert reports(upstream.heads(path)) == [[]]


def test_forward_proxy(app: Service, upstream: Upstream, path: str) -> None:
    """A plain-HTTP call through a proxy that is a target carries the handle to the proxy."""
    handle = new_handle()
    app.get("httpx_proxy", handle, out=upstream.url(path))
    (head,) = upstream.heads(path)
    assert head.target == f"http://profile.example{path}"
    assert handles([head]) == [[handle]]


def test_tunnel(app: Service, upstream: Upstream, path: str) -> None:
    """A request for a tunnel carries nothing of ours."""
    before = len(upstream.heads("tunnelled.example:443"))
    app.get("httpx_tunnel", new_handle(), out=upstream.url(path))
    heads = upstream.heads("tunnelled.example:443")[before:]
    assert [head.method for head in heads] == ["CONNECT"]
    assert handles(heads) == reports(heads) == [[]]


def test_unix_socket(app: Service, unix_upstream: tuple[Upstream, str], path: str) -> None:
    """A unix socket behind the host name localhost is not the sidecar."""
    app.get("httpx_unix", new_handle(), out=f"http://localhost{path}")
    heads = unix_upstream[0].heads(path)
    assert handles(heads) == reports(heads) == [[]]


def test_tls(app: Service, tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    """A TLS connection never carries the headers, not even copied ones."""
    with tls_running(tmp_path_factory.mktemp("tls")) as upstream:
        assert app.get("httpx_tls", new_handle(), out=upstream.url(path)) == 200
        assert handles(upstream.heads(path)) == reports(upstream.heads(path)) == [[], []]


def test_http2(app: Service) -> None:
    """The sidecar does not speak HTTP/2, so there even a copied header is removed."""
    needs_module("h2")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with concurrent.futures.ThreadPoolExecutor(1) as users:
            answer = users.submit(app.get, "httpx_http2", new_handle(), out=url)
            names = read_http2_names(listener)
            assert answer.result() == 200
    assert b":path" in names
    assert not [name for name in names if name.startswith(b"x-sidecar")]


def read_http2_names(listener: socket.socket) -> list[bytes]:
    """Return the header names of the first request, and hang up."""
    import h2.config
    import h2.connection
    import h2.events

    protocol = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    with listener.accept()[0] as peer:
        while data := peer.recv(65536):
            for event in protocol.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    return [bytes(name) for name, _ in event.headers]
    return []


def test_loaded_twice(upstream: Upstream, path: str, tmp_path: Path) -> None:
    """A second copy of the carrier, under another name, adds no second header."""
    shutil.copytree(CARRIER / "sidecar_carrier", tmp_path / "another_carrier")
    (tmp_path / "sitecustomize.py").write_text(
        (CARRIER / "sitecustomize.py").read_text().replace("sidecar_carrier", "another_carrier")
    )
    handle = new_handle()
    for module in ["library_service", "async_service"]:
        with serving_with_libraries(module, path=(CARRIER, tmp_path)) as service:
            service.get("shared_httpx", handle, out=upstream.url(path))
            if module == "async_service":
                service.get("shared_aiohttp", handle, out=upstream.url(path))
    assert handles(upstream.heads(path)) == [[handle]] * 6
    assert reports(upstream.heads(path)) == [[REPORT]] * 6


UNPATCHABLE = """
import os, sys
import {module} as module
import sidecar_carrier
os.environ['SIDECAR_CARRIER'] = ''
kept, module.{name} = module.{name}, type('Other', (), {{}})
sidecar_carrier.activate()
module.{name} = kept
import aiohttp, asyncio, httpx
httpx.get(sys.argv[1], trust_env=False)
async def main():
    async with aiohttp.request('GET', sys.argv[1]):
        pass
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("module", "name", "line"),
    [
        ("httpcore", "ConnectionPool", "type object 'Other' has no attribute 'handle_request'"),
        ("httpcore", "Request", "TypeError: Other() takes no arguments"),
        ("aiohttp.client_reqrep", "ClientRequest", "type object 'Other' has no attribute 'send'"),
    ],
)
def test_library_of_another_shape(
    upstream: Upstream, path: str, module: str, name: str, line: str
) -> None:
    """What cannot be patched costs one line, and is used as it is."""
    answer = subprocess.run(
        [sys.executable, "-c", UNPATCHABLE.format(module=module, name=name), upstream.url(path)],
        env={"PYTHONPATH": str(CARRIER), "SIDECAR_CARRIER": "off"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert answer.returncode == 0
    assert answer.stderr.startswith(f"sidecar carrier: {module} not patched: ")
    assert answer.stderr.endswith(f"{line}\n")
    assert answer.stderr.count("\n") == 1
    assert handles(upstream.heads(path)) == [[]] * 2


def test_own_transport(app: Service, upstream: Upstream, path: str) -> None:
    """A transport that is no network is given nothing of ours."""
    assert app.get("httpx_own_transport", new_handle(), out=upstream.url(path)) == 200
    assert upstream.heads(path) == []


@pytest.mark.parametrize("client", ["httpx", "requests", "urllib3"])
def test_redirect(upstream: Upstream, path: str, client: str) -> None:
    """A redirect to a target carries the handle again; one to anything else does not."""
    with (
        RedirectingUpstream().running() as kept,
        RedirectingUpstream(upstream.url("")).running() as away,
    ):
        targets = ",".join(f"127.0.0.1:{one.port}" for one in (kept, away))
        with serving_with_libraries(
            "library_service", environment={"SIDECAR_TARGETS": targets}
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
    with serving_with_libraries("library_service", environment=environment) as app:
        for pattern in ["shared_httpx", "httpx_copies_headers", "shared_requests"]:
            app.get(pattern, new_handle(), out=upstream.url(path))
    assert handles(upstream.heads(path)) == reports(upstream.heads(path)) == [[]] * 5


POOLED = ["shared_httpx", "shared_urllib3", "shared_requests", "shared_botocore"]


@pytest.mark.parametrize("connections", [1, 2, 4])
def test_bounded_pool(path: str, connections: int) -> None:
    """Sixty users per library on a few connections: each call has its own request's handle."""
    with SlowUpstream().running() as upstream:
        served = serve_many(upstream, path, POOLED, connections)
    for handle, heads in served:
        assert len(heads) >= 2  # httpx tries again, see there
        assert handles(heads) == [[handle]] * len(heads)


INSISTENT = ["insistent_httpx", "shared_urllib3", "shared_requests", "shared_botocore"]


@pytest.mark.parametrize("connections", [1, 3])
def test_retry_after_close(path: str, connections: int) -> None:
    """A call that is sent again, because its kept connection was closed, keeps its handle."""
    with FickleUpstream().running() as upstream:
        served = serve_many(upstream, path, INSISTENT, connections)
    assert sum(len(heads) for _, heads in served) > 300  # some were sent again
    for handle, heads in served:
        assert heads
        assert handles(heads) == [[handle]] * len(heads)


def serve_many(
    upstream: Upstream, path: str, patterns: list[str], connections: int
) -> list[tuple[str, list[Head]]]:
    """Let sixty users at a time make each pattern's calls; return each one's handle and calls."""
    sent = [
        (new_handle(), pattern, f"{path}/{pattern}/{user}/")
        for user in range(60)
        for pattern in patterns
    ]
    environment = {"SERVICE_CONNECTIONS": str(connections)}
    with (
        serving_with_libraries("library_service", environment=environment) as app,
        concurrent.futures.ThreadPoolExecutor(60) as users,
    ):
        answers = users.map(lambda one: app.get(one[1], one[0], out=upstream.url(one[2])), sent)
        assert set(answers) == {200}
    return [
        (
            handle,
            [head for head in upstream.heads("/") if urlsplit(head.target).path.endswith(target)],
        )
        for handle, _, target in sent
    ]
