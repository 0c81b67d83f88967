"""Finding the rule of a request, in one process, for rules of several shapes and numbers.

A script of its own, so that it runs with the ``sidecar`` that is installed, compiled or not, and
not with the tree it lies in. It reads what to measure as JSON from standard input and writes what
it measured to standard output; ``bench.matching`` starts it.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from sidecar.core.attribution import CallTerms
from sidecar.core.build import COMPILED
from sidecar.core.policy import Policy, PolicyRule, Requirement

Request = tuple[bytes, bytes, bytes]
"""Method, canonical path, host."""


def measure(order: Mapping[str, Any]) -> dict[str, Any]:
    """Measure each shape with each number of rules, in turn within each round."""
    shapes: Mapping[str, Callable[[int, int], tuple[PolicyRule, Request]]] = {
        "literal path": _literal,
        "named segments": _named,
        "one host each": _hosted,
    }
    numbers, count, rounds = order["rules"], order["paths"], order["rounds"]
    costs: dict[str, list[float]] = {}
    for shape, make in shapes.items():
        prepared = []
        for number in numbers:
            policy = Policy(make(n, 0)[0] for n in range(number))
            prepared.append((policy, [make(number - 1, serial)[1] for serial in range(count)]))
        found = [[_cost(*each) for each in prepared] for _ in range(rounds)]
        costs[shape] = [median(column) for column in zip(*found, strict=True)]
    return {"compiled": COMPILED, "rules": numbers, "costs": costs}


def _rule(number: int, path: str, hosts: tuple[str, ...] | None = None) -> PolicyRule:
    methods = frozenset({b"GET"})
    return PolicyRule(str(number), (path,), methods, Requirement(), CallTerms(60.0), hosts=hosts)


def _literal(number: int, serial: int) -> tuple[PolicyRule, Request]:  # noqa: ARG001
    path = f"/services/s{number}/orders/latest"
    return _rule(number, path), (b"GET", path.encode(), b"api.example.org")


def _named(number: int, serial: int) -> tuple[PolicyRule, Request]:
    request = (b"GET", b"/s%d/users/u%d/orders/%d" % (number, serial, serial), b"api.example.org")
    return _rule(number, f"/s{number}/users/{{user}}/orders/{{order}}"), request


def _hosted(number: int, serial: int) -> tuple[PolicyRule, Request]:
    host = f"s{number}.example.org"
    request = (b"GET", b"/users/u%d/orders/%d" % (serial, serial), host.encode())
    return _rule(number, "/users/{user}/**", (host,)), request


def _cost(policy: Policy, requests: list[Request]) -> float:
    """Return microseconds of processor time per request."""
    started = time.process_time_ns()
    for method, path, host in requests:
        assert policy.match(method, path, host) is not None
    return (time.process_time_ns() - started) / len(requests) / 1000


if __name__ == "__main__":
    json.dump(measure(json.load(sys.stdin)), sys.stdout)
