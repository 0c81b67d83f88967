"""What keeping a permitted request for ``sidecar explain`` costs, in one process.

A request runs from the bytes of its head to the end of its answer, without sockets and without an
app: head parsed, known token found, rule matched, ledger opened and closed, both heads written,
counted and logged. A script of its own, so that it runs with the ``sidecar`` that is installed,
compiled or not. It reads what to do as JSON from standard input and writes what it measured to
standard output; ``bench.explanation`` starts it.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from sidecar.config.model import (
    Address,
    Admin,
    Allow,
    Config,
    Explain,
    Inbound,
    Issuer,
    JwksFile,
    Origin,
    Rule,
)
from sidecar.core.build import COMPILED
from sidecar.core.headers import classify, identity_lines
from sidecar.core.keyset import parse_jwks
from sidecar.core.policy import Policy
from sidecar.core.verification import IssuerPolicy, Verifier
from sidecar.credentials.ledger import HandleSource, Ledger
from sidecar.inbound.handler import InboundHandler
from sidecar.settings import inbound_settings, policy_rules, wire_limits
from sidecar.telemetry.access_log import AccessLog
from sidecar.telemetry.decisions import Decisions
from sidecar.telemetry.exchanges import ExchangeReporter
from sidecar.telemetry.metrics import Metrics
from sidecar.wire.deadlines import Deadlines
from sidecar.wire.exchange import Forward, Timing
from sidecar.wire.fields import NameTable
from sidecar.wire.heads import ResponseHead
from sidecar.wire.pool import Pool
from sidecar.wire.request_head import parse_request_head

ANSWER = (b"content-type: application/json\r\n", b"content-length: 120\r\n", b"server: app\r\n")


def measure(order: Mapping[str, Any]) -> dict[str, Any]:
    """Measure requests with the ring and without, in turn within each round."""
    token, count = order["token"].encode(), order["requests"]
    runs = [_served(order, token, count, explain) for explain in (Explain(), None)]
    for run in runs:
        run()
    gc.collect()
    gc.freeze()
    pairs = []
    for number in range(order["rounds"]):
        # Who goes first in a round changes: what one leaves behind costs the other.
        first = number % 2
        times = [0.0, 0.0]
        for which in (first, 1 - first):
            times[which] = _microseconds(runs[which], count)
        pairs.append(times)
    return {
        "compiled": COMPILED,
        "on": median(on for on, _ in pairs),
        "off": median(off for _, off in pairs),
        "ratio": median(on / off for on, off in pairs),
    }


def _served(
    order: Mapping[str, Any], token: bytes, count: int, explain: Explain | None
) -> Callable[[], None]:
    config = Config(
        issuers={
            "bench": Issuer("bench", order["issuer"], (order["audience"],), JwksFile(os.devnull))
        },
        inbound=Inbound(
            Address("127.0.0.1", 0),
            Origin("http", "127.0.0.1", 9),
            (Rule("orders", ("/orders/**",), Allow.AUTHENTICATED),),
        ),
        admin=Admin(Address("127.0.0.1", 0)),
    )
    policy = IssuerPolicy("bench", order["issuer"], frozenset({order["audience"]}))
    verifier = Verifier(
        [policy],
        render=identity_lines,
        max_token_bytes=16 * 1024,
        cache_max_entries=100,
        cache_max_bytes=1 << 20,
    )
    verifier.install("bench", parse_jwks(order["jwks"].encode()))
    names, limits = NameTable(classify), wire_limits(config.inbound.limits)
    metrics = Metrics(version="0").direction("inbound", ["orders"])
    decisions = None
    if explain is not None:
        decisions = Decisions(
            refusals=explain.refusals, permits=explain.permits, wall_clock=time.time
        )
    handler = InboundHandler(
        settings=inbound_settings(config),
        policy=Policy(policy_rules(config)),
        verifier=verifier,
        keys={},
        ledger=Ledger(1000, clock=time.monotonic),
        pool=Pool(
            "127.0.0.1", 9, limits=limits, names=names, deadlines=Deadlines(time.monotonic),
            clock=time.monotonic,
        ),
        metrics=metrics,
        reporter=ExchangeReporter(metrics, AccessLog(len, "all"), decisions),
        ids=HandleSource(),
        wall_clock=time.time,
        random=os.urandom,
    )  # fmt: skip
    raw = (
        b"GET /orders/4711?page=2 HTTP/1.1\r\nHost: orders.example\r\nAccept: application/json\r\n"
        b"User-Agent: bench/1.0\r\nAuthorization: Bearer %b\r\n" % token
    )

    def run() -> None:
        for _ in range(count):
            now = time.monotonic()
            head = parse_request_head(raw, names, limits)
            exchange = handler.begin(head, "127.0.0.1")
            action = exchange.start()
            assert isinstance(action, Forward)
            lines = exchange.commit()
            assert isinstance(lines, bytes)
            head.serialize(action.target, lines)
            answer = ResponseHead(200, b"HTTP/1.1 200 OK\r\n", list(ANSWER))
            exchange.respond(answer)
            answer.serialize(b"")
            exchange.finish(200, Timing(now, now, now, now, now), None, whole=True)

    return run


def _microseconds(run: Callable[[], None], count: int) -> float:
    started = time.thread_time_ns()  # the access log's writer is another thread, in both
    run()
    return (time.thread_time_ns() - started) / count / 1000


if __name__ == "__main__":
    json.dump(measure(json.load(sys.stdin)), sys.stdout)
