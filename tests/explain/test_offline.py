"""``sidecar explain --token``: what a file would decide, judged by the real checks."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from sidecar.testbed.token_mint import TokenMint
from tests.cli.conftest import Run, sidecar

__all__ = ["sidecar"]

ISSUER = "https://issuer.example"
CONFIG = """\
version: 1
issuers:
  shop: {{issuer: "{issuer}", audiences: [orders], {keys}, profile: keycloak}}
inbound:
  rules:
    - {{name: health, paths: [/healthz], methods: [GET], allow: anyone}}
    - {{name: admin, paths: [/admin/**], require: {{roles: [ADMIN]}}}}
    - {{name: rest, paths: [/orders/**], require: authenticated}}
explain: {{redact: [email]}}
"""
MINT = TokenMint(ISSUER, audience=["orders"], algorithms=("ES256",))


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "jwks.json").write_text(json.dumps(MINT.jwks()))
    path = tmp_path / "sidecar.yaml"
    path.write_text(CONFIG.format(issuer=ISSUER, keys="jwks_file: jwks.json"))
    return str(path)


def judged(
    run: Run, config: str, token: str | None, path: str, *more: str
) -> tuple[int, dict[str, dict[str, str]], str]:
    """Return the exit code, the steps by name, and everything that was printed."""
    given = [] if token is None else ["--token", "-"]
    done = run("explain", *given, "--path", path, "-c", config, "-o", "json", *more, input=token)
    assert done.stderr == ""
    steps = {each["step"]: each for each in json.loads(done.stdout)["steps"]}
    return done.returncode, steps, done.stdout


def test_allowed(sidecar: Run, config: str) -> None:
    """Every step passes, and the token is not printed."""
    token = MINT.token("alice")
    status, steps, printed = judged(
        sidecar, config, f"Authorization: Bearer {token}\n", "/orders/7"
    )
    assert status == 0
    assert steps["signature"]["outcome"] == steps["rights"]["outcome"] == "ok"
    assert steps["forward"]["outcome"] == "skipped"
    assert not any(part in printed for part in token.split("."))


@pytest.mark.parametrize(
    ("claims", "path", "step", "note"),
    [
        ({"aud": "order"}, "/orders/7", "audience", 'aud is "order", expected "orders"'),
        ({"exp": 1_700_000_000}, "/orders/7", "times", "expired"),
        ({"iss": f"{ISSUER}/"}, "/orders/7", "issuer", "a slash at the end"),
        ({"realm_access": {"roles": ["ROLE_ADMIN"]}}, "/admin", "rights", 'role is "ROLE_ADMIN"'),
        ({}, "/elsewhere", "rule", "no rule matches"),
        ({}, "/orders/%2e%2e/admin", "path", "dot segment"),
    ],
)
def test_refused(
    sidecar: Run, config: str, claims: dict[str, Any], path: str, step: str, note: str
) -> None:
    """The step that ends it says why, and what is near; exit code 1."""
    token = MINT.token("a", algorithm="", **claims)
    status, steps, _ = judged(sidecar, config, token, path)
    assert status == 1
    assert [name for name, each in steps.items() if each["outcome"] == "refused"] == [step]
    assert note in steps[step]["note"]


def test_another_signature(sidecar: Run, config: str) -> None:
    """The signature is really checked."""
    status, steps, _ = judged(sidecar, config, MINT.forged("a"), "/orders/7")
    assert (status, steps["signature"]["outcome"]) == (1, "refused")


def test_without_keys(sidecar: Run, tmp_path: Path) -> None:
    """Where keys would be fetched and may not be, that is said; nothing is asked."""
    path = tmp_path / "sidecar.yaml"
    path.write_text(CONFIG.format(issuer=ISSUER, keys="jwks_uri: 'http://127.0.0.1:9/k'"))
    status, steps, _ = judged(sidecar, str(path), MINT.token("a"), "/orders/7", "--offline")
    assert status == 1
    assert "--offline forbids" in steps["signature"]["note"]
    status, steps, _ = judged(sidecar, str(path), MINT.token("a"), "/orders/7")
    assert "127.0.0.1:9" in steps["signature"]["note"]


def test_claims_alone(sidecar: Run, config: str, tmp_path: Path) -> None:
    """Claims without a signature are judged by the rest; what is named is hidden."""
    claims = tmp_path / "claims.json"
    said = {
        "iss": ISSUER, "aud": "orders", "sub": "alice", "exp": int(time.time()) + 60,
        "email": "alice@example.org",
    }  # fmt: skip
    claims.write_text(json.dumps(said))
    status, steps, printed = judged(sidecar, config, None, "/orders/7", "--claims", str(claims))
    assert (status, steps["signature"]["outcome"]) == (0, "skipped")
    assert "alice@example.org" not in printed
    status, steps, _ = judged(sidecar, config, None, "/admin/x", "--claims", str(claims))
    assert (status, steps["rights"]["outcome"]) == (1, "refused")


def test_without_a_token(sidecar: Run, config: str) -> None:
    """Only what lets anyone in does without one."""
    assert judged(sidecar, config, None, "/healthz")[0] == 0
    status, steps, _ = judged(sidecar, config, None, "/orders/7")
    assert (status, steps["token"]["outcome"]) == (1, "refused")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--token", "-"], "which request? Give --path"),
        (["--path", "/x"], "give --config FILE"),
        (["--path", "x", "-c", "f"], "from its first slash on"),
        (["--path", "/x", "--last"], "ask no running sidecar"),
        (["--path", "/x", "-c", "f", "--token", "/absent"], "/absent: No such file"),
        (["--path", "/x", "-c", "f", "--token", "-", "--claims", "g"], "--token or --claims"),
        (["abc", "--last"], "give an id, or"),
        ([], "which sidecar?"),
    ],
)
def test_wrong_usage(sidecar: Run, arguments: list[str], message: str) -> None:
    """Each mistake has a sentence, and exit code 2."""
    done = sidecar("explain", *arguments, input="")
    assert done.returncode == 2
    assert message in done.stderr
