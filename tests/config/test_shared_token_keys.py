"""``shared_tokens``: what it becomes, and each way to get it wrong."""

import base64
import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from sidecar.config.elsewhere import examine_texts
from sidecar.config.model import RedisServer, SharedTokens, SharingKey
from tests.config.cases import VALID_START, lines
from tests.config.conftest import Examine
from tests.support.certificates import Authority

SECRET = bytes(range(32))
OTHER = bytes(32)
ENVIRON = {
    "KEY": base64.b64encode(SECRET).decode(),
    "OTHER": base64.b64encode(OTHER).decode(),
    "SHORT": base64.b64encode(b"hunter2").decode(),
    "PLAIN": "hunter2!",
    "PASSWORD": "hunter2",
}
KEY = "key: '${KEY}'"


def shared(examined: Examine, written: str) -> SharedTokens:
    found = examined(VALID_START + f"shared_tokens: {written}\n", ENVIRON)
    assert lines(found.errors) == []
    assert found.config is not None
    assert found.config.shared_tokens is not None
    return found.config.shared_tokens


def test_off_unless_written(examined: Examine) -> None:
    """Nothing is shared by default."""
    found = examined(VALID_START)
    assert found.config is not None
    assert found.config.shared_tokens is None


def test_the_shortest(examined: Examine) -> None:
    """Where, and with which key."""
    assert shared(examined, f"{{redis: 'redis://127.0.0.1:6379', {KEY}}}") == SharedTokens(
        RedisServer("127.0.0.1", 6379), (SharingKey("1", SECRET),)
    )


def test_everything(examined: Examine, tmp_path: Path) -> None:
    """Every key arrives; a path is seen from the file."""
    ca = Authority().write(tmp_path)
    written = (
        f"{{redis: 'rediss://redis.shop.svc:7000/3', username: me, password: '${{PASSWORD}}',"
        f" ca: {Path(ca).name}, {KEY}, key_id: '2026-11', old_keys: {{'2026-10': '${{OTHER}}'}},"
        " prefix: shop, timeout: 50ms}"
    )
    assert shared(examined, written) == SharedTokens(
        RedisServer("redis.shop.svc", 7000, "", 3, True),
        (SharingKey("2026-11", SECRET), SharingKey("2026-10", OTHER)),
        "me",
        "hunter2",
        ca,
        "shop",
        0.05,
    )


@pytest.mark.parametrize(
    ("written", "server"),
    [
        ("redis://localhost", RedisServer("localhost")),
        ("redis://[::1]:7/15", RedisServer("::1", 7, "", 15)),
        ("rediss://redis/", RedisServer("redis", 6379, "", 0, True)),
        ("unix:/run/redis/redis.sock", RedisServer(path="/run/redis/redis.sock")),
    ],
)
def test_where_it_may_be(examined: Examine, written: str, server: RedisServer) -> None:
    """On this host or another, with TLS or not, or at a socket."""
    found = shared(examined, f"{{redis: '{written}', {KEY}}}").redis
    assert (found.host, found.path, found.database, found.is_tls) == (
        server.host,
        server.path,
        server.database,
        server.is_tls,
    )
    assert server.path or found.port == server.port


def test_the_key_is_in_no_repr(examined: Examine) -> None:
    """Nor is the password."""
    found = shared(examined, f"{{redis: 'unix:/r', password: '${{PASSWORD}}', {KEY}}}")
    assert "hunter2" not in repr(found)
    assert repr(SECRET) not in repr(found)


def test_the_key_from_a_file(examined: Examine, tmp_path: Path) -> None:
    """As `openssl rand -base64 32` writes it, with its line end."""
    (tmp_path / "key").write_text(ENVIRON["KEY"] + "\n")
    assert shared(examined, "{redis: 'unix:/r', key: 'file:key'}").keys[0].secret == SECRET


IS = "shared_tokens"
THIRTY_TWO = "must stand for 32 octets in base64, as `openssl rand -base64 32` prints them"
REFERENCE = "must be `${NAME}` or `file:PATH`, so that the secret itself is not in the file"
EXPOSED = (
    "the password would be sent over redis://, where anyone on the way can read it; use rediss:// "
    "or write `allow_plaintext: true`"
)
CASES: dict[str, tuple[str, list[str]]] = {
    "nothing": ("{}", [".redis: is required", ".key: is required"]),
    "no URL": (
        f"{{redis: 'http://redis', {KEY}}}",
        [".redis: `http://redis` is not redis://host:port, rediss://host:port (TLS) or unix:/path"],
    ),
    "a host alone": (
        f"{{redis: 'redis:6379', {KEY}}}",
        [".redis: `redis:6379` is not redis://host:port, rediss://host:port (TLS) or unix:/path"],
    ),
    "a password in the URL": (
        f"{{redis: 'redis://me:x@redis', {KEY}}}",
        [".redis: the value must not hold a user or a password; write `username` and `password`"],
    ),
    "a query": (
        f"{{redis: 'redis://redis?db=1', {KEY}}}",
        [".redis: `redis://redis?db=1` is not redis://host:port"],
    ),
    "no port": (f"{{redis: 'redis://redis:0', {KEY}}}", [".redis: `redis://redis:0` "]),
    "a relative socket": (
        f"{{redis: 'unix:redis.sock', {KEY}}}",
        [".redis: `unix:redis.sock` must hold an absolute path, as in unix:/run/redis/redis.sock"],
    ),
    "a socket as a URL": (
        f"{{redis: 'unix:///run/r', {KEY}}}",
        [".redis: `unix:///run/r` must hold a path alone (did you mean `unix:/run/r`?)"],
    ),
    "the key itself": ("{redis: 'unix:/r', key: hunter2}", [f".key: {REFERENCE}"]),
    "a short key": ("{redis: 'unix:/r', key: '${SHORT}'}", [f".key: {THIRTY_TWO}"]),
    "no base64": ("{redis: 'unix:/r', key: '${PLAIN}'}", [f".key: {THIRTY_TWO}"]),
    "no such variable": (
        "{redis: 'unix:/r', key: '${NONE}'}",
        [".key: `${NONE}` names the environment variable NONE, which is not set"],
    ),
    "a list of old keys": (
        f"{{redis: 'unix:/r', {KEY}, old_keys: ['${{OTHER}}']}}",
        [".old_keys: must be a map from a key's id to a reference"],
    ),
    "a short old key": (
        f"{{redis: 'unix:/r', {KEY}, old_keys: {{a: '${{SHORT}}'}}}}",
        [f".old_keys.a: {THIRTY_TWO}"],
    ),
    "an odd id": (
        f"{{redis: 'unix:/r', {KEY}, old_keys: {{'a:b': '${{OTHER}}'}}}}",
        [".old_keys.a:b: this name must be 1 to 63 letters"],
    ),
    "the same id": (
        f"{{redis: 'unix:/r', {KEY}, key_id: a, old_keys: {{a: '${{OTHER}}'}}}}",
        [".old_keys: holds `a`, which is `key_id`: a new key has a new id"],
    ),
    "many old keys": (
        f"{{redis: 'unix:/r', {KEY}, old_keys: "
        + "{" + ", ".join(f"k{n}: '${{OTHER}}'" for n in range(5)) + "}}",
        [".old_keys: holds more than 4 keys; each is tried at every look-up"],
    ),
    "a password in clear": (
        f"{{redis: 'redis://redis', password: '${{PASSWORD}}', {KEY}}}", [f".redis: {EXPOSED}"]),
    "a user without password": (
        f"{{redis: 'unix:/r', username: me, {KEY}}}", [".username: needs a `password`"]),
    "authorities without use": (
        f"{{redis: 'unix:/r', ca: ca.crt, {KEY}}}", [".ca: would not be used without rediss://"]),
    "authorities that are not there": (
        f"{{redis: 'rediss://redis', ca: /nowhere/ca.crt, {KEY}}}", [".ca: "]),
    "endless patience": (
        f"{{redis: 'unix:/r', timeout: 1m, {KEY}}}", [".timeout: `1m` must be from 10ms to 5s"]),
    "misspelled": (f"{{redis: 'unix:/r', {KEY}, old_key: x}}", [".old_key: unknown key"]),
}  # fmt: skip


@pytest.mark.parametrize(("written", "answers"), CASES.values(), ids=CASES)
def test_errors(examined: Examine, written: str, answers: list[str]) -> None:
    """Each mistake has its own line, with its place, and none holds a secret."""
    found = lines(examined(VALID_START + f"shared_tokens: {written}\n", ENVIRON).errors)
    assert len(found) == len(answers), found
    for line, answer in zip(found, answers, strict=True):
        position, _, message = line.partition(": ")
        assert position.count(":") == 1
        assert message.startswith(IS + answer), message
        assert "hunter2" not in line


def test_a_password_in_clear_where_it_is_allowed(examined: Examine) -> None:
    """On loopback always; elsewhere if it is said."""
    for written in ("redis: 'redis://127.0.0.1'", "redis: 'redis://r', allow_plaintext: true"):
        found = shared(examined, f"{{{written}, password: '${{PASSWORD}}', {KEY}}}")
        assert found.password == "hunter2"


def test_without_the_library(examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is said where the configuration is checked, not at the first call."""
    there = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "redis" else there(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    found = examined(VALID_START + f"shared_tokens: {{redis: 'unix:/r', {KEY}}}\n", ENVIRON)
    (line,) = lines(found.errors)
    assert line.endswith(
        f"{IS}: needs a library that is not installed: pip install 'jwt-sidecar[redis]'"
    )


def test_checked_elsewhere() -> None:
    """Where neither variables nor files are, everything else is checked."""
    written = f"shared_tokens: {{redis: 'rediss://r', ca: /nowhere, {KEY}, timeout: 1m}}\n"
    found = examine_texts([("c", (VALID_START + written).encode())])
    assert [problem.message for problem in found.errors] == ["`1m` must be from 10ms to 5s"]
