"""Opaque tokens through a whole pod: who gets through, what is asked, and what an outage does."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sidecar.config.model import Address, Introspection
from sidecar.core.keyset import parse_jwks
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.token_mint import ABSENT, TokenMint
from sidecar.wire.exchange import Answer, Forward, Pending, Timing
from sidecar.wire.request_head import parse_request_head
from tests.support.http import App, Response, fetch
from tests.support.introspection import SECRET, Endpoint, serving
from tests.support.pod import AUDIENCE, ISSUER, Pod, pod, records, soon


@dataclass
class Asking:
    """A pod and the endpoint that it asks."""

    pod: Pod
    endpoint: Endpoint

    async def get(self, token: str, target: str = "/users/alice") -> Response:
        return await fetch(self.pod.bound.inbound, target, bearer=token)

    async def outcome(self, token: str) -> tuple[int, str]:
        answer = await self.get(token)
        return answer.status, answer.reason

    def issue(self, subject: str = "alice", **claims: object) -> str:
        return self.endpoint.opaque.issue(subject, **claims)

    async def outcome_of(self, claims: dict[str, object]) -> tuple[int, str]:
        """Send a token of alice's with *claims* changed."""
        return await self.outcome(self.endpoint.opaque.issue("alice", **claims))

    async def counted(self, result: str) -> float:
        """Return how often asking came to *result*."""
        found = re.search(
            rf'sidecar_introspections_total{{issuer="shop",result="{result}"}} (\S+)',
            await self.pod.metrics(),
        )
        return float(found[1]) if found else 0.0


@asynccontextmanager
async def asking(
    directory: Path, *, pod_with: dict[str, Any] | None = None, **changes: Any
) -> AsyncIterator[Asking]:
    """Run both; *changes* are those of the introspection's configuration."""
    mint = TokenMint(ISSUER, audience=[AUDIENCE], algorithms=("ES256",))
    async with (
        serving(mint) as endpoint,
        pod(
            directory, mint=mint, introspection=endpoint.configured(**changes), **(pod_with or {})
        ) as running,
    ):
        yield Asking(running, endpoint)


async def test_an_active_token_reaches_the_app_as_an_identity(tmp_path: Path) -> None:
    """The app sees what the issuer says, and no credential; the next request asks nobody."""
    async with asking(tmp_path) as it:
        token = it.issue()
        for _ in range(3):
            assert await it.outcome(token) == (200, "")
        request = it.pod.app.received[0]
        assert request.values("x-auth-subject") == ["alice"]
        assert request.values("x-auth-issuer") == [ISSUER]
        assert request.values("x-auth-roles") == ["ADMIN,USER"]
        assert request.values("x-auth-scopes") == ["profile.read"]
        assert token not in str(request.fields)
        assert it.endpoint.asked == [token]
        assert it.endpoint.forms == [{"token": token, "token_type_hint": "access_token"}]
        assert (await it.get(token, "/admin/x")).status == 200
        assert (await it.get(it.issue("bob"), "/admin/x")).reason == "role_missing"
        assert await it.counted("active") == 2
    for line in records(it.pod):
        assert token not in json.dumps(line)


async def test_the_secret_in_the_form(tmp_path: Path) -> None:
    """``client_secret_post`` sends both in the form, and no Authorization."""
    async with asking(tmp_path, auth="client_secret_post") as it:
        assert await it.outcome(it.issue()) == (200, "")
        assert it.endpoint.forms[0]["client_secret"] == SECRET


async def test_an_inactive_token_is_refused_and_not_asked_about_again(tmp_path: Path) -> None:
    """401 ``token_inactive`` with a challenge; the second time from memory."""
    async with asking(tmp_path) as it:
        answer = await it.get("nobody-issued-this")
        assert (answer.status, answer.reason) == (401, "token_inactive")
        assert 'error="invalid_token"' in answer.values("www-authenticate")[0]
        assert await it.outcome("nobody-issued-this") == (401, "token_inactive")
        assert it.endpoint.asked == ["nobody-issued-this"]
        assert it.pod.app.received == []
        assert (await it.counted("inactive"), await it.counted("known_inactive")) == (1, 1)


async def test_what_an_active_token_lacks_is_a_reason_each(tmp_path: Path) -> None:
    """The answer is judged like a JWT's claims; absence of an audience is no audience of ours."""
    async with asking(tmp_path) as it:
        cases: dict[str, list[dict[str, object]]] = {
            "audience_mismatch": [{"aud": "other"}, {"aud": ABSENT}, {"aud": None}, {"aud": []}],
            "claim_missing": [{"sub": ABSENT}, {"exp": ABSENT}, {"sub": None}],
            "issuer_mismatch": [{"iss": "https://evil.example"}, {"iss": 7}],
            "claims_malformed": [{"exp": "soon"}, {"aud": 7}, {"scope": [1]}],
            "token_not_yet_valid": [{"nbf": soon(3600)}],
            "token_type": [
                {"token_type": "DPoP"},
                {"token_type": "refresh_token"},
                {"token_use": "refresh_token"},
                {"token_use": 1},
            ],
        }
        for reason, variants in cases.items():
            for claims in variants:
                assert await it.outcome_of(claims) == (401, reason), claims
        assert await it.outcome_of({"iss": ABSENT}) == (200, "")
        assert await it.outcome_of({"token_type": ABSENT}) == (200, "")
        assert await it.outcome_of({"token_type": "bearer", "nbf": None}) == (200, "")
        assert await it.outcome_of({"token_type": "access_token"}) == (200, "")


async def test_what_looks_like_a_jwt_is_never_sent_to_the_issuer(tmp_path: Path) -> None:
    """Broken, encrypted and unsigned JWTs, and handles of ours, are refused here."""
    async with asking(tmp_path) as it:
        good = it.pod.mint.token("alice")
        head, claims, signature = good.split(".")
        assert await it.outcome(good) == (200, "")
        for token, reason in (
            ("a.b.c", "token_malformed"),
            (f"{head}.{claims}", "token_malformed"),
            (head, "token_malformed"),
            (f"{good}.x.y", "token_type"),
            (f"{good}=", "token_malformed"),
            (it.pod.mint.expired("alice"), "token_expired"),
            (f"{head}.{claims}.{signature[:-4]}AAAA", "signature_invalid"),
            ("sdc1" + "a" * 28, "token_malformed"),
            ("x" * 20_000, "token_too_large"),
            ("white space", "token_malformed"),
        ):
            assert await it.outcome(token) == (401, reason), token
        assert it.endpoint.asked == []


async def test_without_introspection_an_opaque_token_is_malformed(tmp_path: Path) -> None:
    """As ever; also where an issuer is asked about its JWTs only."""
    async with pod(tmp_path) as running:
        answer = await fetch(running.bound.inbound, "/users/a", bearer="opaque")
        assert answer.reason == "token_malformed"
    async with asking(tmp_path, about="jwt") as it:
        assert await it.outcome(it.issue()) == (401, "token_malformed")
        assert it.endpoint.asked == []


async def test_a_hundred_requests_at_once_ask_once(tmp_path: Path) -> None:
    """All wait for the same answer."""
    async with asking(tmp_path) as it:
        token = it.issue()
        it.endpoint.gate.clear()
        requests = [asyncio.create_task(it.get(token)) for _ in range(100)]
        while await _in_flight(it) < 100:
            await asyncio.sleep(0)
        it.endpoint.gate.set()
        assert {answer.status for answer in await asyncio.gather(*requests)} == {200}
        assert it.endpoint.asked == [token]


async def _in_flight(it: Asking) -> float:
    text = await it.pod.metrics()
    return float(text.split('sidecar_requests_in_flight{direction="inbound"} ')[1].split()[0])


async def test_a_caller_who_leaves_ends_the_question_for_nobody(tmp_path: Path) -> None:
    """The one who asked first goes away; the one who joined is served."""
    async with asking(tmp_path) as it:
        token = it.issue()
        it.endpoint.gate.clear()
        first = asyncio.create_task(it.get(token))
        while not it.endpoint.asked:
            await asyncio.sleep(0)
        second = asyncio.create_task(it.get(token))
        while await _in_flight(it) < 2:
            await asyncio.sleep(0)
        first.cancel()
        while await _in_flight(it) > 1:
            await asyncio.sleep(0)
        it.endpoint.gate.set()
        assert (await second).status == 200
        assert it.endpoint.asked == [token]


async def test_a_revoked_token_ends_with_the_positive_time(tmp_path: Path) -> None:
    """A yes of no duration is asked for each time; the no is seen by the next request."""
    async with asking(tmp_path, positive_seconds=0.0) as it:
        token = it.issue()
        assert await it.outcome(token) == (200, "")
        assert await it.outcome(token) == (200, "")
        it.endpoint.opaque.revoke(token)
        assert await it.outcome(token) == (401, "token_inactive")
        assert len(it.endpoint.asked) == 3


async def test_a_yes_does_not_outlive_exp(tmp_path: Path) -> None:
    """The cached answer ends with the token, whatever ``cache.positive`` and leeway say."""
    async with asking(tmp_path, positive_seconds=3600.0) as it:
        token = it.issue(exp=soon(3))
        assert await it.outcome(token) == (200, "")
        async with asyncio.timeout(30):
            while await it.outcome(token) == (200, ""):
                await asyncio.sleep(0.05)
        assert (await it.get(token)).reason == "token_inactive"


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (lambda: web.Response(status=500), "http_error"),
        (lambda: web.Response(status=429), "http_error"),
        (lambda: web.Response(status=400), "http_error"),
        (lambda: web.Response(status=204), "http_error"),
        (lambda: web.Response(status=302, headers={"Location": "/elsewhere"}), "http_error"),
        (lambda: web.Response(status=307, headers={"Location": "/introspect"}), "http_error"),
        (lambda: web.Response(text="<html>Login</html>", content_type="text/html"),
         "invalid_answer"),
        (lambda: web.Response(body=b'{"active":true,"x":"' + b"x" * 70_000 + b'"}'), "http_error"),
        (lambda: web.Response(body=b'{"active": "true"}'), "invalid_answer"),
        (lambda: web.Response(body=b'{"active": 1, "sub": "alice"}'), "invalid_answer"),
        (lambda: web.Response(body=b'{"active": false, "active": true}'), "invalid_answer"),
        (lambda: web.Response(body=b"{}"), "invalid_answer"),
        (lambda: web.Response(status=401), "unauthorized"),
        (lambda: web.Response(status=403), "unauthorized"),
    ],
)  # fmt: skip
async def test_no_usable_answer_is_503_and_not_remembered(
    tmp_path: Path, answer: Any, result: str
) -> None:
    """Whatever goes wrong at the endpoint: its fault, try again, and it recovers at once."""
    async with asking(tmp_path) as it:
        token = it.issue()
        it.endpoint.answer = answer
        refusal = await it.get(token)
        assert (refusal.status, refusal.reason) == (503, "introspection_unavailable")
        assert refusal.values("retry-after") == ["5"]
        assert refusal.values("www-authenticate") == []
        assert await it.counted(result) == 1
        assert len(it.endpoint.asked) == 1
        it.endpoint.answer = None
        assert await it.outcome(token) == (200, "")


async def test_an_endpoint_that_is_slow_is_503_within_the_timeout(tmp_path: Path) -> None:
    """Nobody waits for ever."""
    async with asking(tmp_path, timeout_seconds=0.1) as it:
        it.endpoint.gate.clear()
        assert await it.outcome(it.issue()) == (503, "introspection_unavailable")
        assert await it.counted("network_error") == 1


async def test_an_outage_opens_the_circuit_and_leaves_known_tokens_alone(tmp_path: Path) -> None:
    """After five failures nobody is asked; whoever was known is served all the time."""
    async with asking(tmp_path) as it:
        known = it.issue()
        assert await it.outcome(known) == (200, "")
        it.endpoint.fail()
        for _ in range(8):
            assert await it.outcome(it.issue()) == (503, "introspection_unavailable")
            assert await it.outcome(known) == (200, "")
        assert len(it.endpoint.asked) == 6
        assert await it.counted("circuit_open") == 3
        text = await it.pod.metrics()
        assert 'sidecar_circuit_state{destination="introspection:shop",state="open"} 1.0' in text


async def test_a_flood_of_unknown_tokens_is_bounded_and_leaves_known_ones_alone(
    tmp_path: Path,
) -> None:
    """200 random tokens: 12 are asked about, 2 at a time; the others are 503, known ones 200."""
    async with asking(tmp_path, max_concurrent=2, max_waiting=10, timeout_seconds=30.0) as it:
        known = it.issue()
        assert await it.outcome(known) == (200, "")
        it.endpoint.gate.clear()
        flood = [asyncio.create_task(it.get(f"random-{number}")) for number in range(200)]
        async with asyncio.timeout(30):
            while sum(task.done() for task in flood) < 188:
                assert await it.outcome(known) == (200, "")
            while it.endpoint.at_once < 2:
                await asyncio.sleep(0)
        it.endpoint.gate.set()
        reasons = sorted([answer.reason for answer in await asyncio.gather(*flood)])
        assert reasons == ["introspection_unavailable"] * 188 + ["token_inactive"] * 12
        assert len(it.endpoint.asked) == 13
        assert it.endpoint.most_at_once == 2
        assert await it.counted("limited") == 188


async def test_the_rate_of_questions_is_bounded(tmp_path: Path) -> None:
    """With one a second, twenty at once are mostly 503, and a known token is not in the way."""
    async with asking(tmp_path, max_rate=1) as it:
        known = it.issue()
        assert await it.outcome(known) == (200, "")
        asked = (it.outcome(f"random-{number}") for number in range(20))
        found = await asyncio.gather(*asked)
        assert (503, "introspection_unavailable") in found
        assert {*found} <= {(503, "introspection_unavailable"), (401, "token_inactive")}
        assert len(it.endpoint.asked) == 21 - found.count((503, "introspection_unavailable"))
        assert await it.outcome(known) == (200, "")


async def test_a_call_of_such_a_request_relays_the_very_token(tmp_path: Path) -> None:
    """Outbound the token goes out as it came in, ``=`` and all."""
    async with asking(tmp_path, pod_with={"automatic": False}) as it:
        token = "a~b+c/d-e_f.g=="
        it.endpoint.answer = lambda: web.json_response(
            {"active": True, **it.pod.mint.claims("alice")}
        )
        inbound = asyncio.create_task(it.get(token))
        request = await it.pod.app.next()
        call = asyncio.create_task(it.pod.call_out(request.handle))
        called = await it.pod.destination.next()
        assert called.values("authorization") == [f"Bearer {token}"]
        called.answer()
        assert (await call).status == 200
        request.answer()
        assert (await inbound).status == 200


async def test_such_a_token_goes_to_no_third_party(tmp_path: Path) -> None:
    """The app relays what it was given through the proxy: a live request's token is held back."""
    third = App(automatic=True)
    with_proxy = {
        "automatic": False,
        "outbound": {"proxy": Address("127.0.0.1", 0)},
        "inbound": {"token_to_app": "forward"},
    }
    async with third.running(), asking(tmp_path, pod_with=with_proxy) as it:
        token = it.issue()
        inbound = asyncio.create_task(it.get(token))
        request = await it.pod.app.next()
        proxy, elsewhere = it.pod.bound.proxy, str(third.origin.address)
        assert proxy is not None
        for bearer in (token, "a-key-of-the-app"):
            await fetch(proxy, f"http://{elsewhere}/x", host=elsewhere, bearer=bearer)
        sent = [each.values("authorization") for each in third.received]
        assert sent == [[], ["Bearer a-key-of-the-app"]]
        request.answer()
        assert (await inbound).status == 200


async def test_revocation_that_is_seen_ends_the_calls_of_requests_in_progress(
    tmp_path: Path,
) -> None:
    """A second request with the token learns that it is inactive; the first calls no more."""
    async with asking(tmp_path, positive_seconds=0.0, pod_with={"automatic": False}) as it:
        token = it.issue()
        first = asyncio.create_task(it.get(token))
        request = await it.pod.app.next()
        it.endpoint.opaque.revoke(token)
        assert await it.outcome(token) == (401, "token_inactive")
        assert (await it.pod.call_out(request.handle)).reason == "attribution_dead"
        request.answer()
        assert (await first).status == 200


async def test_a_yes_that_lapsed_does_not_end_the_calls_of_a_request(tmp_path: Path) -> None:
    """A request is asked about once; new keys of the issuer do not matter to its token either."""
    waiting = {"automatic": False, "cooldown_seconds": 1.0}
    async with asking(tmp_path, positive_seconds=0.0, pod_with=waiting) as it:
        inbound = asyncio.create_task(it.get(it.issue()))
        request = await it.pod.app.next()
        before = it.pod.wiring.verifier.generation
        it.pod.mint.rotate(withdraw=True)
        it.pod.publish()
        async with asyncio.timeout(30):
            while it.pod.wiring.verifier.generation == before:
                await it.pod.wiring.keys["shop"].obtain()
                await asyncio.sleep(0.05)
        call = asyncio.create_task(it.pod.call_out(request.handle))
        (await it.pod.destination.next()).answer()
        assert (await call).status == 200
        request.answer()
        assert (await inbound).status == 200


async def test_a_token_that_expires_in_the_request_is_not_sent_on(tmp_path: Path) -> None:
    """Outbound nothing goes past ``exp``."""
    async with asking(tmp_path, pod_with={"automatic": False}) as it:
        inbound = asyncio.create_task(it.get(it.issue(exp=soon(3))))
        request = await it.pod.app.next()
        async with asyncio.timeout(30):
            while True:
                call = asyncio.create_task(it.pod.call_out(request.handle))
                arrival = asyncio.create_task(it.pod.destination.next())
                await asyncio.wait((call, arrival), return_when=asyncio.FIRST_COMPLETED)
                if call.done():
                    arrival.cancel()
                    break
                arrival.result().answer()
                await call
                await asyncio.sleep(0.05)
        assert ((await call).status, (await call).reason) == (401, "token_expired")
        request.answer()
        await inbound


async def test_token_to_app_forward_works_alike(tmp_path: Path) -> None:
    """The app gets what the caller sent."""
    forwarding = {"inbound": {"token_to_app": "forward"}}
    async with asking(tmp_path, pod_with=forwarding) as it:
        token = it.issue()
        await it.get(token)
        assert it.pod.app.received[0].values("authorization") == [f"Bearer {token}"]


async def test_a_jwt_is_verified_here_and_asked_about(tmp_path: Path) -> None:
    """``for: all``: a JWT that is good by itself and revoked is refused; a bad one never asks."""
    async with asking(tmp_path, about="all") as it:
        answers = {"active": True, "sub": "alice", "iss": ISSUER}
        it.endpoint.answer = lambda: web.json_response(answers)
        token = it.pod.mint.token("alice")
        assert await it.outcome(token) == (200, "")
        assert await it.outcome(token) == (200, "")
        assert it.endpoint.asked == [token]
        assert await it.outcome(it.pod.mint.forged("alice")) == (401, "signature_invalid")
        assert await it.outcome(it.pod.mint.expired("alice")) == (401, "token_expired")
        assert await it.outcome(it.pod.mint.token("bob")) == (401, "claims_malformed")
        answers["iss"] = "https://evil.example"
        assert await it.outcome(it.pod.mint.token("alice")) == (401, "issuer_mismatch")
        it.endpoint.answer = lambda: web.json_response({"active": False})
        assert await it.outcome(it.pod.mint.token("alice")) == (401, "token_inactive")
        assert len(it.endpoint.asked) == 4


async def test_a_key_that_goes_ends_a_jwt_that_was_asked_about(tmp_path: Path) -> None:
    """The issuer's yes is worth no more than its signature."""
    async with asking(tmp_path, about="jwt", pod_with={"cooldown_seconds": 1.0}) as it:
        it.endpoint.answer = lambda: web.json_response({"active": True})
        token = it.pod.mint.token("alice")
        assert await it.outcome(token) == (200, "")
        it.pod.mint.rotate(withdraw=True)
        it.pod.publish()
        async with asyncio.timeout(30):
            while await it.outcome(token) == (200, ""):
                await it.pod.wiring.keys["shop"].obtain()
        assert await it.outcome(token) == (401, "key_unknown")


async def test_a_key_that_goes_while_the_issuer_is_asked_is_noticed(tmp_path: Path) -> None:
    """Between the answer and the request's turn: nothing is forwarded under a key that is gone."""
    async with asking(tmp_path, about="jwt") as it:
        it.endpoint.answer = lambda: web.json_response({"active": True})
        listener, verifier = it.pod.wiring.inbound, it.pod.wiring.verifier
        token = it.pod.mint.token("alice")
        raw = f"GET /users/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n"
        head = parse_request_head(raw.encode(), listener.names, listener.limits)
        exchange = listener.handler.begin(head, "127.0.0.1")
        action = exchange.start()
        assert isinstance(action, Pending)
        await action.wait
        it.pod.mint.rotate(withdraw=True)
        verifier.install("shop", parse_jwks(json.dumps(it.pod.mint.jwks()).encode()))
        assert isinstance(exchange.resume(), Forward)
        answer = exchange.commit()
        assert isinstance(answer, Answer)
        assert b"key_unknown" in answer.lines
        assert len(it.pod.wiring.ledger) == 0
        exchange.finish(answer.status, Timing(0.0), None, whole=False)


async def test_an_unknown_key_and_then_the_issuer(tmp_path: Path) -> None:
    """A JWT of a new key waits twice: for the key, and for the answer."""
    async with asking(tmp_path, about="jwt", pod_with={"publish": False}) as it:
        it.endpoint.answer = lambda: web.json_response({"active": True})
        it.pod.publish()
        async with asyncio.timeout(30):
            while await it.outcome(it.pod.mint.token("alice")) != (200, ""):
                await asyncio.sleep(0.05)
        assert it.endpoint.asked


async def test_a_stop_answers_whoever_waits(tmp_path: Path) -> None:
    """Questions under way are given up with the pod."""
    async with asking(tmp_path) as it:
        it.endpoint.gate.clear()
        waiting = asyncio.create_task(it.get(it.issue()))
        while not it.endpoint.asked:
            await asyncio.sleep(0)
        await it.pod.wiring.introspection["shop"].close()
        assert (await waiting).reason == "introspection_unavailable"


async def test_the_embedded_identity_provider(tmp_path: Path) -> None:
    """Token endpoint, discovery and introspection of one provider; revoked means inactive."""
    async with (
        IdentityProvider(audience=[AUDIENCE], issues_opaque=True) as provider,
        pod(
            tmp_path,
            mint=provider.mint,
            introspection=Introspection(
                provider.introspection_url,
                client_id="user-service",
                client_secret="user-service-secret",
                cache=Endpoint(provider.mint).configured(positive_seconds=0.0).cache,
            ),
        ) as running,
    ):
        token = provider.opaque.issue("alice")
        for _ in range(2):
            assert (await fetch(running.bound.inbound, "/users/a", bearer=token)).status == 200
        provider.opaque.revoke(token)
        answer = await fetch(running.bound.inbound, "/users/a", bearer=token)
        assert answer.reason == "token_inactive"
        assert provider.introspections == 3
