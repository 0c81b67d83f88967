"""Attacks and accidents of attribution, one after the other, against a real pod.

Further rows of the same list are tested where their subject is: what callers forge, placeholders
and echoes in ``tests/outbound/test_evidence.py``, turns in ``test_turns.py``, the ledger's bounds
in ``tests/credentials`` and ``tests/inbound``, peers from outside the pod in ``tests/wire``,
workers and batchers in ``tests/matrix``.
"""

import asyncio
from pathlib import Path

import pytest

from sidecar.config.model import Attribution
from tests.support.builds import interpreted_only
from tests.support.http import fetch
from tests.support.inflight import arrive, call, call_with
from tests.support.pod import pod, records, soon

COMPAT = {"min_assurance": "compat"}
STRICT = ("x-sidecar-carrier", "python/0.1; grade=strict")


async def test_a_gateway_that_copies_every_field_calls_as_its_own_caller(tmp_path: Path) -> None:
    """A5: it copies our handle for the same request, which is right; a second copy is refused."""
    async with pod(tmp_path, automatic=False, destination=COMPAT) as running:
        tokens = [running.mint.token(user) for user in ("alice", "bob")]
        inflight = [await arrive(running, token) for token in tokens]
        for each, token in zip(inflight, tokens, strict=True):
            copied = [pair for pair in each.request.fields if pair[0] != "host"]
            answer, request = await call_with(running, copied)
            assert answer.status == 200
            assert request is not None
            assert request.values("authorization") == [f"Bearer {token}"]
            assert each.handle not in str(request.fields)
            assert request.values("x-auth-subject") == []
            twice = [*copied, ("x-sidecar-context", each.handle)]
            answer, request = await call_with(running, twice)
            assert (answer.reason, request) == ("attribution_ambiguous", None)
        for each in inflight:
            await each.end()


async def test_a_handle_from_before_a_restart_is_unknown(tmp_path: Path) -> None:
    """A12, A17: from a broker, another worker or an earlier process, it names nothing here."""
    async with pod(tmp_path, automatic=False) as earlier:
        alice = await arrive(earlier, earlier.mint.token("alice"))
        old = alice.handle
        await alice.end()
    async with pod(tmp_path, automatic=False) as running:
        bob = await arrive(running, running.mint.token("bob"))
        answer, request = await call(running, old)
        assert (answer.reason, request) == ("attribution_unknown", None)
        await bob.end()


async def test_a_redirect_is_a_call_of_its_own(tmp_path: Path) -> None:
    """A18: the app follows it through the sidecar or without us; our names go along nowhere."""
    async with pod(tmp_path, automatic=False) as running:
        token = running.mint.token("alice")
        alice = await arrive(running, token)
        pending = asyncio.create_task(
            fetch(
                running.bound.outbound["profiles"],
                "/old",
                fields=[("x-sidecar-context", alice.handle), STRICT],
            )
        )
        first = await running.destination.next()
        first.answer(302, [("location", "http://elsewhere.example/new")])
        answer = await pending
        assert answer.values("location") == ["http://elsewhere.example/new"]
        answer = await fetch(
            running.bound.outbound["profiles"],
            "/new",
            host="elsewhere.example",
            fields=[("x-sidecar-context", alice.handle), STRICT],
        )
        assert (answer.status, answer.reason) == (421, "destination_unknown")
        assert [each.target for each in running.destination.received] == ["/old"]
        await alice.end()


@interpreted_only
@pytest.mark.parametrize("ending", ["response", "caller", "withdrawal", "expiry"])
async def test_an_entry_is_asked_again_just_before_the_head_is_written(
    tmp_path: Path, ending: str
) -> None:
    """A23c: a connection takes its time, and meanwhile the cause of the call is gone."""
    async with pod(tmp_path, automatic=False) as running:
        # Within the leeway of inbound; a moment later it may not be sent any more.
        exp = soon(1) if ending == "expiry" else soon(300)
        alice = await arrive(running, running.mint.token("alice", exp=exp))
        pool = running.wiring.pools[1]
        opening, may_open = asyncio.Event(), asyncio.Event()
        real_open = pool.open

        async def slow_open() -> object:
            opening.set()
            await may_open.wait()
            return await real_open()

        pool.open = slow_open  # type: ignore[method-assign, assignment]
        pending = asyncio.create_task(running.call_out(alice.handle))
        await opening.wait()
        match ending:
            case "response":
                await alice.end()
            case "caller":
                alice.answer.cancel()
                while len(running.wiring.ledger):
                    await asyncio.sleep(0.001)
            case "withdrawal":
                running.wiring.ledger.close_unless(lambda _credential: False)
            case "expiry":
                while soon(0) < exp:
                    await asyncio.sleep(0.01)
        may_open.set()
        answer = await pending
        expected = "token_expired" if ending == "expiry" else "attribution_dead"
        assert answer.reason == expected
        assert running.destination.received == []
        if not alice.answer.done():
            await alice.end()


async def test_anonymous_callers_cannot_crowd_out_the_others(tmp_path: Path) -> None:
    """A23: they fill their own partition, and users with a token still get in."""
    async with pod(
        tmp_path, automatic=False, attribution=Attribution(ledger_capacity=8)
    ) as running:
        crowd = [await arrive(running, None, "/open/x") for _ in range(2)]
        answer = await fetch(running.bound.inbound, "/open/x")
        assert (answer.status, answer.reason) == (503, "ledger_full")
        alice = await arrive(running, running.mint.token("alice"))
        assert (await call(running, alice.handle))[0].status == 200
        for each in (*crowd, alice):
            await each.end()


@pytest.mark.parametrize(
    ("carrier", "report", "grade"),
    [
        ("auto", "node/9; grade=strict", "strict"),
        ("python", "node/9; grade=strict", "strict"),
        ("opentelemetry", "python/0.1; grade=strict", "compat"),
        ("none", "python/0.1; grade=strict", "compat"),
    ],
)
async def test_a_forged_self_report_earns_no_more_than_the_configured_carrier(
    tmp_path: Path, carrier: str, report: str, grade: str
) -> None:
    """A27: naming the carrier caps the grade."""
    attribution = Attribution(carrier=carrier)  # type: ignore[arg-type]
    async with pod(
        tmp_path, automatic=False, destination=COMPAT, attribution=attribution
    ) as running:
        alice = await arrive(running, running.mint.token("alice"))
        fields = [("x-sidecar-context", alice.handle), ("x-sidecar-carrier", report)]
        assert (await call_with(running, fields))[0].status == 200
        await alice.end()
    (line,) = [each for each in records(running) if each["direction"] == "outbound"]
    assert line["attribution"]["grade"] == grade
