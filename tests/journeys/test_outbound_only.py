"""A pod that nobody calls, as a Job's: its app calls out through a sidecar without inbound."""

from pathlib import Path

import pytest

from sidecar.config.model import Discovery, ListenerTls
from tests.support.http import fetch
from tests.support.pod import pod

NOWHERE = {"keys": Discovery("http://127.0.0.1:1/.well-known/openid-configuration")}


async def test_a_pod_without_callers_is_ready_and_calls_out(tmp_path: Path) -> None:
    """No key is asked for, no listener's file read; calls go out as nobody's."""
    tls = ListenerTls("/nowhere/tls.crt", "/nowhere/tls.key")
    async with pod(
        tmp_path,
        inbound={"listen": None, "tls": tls},
        issuer=NOWHERE,
        destination={"without_context": "anonymous"},
    ) as running:
        assert (await fetch(running.bound.admin, "/readyz")).status == 200
        answer = await running.call_out(None)
        assert (answer.status, answer.body) == (200, b"ok")
        assert running.destination.received[0].values("authorization") == []
        with pytest.raises(LookupError):
            _ = running.bound.inbound


async def test_no_call_is_made_in_anybodys_name(tmp_path: Path) -> None:
    """Without a request that caused it, a call that must carry a token is refused."""
    async with pod(tmp_path, inbound={"listen": None}) as running:
        assert (await running.call_out(None)).reason == "attribution_missing"
        assert (await running.call_out("sdc1" + "0" * 28)).reason == "attribution_unknown"
        assert running.destination.received == []
