"""An issuer whose servers only its own ``ca`` vouches for, through discovery to its keys."""

from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from sidecar.config.model import Discovery, JwksUri
from tests.issuers.conftest import Benches
from tests.issuers.support import ISSUER, Provider, issuer
from tests.support.certificates import Authority, server_context


@pytest.mark.parametrize("by_discovery", [True, False])
async def test_keys_under_an_authority_of_their_own(
    benches: Benches, provider: Provider, tmp_path: Path, by_discovery: bool
) -> None:
    """Metadata and keys come from there; another issuer at the same client does not trust it."""
    authority = Authority()
    server = TestServer(provider.application(), scheme="https", host="127.0.0.1")
    await server.start_server(ssl=server_context(authority.issue("127.0.0.1"), tmp_path))
    port = server.port
    try:
        provider.metadata = {"issuer": ISSUER, "jwks_uri": str(server.make_url("/jwks"))}
        source: Discovery | JwksUri = JwksUri(str(server.make_url("/jwks")))
        if by_discovery:
            source = Discovery(str(server.make_url("/metadata")))
        trusting = benches.make(replace(issuer(source), ca=authority.write(tmp_path)))
        other = benches.make(issuer(source))
        async with trusting.running(), other.running():
            await trusting.time.asleep()
            await other.time.asleep()
    finally:
        await server.close()
    assert trusting.is_loaded()
    assert trusting.installed.sets == [frozenset({"one"})]
    assert not other.is_loaded()
    assert other.keys.last_error == (
        f"127.0.0.1:{port}: its certificate is not accepted: unable to get local issuer certificate"
    )
