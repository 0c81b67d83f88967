"""What an issuer's profile changes, against a running sidecar."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.model import Demand, Hygiene, JwksFile, Require, Rule
from sidecar.testbed.token_mint import ABSENT, TokenMint
from tests.core.signing import jwk, private_key, sign
from tests.support.http import fetch
from tests.support.pod import AUDIENCE, ISSUER, pod, records, soon

ORDERS = Rule("orders", ("/orders",), Require(client_roles=(("my.orders", Demand(("admin",))),)))


async def test_a_rule_may_ask_for_roles_of_a_client(tmp_path: Path) -> None:
    """The client's own role opens the route; the realm's role of that name, or another's, not."""
    async with pod(tmp_path, rules=(ORDERS,)) as running:
        answers = {}
        held: dict[str, dict[str, Any]] = {
            "held": {"resource_access": {"my.orders": {"roles": ["admin"]}}},
            "another's": {"resource_access": {"billing": {"roles": ["admin"]}}},
            "the realm's": {"realm_access": {"roles": ["admin"]}},
        }
        for who, claims in held.items():
            token = running.mint.token("bob", **claims)
            answer = await fetch(running.bound.inbound, "/orders", bearer=token)
            answers[who] = answer.status, answer.reason
        refused = (403, "role_missing")
        assert answers == {"held": (200, ""), "another's": refused, "the realm's": refused}
        assert running.app.received[0].values("x-auth-roles") == ["USER"]
    assert "of the client my.orders" in records(running)[1]["detail"]


async def test_roles_and_scopes_from_where_the_operator_says(tmp_path: Path) -> None:
    """The app is told the roles of all configured places, and a type of the operator's passes."""
    issuer = {
        "roles_from": (("realm_access", "roles"), ("resource_access", "my.orders", "roles")),
        "scopes_from": (("granted",),),
        "required_claims": ("azp",),
    }
    async with pod(tmp_path, issuer=issuer) as running:
        token = running.mint.token(
            "bob", granted="x", azp="web", resource_access={"my.orders": {"roles": ["admin"]}}
        )
        assert (await fetch(running.bound.inbound, "/users/bob", bearer=token)).status == 200
        [seen] = running.app.received
        assert seen.values("x-auth-roles") == ["USER,admin"]
        assert seen.values("x-auth-scopes") == ["x"]
        token = running.mint.token("bob", azp=ABSENT)
        answer = await fetch(running.bound.inbound, "/users/bob", bearer=token)
        assert answer.reason == "claim_missing"


async def test_the_log_says_what_to_do_and_the_caller_is_told_the_reason_alone(
    tmp_path: Path,
) -> None:
    """A default Keycloak realm's first tokens: wrong audience, wrong URL, no sub."""
    realm = "http://127.0.0.1:8080/realms/shop"
    mint = TokenMint(realm, audience=["account"], algorithms=("ES256",))
    async with pod(tmp_path, mint=mint) as running:
        tokens = {
            "audience_mismatch": mint.token("alice"),
            "issuer_mismatch": mint.token("alice", iss=realm.replace("127.0.0.1", "keycloak")),
            "claim_missing": mint.token("alice", sub=ABSENT),
        }
        for reason, token in tokens.items():
            answer = await fetch(running.bound.inbound, "/users/alice", bearer=token)
            assert (answer.status, answer.reason) == (401, reason)
            assert "detail" not in json.loads(answer.body)
            assert "account" not in answer.body.decode()
    details = [record["detail"] for record in records(running)]
    assert "[account]; this service accepts [user-service]; an audience mapper" in details[0]
    assert "discovery_url" in details[1]
    assert "client scope basic" in details[2]


async def test_unwise_tokens_are_counted_once_each_and_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten requests with one token are one finding; the warning quotes nothing of the token."""
    hygiene = Hygiene(max_lifetime_seconds=60, max_size_bytes=64, unwanted_claims=("email",))
    async with pod(tmp_path, issuer={"hygiene": hygiene}) as running:
        token = running.mint.token("alice", email="alice@example.test")
        for _ in range(10):
            assert (await fetch(running.bound.inbound, "/users/alice", bearer=token)).status == 200
        exposition = await running.metrics()
    for kind in ("lifetime", "size", "claim"):
        assert f'sidecar_token_hygiene_total{{issuer="shop",kind="{kind}"}} 1.0' in exposition
    warnings = [r for r in caplog.records if r.name == "sidecar.tokens"]
    assert [r.levelno for r in warnings] == [logging.WARNING] * 3
    said = [r.getMessage() for r in warnings]
    assert "example.test" not in str(said)
    assert token not in str(said)


async def test_a_workload_of_a_trust_domain_is_served(tmp_path: Path) -> None:
    """Keys come from the bundle's entries for JWT-SVIDs, and the identity is the SPIFFE ID."""
    bundle = tmp_path / "bundle.json"
    svid_key, x509_key = private_key("ES256", "svid"), private_key("ES256", "x509")
    bundle.write_text(
        json.dumps(
            {
                "keys": [
                    jwk(x509_key, kid="a", use="x509-svid"),
                    jwk(svid_key, kid="a", use="jwt-svid"),
                ],
                "spiffe_sequence": 1,
                "spiffe_refresh_hint": 600,
            }
        )
    )
    issuer = {"issuer": "spiffe://prod.test", "profile": "spiffe", "keys": JwksFile(str(bundle))}
    async with pod(tmp_path, issuer=issuer) as running:
        said: dict[str, Any] = {
            "sub": "spiffe://prod.test/ns/shop/sa/web", "aud": [AUDIENCE], "exp": soon(60),
        }  # fmt: skip
        for key, claims, reason in (
            (svid_key, said, ""),
            (x509_key, said, "signature_invalid"),
            (svid_key, {**said, "sub": "spiffe://evil.test/web"}, "claim_missing"),
            (svid_key, {**said, "iss": ISSUER, "sub": "alice"}, "issuer_mismatch"),
        ):
            token = sign(claims, alg="ES256", key=key, header={"typ": None}).decode()
            answer = await fetch(running.bound.inbound, "/users/web", bearer=token)
            assert answer.reason == reason
        [seen] = running.app.received
        assert seen.values("x-auth-subject") == ["spiffe://prod.test/ns/shop/sa/web"]
        assert seen.values("x-auth-issuer") == ["spiffe://prod.test"]
