import json
from pathlib import Path

import pytest

from sidecar.config.flags import Flags
from sidecar.config.load import examine, load
from sidecar.config.model import Address, Admin, Allow, Discovery, JwksFile, Origin, Rule
from sidecar.testbed.signing_key import SigningKey
from tests.config.cases import VALID_START

BASE = Flags(app="8080", issuer="https://a.example", audiences=("x",))


def problems(flags: Flags) -> list[str]:
    return [str(error) for error in examine([], flags=flags, environ={}).errors]


def test_shortest_form() -> None:
    """Three flags are a whole configuration, with the same defaults as a file."""
    config = load([], flags=BASE)
    assert config.inbound.app == Origin("http", "127.0.0.1", 8080)
    assert config.inbound.listen == Address("0.0.0.0", 15406)
    assert [rule.name for rule in config.inbound.rules] == ["everything"]
    [issuer] = config.issuers.values()
    assert issuer.audiences == ("x",)
    assert issuer.keys == Discovery("https://a.example/.well-known/openid-configuration")


def test_every_flag(tmp_path: Path) -> None:
    """Every flag arrives under its key."""
    keys = tmp_path / "keys.json"
    jwk = SigningKey.generate("ES256", kid="k").public_jwk()
    keys.write_text(json.dumps({"keys": [jwk]}))
    config = load(
        [],
        flags=Flags(
            app="http://localhost:1",
            issuer="https://a.example",
            audiences=("any",),
            jwks_file=str(keys),
            destinations=("2=http://profile-service.shop:80", "b:3=http://127.0.0.1:4"),
            listen="127.0.0.1:5",
            admin="6",
            control="c.sock",
            carrier="python",
            anyone_paths=("/healthz",),
            allow_plaintext=True,
        ),
    )
    assert config.issuers["default"].keys == JwksFile(str(keys))
    assert config.issuers["default"].audiences is None
    assert config.issuers["default"].allow_plaintext
    assert config.inbound.listen == Address("127.0.0.1", 5)
    assert config.admin == Admin(Address("0.0.0.0", 6), "c.sock")
    assert config.attribution.carrier == "python"
    assert config.inbound.rules == (
        Rule("/healthz", ("/healthz",), Allow.ANYONE),
        Rule("/**", ("/**",), Allow.AUTHENTICATED),
    )
    destinations = config.outbound.destinations
    assert {
        name: (each.listen.port, str(each.upstream)) for name, each in destinations.items()
    } == {
        "profile-service": (2, "http://profile-service.shop:80"),
        "b": (3, "http://127.0.0.1:4"),
    }


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            Flags(app="8080"),
            ["command line: issuers: no issuer is configured, but a rule asks for a token"],
        ),
        (
            Flags(issuer="https://a.example"),
            ["--issuer: issuers.default.audiences: is required"],
        ),
        (
            Flags(audiences=("x",)),
            ["--audience: issuers.default.issuer: is required"],
        ),
        (
            Flags(app="99999", issuer="https://a.example", audiences=("x",)),
            ["--app: inbound.app: `http://127.0.0.1:99999` must have a port from 1 to 65535"],
        ),
        (
            Flags(issuer="https://a.example", audiences=("x",), carrier="node"),
            ["--carrier: attribution.carrier: `node` is not supported by this version"],
        ),
        (
            Flags(issuer="https://a.example", audiences=("x",), destinations=("profile",)),
            [
                "--destination: `profile` is not [NAME:]PORT=URL, as in "
                "9001=http://profile-service or profiles:9001=http://127.0.0.1:8081"
            ],
        ),
        (
            Flags(
                issuer="https://a.example",
                audiences=("x",),
                destinations=("1=http://127.0.0.1:5", "b:2=http://b.example"),
            ),
            [
                "--destination: outbound.destinations.b.upstream: a credential would be sent over "
                "http:// beyond loopback; use https:// or write `allow_plaintext: true`"
            ],
        ),
        (
            Flags(
                issuer="https://a.example",
                audiences=("x",),
                destinations=("a:1=http://127.0.0.1:5", "a:2=http://127.0.0.1:6"),
            ),
            [
                "--destination: outbound.destinations.a: is given twice; tell them apart with "
                "NAME:PORT=URL"
            ],
        ),
    ],
)
def test_problems_name_the_flag(flags: Flags, expected: list[str]) -> None:
    """A wrong flag is answered like a wrong key, with the flag as its place."""
    assert problems(flags) == expected


def test_flags_add_to_files(tmp_path: Path) -> None:
    """A flag completes a file, and may not contradict it."""
    path = tmp_path / "sidecar.yaml"
    path.write_text(VALID_START + "admin: {listen: '127.0.0.1:1'}\n")
    assert load([str(path)], flags=Flags(app="7")).inbound.app.port == 7
    assert [str(error) for error in examine([str(path)], flags=Flags(admin="2")).errors] == [
        f"--admin: admin.listen: is given twice; the first is at {path}:3:9"
    ]


def test_everything_open_needs_no_issuer() -> None:
    """``--allow-anyone '/**'`` leaves no rule that could ask for a token."""
    config = load([], flags=Flags(app="1", anyone_paths=("/**",)))
    assert [rule.access for rule in config.inbound.rules] == [Allow.ANYONE]


def test_destinations_without_a_name() -> None:
    """An address has no name to take over, so the port names the destination."""
    flags = Flags(
        app="1",
        anyone_paths=("/**",),
        destinations=("2=http://127.0.0.1:5", "3=http://localhost:6", "4=http://[::1]:7"),
    )
    assert list(load([], flags=flags).outbound.destinations) == ["port-2", "port-3", "port-4"]
