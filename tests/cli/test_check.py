import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support.certificates import Authority

GOOD = """\
version: 1
issuers: {shop: {issuer: "https://idp.example", audiences: any, profile: keycloak}}
inbound:
  rules:
    - {paths: [/healthz], methods: [GET], allow: anyone}
    - {paths: [/a], require: {scopes: [s, t], roles: {any: [A, B]}}, mode: observe}
    - {paths: [/b], require: {client_roles: {my.app: [C]}}}
    - {paths: [/**], require: authenticated}
outbound:
  proxy: 127.0.0.1:15401
  destinations:
    profiles: {listen: "127.0.0.1:9001", upstream: "http://127.0.0.1:8081"}
"""
BAD = "version: 1\nissuer: {}\nlog: {level: loud}\n"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    return tmp_path


@pytest.mark.usefixtures("written")
def test_usable(sidecar: Run) -> None:
    """A usable file is answered with its warnings and with what it would do."""
    done = sidecar("check", "--config", "good.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "good.yaml:2:60: warning: issuers.shop.audiences: `any` accepts a token that was issued "
        "for any other service",
        "The configuration is usable. It would",
        "  listen on 0.0.0.0:15406 for callers, in front of http://127.0.0.1:8080 (enforce)",
        "  listen on 0.0.0.0:15490 for metrics and probes",
        "  listen on 127.0.0.1:15401 as forward proxy (forward what is unlisted)",
        "  issuer shop: https://idp.example for any audience, keys from discovery at "
        "https://idp.example/.well-known/openid-configuration",
        "  rule GET /healthz: GET on /healthz: anyone",
        "  rule /a: any method on /a: scopes s and t and roles A or B (observe)",
        "  rule /b: any method on /b: roles C of my.app",
        "  rule /**: any method on /**: a valid token",
        "  destination profiles: 127.0.0.1:9001 -> http://127.0.0.1:8081, token relay, "
        "assurance strict",
    ]


def test_tokens_of_destinations(sidecar: Run, tmp_path: Path) -> None:
    """Who asks, for whom, and which parts get something else."""
    (tmp_path / "tokens.yaml").write_text(
        "version: 1\n"
        "issuers: {shop: {issuer: 'https://idp.example', audiences: [us]}}\n"
        "clients:\n"
        "  idp: {issuer: shop, client_id: us, auth: none}\n"
        "outbound:\n  destinations:\n    d:\n"
        "      listen: 127.0.0.1:9001\n      upstream: https://d.example\n"
        "      token: exchange\n      token_request: {client: idp, audience: [d, e]}\n"
        "      rules:\n"
        "        - {paths: [/a, /b/**], methods: [GET], token: none}\n"
        "        - {paths: [/c], token: client_credentials, token_request: {client: idp}}\n"
    )
    done = sidecar("check", "--config", "tokens.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-2:] == [
        "  client idp: us at the token endpoint of issuer shop, none",
        "  destination d: 127.0.0.1:9001 -> https://d.example:443, token exchange by client idp "
        "for d, e, assurance strict; GET on /a, /b/**: token none; /c: token client_credentials "
        "by client idp",
    ]


@pytest.mark.parametrize(
    ("asked", "shown"),
    [("opaque", "opaque tokens"), ("jwt", "its JWTs"), ("all", "opaque tokens and its JWTs")],
)
def test_introspection(sidecar: Run, tmp_path: Path, asked: str, shown: str) -> None:
    """Which tokens an issuer is asked about is in its line."""
    (tmp_path / "asked.yaml").write_text(
        GOOD.replace(
            "audiences: any", f"audiences: any, introspection: {{auth: none, for: {asked}}}"
        )
    )
    done = sidecar("check", "--config", "asked.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("  issuer shop"))
    assert line.endswith(f"/.well-known/openid-configuration, asked about {shown}")


def test_tls(sidecar: Run, tmp_path: Path) -> None:
    """Files of TLS are looked into, and the summary says who must show what."""
    authority = Authority()
    authority.write(tmp_path)
    authority.issue("a.test").write(tmp_path)
    (tmp_path / "tls.yaml").write_text(
        GOOD.replace(
            "inbound:\n",
            "inbound:\n  tls: {certificate: tls.crt, key: tls.key, client_ca: ca.crt}\n",
        )
    )
    done = sidecar("check", "--config", "tls.yaml")
    assert done.returncode == 0
    assert (
        "  listen on 0.0.0.0:15406 for callers over TLS, client certificate required, in front of "
        "http://127.0.0.1:8080 (enforce)"
    ) in done.stdout.splitlines()
    authority.issue("a.test").write(tmp_path, "other")
    (tmp_path / "other.key").rename(tmp_path / "tls.key")
    done = sidecar("check", "--config", "tls.yaml")
    assert done.returncode == 1
    assert "inbound.tls.key: does not fit the certificate" in done.stdout


def test_token_sources(sidecar: Run, tmp_path: Path) -> None:
    """Where the token is looked for is said unless it is Authorization alone, as in most files."""
    sources = "[authorization, {cookie: t}, {websocket_protocol_after: bearer}, {query: t}]"
    require = "require: {roles: [A], issuers: [shop], audiences: [a, b]}"
    text = GOOD.replace("inbound:\n", f"inbound:\n  token_sources: {sources}\n")
    (tmp_path / "tokens.yaml").write_text(text.replace("require: authenticated", require))
    done = sidecar("check", "--config", "tokens.yaml")
    assert done.returncode == 0
    said = done.stdout.splitlines()
    assert (
        "  look for the token in Authorization or the cookie t or the WebSocket subprotocol after "
        "bearer or the query parameter t"
    ) in said
    assert (
        "  rule /**: any method on /**: roles A and a token of shop and a token for a or b" in said
    )
    assert [line for line in said if "warning: inbound.token_sources[3]: lets tokens come" in line]


@pytest.mark.usefixtures("written")
def test_not_usable(sidecar: Run) -> None:
    """A file with problems is exit code 1 and one line for each."""
    done = sidecar("check", "--config", "bad.yaml")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        "bad.yaml:2:1: issuer: unknown key (did you mean `issuers`?)",
        "bad.yaml:3:14: log.level: `loud` is not one of debug, info, warning, error",
        "2 problems found",
    ]


@pytest.mark.usefixtures("written")
def test_json(sidecar: Run) -> None:
    """For programs the same findings are JSON, warnings marked as such."""
    good = sidecar("check", "--config", "good.yaml", "--output", "json")
    bad = sidecar("check", "--config", "bad.yaml", "--output", "json")
    assert (good.returncode, bad.returncode) == (0, 1)
    [warning] = json.loads(good.stdout)["problems"]
    assert (json.loads(good.stdout)["usable"], warning["severity"]) == (True, "warning")
    report = json.loads(bad.stdout)
    assert report["usable"] is False
    assert report["problems"][0] == {
        "file": "bad.yaml",
        "line": 2,
        "column": 1,
        "path": "issuer",
        "message": "unknown key",
        "suggestion": "issuers",
        "severity": "error",
    }


@pytest.mark.usefixtures("written")
def test_several_files(sidecar: Run) -> None:
    """Files merge, and a contradiction names both places."""
    done = sidecar("check", "-c", "good.yaml", "-c", "good.yaml")
    assert done.returncode == 1
    expected = "good.yaml:4:3: inbound.rules: is given twice; the first is at good.yaml:4:3"
    assert expected in done.stdout.splitlines()


def test_no_file(sidecar: Run) -> None:
    """A file that is not there is a finding, not a usage error."""
    done = sidecar("check", "--config", "absent.yaml")
    assert done.returncode == 1
    assert done.stdout == (
        "absent.yaml: cannot be read: No such file or directory\n1 problem found\n"
    )


def test_many_rules_are_counted(sidecar: Run, tmp_path: Path) -> None:
    """The summary stays short however long the file is."""
    rules = "".join(f"    - {{paths: [/r{n}], allow: anyone}}\n" for n in range(100))
    (tmp_path / "many.yaml").write_text(f"version: 1\ninbound:\n  rules:\n{rules}")
    done = sidecar("check", "--config", "many.yaml")
    assert done.returncode == 0
    assert done.stdout.count("\n  rule ") == 20
    assert "  and 80 more rules\n" in done.stdout


def test_transaction_tokens(sidecar: Run, tmp_path: Path) -> None:
    """Whose are looked at, and where they go."""
    file = tmp_path / "sidecar.yaml"
    file.write_text(
        "version: 1\n"
        "issuers:\n"
        "  a: {issuer: 'https://a.example', audiences: [d]}\n"
        "  tts: {issuer: 'https://t.example', audiences: [x], profile: transaction_token}\n"
        "inbound: {transaction_tokens: {issuer: tts, require: true}}\n"
        "clients: {c: {client_id: me, auth: none, token_endpoint: 'https://t.example/token'}}\n"
        "outbound:\n  destinations:\n"
        "    p: {listen: 127.0.0.1:9001, upstream: 'https://p.example', audiences: [d],\n"
        "        transaction_token: pass}\n"
        "    q: {listen: 127.0.0.1:9002, upstream: 'https://q.example', token: none,\n"
        "        transaction_token: request,\n"
        "        transaction_request: {client: c, audience: [x], scopes: [y]}}\n"
    )
    shown = sidecar("check", "--config", str(file)).stdout
    assert "  demand transaction tokens of issuer tts\n" in shown
    assert "token relay, transaction token passed on, assurance" in shown
    assert "token none, transaction token by client c for x, assurance" in shown
