"""The issuer is well, and its keys or its place change."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.testbed.signing_key import SigningKey
from tests.outages.rows import SERVED, UNKNOWN, Row
from tests.outages.support import Pod, Provider, Tally, pod
from tests.support.certificates import Authority, server_context


@asynccontextmanager
async def load(running: Pod) -> AsyncIterator[Tally]:
    """Have callers with known tokens ask without pause until the block ends."""
    tally = Tally()
    done = asyncio.Event()

    async def caller(token: str) -> None:
        while not done.is_set():
            tally.add("known", await running.ask(token))

    async with asyncio.TaskGroup() as group:
        for token in running.known:
            group.create_task(caller(token))
        try:
            yield tally
        finally:
            done.set()


async def test_rotated(provider: Provider, row: Row) -> None:
    """A new key costs nobody a refusal and the issuer one request, under load."""
    async with pod(provider) as running:
        await running.prepare()
        asked = provider.asked
        async with load(running) as tally:
            provider.mint.rotate()
            running.time.now += 10
            await running.suffers(row)
        assert set(tally.outcomes["known"]) == {SERVED}
        assert provider.asked == asked + 1


async def test_rotated_hard(provider: Provider, row: Row) -> None:
    """Whatever the withdrawn key verified is refused from the fetch on, requests under way too."""
    async with pod(provider) as running:
        await running.prepare()
        async with load(running) as tally:
            provider.mint.rotate(withdraw=True)
            running.time.now += 10
            assert await running.ask(provider.mint.token("first")) == SERVED
            assert await running.ask(running.known[0]) == row.known
            await running.suffers(row)
        assert set(tally.outcomes["known"]) <= {SERVED, UNKNOWN}
        assert tally.outcomes["known"][UNKNOWN] > 0


async def test_kid_reused(provider: Provider, row: Row) -> None:
    """The `kid` is known, so nothing is asked for it before the next refresh."""
    async with pod(provider) as running:
        await running.prepare()
        old = provider.mint._current
        provider.mint._current = tuple(
            SigningKey.generate(key.algorithm, kid=key.kid) for key in old
        )
        asked = provider.asked
        await running.suffers(row)
        assert provider.asked == asked
        await running.recovers(row)
        assert provider.asked == asked + 1
        # What the other key signed is void now, remembered or not.
        assert await running.ask(running.known[0]) == "401 `signature_invalid`"


async def test_metadata_moved(provider: Provider, row: Row) -> None:
    """The metadata are read each time, so keys are found where they are now."""
    async with pod(provider, discovery=True) as running:
        await running.prepare()
        provider.jwks_path = "/moved"
        provider.mint.rotate()
        running.time.now += 10
        await running.suffers(row)


@pytest.mark.parametrize(
    "metadata", [{"error": "gone"}, {"issuer": "https://other.example", "jwks_uri": "https://o/"}]
)
async def test_metadata_of_another_issuer(
    provider: Provider, row: Row, metadata: dict[str, object]
) -> None:
    """Metadata that are not this issuer's name no keys."""
    async with pod(provider, discovery=True) as running:
        await running.prepare()
        provider.mint.rotate()
        provider.metadata = metadata
        await running.until_state("stale")
        await running.suffers(row)
        provider.metadata = None
        await running.recovers(row)


@pytest.mark.parametrize("answer", [None, ["169.254.169.254"], ["127.0.0.1", "169.254.169.254"]])
async def test_names_do_not_resolve(row: Row, answer: list[str] | None) -> None:
    """A name that is lost, or taken over, is an outage like others, and asks nobody else."""
    names = {"idp.test": ["127.0.0.1"]}
    async with (
        Provider(host="idp.test") as provider,
        pod(provider, lookup=names, allow_plaintext=True) as running,
    ):
        await running.prepare()
        provider.mint.rotate()
        names.clear()
        if answer is not None:
            names["idp.test"] = answer
        asked = provider.asked
        await running.until_state("stale")
        await running.suffers(row)
        assert provider.asked == asked
        names["idp.test"] = ["127.0.0.1"]
        await running.recovers(row)


async def test_certificate_expired(row: Row, tmp_path: Path) -> None:
    """An expired certificate is an outage like others: verification is never relaxed."""
    authority = Authority()
    good = server_context(authority.issue("127.0.0.1"), tmp_path)
    provider = Provider()
    provider.tls = good
    async with provider, pod(provider, ca=authority.write(tmp_path)) as running:
        await running.prepare()
        provider.mint.rotate()
        await provider.kill()
        provider.tls = server_context(
            authority.issue("127.0.0.1", starts=timedelta(hours=-2), ends=timedelta(hours=-1)),
            tmp_path,
        )
        await provider.start()
        await running.until_state("stale")
        assert "certificate is not accepted" in running.wiring.keys["shop"].last_error
        await running.suffers(row)
        await provider.kill()
        provider.tls = good
        await provider.start()
        await running.recovers(row)
