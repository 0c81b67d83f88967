"""Callers choose the ``kid``: what 10,000 of them cost the issuer."""

import asyncio
import secrets
import time

from sidecar.testbed.signing_key import SigningKey
from tests.outages.support import Provider, pod
from tests.support.http import fetch

KIDS = 10_000
COOLDOWN_SECONDS = 10.0


async def test_random_kids_cost_one_fetch_per_cool_down(provider: Provider) -> None:
    """10,000 random kids by 20 callers: one fetch, and ten in ten cool-downs; all get 401."""
    async with pod(provider) as running:
        await running.prepare()
        claims = provider.mint._claims("mallory", {})
        key = SigningKey.generate("ES256", kid="x")
        asked = provider.asked
        running.time.now += COOLDOWN_SECONDS

        async def caller(count: int) -> None:
            for _ in range(count):
                token = key.sign(claims, header={"kid": secrets.token_hex(8)})
                verdict = running.wiring.verifier.verify(token.encode(), now=time.time())
                source = running.wiring.keys[verdict.issuer_name]  # type: ignore[union-attr]
                if source.refusal(verdict.kid) is None:  # type: ignore[union-attr]
                    await source.obtain()

        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(caller(KIDS // 20))
        assert provider.asked - asked == 1
        for _ in range(9):
            running.time.now += COOLDOWN_SECONDS
            await caller(50)
        assert provider.asked - asked == 10
        # A last one the whole way, and callers with good tokens do not notice.
        token = key.sign(claims, header={"kid": "last"})
        assert (await fetch(running.bound.inbound, "/users/x", bearer=token)).status == 401
        assert await running.ask(running.known[0]) == "served"


async def test_a_kid_known_to_be_unknown(provider: Provider) -> None:
    """The same unknown kid costs one fetch in three cool-downs, not three."""
    async with pod(provider) as running:
        await running.prepare()
        foreign = SigningKey.generate("ES256", kid="foreign")
        token = foreign.sign(provider.mint._claims("mallory", {}))
        asked = provider.asked
        for _ in range(6):
            running.time.now += COOLDOWN_SECONDS
            assert await running.ask(token) == "401 `key_unknown`"
        assert provider.asked - asked == 2


async def test_the_algorithm_is_checked_before_anything_is_asked(provider: Provider) -> None:
    """An unknown kid under an algorithm that is not accepted causes no fetch."""
    async with pod(provider, algorithms=("ES256",)) as running:
        asked = provider.asked
        running.time.now += COOLDOWN_SECONDS
        foreign = SigningKey.generate("EdDSA", kid="foreign")
        token = foreign.sign(provider.mint._claims("mallory", {}))
        assert await running.ask(token) == "401 `algorithm_refused`"
        assert provider.asked == asked
