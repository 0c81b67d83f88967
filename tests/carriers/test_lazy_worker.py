"""The killer cell: the first request starts a worker, stays open, and others use the worker.

Where a carrier follows whatever was created during a request, the worker makes everybody's calls
in the first caller's name, with a handle that is genuine and alive.
"""

import concurrent.futures

import pytest

from .conftest import Service, handles, new_handle
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
    first = new_handle()
    with concurrent.futures.ThreadPoolExecutor(9) as users:
        with upstream.holding(path + "/open"):
            starter = users.submit(service.get, f"first/{way}", first, out=upstream.url(path))
            upstream.wait_for(path + "/open")
            targets = [upstream.url(f"{path}/next/{i}") for i in range(8)]
            asked = [
                users.submit(service.get, f"next/{way}", new_handle(), out=target)
                for target in targets
            ]
            assert [answer.result() for answer in asked] == [200] * 8
        service.get(f"stop/{way}")
        assert starter.result() == 200
    served = [upstream.wait_for(path + "/first")]
    served += [upstream.wait_for(f"{path}/next/{i}") for i in range(8)]
    assert handles(served) == [[]] * 9
    assert handles(upstream.heads(path + "/open")) == [[first]]
