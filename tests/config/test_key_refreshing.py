"""How keys are fetched and kept, in the file: what is accepted, and every mistake."""

from pathlib import Path

import pytest

from tests.config.cases import lines
from tests.config.conftest import Examine
from tests.support.certificates import Authority


def issuer(rest: str) -> str:
    return (
        'version: 1\nissuers: {a: {issuer: "https://a.example", audiences: [x], '
        f"{rest}}}}}\n"
        "inbound: {app: 'http://127.0.0.1:8080', rules: [{paths: [/**], require: authenticated}]}\n"
    )


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("leeway: 1s", (60, 300, 900)),
        ("refresh_interval: 10s", (10, 10, 900)),
        ("refresh_interval: 1h", (60, 3600, 3600)),
        ("refresh_min: 5m, refresh_max: 5m", (300, 300, 300)),
        ("refresh_min: 10s, refresh_max: 24h", (10, 300, 86400)),
    ],
)
def test_bounds_that_were_not_written_give_way(
    examined: Examine, rest: str, expected: tuple[float, float, float]
) -> None:
    """An interval needs no bounds beside it, and bounds no interval."""
    config = examined(issuer(rest)).config
    assert config is not None
    made = config.issuers["a"]
    bounds = made.refresh_min_seconds, made.refresh_interval_seconds, made.refresh_max_seconds
    assert bounds == expected


def test_everything(examined: Examine, tmp_path: Path) -> None:
    """Paths start at the file's directory."""
    Authority().write(tmp_path)
    (tmp_path / "keys").mkdir()
    rest = "stale_for: 1h, startup: serve, keys_cache: keys, ca: ca.crt"
    found = examined(issuer(rest))
    assert lines(found.errors) == []
    assert found.config is not None
    made = found.config.issuers["a"]
    assert (made.stale_for_seconds, made.startup) == (3600, "serve")
    assert made.keys_cache == str(tmp_path / "keys")
    assert made.ca == str(tmp_path / "ca.crt")


@pytest.mark.parametrize(
    ("rest", "key", "message"),
    [
        ("refresh_min: 6m", "refresh_min", "is above `refresh_interval`"),
        ("refresh_max: 4m", "refresh_max", "is below `refresh_interval`"),
        ("refresh_min: 9s", "refresh_min", "10s"),
        ("refresh_max: 25h", "refresh_max", "24h"),
        ("stale_for: 59s", "stale_for", "60s"),
        ("stale_for: 721h", "stale_for", "720h"),
        ("stale_for: 0", "stale_for", "duration"),
        ("startup: no", "startup", "wait"),
        ("startup: maybe", "startup", "serve"),
        ("keys_cache: absent", "keys_cache", "is not a directory"),
        ("keys_cache: ''", "keys_cache", ""),
        ("keys_cache: []", "keys_cache", ""),
        ("ca: absent", "ca", "cannot be read: No such file or directory"),
        ("ca: empty", "ca", "holds no certificate in PEM"),
        ("ca: 1", "ca", ""),
        ("stale: 1h", "stale", "unknown key"),
        ("jwks_file: jwks.json, keys_cache: .", "keys_cache", "`jwks_file` is on disk already"),
        ("jwks_file: jwks.json, ca: ca.crt", "ca", "`jwks_file` is on disk already"),
    ],
)
def test_errors(examined: Examine, tmp_path: Path, rest: str, key: str, message: str) -> None:
    """Each mistake is told where it stands."""
    Authority().write(tmp_path)
    (tmp_path / "empty").touch()
    found = examined(issuer(rest))
    assert found.config is None
    told = [line for line in lines(found.errors) if f"issuers.a.{key}" in line]
    assert len(told) == 1
    assert message in told[0]
