"""Requests that stay open, behind a real sidecar."""

import asyncio
from pathlib import Path

from bench.held import HeldRequests
from sidecar.config.model import Allow, Origin, Rule
from tests.support.pod import pod

EVERYTHING = (Rule("all", ("/**",), Allow.AUTHENTICATED),)


async def test_held_requests_are_live_entries_with_their_handles(tmp_path: Path) -> None:
    """A call with any of the handles gets the token; when all have gone, none does."""
    with HeldRequests() as app:
        origin = Origin("http", "127.0.0.1", app.port)
        async with pod(tmp_path, rules=EVERYTHING, inbound={"app": origin}) as running:
            token = running.mint.token("alice")
            await asyncio.to_thread(app.hold, running.bound.inbound.port, token, 5)
            assert len(set(app.handles)) == 5
            for handle in app.handles:
                assert (await running.call_out(handle)).status == 200
            assert (await running.call_out("sdc1" + "0" * 28)).reason == "attribution_unknown"
