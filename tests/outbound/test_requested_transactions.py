"""``transaction_token: request``: one of a real token service, for each inbound request its own."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt

from sidecar.config.model import Client
from sidecar.core.token_request import TRANSACTION_TOKEN, TokenRequest
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.token_faults import Refusal, Status
from sidecar.testbed.token_mint import ABSENT
from sidecar.testbed.users import SERVICES
from tests.support.http import Request
from tests.support.inflight import arrive, call, call_with
from tests.support.pod import AUDIENCE, TRUST_DOMAIN, Pod, pod, records
from tests.support.transactions import TransactionMint

REQUEST = TokenRequest(
    "tts", "exchange", audience=(TRUST_DOMAIN,), scopes=("profile.read",),
    requested_type=TRANSACTION_TOKEN,
)  # fmt: skip


@asynccontextmanager
async def requesting(
    directory: Path, *, provider: dict[str, Any] | None = None, **changes: Any
) -> AsyncIterator[tuple[Pod, IdentityProvider]]:
    """Run a pod whose destination gets transaction tokens of a real token service."""
    destination = {
        "transaction_token": "request", "transaction_request": REQUEST,
        **changes.pop("destination", {}),
    }  # fmt: skip
    async with IdentityProvider(audience=[AUDIENCE], **(provider or {})) as tts:
        client = Client(
            "tts",
            SERVICES[0].client_id,
            token_endpoint=tts.token_url,
            client_secret=SERVICES[0].client_secret,
            retries=0,
        )
        async with pod(
            directory, mint=tts.mint, clients=[client], destination=destination, automatic=False,
            **changes,
        ) as running:  # fmt: skip
            yield running, tts


def said(request: Request | None) -> dict[str, Any]:
    """Return the claims of the transaction token that went with a call."""
    assert request is not None
    (value,) = request.values("txn-token")
    assert jwt.get_unverified_header(value)["typ"] == "txntoken+jwt"
    claims: dict[str, Any] = jwt.decode(value, options={"verify_signature": False})
    return claims


async def test_each_request_has_a_transaction_of_its_own(tmp_path: Path) -> None:
    """All calls of one request carry the same, beside the relayed token; another request with the
    very same access token gets another one.
    """
    async with requesting(tmp_path) as (running, tts):
        token, bobs = tts.mint.token("alice"), tts.mint.token("bob")
        one, two = await arrive(running, token), await arrive(running, token)
        bob = await arrive(running, bobs)
        seen: dict[str, set[str]] = {"one": set(), "two": set(), "bob": set()}
        for name, inflight in (("one", one), ("two", two), ("bob", bob), ("one", one)):
            _, request = await call(running, inflight.handle)
            claims = said(request)
            assert request is not None
            wanted = bobs if name == "bob" else token
            assert request.values("authorization") == [f"Bearer {wanted}"]
            assert claims["sub"] == ("bob" if name == "bob" else "alice")
            assert claims["aud"] in (TRUST_DOMAIN, [TRUST_DOMAIN])
            seen[name].add(claims["txn"])
        assert [len(each) for each in seen.values()] == [1, 1, 1]
        assert len(set.union(*seen.values())) == 3
        assert tts.token_requests.total == 3
        for inflight in (one, two, bob):
            await inflight.end()
    logged = [each for each in records(running) if each["direction"] == "outbound"]
    assert {each["transaction"] for each in logged} == set.union(*seen.values())


async def test_many_calls_of_one_request_ask_once(tmp_path: Path) -> None:
    """They wait together and go with the same."""
    async with requesting(tmp_path) as (running, tts):
        running.destination.automatic = True
        alice = await arrive(running, tts.mint.token("alice"))
        answers = await asyncio.gather(*(running.call_out(alice.handle) for _ in range(20)))
        assert {answer.status for answer in answers} == {200}
        assert len({said(request)["txn"] for request in running.destination.received}) == 1
        assert tts.token_requests.total == 1
        await alice.end()
        assert not running.wiring.standing.obtained.under_way


async def test_what_came_in_goes_on_and_nothing_is_asked_for(tmp_path: Path) -> None:
    """A transaction has one token: the one that the request came with."""
    mint = TransactionMint()
    async with requesting(tmp_path, transactions=mint) as (running, tts):
        token = mint.transaction("alice")
        alice = await arrive(running, tts.mint.token("alice"), fields=[("txn-token", token)])
        _, request = await call(running, alice.handle)
        assert request is not None
        assert request.values("txn-token") == [token]
        assert tts.token_requests.total == 0
        await alice.end()


async def test_beside_no_other_token(tmp_path: Path) -> None:
    """``token: none``: whose call it is must be known, and an anonymous one has nothing to ask
    with.
    """
    async with requesting(tmp_path, destination={"token": "none"}) as (running, tts):
        alice = await arrive(running, tts.mint.token("alice"))
        _, request = await call(running, alice.handle)
        assert said(request)["sub"] == "alice"
        assert request is not None
        assert not request.values("authorization")
        answer, request = await call(running, None)
        assert (answer.reason, request) == ("attribution_missing", None)
        anonymous = await arrive(running, None, "/open/x")
        _, request = await call(running, anonymous.handle)
        assert request is not None
        assert not request.values("txn-token")
        await alice.end()
        await anonymous.end()


async def test_an_app_that_relays_names_no_request(tmp_path: Path) -> None:
    """With two requests of one access token, nobody can tell whose transaction a call is of."""
    async with requesting(tmp_path) as (running, tts):
        token = tts.mint.token("alice")
        one = await arrive(running, token)
        _, request = await call_with(running, [], bearer=token)
        first = said(request)["txn"]
        two = await arrive(running, token)
        answer, request = await call_with(running, [], bearer=token)
        assert (answer.reason, request) == ("attribution_ambiguous", None)
        fields = [
            ("x-sidecar-carrier", "python/0.1; grade=strict"), ("x-sidecar-context", two.handle),
        ]  # fmt: skip
        _, request = await call_with(running, fields, bearer=token)
        assert said(request)["txn"] != first
        await one.end()
        await two.end()


async def test_no_call_goes_without(tmp_path: Path) -> None:
    """When there is none the call is refused, with the reasons of tokens that are obtained; what
    may pass is tried again, what is not to be mended is not.
    """
    async with requesting(tmp_path) as (running, tts):
        alice = await arrive(running, tts.mint.token("alice"))
        tts.faults.instead = Status(503)
        answer, request = await call(running, alice.handle)
        assert (answer.status, answer.reason, request) == (503, "exchange_unavailable", None)
        tts.faults.instead = None
        _, request = await call(running, alice.handle)
        assert said(request)["sub"] == "alice"
        bob = await arrive(running, tts.mint.token("bob"))
        tts.faults.instead = Refusal("invalid_target")
        asked = tts.token_requests.total
        for _ in range(3):
            answer, request = await call(running, bob.handle)
            assert (answer.status, answer.reason, request) == (500, "exchange_misconfigured", None)
        assert tts.token_requests.total == asked + 1
        await alice.end()
        await bob.end()


async def test_what_comes_must_be_a_transaction_token(tmp_path: Path) -> None:
    """For the trust domain, of the caller, with a txn."""
    faults: tuple[dict[str, Any], ...] = ({"aud": "other"}, {"sub": "mallory"}, {"txn": ABSENT})
    for claims in faults:
        async with requesting(tmp_path) as (running, tts):
            tts.faults.claims = claims
            alice = await arrive(running, tts.mint.token("alice"))
            answer, request = await call(running, alice.handle)
            assert (answer.status, answer.reason, request) == (502, "exchange_invalid", None)
            await alice.end()


async def test_a_transaction_has_no_second_token(tmp_path: Path) -> None:
    """Once it has expired the request causes no call: 401 ``token_expired``, and nobody is asked
    for a new transaction in an old one's place.
    """
    now = [time.time()]
    async with requesting(tmp_path, wall_clock=lambda: now[0]) as (running, tts):
        tts.faults.claims = {"exp": int(now[0]) + 20}
        alice = await arrive(running, tts.mint.token("alice"))
        _, request = await call(running, alice.handle)
        assert said(request)
        now[0] += 30
        answer, request = await call(running, alice.handle)
        assert (answer.status, answer.reason, request) == (401, "token_expired", None)
        assert tts.token_requests.total == 1
        await alice.end()


async def test_whoever_leaves_takes_the_question_along(tmp_path: Path) -> None:
    """A request that ends while its token is asked for causes no call."""
    async with requesting(tmp_path) as (running, tts):
        tts.faults.hold = hold = asyncio.Event()
        alice = await arrive(running, tts.mint.token("alice"))
        calling = asyncio.create_task(running.call_out(alice.handle))
        async with asyncio.timeout(10):
            while not running.wiring.standing.obtained.under_way:
                await asyncio.sleep(0)
        await alice.end()
        hold.set()
        assert (await calling).reason == "attribution_dead"
        assert not running.destination.received
