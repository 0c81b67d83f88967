"""Tokens that pods share through a real Redis, which is never needed and never believed."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis as Client

from sidecar.config.model import ObtainedTokens, RedisServer, SharedTokens, SharingKey
from sidecar.core.obtained import ObtainedToken
from sidecar.core.principal import Credential
from sidecar.core.token_request import ACCESS_TOKEN, JWT
from sidecar.credentials import shared_tokens
from sidecar.credentials.sealed_tokens import MAX_VALUE_BYTES, Seal, SealError
from sidecar.credentials.shared_tokens import MAX_LOOKS, MAX_WRITES
from sidecar.credentials.sharing import Sharing
from sidecar.credentials.withdrawals import MAX_SKEW_SECONDS, Withdrawals
from sidecar.resilience.circuit import FAILURES_TO_OPEN, FIRST_PAUSE_SECONDS
from sidecar.telemetry.shared_tokens import SharedTokenMetrics
from sidecar.testbed.ports import free_ports
from sidecar.testbed.token_mint import TokenMint
from tests.credentials.sources import EXCHANGE, NOW, SERVICE, Bench, Clock, said, settled, subject
from tests.support.certificates import Authority
from tests.support.http import LIMIT_SECONDS
from tests.support.redis import KEY, Redis, redis_server

OLD = SharingKey("old", bytes(32))
IMPATIENT = 0.05
"""Seconds, of a Redis that will not answer."""


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """One for all tests that leave it as it is."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@dataclass
class PodBench(Bench):
    """A source that shares, with the server that it asks otherwise."""

    shared: SharedTokenMetrics = field(default_factory=SharedTokenMetrics)
    sharing: Sharing = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sharing = Sharing(
            self.tokens, clock=self.clock, wall_clock=self.clock, report=lambda: self.shared
        )

    def saw(self, result: str) -> int:
        return self.shared.results.get(result, 0)

    async def written(self) -> None:
        """Return when nothing is on its way to Redis."""
        store = self.tokens.shared
        assert isinstance(store, shared_tokens.SharedTokens)
        async with asyncio.timeout(LIMIT_SECONDS):
            while store._writes:
                await asyncio.wait(store._writes)


@asynccontextmanager
async def pod(
    configured: SharedTokens, clock: Clock | None = None, kept: ObtainedTokens | None = None
) -> AsyncIterator[PodBench]:
    bench = PodBench(clock or Clock(), kept or ObtainedTokens())
    bench.sharing.use(configured)
    try:
        yield bench
    finally:
        bench.server.gate.set()
        await bench.tokens.close()
        await bench.sharing.close()


@asynccontextmanager
async def redis_of(server: Redis) -> AsyncIterator[Client]:
    """What somebody else who has access to it does."""
    client: Client = Client(unix_socket_path=str(server.socket), protocol=2)
    try:
        yield client
    finally:
        await client.aclose()


async def value_of(redis: Client, name: bytes | str) -> bytes:
    value = await redis.get(name)
    assert isinstance(value, bytes)
    return value


async def names_in(redis: Client) -> list[bytes]:
    names = await redis.keys()
    assert isinstance(names, list)
    return [name if isinstance(name, bytes) else name.encode() for name in names]


@pytest.fixture
async def redis(shared_server: Redis) -> AsyncIterator[Client]:
    """With nothing in it."""
    async with redis_of(shared_server) as client:
        await client.flushall()
        yield client


async def stored(server: Redis, *names: str, keys: tuple[SharingKey, ...] = (KEY,)) -> None:
    """Have a pod obtain and share the tokens of these subjects."""
    async with pod(server.configured(*keys)) as bench:
        for name in names:
            await bench.token(subject(name))
        await bench.written()
        assert bench.saw("stored") == len(names)


async def found(
    server: Redis, name: str = "alice", *keys: SharingKey, clock: Clock | None = None
) -> tuple[str, PodBench]:
    """Return what another pod gets, and that pod."""
    async with pod(server.configured(*keys), clock) as bench:
        got = await bench.token(subject(name))
        await bench.written()
        return got.partition("-")[0] + "-" + ("asked" if bench.server.asked else "found"), bench


# --- what sharing is for ---


async def test_another_pod_need_not_ask(shared_server: Redis, redis: Client) -> None:
    """It finds the token that the first obtained, with everything that is known of it."""
    async with pod(shared_server.configured()) as one, pod(shared_server.configured()) as other:
        first = await one.get()
        await one.written()
        second = await other.get()
        assert isinstance(first, ObtainedToken)
        assert second == first
        assert (len(one.server.asked), other.server.asked) == (1, [])
        assert (one.count("obtained"), other.count("shared")) == (1, 1)
        assert (one.saw("absent"), one.saw("stored"), other.saw("found")) == (1, 1, 1)


async def test_a_service_s_own_token(shared_server: Redis, redis: Client) -> None:
    """Is one for all pods."""
    async with pod(shared_server.configured()) as one, pod(shared_server.configured()) as other:
        first = await settled(one.another(SERVICE).get(None))
        await one.written()
        assert await settled(other.another(SERVICE).get(None)) == first


async def test_nobody_else_s(shared_server: Redis, redis: Client) -> None:
    """Another subject, request or client finds nothing."""
    await stored(shared_server, "alice")
    async with pod(shared_server.configured()) as bench:
        assert await bench.token(subject("bob")) == "obtained-1-for-bob"
        narrower = bench.another(replace(EXCHANGE, scopes=("read",)))
        assert said(await bench.get(source=narrower)) == "obtained-2-for-alice"
        elsewhere = bench.another(generation=b"another client")
        assert said(await bench.get(source=elsewhere)) == "obtained-3-for-alice"
        assert bench.saw("absent") == 3


async def test_a_refresh_takes_what_is_newer(shared_server: Redis, redis: Client) -> None:
    """Another pod's newer token, and not its own one before."""
    clock = Clock()
    async with (
        pod(shared_server.configured(), clock) as one,
        pod(shared_server.configured(), clock) as other,
    ):
        await one.token()
        await one.written()
        await other.token()
        clock.now += 230
        await one.token()
        await one.idle()
        await one.written()
        assert await one.token() == "obtained-2-for-alice"
        await other.token()
        await other.idle()
        assert await other.token() == "obtained-2-for-alice"
        assert other.server.asked == []


async def test_a_refresh_does_not_take_what_it_has(shared_server: Redis, redis: Client) -> None:
    """However the moments fall, the token that is to be replaced is no replacement."""
    drawn = iter([0.5, 0.5, *[0.0] * 2, *[1.0] * 9])
    clock = Clock()
    await stored(shared_server, "alice")
    bench = PodBench(clock, random=lambda: next(drawn))
    bench.sharing.use(shared_server.configured())
    await bench.token()
    held = bench.tokens.peek(bench.source._prefix + subject().digest)
    assert held is not None
    clock.now = held.refresh_at
    await bench.token()
    await bench.idle()
    assert bench.server.asked != []
    await bench.written()
    await bench.sharing.close()


async def test_a_token_that_is_bound_to_a_certificate(shared_server: Redis, redis: Client) -> None:
    """Of which each pod has its own (RFC 8705): nobody else could use it."""
    async with pod(shared_server.configured()) as bench:
        bound = bench.another(is_bound=True)
        token = await bench.get(source=bound)
        assert isinstance(token, ObtainedToken)
        assert bound.refused(token, subject())
        await bench.written()
        assert (await names_in(redis), bench.shared.results) == ([], {})


# --- what a reader of Redis learns ---


async def test_a_reader_learns_nothing(shared_server: Redis, redis: Client) -> None:
    """Neither token nor subject nor what was asked for, nor a digest that could be guessed at."""
    async with pod(shared_server.configured()) as bench:
        token = await bench.get()
        await bench.written()
        assert isinstance(token, ObtainedToken)
        who = subject()
        place = bench.source._prefix + who.digest
        (name,) = await names_in(redis)
        everything = name + b"\n" + await value_of(redis, name)
    for known in (token.token, who.token, who.digest, token.digest, place):
        for form in (known, known.hex().encode()):
            assert form not in everything
    for word in (b"alice", b"orders", b"obtained"):
        assert word not in everything
    assert name.startswith(b"jwt-sidecar:token:")
    assert name not in Seal([SharingKey("1", bytes(32))], "jwt-sidecar").names(place)


async def test_equal_tokens_look_different(shared_server: Redis, redis: Client) -> None:
    """A nonce of its own each time: what was stored twice cannot be seen to be the same."""
    values = set()
    for _ in range(3):
        await redis.flushall()
        await stored(shared_server, "alice")
        (name,) = await names_in(redis)
        values.add(await value_of(redis, name))
    assert len(values) == 3


# --- what is not believed ---


async def test_a_value_that_was_changed(shared_server: Redis, redis: Client) -> None:
    """Any octet of it: it is as if nothing were there, and what is obtained replaces it."""
    await stored(shared_server, "alice")
    (name,) = await names_in(redis)
    value = await value_of(redis, name)
    for at in (0, 1, 2, 3, 5, 20, len(value) // 2, len(value) - 1):
        spoilt = bytearray(value)
        spoilt[at] ^= 1
        await redis.set(name, bytes(spoilt))
        got, bench = await found(shared_server)
        assert (got, bench.saw("unreadable")) == ("obtained-asked", 1)
        assert (await found(shared_server))[0] == "obtained-found"


SPOILERS: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda value: value[:-1],
    "cut to the nonce": lambda value: value[:10],
    "longer": lambda value: value + b"x",
    "no value": lambda value: b"x",
    "of a later version": lambda value: b"2" + value[1:],
    "with another key": lambda value: value.replace(b"1:1:", b"1:2:", 1),
    "huge": lambda value: value + b"x" * MAX_VALUE_BYTES * 4,
    "plain": lambda value: b'1:1:{"token": "x"}',
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
async def test_what_is_no_value_of_ours(
    shared_server: Redis, redis: Client, spoil: Callable[[bytes], bytes]
) -> None:
    """Is counted, and the token obtained."""
    await stored(shared_server, "alice")
    (name,) = await names_in(redis)
    await redis.set(name, spoil(await value_of(redis, name)))
    got, bench = await found(shared_server)
    assert (got, bench.saw("unreadable")) == ("obtained-asked", 1)


async def test_another_type_of_value(shared_server: Redis, redis: Client) -> None:
    """A list in its place is nothing, and no fault of Redis."""
    await stored(shared_server, "alice")
    (name,) = await names_in(redis)
    await redis.delete(name)
    await redis.rpush(name, b"x")
    got, bench = await found(shared_server)
    assert (got, bench.saw("absent"), bench.saw("unavailable")) == ("obtained-asked", 1, 0)


async def test_values_that_were_exchanged(shared_server: Redis, redis: Client) -> None:
    """Whoever writes to Redis cannot give one caller another's token: the name is bound to it."""
    await stored(shared_server, "alice", "bob")
    one, other = await names_in(redis)
    values = await value_of(redis, one), await value_of(redis, other)
    await redis.set(one, values[1])
    await redis.set(other, values[0])
    for name in ("alice", "bob"):
        async with pod(shared_server.configured()) as bench:
            assert await bench.token(subject(name)) == f"obtained-1-for-{name}"
            assert bench.saw("unreadable") == 1


def jwt(exp: int = int(NOW) + 300, **claims: Any) -> bytes:
    mint = TokenMint("https://idp.test", audience=["orders"], algorithms=("ES256",))
    return mint.token("alice", algorithm="", kind="at+jwt", exp=exp, **claims).encode()


def of(
    token: bytes,
    asked_at: float = NOW,
    ends: float = NOW + 300,
    *,
    kind: str = ACCESS_TOKEN,
    actor: str = "",
) -> ObtainedToken:
    name = "" if token == OPAQUE else "alice"
    return ObtainedToken(token, asked_at, ends, kind, name, actor)


OPAQUE = b"opaque"
JUDGED = {
    "as it should be": (of(jwt()), EXCHANGE, "found"),
    "opaque": (of(OPAQUE), EXCHANGE, "found"),
    "of somebody else": (of(jwt(sub="bob")), EXCHANGE, "mismatch"),
    "of nobody": (of(jwt(sub=None)), EXCHANGE, "mismatch"),
    "for somebody else": (of(jwt(aud=["billing"])), EXCHANGE, "mismatch"),
    "for somebody else, which is asked for": (
        of(jwt(aud="billing")), replace(EXCHANGE, accepted_audiences=("billing",)), "found"),
    "for nobody": (of(jwt(aud=None)), EXCHANGE, "mismatch"),
    "ends before it is said to": (of(jwt(exp=int(NOW) + 100)), EXCHANGE, "mismatch"),
    "of another type": (of(OPAQUE, kind="urn:x"), EXCHANGE, "mismatch"),
    "without type": (of(OPAQUE, kind=""), EXCHANGE, "mismatch"),
    "no JWT, as which it was issued": (of(OPAQUE, kind=JWT), EXCHANGE, "mismatch"),
    "of no actor": (of(jwt(), actor="user-service"), EXCHANGE, "mismatch"),
    "of its actor": (
        of(jwt(act={"sub": "user-service"}), actor="user-service"), EXCHANGE, "found"),
    "two tokens": (of(b"two tokens"), EXCHANGE, "mismatch"),
    "ended": (of(jwt(), NOW - 600, NOW), EXCHANGE, "expired"),
    "from the future": (of(jwt(), NOW + MAX_SKEW_SECONDS + 1), EXCHANGE, "too_new"),
    "a little from the future": (of(jwt(), NOW + MAX_SKEW_SECONDS), EXCHANGE, "found"),
    "about to end": (of(jwt(exp=int(NOW) + 1), NOW - 300, NOW + 1), EXCHANGE, "found"),
    "of another name for her": (
        ObtainedToken(jwt(sub="pairwise"), NOW, NOW + 300, ACCESS_TOKEN, "pairwise"),
        replace(EXCHANGE, subject_may_change=True), "found"),
}  # fmt: skip


@pytest.mark.parametrize(("token", "request_", "result"), JUDGED.values(), ids=JUDGED)
async def test_what_is_checked_again(
    shared_server: Redis,
    redis: Client,
    token: ObtainedToken,
    request_: object,
    result: str,
) -> None:
    """As if it had just been answered: a pod with a defect, or with our key, is not believed."""
    async with pod(shared_server.configured()) as bench:
        source = bench.another(request_)  # type: ignore[arg-type] # of a table
        name, value = Seal([KEY], "jwt-sidecar").close(source._prefix + subject().digest, token)
        await redis.set(name, value)
        got = await settled(source.get(subject()))
        assert isinstance(got, ObtainedToken)
        assert bench.saw(result) == 1
        usable = result == "found" and token.expires_at > NOW + 30
        assert (got == token) is usable
        assert len(bench.server.asked) == (0 if usable else 1)


def test_a_value_is_bound_to_its_name_and_to_its_place() -> None:
    """Each alone: to where it lay, and to what it was asked for."""
    seal = Seal([KEY, OLD], "jwt-sidecar")
    name, value = seal.close(b"place", of(b"token"))
    assert seal.open(b"place", name, value).token == b"token"
    for place, lay in ((b"place", seal.names(b"place")[1]), (b"another", name)):
        with pytest.raises(SealError):
            seal.open(place, lay, value)


async def test_odd_values_are_told_once(
    shared_server: Redis, redis: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """However many there are; without what is in them."""
    names = [f"user{number}" for number in range(5)]
    await stored(shared_server, *names)
    for name in await names_in(redis):
        await redis.set(name, b"s3cret")
    async with pod(shared_server.configured()) as bench:
        for who in names:
            await bench.token(subject(who))
        assert bench.saw("unreadable") == 5
    assert caplog.text.count("it is not used") == 1
    assert "s3cret" not in caplog.text


# --- how long ---


async def test_it_ends_in_redis_with_its_token(shared_server: Redis, redis: Client) -> None:
    """Nobody has to tidy up."""
    await stored(shared_server, "alice")
    (name,) = await names_in(redis)
    assert 290_000 < await redis.pttl(name) <= 300_000


async def test_what_ends_soon_is_not_shared(shared_server: Redis, redis: Client) -> None:
    """Nor is what has no end, for ever."""
    async with pod(shared_server.configured()) as bench:
        bench.server.lifetime = 4
        await bench.token()
        await bench.written()
        assert await names_in(redis) == []
        bench.server.lifetime = float("inf")
        await bench.token(subject("bob"))
        await bench.written()
    assert await names_in(redis) == []


async def test_gone_from_redis(shared_server: Redis, redis: Client) -> None:
    """Evicted or flushed: it is obtained."""
    await stored(shared_server, "alice")
    await redis.flushall()
    assert (await found(shared_server))[0] == "obtained-asked"


# --- withdrawal ---


async def test_a_withdrawn_subject_s_token_is_deleted(shared_server: Redis, redis: Client) -> None:
    """And nobody else's."""
    async with pod(shared_server.configured()) as bench:
        await bench.token()
        await bench.token(subject("bob"))
        await bench.written()
        bench.tokens.forget_subject(subject().digest)
        await bench.written()
        assert len(await names_in(redis)) == 1
        assert bench.saw("deleted") == 1


async def test_what_could_not_be_deleted_is_not_read_back(tmp_path: Path) -> None:
    """Redis was away when the token was withdrawn; another pod put it back."""
    with redis_server(tmp_path) as server:
        async with pod(server.configured()) as bench:
            await bench.token()
            await bench.written()
            server.stop()
            bench.tokens.forget_subject(subject().digest)
            await bench.written()
            server.start()
            await stored(server, "alice")
            bench.clock.now += FIRST_PAUSE_SECONDS
            assert await bench.token() == "obtained-2-for-alice"
            assert bench.saw("withdrawn") == 1


async def test_withdrawn_while_it_is_stored(shared_server: Redis, redis: Client) -> None:
    """The deletion overtakes the value, which then goes after it."""
    async with pod(shared_server.configured()) as bench:
        store = bench.tokens.shared
        assert isinstance(store, shared_tokens.SharedTokens)
        client, store._redis = store._redis, Overtaken(store._redis, bench)  # type: ignore[assignment]
        await bench.token()
        await bench.written()
        store._redis = client
        assert bench.saw("stored") == 1
        assert await names_in(redis) == []


class Overtaken:
    """Redis, to which what is stored comes last."""

    def __init__(self, client: Client, bench: PodBench) -> None:
        self.pipeline = client.pipeline
        self.delete = client.delete
        self._client = client
        self._bench = bench

    async def set(self, name: bytes, value: bytes, *, px: int) -> bool:
        self._bench.tokens.forget_subject(subject().digest)
        while self._bench.saw("deleted") == 0:
            await asyncio.sleep(0)
        await self._client.set(name, value, px=px)
        return True


def test_withdrawals_are_bounded() -> None:
    """What is forgotten of them makes everything of its time unusable, whoever's it is."""
    withdrawals = Withdrawals(max_entries=2)
    for number, name in enumerate((b"a", b"b", b"c")):
        withdrawals.add(name, NOW + 1000 * number)
    assert len(withdrawals) == 2
    assert withdrawals.covers(b"anybody", NOW + MAX_SKEW_SECONDS)
    assert not withdrawals.covers(b"anybody", NOW + MAX_SKEW_SECONDS + 1)
    assert withdrawals.covers(b"c", NOW + 2000)
    assert not withdrawals.covers(b"c", NOW + 2000 + MAX_SKEW_SECONDS + 1)
    assert not Withdrawals().covers(b"a", 0.0)


# --- refused by a destination ---


async def test_a_refused_token_is_not_read_back(shared_server: Redis, redis: Client) -> None:
    """It goes from Redis, and even before that the next one is obtained."""
    async with pod(shared_server.configured()) as bench:
        first = await bench.get()
        await bench.written()
        assert isinstance(first, ObtainedToken)
        assert bench.source.refused(first, subject())
        assert await bench.token() == "obtained-2-for-alice"
        await bench.written()
    got, other = await found(shared_server)
    assert got == "obtained-asked" or other.saw("found") == 1


async def test_another_pod_s_newer_one_stays(shared_server: Redis, redis: Client) -> None:
    """What this pod was refused with is not what lies there meanwhile."""
    async with pod(shared_server.configured()) as one:
        first = await one.get()
        await one.written()
        assert isinstance(first, ObtainedToken)
        newer = ObtainedToken(b"newer", NOW + 1, NOW + 301, ACCESS_TOKEN)
        name, value = Seal([KEY], "jwt-sidecar").close(one.source._prefix + subject().digest, newer)
        await redis.set(name, value)
        assert one.source.refused(first, subject())
        await one.written()
        assert await one.token() == "newer"
        assert (len(one.server.asked), one.saw("deleted")) == (1, 0)


# --- the key is rotated ---


async def test_rotating_the_key(shared_server: Redis, redis: Client) -> None:
    """As docs/obtained-tokens.md says it: at no step does a pod lose what another has stored."""
    await stored(shared_server, "alice", keys=(OLD,))
    both = (OLD, KEY)
    assert (await found(shared_server, "alice", *both))[0] == "obtained-found"
    turned = (KEY, OLD)
    assert (await found(shared_server, "alice", *turned))[0] == "obtained-found"
    await stored(shared_server, "bob", keys=turned)
    assert (await found(shared_server, "bob", *both))[0] == "obtained-found"
    assert (await found(shared_server, "bob", KEY))[0] == "obtained-found"
    assert (await found(shared_server, "alice", KEY))[0] == "obtained-asked"


async def test_without_the_key(shared_server: Redis, redis: Client) -> None:
    """A pod with another key finds nothing and spoils nothing."""
    await stored(shared_server, "alice")
    got, bench = await found(shared_server, "alice", SharingKey("1", b"x" * 32))
    assert (got, bench.saw("absent")) == ("obtained-asked", 1)
    assert (await found(shared_server))[0] == "obtained-found"


async def test_a_withdrawal_deletes_under_old_keys_too(shared_server: Redis, redis: Client) -> None:
    """What was stored before the rotation."""
    await stored(shared_server, "alice", keys=(OLD,))
    async with pod(shared_server.configured(KEY, OLD)) as bench:
        await bench.token()
        assert bench.server.asked == []
        bench.tokens.forget_subject(subject().digest)
        await bench.written()
    assert await names_in(redis) == []


# --- Redis is away, slow or refuses ---


async def test_it_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every call gets its token all the same; after some failures nobody asks for a while."""
    server = Redis(tmp_path / "nobody.sock")
    async with pod(server.configured()) as bench:
        for number in range(20):
            name = f"user{number}"
            assert (await bench.token(subject(name))).endswith(name)
            await bench.written()
        assert bench.saw("unavailable") == FAILURES_TO_OPEN
        assert bench.saw("circuit_open") == 40 - FAILURES_TO_OPEN
        assert bench.shared.circuit == "open"
    assert caplog.text.count("Redis does not answer as it should (ConnectionError)") == 1


async def test_it_goes_and_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Killed under way and started again: nothing fails, and sharing goes on."""
    caplog.set_level(logging.INFO)
    with redis_server(tmp_path) as server:
        async with pod(server.configured()) as bench:
            await bench.token()
            await bench.written()
            server.stop()
            assert await bench.token(subject("bob")) == "obtained-2-for-bob"
            await bench.written()
            assert bench.saw("unavailable") >= 1
            server.start()
            bench.clock.now += 60
            assert await bench.token(subject("carol")) == "obtained-3-for-carol"
            await bench.written()
            assert bench.saw("stored") == 2
            assert bench.shared.circuit == "closed"
            clock = bench.clock
        assert (await found(server, "carol", clock=clock))[0] == "obtained-found"
    assert "Redis answers again" in caplog.text


async def test_it_is_slow(tmp_path: Path) -> None:
    """A look ends with its timeout, and what comes late is never taken for another's answer."""
    with redis_server(tmp_path) as server:
        names = ["alice", "bob", "carol"]
        await stored(server, *names)
        async with pod(server.configured(timeout_seconds=IMPATIENT)) as bench:
            server.pause()
            assert await bench.token() == "obtained-1-for-alice"
            await bench.written()
            server.resume()
            bench.clock.now += 60
            for name in ("bob", "carol"):
                async with asyncio.timeout(LIMIT_SECONDS):
                    while not (await bench.token(subject(name))).endswith(f"-for-{name}"):
                        await asyncio.sleep(0)
            assert bench.saw("unreadable") == 0


async def test_a_question_that_ends_in_the_middle_of_a_look(tmp_path: Path) -> None:
    """Withdrawn while Redis is asked: its connection gives nobody else that answer."""
    with redis_server(tmp_path) as server:
        await stored(server, "alice", "bob")
        async with pod(server.configured()) as bench:
            server.pause()
            waiting = asyncio.create_task(bench.token())
            while not bench.tokens.under_way:
                await asyncio.sleep(0)
            bench.tokens.forget_subject(subject().digest)
            assert await waiting == "subject_expired"
            server.resume()
            assert await bench.token(subject("bob")) == "obtained-2-for-bob"
            assert (bench.saw("found"), bench.saw("unreadable")) == (1, 0)


async def test_looks_and_writes_are_bounded(tmp_path: Path) -> None:
    """What is over the bound is obtained at once, and not stored."""
    with redis_server(tmp_path) as server:
        async with pod(server.configured()) as bench:
            server.pause()
            many = [subject(f"user{number}") for number in range(MAX_LOOKS + 10)]
            waiting = [asyncio.create_task(bench.token(each)) for each in many]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)
            assert bench.saw("limited") == 10
            store = bench.tokens.shared
            assert isinstance(store, shared_tokens.SharedTokens)
            token = of(b"t")
            for number in range(MAX_WRITES * 2):
                store.keep(b"%d" % number, None, token)
            assert len(store._writes) == MAX_WRITES
            server.resume()
            await asyncio.gather(*waiting)


async def test_a_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With it all is well; without, or with another, each token is obtained, and nothing told."""
    with redis_server(tmp_path, "--requirepass", "s3cret") as server:
        async with pod(server.configured(password="s3cret")) as bench:
            await bench.token()
            await bench.written()
            assert bench.saw("stored") == 1
        for password in ("", "s3cret-wrong"):
            async with pod(server.configured(password=password)) as bench:
                assert await bench.token() == "obtained-1-for-alice"
                assert bench.saw("unavailable") >= 1
    assert "s3cret" not in caplog.text


async def test_a_user_with_few_rights(tmp_path: Path) -> None:
    """The commands that docs/obtained-tokens.md names are all it takes."""
    rights = "user sidecar on >s3cret ~jwt-sidecar:token:* -@all +getrange +set +del"
    with redis_server(tmp_path, "--user", *rights.split()[1:]) as server:
        configured = server.configured(username="sidecar", password="s3cret")
        async with pod(configured) as bench:
            await bench.token()
            await bench.written()
            bench.tokens.forget_subject(subject().digest)
            await bench.written()
            assert bench.shared.results == {"absent": 1, "stored": 1, "deleted": 1}


async def test_tls(tmp_path: Path) -> None:
    """Verified with the authority that is named; with another one it is as if it were away."""
    authority, stranger = Authority(), Authority("stranger")
    certificate, key = authority.issue("127.0.0.1").write(tmp_path)
    ca, other_ca = authority.write(tmp_path), stranger.write(tmp_path, "other.crt")
    (port,) = free_ports(1)
    files = ("--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", ca)
    with redis_server(
        tmp_path, "--tls-port", str(port), *files, "--tls-auth-clients", "no"
    ) as server:
        address = RedisServer("127.0.0.1", port, is_tls=True)
        configured = replace(server.configured(), redis=address, ca=ca)
        async with pod(configured) as bench:
            await bench.token()
            await bench.written()
            assert bench.saw("stored") == 1
        async with pod(replace(configured, ca=other_ca)) as bench:
            assert await bench.token() == "obtained-1-for-alice"
            assert bench.saw("unavailable") >= 1
        assert (await found(server))[0] == "obtained-found"


# --- configurations come and go ---


async def test_another_store_after_a_reload(shared_server: Redis, redis: Client) -> None:
    """What is as before goes on; another one takes over, and none is none."""
    async with pod(shared_server.configured()) as bench:
        store = bench.tokens.shared
        bench.sharing.use(shared_server.configured())
        assert bench.tokens.shared is store
        bench.sharing.use(shared_server.configured(OLD))
        assert bench.tokens.shared is not store
        await bench.token()
        await bench.written()
        bench.sharing.use(None)
        assert bench.tokens.shared is None
        bench.tokens.forget_subject(subject().digest)
        bench.sharing.use(shared_server.configured(OLD))
        assert await bench.token() == "obtained-2-for-alice"
        assert bench.saw("withdrawn") == 1


async def test_a_refresh_while_the_store_is_changed(shared_server: Redis, redis: Client) -> None:
    """A question that is under way ends as if nothing were there."""
    who: Credential = subject()
    async with pod(shared_server.configured()) as bench:
        bench.server.gate.clear()
        waiting = asyncio.create_task(bench.token(who))
        while not bench.server.asked:
            await asyncio.sleep(0)
        bench.sharing.use(None)
        bench.server.gate.set()
        assert await waiting == "obtained-1-for-alice"


def test_nothing_of_it_shows(tmp_path: Path) -> None:
    """Neither password nor key is in a ``repr``."""
    configured = Redis(tmp_path / "s").configured(SharingKey("1", b"s3cret" * 6), password="s3cret")
    assert "s3cret" not in repr(configured)
