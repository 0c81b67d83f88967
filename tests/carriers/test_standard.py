"""The standard grade: the handle goes where Python copies its context, and into pools' jobs."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.support.needs import needs_module

from .conftest import (
    CARRIER,
    Interpreter,
    Service,
    handles,
    new_handle,
    reports,
    serving,
    serving_with_libraries,
)
from .upstream import Upstream

REPORT = "python/0.1.0; grade=standard"
STANDARD = {"SIDECAR_CARRIER": "grade=standard"}


@pytest.fixture(scope="module")
def standard(interpreter: Interpreter) -> Iterator[Service]:
    with serving(interpreter, environment=STANDARD) as running:
        yield running


@pytest.mark.parametrize(
    ("pattern", "calls", "since"),
    [
        ("urllib_request", 1, (3, 8)),
        ("run_until_complete", 2, (3, 8)),
        ("gather", 3, (3, 8)),
        ("wait_for", 3, (3, 8)),
        ("run_in_executor", 8, (3, 8)),
        ("to_thread", 5, (3, 9)),
        ("task_group", 2, (3, 11)),
        ("own_pool", 8, (3, 8)),
        ("shared_pool", 2, (3, 8)),
        ("kept_pool", 1, (3, 8)),
        ("pool_entered_elsewhere", 1, (3, 8)),
        ("own_kind_of_pool", 1, (3, 8)),
        ("bare_task", 4, (3, 8)),
        ("loop_callback", 1, (3, 8)),
        ("not_awaited_at_once", 2, (3, 8)),
        ("awaited_later", 2, (3, 8)),
        ("left_behind", 2, (3, 8)),
        ("timed_out", 1, (3, 8)),
        ("other_loop", 1, (3, 8)),
    ],
)
def test_children(
    standard: Service,
    interpreter: Interpreter,
    upstream: Upstream,
    path: str,
    pattern: str,
    calls: int,
    since: tuple[int, int],
) -> None:
    """Tasks, callbacks and jobs have the handle of whoever created them, joined or not."""
    if interpreter.version < since:
        pytest.skip(f"not in Python {interpreter.version}")
    for user in ["/a", "/b"]:
        handle = new_handle()
        assert standard.get(pattern, handle, out=upstream.url(path + user)) == 200
        heads = upstream.heads(path + user)
        assert handles(heads) == [[handle]] * calls
        assert reports(heads) == [[REPORT]] * calls


@pytest.mark.parametrize(
    "pattern",
    ["thread", "thread_with_context", "thread_with_context_and_loop", "timer", "forked"],
)
def test_bare_threads(standard: Service, upstream: Upstream, path: str, pattern: str) -> None:
    """A thread or process of its own has no handle, whatever context it was given."""
    assert standard.get(pattern, new_handle(), out=upstream.url(path)) == 200
    assert handles(upstream.heads(path)) == [[]]
    assert reports(upstream.heads(path)) == [[REPORT]]


def test_after_the_request(standard: Service, upstream: Upstream, path: str) -> None:
    """A thread on its own has no handle, a task keeps its own: the sidecar knows if it is late."""
    standard.get("afterwards", new_handle(), out=upstream.url(path))
    assert handles([upstream.wait_for(path)]) == [[]]
    handle = new_handle()
    standard.get("task_outlives_request", handle, out=upstream.url(path + "/task"))
    assert handles([upstream.wait_for(path + "/task")]) == [[handle]]


def test_app_that_copies_all_headers(standard: Service, upstream: Upstream, path: str) -> None:
    """The carrier vouches for no copy in this grade either."""
    handle = new_handle()
    standard.get("copies_headers", handle, out=upstream.url(path))
    standard.get("copies_headers_in_thread", handle, out=upstream.url(path))
    assert handles(upstream.heads(path)) == [[handle], [handle]]
    assert reports(upstream.heads(path)) == [[REPORT], []]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_shared_loop(upstream: Upstream, path: str, loop: str) -> None:
    """Where requests share a loop, their bare tasks have their handles, but bare threads none."""
    needs_module("httpx")
    environment = {**STANDARD, "SERVICE_LOOP": loop}
    with serving_with_libraries("async_service", environment=environment) as service:
        for pattern, calls in [("aiohttp_bare_task", 2), ("httpx_bare_task", 1)]:
            handle, target = new_handle(), f"{path}/{pattern}"
            assert service.get(pattern, handle, out=upstream.url(target)) == 200
            assert handles(upstream.heads(target)) == [[handle]] * calls
            assert reports(upstream.heads(target)) == [[REPORT]] * calls
        service.get("bare_thread_with_loop", new_handle(), out=upstream.url(path + "/thread"))
    assert handles(upstream.heads(path + "/thread")) == [[]]


OTHER_INTERPRETERS = """
import sys, types
from concurrent.futures import ThreadPoolExecutor
from sidecar_carrier import held
module = sys.modules['concurrent.futures.interpreter'] = types.ModuleType('interpreter')
module.InterpreterPoolExecutor = type('InterpreterPoolExecutor', (ThreadPoolExecutor,), {})
held.begin('sdc1' + '0' * 28)
for kind in ThreadPoolExecutor, module.InterpreterPoolExecutor:
    print(kind(1).submit(held.handle).result() is not None)
"""


def test_pool_of_other_interpreters(interpreter: Interpreter) -> None:
    """A pool that has to send its jobs elsewhere gets them as the app gave them."""
    answer = subprocess.run(
        [interpreter.program, "-c", OTHER_INTERPRETERS],
        env={**STANDARD, "PYTHONPATH": str(CARRIER), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert answer.stdout.split() == ["True", "False"]
