"""The request boundary: which handle a request holds, from when, and until when."""

import concurrent.futures
import http.client

import pytest

from .conftest import Interpreter, Service, handles, new_handle, reports, serving
from .upstream import Upstream


def test_one_handle(service: Service, upstream: Upstream, path: str) -> None:
    """A request's call carries the request's handle and the carrier's self-report."""
    handle = new_handle()
    assert service.get("urllib_request", handle, out=upstream.url(path)) == 200
    assert handles(upstream.heads(path)) == [[handle]]
    assert reports(upstream.heads(path)) == [["python/0.1.0; grade=strict"]]


def test_no_handle(service: Service, upstream: Upstream, path: str) -> None:
    """Without an inbound handle the call still says that a carrier is there."""
    service.get("urllib_request", out=upstream.url(path))
    assert handles(upstream.heads(path)) == [[]]
    assert reports(upstream.heads(path)) == [["python/0.1.0; grade=strict"]]


@pytest.mark.parametrize("second", ["same", "other"])
def test_two_handles(service: Service, upstream: Upstream, path: str, second: str) -> None:
    """Two inbound handles, equal or not, count as none."""
    first = new_handle()
    values = [first, first if second == "same" else new_handle()]
    service.get("urllib_request", *values, out=upstream.url(path))
    assert handles(upstream.heads(path)) == [[]]


@pytest.mark.parametrize(
    "forged", ["", "sdc1", "SDC1" + "0" * 28, "sdc1" + "0" * 29, "sdc1" + "0" * 27 + "%", "x" * 32]
)
def test_malformed_handle(service: Service, upstream: Upstream, path: str, forged: str) -> None:
    """What does not have a handle's form is not carried."""
    service.get("urllib_request", forged, out=upstream.url(path))
    assert handles(upstream.heads(path)) == [[]]


def test_kept_connection(service: Service, upstream: Upstream, path: str) -> None:
    """On a kept-alive connection each request has its own handle, or none, never the last one."""
    sent = [[new_handle()], [new_handle()], [], [new_handle()], []]
    connection = http.client.HTTPConnection("127.0.0.1", service.port)
    for values in sent:
        service.get_on(connection, "urllib_request", *values, out=upstream.url(path))
    connection.close()
    assert handles(upstream.heads(path)) == sent


def test_error_ends_the_request(service: Service, upstream: Upstream, path: str) -> None:
    """A handler that raises ends its request like any other: nothing later has its handle."""
    handle = new_handle()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        service.get("fails", handle, out=upstream.url(path))
    service.get("urllib_request", out=upstream.url(path))
    assert handles(upstream.heads(path)) == [[handle], []]


def test_after_the_request(service: Service, upstream: Upstream, path: str) -> None:
    """What the request's own thread does after the request has no handle."""
    service.get("afterwards", new_handle(), out=upstream.url(path))
    assert handles([upstream.wait_for(path)]) == [[]]
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        service.get("afterwards_failing", new_handle(), out=upstream.url(path + "/failing"))
    assert handles([upstream.wait_for(path + "/failing")]) == [[]]


def test_server_with_its_own_loop(interpreter: Interpreter, upstream: Upstream, path: str) -> None:
    """A handler that replaces the methods which bound a request, as werkzeug's does, is bounded."""
    sent = [[new_handle()], [], [new_handle()]]
    with serving(interpreter, "own_loop") as service:
        connection = http.client.HTTPConnection("127.0.0.1", service.port)
        for values in sent:
            service.get_on(connection, "urllib_request", *values, out=upstream.url(path))
        service.get_on(connection, "afterwards", new_handle(), out=upstream.url(path + "/after"))
        connection.close()
        assert handles([upstream.wait_for(path + "/after")]) == [[]]
    assert handles(upstream.heads(path)) == sent


def test_wsgiref(interpreter: Interpreter, upstream: Upstream, path: str) -> None:
    """wsgiref's handler, which replaces ``handle``, is bounded as well."""
    sent = [[new_handle()], [], [new_handle()]]
    with serving(interpreter, "wsgiref") as service:
        for values in sent:
            service.get("any", *values, out=upstream.url(path))
    assert handles(upstream.heads(path)) == sent


PATTERNS = ["urllib_request", "pooled", "one_connection", "gather", "run_in_executor", "own_pool"]


def test_many_users_at_once(service: Service, upstream: Upstream, path: str) -> None:
    """Two hundred requests over thirty connections: every call has its own request's handle."""
    sent = [(new_handle(), PATTERNS[i % len(PATTERNS)], f"{path}/{i}/") for i in range(200)]

    def get(request: tuple[str, str, str]) -> int:
        handle, pattern, target = request
        return service.get(pattern, handle, out=upstream.url(target))

    with concurrent.futures.ThreadPoolExecutor(30) as users:
        assert set(users.map(get, sent)) == {200}
    for handle, _, target in sent:
        heads = upstream.heads(target)
        assert heads
        assert handles(heads) == [[handle]] * len(heads)
