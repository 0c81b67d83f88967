"""When keys are asked for: against a real provider, with time in the test's hands."""

import asyncio
import gc
import gzip
import logging
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.config.model import Discovery, JwksFile, JwksUri
from sidecar.core.outcome import Reason
from sidecar.telemetry.metrics import ISSUER_STATES
from tests.issuers.conftest import Bench, Benches
from tests.issuers.support import ISSUER, Provider, issuer, jwks


async def pass_seconds(bench: Bench, seconds: float) -> None:
    """Let the background sleep away *seconds*, and come to rest again."""
    until = bench.time.now + seconds
    while bench.time.now < until:
        await bench.time.end_one_sleep()
    await bench.time.asleep()


# --- loading and refreshing in the background ---


async def test_first_load(bench: Bench, provider: Provider) -> None:
    """Keys are loaded at once and installed; state and time of success are reported."""
    assert not bench.is_loaded()
    assert bench.report.states == ["loading"]
    async with bench.running():
        await bench.time.asleep()
    assert bench.is_loaded()
    assert bench.keys.last_error == ""
    assert bench.installed.sets == [{"one"}]
    assert bench.report.states == ["loading", "fresh"]
    assert bench.report.results == ["success"]
    assert bench.report.successes == [bench.time.now]


async def test_rotation(bench: Bench, provider: Provider) -> None:
    """A new key is installed beside the old one, and the old one goes when it is withdrawn."""
    async with bench.running():
        await bench.time.asleep()
        provider.publish("one", "two")
        await pass_seconds(bench, 300)
        provider.publish("two")
        await pass_seconds(bench, 300)
    assert bench.installed.sets == [{"one"}, {"one", "two"}, {"two"}]
    assert bench.report.results == ["success"] * 3
    assert bench.report.states == ["loading", "fresh"]


async def test_equal_set_is_not_installed_again(bench: Bench, provider: Provider) -> None:
    """A refresh that finds the same keys is a success that changes nothing."""
    async with bench.running():
        await bench.time.asleep()
        loaded_at = bench.time.now
        await pass_seconds(bench, 300)
    assert bench.installed.sets == [{"one"}]
    assert bench.report.results == ["success", "unchanged"]
    assert bench.report.successes == [loaded_at, pytest.approx(loaded_at + 300)]


@pytest.mark.parametrize(("jitter", "interval"), [(0.0, 270.0), (0.5, 300.0), (1.0, 330.0)])
async def test_refresh_interval_is_spread(
    benches: Benches, server: TestServer, provider: Provider, jitter: float, interval: float
) -> None:
    """Refreshes come at the interval, ten per cent more or less: not all pods at once."""
    benches.jitter.value = jitter
    bench = benches.make(issuer(JwksUri(str(server.make_url("/jwks")))))
    async with bench.running():
        await bench.time.asleep()
        begin = bench.time.now
        while provider.requests < 2:
            await bench.time.end_one_sleep()
            await bench.time.asleep()
    assert bench.time.now - begin == pytest.approx(interval)


async def test_outage_at_start(bench: Bench, provider: Provider) -> None:
    """A provider that is down at the start does not end the task; its recovery is noticed."""
    provider.fail(503)
    async with bench.running():
        await bench.time.asleep()
        assert not bench.is_loaded()
        assert bench.report.states == ["loading", "blind"]
        assert "status 503" in bench.keys.last_error
        provider.publish("one")
        await bench.time.end_one_sleep()
        await bench.time.asleep()
    assert bench.is_loaded()
    assert bench.keys.last_error == ""
    assert bench.report.states == ["loading", "blind", "fresh"]
    assert bench.report.results == ["http_error", "success"]


async def test_provider_that_never_answers_yields_no_keys(
    benches: Benches, unused_tcp_port: int
) -> None:
    """With the provider unreachable and no keys, nothing is installed and callers get 503."""
    bench = benches.make(issuer(JwksUri(f"http://127.0.0.1:{unused_tcp_port}/jwks")))
    async with bench.running():
        await bench.time.asleep()
        assert bench.keys.refusal("one") is Reason.KEYS_UNAVAILABLE
    assert bench.installed.sets == []
    assert bench.report.results == ["network_error"]


async def test_back_off_doubles_to_a_limit(bench: Bench, provider: Provider) -> None:
    """Retries wait twice as long each time, half a second to thirty, times the jitter."""
    provider.fail()
    instants: list[float] = []
    async with bench.running():
        while len(instants) < 9:
            await bench.time.asleep()
            if provider.requests > len(instants):
                instants.append(bench.time.now)
            await bench.time.end_one_sleep()
    waits = [later - earlier for earlier, later in pairwise(instants)]
    assert waits == pytest.approx([0.25, 0.5, 1, 2, 4, 8, 15, 15], abs=1e-3)


async def test_back_off_starts_anew_after_success(bench: Bench, provider: Provider) -> None:
    """A success forgets earlier failures."""
    provider.fail()
    async with bench.running():
        for _ in range(4):
            await bench.time.end_one_sleep()
        provider.publish("one")
        while not bench.is_loaded():
            await bench.time.end_one_sleep()
            await bench.time.asleep()
        provider.fail()
        while not bench.keys.last_error:
            await bench.time.end_one_sleep()
            await bench.time.asleep()
        assert await bench.time.end_one_sleep() == 0.25


async def test_jitter_of_zero_still_waits(benches: Benches, unused_tcp_port: int) -> None:
    """The shortest back-off is not a busy loop."""
    benches.jitter.value = 0.0
    bench = benches.make(issuer(JwksUri(f"http://127.0.0.1:{unused_tcp_port}/jwks")))
    async with bench.running():
        assert await bench.time.end_one_sleep() > 0.01


async def test_outage_keeps_the_keys(bench: Bench, provider: Provider) -> None:
    """A later outage keeps the keys, says stale, and ends with fresh."""
    async with bench.running():
        await bench.time.asleep()
        provider.fail()
        await pass_seconds(bench, 600)
        assert bench.is_loaded()
        assert bench.report.states == ["loading", "fresh", "stale"]
        provider.publish("one")
        await pass_seconds(bench, 30)
    assert bench.installed.sets == [{"one"}]
    assert bench.report.states == ["loading", "fresh", "stale", "fresh"]
    assert bench.report.results[-1] == "unchanged"


def redirect(location: str) -> web.Response:
    return web.Response(status=302, headers={"Location": location})


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (lambda: web.Response(status=500, body=jwks("evil")), "http_error"),
        (lambda: web.Response(status=404), "http_error"),
        (lambda: web.Response(text="<html>Maintenance</html>"), "invalid_document"),
        (lambda: web.Response(body=b""), "invalid_document"),
        (lambda: web.Response(body=b"{}"), "invalid_document"),
        (lambda: web.Response(body=b'{"keys": []}'), "invalid_document"),
        (lambda: web.Response(body=b'{"keys": {}}'), "invalid_document"),
        (lambda: web.Response(body=b'{"keys": [{"kty": "oct", "k": "AA"}]}'), "invalid_document"),
        (lambda: web.Response(body=b"null"), "invalid_document"),
        (lambda: web.Response(body=b'{"keys":' + b"[" * 100_000), "invalid_document"),
        (lambda: web.Response(body=jwks("evil")[:-1]), "invalid_document"),
        (lambda: web.Response(body=jwks("evil") + b" " * 262_144), "http_error"),
        (
            lambda: web.Response(
                body=gzip.compress(jwks("evil")), headers={"Content-Encoding": "gzip"}
            ),
            "http_error",
        ),
        (lambda: redirect("http://169.254.169.254/latest"), "refused_address"),
        (lambda: redirect("/jwks"), "http_error"),
    ],
)
async def test_unusable_answer_replaces_nothing(
    bench: Bench, provider: Provider, answer: Callable[[], web.Response], result: str
) -> None:
    """An error, or a document that is no key set, never replaces a good set."""
    async with bench.running():
        await bench.time.asleep()
        provider.answer = answer
        await pass_seconds(bench, 300)
    assert bench.installed.sets == [{"one"}]
    assert bench.is_loaded()
    assert bench.report.states == ["loading", "fresh", "stale"]
    assert bench.report.results == ["success", result]


async def test_metadata_of_another_issuer(
    benches: Benches, provider: Provider, server: TestServer
) -> None:
    """Discovery with the wrong issuer yields no keys and its own result."""
    provider.metadata = {"issuer": ISSUER + "/", "jwks_uri": str(server.make_url("/jwks"))}
    bench = benches.make(issuer(Discovery(str(server.make_url("/metadata")))))
    async with bench.running():
        await bench.time.asleep()
        assert bench.keys.refusal("one") is Reason.KEYS_UNAVAILABLE
    assert bench.report.results == ["issuer_mismatch"]
    assert bench.installed.sets == []


async def test_file_change_is_noticed(benches: Benches, tmp_path: Path) -> None:
    """A key file is read again when it changed, seconds later, and not otherwise."""
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks("one"))
    bench = benches.make(issuer(JwksFile(str(path))))
    async with bench.running():
        await pass_seconds(bench, 100)
        assert bench.report.results == ["success"]
        path.write_bytes(jwks("one", "two"))
        await pass_seconds(bench, 2)
        assert bench.installed.sets == [{"one"}, {"one", "two"}]
        path.write_bytes(b"half a docu")
        await pass_seconds(bench, 2)
        assert bench.report.states[-1] == "stale"
        path.write_bytes(jwks("two"))
        await pass_seconds(bench, 2)
    assert bench.installed.sets[-1] == {"two"}
    assert bench.report.states[-1] == "fresh"


async def test_file_that_never_stops_changing(benches: Benches, tmp_path: Path) -> None:
    """Even a file that changes all the time is read at most once per poll."""
    path = tmp_path / "jwks.json"
    path.write_bytes(b"x")
    bench = benches.make(issuer(JwksFile(str(path))))
    async with bench.running():
        for size in range(2, 20):
            await bench.time.asleep()
            path.write_bytes(b"x" * size)
            await bench.time.end_one_sleep()
        await bench.time.asleep()
    assert len(bench.report.results) <= 19


# --- unknown keys ---


async def test_obtain_alone_loads(bench: Bench, provider: Provider) -> None:
    """Without any set, asking is worth it, and makes the set available."""
    assert bench.keys.refusal("one") is None
    await bench.keys.obtain()
    assert bench.is_loaded()
    assert bench.installed.sets == [{"one"}]


async def test_new_key_works_at_once(bench: Bench, provider: Provider) -> None:
    """After the cool-down an unknown kid fetches the set that has it."""
    await bench.keys.obtain()
    provider.publish("one", "two")
    bench.time.now += 10
    assert bench.keys.refusal("two") is None
    await bench.keys.obtain()
    assert bench.installed.sets[-1] == {"one", "two"}


async def test_many_callers_one_fetch(bench: Bench, provider: Provider) -> None:
    """A hundred callers who need keys at once cause one fetch, and all get its outcome."""
    provider.gate.clear()
    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(bench.keys.obtain())
        await provider.asked.wait()
        provider.gate.set()
    assert provider.requests == 1
    assert bench.is_loaded()


async def test_callers_join_the_background(bench: Bench, provider: Provider) -> None:
    """A caller during the first load waits for that one."""
    provider.gate.clear()
    async with bench.running():
        await provider.asked.wait()
        assert bench.keys.refusal("one") is None
        caller = asyncio.create_task(bench.keys.obtain())
        provider.gate.set()
        await caller
        assert bench.is_loaded()
    assert provider.requests == 1


async def test_invented_kids_cause_no_fetch(bench: Bench, provider: Provider) -> None:
    """Within the cool-down no kid causes a fetch, however many there are."""
    await bench.keys.obtain()
    for number in range(1000):
        assert bench.keys.refusal(f"invented-{number}") is Reason.KEY_UNKNOWN
        await bench.keys.obtain()
    assert bench.keys.refusal(None) is Reason.KEY_UNKNOWN
    assert provider.requests == 1


@pytest.mark.parametrize(
    ("seconds", "refused"), [(0.0, True), (9.99, True), (10.0, False), (10.01, False)]
)
async def test_cooldown_after_success(
    bench: Bench, provider: Provider, seconds: float, refused: bool
) -> None:
    """A set younger than the cool-down that lacks the key means: the key is unknown."""
    await bench.keys.obtain()
    bench.time.now += seconds
    assert bench.keys.refusal("two") is (Reason.KEY_UNKNOWN if refused else None)
    await bench.keys.obtain()
    assert provider.requests == (1 if refused else 2)


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize(("seconds", "refused"), [(0.0, True), (9.99, True), (10.0, False)])
async def test_cooldown_after_failure(
    bench: Bench, provider: Provider, loaded: bool, seconds: float, refused: bool
) -> None:
    """A fetch that failed within the cool-down means: keys unavailable, with or without a set."""
    if loaded:
        await bench.keys.obtain()
        bench.time.now += 10
    provider.fail()
    await bench.keys.obtain()
    asked = provider.requests
    bench.time.now += seconds
    assert bench.keys.refusal("two") is (Reason.KEYS_UNAVAILABLE if refused else None)
    await bench.keys.obtain()
    assert provider.requests == (asked if refused else asked + 1)


async def test_refusal_follows_the_latest_fetch(bench: Bench, provider: Provider) -> None:
    """After a recovery within the cool-down the answer is about the key again."""
    provider.fail()
    async with bench.running():
        await bench.time.asleep()
        assert bench.keys.refusal("two") is Reason.KEYS_UNAVAILABLE
        provider.publish("one")
        await bench.time.end_one_sleep()
        await bench.time.asleep()
        assert bench.keys.refusal("two") is Reason.KEY_UNKNOWN


async def test_cooldown_counts_from_the_end_of_the_fetch(bench: Bench, provider: Provider) -> None:
    """After a slow fetch there is an answer for those who waited, not another fetch."""
    provider.gate.clear()
    caller = asyncio.create_task(bench.keys.obtain())
    await provider.asked.wait()
    bench.time.now += 60
    provider.gate.set()
    await caller
    assert bench.keys.refusal("two") is Reason.KEY_UNKNOWN


async def test_clock_set_back_does_not_extend_the_cooldown(bench: Bench) -> None:
    """A clock set back by an hour does not make a new key wait for an hour."""
    await bench.keys.obtain()
    bench.time.now -= 3600
    assert bench.keys.refusal("two") is None


async def test_cooldown_has_a_floor(benches: Benches, server: TestServer) -> None:
    """A configured cool-down of zero still lets callers cause one fetch a second at most."""
    url = str(server.make_url("/jwks"))
    bench = benches.make(issuer(JwksUri(url), cooldown_seconds=0))
    await bench.keys.obtain()
    bench.time.now += 0.9
    assert bench.keys.refusal("two") is Reason.KEY_UNKNOWN


async def test_fetch_for_a_caller_puts_off_the_background(bench: Bench, provider: Provider) -> None:
    """A set that a caller's fetch brought is not asked for again until the interval passed."""
    async with bench.running():
        await pass_seconds(bench, 200)
        await bench.keys.obtain()
        assert provider.requests == 2
        await pass_seconds(bench, 290)
        assert provider.requests == 2
        await pass_seconds(bench, 12)
    assert provider.requests == 3


async def test_failed_fetch_for_a_caller_is_retried_soon(bench: Bench, provider: Provider) -> None:
    """After a caller's fetch failed, the background tries again without waiting its interval."""
    async with bench.running():
        await pass_seconds(bench, 20)
        provider.fail()
        await bench.keys.obtain()
        assert bench.report.states[-1] == "stale"
        provider.publish("one")
        await pass_seconds(bench, 3)
    assert bench.report.states[-1] == "fresh"


# --- cancellation ---


async def test_cancelled_caller_does_not_end_the_fetch(bench: Bench, provider: Provider) -> None:
    """The caller who started the fetch may go; the others get their keys from the same one."""
    provider.gate.clear()
    first = asyncio.create_task(bench.keys.obtain())
    await provider.asked.wait()
    second = asyncio.create_task(bench.keys.obtain())
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    provider.gate.set()
    await second
    assert bench.is_loaded()
    assert provider.requests == 1


async def test_cancelled_background_releases_everything(
    bench: Bench, provider: Provider, recwarn: pytest.WarningsRecorder
) -> None:
    """Cancelling the background in mid-fetch frees its waiters, and a new fetch can start."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    provider.gate.clear()
    async with bench.running():
        await provider.asked.wait()
        caller = asyncio.create_task(bench.keys.obtain())
        await asyncio.sleep(0)
    await caller
    assert not bench.is_loaded()
    provider.gate.set()
    await bench.keys.obtain()
    assert bench.is_loaded()
    gc.collect()
    assert {task for task in asyncio.all_tasks() - before if "keys of" in task.get_name()} == set()
    assert complaints == []
    assert list(recwarn) == []


async def test_random_interleavings(bench: Bench, provider: Provider) -> None:
    """Callers that come and go at random never cause two fetches in one cool-down."""
    source = random.Random(7)
    async with bench.running():
        await bench.time.asleep()
        for round_ in range(200):
            kid = f"invented-{round_}"
            bench.time.now += source.choice([0, 1, 5])
            provider.fail() if source.random() < 0.5 else provider.publish("one")
            asked, cooling = provider.requests, bench.keys.refusal(kid) is not None
            callers = [asyncio.create_task(bench.keys.obtain()) for _ in range(5)]
            callers[source.randrange(5)].cancel()
            await asyncio.gather(*callers, return_exceptions=True)
            assert provider.requests == (asked if cooling else asked + 1)
            assert bench.keys.refusal(kid) is not None
    assert bench.installed.sets == [{"one"}]


# --- what operators see ---


async def test_log_speaks_of_changes_only(
    bench: Bench, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """One line per change of state, with issuer, cause and next try; none per retry."""
    caplog.set_level(logging.INFO, "sidecar.issuers")
    provider.fail(503)
    async with bench.running():
        for _ in range(5):
            await bench.time.end_one_sleep()
        await bench.time.asleep()
        provider.publish("one")
        await pass_seconds(bench, 30)
        provider.fail(502)
        await pass_seconds(bench, 400)
    port = bench.keys.last_error.split(":")[1]
    said = [record.getMessage() for record in caplog.records]
    # The provider's clock is the real one.
    assert [line for line in said if "clock" not in line] == [
        "issuer shop: blind, keys kept: 0: "
        f"127.0.0.1:{port}: answered with status 503; next try in 0.2 s",
        "issuer shop: fresh, usable keys: 1, skipped: 0",
        "issuer shop: stale, keys kept: 1: "
        f"127.0.0.1:{port}: answered with status 502; next try in 0.2 s",
    ]


async def test_states_are_those_telemetry_knows(bench: Bench, provider: Provider) -> None:
    """Every state we report is one the metric has."""
    provider.fail()
    async with bench.running():
        await bench.time.asleep()
        provider.publish("one")
        await pass_seconds(bench, 30)
        provider.fail()
        await pass_seconds(bench, 400)
    assert set(bench.report.states) == set(ISSUER_STATES)
