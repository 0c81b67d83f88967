"""The killer cell: the first request starts a worker, stays open, and others use the worker.

Where a carrier follows whatever was created during a request, the worker makes everybody's calls
in the first caller's name, with a handle that is genuine and alive.
"""

import concurrent.futures

import pytest

from .conftest import Interpreter, Service, handles, new_handle, reports, serving
from .upstream import Upstream

WAYS = [
    "thread",
    "timer",
    "with_context",
    "in_shared_pool",
    "by_map",
    "in_kept_pool",
    "in_other_loop",
    "task",
    "gather",
    "executor",
    "callbacks",
]


@pytest.mark.parametrize("way", WAYS)
def test_lazily_started_worker(service: Service, upstream: Upstream, path: str, way: str) -> None:
    """However the worker was started, its calls carry nobody's handle; its starter's own do."""
    _, served = serve_by_worker(service, upstream, path, way, users=8)
    assert served == [[]] * 9


def test_endless_job_in_a_shared_pool(
    interpreter: Interpreter, service: Service, upstream: Upstream, path: str
) -> None:
    """Strict, none of 200 users' calls is made in the name of the one whose job never ends."""
    _, served = serve_by_worker(service, upstream, path, "in_shared_pool", users=200)
    assert served == [[]] * 201


STANDARD = {"SIDECAR_CARRIER": "grade=standard"}


@pytest.mark.parametrize("way", ["thread", "timer", "with_context"])
def test_standard_worker_thread(
    interpreter: Interpreter, upstream: Upstream, path: str, way: str
) -> None:
    """A bare thread has nobody's handle in the standard grade either."""
    with serving(interpreter, environment=STANDARD) as service:
        _, served = serve_by_worker(service, upstream, path, way, users=8)
    assert served == [[]] * 9


@pytest.mark.parametrize(
    "way", ["in_shared_pool", "by_map", "in_other_loop", "task", "gather", "executor", "callbacks"]
)
def test_standard_worker(interpreter: Interpreter, upstream: Upstream, path: str, way: str) -> None:
    """What the standard grade costs: such a worker calls in its starter's name, while that one's
    request is open. If this fails because fewer calls are wrong, say so in docs/attribution.md.
    """
    with serving(interpreter, environment=STANDARD) as service:
        first, served = serve_by_worker(service, upstream, path, way, users=200)
    assert served == [[first]] * 201


def serve_by_worker(
    service: Service, upstream: Upstream, path: str, way: str, *, users: int
) -> tuple[str, list[list[str]]]:
    """Have the first request start a worker and stay open while others use it. Return its handle,
    and the handles of the worker's calls: the first is for the first request.
    """
    first = new_handle()
    with concurrent.futures.ThreadPoolExecutor(31) as pool:
        with upstream.holding(path + "/open"):
            starter = pool.submit(service.get, f"first/{way}", first, out=upstream.url(path))
            upstream.wait_for(path + "/open")
            targets = [upstream.url(f"{path}/next/{i}") for i in range(users)]
            asked = [
                pool.submit(service.get, f"next/{way}", new_handle(), out=target)
                for target in targets
            ]
            assert {answer.result() for answer in asked} == {200}
        service.get(f"stop/{way}")
        assert starter.result() == 200
    assert handles(upstream.heads(path + "/open")) == [[first]]
    called = {head.target: head for head in upstream.heads("")}
    served = [called[f"{path}/first"], *(called[f"{path}/next/{i}"] for i in range(users))]
    assert all(reports([head])[0] for head in served)
    return first, handles(served)
