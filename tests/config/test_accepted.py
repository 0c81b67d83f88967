import json
from pathlib import Path

import pytest

from sidecar.config.load import load
from sidecar.config.model import (
    Address,
    Admin,
    Allow,
    Attribution,
    Config,
    Demand,
    Destination,
    Discovery,
    Hygiene,
    Inbound,
    Issuer,
    JwksFile,
    JwksUri,
    Limits,
    Log,
    Origin,
    Require,
    Rule,
    TokenCache,
)
from sidecar.testbed.signing_key import SigningKey
from tests.config.cases import VALID_START, lines
from tests.config.conftest import Examine
from tests.config.examples import FULL


def accepted(examined: Examine, text: str, environ: dict[str, str] | None = None) -> Config:
    found = examined(text, environ)
    assert lines(found.errors) == []
    assert found.config is not None
    return found.config


def test_full_example(examined: Examine) -> None:
    """Every part of the design's example arrives where the program looks for it."""
    config = accepted(examined, FULL)
    assert config.issuers == {
        "shop": Issuer(
            name="shop",
            issuer="https://keycloak.example/realms/shop",
            audiences=("profile-service",),
            keys=Discovery("https://keycloak.example/realms/shop/.well-known/openid-configuration"),
            algorithms=("RS256", "ES256", "EdDSA"),
            profile="keycloak",
        )
    }
    assert config.inbound == Inbound(
        listen=Address("0.0.0.0", 15406),
        app=Origin("http", "127.0.0.1", 8080),
        rules=(
            Rule("health", ("/healthz",), Allow.ANYONE, ("GET",)),
            Rule("/admin/**", ("/admin/**",), Require(roles=Demand(("ADMIN",)))),
            Rule("/**", ("/**",), Require(scopes=Demand(("profile.read",)))),
        ),
    )
    assert config.outbound.destinations == {
        "profile-service": Destination(
            name="profile-service",
            listen=Address("127.0.0.1", 9001),
            upstream=Origin("http", "profile-service.shop.svc", 8080),
            hosts=("profile-service", "profile-service.shop.svc.cluster.local"),
            allow_plaintext=True,
        )
    }
    assert config.outbound.proxy == Address("127.0.0.1", 15401)
    assert (config.outbound.unlisted, config.outbound.connect_ports) == ("forward", (443,))
    assert config.attribution == Attribution()
    assert config.admin == Admin(Address("0.0.0.0", 15490), "/run/sidecar/control.sock")


def test_defaults(examined: Examine) -> None:
    """What is not written has the model's defaults; every path then needs a token."""
    config = accepted(examined, VALID_START)
    assert config.inbound == Inbound(
        listen=Address("0.0.0.0", 15406),
        app=Origin("http", "127.0.0.1", 8080),
        rules=(Rule("everything", ("/**",), Allow.AUTHENTICATED),),
    )
    assert config.admin == Admin(Address("0.0.0.0", 15490), control=None)
    assert config.outbound.destinations == {}
    assert (config.log, config.token_cache) == (Log(), TokenCache())
    assert config.drain_timeout_seconds == 25


def test_no_issuer_needed(examined: Examine) -> None:
    """Where every rule allows anyone there is nothing to verify."""
    text = "version: 1\ninbound: {rules: [{paths: [/**], allow: anyone}]}\n"
    assert accepted(examined, text).issuers == {}


def test_every_limit(examined: Examine) -> None:
    """Limits are written with units and kept in bytes and seconds."""
    text = """\
inbound:
  max_token: 1KiB
  limits:
    {max_head: 64KiB, max_fields: 10, max_target: 1KiB, max_body: 1GiB, max_connections: 5,
     max_upstream_connections: 6, header_timeout: 250ms, idle_timeout: 2m, body_timeout: 3s,
     min_body_rate: 0B, connect_timeout: 20ms, response_timeout: 1h, upstream_idle_timeout: 1s}
"""
    inbound = accepted(examined, VALID_START + text).inbound
    assert inbound.max_token_bytes == 1024
    assert inbound.limits == Limits(
        max_head_bytes=65536,
        max_fields=10,
        max_target_bytes=1024,
        max_body_bytes=1 << 30,
        max_connections=5,
        max_upstream_connections=6,
        header_timeout_seconds=0.25,
        idle_timeout_seconds=120,
        body_timeout_seconds=3,
        min_body_bytes_per_second=0,
        connect_timeout_seconds=0.02,
        response_timeout_seconds=3600,
        upstream_idle_timeout_seconds=1,
    )


def test_rule_names_are_unique(examined: Examine) -> None:
    """A rule without a name gets one from its first method and path, numbered when taken."""
    text = """\
inbound:
  rules:
    - {paths: [/a, /b], methods: [GET, PUT], require: {roles: [r]}}
    - {paths: [/a, /c], methods: [GET], require: {scopes: {any: [s, t]}}}
    - {paths: [/a], require: authenticated}
    - {name: GET /a (2), paths: [/d], allow: anyone}
"""
    rules = accepted(examined, VALID_START + text).inbound.rules
    assert [rule.name for rule in rules] == ["GET /a", "GET /a (3)", "/a", "GET /a (2)"]
    assert rules[1].access == Require(scopes=Demand(("s", "t"), "any"))


def test_what_an_issuers_tokens_look_like(examined: Examine) -> None:
    """Types are normalised, claim paths taken apart, and a SPIFFE trust domain is an issuer."""
    text = """\
version: 1
issuers:
  a:
    issuer: https://a.example
    audiences: [x]
    profile: keycloak
    algorithms: [Ed25519, EdDSA]
    token_types: [AT+JWT, application/jwt, absent]
    roles_from: [realm_access.roles, 'resource_access."my.client".roles']
    scopes_from: [scp]
    required_claims: [azp]
    hygiene: {max_lifetime: 1h, max_size: 4KiB, unwanted_claims: [email]}
  b:
    issuer: spiffe://prod.example
    audiences: [x]
    profile: spiffe
    jwks_uri: https://bundle.example
"""
    issuers = accepted(examined, text).issuers
    assert issuers["a"] == Issuer(
        "a",
        "https://a.example",
        ("x",),
        Discovery("https://a.example/.well-known/openid-configuration"),
        algorithms=("Ed25519", "EdDSA"),
        profile="keycloak",
        token_types=("at+jwt", "jwt", "absent"),
        roles_from=(("realm_access", "roles"), ("resource_access", "my.client", "roles")),
        scopes_from=(("scp",),),
        required_claims=("azp",),
        hygiene=Hygiene(3600, 4096, ("email",)),
    )
    assert issuers["b"].issuer == "spiffe://prod.example"


def test_roles_of_clients(examined: Examine) -> None:
    """A rule may ask for roles of clients, whose ids may hold dots."""
    text = """\
version: 1
issuers: {a: {issuer: "https://a.example", audiences: [x], profile: keycloak}}
inbound:
  rules:
    - paths: [/a]
      require: {client_roles: {my.app: [r], orders: {any: [s, t]}}}
"""
    [rule] = accepted(examined, text).inbound.rules
    assert rule.access == Require(
        client_roles=(("my.app", Demand(("r",))), ("orders", Demand(("s", "t"), "any")))
    )


def test_plain_off_where_it_is_a_word(examined: Examine) -> None:
    """``off`` needs no quotes where it is one of the words to choose from."""
    text = "log: {access: off}\nadmin: {control: off}\nattribution: {exclusive: off}\n"
    assert accepted(examined, VALID_START + text).log.access == "off"


def test_plaintext_that_stays_here(examined: Examine) -> None:
    """Loopback needs no encryption, for keys and for credentials."""
    text = """\
version: 1
issuers:
  a: {issuer: "http://127.0.0.1:8000", audiences: [x]}
  b: {issuer: "http://[::1]:8000", audiences: [x]}
  c: {issuer: "http://localhost:8000/", audiences: [x]}
outbound:
  destinations:
    d: {listen: "127.0.0.1:1", upstream: "http://localhost:2"}
    e: {listen: "[::1]:1", upstream: "http://e.example", token: none}
"""
    config = accepted(examined, text)
    assert config.issuers["c"].keys == Discovery(
        "http://localhost:8000/.well-known/openid-configuration"
    )
    assert config.outbound.destinations["e"].listen == Address("::1", 1)


def test_plaintext_that_is_allowed(examined: Examine) -> None:
    """``allow_plaintext`` is said once, where it applies."""
    text = """\
version: 1
issuers: {a: {issuer: "http://a.example", audiences: any, allow_plaintext: true}}
outbound:
  destinations: {d: {listen: "127.0.0.1:1", upstream: "http://d", allow_plaintext: true}}
"""
    config = accepted(examined, text)
    assert config.issuers["a"].audiences is None
    assert config.outbound.destinations["d"].upstream == Origin("http", "d", 80)


def test_an_issuer_that_is_only_a_name(examined: Examine) -> None:
    """``issuer`` is not fetched where the keys come from elsewhere, so it may be http://."""
    text = (
        "version: 1\nissuers: {a: {issuer: 'http://a.example', audiences: [x], "
        "jwks_uri: 'https://keys.example/a?v=1'}}\n"
    )
    assert accepted(examined, text).issuers["a"].keys == JwksUri("https://keys.example/a?v=1")


def test_keys_from_a_file(examined: Examine, tmp_path: Path) -> None:
    """A relative key file is looked for beside the configuration."""
    jwk = SigningKey.generate("ES256", kid="k").public_jwk()
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [jwk]}))
    text = (
        "version: 1\n"
        "issuers: {a: {issuer: 'https://a.example', audiences: [x], jwks_file: keys.json}}\n"
    )
    keys = accepted(examined, text).issuers["a"].keys
    assert keys == JwksFile(str(tmp_path / "keys.json"))


def test_references(examined: Examine, tmp_path: Path) -> None:
    """Strings may refer to the environment and to files; ``$${`` stands for itself."""
    (tmp_path / "audience").write_text("from a file\n")
    text = (
        "version: 1\nissuers: {a: {issuer: '${SCHEME}://${HOST}/x', "
        "audiences: ['file:audience', '$${LITERAL}', '${NESTED}']}}\ndrain_timeout: ${GRACE}\n"
    )
    environ = {
        "SCHEME": "https",
        "HOST": "a.example",
        "GRACE": "5s",
        "NESTED": "${HOST}",
    }
    config = accepted(examined, text, environ)
    assert config.issuers["a"].issuer == "https://a.example/x"
    assert config.issuers["a"].audiences == ("from a file", "${LITERAL}", "${HOST}")
    assert config.drain_timeout_seconds == 5


@pytest.mark.parametrize(
    "text",
    [
        "drain_timeout: ${SECRET}",
        "log: {level: '${SECRET}'}",
        "log: {level: '${NEARLY}'}",
        "admin: {listen: '${SECRET}'}",
        "admin: {listen: '${PORT}'}",
        "inbound: {app: '${SECRET}'}",
        "inbound: {app: '${UPPER}'}",
        "inbound: {rules: [{paths: ['${SECRET}'], allow: anyone}]}",
        "outbound: {destinations: {d: {listen: '127.0.0.1:1', upstream: '${UPPER}'}}}",
        "outbound: {destinations: {d: {listen: '${OPEN}', upstream: 'http://localhost:1'}}}",
        "issuers: {b: {issuer: '${UPPER}', audiences: '${SECRET}'}}",
        "attribution: {max_calls: '${SECRET}'}",
    ],
)
def test_referenced_secrets_stay_secret(text: str, examined: Examine) -> None:
    """A problem quotes the reference and nothing of what it stands for."""
    environ = {
        "SECRET": "hunter2-s3cret",
        "NEARLY": "inffo",
        "PORT": "31337",
        "UPPER": "http://Hunter2.S3cret.example",
        "OPEN": "0.0.0.0:31337",
    }
    found = examined("version: 1\n" + text + "\n", environ)
    assert found.errors
    shown = "\n".join(map(str, (*found.errors, *found.warnings)))
    for secret in ("hunter2", "s3cret", "inffo", "`info`", "31337"):
        assert secret not in shown.lower()


def test_passwords_in_urls_stay_secret(examined: Examine) -> None:
    """A URL with user information is refused without being repeated."""
    text = "version: 1\nissuers: {a: {issuer: 'https://me:hunter2@a.example', audiences: [x]}}\n"
    assert lines(examined(text).errors) == [
        "2:23: issuers.a.issuer: the value must not hold a user name or password"
    ]


def test_load_returns_the_configuration(tmp_path: Path) -> None:
    """``load`` is the whole way from a path to a configuration."""
    path = tmp_path / "sidecar.yaml"
    path.write_text(FULL)
    assert list(load([str(path)]).issuers) == ["shop"]
