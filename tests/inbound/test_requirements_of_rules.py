"""Hosts, conditions on claims, actors, authentication and optional tokens, on real sockets."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sidecar.config.model import Allow, ClaimCondition, Require, Rule
from sidecar.core.token_sources import TokenSource
from tests.support.http import fetch
from tests.support.pod import pod, records

OWN = ClaimCondition(("sub",), "segment", ("user",))
NORTH = ClaimCondition(("org", "tenant"), "one_of", ("north",))
STAFF = ClaimCondition(("groups",), "contains", ("staff", "desk"), "any")
RULES = (
    Rule("own", ("/users/{user}/**",), Require(claims=(OWN,))),
    Rule("north", ("/**",), Require(claims=(NORTH, STAFF)), hosts=("north.example",)),
    Rule("delegated", ("/delegated",), Require(actors=("orders",))),
    Rule("self", ("/self",), Require(actors=())),
    Rule("payments", ("/payments",), Require(acr=("phrh", "phr"), max_auth_age_seconds=900)),
    Rule("tried", ("/tried",), Require(acr=("phr",)), mode="observe"),
    Rule("page", ("/page",), Allow.OPTIONAL_TOKEN),
    Rule("rest", ("/**",), Allow.AUTHENTICATED, ("PUT",)),
)


async def test_everybody_reaches_what_is_their_own(tmp_path: Path) -> None:
    """The segment of the path that the app reads is the subject, whatever its encoding."""
    async with pod(tmp_path, rules=RULES) as running:
        inbound, mint = running.bound.inbound, running.mint
        alice = mint.token("alice")

        async def answer(path: str, token: str = alice) -> tuple[int, str]:
            response = await fetch(inbound, path, bearer=token)
            return response.status, response.reason

        for path in ("/users/alice", "/users/alice/orders/7", "/USERS/alice/", "/users/%61lice"):
            assert await answer(path) == (200, ""), path
        for path in ("/users/bob", "/users/Alice", "/users/alice%2e"):
            assert await answer(path) == (403, "claim_condition"), path
        for path in ("/users/", "/users"):
            assert await answer(path) == (403, "no_rule"), path
        assert (await answer("/users/alice/../bob"))[0] == 400
        assert await answer("/users/e%40x.example/a", mint.token("e@x.example")) == (200, "")
        targets = [each.target for each in running.app.received]
    assert targets[3] == "/users/alice"
    line = next(each for each in records(running) if each.get("reason") == "claim_condition")
    assert line["detail"] == (
        "the rule requires sub to be the path's {user}; the token says otherwise"
    )
    assert line["route"] == "own"


async def test_a_refusal_by_condition_has_no_challenge(tmp_path: Path) -> None:
    """Another token of the same person would not help, and the caller is not told of the rule."""
    async with pod(tmp_path, rules=RULES) as running:
        token = running.mint.token("alice")
        answer = await fetch(running.bound.inbound, "/users/bob", bearer=token)
    assert answer.status == 403
    assert answer.values("www-authenticate") == []
    assert "sub" not in answer.body.decode().replace("subject", "")


async def test_a_rule_is_for_its_hosts(tmp_path: Path) -> None:
    """Found again for each host although paths are remembered; a dot or capitals change nothing."""
    async with pod(tmp_path, rules=RULES) as running:
        inbound, mint = running.bound.inbound, running.mint
        north = mint.token("a", org={"tenant": "north"}, groups=["staff"])
        south = mint.token("b", org={"tenant": "south"}, groups=["staff"])
        outside = mint.token("c", org={"tenant": "north"}, groups="guests")

        async def answer(host: str, token: str, method: str = "GET") -> tuple[int, str]:
            response = await fetch(inbound, "/x", method=method, host=host, bearer=token)
            return response.status, response.reason

        for host in ("north.example", "North.Example:8443", "north.example."):
            assert await answer(host, north) == (200, ""), host
            assert await answer(host, south) == (403, "claim_condition"), host
            assert await answer(host, outside) == (403, "claim_condition"), host
        for host in ("south.example", "a.north.example", "north.example.org"):
            assert await answer(host, north) == (403, "no_rule"), host
            assert await answer(host, north, "PUT") == (200, ""), host
    details = {each["detail"] for each in records(running) if each.get("reason") == "no_rule"}
    assert details == {"no rule matches this method, host and path"}


async def test_whoever_acts_for_somebody_is_named_by_the_rule(tmp_path: Path) -> None:
    """RFC 8693: the outermost actor; or nobody at all."""
    async with pod(tmp_path, rules=RULES) as running:
        inbound, mint = running.bound.inbound, running.mint

        async def answer(path: str, act: object = None) -> tuple[int, str]:
            claims: Mapping[str, Any] = {} if act is None else {"act": act}
            response = await fetch(inbound, path, bearer=mint.token("alice", **claims))
            return response.status, response.reason

        assert await answer("/delegated", act={"sub": "orders"}) == (200, "")
        assert await answer("/delegated", act={"sub": "evil"}) == (403, "actor_refused")
        assert await answer("/delegated") == (403, "actor_refused")
        assert await answer("/self") == (200, "")
        assert await answer("/self", act={"sub": "orders"}) == (403, "actor_refused")


async def test_a_stronger_authentication_is_asked_for_as_rfc_9470_says(tmp_path: Path) -> None:
    """401 with what to ask the issuer for; the age is that of the moment, also of a known token."""
    clock = [time.time()]
    async with pod(tmp_path, rules=RULES, wall_clock=lambda: clock[0]) as running:
        inbound, mint = running.bound.inbound, running.mint
        weak = mint.token("alice", acr="pwd", auth_time=int(clock[0]))
        answer = await fetch(inbound, "/payments", bearer=weak)
        assert (answer.status, answer.reason) == (401, "authentication_insufficient")
        assert answer.values("www-authenticate") == [
            'Bearer error="insufficient_user_authentication", '
            'error_description="A stronger or more recent authentication is required", '
            'acr_values="phrh phr", max_age="900"'
        ]
        assert (await fetch(inbound, "/tried", bearer=weak)).status == 200
        strong = mint.token("alice", acr="phr", auth_time=int(clock[0]), exp=int(clock[0]) + 7200)
        assert (await fetch(inbound, "/payments", bearer=strong)).status == 200
        clock[0] += 902
        answer = await fetch(inbound, "/payments", bearer=strong)
        assert (answer.status, answer.reason) == (401, "authentication_insufficient")
        assert len(running.app.received) == 2


async def test_an_optional_token_is_verified_where_there_is_one(tmp_path: Path) -> None:
    """Without: anonymous. With: an identity, or a refusal; never as if it were not there."""
    async with pod(tmp_path, rules=RULES) as running:
        inbound, mint = running.bound.inbound, running.mint
        assert (await fetch(inbound, "/page")).status == 200
        assert (
            await fetch(inbound, "/page", fields=[("authorization", "Basic eDp5")])
        ).status == 200
        assert (await fetch(inbound, "/page", bearer=mint.token("alice"))).status == 200
        subjects = [each.values("x-auth-subject") for each in running.app.received]
        assert subjects == [[], [], ["alice"]]
        assert all(each.values("authorization") == [] for each in running.app.received)
        expired = mint.token("alice", exp=1_000_000_000)
        for token, reason in (
            (expired, "token_expired"),
            ("not.a.jwt", "token_malformed"),
            (mint.token("alice", iss="https://evil.example"), "issuer_mismatch"),
        ):
            answer = await fetch(inbound, "/page", bearer=token)
            assert (answer.status, answer.reason) == (401, reason)
        # It lets anybody in, so it matches to the letter.
        for path in ("/Page", "/page/"):
            assert (await fetch(inbound, path)).reason == "no_rule"
        assert len(running.app.received) == 3


async def test_an_optional_token_may_be_elsewhere(tmp_path: Path) -> None:
    """Where listeners look beyond Authorization."""
    sources = (TokenSource("authorization"), TokenSource("cookie", "session"))
    async with pod(tmp_path, rules=RULES, inbound={"token_sources": sources}) as running:
        inbound, mint = running.bound.inbound, running.mint
        token = mint.token("alice")
        assert (await fetch(inbound, "/page")).status == 200
        cookie = [("cookie", f"session={token}")]
        assert (await fetch(inbound, "/page", fields=cookie)).status == 200
        answer = await fetch(inbound, "/page", fields=cookie, bearer=token)
        assert (answer.status, answer.reason) == (400, "token_repeated")
        subjects = [each.values("x-auth-subject") for each in running.app.received]
    assert subjects == [[], ["alice"]]
