"""Which of a request's children have its handle: those it is sure to wait for, and no others."""

import pytest

from .conftest import Interpreter, Service, handles, new_handle, reports
from .upstream import Upstream


@pytest.mark.parametrize(
    ("pattern", "calls", "since"),
    [
        ("run", 1, (3, 8)),
        ("run_until_complete", 2, (3, 8)),
        ("gather", 3, (3, 8)),
        ("wait_for", 3, (3, 8)),
        ("run_in_executor", 8, (3, 8)),
        ("own_pool", 8, (3, 8)),
        ("to_thread", 5, (3, 9)),
        ("task_group", 2, (3, 11)),
    ],
)
def test_structured_children(
    service: Service,
    interpreter: Interpreter,
    upstream: Upstream,
    path: str,
    pattern: str,
    calls: int,
    since: tuple[int, int],
) -> None:
    """A child that its parent waits for has the handle, and two users' children their own."""
    if interpreter.version < since:
        pytest.skip(f"not in Python {interpreter.version}")
    for user in ["/a", "/b"]:
        handle = new_handle()
        assert service.get(pattern, handle, out=upstream.url(path + user)) == 200
        assert handles(upstream.heads(path + user)) == [[handle]] * calls


@pytest.mark.parametrize(
    ("pattern", "calls"),
    [
        ("thread", 1),
        ("thread_with_context", 1),
        ("thread_with_context_and_loop", 1),
        ("timer", 1),
        ("shared_pool", 2),
        ("kept_pool", 1),
        ("pool_entered_elsewhere", 1),
        ("own_kind_of_pool", 1),
        ("bare_task", 4),
        ("loop_callback", 1),
        ("not_awaited_at_once", 2),
        ("awaited_later", 2),
        ("left_behind", 2),
        ("timed_out", 1),
        ("other_loop", 1),
        ("forked", 1),
    ],
)
def test_other_children(
    service: Service, upstream: Upstream, path: str, pattern: str, calls: int
) -> None:
    """A child that nothing forces its parent to wait for calls without handle, but reports."""
    assert service.get(pattern, new_handle(), out=upstream.url(path)) == 200
    heads = upstream.heads(path)
    assert handles(heads) == [[]] * calls
    assert reports(heads) == [["python/0.1.0; grade=strict"]] * calls
