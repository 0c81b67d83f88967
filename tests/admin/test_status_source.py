"""The status of a real pod: what happened is what it tells."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.model import Attribution
from tests.admin.test_control import ASK, exchange
from tests.support.http import fetch
from tests.support.pod import ISSUER, Pod, pod

CARRIER = "x-sidecar-carrier"


async def status(path: Path) -> Any:
    return json.loads((await exchange(path, ASK)).partition(b"\r\n\r\n")[2])


async def call(running: Pod, *fields: tuple[str, str]) -> str:
    answer = await fetch(running.bound.outbound["profiles"], "/x", fields=fields)
    return answer.reason


async def test_a_quiet_pod(tmp_path: Path) -> None:
    """Version, readiness, keys, the bound address and empty counts."""
    async with pod(tmp_path, control=tmp_path / "c.sock") as running:
        told = await status(tmp_path / "c.sock")
        (issuer,) = told["issuers"]
        assert (issuer["name"], issuer["issuer"], issuer["state"]) == ("shop", ISSUER, "fresh")
        assert 0 <= issuer["keys_age_seconds"] < 60
        assert issuer["last_error"] == ""
        assert (told["ready"], told["draining"], told["missing"]) == (True, False, [])
        assert 0 <= told["uptime_seconds"] < 60
        assert told["ledger"] == {"entries": 0, "capacity": 12_500}
        assert told["attribution"] == {
            "carrier": "auto",
            "expectation": "profiles demands min_assurance strict",
            "seen": [],
        }
        (destination,) = told["destinations"]
        assert destination == {
            "name": "profiles",
            "listen": str(running.bound.outbound["profiles"]),
            "upstream": str(running.destination.origin),
            "token": "relay",
            "min_assurance": "strict",
            "mode": "enforce",
            "circuit": None,
            "calls": {},
        }


async def test_keys_that_never_came(tmp_path: Path) -> None:
    """What is missing is said, with the cause."""
    async with pod(tmp_path, control=tmp_path / "c.sock", publish=False):
        told = await status(tmp_path / "c.sock")
    (issuer,) = told["issuers"]
    assert (issuer["state"], issuer["keys_age_seconds"]) == ("blind", None)
    assert issuer["last_error"]
    assert not told["ready"]
    assert told["missing"] == [f"issuer shop: keys not loaded ({issuer['last_error']})"]


async def test_calls_by_outcome_and_carrier(tmp_path: Path) -> None:
    """Each call is counted once, by what came of it and by what it reported."""
    async with pod(tmp_path, control=tmp_path / "c.sock", automatic=False) as running:
        strict = (CARRIER, "python/0.1; grade=strict")
        token = running.mint.token("alice")
        inbound = fetch(running.bound.inbound, "/users/x", bearer=token)
        answer = asyncio.create_task(inbound)
        request = await running.app.next()
        attached = asyncio.create_task(running.call_out(request.handle))
        (await running.destination.next()).answer()
        assert (await attached).status == 200
        assert (await status(tmp_path / "c.sock"))["ledger"]["entries"] == 1
        request.answer()
        await answer
        for expected, fields in [
            ("attribution_missing", (strict,)),
            ("attribution_missing", ()),
            ("attribution_missing", ((CARRIER, "mine"),)),
            ("attribution_dead", (strict, ("x-sidecar-context", request.handle))),
        ]:
            assert await call(running, *fields) == expected
        told = await status(tmp_path / "c.sock")
        exposition = await running.metrics()
    assert told["destinations"][0]["calls"] == {
        "attached": 1,
        "attribution_missing": 3,
        "attribution_dead": 1,
    }
    seen = [(c["name"], c["version"], c["grade"], c["calls"]) for c in told["attribution"]["seen"]]
    assert seen == [
        ("python", "0.1", "strict", 3),
        ("", "", "none", 1),
        ("other", "", "unrecognised", 1),
    ]
    assert told["token_cache"]["misses"] >= 1
    for label, count in (("strict", 3), ("standard", 0), ("none", 1), ("unrecognised", 1)):
        assert f'sidecar_carrier_calls_total{{carrier="{label}"}} {count}.0' in exposition


async def test_a_destination_without_token_rule_says_nothing_of_carriers(tmp_path: Path) -> None:
    """Calls that need no attribution are forwarded and not counted by carrier."""
    async with pod(tmp_path, control=tmp_path / "c.sock", destination={"token": "none"}) as running:
        await call(running)
        told = await status(tmp_path / "c.sock")
    assert told["attribution"] == {"carrier": "auto", "expectation": "", "seen": []}
    assert told["destinations"][0]["calls"] == {"forwarded": 1}


@pytest.mark.parametrize(
    ("attribution", "token_to_app", "assurance", "expectation"),
    [
        ({}, "withhold", "strict", "profiles demands min_assurance strict"),
        ({}, "withhold", "standard", "profiles demands min_assurance standard"),
        ({}, "withhold", "compat", ""),
        ({}, "placeholder", "strict", "profiles demands min_assurance strict"),
        ({}, "placeholder", "standard", ""),
        ({}, "forward", "strict", ""),
        ({"exclusive": "request"}, "withhold", "standard", ""),
        ({"carrier": "python"}, "forward", "compat", "attribution.carrier is python"),
        ({"carrier": "opentelemetry"}, "withhold", "strict", ""),
        ({"carrier": "none"}, "withhold", "strict", ""),
    ],
)
async def test_when_a_carrier_is_expected(
    attribution: dict[str, Any],
    token_to_app: str,
    assurance: str,
    expectation: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where the configuration names one or demands what only one can give; else no warning."""
    async with pod(
        tmp_path,
        control=tmp_path / "c.sock",
        attribution=Attribution(**attribution),
        inbound={"token_to_app": token_to_app},
        destination={"min_assurance": assurance},
    ) as running:
        for _ in range(2):
            await call(running)
        told = await status(tmp_path / "c.sock")
    assert told["attribution"]["expectation"] == expectation
    lines = [r.getMessage() for r in caplog.records if r.name == "sidecar.carriers"]
    assert len(lines) == (1 if expectation else 0)
    assert all(f"({expectation})" in line for line in lines)


async def test_no_handle_or_token_is_told(tmp_path: Path) -> None:
    """What an app writes into its report is not shown unless it is a short name."""
    async with pod(tmp_path, control=tmp_path / "c.sock") as running:
        token = running.mint.token("alice")
        await call(running, (CARRIER, f"{token}; grade=strict"))
        await call(running, (CARRIER, "sdc1" + "a" * 28 + "/1; grade=strict"))
        text = json.dumps(await status(tmp_path / "c.sock"))
    assert token[:20] not in text
    assert "sdc1" not in text


async def test_keys_and_their_last_use(tmp_path: Path) -> None:
    """Each key in force is named, with the time since it last vouched for a new token."""
    async with pod(tmp_path, control=tmp_path / "c.sock") as running:
        (before,) = (await status(tmp_path / "c.sock"))["issuers"]
        await fetch(running.bound.inbound, "/users/x", bearer=running.mint.token("alice"))
        (after,) = (await status(tmp_path / "c.sock"))["issuers"]
    assert before["keys"] == [{"kid": "es256-1", "last_used_seconds": None}]
    (key,) = after["keys"]
    assert 0 <= key["last_used_seconds"] < 60
    assert 0 < after["next_refresh_seconds"] <= 330
    assert after["clock_offset_seconds"] is None
