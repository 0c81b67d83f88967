"""Exclusive admission on real sockets: callers take turns, and weak context is enough for that."""

import asyncio
from pathlib import Path

import pytest

from sidecar.config.model import Allow, Attribution, Rule
from tests.support.http import fetch
from tests.support.inflight import arrive, call_with
from tests.support.pod import Pod, pod

QUIET = Attribution(carrier="opentelemetry", exclusive="credential", exclusive_quiet_seconds=0.01)
STANDARD = {"min_assurance": "standard"}


async def settled(running: Pod, waiting: int) -> None:
    """Wait until so many requests are in the queue."""
    handler = running.wiring.inbound.handler
    while handler.admission.waiting != waiting:  # type: ignore[attr-defined]
        await asyncio.sleep(0.001)


async def test_one_caller_at_a_time_and_each_with_its_own_token(tmp_path: Path) -> None:
    """Bob waits for alice, alice's second request does not, and baggage is good enough."""
    async with pod(tmp_path, automatic=False, attribution=QUIET, destination=STANDARD) as running:
        tokens = {user: running.mint.token(user) for user in ("alice", "bob")}
        first = await arrive(running, tokens["alice"])
        bob = asyncio.create_task(fetch(running.bound.inbound, "/users/x", bearer=tokens["bob"]))
        await settled(running, 1)
        assert "sidecar_admission_waiting 1.0" in await running.metrics()
        second = await arrive(running, tokens["alice"])
        for each in (first, second):
            assert each.request.values("x-auth-subject") == ["alice"]
            fields = [pair for pair in each.request.fields if pair[0] == "baggage"]
            answer, request = await call_with(running, fields)
            assert answer.status == 200
            assert request is not None
            assert request.values("authorization") == [f"Bearer {tokens['alice']}"]
        await first.end()
        assert len(running.app.received) == 2
        await second.end()
        served = await running.app.next()
        assert served.values("x-auth-subject") == ["bob"]
        # Alice's handle is dead in bob's turn, and bob's own is there.
        stale = [("baggage", f"sdctx={first.handle}")]
        answer, request = await call_with(running, stale)
        assert (answer.reason, request) == ("attribution_dead", None)
        served.answer()
        assert (await bob).status == 200


async def test_strict_is_out_of_reach_by_turns_alone(tmp_path: Path) -> None:
    """A job that somebody left behind may still be found by a worker of the next caller."""
    async with pod(tmp_path, automatic=False, attribution=QUIET) as running:
        alice = await arrive(running, running.mint.token("alice"))
        fields = [pair for pair in alice.request.fields if pair[0] == "baggage"]
        answer, _ = await call_with(running, fields)
        assert answer.reason == "attribution_assurance"
        await alice.end()


async def test_work_left_behind_is_why_turns_alone_are_not_strict(tmp_path: Path) -> None:
    """The leftover-job cell: alice's job is done in bob's turn, in the context of bob's request.

    The handle is genuine, live and alone; nothing that the sidecar sees tells it from the right
    one. So the destination has to say that ``standard`` is enough.
    """
    async with pod(tmp_path, automatic=False, attribution=QUIET, destination=STANDARD) as running:
        bob_token = running.mint.token("bob")
        jobs: list[str] = []
        alice = await arrive(running, running.mint.token("alice"))
        jobs.append("/profiles/alice")  # queued; no worker is there to do it
        await alice.end()
        bob = await arrive(running, bob_token)
        worker_context = [pair for pair in bob.request.fields if pair[0] == "baggage"]
        answer = asyncio.create_task(
            fetch(running.bound.outbound["profiles"], jobs.pop(), fields=worker_context)
        )
        request = await running.destination.next()
        request.answer()
        assert (await answer).status == 200
        assert (request.target, request.values("authorization")) == (
            "/profiles/alice",
            [f"Bearer {bob_token}"],
        )
        await bob.end()


async def test_waiting_too_long_is_503(tmp_path: Path) -> None:
    """The caller reads why, and the queue is empty again."""
    impatient = Attribution(exclusive="request", exclusive_wait_seconds=0.05)
    async with pod(tmp_path, automatic=False, attribution=impatient) as running:
        token = running.mint.token("alice")
        alice = await arrive(running, token)
        answer = await fetch(running.bound.inbound, "/users/x", bearer=token)
        assert (answer.status, answer.reason) == (503, "admission_timeout")
        assert answer.values("retry-after") == ["1"]
        await alice.end()
        again = await arrive(running, token)
        await again.end()


async def test_a_full_queue_is_503_and_one_caller_cannot_fill_it(tmp_path: Path) -> None:
    """A quarter of the queue for each caller; the refusals say which bound it was."""
    small = Attribution(exclusive="request", exclusive_queue=4)
    async with pod(tmp_path, automatic=False, attribution=small) as running:
        tokens = [running.mint.token(user) for user in ("alice", "bob", "carol", "dave", "erin")]
        inside = await arrive(running, tokens[0])
        waiting = []
        for number, token in enumerate(tokens[:4]):
            waiting.append(asyncio.create_task(arrive(running, token)))
            await settled(running, number + 1)
            if number < 3:
                answer = await fetch(running.bound.inbound, "/users/x", bearer=token)
                assert (answer.status, answer.reason) == (503, "ledger_share")
        answer = await fetch(running.bound.inbound, "/users/x", bearer=tokens[4])
        assert (answer.status, answer.reason) == (503, "admission_full")
        await inside.end()
        for task in asyncio.as_completed(waiting):
            await (await task).end()


async def test_whoever_leaves_the_queue_leaves_no_gap(tmp_path: Path) -> None:
    """A caller who gives up, and one whose app hangs up, both pass the turn on."""
    async with pod(tmp_path, automatic=False, attribution=QUIET) as running:
        tokens = [running.mint.token(user) for user in ("alice", "bob", "carol")]
        alice = await arrive(running, tokens[0])
        bob = asyncio.create_task(fetch(running.bound.inbound, "/users/x", bearer=tokens[1]))
        await settled(running, 1)
        carol = asyncio.create_task(arrive(running, tokens[2]))
        await settled(running, 2)
        bob.cancel()
        await settled(running, 1)
        alice.request.hang_up()
        assert (await alice.answer).status == 502
        await (await carol).end()


async def test_a_stream_loses_its_turn_and_its_handle_to_whoever_waits(tmp_path: Path) -> None:
    """A25: nobody holds the app for longer than the route's maximum age."""
    rules = (Rule("users", ("/users/**",), Allow.AUTHENTICATED, max_age_seconds=1e-9),)
    async with pod(tmp_path, automatic=False, attribution=QUIET, rules=rules) as running:
        stream = await arrive(running, running.mint.token("alice"))
        bob = await arrive(running, running.mint.token("bob"))
        answer, request = await call_with(
            running,
            [
                ("x-sidecar-context", stream.handle),
                ("x-sidecar-carrier", "python/0.1; grade=strict"),
            ],
        )
        assert (answer.reason, request) == ("attribution_dead", None)
        await stream.end()
        await bob.end()


@pytest.mark.parametrize("exclusive", ["credential", "request"])
async def test_a_route_outside_the_turns_does_not_wait(tmp_path: Path, exclusive: str) -> None:
    """A health check is answered while somebody is in the app, and earns no better grade."""
    rules = (
        Rule("health", ("/healthz",), Allow.ANYONE, ("GET",), exclusive=False),
        Rule("users", ("/users/**",), Allow.AUTHENTICATED),
    )
    attribution = Attribution(exclusive=exclusive)  # type: ignore[arg-type]
    async with pod(
        tmp_path,
        automatic=False,
        attribution=attribution,
        rules=rules,
        destination={**STANDARD, "anonymous_origin": "anonymous"},
    ) as running:
        alice = await arrive(running, running.mint.token("alice"))
        health = await arrive(running, None, "/healthz")
        fields = [pair for pair in health.request.fields if pair[0] == "baggage"]
        answer, _ = await call_with(running, fields)
        assert answer.reason == "attribution_assurance"
        await health.end()
        await alice.end()


async def test_a_token_is_judged_again_after_a_wait(tmp_path: Path) -> None:
    """Its key was withdrawn while it waited for its turn: it does not get in."""
    async with pod(tmp_path, automatic=False, attribution=QUIET, cooldown_seconds=0.0) as running:
        alice = await arrive(running, running.mint.token("alice"))
        bob = asyncio.create_task(
            fetch(running.bound.inbound, "/users/x", bearer=running.mint.token("bob"))
        )
        await settled(running, 1)
        running.mint.rotate(withdraw=True)
        running.publish()
        for _ in range(100):
            carol = asyncio.create_task(
                fetch(running.bound.inbound, "/users/x", bearer=running.mint.token("carol"))
            )
            await asyncio.wait((carol,), timeout=0.05)
            if not carol.done():  # known by now, and waiting
                break
            assert (await carol).reason == "key_unknown"
            await asyncio.sleep(0.05)  # the cool-down has a floor; a caller simply tries again
        await alice.end()
        assert (await bob).reason == "key_unknown"
        served = await running.app.next()
        assert served.values("x-auth-subject") == ["carol"]
        served.answer()
        assert (await carol).status == 200
