"""What leaves the app: which calls get the header, and that there is exactly one."""

from collections.abc import Iterator

import pytest

from sidecar.core.names import CONTEXT_HEADER

from .conftest import Interpreter, Service, handles, new_handle, reports, serving
from .tls import tls_running
from .upstream import Upstream

REPORT = "python/0.1.0; grade=strict"


@pytest.mark.parametrize(
    ("pattern", "calls"),
    [
        ("urllib_request", 1),
        ("high_level", 2),
        ("low_level", 1),
        ("localhost_by_name", 1),
        ("urllib3", 3),
        ("requests", 2),
    ],
)
def test_clients(service: Service, upstream: Upstream, path: str, pattern: str, calls: int) -> None:
    """Each way of calling sends the handle and the self-report once each, with any body."""
    handle = new_handle()
    assert service.get(pattern, handle, out=upstream.url(path)) == 200
    assert handles(upstream.heads(path)) == [[handle]] * calls
    assert reports(upstream.heads(path)) == [[REPORT]] * calls


@pytest.mark.parametrize("pattern", ["pooled", "one_connection"])
def test_connection_shared_by_users(
    service: Service, upstream: Upstream, path: str, pattern: str
) -> None:
    """A connection that another user's request opened carries this one's handle, or none."""
    sent = [[new_handle()], [new_handle()], [], [new_handle()]]
    for values in sent:
        service.get(pattern, *values, out=upstream.url(path))
    assert handles(upstream.heads(path)) == sent


def test_app_that_copies_all_headers(service: Service, upstream: Upstream, path: str) -> None:
    """A copied handle is replaced, not joined, by the one that is held: the header is sent once."""
    handle = new_handle()
    service.get("copies_headers", handle, out=upstream.url(path))
    assert handles(upstream.heads(path)) == [[handle]]
    assert reports(upstream.heads(path)) == [[REPORT]]


def test_copied_handle_where_none_is_held(service: Service, upstream: Upstream, path: str) -> None:
    """A copied handle stays where the carrier holds none, without the carrier vouching for it."""
    handle = new_handle()
    service.get("copies_headers_in_thread", handle, out=upstream.url(path))
    assert handles(upstream.heads(path)) == [[handle]]
    assert reports(upstream.heads(path)) == [[]]


def test_disturbed_call(service: Service, upstream: Upstream, path: str) -> None:
    """A call the library refuses, because another is being made, leaves that one its handle."""
    handle = new_handle()
    service.get("disturbed", handle, out=upstream.url(path))
    assert handles(upstream.heads(path)) == [[handle]]


def test_forward_proxy(service: Service, upstream: Upstream, path: str) -> None:
    """A plain-HTTP call through a proxy that is a target carries the handle to the proxy."""
    handle = new_handle()
    service.get("proxy", handle, out=upstream.url(path))
    (head,) = upstream.heads(path)
    assert head.target == f"http://profile.example{path}"
    assert handles([head]) == [[handle]]


def test_tunnel(service: Service, upstream: Upstream, path: str) -> None:
    """Neither CONNECT nor what is said inside the tunnel carries anything of ours."""
    before = len(upstream.heads("profile.example:80"))
    service.get("tunnel", new_handle(), out=upstream.url(path))
    heads = [*upstream.heads("profile.example:80")[before:], *upstream.heads(path)]
    assert [head.method for head in heads] == ["CONNECT", "GET"]
    assert handles(heads) == reports(heads) == [[], []]


def test_unix_socket(
    service: Service, unix_upstream: tuple[Upstream, str], upstream: Upstream, path: str
) -> None:
    """A unix socket behind the host name localhost is not the sidecar."""
    service.get("unix_socket", new_handle(), out=upstream.url(path))
    heads = unix_upstream[0].heads(path)
    assert handles(heads) == reports(heads) == [[]]


@pytest.fixture(scope="module")
def tls_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with tls_running(tmp_path_factory.mktemp("tls")) as running:
        yield running


@pytest.mark.parametrize(
    "pattern", ["tls", "tls_by_own_class", "tls_by_wrapper", "copies_headers_to_tls"]
)
def test_tls(service: Service, tls_upstream: Upstream, path: str, pattern: str) -> None:
    """A TLS connection never carries the headers, not even copied ones, not even to loopback."""
    service.get(pattern, new_handle(), out=tls_upstream.url(path))
    heads = tls_upstream.heads(path)
    assert handles(heads) == reports(heads) == [[]]


def test_listed_targets(interpreter: Interpreter, upstream: Upstream, path: str) -> None:
    """Once targets are listed, only those get the headers; others lose even copied ones."""
    handle = new_handle()
    with (
        Upstream().running() as other,
        serving(
            interpreter, environment={"SIDECAR_TARGETS": f"127.0.0.1:{upstream.port}"}
        ) as service,
    ):
        for destination in [upstream, other]:
            service.get("urllib_request", handle, out=destination.url(path))
            service.get("copies_headers", handle, out=destination.url(path))
        assert handles(upstream.heads(path)) == [[handle]] * 2
        assert handles(other.heads(path)) == reports(other.heads(path)) == [[], []]


def test_head_stays_as_the_app_wrote_it(service: Service, upstream: Upstream, path: str) -> None:
    """Our two lines are the only difference to what the app sent."""
    service.get("high_level", new_handle(), out=upstream.url(path))
    heads = [head.raw for head in upstream.heads(path)]
    kept = [b"\r\n".join(_foreign_lines(raw)) for raw in heads]
    start = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{upstream.port}\r\n".encode()
    assert kept == [
        start + b"Accept-Encoding: identity\r\nContent-Length: 3\r\nx-mine: 1\r\n\r\n",
        start + b"Accept-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n",
    ]


def _foreign_lines(raw: bytes) -> list[bytes]:
    assert raw.count(CONTEXT_HEADER.encode()) == 1
    return [line for line in raw.split(b"\r\n") if not line.lower().startswith(b"x-sidecar-")]
