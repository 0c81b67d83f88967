"""``issuers.NAME.introspection``: what it becomes, and each way to get it wrong."""

from pathlib import Path

import pytest

from sidecar.config.model import Introspection, IntrospectionCache
from tests.config.cases import lines
from tests.config.conftest import Examine

START = "version: 1\nissuers:\n"
ENVIRON = {"SECRET": "hunter2", "EMPTY": "", "BELL": "a\x07b", "LONG": "x" * 4097}


def issuer(introspection: str, name: str = "a", more: str = "") -> str:
    return f"  {name}: {{issuer: 'https://{name}.example', audiences: [x]{more},\n" + (
        f"    introspection: {introspection}}}\n"
    )


def asked(examined: Examine, introspection: str, more: str = "") -> Introspection:
    found = examined(START + issuer(introspection, more=more), ENVIRON)
    assert lines(found.errors) == []
    assert found.config is not None
    result = found.config.issuers["a"].introspection
    assert result is not None
    return result


CLIENT = "client_id: me, client_secret: '${SECRET}'"


def test_the_shortest(examined: Examine) -> None:
    """Who asks is enough: discovery names the endpoint, and the rest has defaults."""
    assert asked(examined, f"{{{CLIENT}}}") == Introspection(
        client_id="me", client_secret="hunter2"
    )


def test_everything(examined: Examine) -> None:
    """Every key arrives."""
    found = asked(
        examined,
        f"{{{CLIENT}, url: 'https://a.example/i', auth: client_secret_post, for: all, timeout: 1s,"
        " cache: {positive: 30s, negative: 0s, max_entries: 5}, max_concurrent: 2, max_waiting: 0,"
        " max_rate: 7}",
    )
    assert found == Introspection(
        url="https://a.example/i",
        auth="client_secret_post",
        client_id="me",
        client_secret="hunter2",
        about="all",
        cache=IntrospectionCache(positive_seconds=30, negative_seconds=0, max_entries=5),
        timeout_seconds=1,
        max_concurrent=2,
        max_waiting=0,
        max_rate=7,
    )


def test_off_unless_written(examined: Examine) -> None:
    """No issuer is asked by default."""
    found = examined(START + "  a: {issuer: 'https://a.example', audiences: [x]}\n")
    assert found.config is not None
    assert found.config.issuers["a"].introspection is None


def test_without_client(examined: Examine) -> None:
    """Some endpoints ask nobody who they are, such as that of Hydra's admin port."""
    assert asked(examined, "{auth: none}").client_secret == ""


def test_the_secret_is_in_no_repr(examined: Examine) -> None:
    """Nor is it in that of the whole configuration."""
    found = examined(START + issuer(f"{{{CLIENT}}}"), ENVIRON)
    assert "hunter2" not in repr(found.config)


def test_a_secret_from_a_file(examined: Examine, tmp_path: Path) -> None:
    """Without its last line end."""
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    found = asked(examined, f"{{client_id: me, client_secret: 'file:{secret}'}}")
    assert found.client_secret == "hunter2"


IS = "issuers.a.introspection"
NO_REFERENCE = "must be `${NAME}` or `file:PATH`, so that the secret itself is not in the file"
PLAINTEXT = (
    "would send tokens and the client's secret over http://, where anyone on the way can read "
    "them; use https:// or write `allow_plaintext: true`"
)
CASES = {
    "nobody asks": (
        "{}",
        [f"4:20: {IS}.client_id: is required with `auth: client_secret_basic`",
         f"4:20: {IS}.client_secret: is required with `auth: client_secret_basic`"],
    ),
    "client without use": (
        "{auth: none, client_id: me}",
        [f"4:44: {IS}.client_id: would not be used with `auth: none`"],
    ),
    "the secret itself": (
        "{client_id: me, client_secret: hunter2}", [f"4:51: {IS}.client_secret: {NO_REFERENCE}"]
    ),
    "part of a secret": (
        "{client_id: me, client_secret: 'hunter2${SECRET'}",
        [f"4:51: {IS}.client_secret: {NO_REFERENCE}"],
    ),
    "a secret that is a list": (
        "{client_id: me, client_secret: [hunter2]}", [f"4:51: {IS}.client_secret: {NO_REFERENCE}"]
    ),
    "empty secret": (
        "{client_id: me, client_secret: '${EMPTY}'}",
        [f"4:51: {IS}.client_secret: names a secret that is empty"],
    ),
    "secret with control characters": (
        "{client_id: me, client_secret: '${BELL}'}",
        [f"4:51: {IS}.client_secret: names a secret with control characters"],
    ),
    "endless secret": (
        "{client_id: me, client_secret: '${LONG}'}",
        [f"4:51: {IS}.client_secret: names a secret of over 4096 characters"],
    ),
    "secret that is not there": (
        "{client_id: me, client_secret: '${NONE}'}",
        [f"4:51: {IS}.client_secret: `${{NONE}}` names the environment variable NONE, which is "
         "not set"],
    ),
    "no such way": (
        "{auth: private_key_jwt}",
        [f"4:27: {IS}.auth: `private_key_jwt` is not supported by this version"],
    ),
    "no such tokens": (
        "{auth: none, for: jwts}",
        [f"4:38: {IS}.for: `jwts` is not one of opaque, jwt, all (did you mean `jwt`?)"],
    ),
    "too long a yes": (
        "{auth: none, cache: {positive: 2h}}",
        [f"4:51: {IS}.cache.positive: `2h` must be from 0s to 1h"],
    ),
    "no URL": ("{auth: none, url: ftp://x}", [f"4:38: {IS}.url: `ftp://x` "]),
    "plain http": ("{auth: none, url: 'http://a.example/i'}", [f"4:20: {IS}: {PLAINTEXT}"]),
}  # fmt: skip


@pytest.mark.parametrize(("written", "answers"), CASES.values(), ids=CASES)
def test_errors(examined: Examine, written: str, answers: list[str]) -> None:
    """Each mistake has its own line, and none holds a secret."""
    found = lines(examined(START + issuer(written), ENVIRON).errors)
    assert len(found) == len(answers)
    for line, answer in zip(found, answers, strict=True):
        assert line.startswith(answer)
        assert "hunter2" not in line


def test_plain_http_where_it_is_allowed(examined: Examine) -> None:
    """To loopback always, elsewhere where the issuer says so."""
    assert asked(examined, "{auth: none, url: 'http://127.0.0.1:4445/i'}").url
    more = ", allow_plaintext: true"
    assert asked(examined, "{auth: none, url: 'http://hydra:4445/i'}", more).url


def test_no_discovery_and_no_url(examined: Examine) -> None:
    """Nothing names the endpoint."""
    written = issuer("{auth: none}", more=", jwks_uri: 'https://a.example/keys'")
    assert lines(examined(START + written).errors) == [
        f"4:20: {IS}: needs a `url`: without discovery nothing else names the endpoint"
    ]


def test_two_issuers_of_opaque_tokens(examined: Examine) -> None:
    """An error that names both; with ``for: jwt`` in one of them all is well."""
    both = START + issuer("{auth: none}") + issuer("{auth: none, for: all}", "b")
    (line,) = lines(examined(both).errors)
    assert line.startswith(
        "6:20: issuers.b.introspection: asks about opaque tokens, as issuers.a.introspection at "
    )
    assert line.endswith(
        "sidecar.yaml:4:20 does, and such a token does not say whose it is; write `for: jwt` in "
        "all but one"
    )
    assert lines(examined(both.replace("for: all", "for: jwt")).errors) == []
