"""The carrier and OpenTelemetry's automatic instrumentation in one process."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.needs import needs_module

from .conftest import (
    CARRIER,
    OURS,
    Service,
    handles,
    new_handle,
    reports,
    serving,
    serving_with_libraries,
)
from .upstream import Head, Upstream

QUIET = {
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    # Its asyncio part wraps only the coroutines it is told of.
    "OTEL_PYTHON_ASYNCIO_COROUTINE_NAMES": "call_async,call_in_own_session",
    "OTEL_PYTHON_ASYNCIO_FUTURE_TRACE_ENABLED": "true",
}
GRADES = ["strict", "standard"]


def opentelemetry() -> Path:
    """The directory with OpenTelemetry's sitecustomize."""
    for name in ["distro", "instrumentation.threading", "instrumentation.asyncio"]:
        needs_module(f"opentelemetry.{name}")
    spec = importlib.util.find_spec("opentelemetry.instrumentation.auto_instrumentation")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def are_traced(heads: list[Head]) -> bool:
    return all(len(head.values("traceparent")) == 1 for head in heads)


@pytest.fixture(scope="module", params=GRADES)
def grade(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def both(grade: str) -> Iterator[Service]:
    """The plain service, ours first on the path."""
    environment = {**QUIET, "SIDECAR_CARRIER": f"grade={grade}"}
    path = (CARRIER, opentelemetry())
    with serving(OURS, environment=environment, path=path, stderr=None) as service:
        yield service


@pytest.mark.parametrize(
    ("pattern", "calls"),
    [
        ("urllib_request", 1),
        ("run", 1),
        ("gather", 3),
        ("wait_for", 3),
        ("task_group", 2),
        ("to_thread", 5),
        ("run_in_executor", 8),
        ("own_pool", 8),
    ],
)
def test_both_are_active(
    both: Service, grade: str, upstream: Upstream, path: str, pattern: str, calls: int
) -> None:
    """Calls of children that the request waits for have the handle, and are traced."""
    handle = new_handle()
    assert both.get(pattern, handle, out=upstream.url(path)) == 200
    heads = upstream.heads(path)
    assert handles(heads) == [[handle]] * calls
    assert reports(heads) == [[f"python/0.1.0; grade={grade}"]] * calls
    assert are_traced(heads)


@pytest.mark.parametrize(
    "pattern", ["thread", "timer", "thread_with_context", "thread_with_context_and_loop"]
)
def test_threads_it_instruments(both: Service, upstream: Upstream, path: str, pattern: str) -> None:
    """It takes its context into threads and timers; ours does not come along, in either grade."""
    assert both.get(pattern, new_handle(), out=upstream.url(path)) == 200
    assert handles(upstream.heads(path)) == [[]]
    assert are_traced(upstream.heads(path))


@pytest.mark.parametrize(
    ("pattern", "calls"), [("shared_pool", 2), ("bare_task", 4), ("loop_callback", 1)]
)
def test_children_it_instruments(
    both: Service, grade: str, upstream: Upstream, path: str, pattern: str, calls: int
) -> None:
    """It takes its context into every pool and task; ours goes there in the standard grade only."""
    handle = new_handle()
    assert both.get(pattern, handle, out=upstream.url(path)) == 200
    expected = [handle] if grade == "standard" else []
    assert handles(upstream.heads(path)) == [expected] * calls


@pytest.mark.parametrize("pattern", ["shared_httpx", "shared_requests", "shared_urllib3"])
def test_libraries(upstream: Upstream, path: str, pattern: str) -> None:
    """Both wrap the library, and each call has its own request's handle and a trace."""
    environment, order = {**QUIET, "SERVICE_CONNECTIONS": "1"}, (CARRIER, opentelemetry())
    with serving_with_libraries(
        "library_service", environment=environment, path=order, stderr=None
    ) as service:
        check_users(service, upstream, path, pattern)


@pytest.mark.parametrize("pattern", ["shared_aiohttp", "shared_httpx"])
def test_async_libraries(upstream: Upstream, path: str, pattern: str) -> None:
    """The same for the clients that live in a loop."""
    environment, order = {**QUIET, "SERVICE_CONNECTIONS": "1"}, (CARRIER, opentelemetry())
    with serving_with_libraries(
        "async_service", environment=environment, path=order, stderr=None
    ) as service:
        check_users(service, upstream, path, pattern)


def check_users(service: Service, upstream: Upstream, path: str, pattern: str) -> None:
    for user in ["/a", "/b"]:
        handle = new_handle()
        assert service.get(pattern, handle, out=upstream.url(path + user)) == 200
        heads = upstream.heads(path + user)
        assert handles(heads) == [[handle]] * 2
        assert are_traced(heads)


def test_it_comes_first(upstream: Upstream, path: str) -> None:
    """It does not run the next sitecustomize: no carrier, no header, and an app that works."""
    order = (opentelemetry(), CARRIER)
    with serving(OURS, environment=QUIET, path=order, stderr=None) as service:
        for pattern in ["urllib_request", "gather", "thread"]:
            assert service.get(pattern, new_handle(), out=upstream.url(path)) == 200
    heads = upstream.heads(path)
    assert handles(heads) == reports(heads) == [[]] * 5
    assert are_traced(heads)
