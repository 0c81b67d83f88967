"""A running sidecar that begins, changes and ends sharing by a reload."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.config.model import SharingKey
from sidecar.credentials.obtained_tokens import Shared
from tests.support.pod import pod
from tests.support.redis import Redis


async def test_sharing_comes_and_goes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is kept stays; its series are there once it has been shared; the end is quiet."""
    redis = Redis(tmp_path / "nobody.sock")
    caplog.set_level(logging.INFO)
    async with pod(tmp_path) as running:
        kept = running.wiring.standing.obtained

        def store() -> Shared | None:
            return kept.shared

        config = running.sidecar.wiring.config
        assert store() is None
        assert "redis:shared_tokens" not in await running.metrics()
        shared = replace(config, shared_tokens=redis.configured())
        await running.sidecar.install(shared, ())
        first = store()
        assert first is not None
        closed = 'sidecar_circuit_state{destination="redis:shared_tokens",state="closed"} 1.0'
        assert closed in await running.metrics()
        more = replace(config.obtained_tokens, max_entries=5)
        await running.sidecar.install(replace(shared, obtained_tokens=more), ())
        assert store() is first
        rotated = redis.configured(SharingKey("2", bytes(32)))
        await running.sidecar.install(replace(config, shared_tokens=rotated), ())
        assert store() not in (first, None)
        await running.sidecar.install(config, ())
        assert store() is None
        await running.sidecar.install(shared, ())
    assert store() is None
    assert [each for each in caplog.records if each.name == "sidecar.tokens"] == []
