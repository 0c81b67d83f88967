"""All endpoints of a configuration: found by discovery, kept across reloads, counted, closed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.load import examine, load
from sidecar.config.model import Client, ClientTls, Config
from sidecar.config.watching import digests
from sidecar.core.obtained import Failure, ObtainedToken
from sidecar.core.token_request import TokenRequest
from sidecar.standing import Standing
from sidecar.token_endpoints import TokenEndpoints
from sidecar.wiring import Wiring
from tests.support.certificates import Authority, server_context
from tests.support.token_server import TokenServer, serving

SERVICE = TokenRequest("c", "client_credentials")


def config(server: TokenServer, *clients: Client, tmp_path: Path, ca: str = "") -> Config:
    issuer = server.url.removesuffix("/token")
    path = tmp_path / "sidecar.yaml"
    more = f", ca: {ca}" if ca else ""
    path.write_text(
        f"version: 1\nissuers: {{shop: {{issuer: '{issuer}', audiences: [x]{more}}}}}\n"
        "inbound: {rules: [{paths: [/**], allow: anyone}]}\nadmin: {control: 'off'}\n"
    )
    return replace(load([str(path)]), clients={each.name: each for each in clients})


@pytest.fixture
async def server() -> AsyncIterator[TokenServer]:
    """An authorization server."""
    async with serving() as server:
        yield server


DISCOVERED = Client("c", "me", issuer="shop", auth="none", retries=0)


async def standing_for(config: Config) -> Standing:  # which wants a loop
    return Standing(config, write_access_log=lambda _: None)


async def ask(endpoints: TokenEndpoints, name: str = "c") -> ObtainedToken | Failure:
    return await endpoints[name].ask(SERVICE, None)


async def test_it_is_found_by_discovery(server: TokenServer, tmp_path: Path) -> None:
    """Where the issuer's metadata say, which are its own."""
    settings = config(server, DISCOVERED, tmp_path=tmp_path)
    standing = await standing_for(settings)
    endpoints = TokenEndpoints(settings, standing)
    assert isinstance(await ask(endpoints), ObtainedToken)
    await standing.fetcher.close()


@pytest.mark.parametrize(
    ("metadata", "kind", "said"),
    [
        ({"issuer": "https://evil.example"}, "misconfigured", "says issuer https://evil.example"),
        ({"token_endpoint": None}, "unavailable", "has no token_endpoint"),
        ({"token_endpoint": "http://10.0.0.1/"}, "misconfigured", "plain http is allowed to"),
        ({"token_endpoint": "https://169.254.169.254/"}, "misconfigured", "link-local"),
    ],
)
async def test_what_metadata_may_not_say(
    server: TokenServer, tmp_path: Path, metadata: dict[str, Any], kind: str, said: str
) -> None:
    """Nothing is sent to where somebody else's, or a careless issuer's, would have it."""
    server.metadata = metadata
    settings = config(server, DISCOVERED, tmp_path=tmp_path)
    standing = await standing_for(settings)
    got = await ask(TokenEndpoints(settings, standing))
    assert isinstance(got, Failure)
    assert got.kind == kind
    assert said in got.detail
    assert server.asked == 0
    await standing.fetcher.close()


async def test_the_alias_for_certificates(tmp_path: Path) -> None:
    """RFC 8705, section 5: another host may be the one that asks for them. The issuer's ``ca``
    vouches for it."""
    authority = Authority()
    ca = authority.write(tmp_path)
    plain = server_context(authority.issue("127.0.0.1"), tmp_path)
    demanding = server_context(authority.issue("127.0.0.1"), tmp_path, client_ca=authority)
    shown = ClientTls(*authority.issue("me", usage="client").write(tmp_path))
    async with serving(plain) as server, serving(demanding) as other:
        server.metadata = {"mtls_endpoint_aliases": {"token_endpoint": other.url}}
        client = replace(DISCOVERED, auth="tls_client_auth", tls=shown)
        settings = config(server, client, replace(DISCOVERED, name="d"), tmp_path=tmp_path, ca=ca)
        standing = await standing_for(settings)
        endpoints = TokenEndpoints(settings, standing)
        assert isinstance(await ask(endpoints), ObtainedToken)
        assert (server.asked, other.peers) == (0, ["me"])
        assert isinstance(await ask(endpoints, "d"), ObtainedToken)
        assert server.asked == 1
        await standing.fetcher.close()


async def test_metadata_lead_nobody_out_of_tls(server: TokenServer, tmp_path: Path) -> None:
    """What an https server names is asked over https, loopback or not."""
    authority = Authority()
    ca = authority.write(tmp_path)
    context = server_context(authority.issue("127.0.0.1"), tmp_path)
    async with serving(context) as secured:
        secured.metadata = {"token_endpoint": server.url}
        settings = config(secured, DISCOVERED, tmp_path=tmp_path, ca=ca)
        standing = await standing_for(settings)
        got = await ask(TokenEndpoints(settings, standing))
        assert isinstance(got, Failure)
        assert got.kind == "misconfigured"
        assert "named a plain http URL" in got.detail
        assert server.asked == 0
        await standing.fetcher.close()


async def test_what_did_not_change_is_kept(server: TokenServer, tmp_path: Path) -> None:
    """With what is known of it; a changed client, or issuer of a client, is another one."""
    other = replace(DISCOVERED, name="d")
    first = config(server, DISCOVERED, other, tmp_path=tmp_path)
    standing = await standing_for(first)
    before = TokenEndpoints(first, standing)
    same = TokenEndpoints(replace(first, drain_timeout_seconds=1), standing, before)
    assert (same["c"], same["d"]) == (before["c"], before["d"])
    changed = replace(first, clients={**first.clients, "d": replace(other, client_secret="new")})
    after = TokenEndpoints(changed, standing, same)
    assert after["c"] is before["c"]
    assert after["d"] is not before["d"]
    moved = replace(first.issuers["shop"], issuer="https://moved.example")
    elsewhere = TokenEndpoints(replace(first, issuers={"shop": moved}), standing, after)
    assert elsewhere["c"] is not before["c"]
    # What waits under an earlier configuration ends under it, and with the process.
    assert isinstance(await ask(before, "d"), ObtainedToken)
    await elsewhere.close()
    for each in (before, after, elsewhere):
        assert isinstance(await ask(each, "d"), Failure)
    await standing.fetcher.close()


async def test_a_secret_that_rotates(server: TokenServer, tmp_path: Path) -> None:
    """Its file is one that a reload looks at, and what is asked after one has the new secret."""
    path, secret = tmp_path / "clients.yaml", tmp_path / "secret"
    path.write_text(
        f"version: 1\nclients: {{c: {{token_endpoint: '{server.url}', client_id: me, "
        "client_secret: 'file:secret'}}\ninbound: {rules: [{paths: [/**], allow: anyone}]}\n"
    )
    secret.write_text("old\n")
    first = examine([str(path)])
    assert first.config is not None
    standing = await standing_for(first.config)
    before = TokenEndpoints(first.config, standing)
    await ask(before)
    assert server.basic == ("me", "old")
    secret.write_text("new\n")
    assert digests(first.files) != first.files
    second = examine([str(path)])
    assert second.config is not None
    await ask(TokenEndpoints(second.config, standing, before))
    assert server.basic == ("me", "new")
    await standing.fetcher.close()


async def test_it_is_wired(server: TokenServer, tmp_path: Path) -> None:
    """Only where there are clients; what is counted goes with them."""
    first = config(server, tmp_path=tmp_path)
    none = Wiring(first, write_access_log=lambda _: None)
    assert none.token_endpoints is None
    one = none.after(replace(first, clients={"c": DISCOVERED}))
    one.installed()
    assert one.token_endpoints is not None
    assert isinstance(await ask(one.token_endpoints), ObtainedToken)
    exposition = one.metrics.render()[0].decode()
    assert 'sidecar_token_endpoint_requests_total{client="c",result="success"} 1.0' in exposition
    assert 'sidecar_token_endpoint_duration_seconds_count{client="c"} 1.0' in exposition
    assert 'sidecar_token_endpoint_in_flight{client="c"} 0.0' in exposition
    assert 'sidecar_circuit_state{destination="client:c",state="closed"} 1.0' in exposition
    two = one.after(first)
    two.installed()
    assert two.token_endpoints is not None
    assert not two.token_endpoints
    assert 'client="c"' not in two.metrics.render()[0].decode()
    await two.token_endpoints.close()
    await two.standing.fetcher.close()
