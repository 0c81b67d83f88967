"""What the app is told of the caller, on real sockets: our headers, and nobody else's."""

import asyncio
import json
from pathlib import Path
from typing import Any

import jwt
import pytest

from sidecar.assembly import serve
from sidecar.config.model import (
    Admin,
    Config,
    Forwarded,
    Identity,
    Inbound,
    Origin,
    SignedHeader,
)
from sidecar.core.identity import IdentityHeader
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Principal
from sidecar.listening import StartError
from tests.core.test_introspection import judge, said, verifier
from tests.support.http import Fields, Response, fetch
from tests.support.inflight import arrive, call_with
from tests.support.pod import LOOPBACK, RULES, Pod, pod, records

HEADERS = (
    IdentityHeader("x-user-email", "claim", ("email",)),
    IdentityHeader("x-user-authorities", "roles", prefix="ROLE_"),
    IdentityHeader("x-forwarded-groups", "claim", ("groups",), format="json"),
    IdentityHeader("remote-user", "subject", format="text"),
)
SIGNED = SignedHeader(audience="user-app")
IDENTITY = Identity(headers=HEADERS, signed=SIGNED)
OURS = ("x-auth-", "x-user-", "x-forwarded-groups", "remote-user")


def told(fields: Fields) -> dict[str, list[str]]:
    """What of *fields* is about the caller, in whatever spelling."""
    found: dict[str, list[str]] = {}
    for name, value in fields:
        if name.replace("_", "-").replace(".", "-").startswith(OURS):
            found.setdefault(name, []).append(value)
    return found


def spoofed(value: str = "mallory") -> list[tuple[str, str]]:
    """Each name in each spelling that some framework takes for it."""
    names = ["x-auth-subject", "x-auth-anything", "x-auth-assertion", *(h.name for h in HEADERS)]
    return [
        (spelling, value)
        for name in names
        for spelling in (
            name,
            name.title(),
            name.replace("-", "_").upper(),
            name.replace("-", "."),
            name.replace("-", "_", 1),
        )
    ]


async def ask(running: Pod, path: str = "/users/alice", **options: Any) -> Response:
    return await fetch(running.bound.inbound, path, **options)


async def test_claims_reach_the_app_as_configured(tmp_path: Path) -> None:
    """Beside the usual four, in their own formats; absent ones not at all."""
    async with pod(tmp_path, inbound={"identity": Identity(headers=HEADERS)}) as running:
        token = running.mint.token("alice", email="Zoë@shop.example", groups=["a,b", 1])
        assert (await ask(running, bearer=token)).status == 200
        assert (await ask(running, bearer=running.mint.token("bob"))).status == 200
        alice, bob = (told(request.fields) for request in running.app.received)
    assert alice == {
        "x-auth-subject": ["alice"],
        "x-auth-issuer": ["https://issuer.example"],
        "x-auth-scopes": ["profile.read"],
        "x-auth-roles": ["ADMIN,USER"],
        "x-user-email": ["Zo%C3%AB@shop.example"],
        "x-user-authorities": ["ROLE_ADMIN,ROLE_USER"],
        "x-forwarded-groups": ['["a,b",1]'],
        "remote-user": ["alice"],
    }
    assert (bob["remote-user"], bob.keys() & {"x-user-email", "x-forwarded-groups"}) == (
        ["bob"],
        set(),
    )


@pytest.mark.parametrize("path", ["/users/alice", "/healthz", "/open/x", "/watched"])
async def test_no_spelling_of_ours_passes_on_any_route(tmp_path: Path, path: str) -> None:
    """With a token the app hears of it alone; where anyone may call, of nobody."""
    inbound = {"identity": IDENTITY, "forwarded": Forwarded(trust=("127.0.0.0/8",))}
    async with pod(tmp_path, inbound=inbound) as running:
        token = running.mint.token("carol", realm_access={"roles": []})
        answer = await ask(running, path, bearer=token, fields=spoofed())
        assert answer.status == 200
        heard = told(running.app.received[0].fields)
    expected = {"x-auth-subject": ["carol"], "remote-user": ["carol"]}
    if path in ("/healthz", "/open/x"):
        assert heard == {}
    else:
        assertion = heard.pop("x-auth-assertion")
        assert len(assertion) == 1
        del heard["x-auth-issuer"]
        heard.pop("x-auth-scopes", None)
        assert heard == expected
    assert "mallory" not in str(heard)


async def test_no_spelling_of_ours_leaves_the_pod(tmp_path: Path) -> None:
    """Not with a call of the app, not with an answer to it, not with the app's own answer."""
    inbound = {"identity": IDENTITY}
    async with pod(tmp_path, inbound=inbound, automatic=False) as running:
        alice = await arrive(running, running.mint.token("alice"))
        fields = [("x-sidecar-carrier", "python/0.1; grade=strict")]
        fields.append(("x-sidecar-context", alice.handle))
        _, called = await call_with(running, [*fields, *spoofed()])
        assert called is not None
        assert told(called.fields) == {}
        assert called.values("authorization")

        pending = asyncio.create_task(
            fetch(running.bound.outbound["profiles"], "/profiles/x", fields=fields)
        )
        (await running.destination.next()).answer(fields=spoofed())
        answer = await pending
        assert (answer.status, told(answer.fields)) == (200, {})

        alice.request.answer(fields=[*spoofed(), ("x-app", "kept")])
        answer = await alice.answer
        assert (told(answer.fields), answer.values("x-app")) == ({}, ["kept"])


async def test_no_spelling_of_ours_comes_as_a_trailer(tmp_path: Path) -> None:
    """Neither to the app, whose trailers end here anyway, nor from it."""
    heard = b""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard = await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
        writer.write(b"x_user_email: m\r\nx-auth-roles: m\r\nRemote-User: m\r\nx-kept: 1\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    app = Origin("http", *server.sockets[0].getsockname()[:2])
    async with server, pod(tmp_path, inbound={"identity": IDENTITY, "app": app}) as running:
        head = (
            b"POST /users/alice HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te\r\n"
            b"transfer-encoding: chunked\r\nauthorization: Bearer %b\r\n\r\n"
        )
        body = b"5\r\nhello\r\n0\r\nx_user_email: mallory\r\n\r\n"
        inbound = running.bound.inbound
        reader, writer = await asyncio.open_connection(inbound.host, inbound.port)
        writer.write(head % running.mint.token("alice", email="a@b").encode() + body)
        received = await asyncio.wait_for(reader.readuntil(b"x-kept: 1\r\n\r\n"), 10)
        writer.close()
    assert heard.count(b"x-user-email: a@b\r\n") == 1
    assert b"mallory" not in heard
    assert received.endswith(b"0\r\nx-kept: 1\r\n\r\n")


@pytest.mark.parametrize("named", ["x-user-email", "X_User_Email", "remote-user", "x-auth-x"])
async def test_connection_cannot_name_a_header_of_ours(tmp_path: Path, named: str) -> None:
    """Whoever is behind us would drop what we wrote."""
    async with pod(tmp_path, inbound={"identity": IDENTITY}) as running:
        answer = await ask(
            running, bearer=running.mint.token("alice"), fields=[("connection", named)]
        )
        assert (answer.status, answer.reason) == (400, "connection_protected")


async def test_another_prefix_lets_the_usual_one_pass(tmp_path: Path) -> None:
    """What is not ours any longer is the caller's and the app's."""
    async with pod(tmp_path, inbound={"identity": Identity(prefix="x-caller-")}) as running:
        fields = [("x-auth-token", "of the app's own"), ("X_Caller_Subject", "mallory")]
        await ask(running, bearer=running.mint.token("alice"), fields=fields)
        (request,) = running.app.received
        assert request.values("x-auth-token") == ["of the app's own"]
        assert request.values("x-caller-subject") == ["alice"]
        assert request.values("x_caller_subject") == []


async def test_a_token_that_says_too_much_is_refused(tmp_path: Path) -> None:
    """With a code of its own; with less to say the same caller passes."""
    identity = Identity(headers=HEADERS, max_bytes=1024)
    async with pod(tmp_path, inbound={"identity": identity}) as running:
        for size, status in ((100, 200), (1000, 431)):
            answer = await ask(running, bearer=running.mint.token("alice", email="a" * size))
            assert answer.status == status
        assert answer.reason == "identity_too_large"
        assert answer.values("www-authenticate") == []
        assert len(running.app.received) == 1
    *_, record = records(running)
    assert "inbound.identity.max_size is 1024" in record["detail"]


async def test_a_claim_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """The operator is told which claim and which header, the caller that a claim is wrong."""
    async with pod(tmp_path, inbound={"identity": IDENTITY}) as running:
        answer = await ask(running, bearer=running.mint.token("alice", email={"secret": "x"}))
        assert (answer.status, answer.reason) == (401, "claims_malformed")
        assert "email" not in answer.body.decode()
    (record,) = records(running)
    assert record["detail"] == (
        "the token's email is an object, which the header x-user-email (comma) cannot carry"
    )


def test_an_answer_of_the_issuer_is_looked_at_too() -> None:
    """What an opaque token stands for can be too much, or not fit, as well."""

    def render(_: Principal) -> Denial:
        return Denial(Reason.IDENTITY_TOO_LARGE)

    made = verifier(render=render)
    assert judge(said(), made).denial.reason is Reason.IDENTITY_TOO_LARGE  # type: ignore[union-attr]
    assert made.recall(b"opaque", now=0.0) is None


async def public_key(running: Pod, assertion: str) -> jwt.PyJWK:
    answer = await fetch(running.bound.admin, "/.well-known/jwks.json")
    assert (answer.status, answer.values("content-type")) == (200, ["application/jwk-set+json"])
    keys = jwt.PyJWKSet.from_json(answer.body.decode())
    return keys[jwt.get_unverified_header(assertion)["kid"]]


async def test_the_app_can_check_who_spoke(tmp_path: Path) -> None:
    """With the key of the admin listener; one signature serves many requests of a token."""
    async with pod(tmp_path, inbound={"identity": IDENTITY}) as running:
        token = running.mint.token("alice")
        for _ in range(3):
            assert (await ask(running, bearer=token)).status == 200
        first, *others = (request.values("x-auth-assertion") for request in running.app.received)
        assert others == [first, first]
        signing = running.wiring.identity.signed
        assert signing is not None
        assert signing.signatures == 1
        (assertion,) = first
        claims = jwt.decode(
            assertion,
            await public_key(running, assertion),
            audience="user-app",
            issuer="jwt-sidecar",
            options={"require": ["exp", "iat", "sub"]},
        )
        assert (claims["sub"], claims["roles"]) == ("alice", ["ADMIN", "USER"])
        assert assertion not in b"".join(running.log).decode()

        answer = await ask(running, bearer=assertion)
        assert (answer.status, answer.reason) == (401, "issuer_mismatch")


async def test_without_signing_there_is_no_key(tmp_path: Path) -> None:
    """And the overview of the admin listener does not name it."""
    async with pod(tmp_path) as running:
        assert (await fetch(running.bound.admin, "/.well-known/jwks.json")).status == 404
        assert b"jwks" not in (await fetch(running.bound.admin, "/")).body
        await ask(running, bearer=running.mint.token("alice"))
        assert running.app.received[0].values("x-auth-assertion") == []
    async with pod(tmp_path, inbound={"identity": IDENTITY}) as running:
        assert b"/.well-known/jwks.json" in (await fetch(running.bound.admin, "/")).body
        (key,) = json.loads((await fetch(running.bound.admin, "/.well-known/jwks.json")).body)[
            "keys"
        ]
        assert key.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}


async def test_a_key_that_is_gone_at_the_start_is_named(tmp_path: Path) -> None:
    """In one line, with the key and its path."""
    path = str(tmp_path / "gone.pem")
    signed = SignedHeader(audience="a", key=path)
    config = Config(
        issuers={},
        inbound=Inbound(
            LOOPBACK, Origin("http", "127.0.0.1", 1), RULES[:1], identity=Identity(signed=signed)
        ),
        admin=Admin(LOOPBACK),
    )
    with pytest.raises(StartError) as caught:
        await serve(config, announce=lambda _: None)
    assert str(caught.value) == (
        f"inbound.identity.signed.key: {path} cannot be read: No such file or directory"
    )
