"""What a running sidecar says of its decisions, over its control socket, to the real command."""

import asyncio
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.model import (
    CircuitBreaker,
    Demand,
    DestinationLimits,
    Explain,
    Origin,
    Require,
    Rule,
)
from tests.cli.conftest import command, environment
from tests.support.http import fetch
from tests.support.pod import RULES, Pod, pod


async def ask(pod_: Pod, target: str) -> Any:
    """Ask over the control socket of *pod_*."""
    reader, writer = await asyncio.open_unix_connection(pod_.wiring.config.admin.control)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return json.loads(answer.partition(b"\r\n\r\n")[2])


async def explain(pod_: Pod, *arguments: str) -> tuple[int, str, str]:
    """Run ``sidecar explain`` against *pod_*."""
    process = await asyncio.create_subprocess_exec(
        *command(["explain", *arguments, "--control", str(pod_.wiring.config.admin.control)]),
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


def step(explanation: Mapping[str, Any], name: str) -> dict[str, str]:
    (found,) = [each for each in explanation["steps"] if each["step"] == name]
    assert isinstance(found, dict)
    return found


async def refused(pod_: Pod, target: str, token: str | None, method: str = "GET") -> Any:
    """Send one request that is refused; return what is said of it."""
    answer = await fetch(
        pod_.bound.inbound, target, method=method, fields=bearer(token) if token else []
    )
    assert answer.status >= 400
    return await ask(pod_, f"/decisions/{answer.values('x-sidecar-decision')[0]}")


async def test_each_step_of_a_refusal(tmp_path: Path) -> None:
    """A missing role: what passed, what did not, what is near, who can fix it."""
    async with pod(tmp_path, control=tmp_path / "c.sock") as running:
        token = running.mint.token(
            "alice", resource_access={"frontend": {"roles": ["ADMIN"]}}, realm_access={"roles": []}
        )
        told = await refused(running, "/admin/users?secret=1", token)
        assert (told["allowed"], told["status"], told["reason"]) == (False, 403, "role_missing")
        assert (told["path"], told["route"], told["subject"]) == ("/admin/users", "admin", "alice")
        outcomes = {each["step"]: each["outcome"] for each in told["steps"]}
        assert outcomes == {
            **dict.fromkeys(
                ["message", "path", "rule", "token", "issuer", "type", "signature", "audience",
                 "claims", "times"], "ok"),
            "rights": "refused", "admission": "skipped", "forward": "skipped",
        }  # fmt: skip
        assert step(told, "rule")["found"] == "admin: every method on /admin/**"
        assert step(told, "token")["found"] == "Authorization"
        assert "the key set is" in step(told, "signature")["note"]
        assert step(told, "rights")["wanted"] == "roles: all of [ADMIN]"
        assert "ADMIN is there as a role of the client frontend" in step(told, "rights")["note"]
        assert "client_roles: {frontend: [ADMIN]}" in " ".join(told["advice"])
        assert any(each.startswith("whoever runs the issuer: ") for each in told["advice"])


async def test_what_nearly_fitted(tmp_path: Path) -> None:
    """Audience, scope, path and method that were probably meant are named."""
    rules = (
        *RULES[:4],
        Rule("orders", ("/orders",), Require(scopes=Demand(("orders.read",))), ("GET",)),
    )
    async with pod(tmp_path, rules=rules, control=tmp_path / "c.sock") as running:
        mint = running.mint
        told = await refused(running, "/orders", mint.token("a", aud="User-Service"))
        assert step(told, "audience")["outcome"] == "refused"
        assert 'aud is "User-Service", expected "user-service"' in step(told, "audience")["note"]
        assert step(told, "times")["outcome"] == "skipped"
        token = mint.token("a", scope="profile", permissions=["orders.read"])
        told = await refused(running, "/orders", token)
        assert "orders.read is there in the claim permissions" in step(told, "rights")["note"]
        assert "issuers.shop.scopes_from" in " ".join(told["advice"])
        token = mint.token("a", scope="https://api.example/orders.read")
        told = await refused(running, "/orders", token)
        near = 'scope is "https://api.example/orders.read", expected "orders.read"'
        assert near in step(told, "rights")["note"]
        told = await refused(running, "/orders", None, "POST")
        assert "rule orders matches this path, for GET alone" in step(told, "rule")["note"]
        told = await refused(running, "/Healthz/", None)
        assert "rule health matches /healthz to the letter" in step(told, "rule")["note"]
        told = await refused(running, "/order", None)
        assert step(told, "rule")["note"].endswith("rule orders is for the path /orders")


async def test_all_that_is_wrong_is_told(tmp_path: Path) -> None:
    """A token that ended also lacks the role: both are shown, so that one round is enough."""
    async with pod(tmp_path, control=tmp_path / "c.sock") as running:
        ended = int(time.time()) - 3600
        token = running.mint.token("a", iat=ended - 60, exp=ended, realm_access={"roles": []})
        told = await refused(running, "/admin/x", token)
        assert told["reason"] == "token_expired"
        assert step(told, "times")["outcome"] == "refused"
        assert re.search(r"exp \S+Z \(\d+ (s|min|h) .*before\)", step(told, "times")["found"])
        assert step(told, "rights")["outcome"] == "skipped"
        assert step(told, "rights")["note"].startswith("would be refused, too; the rule requires")


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"])
async def test_what_is_no_request(raw: bytes, tmp_path: Path) -> None:
    """Malformed messages are kept too, in both directions."""
    async with pod(tmp_path, control=tmp_path / "c.sock") as running:
        for address in (running.bound.inbound, running.bound.outbound["profiles"]):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(raw)
            assert b"message_malformed" in await reader.read()
            writer.close()
            await writer.wait_closed()
        told = await ask(running, "/decisions?refused=1")
        assert [each["direction"] for each in told["decisions"]] == ["outbound", "inbound"]
        for each in told["decisions"]:
            found = await ask(running, f"/decisions/{each['id']}")
            assert step(found, "message")["outcome"] == "refused"
            assert step(found, "message")["note"]


async def test_permits_and_what_is_only_observed(tmp_path: Path) -> None:
    """Permits are explained where answers tell their id; observed denials say so."""
    async with pod(tmp_path, control=tmp_path / "c.sock") as running:
        token = running.mint.token("alice", realm_access={"roles": ["USER"]})
        for target in ("/users/1", "/watched", "/healthz", "/open/x"):
            fields = bearer(token) if target in ("/users/1", "/watched") else []
            assert (await fetch(running.bound.inbound, target, fields=fields)).status == 200
        rows = (await ask(running, "/decisions"))["decisions"]
        assert [each["path"] for each in rows] == ["/open/x", "/healthz", "/watched", "/users/1"]
        assert [each["allowed"] for each in rows] == [True] * 4
        assert (await ask(running, "/decisions?refused=1"))["decisions"] == []
        watched = await ask(running, f"/decisions/{rows[2]['id']}")
        assert (watched["reason"], watched["enforced"]) == ("role_missing", False)
        assert step(watched, "rights")["outcome"] == "observed"
        assert step(watched, "forward")["found"] == "status 200"
        users = await ask(running, f"/decisions/{rows[3]['id']}")
        assert step(users, "rights")["outcome"] == "ok"
        assert step(users, "signature")["found"].startswith("key ")
        health = await ask(running, f"/decisions/{rows[1]['id']}")
        assert step(health, "token")["note"] == "the rule lets anyone in"


async def test_a_call_and_the_request_that_caused_it(tmp_path: Path) -> None:
    """An outbound decision names the inbound one; a call without evidence says what it lacks."""
    async with pod(tmp_path, automatic=False, control=tmp_path / "c.sock") as running:
        token = running.mint.token("alice")
        asking = asyncio.create_task(fetch(running.bound.inbound, "/users/1", fields=bearer(token)))
        request = await running.app.next()
        calling = asyncio.create_task(running.call_out(request.handle))
        (await running.destination.next()).answer()
        assert (await calling).status == 200
        assert (await running.call_out(None)).reason == "attribution_missing"
        request.answer()
        assert (await asking).status == 200
        assert (await running.call_out(request.handle)).reason == "attribution_dead"
        rows = (await ask(running, "/decisions"))["decisions"]
        dead, inbound, missing, call = rows
        found = await ask(running, f"/decisions/{call['id']}")
        assert step(found, "evidence")["found"] == "the context header (strict)"
        assert step(found, "entry")["found"] == (
            f"decision {inbound['id']}, GET /users/1, rule users"
        )
        assert found["attribution"] == {
            "method": "header",
            "grade": "strict",
            "outcome": "attached",
        }
        found = await ask(running, f"/decisions/{missing['id']}")
        assert step(found, "evidence")["outcome"] == "refused"
        assert step(found, "evidence")["found"] == "nothing that names a request"
        assert "carrier python/0.1; grade=strict" in step(found, "evidence")["note"]
        found = await ask(running, f"/decisions/{dead['id']}")
        assert step(found, "entry")["outcome"] == "refused"
        everything = json.dumps([await ask(running, f"/decisions/{each['id']}") for each in rows])
        assert request.handle not in everything
        assert token not in everything


async def test_nothing_secret_is_kept_or_told(tmp_path: Path) -> None:
    """No token or part of its signature, no query, cookie or handle; named claims are hidden."""
    config = Explain(redact=("email", "sub", "aud"))
    async with pod(tmp_path, control=tmp_path / "c.sock", explain=config) as running:
        mint = running.mint
        claims = {"email": "alice@example.org", "jti": "j"}
        for token in (
            mint.token("alice-smith", **claims),
            mint.token("alice-smith", aud=["somebody-else"], **claims),
            mint.forged("alice-smith"),
        ):
            await fetch(
                running.bound.inbound, "/admin/x?key=hunter2",
                fields=[*bearer(token), ("cookie", "session=hunter3")],
            )  # fmt: skip
            rows = (await ask(running, "/decisions"))["decisions"]
            found = json.dumps([rows, await ask(running, f"/decisions/{rows[0]['id']}")])
            for secret in (
                *token.split("."), "hunter2", "hunter3", "alice@example.org", "alice-smith",
                "somebody-else",
            ):  # fmt: skip
                assert secret not in found
            assert "[redacted]" in found
            for kept in running.wiring.decisions.newest(10):
                values = [getattr(kept, name) for name in dir(kept) if not name.startswith("_")]
                assert token.rpartition(".")[2].encode() not in repr(values).encode()
                assert b"hunter" not in repr(values).encode()


async def test_ids_on_request(tmp_path: Path) -> None:
    """With ``decision_ids: all`` the app's and the destination's answers have the id, once."""
    config = Explain(decision_ids="all")
    async with pod(tmp_path, control=tmp_path / "c.sock", explain=config) as running:
        answer = await fetch(running.bound.inbound, "/open/x")
        (decision,) = answer.values("x-sidecar-decision")
        assert (await ask(running, f"/decisions/{decision}"))["path"] == "/open/x"


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("/decisions?limit=0", "limit must be"),
        ("/decisions?limit=1001", "limit must be"),
        ("/decisions?limit=x", "limit must be"),
        ("/decisions?before=-1", "before must be"),
        ("/decisions?refused=yes", "refused must be"),
        ("/decisions?reason=nonsense", "reason must be"),
        ("/decisions?x=1", "unknown parameter 'x'"),
        ("/decisions/unknown", "no such decision is kept"),
        ("/decisions/UN%20KNOWN", "no such decision is kept"),
    ],
)
async def test_what_cannot_be_asked(target: str, error: str, tmp_path: Path) -> None:
    """Each gets a sentence and nothing else."""
    async with pod(tmp_path, control=tmp_path / "c.sock") as running:
        assert (await ask(running, target))["error"].startswith(error)


async def test_the_command(tmp_path: Path) -> None:
    """By id, the last one, by reason, and the list; exit code 1 for a refusal."""
    async with pod(tmp_path, control=tmp_path / "c.sock") as running:
        assert (await explain(running))[1].startswith("no such decision is kept; 0 were made")
        await fetch(running.bound.inbound, "/nowhere")
        token = running.mint.token("alice", realm_access={"roles": ["USER"]})
        answer = await fetch(running.bound.inbound, "/admin/x", fields=bearer(token))
        (decision,) = answer.values("x-sidecar-decision")
        status, out, err = await explain(running, decision)
        assert (status, err) == (1, "")
        assert out.startswith("refused: 403 role_missing (The caller lacks a required role)\n")
        assert f"decision {decision}" in out.replace("\n  ", " ")
        assert all(len(line) <= 80 for line in out.splitlines())
        assert "REFUSED   rights" in out
        again = (await explain(running, "--last"))[1]
        assert re.sub(r"\d+ s old", "", again) == re.sub(r"\d+ s old", "", out)
        status, out, _ = await explain(running, "--last", "--reason", "no_rule")
        assert out.startswith("refused: 403 no_rule")
        status, out, _ = await explain(running)
        assert status == 0
        assert [line.split()[4] for line in out.splitlines()[1:]] == ["role_missing:", "no_rule:"]
        status, out, err = await explain(running, "--last", "--reason", "draining")
        assert (status, out) == (1, "")
        status, out, err = await explain(running, "0" * 16)
        assert status == 1
        assert err == (
            "sidecar: no such decision is kept: it may be too old, or of another sidecar; "
            "`sidecar explain --all` lists what is kept\n"
        )
        assert json.loads((await explain(running, decision, "--output", "json"))[1])["steps"]


async def test_a_destination_that_is_left_alone(tmp_path: Path) -> None:
    """What bounds its calls, what the guard said of this one, and that nothing was sent."""
    limits = DestinationLimits(connect_retries=0, total_timeout_seconds=5.0, max_concurrent=9)
    nobody = Origin("http", "127.0.0.1", 1)
    async with pod(
        tmp_path,
        control=tmp_path / "c.sock",
        destination={
            "upstream": nobody,
            "token": "none",
            "limits": limits,
            "circuit": CircuitBreaker(failures=1),
        },
    ) as running:
        for _ in range(2):
            answer = await fetch(running.bound.outbound["profiles"])
        told = await ask(running, f"/decisions/{answer.values('x-sidecar-decision')[0]}")
        assert (told["status"], told["reason"]) == (503, "destination_unavailable")
        forward = step(told, "forward")
        assert forward["outcome"] == "refused"
        assert forward["wanted"].endswith(
            ", within 5 s, with at most 9 calls at once, after fewer than 1 failures in a row"
        )
        assert forward["found"] == "nothing is sent"
        assert "it is tried again in" in forward["note"]
