"""What docs/explain.md and README.md show is what the commands print."""

import json
import re
import subprocess
from pathlib import Path

from sidecar.config.model import Demand, Require, Rule
from sidecar.testbed.token_mint import TokenMint
from tests.cli.conftest import command, environment
from tests.explain.test_running import bearer, explain
from tests.support.http import fetch
from tests.support.pod import pod

ROOT = Path(__file__).parents[2]
RULES = (
    Rule("admin", ("/admin/**",), Require(roles=Demand(("ADMIN",)))),
    Rule("orders", ("/orders/**",), Require(scopes=Demand(("orders.read",))), ("GET",)),
)


def same(text: str) -> str:
    """Return *text* without line breaks and without what differs each time."""
    text = re.sub(r"\s+", " ", text)
    for pattern, instead in (
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
        (r"token [0-9a-f]{16}", "token HASH"),
        (r"decision [0-9a-z]{16}", "decision ID"),
        (r"explain [0-9a-z]{16}", "explain ID"),
        (r"key [\w-]+\b", "key KID"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"(\d+ (s|min|h|d) ?)+", "SPAN "),
    ):
        text = re.sub(pattern, instead, text)
    return text


def blocks(page: str) -> list[str]:
    """Return the blocks of a page that show a command, in their order."""
    found = re.findall(r"^```\n(\$ .*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [str(block) for block in found if "sidecar explain" in block.splitlines()[0]]


def is_shown(output: str, page: str) -> bool:
    """Tell whether *output* stands in *page*, below some command."""
    return same(output).strip() in [
        same(block.partition("\n")[2]).strip() for block in blocks(page)
    ]


async def test_refusals_of_a_running_sidecar(tmp_path: Path) -> None:
    """A role that is there for one client alone; a call that names no request."""
    async with pod(tmp_path, rules=RULES, control=tmp_path / "c.sock") as running:
        token = running.mint.token(
            "alice",
            realm_access={"roles": ["USER"]},
            resource_access={"web-shop": {"roles": ["ADMIN"]}},
        )
        target = "/admin/users?page=2"
        answer = await fetch(running.bound.inbound, target, fields=bearer(token))
        (decision,) = answer.values("x-sidecar-decision")
        _, first, _ = await explain(running, decision)
        await running.call_out(None)
        _, second, _ = await explain(running, "--last", "--reason", "attribution_missing")
    assert is_shown(first, "docs/explain.md"), first
    assert is_shown(first, "README.md"), first
    assert is_shown(second, "docs/explain.md"), second


def test_offline(tmp_path: Path) -> None:
    """A token for a service whose name is nearly ours."""
    mint = TokenMint("https://keycloak.example/realms/shop", audience=["order"])
    (tmp_path / "jwks.json").write_text(json.dumps(mint.jwks()))
    (tmp_path / "sidecar.yaml").write_text(
        "version: 1\n"
        "issuers:\n"
        "  shop: {issuer: https://keycloak.example/realms/shop, audiences: [orders],\n"
        "    jwks_file: jwks.json}\n"
        "inbound:\n"
        "  rules: [{name: orders, paths: [/orders/**], require: authenticated}]\n"
    )
    (tmp_path / "token.txt").write_text(mint.token("alice"))
    done = subprocess.run(
        command(["explain", "--token", "token.txt", "--path", "/orders/7", "-c", "sidecar.yaml"]),
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert is_shown(done.stdout, "docs/explain.md"), done.stdout


def test_the_page_shows_what_is_tested() -> None:
    """No further session stands there unchecked."""
    assert len(blocks("docs/explain.md")) == 3
    assert len(blocks("README.md")) == 1
