"""Rules that take tokens of some issuers, or for some audiences, on real sockets."""

from pathlib import Path

from sidecar.config.model import Allow, Demand, Require, Rule
from sidecar.testbed.token_mint import TokenMint
from tests.support.http import fetch
from tests.support.pod import AUDIENCE, pod, records

RULES = (
    Rule("partners", ("/partners/**",), Require(issuers=("other",))),
    Rule("orders", ("/orders/**",), Require(audiences=("orders", "billing"))),
    Rule(
        "both", ("/both",), Require(roles=Demand(("ADMIN",)), issuers=("shop",), audiences=("x",))
    ),
    Rule("tried", ("/tried",), Require(issuers=("other",), audiences=("orders",)), mode="observe"),
    Rule("rest", ("/**",), Allow.AUTHENTICATED),
)


async def test_a_rule_takes_tokens_of_its_issuers_alone(tmp_path: Path) -> None:
    """Others are trusted elsewhere; here a token of another issuer is 401 and says which."""
    other = TokenMint("https://other.example", audience=[AUDIENCE], algorithms=("ES256",))
    async with pod(tmp_path, rules=RULES, other_mint=other) as running:
        ours, theirs = running.mint.token("alice"), other.token("alice")
        inbound = running.bound.inbound
        assert (await fetch(inbound, "/partners/a", bearer=theirs)).status == 200
        assert (await fetch(inbound, "/a", bearer=ours)).status == 200
        answer = await fetch(inbound, "/partners/a", bearer=ours)
        assert (answer.status, answer.reason) == (401, "issuer_mismatch")
        assert 'error="invalid_token"' in answer.values("www-authenticate")[0]
        assert "other" not in answer.body.decode()
        assert len(running.app.received) == 2
    detail = records(running)[-1]["detail"]
    assert detail == "the rule takes tokens of [other]; this one is of shop"


async def test_the_audiences_of_a_rule_narrow_those_of_the_issuer(tmp_path: Path) -> None:
    """A token needs one of both; the issuer's own list is asked first."""
    async with pod(tmp_path, rules=RULES) as running:
        mint, inbound = running.mint, running.bound.inbound

        async def reason(path: str, aud: object) -> str:
            return (await fetch(inbound, path, bearer=mint.token("alice", aud=aud))).reason

        assert await reason("/orders/1", [AUDIENCE, "orders"]) == ""
        assert await reason("/orders/1", ["billing", AUDIENCE]) == ""
        assert await reason("/orders/1", AUDIENCE) == "audience_mismatch"
        assert await reason("/orders/1", "orders") == "audience_mismatch"
        assert await reason("/both", [AUDIENCE, "x"]) == ""
        assert await reason("/both", [AUDIENCE, "y"]) == "audience_mismatch"
    details = [each["detail"] for each in records(running) if "detail" in each]
    assert [each.startswith("the rule takes") for each in details] == [True, False, True]


async def test_an_observing_rule_counts_and_lets_through(tmp_path: Path) -> None:
    """Its issuers and audiences are rights of the rule; a token that nobody trusts stays out."""
    async with pod(tmp_path, rules=RULES) as running:
        inbound, mint = running.bound.inbound, running.mint
        assert (await fetch(inbound, "/tried", bearer=mint.token("alice"))).status == 200
        assert running.app.received[0].values("x-auth-subject") == ["alice"]
        foreign = mint.token("alice", iss="https://evil.example")
        answer = await fetch(inbound, "/tried", bearer=foreign)
        assert (answer.status, answer.reason) == (401, "issuer_mismatch")
        elsewhere = mint.token("alice", aud="orders")
        answer = await fetch(inbound, "/tried", bearer=elsewhere)
        assert (answer.status, answer.reason) == (401, "audience_mismatch")
        text = await running.metrics()
        assert (
            'sidecar_rejections_total{direction="inbound",enforced="false",'
            'reason="issuer_mismatch",route="tried"} 1.0' in text
        )
