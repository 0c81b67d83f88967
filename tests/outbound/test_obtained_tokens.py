"""Calls whose token is obtained: whose it is, when there is none, and what is never sent."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest

from sidecar.config.model import Client, DestinationRule
from sidecar.core.token_request import TokenRequest
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.token_faults import Cut, Page, Refusal, Status
from sidecar.testbed.token_mint import ABSENT
from sidecar.testbed.users import SERVICES
from tests.support.http import Request, Response, fetch
from tests.support.inflight import Inflight, arrive, call, call_with
from tests.support.pod import AUDIENCE, Pod, pod, records

CARRIER = ("x-sidecar-carrier", "python/0.1; grade=strict")
EXCHANGE = TokenRequest("idp", "exchange", audience=("profile-service",), scopes=("profile.read",))
OWN = TokenRequest("idp", "client_credentials", audience=("profile-service",))


@asynccontextmanager
async def exchanging(
    directory: Path,
    request: TokenRequest = EXCHANGE,
    *,
    provider: dict[str, Any] | None = None,
    automatic: bool = False,
    wall_clock: Callable[[], float] = time.time,
    **destination: Any,
) -> AsyncIterator[tuple[Pod, IdentityProvider]]:
    """Run a pod whose destination gets tokens of a real identity provider."""
    keys = {"token": request.grant, "token_request": request, **destination}
    async with IdentityProvider(audience=[AUDIENCE], **(provider or {})) as idp:
        client = Client(
            "idp",
            SERVICES[0].client_id,
            token_endpoint=idp.token_url,
            client_secret=SERVICES[0].client_secret,
            retries=0,
        )
        async with pod(
            directory,
            mint=idp.mint,
            clients=[client],
            destination=keys,
            automatic=automatic,
            wall_clock=wall_clock,
        ) as running:
            yield running, idp


def attached(request: Request | None) -> dict[str, Any]:
    """Return the claims of the token that went with the call."""
    assert request is not None
    (value,) = request.values("authorization")
    claims: dict[str, Any] = jwt.decode(
        value.removeprefix("Bearer "), options={"verify_signature": False}
    )
    if claims["aud"] == ["profile-service"]:
        claims["aud"] = "profile-service"
    return claims


async def calls(running: Pod, inflight: Inflight, count: int) -> list[tuple[Response, Request]]:
    """Make *count* calls one after the other that get through."""
    found = []
    for _ in range(count):
        answer, request = await call(running, inflight.handle)
        assert request is not None, answer.body
        found.append((answer, request))
    return found


async def test_each_call_gets_a_token_of_its_own_caller(tmp_path: Path) -> None:
    """Made of the caller's, for the destination; asked for once, whatever the number of calls."""
    async with exchanging(tmp_path) as (running, idp):
        alice = await arrive(running, idp.mint.token("alice"))
        bob = await arrive(running, idp.mint.token("bob"))
        for inflight, name in ((alice, "alice"), (bob, "bob"), (alice, "alice"), (bob, "bob")):
            _, request = await call(running, inflight.handle)
            claims = attached(request)
            assert (claims["sub"], claims["aud"]) == (name, "profile-service")
        assert idp.token_requests.total == 2
        await alice.end()
        await bob.end()


async def test_many_callers_at_once(tmp_path: Path) -> None:
    """The calls of fifty callers, all at once and each several: nobody gets another's token."""
    users = [f"user-{number}" for number in range(50)]
    async with exchanging(tmp_path, automatic=True) as (running, idp):
        running.app.automatic = False
        requests = [await arrive(running, idp.mint.token(user)) for user in users]

        async def one(inflight: Inflight, user: str) -> None:
            answer = await running.call_out(inflight.handle, f"/profiles/{user}")
            assert answer.status == 200, answer.body

        async with asyncio.TaskGroup() as group:
            for inflight, user in zip(requests, users, strict=True):
                for _ in range(4):
                    group.create_task(one(inflight, user))
        assert len(running.destination.received) == 200
        for received in running.destination.received:
            assert attached(received)["sub"] == received.target.removeprefix("/profiles/")
        assert idp.token_requests.total == 50
        for inflight in requests:
            await inflight.end()


async def test_the_actor(tmp_path: Path) -> None:
    """The service says that it acts for the caller, by a token of its own."""
    request = replace(EXCHANGE, actor="client")
    async with exchanging(tmp_path, request) as (running, idp):
        alice = await arrive(running, idp.mint.token("alice"))
        _, received = await call(running, alice.handle)
        claims = attached(received)
        assert (claims["sub"], claims["act"]["sub"]) == ("alice", SERVICES[0].client_id)
        await alice.end()
    line = next(each for each in records(running) if each["direction"] == "outbound")
    assert line["attached"]["kind"] == "exchange"
    assert line["attached"]["subject"] == "alice"
    assert line["attached"]["actor"] == SERVICES[0].client_id
    assert line["attached"]["audience"] == "profile-service"
    assert line["attached"]["token"] != line["token"]


async def test_an_actor_that_the_provider_does_not_know(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The token is used, and that it does not say who acts is said once."""
    async with exchanging(tmp_path, replace(EXCHANGE, actor="client")) as (running, idp):
        idp.faults.claims = {"act": ABSENT}
        for user in ("alice", "bob"):
            inflight = await arrive(running, idp.mint.token(user))
            _, received = await call(running, inflight.handle)
            assert "act" not in attached(received)
            await inflight.end()
    assert len([each for each in caplog.records if "has no `act`" in each.message]) == 1


async def test_a_grant_for_an_assertion(tmp_path: Path) -> None:
    """RFC 7523, as Entra's on-behalf-of has it: the caller's token is the assertion."""
    request = TokenRequest(
        "idp",
        "jwt_bearer",
        scopes=("profile-service/profile.read",),
        parameters=(("requested_token_use", "on_behalf_of"),),
    )
    async with exchanging(tmp_path, request) as (running, idp):
        alice = await arrive(running, idp.mint.token("alice"))
        _, received = await call(running, alice.handle)
        assert attached(received)["sub"] == "alice"
        (asked,) = idp.token_requests.latest
        assert asked.form["requested_token_use"] == "on_behalf_of"
        await alice.end()


async def test_a_token_of_the_service_itself(tmp_path: Path) -> None:
    """One for all callers; not for those who have none, who would borrow an identity."""
    async with exchanging(tmp_path, OWN) as (running, idp):
        alice = await arrive(running, idp.mint.token("alice"))
        bob = await arrive(running, idp.mint.token("bob"))
        nobody = await arrive(running, None, "/open/x")
        for inflight in (alice, bob):
            _, received = await call(running, inflight.handle)
            assert attached(received)["sub"] == SERVICES[0].client_id
        answer, received = await call(running, nobody.handle)
        assert (answer.reason, received) == ("anonymous_origin", None)
        answer, received = await call(running, None)
        assert (answer.reason, received) == ("attribution_missing", None)
        assert idp.token_requests.total == 1
        for inflight in (alice, bob, nobody):
            await inflight.end()
    line = next(each for each in records(running) if each["direction"] == "outbound")
    assert (line["subject"], line["attached"]["kind"]) in (
        ("alice", "client_credentials"),
        ("bob", "client_credentials"),
    )


@pytest.mark.parametrize("token", ["relay", "exchange", "client_credentials", "none"])
async def test_calls_that_nobody_caused(tmp_path: Path, token: str) -> None:
    """They get the service's own token where that is said, and callers what they get otherwise."""
    request = EXCHANGE if token == "exchange" else OWN
    async with exchanging(tmp_path, request, token=token, without_context="client_credentials") as (
        running,
        idp,
    ):
        answer, received = await call(running, None)
        if token == "none":
            assert received is not None
            assert received.values("authorization") == []
            return
        claims = attached(received)
        assert (claims["sub"], claims["aud"]) == (SERVICES[0].client_id, "profile-service")
        assert answer.status == 200
        alice = await arrive(running, idp.mint.token("alice"))
        _, received = await call(running, alice.handle)
        mine = token == "client_credentials"
        assert attached(received)["sub"] == (SERVICES[0].client_id if mine else "alice")
        nobody = await arrive(running, None, "/open/x")
        answer, received = await call(running, nobody.handle)
        assert (answer.reason, received) == ("anonymous_origin", None)
        await alice.end()
        answer, received = await call(running, alice.handle)
        assert (answer.reason, received) == ("attribution_dead", None)
        await nobody.end()
    line = next(each for each in records(running) if each["direction"] == "outbound")
    assert line["attached"]["kind"] == "client_credentials"
    assert "subject" not in line


async def test_a_token_in_a_file(tmp_path: Path) -> None:
    """It is read again when it changes, and one that is gone is not sent any more."""
    file = tmp_path / "token"
    file.write_text("opaque-1\n")
    async with exchanging(tmp_path, token="file", token_request=None, token_file=str(file)) as (
        running,
        idp,
    ):
        alice = await arrive(running, idp.mint.token("alice"))
        _, received = await call(running, alice.handle)
        assert received is not None
        assert received.values("authorization") == ["Bearer opaque-1"]
        file.unlink()
        async with asyncio.timeout(10):
            while True:
                answer, received = await call(running, alice.handle)
                if received is None:
                    break
                await asyncio.sleep(0.05)  # it is looked at once a second, calls are counted
        assert (answer.status, answer.reason) == (503, "exchange_unavailable")
        await alice.end()
        assert idp.token_requests.total == 0


async def test_parts_of_a_destination(tmp_path: Path) -> None:
    """By path and method, the first that matches; what has two readings goes nowhere."""
    rules = (
        DestinationRule(("/public/**",), "none"),
        DestinationRule(("/own/{id}",), "client_credentials", token_request=OWN),
        DestinationRule(("/mine",), "relay", methods=("GET",)),
    )
    async with exchanging(tmp_path, rules=rules, automatic=True) as (running, idp):
        running.app.automatic = False
        token = idp.mint.token("alice")
        alice = await arrive(running, token)

        async def subject(target: str, method: str = "GET") -> str:
            answer = await fetch(
                running.bound.outbound["profiles"],
                target,
                method=method,
                fields=[("x-sidecar-context", alice.handle), CARRIER],
            )
            if answer.reason:
                return answer.reason
            received = running.destination.received[-1]
            assert received.target == target
            if not (values := received.values("authorization")):
                return "none"
            return "relay" if values == [f"Bearer {token}"] else str(attached(received)["sub"])

        assert await subject("/public/x?y=1") == "none"
        assert await subject("/PUBLIC/") == "none"
        assert await subject("/%70ublic/x") == "none"
        assert await subject("/own/1") == SERVICES[0].client_id
        assert await subject("/own/1/2") == "alice"
        assert await subject("/mine") == "relay"
        assert await subject("/mine", "PUT") == "alice"
        assert await subject("/anything") == "alice"
        for target in ("/public/../mine", "/public/%2e%2e/mine", "//public/x", "/public%2Fx"):
            assert await subject(target) == "path_ambiguous", target
        await alice.end()


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        (Status(500), 503, "exchange_unavailable"),
        (Status(429, "7"), 503, "exchange_unavailable"),
        (Page(), 503, "exchange_unavailable"),
        (Cut(), 503, "exchange_unavailable"),
        (Refusal("invalid_client", 401), 500, "exchange_misconfigured"),
        (Refusal("unauthorized_client"), 500, "exchange_misconfigured"),
        (Refusal("invalid_target"), 500, "exchange_misconfigured"),
        (Refusal("invalid_scope"), 500, "exchange_misconfigured"),
        (Refusal("invalid_grant"), 403, "exchange_refused"),
        (Refusal("access_denied"), 403, "exchange_refused"),
    ],
)
async def test_no_token_no_call(tmp_path: Path, fault: Any, status: int, reason: str) -> None:
    """The app is told why, in words that help, and the destination sees nothing."""
    async with exchanging(tmp_path) as (running, idp):
        token = idp.mint.token("alice")
        alice = await arrive(running, token)
        idp.faults.instead = fault
        answer, received = await call(running, alice.handle)
        assert (answer.status, answer.reason, received) == (status, reason, None)
        assert answer.values("www-authenticate") == []
        assert bool(answer.values("retry-after")) is (status == 503)
        if fault == Status(429, "7"):
            assert 1 <= int(answer.values("retry-after")[0]) <= 7
        problem = answer.body.decode()
        assert token not in problem
        assert SERVICES[0].client_secret not in problem
        if isinstance(fault, Refusal):
            assert fault.code in problem
        await alice.end()
        text = await running.metrics()
        assert f'reason="{reason}"' in text
    assert any(each.get("reason") == reason for each in records(running))


async def test_what_does_not_work_is_seen(tmp_path: Path) -> None:
    """In the status, until it works again: what is not had, and why."""
    async with exchanging(tmp_path) as (running, idp):
        status = running.sidecar._telling.status
        alice = await arrive(running, idp.mint.token("alice"))
        idp.faults.instead = Refusal("invalid_target")
        assert (await call(running, alice.handle))[0].reason == "exchange_misconfigured"
        (client,) = status().clients
        assert (client.name, client.circuit) == ("idp", "closed")
        trouble = "exchange for profile-service, profile.read: the token endpoint answered"
        assert client.troubles == (f"{trouble} invalid_target",)
        assert f"client idp gets no token: {client.troubles[0]}" in status().warnings
        idp.faults.clear()
        bob = await arrive(running, idp.mint.token("bob"))
        assert (await call(running, bob.handle))[0].status == 200
        assert status().clients[0].troubles == ()
        assert status().obtained_tokens == 1
        await alice.end()
        await bob.end()


@pytest.mark.parametrize(
    ("answer", "claims"),
    [
        ({"issued_token_type": "urn:ietf:params:oauth:token-type:id_token"}, {}),
        ({"token_type": "N_A"}, {}),
        ({}, {"aud": "somebody-else"}),
        ({}, {"sub": "mallory"}),
        ({}, {"exp": int(time.time()) - 5}),
    ],
)
async def test_what_was_not_asked_for(
    tmp_path: Path, answer: dict[str, object], claims: dict[str, object]
) -> None:
    """A token of another kind, for others, of others or from yesterday is not used."""
    async with exchanging(tmp_path) as (running, idp):
        alice = await arrive(running, idp.mint.token("alice"))
        idp.faults.answer, idp.faults.claims = answer, claims
        refusal, received = await call(running, alice.handle)
        assert (refusal.status, refusal.reason, received) == (502, "exchange_invalid", None)
        await alice.end()


async def test_another_subject_where_that_is_wanted(tmp_path: Path) -> None:
    """A provider may know the caller under another name."""
    async with exchanging(tmp_path, replace(EXCHANGE, subject_may_change=True)) as (running, idp):
        alice = await arrive(running, idp.mint.token("alice"))
        idp.faults.claims = {"sub": "a-4711"}
        _, received = await call(running, alice.handle)
        assert attached(received)["sub"] == "a-4711"
        await alice.end()


async def test_a_caller_who_leaves_meanwhile(tmp_path: Path) -> None:
    """What comes then is for nobody: the call is refused when its token is there."""
    async with exchanging(tmp_path) as (running, idp):
        idp.faults.hold = asyncio.Event()
        alice = await arrive(running, idp.mint.token("alice"))
        pending = asyncio.create_task(running.call_out(alice.handle))
        async with asyncio.timeout(10):
            while not idp.token_requests.in_flight:
                await asyncio.sleep(0)
        await alice.end()
        idp.faults.clear()
        answer = await pending
        assert (answer.status, answer.reason) == (403, "attribution_dead")
        assert running.destination.received == []


async def test_a_token_that_ends_during_the_request(tmp_path: Path) -> None:
    """Another one is obtained as long as the caller's own lives, and then there is none."""
    ahead = [0.0]
    async with exchanging(tmp_path, wall_clock=lambda: time.time() + ahead[0]) as (running, idp):
        idp.faults.answer = {"expires_in": 60}
        alice = await arrive(running, idp.mint.token("alice"))
        _, first = await call(running, alice.handle)
        assert first is not None
        ahead[0] = 61.0
        _, second = await call(running, alice.handle)
        assert second is not None
        assert second.values("authorization") != first.values("authorization")
        assert idp.token_requests.total == 2
        ahead[0] = idp.mint.lifetime_seconds + 1
        answer, third = await call(running, alice.handle)
        assert (answer.status, answer.reason, third) == (401, "token_expired", None)
        assert answer.values("www-authenticate") == []
        assert idp.token_requests.total == 2
        await alice.end()


async def test_a_token_that_ends_while_the_provider_is_down(tmp_path: Path) -> None:
    """It serves to its end, and is not sent after that."""
    ahead = [0.0]
    async with exchanging(tmp_path, wall_clock=lambda: time.time() + ahead[0]) as (running, idp):
        idp.faults.answer = {"expires_in": 60}
        alice = await arrive(running, idp.mint.token("alice"))
        assert (await call(running, alice.handle))[0].status == 200
        idp.faults.clear()
        idp.faults.instead = Status(500)
        ahead[0] = 50.0
        assert (await call(running, alice.handle))[0].status == 200
        ahead[0] = 60.0
        answer, received = await call(running, alice.handle)
        assert (answer.status, answer.reason, received) == (503, "exchange_unavailable", None)
        await alice.end()


async def test_a_fresh_token_after_401(tmp_path: Path) -> None:
    """Once, with the content that was sent; a second 401 is the app's to see."""
    async with exchanging(tmp_path) as (running, idp):
        alice = await arrive(running, idp.mint.token("alice"))
        pending = asyncio.create_task(
            fetch(
                running.bound.outbound["profiles"],
                "/profiles",
                method="POST",
                body=b"x" * 1000,
                fields=[("x-sidecar-context", alice.handle), CARRIER],
            )
        )
        first = await running.destination.next()
        first.answer(401, body=b"no")
        second = await running.destination.next()
        assert second.body == first.body == b"x" * 1000
        assert second.values("authorization") != first.values("authorization")
        second.answer(200, body=b"yes")
        answer = await pending
        assert (answer.status, answer.body) == (200, b"yes")
        assert idp.token_requests.total == 2
        again, received = asyncio.create_task(running.call_out(alice.handle)), running.destination
        (await received.next()).answer(401, body=b"no")
        assert (await again).status == 401
        assert idp.token_requests.total == 2, "a destination that refuses all must not make us ask"
        await alice.end()


async def test_no_second_try_for_what_is_not_held(tmp_path: Path) -> None:
    """More content than is kept, or a token of the caller's own: the 401 is passed on."""
    async with exchanging(tmp_path, replay_bytes=100) as (running, idp):
        alice = await arrive(running, idp.mint.token("alice"))
        pending = asyncio.create_task(
            fetch(
                running.bound.outbound["profiles"],
                "/profiles",
                method="POST",
                body=b"x" * 1000,
                fields=[("x-sidecar-context", alice.handle), CARRIER],
            )
        )
        (await running.destination.next()).answer(401)
        assert (await pending).status == 401
        assert (idp.token_requests.total, len(running.destination.received)) == (1, 1)
        await alice.end()
    (tmp_path / "relay").mkdir()
    async with exchanging(tmp_path / "relay", token="relay", token_request=None) as (running, idp):
        alice = await arrive(running, idp.mint.token("alice"))
        pending = asyncio.create_task(running.call_out(alice.handle))
        (await running.destination.next()).answer(401)
        assert (await pending).status == 401
        assert idp.token_requests.total == 0
        await alice.end()


async def test_a_401_while_the_provider_is_down(tmp_path: Path) -> None:
    """Nothing better can be had: the app learns that, and that it may try again."""
    async with exchanging(tmp_path) as (running, idp):
        alice = await arrive(running, idp.mint.token("alice"))
        pending = asyncio.create_task(running.call_out(alice.handle))
        first = await running.destination.next()
        idp.faults.instead = Status(500)
        first.answer(401)
        answer = await pending
        assert (answer.status, answer.reason) == (503, "exchange_unavailable")
        await alice.end()


async def test_the_apps_own_statement(tmp_path: Path) -> None:
    """An interceptor that relays the caller's token says whose call it is; that one goes in."""
    async with exchanging(tmp_path) as (running, idp):
        token = idp.mint.token("alice")
        alice = await arrive(running, token)
        _, received = await call_with(running, [], bearer=token)
        claims = attached(received)
        assert (claims["sub"], claims["aud"]) == ("alice", "profile-service")
        answer, received = await call_with(running, [], bearer=idp.mint.token("bob"))
        assert (answer.reason, received) == ("foreign_credential", None)
        await alice.end()


async def test_observing(tmp_path: Path) -> None:
    """Nothing is asked for and nothing attached."""
    async with exchanging(tmp_path, mode="observe") as (running, idp):
        alice = await arrive(running, idp.mint.token("alice"))
        _, received = await call(running, alice.handle)
        assert received is not None
        assert received.values("authorization") == []
        assert idp.token_requests.total == 0
        await alice.end()


async def test_relayed_outside_its_audience(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Counted each time, said once."""
    async with exchanging(
        tmp_path, token="relay", token_request=None, audiences=("profile-service",)
    ) as (running, idp):
        both = idp.mint.token("alice", aud=[AUDIENCE, "profile-service"])
        for token in (idp.mint.token("alice"), both, idp.mint.token("bob")):
            inflight = await arrive(running, token)
            await calls(running, inflight, 1)
            await inflight.end()
        text = await running.metrics()
    assert 'sidecar_relayed_outside_audience_total{destination="profiles"} 2.0' in text
    told = [each for each in caplog.records if "are relayed to the destination" in each.message]
    assert len(told) == 1
    assert AUDIENCE in told[0].message
