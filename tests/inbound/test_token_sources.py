"""Tokens from other places than Authorization, on real sockets: believed, removed, one at most."""

import asyncio
import base64
from pathlib import Path

import pytest

from sidecar.config.model import Forwarded
from sidecar.core.token_sources import TokenSource
from tests.support.http import Request, Response, fetch
from tests.support.inflight import call
from tests.support.pod import Pod, pod, records

PREFIX = "base64url.bearer.authorization.k8s.io."
HEADER = TokenSource("header", "X-Access-Token")
COOKIE = TokenSource("cookie", "access_token")
PROTOCOL = TokenSource("websocket_protocol", PREFIX)
AFTER = TokenSource("websocket_protocol_after", "bearer")
QUERY = TokenSource("query", "access_token")
ALL = (TokenSource("authorization"), HEADER, COOKIE, PROTOCOL, AFTER, QUERY)
Sent = tuple[str, list[tuple[str, str]]]
"""A query and fields."""


def encoded(token: str) -> str:
    return base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def ways(token: str) -> dict[str, Sent]:
    """Each place where *token* may be."""
    return {
        "authorization": ("", [("authorization", f"Bearer {token}".strip())]),
        "header": ("", [("x-access-token", token)]),
        "header, scheme": ("", [("X_Access_Token", f"bearer {token}".strip())]),
        "cookie": ("", [("cookie", f"theme=dark; access_token={token}; id=7")]),
        "subprotocol": ("", [("sec-websocket-protocol", f"chat, {PREFIX}{encoded(token)}")]),
        "marker": ("", [("sec-websocket-protocol", f"bearer, {token}, chat")]),
        "query": (f"?a=1&access_token={token}&b=2", []),
        "query, encoded": (f"?access%5Ftoken={token}", []),
    }


WAYS = list(ways("").keys())


def fields_of(request: Request) -> list[tuple[str, str]]:
    """What the app received beside what is always there."""
    return [
        (name, value)
        for name, value in request.fields
        if name not in ("host", "connection") and not name.startswith(("x-auth-", "x-sidecar-"))
    ]


async def ask(running: Pod, sent: Sent, path: str = "/users/alice") -> Response:
    query, fields = sent
    return await fetch(running.bound.inbound, path + query, fields=fields)


@pytest.mark.parametrize("way", WAYS)
async def test_a_token_is_believed_wherever_it_is_and_stays_here(tmp_path: Path, way: str) -> None:
    """The app learns who calls; of the token it sees nothing, and of the rest everything."""
    left = {
        "cookie": [("cookie", "theme=dark; id=7")],
        "subprotocol": [("sec-websocket-protocol", "chat")],
        "marker": [("sec-websocket-protocol", "chat")],
    }
    async with pod(tmp_path, inbound={"token_sources": ALL}) as running:
        token = running.mint.token("alice")
        answer = await ask(running, ways(token)[way])
        assert answer.status == 200
        (request,) = running.app.received
        assert request.values("x-auth-subject") == ["alice"]
        assert fields_of(request) == left.get(way, [])
        assert request.target == "/users/alice" + ("?a=1&b=2" if way == "query" else "")
        assert token not in request.target + str(request.fields)
        assert encoded(token) not in str(request.fields)
    (record,) = records(running)
    assert (record["path"], record["subject"]) == ("/users/alice", "alice")


@pytest.mark.parametrize("way", WAYS)
async def test_the_token_is_forwarded_as_authorization_once(tmp_path: Path, way: str) -> None:
    """``token_to_app: forward`` gives the app one form, wherever callers have it."""
    inbound = {"token_sources": ALL, "token_to_app": "forward"}
    async with pod(tmp_path, inbound=inbound) as running:
        token = running.mint.token("alice")
        assert (await ask(running, ways(token)[way])).status == 200
        (request,) = running.app.received
        assert request.values("authorization") == [f"Bearer {token}"]
        rest = [field for field in request.fields if field[0] != "authorization"]
        assert token not in request.target + str(rest)


@pytest.mark.parametrize("way", WAYS)
async def test_the_token_goes_out_with_the_call_it_causes(tmp_path: Path, way: str) -> None:
    """Attachment does not depend on where the token came from."""
    async with pod(tmp_path, automatic=False, inbound={"token_sources": ALL}) as running:
        token = running.mint.token("alice")
        pending = asyncio.create_task(ask(running, ways(token)[way]))
        request = await running.app.next()
        answer, called = await call(running, request.handle)
        assert called is not None
        assert (answer.status, called.values("authorization")) == (200, [f"Bearer {token}"])
        request.answer()
        assert (await pending).status == 200


@pytest.mark.parametrize("way", WAYS)
async def test_where_anyone_may_call_no_token_is_looked_at_and_none_passes(
    tmp_path: Path, way: str
) -> None:
    """Neither a broken one nor two are an error there, and the app gets none of them."""
    async with pod(tmp_path, inbound={"token_sources": ALL}) as running:
        query, fields = ways("not-verified")[way]
        fields = [*fields, ("cookie", "access_token=not-verified"), ("x-access-token", "")]
        answer = await ask(running, (query, fields), "/healthz")
        assert answer.status == 200
        (request,) = running.app.received
        text = request.target + str(request.fields)
        assert "not-verified" not in text
        assert encoded("not-verified") not in text
        assert "access" not in text
        assert request.values("x-auth-subject") == []


@pytest.mark.parametrize("way", WAYS)
async def test_two_tokens_are_400(tmp_path: Path, way: str) -> None:
    """Equal or not, in one source or in two (RFC 6750, section 2); the app hears nothing."""
    async with pod(tmp_path, inbound={"token_sources": ALL}) as running:
        token = running.mint.token("alice")
        query, fields = ways(token)[way]
        for other in ("cookie", "header"):
            answer = await ask(running, (query, [*fields, *ways(token)[other][1]]))
            assert (answer.status, answer.reason) == (400, "token_repeated")
            assert 'error="invalid_request"' in answer.values("www-authenticate")[0]
        assert running.app.received == []
    log = str(records(running))
    assert token not in log
    assert "send one" in log


@pytest.mark.parametrize("way", WAYS)
async def test_a_bad_token_is_refused_for_what_is_wrong_with_it(tmp_path: Path, way: str) -> None:
    """The reasons are those of a token in Authorization."""
    async with pod(tmp_path, inbound={"token_sources": ALL}) as running:
        for token, reason in (
            (running.mint.expired("alice"), "token_expired"),
            (running.mint.forged("alice"), "signature_invalid"),
            ("no-jwt", "token_malformed"),
            ("", "token_malformed"),
            ("a b", "token_malformed"),
        ):
            query, fields = ways(token)[way]
            answer = await ask(running, (query.replace(" ", "%20"), fields))
            assert (answer.status, answer.reason) == (401, reason), token
        assert (await ask(running, ("", []))).reason == "token_missing"
        assert running.app.received == []
    assert [record["detail"] for record in records(running)][-1].startswith("there is none in")


async def test_only_configured_places_are_looked_at(tmp_path: Path) -> None:
    """By default that is Authorization: everything else passes as it came."""
    async with pod(tmp_path) as running:
        token = running.mint.token("alice")
        for way in WAYS[1:]:
            assert (await ask(running, ways("x")[way])).reason == "token_missing"
        fields = [("authorization", f"Bearer {token}"), *ways("x")["cookie"][1]]
        assert (await ask(running, ("?access_token=x", fields))).status == 200
        (request,) = running.app.received
        assert request.target == "/users/alice?access_token=x"
        assert fields_of(request) == ways("x")["cookie"][1]


async def test_authorization_never_passes_even_where_it_is_no_source(tmp_path: Path) -> None:
    """It is not looked at, and the app cannot take it for something we verified."""
    for choice, expected in (("withhold", []), ("forward", ["Bearer {}"])):
        inbound = {"token_sources": (COOKIE,), "token_to_app": choice}
        async with pod(tmp_path, inbound=inbound) as running:
            token = running.mint.token("alice")
            spoofed = [("authorization", "Bearer spoofed"), ("cookie", f"access_token={token}")]
            assert (await ask(running, ("", spoofed))).status == 200
            assert (await ask(running, ("", spoofed[:1]))).reason == "token_missing"
            (request,) = running.app.received
            assert request.values("authorization") == [each.format(token) for each in expected]


@pytest.mark.parametrize(
    "named", ["x-access-token", "X_Access_Token", "cookie", "sec-websocket-protocol"]
)
async def test_connection_cannot_name_where_the_token_is(tmp_path: Path, named: str) -> None:
    """A hop before us would have lost the token, or a hop after us would believe another one."""
    async with pod(tmp_path, inbound={"token_sources": ALL}) as running:
        token = running.mint.token("alice")
        answer = await ask(running, ("", [*ways(token)["header"][1], ("connection", named)]))
        assert (answer.status, answer.reason) == (400, "connection_protected")
        assert running.app.received == []


async def test_the_query_is_never_written_down(tmp_path: Path) -> None:
    """Not for a good token, nor for one that is refused, nor where no rule matches."""
    async with pod(tmp_path, inbound={"token_sources": (QUERY,)}) as running:
        token = running.mint.token("alice")
        for path in ("/users/a", "/nowhere", "/users/%2e%2e/a", "/admin/x"):
            for sent in (token, running.mint.expired("alice"), "broken"):
                answer = await ask(running, (f"?access_token={sent}", []), path)
                assert sent not in answer.body.decode() + str(answer.fields)
        assert token not in await running.metrics()
    log = b"".join(running.log).decode()
    assert "access_token=" not in log
    assert token not in log
    assert "broken" not in log


async def test_an_answer_to_a_token_that_caches_cannot_see_is_private(tmp_path: Path) -> None:
    """Shared caches know Authorization alone (RFC 9111, section 3.5); what the app says stands."""
    async with pod(tmp_path, automatic=False, inbound={"token_sources": ALL}) as running:
        token = running.mint.token("alice")

        async def controls(way: str, *said: str) -> list[str]:
            pending = asyncio.create_task(ask(running, ways(token)[way]))
            (await running.app.next()).answer(fields=[("cache-control", each) for each in said])
            return (await pending).values("cache-control")

        assert await controls("authorization") == []
        for way in WAYS[1:]:
            assert await controls(way) == ["private"]
        assert await controls("cookie", "max-age=60") == ["max-age=60", "private"]
        assert await controls("cookie", "public, max-age=60") == ["public, max-age=60"]


async def test_a_forwarded_access_token_goes_with_forwarding_fields(tmp_path: Path) -> None:
    """``X-Forwarded-Access-Token`` is a token where configured, not a field about the way."""
    source = TokenSource("header", "X-Forwarded-Access-Token")
    inbound = {"token_sources": (source,), "forwarded": Forwarded()}
    async with pod(tmp_path, inbound=inbound) as running:
        token = running.mint.token("alice")
        sent = [("x-forwarded-access-token", token), ("x-forwarded-for", "1.2.3.4")]
        assert (await ask(running, ("", sent))).status == 200
        (request,) = running.app.received
        assert request.values("x-forwarded-for") == ["127.0.0.1"]
        assert token not in str(request.fields)
