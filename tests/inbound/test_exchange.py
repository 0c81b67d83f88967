"""Inbound requests against a real listener: who gets through, as whom, and what the app sees."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from sidecar.config.model import Attribution, Limits
from sidecar.core.keyset import parse_jwks
from sidecar.testbed.token_mint import ABSENT
from sidecar.wire.exchange import Answer, Forward, Timing
from sidecar.wire.request_head import parse_request_head
from tests.support.http import fetch
from tests.support.pod import pod, records, soon


async def test_a_valid_token_reaches_the_app_as_an_identity_and_not_as_a_token(
    tmp_path: Path,
) -> None:
    """The app sees who calls and a handle, and no credential."""
    async with pod(tmp_path) as running:
        token = running.mint.token("alice")
        answer = await fetch(running.bound.inbound, "/users/alice?q=1", bearer=token)
        assert (answer.status, answer.body) == (200, b"ok")
        (request,) = running.app.received
        assert (request.method, request.target) == ("GET", "/users/alice?q=1")
        assert request.values("x-auth-subject") == ["alice"]
        assert request.values("x-auth-issuer") == ["https://issuer.example"]
        assert request.values("x-auth-roles") == ["ADMIN,USER"]
        assert request.values("x-auth-scopes") == ["profile.read"]
        assert re.fullmatch("sdc1[0-9a-z]{28}", request.handle)
        assert request.values("authorization") == []
        assert token not in str(request.fields)


async def test_the_token_is_forwarded_where_the_operator_wants_it(tmp_path: Path) -> None:
    """``token_to_app: forward`` gives the app what the caller sent, once."""
    async with pod(tmp_path, inbound={"token_to_app": "forward"}) as running:
        token = running.mint.token("alice")
        await fetch(running.bound.inbound, "/users/alice", bearer=token)
        assert running.app.received[0].values("authorization") == [f"Bearer {token}"]


async def test_each_fault_of_a_token_has_its_own_reason(tmp_path: Path) -> None:
    """Status, reason and challenge name what is wrong, and the app sees nothing of it."""
    async with pod(tmp_path) as running:
        mint = running.mint
        good = mint.token("alice")
        head, claims, _ = good.split(".")
        cases = {
            "token_missing": None,
            "token_expired": mint.expired("alice"),
            "audience_mismatch": mint.token("alice", aud="somebody-else"),
            "signature_invalid": mint.forged("alice"),
            "issuer_mismatch": mint.token("alice", iss="https://evil.example"),
            "token_malformed": "not-a-token",
            "token_not_yet_valid": mint.token("alice", nbf=soon(3600)),
            "claims_malformed": mint.token("alice", exp="tomorrow"),
            "claim_missing": mint.token("alice", sub=ABSENT),
            "token_too_large": "a" * 20_000,
            "token_type": mint.token("alice", typ="ID"),
            "algorithm_refused": "eyJhbGciOiJub25lIn0." + claims + ".",
        }
        for reason, token in cases.items():
            answer = await fetch(running.bound.inbound, "/users/alice", bearer=token)
            assert (answer.status, answer.reason) == (401, reason)
            (challenge,) = answer.values("www-authenticate")
            assert challenge.startswith("Bearer")
            assert ("invalid_token" in challenge) is (reason != "token_missing")
            problem = json.loads(answer.body)
            assert problem["type"] == f"urn:jwt-sidecar:reason:{reason}"
            assert answer.values("content-type") == ["application/problem+json"]
            assert head not in answer.body.decode()
        assert running.app.received == []


async def test_two_credentials_are_400(tmp_path: Path) -> None:
    """RFC 6750, 3.1: more than one way to send the token is an invalid request."""
    async with pod(tmp_path) as running:
        token = running.mint.token("alice")
        answer = await fetch(
            running.bound.inbound,
            "/users/a",
            bearer=token,
            fields=[("authorization", f"Bearer {token}")],
        )
        assert (answer.status, answer.reason) == (400, "token_repeated")
        assert running.app.received == []


async def test_a_right_that_is_missing_is_403_and_names_the_scope(tmp_path: Path) -> None:
    """Roles and scopes are checked after the token."""
    async with pod(tmp_path) as running:
        bob = running.mint.token("bob")
        answer = await fetch(running.bound.inbound, "/admin/x", bearer=bob)
        assert (answer.status, answer.reason) == (403, "role_missing")
        answer = await fetch(running.bound.inbound, "/scoped", bearer=bob)
        assert (answer.status, answer.reason) == (403, "scope_missing")
        assert 'scope="billing.write"' in answer.values("www-authenticate")[0]
        answer = await fetch(running.bound.inbound, "/admin/x", bearer=running.mint.token("alice"))
        assert answer.status == 200
        answer = await fetch(running.bound.inbound, "/nowhere", bearer=bob)
        assert (answer.status, answer.reason) == (403, "no_rule")


async def test_observing_counts_and_lets_through_but_not_without_a_token(tmp_path: Path) -> None:
    """Rule refusals are only counted; a missing token stays refused."""
    async with pod(tmp_path) as running:
        answer = await fetch(running.bound.inbound, "/watched", bearer=running.mint.token("bob"))
        assert answer.status == 200
        assert (await fetch(running.bound.inbound, "/watched")).reason == "token_missing"
        text = await running.metrics()
        assert (
            'sidecar_rejections_total{direction="inbound",enforced="false",'
            'reason="role_missing",route="watched"} 1.0' in text
        )
    observed = [each for each in records(running) if each.get("enforced") is False]
    assert [(each["status"], each["reason"]) for each in observed] == [(200, "role_missing")]


@pytest.mark.parametrize("path", ["/healthz", "/users/alice"])
async def test_no_spelling_of_a_reserved_name_reaches_the_app(tmp_path: Path, path: str) -> None:
    """What a caller says about identities is removed, on open paths too."""
    spoofed = [
        ("X-Auth-Subject", "root"),
        ("x_auth_subject", "root"),
        ("X-AUTH_ROLES", "ADMIN"),
        ("x.auth.issuer", "evil"),
        ("X-Sidecar-Context", "sdc1" + "a" * 28),
        ("x_sidecar_context", "sdc1" + "a" * 28),
        ("x-sidecar-carrier", "evil/1; grade=strict"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("x-original-url", "/admin"),
        ("X_Rewrite_Url", "/admin"),
    ]
    async with pod(tmp_path) as running:
        token = running.mint.token("alice") if path != "/healthz" else None
        answer = await fetch(running.bound.inbound, path, bearer=token, fields=spoofed)
        assert answer.status == 200
        (request,) = running.app.received
        text = str(request.fields)
        assert "root" not in text
        assert "evil" not in text
        assert "/admin" not in text
        assert "DELETE" not in text
        assert request.handle != "sdc1" + "a" * 28


async def test_an_open_path_looks_at_no_token_and_passes_none_on(tmp_path: Path) -> None:
    """A broken token on a path for anyone is neither an error nor forwarded."""
    async with pod(tmp_path) as running:
        answer = await fetch(running.bound.inbound, "/healthz", bearer="garbage")
        assert answer.status == 200
        assert running.app.received[0].values("authorization") == []
        assert running.app.received[0].values("x-auth-subject") == []


@pytest.mark.parametrize(
    "target",
    ["/healthz?x=/admin", "/healthz"],
)
async def test_a_query_is_not_part_of_the_path(tmp_path: Path, target: str) -> None:
    """Only the path decides, and the query goes on untouched."""
    async with pod(tmp_path) as running:
        assert (await fetch(running.bound.inbound, target)).status == 200
        assert running.app.received[0].target == target


@pytest.mark.parametrize(
    ("method", "target", "status", "reason"),
    [
        ("GET", "/x?y=/healthz", 403, "no_rule"),
        ("POST", "/healthz", 403, "no_rule"),
        ("GET", "/healthz/../admin/x", 400, "path_ambiguous"),
        ("GET", "//healthz", 400, "path_ambiguous"),
        ("GET", "/%2e%2e/healthz", 400, "path_ambiguous"),
        ("GET", "/open/..;/admin", 400, "path_ambiguous"),
        ("GET", "/open/%252e%252e/admin", 400, "path_ambiguous"),
        ("GET", "/open/..%5cadmin", 400, "path_ambiguous"),
        ("GET", "/HEALTHZ", 403, "no_rule"),
        ("GET", "/healthz/", 403, "no_rule"),
        ("GET", "/Admin/x", 401, "token_missing"),
        ("GET", "/admin", 401, "token_missing"),
        ("GET", "/%61dmin/x", 401, "token_missing"),
        ("GET", "/users/", 401, "token_missing"),
    ],
)
async def test_no_path_trick_reaches_an_open_rule(
    tmp_path: Path, method: str, target: str, status: int, reason: str
) -> None:
    """Published bypasses are refused, and nothing of them reaches the app."""
    async with pod(tmp_path) as running:
        answer = await fetch(running.bound.inbound, target, method=method)
        assert (answer.status, answer.reason) == (status, reason)
        assert running.app.received == []


@pytest.mark.parametrize("named", ["authorization", "x-auth-subject", "host", "cookie"])
async def test_connection_cannot_name_what_must_not_be_removed(tmp_path: Path, named: str) -> None:
    """Hop-by-hop tricks on credentials and identity are 400."""
    async with pod(tmp_path) as running:
        answer = await fetch(
            running.bound.inbound,
            "/users/alice",
            bearer=running.mint.token("alice"),
            fields=[("connection", named)],
        )
        assert (answer.status, answer.reason) == (400, "connection_protected")
        assert running.app.received == []


async def test_a_response_cannot_leak_or_forge_our_names(tmp_path: Path) -> None:
    """Handles and reserved names that the app echoes are removed."""
    async with pod(tmp_path, automatic=False) as running:
        token = running.mint.token("alice")
        pending = asyncio.create_task(fetch(running.bound.inbound, "/users/alice", bearer=token))
        request = await running.app.next()
        request.answer(
            200,
            [
                ("x-sidecar-context", request.handle),
                ("X_Sidecar_Context", request.handle),
                ("x-auth-subject", "alice"),
                ("x-sidecar-reason", "none"),
                ("etag", '"1"'),
            ],
        )
        answer = await pending
        assert answer.values("etag") == ['"1"']
        assert request.handle not in str(answer.fields)
        assert answer.values("x-auth-subject") == []
        assert answer.reason == ""


async def test_a_new_key_works_at_once_and_a_withdrawn_one_no_more(tmp_path: Path) -> None:
    """Rotation is seen with the first token under the new key; the old one's tokens end."""
    async with pod(tmp_path, cooldown_seconds=0.0) as running:
        old = running.mint.token("alice")
        assert (await fetch(running.bound.inbound, "/users/a", bearer=old)).status == 200
        running.mint.rotate(withdraw=True)
        running.publish()
        new = running.mint.token("alice")
        for _ in range(100):  # the cool-down has a floor; a caller simply tries again
            answer = await fetch(running.bound.inbound, "/users/a", bearer=new)
            if answer.status == 200:
                break
            assert answer.reason == "key_unknown"
            await asyncio.sleep(0.05)
        assert answer.status == 200
        answer = await fetch(running.bound.inbound, "/users/a", bearer=old)
        assert (answer.status, answer.reason) == (401, "key_unknown")


async def test_a_key_withdrawn_while_a_request_waits_for_a_connection_is_noticed(
    tmp_path: Path,
) -> None:
    """What was permitted under a key that is gone is not forwarded and enters no ledger."""
    async with pod(tmp_path) as running:
        listener, verifier = running.wiring.inbound, running.wiring.verifier
        token = running.mint.token("alice")
        raw = f"GET /users/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n"
        head = parse_request_head(raw.encode(), listener.names, listener.limits)
        exchange = listener.handler.begin(head, "127.0.0.1")
        assert isinstance(exchange.start(), Forward)
        running.mint.rotate(withdraw=True)
        verifier.install("shop", parse_jwks(json.dumps(running.mint.jwks()).encode()))
        answer = exchange.commit()
        assert isinstance(answer, Answer)
        assert b"x-sidecar-reason: key_unknown" in answer.lines
        assert len(running.wiring.ledger) == 0
        exchange.finish(answer.status, Timing(0.0), None, whole=True)


async def test_without_keys_nothing_is_accepted_and_the_fault_is_not_the_callers(
    tmp_path: Path,
) -> None:
    """No key set: 503 with Retry-After, not ready, and open paths go on."""
    async with pod(tmp_path, publish=False) as running:
        answer = await fetch(running.bound.inbound, "/users/a", bearer=running.mint.token("alice"))
        assert (answer.status, answer.reason) == (503, "keys_unavailable")
        assert answer.values("retry-after") == ["5"]
        assert (await fetch(running.bound.inbound, "/healthz")).status == 200
        ready = await fetch(running.bound.admin, "/readyz")
        assert ready.status == 503
        assert b"issuer shop: keys not loaded" in ready.body
        assert (await fetch(running.bound.admin, "/livez")).status == 200


async def test_a_full_ledger_refuses_the_new_request_only(tmp_path: Path) -> None:
    """Capacity 4, so one subject holds one: its second is 503, another subject's is served."""
    async with pod(
        tmp_path, automatic=False, attribution=Attribution(ledger_capacity=4)
    ) as running:
        alice, bob = running.mint.token("alice"), running.mint.token("bob")
        first = asyncio.create_task(fetch(running.bound.inbound, "/users/1", bearer=alice))
        held = await running.app.next()
        answer = await fetch(running.bound.inbound, "/users/2", bearer=alice)
        assert (answer.status, answer.reason) == (503, "ledger_share")
        other = asyncio.create_task(fetch(running.bound.inbound, "/users/3", bearer=bob))
        (await running.app.next()).answer()
        held.answer()
        assert [(await first).status, (await other).status] == [200, 200]
        again = asyncio.create_task(fetch(running.bound.inbound, "/users/4", bearer=alice))
        (await running.app.next()).answer()
        assert (await again).status == 200


async def test_an_app_that_is_down_is_502(tmp_path: Path) -> None:
    """Nobody listens: the answer says so and stays ours."""
    async with pod(tmp_path) as running:
        origin = running.app.origin
        async with pod(tmp_path, inbound={"app": type(origin)("http", "127.0.0.1", 1)}) as down:
            answer = await fetch(down.bound.inbound, "/users/a", bearer=down.mint.token("alice"))
            assert (answer.status, answer.reason) == (502, "upstream_unreachable")


async def test_an_app_that_hangs_up_is_502(tmp_path: Path) -> None:
    """The connection ends without an answer."""
    async with pod(tmp_path, automatic=False) as running:
        pending = asyncio.create_task(
            fetch(running.bound.inbound, "/users/a", bearer=running.mint.token("alice"))
        )
        (await running.app.next()).hang_up()
        answer = await pending
        assert (answer.status, answer.reason) == (502, "upstream_reset")


async def test_a_body_over_the_limit_is_413(tmp_path: Path) -> None:
    """By its declared length, before anything reaches the app."""
    limits = Limits(max_body_bytes=10)
    async with pod(tmp_path, inbound={"limits": limits}) as running:
        token = running.mint.token("alice")
        answer = await fetch(
            running.bound.inbound, "/users/a", method="POST", bearer=token, body=b"x" * 11
        )
        assert (answer.status, answer.reason) == (413, "body_too_large")
        answer = await fetch(
            running.bound.inbound, "/users/a", method="POST", bearer=token, body=b"x" * 10
        )
        assert answer.status == 200
        assert running.app.received[0].body == b"x" * 10


async def test_a_refused_upload_is_answered_and_other_requests_go_on(tmp_path: Path) -> None:
    """A POST without a token gets its 401 although its content was never read."""
    async with pod(tmp_path) as running:
        answer = await fetch(running.bound.inbound, "/users/a", method="POST", body=b"x" * 200_000)
        assert (answer.status, answer.reason) == (401, "token_missing")
        assert running.app.received == []
        answer = await fetch(running.bound.inbound, "/users/a", bearer=running.mint.token("bob"))
        assert answer.status == 200


async def test_a_head_request_is_refused_without_content(tmp_path: Path) -> None:
    """HEAD gets the fields of the refusal and no body."""
    async with pod(tmp_path) as running:
        answer = await fetch(running.bound.inbound, "/users/a", method="HEAD")
        assert (answer.status, answer.reason, answer.body) == (401, "token_missing", b"")


async def test_neither_log_nor_metrics_hold_a_token_a_handle_or_a_query(tmp_path: Path) -> None:
    """Only the first 16 hex digits of the token's SHA-256 are written."""
    async with pod(tmp_path) as running:
        token = running.mint.token("alice")
        await fetch(running.bound.inbound, "/users/a?secret=hunter2", bearer=token)
        await fetch(running.bound.inbound, "/users/a?secret=hunter2", bearer=token + "x")
        await fetch(running.bound.inbound, "/users/../a?secret=hunter2", bearer=token)
        handle = running.app.received[0].handle
        text = await running.metrics()
    for written in (b"".join(running.log).decode(), text):
        assert token not in written
        assert token.split(".")[2] not in written
        assert handle not in written
        assert "hunter2" not in written
    first = records(running)[0]
    assert first["subject"] == "alice"
    assert first["path"] == "/users/a"
    assert re.fullmatch("[0-9a-f]{16}", first["token"])


async def test_a_refusals_decision_id_is_in_its_log_line(tmp_path: Path) -> None:
    """What the caller was shown finds the operator's line."""
    async with pod(tmp_path) as running:
        answer = await fetch(
            running.bound.inbound, "/users/a", bearer=running.mint.token("a", aud="other")
        )
        (decision,) = answer.values("x-sidecar-decision")
        assert json.loads(answer.body)["instance"].endswith(decision)
        assert b"other" not in answer.body
    (record,) = records(running)
    assert record["decision"] == decision
    assert record["reason"] == "audience_mismatch"
    assert "other" in record["detail"]
    assert "user-service" in record["detail"]
