"""Calls within their time, to destinations that may be called: misbehaving ones on real sockets."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import h11
import pytest

from sidecar.cli.status_text import lines
from sidecar.config import model
from sidecar.config.model import CircuitBreaker, DestinationLimits, Limits
from tests.support.http import Response, fetch
from tests.support.inflight import arrive, call_with
from tests.support.pod import Pod, pod, records
from tests.support.wire_peer import Peer, until
from tests.support.wire_proxy import Origin, Script

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
LONG = 30.0
"""More than any test waits."""
ANONYMOUS: dict[str, Any] = {"token": "none", "app_credentials": "keep"}


@asynccontextmanager
async def calling(
    directory: Path, script: Script, *, inbound: dict[str, object] | None = None, **more: Any
) -> AsyncIterator[tuple[Pod, Origin]]:
    """A pod whose destination does to every connection what *script* says."""
    origin = Origin(script)
    async with origin.running():
        upstream = model.Origin("http", "127.0.0.1", origin.port)
        async with pod(
            directory, automatic=False, inbound=inbound, destination={"upstream": upstream, **more}
        ) as running:
            yield running, origin


async def call(running: Pod, handle: str | None = None, **fields: str) -> Response:
    """Call the destination, of which the test's script has charge."""
    sent = [("x-sidecar-carrier", "python/0.1; grade=strict")]
    if handle is not None:
        sent.append(("x-sidecar-context", handle))
    sent += [(name.replace("_", "-"), value) for name, value in fields.items()]
    return await fetch(running.bound.outbound["profiles"], "/profiles/x", fields=sent)


async def silent(peer: Peer) -> None:
    """Script: accept, and never answer."""
    await peer.rest()


async def trickling(peer: Peer) -> None:
    """Script: begin an answer, and let it come byte by byte for ever."""
    await peer.message()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not peer.has_ended:
        await peer.send(b"a")
        await asyncio.sleep(0.005)


async def resetting(peer: Peer) -> None:
    """Script: take the request and reset the connection."""
    await peer.message()
    peer.reset()


async def answering(peer: Peer) -> None:
    """Script: answer every request."""
    while True:
        await peer.message()
        await peer.send(OK)


async def unavailable(peer: Peer) -> None:
    """Script: answer 503 to every request."""
    while True:
        await peer.message()
        await peer.send(BUSY)


def given_up(origin: Origin) -> bool:
    """Whether no connection of ours is left there."""
    return all(peer.has_ended for peer in origin.peers)


def limits(**changes: Any) -> DestinationLimits:
    return replace(DestinationLimits(connect_retries=0), **changes)


# --- the end of a call ---


async def test_a_destination_that_never_answers(tmp_path: Path) -> None:
    """The app is told when ``total_timeout`` is over, and the connection is given up."""
    async with calling(
        tmp_path, silent, limits=limits(total_timeout_seconds=0.05), **ANONYMOUS
    ) as (running, origin):
        answer = await call(running)
        assert (answer.status, answer.reason) == (504, "deadline_exceeded")
        await until(lambda: given_up(origin))
        metrics = await running.metrics()
    refused = 'reason="deadline_exceeded",route="profiles"} 1.0'
    assert any(refused in line for line in metrics.splitlines())
    assert 'sidecar_destination_in_flight{destination="profiles"} 0.0' in metrics
    (record,) = records(running)
    assert record["detail"].startswith("the time was over while it waited for ")


async def test_a_destination_that_trickles(tmp_path: Path) -> None:
    """The head went to the app, so that all there is left to do is to cut the answer."""
    async with calling(
        tmp_path, trickling, limits=limits(total_timeout_seconds=0.1), **ANONYMOUS
    ) as (running, origin):
        with suppress(OSError, h11.RemoteProtocolError):
            await call(running)
        await until(lambda: given_up(origin))
    (record,) = records(running)
    assert record["reason"] == "deadline_exceeded"


@pytest.mark.parametrize("token", ["relay", "none"])
async def test_a_call_ends_with_the_patience_of_the_caller(tmp_path: Path, token: str) -> None:
    """What the caller says bounds its request, and every call that the request causes."""
    more = {"token": token, "app_credentials": "keep"} if token == "none" else {}
    async with calling(tmp_path, silent, inbound={"deadline_headers": ("x-wait",)}, **more) as (
        running,
        origin,
    ):
        alice = await arrive(running, running.mint.token("alice"), fields=[("X-Wait", "30s")])
        (entry,) = running.wiring.ledger._live.values()
        assert entry.deadline < time.monotonic() + 30.0
        entry.deadline = time.monotonic() + 0.1
        answer = await call(running, alice.handle)
        assert (answer.status, answer.reason) == (504, "deadline_exceeded")
        await until(lambda: given_up(origin))
        assert 'sidecar_caller_deadlines_total{result="used"} 1.0' in await running.metrics()
        await alice.end()


async def test_a_caller_is_told_when_its_patience_is_over(tmp_path: Path) -> None:
    """The app loses the request, and with it the right to cause calls."""
    async with calling(tmp_path, answering, inbound={"deadline_headers": ("grpc-timeout",)}) as (
        running,
        _origin,
    ):
        alice = await arrive(
            running, running.mint.token("alice"), fields=[("grpc-timeout", "100m")]
        )
        answer = await alice.answer
        assert (answer.status, answer.reason) == (504, "deadline_exceeded")
        assert (await call(running, alice.handle)).reason == "attribution_dead"


async def test_a_call_for_whose_answer_nobody_waits_is_not_made(tmp_path: Path) -> None:
    """With less than a few milliseconds left nothing is sent: there is not even a connection."""
    async with calling(
        tmp_path, answering, inbound={"limits": Limits(total_timeout_seconds=LONG)}
    ) as (running, origin):
        alice = await arrive(running, running.mint.token("alice"))
        (entry,) = running.wiring.ledger._live.values()
        assert entry.deadline > time.monotonic() + LONG / 2
        entry.deadline = time.monotonic() + 0.004
        answer = await call(running, alice.handle)
        assert (answer.status, answer.reason) == (504, "deadline_exceeded")
        assert b"nothing was sent" in answer.body
        assert origin.peers == []
        assert entry.calls == 0
        entry.deadline = time.monotonic() + LONG
        assert (await call(running, alice.handle)).status == 200
        await alice.end()


async def test_who_has_the_answer_does_not_wait(tmp_path: Path) -> None:
    """A call that lingers after the response is not bounded by the caller's patience."""
    rules = (model.Rule("users", ("/users/**",), model.Allow.AUTHENTICATED, linger_seconds=LONG),)
    origin = Origin(answering)
    async with origin.running():
        upstream = model.Origin("http", "127.0.0.1", origin.port)
        async with pod(
            tmp_path,
            automatic=False,
            rules=rules,
            inbound={"limits": Limits(total_timeout_seconds=LONG)},
            destination={"upstream": upstream},
        ) as running:
            alice = await arrive(running, running.mint.token("alice"))
            (entry,) = running.wiring.ledger._live.values()
            await alice.end()
            entry.deadline = time.monotonic() - 1.0
            assert (await call(running, alice.handle)).status == 200


@pytest.mark.parametrize(
    ("said", "result"), [("soon", "malformed"), ("-1", "malformed"), ("60s", None)]
)
async def test_a_caller_can_only_take_time_away(
    tmp_path: Path, said: str, result: str | None
) -> None:
    """What is longer than the operator gives, or no time at all, changes nothing."""
    async with calling(
        tmp_path,
        answering,
        inbound={
            "limits": Limits(total_timeout_seconds=LONG),
            "deadline_headers": ("x-wait",),
        },
    ) as (running, _origin):
        alice = await arrive(running, running.mint.token("alice"), fields=[("x-wait", said)])
        (entry,) = running.wiring.ledger._live.values()
        assert entry.deadline <= time.monotonic() + LONG
        assert entry.deadline > time.monotonic() + LONG / 2
        assert alice.request.values("x-wait") == [said]
        await alice.end()
        metrics = await running.metrics()
        counted = f'sidecar_caller_deadlines_total{{result="{result}"}} 1.0'
        assert (counted in metrics) == (result is not None)


async def test_a_header_that_nobody_lists_says_nothing(tmp_path: Path) -> None:
    """Without ``total_timeout`` and ``deadline_headers`` requests have no end, as ever."""
    async with calling(tmp_path, answering) as (running, _origin):
        alice = await arrive(running, running.mint.token("alice"), fields=[("grpc-timeout", "1m")])
        (entry,) = running.wiring.ledger._live.values()
        assert entry.deadline == float("inf")
        assert running.wiring.bounds == {}
        await alice.end()


# --- what the destination is told ---


@pytest.mark.parametrize(
    ("name", "unit_seconds", "suffix"),
    [
        ("grpc-timeout", 0.001, "m"),
        ("x-envoy-expected-rq-timeout-ms", 0.001, ""),
        ("x-wait", 1.0, ""),
    ],
)
async def test_the_next_hop_is_told_what_remains(
    tmp_path: Path, name: str, unit_seconds: float, suffix: str
) -> None:
    """In the form that the name has; what the app wrote there is gone."""
    async with pod(
        tmp_path,
        automatic=False,
        destination={
            "deadline_header": name,
            "limits": limits(total_timeout_seconds=LONG),
        },
    ) as running:
        alice = await arrive(running, running.mint.token("alice"))
        carrier = ("x-sidecar-carrier", "python/0.1; grade=strict")
        fields = [carrier, ("x-sidecar-context", alice.handle), (name.title(), "soon")]
        answer, request = await call_with(running, fields)
        assert answer.status == 200
        assert request is not None
        (told,) = request.values(name)
        assert told.endswith(suffix)
        seconds = float(told.removesuffix(suffix)) * unit_seconds
        assert LONG / 2 < seconds <= LONG
        await alice.end()


async def test_an_app_that_gives_less_time_is_not_contradicted(tmp_path: Path) -> None:
    """The least of what it says and what remains is passed on."""
    async with pod(
        tmp_path,
        automatic=False,
        destination={"deadline_header": "x-wait", "limits": limits(total_timeout_seconds=LONG)},
    ) as running:
        alice = await arrive(running, running.mint.token("alice"))
        carrier = ("x-sidecar-carrier", "python/0.1; grade=strict")
        fields = [carrier, ("x-sidecar-context", alice.handle), ("x-wait", "5s")]
        _, request = await call_with(running, fields)
        assert request is not None
        (told,) = request.values("x-wait")
        assert 0.0 < float(told) <= 5.0
        await alice.end()


async def test_without_an_end_the_app_s_own_word_passes(tmp_path: Path) -> None:
    """We know no better."""
    async with pod(tmp_path, automatic=False, destination={"deadline_header": "x-wait"}) as running:
        alice = await arrive(running, running.mint.token("alice"))
        carrier = ("x-sidecar-carrier", "python/0.1; grade=strict")
        fields = [carrier, ("x-sidecar-context", alice.handle), ("x-wait", "5s")]
        _, request = await call_with(running, fields)
        assert request is not None
        assert request.values("x-wait") == ["5s"]
        await alice.end()


# --- the circuit ---

SOON = CircuitBreaker(failures=3, pause_seconds=0.1, fair_seconds=0.0)
NEVER_AGAIN = replace(SOON, pause_seconds=LONG)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (resetting, "upstream_reset"),
        (silent, "deadline_exceeded"),
        (unavailable, ""),
    ],
)
async def test_a_destination_that_fails_is_left_alone(
    tmp_path: Path, script: Script, reason: str
) -> None:
    """After as many failures in a row as are configured no call gets through, and each is told."""
    async with calling(
        tmp_path,
        script,
        circuit=NEVER_AGAIN,
        limits=limits(total_timeout_seconds=0.05),
        **ANONYMOUS,
    ) as (running, origin):
        assert [(await call(running)).reason for _ in range(3)] == [reason] * 3
        connections = len(origin.peers)
        answer = await call(running)
        assert (answer.status, answer.reason) == (503, "destination_unavailable")
        assert 1 <= int(answer.values("retry-after")[0]) <= LONG
        assert len(origin.peers) == connections
        metrics = await running.metrics()
        assert 'sidecar_circuit_state{destination="profiles",state="open"} 1.0' in metrics
        status = running.sidecar._telling.status()
        assert status.destinations[0].circuit == "open"
        assert "destination profiles fails: its circuit is open" in status.warnings
        assert "circuit open" in "\n".join(lines(status))
    assert records(running)[-1]["detail"].startswith("calls to profiles failed one after the other")


async def test_a_destination_that_is_not_there(tmp_path: Path) -> None:
    """Refused connections count, and one is tried again before that."""
    origin = Origin(answering)
    async with origin.running():
        upstream = model.Origin("http", "127.0.0.1", origin.port)
    destination = {
        "upstream": upstream,
        "circuit": replace(NEVER_AGAIN, failures=1),
        "limits": limits(connect_retries=1),
        **ANONYMOUS,
    }
    async with pod(tmp_path, destination=destination) as running:
        assert (await call(running)).reason == "upstream_unreachable"
        assert (await call(running)).reason == "destination_unavailable"
        metrics = await running.metrics()
        assert 'sidecar_connect_retries_total{destination="profiles"} 1.0' in metrics


async def test_it_is_called_again_when_it_answers(tmp_path: Path) -> None:
    """One call is let through after the pause; with its answer all are."""
    well = False

    async def script(peer: Peer) -> None:
        await (answering if well else resetting)(peer)

    async with calling(tmp_path, script, circuit=SOON, **ANONYMOUS) as (running, _origin):
        for _ in range(3):
            assert (await call(running)).reason == "upstream_reset"
        well = True
        guard = running.wiring.bounds["profiles"].guard
        assert guard is not None
        await until(lambda: guard.refusal() is None)
        assert (await call(running)).status == 200
        metrics = await running.metrics()
        assert 'sidecar_circuit_state{destination="profiles",state="closed"} 1.0' in metrics


async def test_a_call_that_we_refuse_counts_for_nothing(tmp_path: Path) -> None:
    """Neither for the circuit nor for the bound: it was never on its way."""
    async with calling(
        tmp_path, answering, circuit=NEVER_AGAIN, limits=limits(max_concurrent=1)
    ) as (running, origin):
        for _ in range(5):
            assert (await call(running)).reason == "attribution_missing"
        guard = running.wiring.bounds["profiles"].guard
        assert guard is not None
        assert guard.under_way.count == 0
        assert origin.peers == []
        alice = await arrive(running, running.mint.token("alice"))
        assert (await call(running, alice.handle)).status == 200
        await alice.end()


async def test_an_app_that_leaves_is_no_failure_of_the_destination(tmp_path: Path) -> None:
    """However often it does."""
    async with calling(tmp_path, silent, circuit=NEVER_AGAIN, **ANONYMOUS) as (running, origin):
        for number in range(5):
            calls = asyncio.create_task(call(running))
            await until(lambda number=number: len(origin.peers) == number + 1)  # type: ignore[misc]
            calls.cancel()
            await asyncio.wait((calls,))
        guard = running.wiring.bounds["profiles"].guard
        assert guard is not None
        await until(lambda: guard.under_way.count == 0)
        assert running.wiring.circuits() == {"profiles": "closed"}


async def test_a_rude_caller_does_not_open_it(tmp_path: Path) -> None:
    """A call that was cut by its own deadline counts if the destination had a fair time."""
    async with calling(
        tmp_path,
        silent,
        circuit=replace(NEVER_AGAIN, fair_seconds=LONG),
        limits=limits(total_timeout_seconds=0.02),
        **ANONYMOUS,
    ) as (running, _origin):
        for _ in range(5):
            assert (await call(running)).reason == "deadline_exceeded"
        assert running.wiring.circuits() == {"profiles": "closed"}


# --- the bound ---


async def test_the_calls_over_the_bound_are_refused_at_once(tmp_path: Path) -> None:
    """The destination sees no more of them than that, and the next one when there is room."""
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.message()
            await go_on.wait()
            await peer.send(OK)

    async with calling(tmp_path, script, limits=limits(max_concurrent=2), **ANONYMOUS) as (
        running,
        origin,
    ):
        first = [asyncio.create_task(call(running)) for _ in range(2)]
        await until(lambda: len(origin.peers) == 2)
        refused = await asyncio.gather(*(call(running) for _ in range(10)))
        assert {(each.status, each.reason) for each in refused} == {(503, "destination_busy")}
        assert {each.values("retry-after")[0] for each in refused} == {"1"}
        metrics = await running.metrics()
        assert 'sidecar_destination_in_flight{destination="profiles"} 2.0' in metrics
        assert len(origin.peers) == 2
        go_on.set()
        assert [(await each).status for each in first] == [200, 200]
        assert (await call(running)).status == 200


# --- across a reload ---


def changed(running: Pod, **fields: object) -> model.Config:
    config = running.wiring.config
    destination = replace(config.outbound.destinations["profiles"], **fields)  # type: ignore[arg-type]
    outbound = replace(config.outbound, destinations={"profiles": destination})
    return replace(config, outbound=outbound)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hosts": ("profiles.example",)}, "destination_unavailable"),
        ({"limits": limits(max_concurrent=5)}, "destination_unavailable"),
        ({"circuit": replace(NEVER_AGAIN, failures=4)}, "upstream_reset"),
        ({"circuit": None}, "upstream_reset"),
    ],
)
async def test_what_is_known_of_a_destination_outlives_a_reload(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    """While it is the same place and judged alike."""
    async with calling(tmp_path, resetting, circuit=NEVER_AGAIN, **ANONYMOUS) as (running, _origin):
        for _ in range(3):
            await call(running)
        await running.sidecar.install(changed(running, **change), ())
        assert (await call(running)).reason == reason


async def test_another_place_is_judged_anew(tmp_path: Path) -> None:
    """What failed was the one before."""
    other = Origin(answering)
    async with (
        other.running(),
        calling(tmp_path, resetting, circuit=NEVER_AGAIN, **ANONYMOUS) as (running, _origin),
    ):
        for _ in range(3):
            await call(running)
        upstream = model.Origin("http", "127.0.0.1", other.port)
        await running.sidecar.install(changed(running, upstream=upstream), ())
        assert (await call(running)).status == 200


async def test_calls_under_way_count_across_a_reload(tmp_path: Path) -> None:
    """A bound that is lowered holds for those that began under the old one too."""
    async with calling(tmp_path, silent, limits=limits(max_concurrent=5), **ANONYMOUS) as (
        running,
        origin,
    ):
        calls = asyncio.create_task(call(running))
        await until(lambda: len(origin.peers) == 1)
        await running.sidecar.install(changed(running, limits=limits(max_concurrent=1)), ())
        assert (await call(running)).reason == "destination_busy"
        metrics = await running.metrics()
        assert 'sidecar_destination_in_flight{destination="profiles"} 1.0' in metrics
        calls.cancel()


# --- through the proxy ---


async def test_what_the_proxy_sends_elsewhere_ends_too(tmp_path: Path) -> None:
    """``proxy_limits`` bounds what is no destination's."""
    elsewhere = Origin(silent)
    async with (
        elsewhere.running(),
        pod(
            tmp_path,
            outbound={
                "proxy": model.Address("127.0.0.1", 0),
                "proxy_limits": Limits(total_timeout_seconds=0.05),
            },
        ) as running,
    ):
        assert running.bound.proxy is not None
        authority = f"127.0.0.1:{elsewhere.port}"
        answer = await fetch(running.bound.proxy, f"http://{authority}/x", host=authority)
        assert answer.reason == "deadline_exceeded"
