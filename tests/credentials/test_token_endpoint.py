"""When a token endpoint is asked for a token: real HTTP, time and chance in the test's hands."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import pytest
from aiohttp import web

from sidecar.config.model import Client
from sidecar.core.obtained import Failure, ObtainedToken
from sidecar.core.principal import Credential
from sidecar.core.token_request import TokenRequest
from sidecar.credentials.token_endpoint import Surroundings, TokenEndpoint
from sidecar.fetch.client import Fetcher
from sidecar.issuers.endpoints import GivenEndpoint
from sidecar.telemetry.token_endpoint import TokenEndpointMetrics
from tests.support.token_server import NOW, TokenServer, serving, subject_named, unsigned

EXCHANGE = TokenRequest("c", "exchange", audience=("orders",))
SERVICE = TokenRequest("c", "client_credentials")
SECRET = "s3cr:t / +ü%"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Reading the system's authorities for each test would take longer than the test."""


@dataclass
class Bench:
    """An endpoint as it is wired, and everything around it."""

    server: TokenServer
    metrics: TokenEndpointMetrics
    endpoint: TokenEndpoint = field(init=False)
    now: float = NOW
    chance: float = 1.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def ask(
        self, request: TokenRequest = EXCHANGE, subject: Credential | None = None, **more: Any
    ) -> ObtainedToken | Failure:
        if subject is None and request.grant != "client_credentials":
            subject = subject_named()
        return await self.endpoint.ask(request, subject, **more)

    async def token(self, *asked: Any) -> ObtainedToken:
        got = await self.ask(*asked)
        assert isinstance(got, ObtainedToken), got
        return got

    async def failure(self, *asked: Any, **more: Any) -> Failure:
        got = await self.ask(*asked, **more)
        assert isinstance(got, Failure)
        assert got.detail.isprintable()
        assert got.detail.startswith("client c: ")
        return got

    def count(self, result: str) -> int:
        return self.metrics.results.get(result, 0)


@asynccontextmanager
async def benched(**changes: Any) -> AsyncIterator[Bench]:
    async with serving() as server, Fetcher(ssl_context=NO_TLS) as fetcher:
        usual = {"token_endpoint": server.url, "client_secret": SECRET, "timeout_seconds": 30.0}
        client = Client("c", "user service:1", **{**usual, **changes})
        metrics = TokenEndpointMetrics("c")
        bench = Bench(server, metrics)
        around = Surroundings(fetcher, bench.clock, bench.clock, lambda: bench.chance, bench.sleep)
        bench.endpoint = TokenEndpoint(
            client, GivenEndpoint(client.token_endpoint), around, report=metrics
        )
        try:
            yield bench
        finally:
            server.gate.set()
            await bench.endpoint.close()
            assert metrics.in_flight == 0


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """An endpoint with the usual configuration."""
    async with benched() as bench:
        yield bench


# --- what is asked for, and what comes ---


async def test_a_token_comes(bench: Bench) -> None:
    """The form arrives as the grant has it, with the client's credential."""
    got = await bench.token()
    assert (got.subject, got.asked_at, got.expires_at) == ("alice", NOW, NOW + 300)
    assert bench.server.last["subject_token"] == subject_named().token.decode()
    assert bench.server.last["audience"] == "orders"
    assert bench.server.basic == ("user service:1", SECRET)
    assert bench.metrics.results == {"success": 1}
    assert bench.metrics.duration.count == 1


async def test_a_service_s_own_token(bench: Bench) -> None:
    """Nobody's token is needed for it."""
    assert (await bench.token(SERVICE)).subject == "service"
    assert bench.server.forms == [[("grant_type", "client_credentials")]]


async def test_an_on_behalf_of_token(bench: Bench) -> None:
    """RFC 7523: the subject's token is the assertion."""
    await bench.token(TokenRequest("c", "jwt_bearer", scopes=("x",)))
    assert bench.server.last["assertion"] == subject_named().token.decode()


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"sub": "mallory"}, "the sub of the token"), ({"aud": "billing"}, "the aud of the token")],
)
async def test_somebody_else_s_token(
    bench: Bench, changes: dict[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is never used; that says nothing of the server, and one line tells the operator."""
    bench.server.answer = lambda form: web.json_response(bench.server.issue(form, **changes))
    for _ in range(9):
        failure = await bench.failure()
        assert failure.kind == "invalid_answer"
        assert said in failure.detail
    assert bench.count("invalid_answer") == 9
    assert bench.metrics.circuit == "closed"
    assert bench.slept == []
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_nothing_to_ask_with(bench: Bench) -> None:
    """An expired token is not sent: just before its end it is, at its end it is not."""
    assert (await bench.failure(EXCHANGE, subject_named(expires_at=NOW))).kind == "subject_expired"
    without = await bench.endpoint.ask(EXCHANGE, None)
    assert isinstance(without, Failure)
    assert without.kind == "subject_expired"
    assert bench.server.asked == 0
    await bench.token(EXCHANGE, subject_named(expires_at=NOW + 0.1))


# --- what is our own mistake, and what is the subject's ---


@pytest.mark.parametrize(
    ("code", "status", "hint"),
    [
        ("invalid_client", 401, "check client_id, auth and client_secret of clients.c"),
        ("invalid_client", 400, "check client_id, auth and client_secret of clients.c"),
        ("unauthorized_client", 400, "check whether this client may use this grant"),
        ("invalid_target", 400, "check audience and resource of the destination"),
        ("invalid_scope", 400, "check scopes of the destination"),
        ("unsupported_grant_type", 400, "check whether the server"),
    ],
)
async def test_a_mistake_of_ours(
    bench: Bench, code: str, status: int, hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Never asked again by itself, said once with what to check, and once when it is mended."""
    caplog.set_level(logging.INFO)
    bench.server.says(code, status, "No \n such thing")
    for _ in range(7):
        failure = await bench.failure()
        assert (failure.kind, failure.code) == ("misconfigured", code)
        assert failure.is_about_client is (status == 401)
        assert "such thing" not in failure.detail
    assert bench.server.asked == 7
    assert bench.metrics.circuit == "closed"
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert hint in record.message
    assert '("No such thing")' in record.message
    assert "exchange for orders" in record.message
    bench.server.answer = None
    await bench.token()
    assert caplog.messages[1:] == ["client c: exchange for orders works again"]


async def test_an_audience_that_keycloak_does_not_know(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """It calls that an invalid client, with 400: the line names the audience, too."""
    bench.server.says("invalid_client", 400, "Audience not found")
    await bench.failure()
    await bench.failure(SERVICE)
    bench.server.says("invalid_client", 401)
    await bench.failure(replace(EXCHANGE, audience=("billing",)))
    named = ["and audience of the destination" in message for message in caplog.messages]
    assert named == [True, False, False]


async def test_one_destination_s_mistake_is_not_another_s(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """While one works and one does not, nothing changes, and nothing is said again."""
    bench.server.answer = lambda form: (
        web.json_response(bench.server.issue(form))
        if form["audience"] == "orders"
        else web.json_response({"error": "invalid_target"}, status=400)
    )
    for _ in range(3):
        await bench.token()
        await bench.failure(replace(EXCHANGE, audience=("billing",)))
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("code", ["invalid_grant", "access_denied", "invalid_request"])
async def test_not_for_this_subject(
    bench: Bench, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No mistake of ours: now and then an example is shown, and the server is not avoided."""
    caplog.set_level(logging.INFO)
    bench.server.says(code, 400, f"alice may not, says {unsigned(sub='bob')}")
    for _ in range(7):
        assert (await bench.failure()).kind == "refused"
    assert bench.metrics.results == {"refused": 7}
    assert bench.metrics.circuit == "closed"
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "alice may not, says ..." in caplog.messages[0]
    bench.now += 60
    await bench.failure()
    assert len(caplog.messages) == 2


async def test_what_was_sent_is_not_repeated(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """However short the secret is that a server quotes."""
    bench.server.says("invalid_client", 401, f"wrong secret: {SECRET.split()[0]}{SECRET}")
    await bench.failure()
    assert "s3cr" not in caplog.text


# --- what passes ---


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_it_is_asked_again(bench: Bench, status: int) -> None:
    """As often as configured, after pauses that grow and are any part of their length."""
    bench.server.fails(status)
    failure = await bench.failure()
    assert (failure.kind, failure.retry_after_seconds) == ("unavailable", None)
    assert bench.server.asked == 3
    assert bench.slept == [0.1, 0.2]
    bench.chance = 0.5
    await bench.failure()
    assert bench.slept[2:] == [0.05]  # and then the circuit opened


async def test_the_second_attempt_may_work(bench: Bench) -> None:
    """The caller never knows."""
    answers = iter([web.Response(status=503), None])
    bench.server.answer = lambda form: next(answers) or web.json_response(bench.server.issue(form))
    await bench.token()
    assert bench.metrics.results == {"http_error": 1, "success": 1}


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (200, "<html>Please log in</html>", "unavailable"),
        (200, "", "unavailable"),
        (200, "{}", "unavailable"),
        (200, "x" * 100_000, "unavailable"),
        (204, "", "unavailable"),
        (302, "", "unavailable"),
        (404, "<html>", "unavailable"),
        (500, "<html>", "unavailable"),
        (500, '{"error": "invalid_client"}', "unavailable"),
    ],
)
async def test_what_is_not_asked_again(bench: Bench, status: int, text: str, kind: str) -> None:
    """It would not help; after five in a row the server is left alone for a second."""
    bench.server.fails(status, text, Location="/elsewhere")
    for _ in range(5):
        assert (await bench.failure()).kind == kind
    assert bench.server.asked == 5
    assert bench.metrics.circuit == "open"
    failure = await bench.failure()
    assert (failure.kind, failure.retry_after_seconds) == ("circuit_open", 1.0)
    assert bench.server.asked == 5
    assert bench.slept == []


async def test_a_bad_request_without_words_is_no_outage(bench: Bench) -> None:
    """It may be about the token, which a caller chose and which must not cut the others off."""
    bench.server.fails(400)
    for _ in range(9):
        assert (await bench.failure()).kind == "unavailable"
    assert bench.metrics.circuit == "closed"


async def test_an_outage_is_said_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """When the circuit opens, and when it is over; one probe finds that out."""
    caplog.set_level(logging.INFO)
    bench.server.fails(500)
    for _ in range(20):
        await bench.failure()
    bench.now += 1
    await bench.failure()
    bench.server.answer = None
    bench.now += 2
    await asyncio.gather(bench.ask(), bench.ask(), bench.ask())
    assert bench.server.asked == 5 + 1 + 1
    assert caplog.messages == [
        "client c: the token endpoint failed several times in a row, last: the token endpoint "
        "answered with status 500; tokens that are not known are not obtained",
        "client c: the token endpoint works again",
    ]
    assert bench.metrics.circuit == "closed"


async def test_repetitions_are_a_share_of_what_is_asked() -> None:
    """An outage that no circuit sees is not answered with three times the load."""
    async with benched(retries=5) as bench:
        for number in range(60):
            bench.server.fails(503) if number % 2 else setattr(bench.server, "answer", None)
            await bench.ask(EXCHANGE, subject_named(expires_at=inf))
            bench.now += 60  # whatever the circuit does, it may be asked again
        # A fifth of sixty, and ten that were saved up.
        assert 60 < bench.server.asked <= 82


async def test_no_retries() -> None:
    """None where none are wanted."""
    async with benched(retries=0) as bench:
        bench.server.fails(503)
        await bench.failure()
        assert bench.server.asked == 1


async def test_nobody_there(unused_tcp_port: int) -> None:
    """A connection that is refused is tried again, and is the server's fault."""
    async with benched(token_endpoint=f"http://127.0.0.1:{unused_tcp_port}/token") as bench:
        failure = await bench.failure()
        assert failure.kind == "unavailable"
        assert "no connection could be made" in failure.detail
        assert bench.metrics.results == {"network_error": 3}


async def test_a_connection_that_is_cut() -> None:
    """Before an answer it is tried again; in the middle of one it is not."""
    heads = iter([b"", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"])

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(next(heads))
        writer.close()

    async with await asyncio.start_server(converse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with benched(token_endpoint=f"http://127.0.0.1:{port}/token") as bench:
            assert "ended early" in (await bench.failure()).detail
            assert bench.metrics.results == {"network_error": 3}


async def test_a_server_that_does_not_answer() -> None:
    """Its time is over after ``timeout``; it is not asked again, and five open the circuit."""
    async with benched(timeout_seconds=0.1) as bench:
        bench.server.gate.clear()
        failures = await asyncio.gather(*(bench.failure() for _ in range(5)))
        assert {failure.kind for failure in failures} == {"unavailable"}
        assert bench.metrics.circuit == "open"
        assert bench.metrics.results == {"network_error": 5}


async def test_a_caller_with_little_time_says_nothing_of_the_server(bench: Bench) -> None:
    """What ends early because of the caller is not held against the server."""
    bench.server.gate.clear()
    failures = await asyncio.gather(*(bench.failure(ends_at=bench.now + 0.05) for _ in range(6)))
    assert {failure.kind for failure in failures} == {"unavailable"}
    assert bench.metrics.circuit == "closed"
    assert (await bench.failure(ends_at=bench.now)).detail.endswith(
        "no time left to ask for a token"
    )


async def test_no_attempt_after_the_end(bench: Bench) -> None:
    """A pause that would be over too late is not made."""
    bench.server.fails(503)
    await bench.failure(ends_at=bench.now + 0.1)
    assert (bench.server.asked, bench.slept) == (1, [])


# --- what the server asks for ---


@pytest.mark.parametrize(
    ("status", "fields", "seconds"),
    [
        (429, {"Retry_After": "7"}, 7),
        (503, {"Retry_After": "7"}, 7),
        (429, {}, 1),
        (429, {"Retry_After": "nonsense"}, 1),
        (429, {"Retry_After": "86400"}, 60),
        (
            503,
            {
                "Retry_After": "Tue, 14 Nov 2023 22:13:30 GMT",
                "Date": "Tue, 14 Nov 2023 22:13:20 GMT",
            },
            10,
        ),
    ],
)
async def test_it_asks_to_be_left_alone(
    bench: Bench,
    status: int,
    fields: dict[str, str],
    seconds: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody asks it until then, whatever for: just before it nobody, at it again."""
    bench.server.fails(status, **fields)
    failure = await bench.failure()
    assert (failure.kind, failure.retry_after_seconds) == ("unavailable", seconds)
    bench.server.answer = None
    bench.now += seconds - 0.1
    failure = await bench.failure(SERVICE)
    assert failure.retry_after_seconds == pytest.approx(0.1)
    assert bench.metrics.results == {"rate_limited": 1, "left_alone": 1}
    assert len(caplog.messages) == 1
    bench.now += 0.1
    await bench.token()
    assert bench.server.asked == 2


async def test_that_it_asks_again_and_again_is_said_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Until a token came; then it is news again."""
    for _ in range(2):
        for _ in range(3):
            bench.server.fails(429)
            await bench.failure()
            bench.now += 1
        bench.server.answer = None
        await bench.token()
    assert len(caplog.messages) == 2


async def test_whoever_waits_leaves_it_alone_too() -> None:
    """Turns that come after ``Retry-After`` are not used."""
    async with benched(max_concurrent=1) as bench:
        bench.server.gate.clear()
        asking = [asyncio.create_task(bench.failure()) for _ in range(5)]
        await bench.server.wait_for(1)
        bench.server.fails(429, Retry_After="7")
        bench.server.gate.set()
        assert all(each.retry_after_seconds == 7 for each in await asyncio.gather(*asking))
        assert bench.server.asked == 1


# --- how many at once ---


async def test_two_hundred_subjects_at_once() -> None:
    """Never more than ``max_concurrent`` at the server, and everybody gets their own token."""
    async with benched(max_concurrent=7, max_waiting=200) as bench:
        names = [f"user-{number}" for number in range(200)]
        bench.server.gate.clear()
        asking = asyncio.gather(*(bench.token(EXCHANGE, subject_named(name)) for name in names))
        await bench.server.wait_for(7)
        bench.server.gate.set()
        got = await asking
        assert [token.subject for token in got] == names
        assert (bench.server.most_at_once, bench.server.asked) == (7, 200)


async def test_too_many_wait() -> None:
    """What is over ``max_waiting`` is refused at once; what waits is not."""
    async with benched(max_concurrent=2, max_waiting=3) as bench:
        bench.server.gate.clear()
        asking = [asyncio.create_task(bench.ask()) for _ in range(5)]
        await bench.server.wait_for(2)
        failure = await bench.failure()
        assert (failure.kind, bench.count("limited")) == ("limited", 1)
        bench.server.gate.set()
        assert all(isinstance(each, ObtainedToken) for each in await asyncio.gather(*asking))
        assert bench.server.most_at_once == 2


async def test_a_turn_that_does_not_come() -> None:
    """Nobody waits longer than they have time."""
    async with benched(max_concurrent=1) as bench:
        bench.server.gate.clear()
        first = asyncio.create_task(bench.ask())
        await bench.server.wait_for(1)
        failure = await bench.failure(ends_at=bench.now + 0.05)
        assert failure.kind == "limited"
        bench.server.gate.set()
        assert isinstance(await first, ObtainedToken)


async def test_whoever_waits_while_the_circuit_opens() -> None:
    """Their turn comes to nothing: five fail, and the others are told at once."""
    async with benched(max_concurrent=1) as bench:
        bench.server.fails(500)
        kinds = [each.kind for each in await asyncio.gather(*(bench.failure() for _ in range(8)))]
        assert kinds == ["unavailable"] * 5 + ["circuit_open"] * 3
        assert bench.server.asked == 5


async def test_whoever_leaves_gives_the_turn_back() -> None:
    """Before it came and after it."""
    async with benched(max_concurrent=1) as bench:
        bench.server.gate.clear()
        asking = [asyncio.create_task(bench.ask()) for _ in range(3)]
        await bench.server.wait_for(1)
        for each in asking[:2]:
            each.cancel()
        bench.server.gate.set()
        assert isinstance(await asking[2], ObtainedToken)
        assert bench.metrics.in_flight == 0


async def test_a_probe_that_is_abandoned(bench: Bench) -> None:
    """Whoever was to find out whether it is over and left does not keep the circuit open."""
    bench.server.fails(500)
    for _ in range(5):
        await bench.failure()
    bench.server.answer = None
    bench.server.gate.clear()
    bench.now += 1
    probe = asyncio.create_task(bench.ask())
    await bench.server.wait_for(6)
    assert (await bench.failure()).kind == "circuit_open"
    probe.cancel()
    await asyncio.wait((probe,))
    bench.server.gate.set()
    await bench.token()


# --- who acts ---

ACTING = replace(EXCHANGE, actor="client")


async def test_the_client_s_own_token_says_who_acts(bench: Bench) -> None:
    """Asked for once for everybody who waits, then kept."""
    bench.server.gate.clear()
    asking = [asyncio.create_task(bench.token(ACTING)) for _ in range(5)]
    await bench.server.wait_for(1)
    bench.server.gate.set()
    await asyncio.gather(*asking)
    kinds = [dict(form)["grant_type"] for form in bench.server.forms]
    assert kinds.count("client_credentials") == 1
    actors = {dict(form).get("actor_token") for form in bench.server.forms[1:]}
    assert actors == {unsigned(sub="service", aud="any", n=1)}


async def test_it_is_replaced_before_its_end(bench: Bench) -> None:
    """30 s before, of 300: not sooner. While that does not work, it serves to its end."""
    await bench.token(ACTING)
    bench.now += 269
    await bench.token(ACTING)
    assert bench.server.asked == 3
    bench.server.answer = lambda form: (
        web.Response(status=500)
        if form["grant_type"] == "client_credentials"
        else web.json_response(bench.server.issue(form))
    )
    bench.now += 2
    await bench.token(ACTING)
    assert bench.server.asked == 5
    bench.now += 29
    assert (await bench.failure(ACTING)).detail.endswith("(for its own token)")
    bench.server.answer = None
    await bench.token(ACTING)


async def test_a_client_that_gets_no_token(bench: Bench) -> None:
    """Whoever calls is not to blame."""
    bench.server.says("access_denied", 403)
    assert (await bench.failure(ACTING)).kind == "misconfigured"


async def test_an_actor_that_is_doubted(bench: Bench) -> None:
    """After a refusal a new one is obtained, but not more often than once a minute."""
    await bench.token(ACTING)
    bench.server.answer = lambda form: (
        web.json_response({"error": "invalid_request"}, status=400)
        if "subject_token" in form
        else web.json_response(bench.server.issue(form))
    )
    for _ in range(5):
        await bench.failure(ACTING)
    assert bench.server.asked == 7
    bench.now += 61
    for _ in range(5):
        await bench.failure(ACTING)
    # The first of them doubts, the second obtains another, the others use that.
    assert bench.server.asked == 7 + 5 + 1


async def test_who_waits_for_it_has_an_end(bench: Bench) -> None:
    """It is not given up for the others."""
    bench.server.gate.clear()
    patient = asyncio.create_task(bench.token(ACTING))
    await bench.server.wait_for(1)
    assert (await bench.failure(ACTING, ends_at=bench.now + 0.05)).kind == "unavailable"
    bench.server.gate.set()
    await patient


async def test_the_end(bench: Bench) -> None:
    """Who waits for the client's own token is answered, and nothing is asked for any more."""
    bench.server.gate.clear()
    asking = asyncio.create_task(bench.ask(ACTING))
    await bench.server.wait_for(1)
    await bench.endpoint.close()
    assert isinstance(await asking, Failure)
    bench.server.gate.set()
    assert (await bench.failure()).kind == "unavailable"
    assert bench.server.asked == 1


async def test_a_defect_is_seen(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is raised at whoever asks."""
    monkeypatch.setattr("sidecar.credentials.token_endpoint.token_form", None)
    assert (await bench.failure()).kind == "unavailable"
    assert "asking for a token broke" in caplog.text
    assert subject_named().token.decode() not in caplog.text
    assert inf > bench.metrics.duration.count == 1
