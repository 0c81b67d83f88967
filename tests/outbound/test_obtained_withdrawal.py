"""A token that was obtained with a caller's goes when the caller's is not good any more."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

from sidecar.config import model
from sidecar.core.obtained import Failure, ObtainedToken
from sidecar.core.principal import Credential
from sidecar.core.token_request import TokenRequest
from sidecar.core.verification import Verified
from sidecar.credentials.token_source import TokenSource
from sidecar.testbed.token_mint import TokenMint
from sidecar.wiring import Wiring
from tests.credentials.sources import EXCHANGE, settled
from tests.support.http import LIMIT_SECONDS, fetch
from tests.support.introspection import serving
from tests.support.pod import AUDIENCE, ISSUER, Pod, pod


async def obtained(wiring: Wiring, credential: Credential) -> tuple[TokenSource, ObtainedToken]:
    """Return a source among what the process keeps, and a token that it obtained."""

    async def ask(_: TokenRequest, __: Credential | None) -> ObtainedToken | Failure:
        return ObtainedToken(b"obtained", time.time(), time.time() + 300)

    source = TokenSource(
        EXCHANGE,
        generation=b"",
        tokens=wiring.standing.obtained,
        ask=ask,
        kept=model.ObtainedTokens(),
        clock=time.monotonic,
        wall_clock=time.time,
        random=lambda: 0.5,
        report=wiring.metrics.token_exchanges("profiles"),
    )
    token = await settled(source.get(credential))
    assert isinstance(token, ObtainedToken)
    return source, token


def verified(running: Pod, token: str) -> Credential:
    verdict = running.wiring.verifier.verify(token.encode(), now=time.time())
    assert isinstance(verdict, Verified)
    return verdict.credential


async def test_a_key_that_is_withdrawn(tmp_path: Path) -> None:
    """What was obtained with a token of that key is not kept, nor good in hand."""
    async with pod(tmp_path, cooldown_seconds=0.0) as running:
        credential = verified(running, running.mint.token("alice"))
        source, token = await obtained(running.wiring, credential)
        running.mint.rotate()
        await _installed(running)
        assert source.still_good(token)
        running.mint.rotate(withdraw=True)
        await _installed(running)
        assert not source.still_good(token)
        assert len(running.wiring.standing.obtained) == 0


async def _installed(running: Pod) -> None:
    """Publish the mint's keys and return when they are those in force."""
    running.publish()
    newest = running.mint.token("bob").encode()
    async with asyncio.timeout(LIMIT_SECONDS):
        while not isinstance(running.wiring.verifier.verify(newest, now=time.time()), Verified):
            await running.wiring.keys["shop"].obtain()


async def test_a_reload_that_judges_differently(tmp_path: Path) -> None:
    """What was obtained for a caller who would be refused now goes; the others' stays."""
    async with pod(tmp_path) as running:
        alice = await obtained(running.wiring, verified(running, running.mint.token("alice")))
        config = running.sidecar.wiring.config
        wider = replace(config.issuers["shop"], max_token_age_seconds=600.0)
        await running.sidecar.install(replace(config, issuers={"shop": wider}), ())
        assert alice[0].still_good(alice[1])
        narrowed = replace(config.issuers["shop"], audiences=("somebody-else",))
        await running.sidecar.install(replace(config, issuers={"shop": narrowed}), ())
        assert not alice[0].still_good(alice[1])


async def test_an_issuer_of_another_name(tmp_path: Path) -> None:
    """Nobody looks after the keys of the old one, by which its tokens were judged."""
    async with pod(tmp_path) as running:
        source, token = await obtained(
            running.wiring, verified(running, running.mint.token("alice"))
        )
        config = running.sidecar.wiring.config
        renamed = replace(config.issuers["shop"], name="store")
        await running.sidecar.install(replace(config, issuers={"store": renamed}), ())
        assert not source.still_good(token)


async def test_a_reload_changes_the_bounds(tmp_path: Path) -> None:
    """They hold from then on."""
    async with pod(tmp_path) as running:
        kept = running.wiring.standing.obtained
        for name in ("alice", "bob", "carol"):
            await obtained(running.wiring, verified(running, running.mint.token(name)))
        assert len(kept) == 3
        config = running.sidecar.wiring.config
        fewer = model.ObtainedTokens(max_entries=1)
        await running.sidecar.install(replace(config, obtained_tokens=fewer), ())
        assert len(kept) == 1


async def test_an_issuer_that_takes_its_word_back(tmp_path: Path) -> None:
    """A token that introspection says is not active any more takes with it what came of it."""
    mint = TokenMint(ISSUER, audience=[AUDIENCE], algorithms=("ES256",))
    async with serving(mint) as endpoint:
        asked = endpoint.configured(positive_seconds=0.0, negative_seconds=0.0)
        async with pod(tmp_path, mint=mint, introspection=asked) as running:
            opaque = endpoint.opaque.issue("alice")
            assert (await fetch(running.bound.inbound, "/users/x", bearer=opaque)).status == 200
            inquiry = running.wiring.introspection["shop"].ask(opaque.encode())
            await inquiry.settled()  # type: ignore[union-attr] # it has just been good
            verdict = inquiry.verdict  # type: ignore[union-attr]
            assert isinstance(verdict, Verified)
            source, token = await obtained(running.wiring, verdict.credential)
            endpoint.opaque.revoke(opaque)
            answer = await fetch(running.bound.inbound, "/users/x", bearer=opaque)
            assert answer.status == 401
            assert not source.still_good(token)
