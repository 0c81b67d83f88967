"""The issuer is gone: at the start, later, and for longer than keys are kept."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.attribution import Entry
from tests.issuers.support import ManualTime
from tests.outages.rows import SERVED, UNAVAILABLE, Row
from tests.outages.support import CALLERS, Provider, pod


async def test_down_at_the_start(provider: Provider, row: Row) -> None:
    """Nothing is accepted and the pod is not ready; the first answer ends it, without a restart."""
    await provider.kill()
    async with pod(provider) as running:
        running.stock()
        assert running.state == "blind"
        await running.suffers(row)
        await provider.start()
        await running.recovers(row)


async def test_down_at_the_start_and_serving(provider: Provider, row: Row) -> None:
    """The same, but the pod counts as ready: rules without token are served."""
    await provider.kill()
    async with pod(provider, startup="serve") as running:
        running.stock()
        await running.suffers(row)
        await provider.start()
        await running.recovers(row)


async def test_down_at_the_start_with_a_copy(provider: Provider, row: Row, tmp_path: Path) -> None:
    """A pod that starts while the issuer is down serves at once what the copy's keys signed."""
    time = ManualTime()
    async with pod(provider, keys_cache=str(tmp_path), time=time):
        pass
    (copy,) = tmp_path.iterdir()
    assert copy.stat().st_mode & 0o777 == 0o600
    await provider.kill()
    time = ManualTime()
    time.now += 3600
    async with pod(provider, keys_cache=str(tmp_path), time=time) as running:
        running.stock()
        assert running.state == "stale"
        assert await running.is_ready()
        provider.mint.rotate()
        await running.suffers(row)
        await provider.start()
        await running.recovers(row)


def altered(**members: object) -> Callable[[Path], None]:
    def alter(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **members}))

    return alter


def aged(seconds: float) -> Callable[[Path], None]:
    def alter(path: Path) -> None:
        document: dict[str, Any] = json.loads(path.read_text())
        document["fetched_at"] += seconds
        path.write_text(json.dumps(document))

    return alter


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "spoil",
    [
        aged(-86400.0),
        aged(86400.0),
        altered(issuer="https://other.example"),
        altered(source="https://other.example/jwks"),
        altered(version=2),
        altered(more=1),
        altered(fetched_at=True),
        altered(jwks='{"keys": []}'),
        altered(jwks={"keys": []}),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b"x" * 2_000_000),
        lambda path: path.chmod(0o620),
        lambda path: (path.rename(path.with_name("other")), path.symlink_to("other")),
        pipe,
    ],
)
async def test_down_at_the_start_with_a_bad_copy(
    provider: Provider, row: Row, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    """A copy that is not exactly ours is as good as none."""
    async with pod(provider, keys_cache=str(tmp_path)):
        pass
    await provider.kill()
    (copy,) = tmp_path.iterdir()
    spoil(copy)
    async with pod(provider, keys_cache=str(tmp_path)) as running:
        running.stock()
        assert running.state == "blind"
        await running.suffers(row)


async def test_killed(provider: Provider, row: Row) -> None:
    """Keys that were fetched stay in force; only a key made meanwhile has to wait."""
    async with pod(provider) as running:
        await running.prepare()
        await provider.kill()
        provider.mint.rotate()
        await running.until_state("stale")
        await running.suffers(row)
        await provider.start()
        await running.recovers(row)


async def test_killed_for_longer_than_stale_for(provider: Provider, row: Row) -> None:
    """Keys nobody confirmed for that long are given up, and what they verified with them."""
    async with pod(provider, stale_for_seconds=600.0) as running:
        await running.prepare()
        confirmed_at = running.time.now
        await provider.kill()
        await running.until_state("stale")
        await running.until_state("blind")
        assert running.time.now - confirmed_at == pytest.approx(600, abs=0.2)
        await running.suffers(row)
        await provider.start()
        await running.recovers(row)


async def test_requests_under_way_when_the_keys_are_given_up(provider: Provider) -> None:
    """A request that the app is still answering makes no more calls with its token."""
    async with pod(provider, stale_for_seconds=600.0) as running:
        await running.prepare()
        running.app.automatic = False
        asking = asyncio.create_task(running.ask(running.known[0]))
        request = [await running.app.next() for _ in range(CALLERS + 1)][-1]
        entry = running.wiring.ledger.find(request.handle.encode())
        assert isinstance(entry, Entry)
        assert entry.live
        await provider.kill()
        await running.until_state("blind")
        assert not isinstance(running.wiring.ledger.find(request.handle.encode()), Entry)
        assert await running.ask(running.known[0]) == UNAVAILABLE
        request.answer()
        assert await asking == SERVED
