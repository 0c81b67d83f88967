"""Two tenants behind the same services: neither hop serves one in the name of the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from sidecar.config.model import ClaimCondition, Origin, Require, Rule
from sidecar.testbed.token_mint import TokenMint
from tests.support.http import fetch
from tests.support.pod import AUDIENCE, Pod, pod

Told = Literal["issuer", "claim"]
"""What tells the tenants apart."""
RULES: dict[Told, tuple[Rule, ...]] = {
    "issuer": (
        Rule("north", ("/tenants/north/**",), Require(issuers=("shop",))),
        Rule("south", ("/tenants/south/**",), Require(issuers=("other",))),
    ),
    "claim": (
        Rule(
            "tenant",
            ("/tenants/{tenant}/**",),
            Require(claims=(ClaimCondition(("tenant",), "segment", ("tenant",)),)),
        ),
    ),
}
REFUSED: dict[Told, tuple[int, str]] = {
    "issuer": (401, "issuer_mismatch"),
    "claim": (403, "claim_condition"),
}


@dataclass
class Tenants:
    """Two pods in a row that serve both tenants, each on paths of its own."""

    near: Pod
    far: Pod
    by: Told
    mints: dict[str, TokenMint]

    def token(self, tenant: str) -> str:
        """Return a token of alice of *tenant*: every tenant has one."""
        return self.mints[tenant].token("alice", tenant=tenant)


@asynccontextmanager
async def two_tenants(directory: Path, by: Told) -> AsyncIterator[Tenants]:
    """Run both pods."""
    (directory / "near").mkdir()
    (directory / "far").mkdir()
    north, south = (
        TokenMint(f"https://{name}.example", audience=[AUDIENCE], algorithms=("ES256",))
        for name in ("north", "south")
    )
    trusted = {"rules": RULES[by], "mint": north, "other_mint": south if by == "issuer" else None}
    async with pod(directory / "far", **trusted) as far:  # type: ignore[arg-type]
        upstream = Origin("http", far.bound.inbound.host, far.bound.inbound.port)
        async with pod(
            directory / "near",
            automatic=False,
            destination={"upstream": upstream},
            **trusted,  # type: ignore[arg-type]
        ) as near:
            mints = {"north": north, "south": south if by == "issuer" else north}
            yield Tenants(near, far, by, mints)


@pytest.mark.parametrize("by", ["issuer", "claim"])
@pytest.mark.parametrize("target", ["/tenants/south/x", "/Tenants/SOUTH/x", "/tenants/%73outh/x"])
async def test_a_token_of_one_tenant_is_refused_on_the_path_of_the_other(
    target: str, by: Told, tmp_path: Path
) -> None:
    """At the first hop, in whatever spelling; its own tenant's path is served."""
    async with two_tenants(tmp_path, by) as tenants:
        inbound = tenants.near.bound.inbound
        answer = await fetch(inbound, target, bearer=tenants.token("north"))
        assert (answer.status, answer.reason) == REFUSED[by]
        answer = await fetch(inbound, "/tenants/north/x", bearer=tenants.token("south"))
        assert (answer.status, answer.reason) == REFUSED[by]
        assert (tenants.near.app.received, tenants.far.app.received) == ([], [])


@pytest.mark.parametrize("by", ["issuer", "claim"])
async def test_a_call_for_one_tenant_is_refused_at_the_destination_of_the_other(
    by: Told, tmp_path: Path
) -> None:
    """At the second hop: whatever the app asks for, the call carries its caller's tenant."""
    async with two_tenants(tmp_path, by) as tenants:
        near = tenants.near
        served = [
            asyncio.create_task(
                fetch(near.bound.inbound, f"/tenants/{tenant}/x", bearer=tenants.token(tenant))
            )
            for tenant in ("north", "south")
        ]
        for _ in served:
            request = await near.app.next()
            tenant = request.target.split("/")[2]
            other = {"north": "south", "south": "north"}[tenant]
            answer = await near.call_out(request.handle, f"/tenants/{other}/x")
            status, reason = REFUSED[by]
            assert answer.status == status
            assert f"urn:jwt-sidecar:reason:{reason}".encode() in answer.body
            assert (await near.call_out(request.handle, f"/tenants/{tenant}/x")).status == 200
            request.answer()
        assert {(await task).status for task in served} == {200}
        assert sorted(request.target for request in tenants.far.app.received) == [
            "/tenants/north/x",
            "/tenants/south/x",
        ]
        issuers = {request.values("x-auth-issuer")[0] for request in tenants.far.app.received}
        assert len(issuers) == (2 if by == "issuer" else 1)
