"""Outbound calls against a real pod: the token of the request that caused them, or none."""

import asyncio
import json
from pathlib import Path

import pytest

from sidecar.config.model import Attribution
from tests.support.http import fetch
from tests.support.inflight import arrive, call
from tests.support.pod import pod, records, soon


async def test_a_call_gets_the_token_of_the_very_request_that_caused_it(tmp_path: Path) -> None:
    """Two users in flight, calls in any order: each handle brings its own token."""
    async with pod(tmp_path, automatic=False) as running:
        alice_token, bob_token = running.mint.token("alice"), running.mint.token("bob")
        alice, bob = await arrive(running, alice_token), await arrive(running, bob_token)
        for inflight, token in ((bob, bob_token), (alice, alice_token), (bob, bob_token)):
            answer, request = await call(running, inflight.handle)
            assert answer.status == 200
            assert request is not None
            assert request.values("authorization") == [f"Bearer {token}"]
        await alice.end()
        await bob.end()


async def test_two_tokens_of_one_user_are_not_mixed(tmp_path: Path) -> None:
    """The key is the request and not the subject."""
    async with pod(tmp_path, automatic=False) as running:
        tokens = [running.mint.token("alice", scope=scope) for scope in ("a", "b")]
        requests = [await arrive(running, token) for token in tokens]
        for inflight, token in zip(requests, tokens, strict=True):
            _, request = await call(running, inflight.handle)
            assert request is not None
            assert request.values("authorization") == [f"Bearer {token}"]
        for inflight in requests:
            await inflight.end()


async def test_nothing_of_ours_leaves_the_pod_but_the_token(tmp_path: Path) -> None:
    """Handle, self-report and reserved names are removed; Host is the destination's."""
    async with pod(tmp_path, automatic=False) as running:
        alice = await arrive(running, running.mint.token("alice"))
        pending = asyncio.create_task(
            fetch(
                running.bound.outbound["profiles"],
                "/profiles/1?q=2",
                host="localhost:9001",
                fields=[
                    ("x-sidecar-context", alice.handle),
                    ("x-sidecar-carrier", "python/0.1; grade=strict"),
                    ("x_sidecar_context", alice.handle),
                    ("x-auth-subject", "alice"),
                    ("x-request-id", "r1"),
                ],
            )
        )
        request = await running.destination.next()
        request.answer(200, [("x-sidecar-context", "sdc1" + "z" * 28), ("x-auth-roles", "A")])
        answer = await pending
        assert request.target == "/profiles/1?q=2"
        assert alice.handle not in str(request.fields)
        assert not [name for name, _ in request.fields if name.startswith(("x-auth", "x-side"))]
        assert request.values("host") == [str(running.destination.origin.address)]
        assert request.values("x-request-id") == ["r1"]
        assert not [name for name, _ in answer.fields if name.startswith(("x-auth", "x-side"))]
        await alice.end()


async def test_a_call_after_the_response_is_dead(tmp_path: Path) -> None:
    """The entry ends with the app's response."""
    async with pod(tmp_path, automatic=False) as running:
        alice = await arrive(running, running.mint.token("alice"))
        await alice.end()
        answer, request = await call(running, alice.handle)
        assert (answer.status, answer.reason) == (403, "attribution_dead")
        assert answer.values("www-authenticate") == []
        assert request is None


async def test_a_call_after_the_caller_has_left_is_dead(tmp_path: Path) -> None:
    """A caller who disconnects takes the identity along, whatever the app still does."""
    async with pod(tmp_path, automatic=False) as running:
        alice = await arrive(running, running.mint.token("alice"))
        alice.answer.cancel()
        await asyncio.wait((alice.answer,))
        for _ in range(200):
            answer, request = await call(running, alice.handle)
            if answer.reason:
                break
            assert request is not None  # the sidecar had not seen the disconnect yet
        assert answer.reason == "attribution_dead"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([], "attribution_missing"),
        ([("x-sidecar-context", "sdc1" + "0" * 28)], "attribution_unknown"),
        ([("x-sidecar-context", "nonsense")], "attribution_ambiguous"),
        (
            [("x-sidecar-context", "HANDLE"), ("x-sidecar-context", "HANDLE")],
            "attribution_ambiguous",
        ),
        ([("x-sidecar-context", "HANDLE")], "attribution_assurance"),
        (
            [("x-sidecar-context", "HANDLE"), ("authorization", "Bearer other")],
            "foreign_credential",
        ),
        ([("authorization", "Basic b3RoZXI=")], "foreign_credential"),
    ],
)
async def test_each_kind_of_bad_evidence_is_refused_with_its_reason(
    tmp_path: Path, fields: list[tuple[str, str]], reason: str
) -> None:
    """Nothing reaches the destination, and the app can read why."""
    async with pod(tmp_path, automatic=False) as running:
        alice = await arrive(running, running.mint.token("alice"))
        sent = [(name, alice.handle if value == "HANDLE" else value) for name, value in fields]
        if reason == "foreign_credential":
            sent.append(("x-sidecar-carrier", "python/0.1; grade=strict"))
        answer = await fetch(running.bound.outbound["profiles"], "/p", fields=sent)
        assert (answer.status, answer.reason) == (403, reason)
        problem = json.loads(answer.body)
        assert problem["type"] == f"urn:jwt-sidecar:reason:{reason}"
        assert problem["detail"]
        assert running.destination.received == []
        await alice.end()


async def test_the_tokens_own_relay_by_the_app_agrees_with_us(tmp_path: Path) -> None:
    """An app that was given the token and relays it sends exactly one Authorization."""
    async with pod(tmp_path, automatic=False, inbound={"token_to_app": "forward"}) as running:
        token = running.mint.token("alice")
        alice = await arrive(running, token)
        pending = asyncio.create_task(
            fetch(
                running.bound.outbound["profiles"],
                "/p",
                bearer=token,
                fields=[
                    ("x-sidecar-context", alice.handle),
                    ("x-sidecar-carrier", "python/0.1; grade=strict"),
                ],
            )
        )
        request = await running.destination.next()
        assert request.values("authorization") == [f"Bearer {token}"]
        request.answer()
        assert (await pending).status == 200
        await alice.end()


async def test_an_anonymous_request_lends_no_identity(tmp_path: Path) -> None:
    """A call caused by a request without token is refused, or leaves without one."""
    async with pod(tmp_path, automatic=False) as running:
        anyone = await arrive(running, None, "/open/page")
        answer, request = await call(running, anyone.handle)
        assert (answer.status, answer.reason, request) == (403, "anonymous_origin", None)
        await anyone.end()
    lenient = {"anonymous_origin": "anonymous"}
    async with pod(tmp_path, automatic=False, destination=lenient) as running:
        anyone = await arrive(running, None, "/open/page")
        answer, request = await call(running, anyone.handle)
        assert answer.status == 200
        assert request is not None
        assert request.values("authorization") == []
        await anyone.end()


async def test_a_call_without_context_may_go_out_anonymously_where_written(tmp_path: Path) -> None:
    """``without_context: anonymous`` covers a missing handle and nothing else."""
    async with pod(
        tmp_path, automatic=False, destination={"without_context": "anonymous"}
    ) as running:
        answer, request = await call(running, None)
        assert answer.status == 200
        assert request is not None
        assert request.values("authorization") == []
        answer, request = await call(running, "sdc1" + "0" * 28)
        assert (answer.reason, request) == ("attribution_unknown", None)


async def test_an_app_credential_passes_where_it_is_kept(tmp_path: Path) -> None:
    """``app_credentials: keep`` forwards it as it is and attaches nothing."""
    keep = {"token": "none", "app_credentials": "keep"}
    async with pod(tmp_path, destination=keep) as running:
        answer = await fetch(running.bound.outbound["profiles"], "/p", bearer="api-key")
        assert answer.status == 200
        assert running.destination.received[0].values("authorization") == ["Bearer api-key"]


async def test_a_destination_without_token_attaches_none(tmp_path: Path) -> None:
    """``token: none`` forwards without credential, context or not."""
    async with pod(tmp_path, destination={"token": "none"}) as running:
        assert (await running.call_out(None)).status == 200
        assert running.destination.received[0].values("authorization") == []


async def test_a_token_that_expires_during_its_request_is_not_sent(tmp_path: Path) -> None:
    """Within the leeway inbound still serves it; outbound never sends it past exp."""
    async with pod(tmp_path, automatic=False) as running:
        alice = await arrive(running, running.mint.token("alice", exp=soon(-5)))
        answer, request = await call(running, alice.handle)
        assert (answer.status, answer.reason, request) == (401, "token_expired", None)
        assert answer.values("www-authenticate") == []
        await alice.end()


async def test_a_withdrawn_key_ends_what_its_tokens_may_cause(tmp_path: Path) -> None:
    """The request goes on, but its token is attached no more: its key left the issuer's set."""
    async with pod(tmp_path, automatic=False, cooldown_seconds=0.0) as running:
        alice = await arrive(running, running.mint.token("alice"))
        running.mint.rotate(withdraw=True)
        running.publish()
        bob_token = running.mint.token("bob")
        for _ in range(100):  # the cool-down has a floor; a caller simply tries again
            bob = asyncio.create_task(fetch(running.bound.inbound, "/users/b", bearer=bob_token))
            received = asyncio.create_task(running.app.next())
            await asyncio.wait((bob, received), return_when=asyncio.FIRST_COMPLETED)
            if received.done():
                break
            received.cancel()
            assert (await bob).reason == "key_unknown"
            await asyncio.sleep(0.05)
        answer, request = await call(running, alice.handle)
        assert (answer.reason, request) == ("attribution_dead", None)
        answer, request = await call(running, received.result().handle)
        assert answer.status == 200
        assert request is not None
        assert request.values("authorization") == [f"Bearer {bob_token}"]
        received.result().answer()
        assert (await bob).status == 200
        await alice.end()


async def test_calls_per_request_are_capped(tmp_path: Path) -> None:
    """The call after ``max_calls`` is refused."""
    async with pod(tmp_path, automatic=False, attribution=Attribution(max_calls=2)) as running:
        alice = await arrive(running, running.mint.token("alice"))
        for _ in range(2):
            assert (await call(running, alice.handle))[0].status == 200
        answer, _ = await call(running, alice.handle)
        assert answer.reason == "attribution_call_limit"
        await alice.end()


async def test_an_old_request_may_not_make_new_calls(tmp_path: Path) -> None:
    """``max_age`` applies to new calls while the response still streams."""
    async with pod(
        tmp_path, automatic=False, attribution=Attribution(max_age_seconds=0.0)
    ) as running:
        alice = await arrive(running, running.mint.token("alice"))
        answer, _ = await call(running, alice.handle)
        assert answer.reason == "attribution_max_age"
        await alice.end()


@pytest.mark.parametrize("host", ["localhost:9001", "127.0.0.1", "[::1]:80", "profiles.shop:8443"])
async def test_known_hosts_are_served(tmp_path: Path, host: str) -> None:
    """Loopback names and the destination's own, with any port."""
    settings = {"hosts": ("profiles.shop",), "token": "none"}
    async with pod(tmp_path, destination=settings) as running:
        answer = await fetch(running.bound.outbound["profiles"], "/p", host=host)
        assert answer.status == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io"])
async def test_a_foreign_host_is_421(tmp_path: Path, host: str) -> None:
    """A page that rebinds its own name to our address gets no token."""
    async with pod(tmp_path) as running:
        answer = await fetch(running.bound.outbound["profiles"], "/p", host=host)
        assert (answer.status, answer.reason) == (421, "destination_unknown")
        assert running.destination.received == []


async def test_outcomes_are_counted_by_method_grade_and_outcome(tmp_path: Path) -> None:
    """Attached and refused calls have their own series, and their lines in the log."""
    async with pod(tmp_path, automatic=False) as running:
        alice = await arrive(running, running.mint.token("alice"))
        await call(running, alice.handle)
        await call(running, None)
        await alice.end()
        text = await running.metrics()
    assert (
        'sidecar_attributions_total{grade="strict",method="header",outcome="attached"} 1.0' in text
    )
    assert 'outcome="attribution_missing"} 1.0' in text
    outgoing = [each for each in records(running) if each["direction"] == "outbound"]
    assert [(each["status"], each.get("subject")) for each in outgoing] == [
        (200, "alice"),
        (403, None),
    ]
    assert outgoing[0]["attribution"]["outcome"] == "attached"


async def test_draining_lets_the_request_in_progress_call_out_and_finish(tmp_path: Path) -> None:
    """SIGTERM: inbound stops accepting, outbound stays for those still inside."""
    async with pod(tmp_path, automatic=False) as running:
        alice = await arrive(running, running.mint.token("alice"))
        stopping = asyncio.create_task(running.sidecar.drain())
        while (await fetch(running.bound.admin, "/readyz")).status == 200:
            await asyncio.sleep(0)
        answer, _ = await call(running, alice.handle)
        assert answer.status == 200
        await alice.end()
        await stopping
        with pytest.raises(OSError, match=r"Connect|refused"):
            await fetch(running.bound.inbound, "/healthz")
