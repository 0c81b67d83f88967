"""One configuration after another in a pod that serves meanwhile, on real sockets."""

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import h11
import pytest

from sidecar.config.model import (
    Address,
    Allow,
    Attribution,
    Config,
    Cors,
    Demand,
    Destination,
    Explain,
    Identity,
    Issuer,
    JwksFile,
    JwksUri,
    ListenerTls,
    Log,
    Require,
    Rule,
    SignedHeader,
)
from sidecar.core.identity import IdentityHeader
from sidecar.core.verification import KeyNeeded, Verified
from sidecar.reloading import ReloadError
from sidecar.testbed.token_mint import TokenMint
from tests.support.certificates import Authority, client_context
from tests.support.http import LIMIT_SECONDS, App, fetch
from tests.support.inflight import arrive, call
from tests.support.pod import AUDIENCE, LOOPBACK, Pod, pod
from tests.support.wire_peer import until

OPEN = (Rule("all", ("/**",), Allow.ANYONE),)
CLOSED = (Rule("all", ("/**",), Require(roles=Demand(("NOBODY",)))),)


async def install(running: Pod, **inbound: object) -> None:
    """Serve with other keys under ``inbound``."""
    before = running.sidecar.wiring.config
    await running.sidecar.install(
        replace(before, inbound=replace(before.inbound, **inbound)),  # type: ignore[arg-type]
        (),
    )


async def destine(running: Pod, **destinations: Destination) -> None:
    """Serve with these destinations."""
    before = running.sidecar.wiring.config
    outbound = replace(before.outbound, destinations=destinations)
    await running.sidecar.install(replace(before, outbound=outbound), ())


class Caller:
    """Requests on one connection that is kept alive."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._connection = h11.Connection(h11.CLIENT)

    async def get(self, target: str, bearer: str | None = None) -> int:
        async with asyncio.timeout(LIMIT_SECONDS):
            if self._connection.our_state is h11.DONE:
                self._connection.start_next_cycle()
            fields = [("host", "localhost")]
            if bearer is not None:
                fields.append(("authorization", f"Bearer {bearer}"))
            request = h11.Request(method="GET", target=target, headers=fields)
            for part in (request, h11.EndOfMessage()):
                self._writer.write(self._connection.send(part) or b"")
            status = 0
            while True:
                event: object = self._connection.next_event()
                if event is h11.NEED_DATA:
                    self._connection.receive_data(await self._reader.read(65536))
                elif isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.EndOfMessage):
                    return status
                elif isinstance(event, h11.ConnectionClosed):
                    raise ConnectionResetError


@asynccontextmanager
async def caller(address: Address) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()


async def test_rules_change_under_an_open_connection(tmp_path: Path) -> None:
    """The next request on a connection is judged by the new rules, and the connection stays."""
    async with pod(tmp_path) as running, caller(running.bound.inbound) as client:
        token = running.mint.token("alice")
        assert await client.get("/users/x", token) == 200
        await install(running, rules=CLOSED)
        assert await client.get("/users/x", token) == 403
        await install(running, rules=OPEN)
        assert await client.get("/users/x") == 200
        assert running.sidecar.wiring.inbound.connections == 1
        hits = re.search(r'lookups_total{result="hit"} (\S+)', await running.metrics())
        assert hits is not None
        assert float(hits[1]) == 1.0  # the token was known: what judges it has not changed


async def test_an_exchange_ends_under_the_rules_it_began_with(tmp_path: Path) -> None:
    """What is in the app goes on, its calls find their token, and its answer goes back."""
    async with pod(tmp_path, automatic=False) as running:
        token = running.mint.token("alice")
        alice = await arrive(running, token)
        await install(running, rules=CLOSED)
        answer, received = await call(running, alice.handle)
        assert answer.status == 200
        assert received is not None
        assert received.values("authorization") == [f"Bearer {token}"]
        await alice.end()
        assert (await fetch(running.bound.inbound, "/users/x", bearer=token)).status == 403
        assert len(running.wiring.ledger) == 0


async def test_another_app(tmp_path: Path) -> None:
    """Requests go where the new configuration says, once it is in place."""
    other = App(automatic=True)
    async with other.running(), pod(tmp_path) as running, caller(running.bound.inbound) as client:
        assert await client.get("/open/a") == 200
        await install(running, app=other.origin)
        assert await client.get("/open/b") == 200
        assert [each.target for each in running.app.received] == ["/open/a"]
        assert [each.target for each in other.received] == ["/open/b"]


async def test_destinations_come_and_go(tmp_path: Path) -> None:
    """A new one listens before anybody may need it; one that is gone ends what it has."""
    async with pod(tmp_path, automatic=False) as running:
        before = running.sidecar.wiring.config.outbound.destinations["profiles"]
        alice = await arrive(running, running.mint.token("alice"))
        pending = asyncio.create_task(running.call_out(alice.handle))
        request = await running.destination.next()
        await destine(running, billing=replace(before, name="billing"))
        told = running.sidecar.listening
        assert set(told) == {"inbound", "outbound billing"}
        request.answer()
        assert (await pending).status == 200
        with pytest.raises(ConnectionRefusedError):
            await running.call_out(alice.handle)
        fields = [
            ("x-sidecar-context", alice.handle),
            ("x-sidecar-carrier", "python/0.1; grade=strict"),
        ]
        calling = asyncio.create_task(fetch(told["outbound billing"], "/b", fields=fields))
        (await running.destination.next()).answer()
        assert (await calling).status == 200
        await alice.end()


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """Nothing changes when a new listener cannot be bound, and the words name the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with pod(tmp_path) as running:
            before = running.sidecar.wiring.config.outbound.destinations["profiles"]
            with pytest.raises(
                ReloadError, match=rf"the outbound more listener cannot use .*{port}"
            ):
                await destine(
                    running,
                    first=replace(before, name="first"),
                    more=replace(before, name="more", listen=Address("127.0.0.1", port)),
                )
            assert running.sidecar.wiring is running.wiring
            assert set(running.sidecar.listening) == {"inbound", "outbound profiles"}
            assert (await fetch(running.bound.inbound, "/open/a")).status == 200


async def test_a_destination_moves_to_the_port_of_another(tmp_path: Path) -> None:
    """A port stays open when what it leads to is called something else."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listen = Address("127.0.0.1", port)
    async with pod(tmp_path, destination={"listen": listen}) as running:
        before = running.sidecar.wiring.config.outbound.destinations["profiles"]
        async with caller(listen) as client:
            assert await client.get("/x") == 403
            await destine(running, people=replace(before, name="people", token="none"))
            assert await client.get("/x") == 200
        assert running.sidecar.listening["outbound people"] == listen


async def test_an_issuer_more_and_less(tmp_path: Path) -> None:
    """Tokens of a new issuer are good at once; those of one that is gone are not any more."""
    other = TokenMint("https://other.example", audience=[AUDIENCE], algorithms=("ES256",))
    jwks = tmp_path / "other-keys.json"
    jwks.write_text(json.dumps(other.jwks()))
    async with pod(tmp_path, automatic=False) as running:
        ours, theirs = running.mint.token("alice"), other.token("bob")
        config = running.sidecar.wiring.config
        more = Issuer("other", other.issuer, (AUDIENCE,), JwksFile(str(jwks)))

        async def statuses() -> tuple[int, int]:
            first = await fetch(running.bound.inbound, "/scoped", bearer=ours)
            second = await fetch(running.bound.inbound, "/scoped", bearer=theirs)
            return first.status, second.status

        assert await statuses() == (403, 401)
        keys = running.sidecar.wiring.keys["shop"]
        await running.sidecar.install(
            replace(config, issuers={"other": more, **config.issuers}), ()
        )
        assert await statuses() == (403, 403)
        assert running.sidecar.wiring.keys["shop"] is keys
        assert 'sidecar_issuer_state{issuer="shop",state="fresh"} 1.0' in await running.metrics()
        alice = await arrive(running, ours)
        bob = await arrive(running, theirs)
        await running.sidecar.install(replace(config, issuers={"other": more}), ())
        # Requests in progress included: nobody vouches for her token any more.
        answer, received = await call(running, alice.handle)
        assert (answer.reason, received) == ("attribution_dead", None)
        answer, received = await call(running, bob.handle)
        assert (answer.status, answer.reason) == (200, "")
        await alice.end()
        await bob.end()
        assert await statuses() == (401, 403)
        assert 'issuer="shop"' not in await running.metrics()


async def test_an_issuer_that_is_called_something_else(tmp_path: Path) -> None:
    """A request in progress is of an issuer of the old name, whose keys nobody looks after now."""
    async with pod(tmp_path, automatic=False) as running:
        alice = await arrive(running, running.mint.token("alice"))
        config = running.sidecar.wiring.config
        renamed = replace(config.issuers["shop"], name="store")
        await running.sidecar.install(replace(config, issuers={"store": renamed}), ())
        answer, received = await call(running, alice.handle)
        assert (answer.reason, received) == ("attribution_dead", None)
        await alice.end()


async def test_what_is_demanded_of_tokens_changes(tmp_path: Path) -> None:
    """A token that was known is verified anew, under keys that are kept."""
    async with pod(tmp_path) as running:
        token = running.mint.token("alice")
        assert (await fetch(running.bound.inbound, "/users/x", bearer=token)).status == 200
        config = running.sidecar.wiring.config
        narrowed = replace(config.issuers["shop"], audiences=("somebody-else",))
        keys = running.sidecar.wiring.keys["shop"]
        await running.sidecar.install(replace(config, issuers={"shop": narrowed}), ())
        assert running.sidecar.wiring.keys["shop"] is keys
        answer = await fetch(running.bound.inbound, "/users/x", bearer=token)
        assert (answer.status, answer.reason) == (401, "audience_mismatch")
        await running.sidecar.install(config, ())
        assert (await fetch(running.bound.inbound, "/users/x", bearer=token)).status == 200


async def test_keys_go_on_rotating_after_a_reload(tmp_path: Path) -> None:
    """What the issuer publishes next is installed where tokens are judged now."""
    async with pod(tmp_path, cooldown_seconds=0.0) as running:
        config = running.sidecar.wiring.config
        shop = replace(config.issuers["shop"], leeway_seconds=1.0, max_token_age_seconds=600.0)
        shop = replace(shop, leeway_seconds=config.issuers["shop"].leeway_seconds)
        await running.sidecar.install(replace(config, issuers={"shop": shop}), ())
        old = running.mint.token("alice")
        assert (await fetch(running.bound.inbound, "/users/x", bearer=old)).status == 200
        running.mint.rotate(withdraw=True)
        running.publish()
        new = running.mint.token("alice")

        async def status(token: str) -> int:
            return (await fetch(running.bound.inbound, "/users/x", bearer=token)).status

        async with asyncio.timeout(LIMIT_SECONDS):
            while await status(new) != 200:
                await running.sidecar.wiring.keys["shop"].obtain()
        assert await status(old) == 401


async def test_who_began_before_gets_the_next_keys_too(tmp_path: Path) -> None:
    """A request that waits for a key gets it, and one that was withdrawn is nobody's any more."""
    async with pod(tmp_path, cooldown_seconds=0.0) as running:
        config = running.sidecar.wiring.config
        narrowed = replace(config.issuers["shop"], max_token_age_seconds=600.0)
        before = running.sidecar.wiring.verifier
        old = running.mint.token("alice").encode()
        assert isinstance(before.verify(old, now=time.time()), Verified)
        await running.sidecar.install(replace(config, issuers={"shop": narrowed}), ())
        running.mint.rotate(withdraw=True)
        running.publish()
        new = running.mint.token("alice").encode()
        async with asyncio.timeout(LIMIT_SECONDS):
            while not isinstance(before.verify(new, now=time.time()), Verified):
                await running.sidecar.wiring.keys["shop"].obtain()
        assert isinstance(before.verify(old, now=time.time()), KeyNeeded)


async def test_an_issuer_that_is_down(tmp_path: Path) -> None:
    """A configuration that could not judge a token is not put in place; the old one judges on."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    async with pod(tmp_path) as running:
        token = running.mint.token("alice")
        config = running.sidecar.wiring.config
        moved = replace(config.issuers["shop"], keys=JwksUri(f"http://127.0.0.1:{port}/jwks"))
        with pytest.raises(ReloadError, match="issuer shop: keys not loaded") as caught:
            await running.sidecar.install(replace(config, issuers={"shop": moved}), ())
        assert caught.value.may_pass
        assert (await fetch(running.bound.inbound, "/users/x", bearer=token)).status == 200
        assert (await fetch(running.bound.admin, "/readyz")).status == 200
        assert 'sidecar_issuer_state{issuer="shop",state="fresh"} 1.0' in await running.metrics()
        # Nobody asks it any more.
        await until(lambda: not any("of shop" in task.get_name() for task in asyncio.all_tasks()))


async def test_what_the_app_is_told_changes(tmp_path: Path) -> None:
    """A header that is ours from now on is removed from requests on connections that are open."""
    async with pod(tmp_path) as running, caller(running.bound.inbound) as client:
        token = running.mint.token("alice", tenant="north")
        assert await client.get("/users/x", token) == 200
        header = IdentityHeader("x-tenant", "claim", ("tenant",))
        await install(running, identity=Identity(headers=(header,)))
        assert await client.get("/users/x", token) == 200
        first, second = running.app.received
        assert first.values("x-tenant") == []
        assert second.values("x-tenant") == ["north"]
        spoofed = await fetch(
            running.bound.inbound, "/open/x", fields=[("X_Tenant", "south"), ("x-tenant", "south")]
        )
        assert spoofed.status == 200
        assert "south" not in str(running.app.received[-1].fields)


async def test_a_signing_key_is_replaced(tmp_path: Path) -> None:
    """What was signed before can still be checked: both keys are published, the new one first."""
    async with pod(tmp_path, inbound={"identity": _signed("ES256")}) as running:
        (first,) = await _kids(running)
        await install(running, cors=Cors(allow_origins=("https://a.example",)))
        assert await _kids(running) == [first]
        await install(running, identity=_signed("EdDSA"))
        second, still = await _kids(running)
        assert still == first != second
        await install(running, identity=Identity())
        assert (await fetch(running.bound.admin, "/.well-known/jwks.json")).status == 404


def _signed(algorithm: str) -> Identity:
    return Identity(signed=SignedHeader(audience="app", algorithm=algorithm))  # type: ignore[arg-type]


async def _kids(running: Pod) -> list[str]:
    answer = await fetch(running.bound.admin, "/.well-known/jwks.json")
    return [key["kid"] for key in json.loads(answer.body)["keys"]]


@pytest.mark.parametrize(
    ("section", "value", "key"),
    [
        ("attribution", Attribution(exclusive="request"), "attribution.exclusive"),
        ("attribution", Attribution(ledger_capacity=5), "attribution.ledger_capacity"),
        ("attribution", Attribution(carrier="none"), "attribution.carrier"),
        ("explain", Explain(refusals=0), "explain.refusals"),
        ("log", Log(access="off", level="error"), "log.access"),
    ],
)
async def test_what_takes_a_restart(tmp_path: Path, section: str, value: object, key: str) -> None:
    """What requests in progress rely on is not changed under them, and that is said."""
    async with pod(tmp_path) as running:
        config: Config = replace(running.wiring.config, **{section: value})  # type: ignore[arg-type]
        with pytest.raises(ReloadError) as caught:
            await running.sidecar.install(config, ())
        assert caught.value.problems == (f"{key}: cannot change without a restart",)
        assert running.sidecar.wiring is running.wiring


async def test_the_inbound_port_moves(tmp_path: Path) -> None:
    """The new port is open before the old one closes, which finishes what it has."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with pod(tmp_path, automatic=False) as running:
        alice = await arrive(running, running.mint.token("alice"))
        await install(running, listen=Address("127.0.0.1", port))
        await alice.end()
        pending = asyncio.create_task(fetch(Address("127.0.0.1", port), "/open/x"))
        (await running.app.next()).answer()
        assert (await pending).status == 200

        async def refuses() -> bool:
            try:
                await fetch(running.bound.inbound, "/open/x")
            except OSError:
                return True
            return False

        async with asyncio.timeout(LIMIT_SECONDS):
            while not await refuses():
                await asyncio.sleep(0.01)


async def test_tls_is_for_everybody(tmp_path: Path) -> None:
    """Who is connected in the clear gets the answer that is under way, and no other."""
    authority = Authority()
    tls = ListenerTls(*authority.issue("localhost").write(tmp_path))
    async with pod(tmp_path, automatic=False) as running, caller(running.bound.inbound) as client:
        under_way = asyncio.create_task(client.get("/open/a"))
        request = await running.app.next()
        await install(running, tls=tls)
        request.answer()
        assert await under_way == 200
        with pytest.raises((ConnectionError, h11.ProtocolError)):
            await client.get("/open/b")
        with pytest.raises((ConnectionError, h11.ProtocolError)):
            await fetch(running.bound.inbound, "/open/c")
        connector = aiohttp.TCPConnector(ssl=client_context(authority))
        async with aiohttp.ClientSession(connector=connector) as session:
            url = f"https://localhost:{running.bound.inbound.port}/open/d"
            asked = asyncio.create_task(session.get(url))
            (await running.app.next()).answer()
            assert (await asked).status == 200
            # And back, with the same.
            await install(running, tls=None)
            pending = asyncio.create_task(fetch(running.bound.inbound, "/open/e"))
            (await running.app.next()).answer()
            assert (await pending).status == 200
        assert [each.target for each in running.app.received] == ["/open/a", "/open/d", "/open/e"]


async def test_a_port_that_becomes_something_else(tmp_path: Path) -> None:
    """A connection to a destination is none to the proxy, whose requests have other forms."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = Address("127.0.0.1", free.getsockname()[1])
    async with pod(tmp_path, destination={"listen": listen}) as running, caller(listen) as client:
        assert await client.get("/x") == 403
        before = running.sidecar.wiring.config
        outbound = replace(before.outbound, destinations={}, proxy=listen)
        await running.sidecar.install(replace(before, outbound=outbound), ())
        with pytest.raises((ConnectionError, h11.ProtocolError)):
            await client.get("/x")
        answer = await fetch(listen, "/x")
        assert (answer.status, answer.reason) == (421, "destination_unknown")


async def test_nothing_is_left_of_what_was_replaced(tmp_path: Path) -> None:
    """A hundred reloads leave as many tasks, sweeps and connections as one."""
    async with pod(tmp_path) as running:
        await install(running, rules=OPEN)
        await fetch(running.bound.inbound, "/open/x")
        tasks = len(asyncio.all_tasks())
        sweeps = len(running.wiring.deadlines._also)
        for number in range(100):
            await install(running, rules=OPEN if number % 2 else CLOSED)
            await fetch(running.bound.inbound, "/open/x")
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        assert len(running.wiring.deadlines._also) == sweeps
        await until(lambda: len(running.wiring.deadlines._timed) <= 2)


async def test_no_more_once_it_drains(tmp_path: Path) -> None:
    """A sidecar that is about to end takes no new configuration."""
    async with pod(tmp_path) as running:
        running.sidecar.begin_drain()
        with pytest.raises(ReloadError, match="about to end"):
            await install(running, rules=OPEN)


async def test_listening_at_the_same_place_only(tmp_path: Path) -> None:
    """Where the kernel chose the port, a listener is known by its name."""
    async with pod(tmp_path) as running:
        before = running.sidecar.wiring.config.outbound.destinations["profiles"]
        port = running.sidecar.listening["outbound profiles"].port
        await destine(
            running, profiles=replace(before, token="none"), more=replace(before, name="more")
        )
        assert running.sidecar.listening["outbound profiles"].port == port
        assert running.sidecar.listening["outbound more"].port != port
        assert LOOPBACK.port == 0
