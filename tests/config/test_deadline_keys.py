"""``deadline_headers``, ``deadline_header``, ``circuit`` and the limits that bound calls."""

import pytest

from sidecar.config.model import CircuitBreaker, Destination, Inbound
from tests.config.cases import VALID_START, lines
from tests.config.conftest import Examine

DESTINATION = "listen: '127.0.0.1:9001', upstream: 'https://d'"


def destination(examined: Examine, more: str) -> Destination:
    found = examined(f"{VALID_START}outbound: {{destinations: {{d: {{{DESTINATION}, {more}}}}}}}\n")
    assert lines(found.errors) == []
    assert found.config is not None
    return found.config.outbound.destinations["d"]


def inbound(examined: Examine, more: str) -> Inbound:
    found = examined(f"{VALID_START}inbound: {{{more}}}\n")
    assert lines(found.errors) == []
    assert found.config is not None
    return found.config.inbound


def test_nothing_is_bounded_unless_written(examined: Examine) -> None:
    """But a connection to a destination is tried a second time."""
    found = destination(examined, "mode: enforce")
    assert (found.circuit, found.deadline_header) == (None, None)
    assert found.limits.total_timeout_seconds is None
    assert (found.limits.connect_retries, found.limits.max_concurrent) == (1, None)
    ours = inbound(examined, "mode: enforce")
    assert (ours.deadline_headers, ours.limits.total_timeout_seconds) == ((), None)
    assert ours.limits.connect_retries == 0


def test_a_circuit_may_have_defaults_alone(examined: Examine) -> None:
    """An empty map switches it on."""
    assert destination(examined, "circuit: {}").circuit == CircuitBreaker()


def test_everything(examined: Examine) -> None:
    """Every key arrives; names of headers in lower case."""
    found = destination(
        examined,
        "circuit: {failures: 2, pause: 500ms, longest_pause: 5s, answers: none, fair_time: 0s}, "
        "deadline_header: Grpc-Timeout, "
        "limits: {total_timeout: 2s, connect_retries: 3, max_concurrent: 7}",
    )
    assert found.circuit == CircuitBreaker(2, 0.5, 5.0, "none", 0.0)
    assert found.deadline_header == "grpc-timeout"
    assert found.limits.total_timeout_seconds == 2.0
    assert (found.limits.connect_retries, found.limits.max_concurrent) == (3, 7)
    ours = inbound(
        examined, "deadline_headers: [GRPC-Timeout, x-wait], limits: {total_timeout: 30s}"
    )
    assert ours.deadline_headers == ("grpc-timeout", "x-wait")
    assert ours.limits.total_timeout_seconds == 30.0


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ("circuit: on", "circuit: must be a map"),
        ("circuit: {failures: 0}", "circuit.failures: must be a whole number from 1 to 1000"),
        ("circuit: {pause: 5}", "circuit.pause: `5` needs a unit"),
        ("circuit: {answers: 500}", "circuit.answers: `500` is not one of"),
        ("circuit: {pause: 1m}", "circuit.pause: must not be longer than `longest_pause`"),
        (
            "circuit: {longest_pause: 500ms}",
            "circuit.longest_pause: must not be shorter than `pause`",
        ),
        ("circuit: {failure: 3}", "circuit.failure: unknown key"),
        ("deadline_header: a b", "deadline_header: `a b` is not the name of a header"),
        ("deadline_header: Host", "deadline_header: `Host` has another meaning"),
        ("deadline_header: authorization", "deadline_header: `authorization` has another meaning"),
        ("deadline_header: x-auth-wait", "deadline_header: `x-auth-wait` has another meaning"),
        ("deadline_header: Content-Wait", "deadline_header: `Content-Wait` has another meaning"),
        ("deadline_header: x-request-id", "deadline_header: `x-request-id` has another meaning"),
        (
            "limits: {connect_retries: 4}",
            "limits.connect_retries: must be a whole number",
        ),
        (
            "limits: {max_concurrent: 0}",
            "limits.max_concurrent: must be a whole number",
        ),
        ("limits: {total_timeout: 1ms}", "limits.total_timeout: `1ms` must be from 10ms to 1h"),
    ],
)
def test_what_cannot_be(examined: Examine, more: str, error: str) -> None:
    """Each is told with its place."""
    found = examined(f"{VALID_START}outbound: {{destinations: {{d: {{{DESTINATION}, {more}}}}}}}\n")
    (line,) = lines(found.errors)
    assert line.startswith("3:")
    assert f"outbound.destinations.d.{error}" in line


def test_only_destinations_are_bounded_in_number(examined: Examine) -> None:
    """In front of the app that is ``max_upstream_connections``."""
    found = examined(f"{VALID_START}inbound: {{limits: {{max_concurrent: 3}}}}\n")
    (line,) = lines(found.errors)
    assert "inbound.limits.max_concurrent: unknown key" in line
