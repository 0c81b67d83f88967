"""Two tenants behind the same services: neither hop serves one in the name of the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.config.model import Origin, Require, Rule
from sidecar.testbed.token_mint import TokenMint
from tests.support.http import fetch
from tests.support.pod import AUDIENCE, Pod, pod

NORTH, SOUTH = "https://north.example", "https://south.example"
BY_ISSUER = (
    Rule("north", ("/tenants/north/**",), Require(issuers=("shop",))),
    Rule("south", ("/tenants/south/**",), Require(issuers=("other",))),
)


@asynccontextmanager
async def two_tenants(directory: Path) -> AsyncIterator[tuple[Pod, Pod, TokenMint, TokenMint]]:
    """Two pods in a row that trust both tenants' issuers, each tenant with paths of its own."""
    (directory / "near").mkdir()
    (directory / "far").mkdir()
    north = TokenMint(NORTH, audience=[AUDIENCE], algorithms=("ES256",))
    south = TokenMint(SOUTH, audience=[AUDIENCE], algorithms=("ES256",))
    async with pod(directory / "far", rules=BY_ISSUER, mint=north, other_mint=south) as far:
        upstream = Origin("http", far.bound.inbound.host, far.bound.inbound.port)
        async with pod(
            directory / "near",
            rules=BY_ISSUER,
            mint=north,
            other_mint=south,
            automatic=False,
            destination={"upstream": upstream},
        ) as near:
            yield near, far, north, south


@pytest.mark.parametrize("target", ["/tenants/south/x", "/Tenants/SOUTH/x", "/tenants/%73outh/x"])
async def test_a_token_of_one_tenant_is_refused_on_the_path_of_the_other(
    target: str, tmp_path: Path
) -> None:
    """At the first hop, in whatever spelling; its own tenant's path is served."""
    async with two_tenants(tmp_path) as (near, far, north, south):
        answer = await fetch(near.bound.inbound, target, bearer=north.token("alice"))
        assert (answer.status, answer.reason) == (401, "issuer_mismatch")
        answer = await fetch(near.bound.inbound, "/tenants/north/x", bearer=south.token("alice"))
        assert (answer.status, answer.reason) == (401, "issuer_mismatch")
        assert (near.app.received, far.app.received) == ([], [])


async def test_a_call_for_one_tenant_is_refused_at_the_destination_of_the_other(
    tmp_path: Path,
) -> None:
    """At the second hop: whatever the app asks for, the call carries its caller's tenant."""
    async with two_tenants(tmp_path) as (near, far, north, south):
        served = {}
        for tenant, mint in (("north", north), ("south", south)):
            served[tenant] = asyncio.create_task(
                fetch(near.bound.inbound, f"/tenants/{tenant}/x", bearer=mint.token("alice"))
            )
        for _ in served:
            request = await near.app.next()
            tenant = request.target.split("/")[2]
            other = {"north": "south", "south": "north"}[tenant]
            answer = await near.call_out(request.handle, f"/tenants/{other}/x")
            assert answer.status == 401
            assert b"urn:jwt-sidecar:reason:issuer_mismatch" in answer.body
            assert (await near.call_out(request.handle, f"/tenants/{tenant}/x")).status == 200
            request.answer()
        assert {(await task).status for task in served.values()} == {200}
        assert sorted(
            (request.target, *request.values("x-auth-issuer")) for request in far.app.received
        ) == [("/tenants/north/x", NORTH), ("/tenants/south/x", SOUTH)]
