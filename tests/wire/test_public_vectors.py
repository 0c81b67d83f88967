"""The published cases for HTTP/1.1 parsers, each through the real listener to a strict origin.

The cases come from Http11Probe (MIT) and http-desync-guardian (Apache-2.0); each names its source.
"""

import asyncio
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.wire_peer import until
from tests.support.wire_proxy import Proxy, proxied
from tests.support.wire_strict_origin import StrictOrigin

CASES = json.loads(
    (Path(__file__).parent.parent / "vectors" / "http1_public.json").read_text("utf-8")
)

SAYS_WHAT_IS_NOT_SERVED = {501, 505}
"""The 5xx that are right answers to a request: method or coding (RFC 9110, 15.6.2), version."""


@dataclass
class Outcome:
    """What became of a case."""

    kind: str
    statuses: list[int]
    forwarded: int


async def run(case: dict[str, Any]) -> tuple[Outcome, StrictOrigin]:
    origin = StrictOrigin()
    async with proxied(
        origin, max_head_bytes=32 * 1024, max_target_bytes=8 * 1024, max_fields=100
    ) as proxy:
        host = f"127.0.0.1:{proxy.address[1]}"
        raw = case["raw"].replace("{H}", host).replace("{A}", "Authorization: Bearer a.b.c\r\n")
        received = await converse(proxy, raw.encode("latin-1"))
        statuses = [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]
        forwarded = len(origin.requests)
        await check_innocent(proxy, origin)
    kind = "forward" if forwarded else "reject" if statuses else "close"
    return Outcome(kind, statuses, forwarded), origin


async def converse(proxy: Proxy, raw: bytes) -> bytes:
    """Send *raw*; when nothing moves any more let all time pass; return what came back."""
    handler = proxy.handler
    async with proxy.client() as client:
        await client.send(raw)
        await until(
            lambda: (
                handler.malformed_for
                or handler.exchanges
                or proxy.listener.buffered_bytes >= len(raw)
            )
        )
        if handler.exchanges:
            head = handler.exchanges[0].head
            turns = 100 if head.chunked or head.length else 10_000
            for _ in range(turns):
                if handler.results:
                    break
                await asyncio.sleep(0.001)
        await proxy.wait_out()
        return await client.rest()


async def check_innocent(proxy: Proxy, origin: StrictOrigin) -> None:
    """Somebody else's request on the same connections gets its own answer."""
    before = len(origin.requests)
    async with proxy.client() as client:
        await client.send(b"GET /innocent HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = await client.message()
        assert (answer.status, answer.body) == (200, b"/innocent")
    assert [each[1] for each in origin.requests[before:]] == [b"/innocent"]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
async def test_public_case(case: dict[str, Any]) -> None:
    """The outcome is an acceptable one, what arrives at the origin is well-formed, and the next
    caller is not affected."""
    outcome, origin = await run(case)
    assert origin.violations == []
    for _, _, fields, _ in origin.requests:
        names = Counter(name for name, _ in fields)
        assert names[b"host"] == 1
        assert names[b"content-length"] + names[b"transfer-encoding"] <= 1
        assert not {b"connection", b"te", b"upgrade", b"proxy-connection"} & set(names)
    assert outcome.forwarded in case["n"]
    assert outcome.kind in case["accept"], outcome
    refused = {status for status in outcome.statuses if status >= 500}
    assert refused <= SAYS_WHAT_IS_NOT_SERVED, outcome


def test_the_cases_are_all_there() -> None:
    """A file that shrank would make every other test here weaker."""
    assert Counter(case["grade"] for case in CASES) == {"must": 53, "should": 58, "may": 189}
