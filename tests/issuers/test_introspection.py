"""When an issuer is asked about a token: real HTTP, real judgement, time in the test's hands."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from sidecar.config.model import Discovery, Issuer, JwksUri
from sidecar.core.claims import Introspected, IssuerPolicy
from sidecar.core.introspection import Answer
from sidecar.core.outcome import Denial, Reason
from sidecar.core.verification import Rejected, Verdict, Verified, Verifier
from sidecar.fetch.client import Fetcher
from sidecar.issuers.endpoints import (
    FRESH_SECONDS,
    RETRY_SECONDS,
    DiscoveredEndpoint,
    introspection_endpoint_of,
)
from sidecar.issuers.introspection import IntrospectionClient
from sidecar.issuers.refused_tokens import RefusedTokens
from sidecar.issuers.sources import SourceError
from sidecar.telemetry.introspection import IntrospectionMetrics
from sidecar.testbed.token_mint import TokenMint
from tests.support.introspection import SECRET, Endpoint, serving

ISSUER = "https://idp.test"
NOW = 1_700_000_000.0


@dataclass
class Clock:
    """Monotonic and wall clock in one, moved by the test."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """A client as it is wired, and everything around it."""

    endpoint: Endpoint
    client: IntrospectionClient
    verifier: Verifier
    clock: Clock
    metrics: IntrospectionMetrics
    withdrawn: list[bytes] = field(default_factory=list)

    async def ask(self, token: str) -> str:
        """Do what an exchange does; return the subject or the code of the refusal."""
        known = self.verifier.recall(token.encode(), now=self.clock())
        if known is not None:
            return known.credential.principal.subject
        inquiry = self.client.ask(token.encode())
        if isinstance(inquiry, Denial):
            return inquiry.reason.code
        await inquiry.settled()
        verdict = inquiry.verdict
        if isinstance(verdict, Verified):
            return verdict.credential.principal.subject
        return verdict.denial.reason.code

    def issue(self, subject: str = "alice", **claims: object) -> str:
        return self.endpoint.opaque.issue(subject, **claims)

    def count(self, result: str) -> int:
        return self.metrics.results.get(result, 0)


@asynccontextmanager
async def benched(judge: Any = None, **changes: Any) -> AsyncIterator[Bench]:
    clock = Clock()
    mint = TokenMint(ISSUER, audience=["orders"], algorithms=("ES256",), clock=clock)
    async with serving(mint) as endpoint, Fetcher() as fetcher:
        endpoint.opaque._clock = clock
        asked = endpoint.configured(**changes)
        verifier = Verifier(
            [
                IssuerPolicy(
                    "shop",
                    ISSUER,
                    frozenset({"orders"}),
                    introspection=Introspected(
                        opaque=True, jwt=False, positive_seconds=asked.cache.positive_seconds
                    ),
                )
            ],
            render=lambda principal: principal.subject.encode(),
            max_token_bytes=4096,
            cache_max_entries=100,
            cache_max_bytes=1 << 20,
        )
        withdrawn: list[bytes] = []
        metrics = IntrospectionMetrics("shop")
        client = IntrospectionClient(
            Issuer(
                "shop", ISSUER, ("orders",), JwksUri("http://127.0.0.1:1/"), introspection=asked
            ),
            asked,
            fetch=fetcher,
            judge=judge or verifier.introspected,
            withdrawn=withdrawn.append,
            clock=clock,
            wall_clock=clock,
            report=metrics,
        )
        try:
            yield Bench(endpoint, client, verifier, clock, metrics, withdrawn)
        finally:
            await client.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A client with the usual configuration."""
    async with benched() as bench:
        yield bench


# --- what is remembered ---


async def test_a_yes_stands_for_the_positive_time(bench: Bench) -> None:
    """60 s from the question: just before it nobody is asked, at its end the issuer is."""
    token = bench.issue()
    assert await bench.ask(token) == "alice"
    bench.endpoint.opaque.revoke(token)
    bench.clock.now += 59.9
    assert await bench.ask(token) == "alice"
    bench.clock.now += 0.1
    assert await bench.ask(token) == "token_inactive"
    assert bench.endpoint.asked == [token, token]
    assert bench.withdrawn == [token.encode()]


async def test_a_yes_ends_with_exp(bench: Bench) -> None:
    """``exp`` is sooner than the positive time, and there is no leeway."""
    token = bench.issue(exp=NOW + 20)
    assert await bench.ask(token) == "alice"
    bench.clock.now += 19.9
    assert await bench.ask(token) == "alice"
    assert len(bench.endpoint.asked) == 1
    bench.clock.now += 0.1
    assert await bench.ask(token) == "token_inactive"


async def test_an_issuer_that_calls_an_expired_token_active_is_not_believed(bench: Bench) -> None:
    """At ``exp`` the token is expired, whatever its issuer says."""
    answer = {"active": True, **bench.endpoint.mint.claims("alice", exp=NOW)}
    bench.endpoint.answer = lambda: web.json_response(answer)
    assert await bench.ask("a") == "token_expired"
    answer["exp"] = NOW + 0.5
    assert await bench.ask("b") == "alice"


async def test_a_no_stands_for_the_negative_time(bench: Bench) -> None:
    """5 s, then the issuer is asked again: the token may have arrived at its database late."""
    answer = bench.endpoint.answer = lambda: web.json_response({"active": False})
    assert answer is not None
    token = bench.issue()
    assert await bench.ask(token) == "token_inactive"
    bench.endpoint.answer = None
    bench.clock.now += 4.9
    assert await bench.ask(token) == "token_inactive"
    assert len(bench.endpoint.asked) == 1
    bench.clock.now += 0.1
    assert await bench.ask(token) == "alice"


async def test_a_clock_that_is_set_back_makes_no_yes_last_longer(bench: Bench) -> None:
    """What was answered later than now is asked again."""
    token = bench.issue()
    assert await bench.ask(token) == "alice"
    bench.clock.now -= 1.0
    assert await bench.ask(token) == "alice"
    assert len(bench.endpoint.asked) == 2


def test_refused_tokens_are_bounded() -> None:
    """What was refused first goes first; what is over is forgotten."""
    refused = RefusedTokens(max_entries=3, seconds=5.0)
    denial = Denial(Reason.TOKEN_INACTIVE)
    for number in range(1000):
        refused.add(b"token-%d" % number, denial, now=0.0)
    assert len(refused) == 3
    assert refused.get(b"token-996", now=0.0) is None
    assert refused.get(b"token-997", now=4.99) is denial
    assert refused.get(b"token-997", now=5.0) is None
    assert len(refused) == 2
    assert b"token" not in b"".join(refused._entries)


def test_no_negative_time_remembers_nothing() -> None:
    """``negative: 0s``."""
    refused = RefusedTokens(max_entries=3, seconds=0.0)
    refused.add(b"t", Denial(Reason.TOKEN_INACTIVE), now=0.0)
    assert len(refused) == 0


# --- the circuit ---


async def test_the_circuit_opens_probes_once_and_closes(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Five failures; a pause without a question; one probe at a time; then all is well again."""
    caplog.set_level(logging.INFO, "sidecar.issuers")
    bench.endpoint.fail()
    for number in range(8):
        assert await bench.ask(f"t{number}") == "introspection_unavailable"
    assert len(bench.endpoint.asked) == 5
    assert (bench.count("http_error"), bench.count("circuit_open")) == (5, 3)
    assert bench.metrics.circuit == "open"

    bench.clock.now += 1.0
    bench.endpoint.gate.clear()
    probe = asyncio.create_task(bench.ask("probe"))
    while len(bench.endpoint.asked) < 6:
        await asyncio.sleep(0)
    assert bench.metrics.circuit == "half_open"
    assert await bench.ask("another") == "introspection_unavailable"
    bench.endpoint.gate.set()
    assert await probe == "introspection_unavailable"

    bench.clock.now += 1.0  # the second pause is twice as long
    assert await bench.ask("early") == "introspection_unavailable"
    assert len(bench.endpoint.asked) == 6
    bench.clock.now += 1.0
    bench.endpoint.answer = None
    assert await bench.ask(bench.issue()) == "alice"
    assert bench.metrics.circuit == "closed"
    assert await bench.ask(bench.issue()) == "alice"
    assert [record.getMessage() for record in caplog.records] == [
        "issuer shop: introspection: it failed several times in a row, last: the endpoint answered"
        " with status 500; unknown tokens are refused with 503",
        "issuer shop: introspection works again",
    ]


async def test_questions_that_wait_when_the_circuit_opens_are_not_asked() -> None:
    """Whoever waited for a turn is told at once."""
    async with benched(max_concurrent=5) as bench:
        bench.endpoint.fail()
        bench.endpoint.gate.clear()
        asking = [asyncio.create_task(bench.ask(f"t{number}")) for number in range(50)]
        while bench.endpoint.at_once < 5:
            await asyncio.sleep(0)
        bench.endpoint.gate.set()
        assert set(await asyncio.gather(*asking)) == {"introspection_unavailable"}
        assert len(bench.endpoint.asked) < 15
        assert bench.count("http_error") == len(bench.endpoint.asked)
        assert bench.count("circuit_open") == 50 - len(bench.endpoint.asked)


async def test_an_answer_of_400_does_not_open_the_circuit(bench: Bench) -> None:
    """The endpoint may dislike a token, which its sender chose."""
    bench.endpoint.fail(400)
    for number in range(20):
        assert await bench.ask(f"t{number}") == "introspection_unavailable"
    assert len(bench.endpoint.asked) == 20
    bench.endpoint.answer = None
    assert await bench.ask(bench.issue()) == "alice"


async def test_a_probe_that_says_nothing_lets_the_next_one_be_made(bench: Bench) -> None:
    """It was answered with 400: neither well nor failing, so somebody else's token tells."""
    bench.endpoint.fail()
    for number in range(5):
        await bench.ask(f"t{number}")
    bench.clock.now += 1.0
    bench.endpoint.fail(400)
    assert await bench.ask("odd") == "introspection_unavailable"
    bench.endpoint.answer = None
    assert await bench.ask(bench.issue()) == "alice"
    assert bench.metrics.circuit == "closed"


async def test_wrong_client_credentials_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """An error that says what to look at, without the secret, and a line when it is well again."""
    caplog.set_level(logging.INFO, "sidecar.issuers")
    async with benched(client_secret="guessed-s3cret") as bench:
        for number in range(8):
            assert await bench.ask(f"t{number}") == "introspection_unavailable"
        assert bench.count("unauthorized") == 5
        assert bench.endpoint.asked == []
        (record,) = caplog.records
        assert record.levelname == "ERROR"
        assert "status 401" in record.getMessage()
        assert "client_id, client_secret and auth" in record.getMessage()
        assert "s3cret" not in caplog.text
        assert SECRET not in repr(bench.endpoint.configured())


async def test_well_again_after_one_401(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Before the circuit opened."""
    caplog.set_level(logging.INFO, "sidecar.issuers")
    bench.endpoint.fail(403)
    assert await bench.ask("t") == "introspection_unavailable"
    bench.endpoint.answer = None
    assert await bench.ask(bench.issue()) == "alice"
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


# --- bounds ---


async def test_the_wait_for_a_turn_ends() -> None:
    """A question that gets no turn within the timeout is 503, and blames nobody."""
    async with benched(max_concurrent=1, timeout_seconds=0.1) as bench:
        await bench.client._turns.acquire()  # as a question does that takes its time
        assert await bench.ask("waiting") == "introspection_unavailable"
        assert (bench.count("limited"), bench.endpoint.asked) == (1, [])
        bench.client._turns.release()
        assert await bench.ask(bench.issue()) == "alice"


async def test_rate_grows_back_with_time() -> None:
    """Two at once, a third is 503, half a second later another is asked."""
    async with benched(max_rate=2) as bench:
        found = [await bench.ask(bench.issue()) for _ in range(3)]
        assert found == ["alice", "alice", "introspection_unavailable"]
        bench.clock.now += 0.5
        assert await bench.ask(bench.issue()) == "alice"
        assert bench.count("limited") == 1


async def test_a_defect_is_seen_and_refuses(caplog: pytest.LogCaptureFixture) -> None:
    """What nobody expected lets nobody in and stays in no table."""

    def broken(token: bytes, answer: Answer, *, asked_at: float, now: float) -> Verdict:
        raise RuntimeError("a defect")

    async with benched(judge=broken) as bench:
        token = bench.issue()
        for _ in range(2):
            assert await bench.ask(token) == "introspection_unavailable"
        assert "introspection broke" in caplog.text
        assert token not in caplog.text
        assert bench.client._under_way == {}


async def test_whatever_is_answered_gives_a_value(bench: Bench) -> None:
    """Hostile answers: each a refusal, none an exception."""
    bodies = [b"", b"null", b"[]", b"{", b'"x"', b"\xff", b"[" * 5000, b'{"active":true}',
              b'{"active":true,"sub":{"a":[1]},"exp":1e999}', b'{"active":true,"exp":NaN}',
              b'{"active":true,"sub":"\\ud800","exp":9e9,"aud":"orders"}']  # fmt: skip
    for number, body in enumerate(bodies):
        bench.endpoint.answer = lambda body=body: web.Response(body=body)
        assert (await bench.ask(f"t{number}")) in {"introspection_unavailable", "claim_missing",
                                                   "audience_mismatch"}  # fmt: skip
        bench.clock.now += 60


# --- where the endpoint is ---

Metadata = Callable[[], Awaitable[web.Response]]


@dataclass
class Provider:
    """Serves metadata, and counts who asks for it."""

    document: dict[str, object]
    url: str = ""
    asked: int = 0
    status: int = 200

    async def handle(self, _request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(status=self.status, text=json.dumps(self.document))


@asynccontextmanager
async def provided(**document: object) -> AsyncIterator[tuple[Provider, DiscoveredEndpoint, Clock]]:
    provider, clock = Provider(document), Clock()
    application = web.Application()
    application.router.add_get("/metadata", provider.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    provider.url = f"http://{host}:{port}/metadata"
    try:
        async with Fetcher() as fetcher:
            yield (
                provider,
                DiscoveredEndpoint(
                    provider.url, fetcher, issuer=ISSUER, allow_plaintext=False, clock=clock
                ),
                clock,
            )
    finally:
        await runner.cleanup()


async def test_the_endpoint_of_the_metadata() -> None:
    """Read once for all who ask at the same time, and again after an hour."""
    async with provided(issuer=ISSUER, introspection_endpoint="http://127.0.0.1:9/i") as (
        provider,
        endpoint,
        clock,
    ):
        urls = await asyncio.gather(*(endpoint.url() for _ in range(10)))
        assert set(urls) == {"http://127.0.0.1:9/i"}
        assert provider.asked == 1
        assert endpoint.named_by == provider.url
        clock.now += FRESH_SECONDS
        provider.document["introspection_endpoint"] = "http://127.0.0.1:9/j"
        assert await endpoint.url() == "http://127.0.0.1:9/j"


async def test_an_endpoint_that_is_known_outlives_an_outage_of_the_metadata() -> None:
    """It is used while the metadata cannot be had, which is tried once a minute."""
    async with provided(issuer=ISSUER, introspection_endpoint="http://127.0.0.1:9/i") as (
        provider,
        endpoint,
        clock,
    ):
        await endpoint.url()
        provider.status = 500
        clock.now += FRESH_SECONDS
        for _ in range(3):
            assert await endpoint.url() == "http://127.0.0.1:9/i"
        assert provider.asked == 2
        clock.now += RETRY_SECONDS
        provider.status = 200
        await endpoint.url()
        assert provider.asked == 3


async def test_metadata_that_cannot_be_had_are_asked_for_once_a_second() -> None:
    """Ten who need the endpoint do not wait for ten fetches in turn."""
    async with provided(issuer="https://other.test") as (provider, endpoint, clock):
        asking = (endpoint.url() for _ in range(10))
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(each) for each in found] == [SourceError] * 10
        assert provider.asked == 1
        clock.now += 1.0
        provider.document |= {"issuer": ISSUER, "introspection_endpoint": "http://127.0.0.1:9/i"}
        assert await endpoint.url() == "http://127.0.0.1:9/i"
        assert provider.asked == 2


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (b"<html>", "is not JSON"),
        (b"{}", "says issuer (not a string)"),
        (b'{"issuer": "https://other.test", "introspection_endpoint": "https://a/"}', "other.test"),
        (b'{"issuer": "https://idp.test"}', "has no introspection_endpoint"),
        (b'{"issuer": "https://idp.test", "introspection_endpoint": 1}', "has no introspection"),
    ],
)
def test_metadata_that_name_no_endpoint(metadata: bytes, said: str) -> None:
    """Another issuer's metadata do not say where our secret goes."""
    with pytest.raises(SourceError, match=said.replace("(", r"\(").replace(")", r"\)")):
        introspection_endpoint_of(metadata, issuer=ISSUER)


async def test_metadata_from_afar_do_not_send_us_to_loopback() -> None:
    """The guard's rules for hops hold: this endpoint would be asked with a secret."""
    asked: list[str] = []

    async def lookup(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["192.0.2.1"]

    async with benched() as bench, Fetcher(lookup=lookup) as fetcher:
        issuer = Issuer("shop", ISSUER, ("orders",), Discovery(f"{ISSUER}/metadata"))
        client = IntrospectionClient(
            issuer,
            bench.endpoint.configured(url=None),
            fetch=fetcher,
            judge=bench.verifier.introspected,
            withdrawn=lambda _token: None,
            clock=bench.clock,
            wall_clock=bench.clock,
            report=bench.metrics,
        )
        endpoint = client._endpoint
        assert isinstance(endpoint, DiscoveredEndpoint)
        endpoint._known, endpoint._due_at = bench.endpoint.url, bench.clock.now + 60
        inquiry = client.ask(b"token")
        assert not isinstance(inquiry, Denial)
        await inquiry.settled()
        assert isinstance(inquiry.verdict, Rejected)
        assert bench.count("refused_address") == 1
        assert bench.endpoint.forms == []
