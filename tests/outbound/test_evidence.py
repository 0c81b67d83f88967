"""Every way in which a handle may come back from a real app: what it is worth, what leaves."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from sidecar.config.model import Allow, Attribution, Rule
from sidecar.wire.exchange import Answer, Forward, Timing
from sidecar.wire.request_head import parse_request_head
from tests.support.http import Request, fetch
from tests.support.inflight import Inflight, arrive, call, call_with
from tests.support.pod import Pod, pod, records

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
COMPAT = {"min_assurance": "compat"}
ALL = Attribution(compat_carriers=("baggage", "tracestate", "request_id", "trace_id"))
LINGERING = (Rule("users", ("/users/**",), Allow.AUTHENTICATED, linger_seconds=30.0),)


def sent(inflight: Inflight, *names: str) -> list[tuple[str, str]]:
    """The fields of the app's request that a tracer, or a careful hand, passes on to a call."""
    return [(name, value) for name, value in inflight.request.fields if name in names]


def ours(fields: Iterable[tuple[str, str]], inflight: Inflight) -> list[str]:
    """Fields in which something of ours can be seen."""
    return [name for name, value in fields if inflight.handle in value or "sdctx" in value]


async def attached(running: Pod, inflight: Inflight, token: str, *names: str) -> Request:
    """Call with these fields of the request, which must be enough; return what went out."""
    answer, request = await call_with(running, sent(inflight, *names))
    assert (answer.status, answer.reason) == (200, "")
    assert request is not None
    assert request.values("authorization") == [f"Bearer {token}"]
    return request


@pytest.mark.parametrize(
    "names",
    [
        ("baggage",),
        ("tracestate",),
        ("traceparent", "tracestate", "baggage"),
        ("x-request-id",),
        ("traceparent",),
        ("x-sidecar-context",),
        ("baggage", "tracestate", "traceparent", "x-request-id", "x-sidecar-context"),
    ],
)
async def test_whatever_the_app_passes_on_finds_its_request_and_stays_in_the_pod(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    """Two users in flight: each call gets its own; outside, every field is the caller's again."""
    async with pod(tmp_path, automatic=False, destination=COMPAT, attribution=ALL) as running:
        came = [
            ("traceparent", TRACE),
            ("tracestate", "congo=t61, rojo=00"),
            ("baggage", "a=1 ;p , b=%20"),
            ("x-request-id", "r-1"),
        ]
        tokens = [running.mint.token(user) for user in ("alice", "bob")]
        inflight = [await arrive(running, token, fields=came) for token in tokens]
        for each, token in (*zip(inflight, tokens, strict=True), (inflight[0], tokens[0])):
            request = await attached(running, each, token, *names)
            assert ours(request.fields, each) == []
            for name, value in came:
                assert request.values(name) == ([value] if name in names else [])
        for each in inflight:
            await each.end()


async def test_what_the_caller_sent_is_no_evidence(tmp_path: Path) -> None:
    """A1, A2, A3: handles in every spelling, request ids and traces of somebody else."""
    async with pod(tmp_path, automatic=False, destination=COMPAT, attribution=ALL) as running:
        victim = await arrive(running, running.mint.token("alice"), fields=[("traceparent", TRACE)])
        stolen = victim.handle
        forged = [
            ("x-sidecar-context", stolen),
            ("X_Sidecar_Context", stolen),
            ("x-sidecar.context", stolen),
            ("baggage", f"sdctx={stolen},a=1"),
            ("Baggage", f"%73dctx={stolen}, SDCTX={stolen}"),
            ("correlation-context", f"sdctx={stolen}"),
            ("correlation_context", f"b=2,sdctx={stolen}"),
            ("tracestate", f"sdctx={stolen},congo=t61"),
            ("traceparent", TRACE),
            ("x-request-id", victim.request.values("x-request-id")[0]),
            ("authorization", f"Bearer {running.mint.token('bob')}"),
        ]
        mallory = await arrive(running, None, fields=forged)
        assert stolen not in str(mallory.request.fields)
        assert mallory.handle != stolen
        assert mallory.request.values("x-request-id") != victim.request.values("x-request-id")
        assert mallory.request.values("traceparent") != victim.request.values("traceparent")
        request = await attached(
            running, mallory, forged[-1][1].removeprefix("Bearer "),
            "x-sidecar-context", "baggage", "tracestate", "traceparent", "x-request-id",
        )  # fmt: skip
        assert request.values("baggage") == ["a=1"]
        await victim.end()
        await mallory.end()


async def test_strict_pods_give_handles_to_no_tracer(tmp_path: Path) -> None:
    """Nobody would accept them, and they may leave in connections we cannot look into."""
    async with pod(tmp_path, automatic=False) as running:
        fields = [("traceparent", TRACE), ("baggage", "a=1"), ("x-request-id", "r")]
        alice = await arrive(running, running.mint.token("alice"), fields=fields)
        assert [pair for pair in alice.request.fields if pair in fields] == fields
        assert ours(alice.request.fields, alice) == ["x-sidecar-context"]
        await alice.end()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([("baggage", "sdctx={bob}")], "attribution_ambiguous"),
        ([("tracestate", "a=1,sdctx={bob}")], "attribution_ambiguous"),
        ([("baggage", "sdctx={alice},sdctx={alice}")], "attribution_ambiguous"),
        ([("baggage", "sdctx={alice}"), ("baggage", "sdctx={alice}")], "attribution_ambiguous"),
        ([("baggage", "sdctx=nonsense")], "attribution_ambiguous"),
        ([("baggage", "sdctx=sdc1{zeros}")], "attribution_unknown"),
        ([("authorization", "Bearer {bob}")], "attribution_ambiguous"),
        ([("authorization", "Bearer {bob_token}")], "attribution_ambiguous"),
        ([("authorization", "Bearer sdc1{zeros}")], "attribution_unknown"),
        ([("authorization", "Bearer of-its-own")], "foreign_credential"),
    ],
)
async def test_evidence_beside_a_right_handle_must_agree_with_it(
    tmp_path: Path, fields: list[tuple[str, str]], reason: str
) -> None:
    """A6: a strict carrier does not outweigh another user's handle, or one that leads nowhere."""
    async with pod(tmp_path, automatic=False, destination=COMPAT) as running:
        bob_token = running.mint.token("bob")
        alice = await arrive(running, running.mint.token("alice"))
        bob = await arrive(running, bob_token)
        known = {
            "alice": alice.handle,
            "bob": bob.handle,
            "bob_token": bob_token,
            "zeros": "0" * 28,
        }
        answer, request = await call_with(
            running,
            [
                ("x-sidecar-context", alice.handle),
                ("x-sidecar-carrier", "python/0.1; grade=strict"),
                *((name, value.format_map(known)) for name, value in fields),
            ],
        )
        assert (answer.status, answer.reason, request) == (403, reason, None)
        await alice.end()
        await bob.end()


# --- the placeholder ---


async def test_a_placeholder_is_all_the_app_gets_and_all_it_needs(tmp_path: Path) -> None:
    """An app that relays Authorization relays the placeholder, and the token takes its place."""
    standard = {"min_assurance": "standard"}
    async with pod(
        tmp_path, automatic=False, inbound={"token_to_app": "placeholder"}, destination=standard
    ) as running:
        tokens = [running.mint.token(user) for user in ("alice", "bob")]
        inflight = [await arrive(running, token) for token in tokens]
        for each, token in zip(inflight, tokens, strict=True):
            assert each.request.values("authorization") == [f"Bearer {each.handle}"]
            assert token not in str(each.request.fields)
            request = await attached(running, each, token, "authorization")
            assert ours(request.fields, each) == []
        for each in inflight:
            await each.end()
        answer, late = await call_with(running, sent(inflight[0], "authorization"))
        assert (answer.reason, late) == ("attribution_dead", None)
    methods = [each["attribution"]["method"] for each in records(running) if "attribution" in each]
    assert methods == ["placeholder"] * 3


async def test_a_placeholder_is_not_enough_where_strict_is_demanded(tmp_path: Path) -> None:
    """It is standard evidence."""
    async with pod(tmp_path, automatic=False, inbound={"token_to_app": "placeholder"}) as running:
        alice = await arrive(running, running.mint.token("alice"))
        answer, _ = await call_with(running, sent(alice, "authorization"))
        assert answer.reason == "attribution_assurance"
        assert b"min_assurance: standard" in answer.body
        await alice.end()


@pytest.mark.parametrize(
    "destination",
    [
        {"token": "none"},
        {"token": "none", "app_credentials": "keep"},
        {"mode": "observe"},
    ],
)
async def test_a_placeholder_never_leaves_the_pod(
    tmp_path: Path, destination: dict[str, object]
) -> None:
    """Whatever the destination gets, and wherever else the app copied it."""
    async with pod(
        tmp_path, automatic=False, inbound={"token_to_app": "placeholder"}, destination=destination
    ) as running:
        alice = await arrive(running, running.mint.token("alice"))
        copied = [("x-copied", f"seen {alice.handle}"), ("cookie", f"s={alice.handle}")]
        _, request = await call_with(running, [*sent(alice, "authorization"), *copied])
        assert request is not None
        assert alice.handle not in str(request.fields)
        await alice.end()


async def test_an_anonymous_request_gets_no_placeholder(tmp_path: Path) -> None:
    """Where there is no token, nothing stands in its place."""
    async with pod(tmp_path, automatic=False, inbound={"token_to_app": "placeholder"}) as running:
        anyone = await arrive(running, None, "/open/x")
        assert anyone.request.values("authorization") == []
        await anyone.end()


# --- the app's own statement ---


async def test_an_app_that_relays_the_token_needs_nothing_else(tmp_path: Path) -> None:
    """As a Feign interceptor does: any minimum, no carrier, each call with its own user's."""
    async with pod(tmp_path, automatic=False, inbound={"token_to_app": "forward"}) as running:
        tokens = [running.mint.token(user) for user in ("alice", "bob", "alice")]
        inflight = [await arrive(running, token) for token in tokens]
        for each, token in zip(inflight, tokens, strict=True):
            await attached(running, each, token, "authorization")
        await inflight[0].end()
        answer, request = await call_with(running, [], tokens[0])
        assert (answer.reason, request) == ("foreign_credential", None)
        for each in inflight[1:]:
            await each.end()
    grades = {each["attribution"]["grade"] for each in records(running) if each.get("attribution")}
    assert "stated" in grades


@pytest.mark.parametrize("by_handle", [False, True])
async def test_a_relayed_token_outlives_the_one_request_that_it_was_matched_with(
    tmp_path: Path, by_handle: bool
) -> None:
    """While the call waits for a connection one of two requests with the token ends."""
    async with pod(tmp_path, automatic=False, inbound={"token_to_app": "forward"}) as running:
        token = running.mint.token("alice")
        older, newer = await arrive(running, token), await arrive(running, token)
        (listener,) = running.wiring.outbound.values()
        raw = f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        if by_handle:
            raw += f"x-sidecar-context: {newer.handle}\r\n"
        head = parse_request_head(raw.encode(), listener.names, listener.limits)
        exchange = listener.handler.begin(head, "127.0.0.1")
        assert isinstance(exchange.start(), Forward)
        await newer.end()
        lines = exchange.commit()
        if by_handle:  # that one was named
            assert isinstance(lines, Answer)
            assert b"x-sidecar-reason: attribution_dead" in lines.lines
        else:
            assert isinstance(lines, bytes)
            assert f"authorization: Bearer {token}\r\n".encode() in lines
        exchange.finish(200, Timing(0.0), None, whole=True)
        await older.end()


async def test_a_relayed_token_goes_only_where_a_rule_sends_it(tmp_path: Path) -> None:
    """``token: none`` removes it, ``app_credentials: keep`` included."""
    for more in ({}, {"app_credentials": "keep"}):
        async with pod(
            tmp_path,
            automatic=False,
            inbound={"token_to_app": "forward"},
            destination={"token": "none", **more},
        ) as running:
            token = running.mint.token("alice")
            alice = await arrive(running, token)
            answer, request = await call_with(running, [], token)
            assert answer.status == 200
            assert request is not None
            assert request.values("authorization") == []
            await alice.end()


# --- observing ---


async def test_observing_attaches_nothing_refuses_nothing_and_counts(tmp_path: Path) -> None:
    """The app's own credential passes as it was, and the log says what would have happened."""
    async with pod(tmp_path, automatic=False, destination={"mode": "observe"}) as running:
        alice = await arrive(running, running.mint.token("alice"))
        for fields, bearer in (
            ([], None),
            ([], "of-its-own"),
            ([("x-sidecar-context", alice.handle)], "of-its-own"),
        ):
            answer, request = await call_with(running, fields, bearer)
            assert answer.status == 200
            assert request is not None
            expected = [] if bearer is None else [f"Bearer {bearer}"]
            assert request.values("authorization") == expected
            assert ours(request.fields, alice) == []
        answer, request = await call(running, alice.handle)
        assert request is not None
        assert request.values("authorization") == []
        await alice.end()
        text = await running.metrics()
    line = (
        'sidecar_rejections_total{direction="outbound",enforced="false",'
        'reason="%s",route="profiles"} %d.0'
    )
    assert line % ("attribution_missing", 1) in text
    assert line % ("foreign_credential", 2) in text
    assert 'outcome="attached"} 1.0' in text
    refusals = [each for each in records(running) if each.get("reason")]
    assert [each["enforced"] for each in refusals] == [False] * 3


# --- after the response ---


async def test_a_lingering_request_may_still_call_until_its_caller_is_gone(tmp_path: Path) -> None:
    """Opted in per route, after a complete answer; a caller who leaves takes it along at once."""
    async with pod(tmp_path, automatic=False, rules=LINGERING) as running:
        token = running.mint.token("alice")
        alice = await arrive(running, token)
        await alice.end()
        answer, request = await call(running, alice.handle)
        assert answer.status == 200
        assert request is not None
        assert request.values("authorization") == [f"Bearer {token}"]

        leaving = await arrive(running, token)
        leaving.answer.cancel()
        await asyncio.wait((leaving.answer,))
        for _ in range(200):
            answer, request = await call(running, leaving.handle)
            if answer.reason:
                break
        assert answer.reason == "attribution_dead"

        failed = await arrive(running, token)
        failed.request.hang_up()
        assert (await failed.answer).status == 502
        answer, _ = await call(running, failed.handle)
        assert answer.reason == "attribution_dead"


async def test_weak_evidence_does_not_linger(tmp_path: Path) -> None:
    """Each second of it is one more in which a context may have got into other hands."""
    async with pod(tmp_path, automatic=False, rules=LINGERING, destination=COMPAT) as running:
        alice = await arrive(running, running.mint.token("alice"))
        await alice.end()
        answer, request = await call_with(running, sent(alice, "baggage"))
        assert (answer.reason, request) == ("attribution_dead", None)
        assert (await call(running, alice.handle))[0].status == 200


async def test_a_route_that_streams_may_have_an_age_of_its_own(tmp_path: Path) -> None:
    """The rule's maximum age replaces the pod's, in either direction."""
    rules = (
        Rule("stream", ("/users/stream",), Allow.AUTHENTICATED, max_age_seconds=3600.0),
        Rule("users", ("/users/**",), Allow.AUTHENTICATED),
    )
    async with pod(
        tmp_path, automatic=False, rules=rules, attribution=Attribution(max_age_seconds=1e-9)
    ) as running:
        token = running.mint.token("alice")
        stream, plain = await arrive(running, token, "/users/stream"), await arrive(running, token)
        assert (await call(running, stream.handle))[0].status == 200
        assert (await call(running, plain.handle))[0].reason == "attribution_max_age"
        await stream.end()
        await plain.end()


# --- on the way back ---


async def test_an_app_that_echoes_what_it_received_tells_its_caller_nothing(tmp_path: Path) -> None:
    """A21: handles are removed from answers wherever they stand, swapped ids are the caller's."""
    async with pod(tmp_path, automatic=False, destination=COMPAT, attribution=ALL) as running:
        came = [("x-request-id", "r-1"), ("traceparent", TRACE), ("tracestate", "a=1")]
        alice = await arrive(running, running.mint.token("alice"), fields=came)
        echoed = [
            (name, value)
            for name, value in alice.request.fields
            if name not in ("host", "content-length", "connection")
        ]
        alice.request.answer(
            200, [*echoed, ("x-debug", f"context {alice.handle}!"), ("x-mine", "1")]
        )
        answer = await alice.answer
        assert ours(answer.fields, alice) == []
        assert answer.values("x-debug") == []
        assert answer.values("x-mine") == ["1"]
        assert answer.values("x-request-id") == ["r-1"]
        assert answer.values("traceparent") == [TRACE]
        assert answer.values("tracestate") == ["a=1"]


async def test_a_request_id_that_the_caller_did_not_send_is_not_given_away(tmp_path: Path) -> None:
    """What the app got in its place is ours, in calls and in the answer."""
    async with pod(tmp_path, automatic=False, destination=COMPAT) as running:
        token = running.mint.token("alice")
        alice = await arrive(running, token)
        (minted,) = alice.request.values("x-request-id")
        request = await attached(running, alice, token, "x-request-id")
        assert minted not in str(request.fields)
        alice.request.answer(200, [("X-Request-Id", minted)])
        assert minted not in str((await alice.answer).fields)


async def test_handles_are_nowhere_in_log_or_metrics(tmp_path: Path) -> None:
    """A22: whatever came in or went out."""
    async with pod(tmp_path, automatic=False, destination=COMPAT, attribution=ALL) as running:
        alice = await arrive(running, running.mint.token("alice"), fields=[("traceparent", TRACE)])
        await call_with(running, sent(alice, "baggage", "tracestate", "x-request-id"))
        await call_with(running, [("baggage", f"sdctx={alice.handle}x")])
        await call_with(running, [], alice.handle)
        await fetch(running.bound.outbound["profiles"], f"/p?h={alice.handle}")
        await alice.end()
        text = await running.metrics()
    (minted,) = alice.request.values("x-request-id")
    for secret in (alice.handle, minted):
        assert secret not in text
        assert secret.encode() not in b"".join(running.log)
