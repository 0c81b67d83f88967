"""Who used a token for its subject, and what was attached instead of it: in every record."""

import json
from pathlib import Path
from typing import Any

from sidecar.cli.explain_text import lines
from sidecar.config.model import Decisions as DecisionKeys
from sidecar.config.model import Explain, Identity, Log
from sidecar.core.identity import IdentityHeader
from sidecar.core.principal import Credential, Principal
from sidecar.explain.rows import AttachedRow, Explanation
from sidecar.telemetry.access_log import MAX_TEXT_LENGTH, AccessLog
from sidecar.telemetry.decision_callers import Callers, Redaction
from sidecar.telemetry.decision_log import DecisionLog
from sidecar.telemetry.exchanges import ExchangeReporter
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.records import AttachedRecord
from tests.explain.test_running import ask, bearer
from tests.support.http import fetch
from tests.support.pod import pod, records

CHAIN = {"sub": "orders", "act": {"sub": "cart", "act": {"sub": "edge", "secret": "hush"}}}
ATTACHED = AttachedRecord("exchange", "0123456789abcdef", "alice", "orders", "profiles")


async def test_a_chain_is_in_the_logs_the_explanation_and_a_header_of_choice(
    tmp_path: Path,
) -> None:
    """The outermost by itself, all in their order where there are more, and never whole claims."""
    file = tmp_path / "decisions"
    identity = Identity(headers=(IdentityHeader("x-auth-actor", "claim", ("act", "sub")),))
    async with pod(
        tmp_path,
        control=tmp_path / "c.sock",
        inbound={"identity": identity},
        log_keys=Log(level="error", decisions=DecisionKeys(file=str(file))),
    ) as running:
        tokens = (
            running.mint.token("alice", act=CHAIN),
            running.mint.token("alice", act={"sub": "cart"}),
            running.mint.token("alice"),
            running.mint.token("alice", act={"iss": "https://nobody.example"}),
        )
        for token in tokens:
            assert (
                await fetch(running.bound.inbound, "/users/1", fields=bearer(token))
            ).status == 200
        rows = (await ask(running, "/decisions"))["decisions"]
        told = [request.values("x-auth-actor") for request in running.app.received]
    assert told == [["orders"], ["cart"], [], []]
    logged = records(running)
    assert [(each.get("actor"), each.get("actors")) for each in logged] == [
        ("orders", ["orders", "cart", "edge"]), ("cart", None), (None, None), ("", None),
    ]  # fmt: skip
    callers = [json.loads(line)["caller"] for line in file.read_text().splitlines()]
    assert [(each.get("act"), each.get("actors")) for each in callers] == [
        ("orders", ["orders", "cart", "edge"]), ("cart", None), (None, None), ("", None),
    ]  # fmt: skip
    assert [each["actors"] for each in rows] == [[""], [], ["cart"], ["orders", "cart", "edge"]]
    assert "hush" not in json.dumps([logged, callers, rows])


async def test_who_is_not_to_be_named_is_not(tmp_path: Path) -> None:
    """``redact`` of the decision log hides the chain with its outermost, that of explain too."""
    file = tmp_path / "decisions"
    keys = DecisionKeys(file=str(file), redact=(("act", "sub"),))
    async with pod(
        tmp_path,
        control=tmp_path / "c.sock",
        explain=Explain(redact=("act",)),
        log_keys=Log(level="error", decisions=keys),
    ) as running:
        token = running.mint.token("alice", act=CHAIN)
        await fetch(running.bound.inbound, "/users/1", fields=bearer(token))
        (row,) = (await ask(running, "/decisions"))["decisions"]
    assert row["actors"] == ["[redacted]"] * 3
    (line,) = file.read_text().splitlines()
    assert not any(f'"{name}"' in line for name in ("orders", "cart", "edge"))
    caller = json.loads(line)["caller"]
    assert caller["act"] == caller["actors"][0]
    assert all(each.startswith("sha256:") for each in caller["actors"])


def ended(log: AccessLog, **changes: Any) -> None:
    """End one outbound call."""
    direction = Metrics(version="0", started_at=0.0).direction("outbound", ["profiles"])
    principal = Principal("shop", "https://idp.example", "alice", claims={"sub": "alice"})
    values: dict[str, Any] = {
        "method": b"GET", "path": b"/x", "route": direction.route("profiles"), "status": 200,
        "duration_seconds": 0.0, "overhead_seconds": 0.0, "decision": "d", "denial": None,
        "credential": Credential(principal, b"t", b"d" * 32, 0.0, 0.0), "destination": "profiles",
    }  # fmt: skip
    ExchangeReporter(direction, log).ended(**(values | changes))


def test_what_was_attached_is_in_the_access_log_within_bounds() -> None:
    """Which kind, the token by its digest, whose it is and for whom: each of bounded length."""
    batches: list[bytes] = []
    log = AccessLog(batches.append)
    ended(log, attached=ATTACHED)
    ended(log, attached=replace_all(ATTACHED, subject="x" * 1000, actor="\ud800", audience="é"))
    ended(log)
    log.close()
    first, second, third = [json.loads(line) for line in b"".join(batches).splitlines()]
    assert first["attached"] == {
        "kind": "exchange", "token": "0123456789abcdef", "subject": "alice", "actor": "orders",
        "audience": "profiles",
    }  # fmt: skip
    assert len(second["attached"]["subject"]) == MAX_TEXT_LENGTH
    assert (second["attached"]["actor"], second["attached"]["audience"]) == ("?", "é")
    assert "attached" not in third


def replace_all(attached: AttachedRecord, **changes: str) -> AttachedRecord:
    values = {name: getattr(attached, name) for name in attached.__struct_fields__}
    return AttachedRecord(**(values | changes))


def test_what_was_attached_is_in_the_decision_log_with_what_is_hidden_hidden() -> None:
    """It counts as a token, and its subject and actor are hashed as a caller's own would be."""

    def recorded(redaction: Redaction | None) -> dict[str, Any]:
        batches: list[bytes] = []
        log = DecisionLog(batches.append, Callers((), redaction, {}))
        log.outbound(
            decision="d", method=b"GET", host=b"h", path=b"/x", destination="profiles", status=200,
            cause="c", attached=None, denial=None, enforced=True, obtained=ATTACHED,
        )  # fmt: skip
        log.close()
        found: dict[str, Any] = json.loads(b"".join(batches))
        return found

    plain = recorded(None)
    assert (plain["attached"], plain["obtained"]["subject"]) == ("token", "alice")
    assert plain["obtained"]["audience"] == "profiles"
    hidden = recorded(Redaction(frozenset({("sub",), ("act", "sub")}), b"key"))["obtained"]
    assert hidden["subject"].startswith("hmac:")
    assert hidden["actor"].startswith("hmac:")
    assert hidden["token"] == "0123456789abcdef"


def test_an_explanation_says_both_in_words() -> None:
    """The caller's actors after the caller, and the token that went with the call."""
    found = Explanation(
        seq=1, id="d", time="", direction="outbound", method="GET", path="/x", route="profiles",
        status=200, allowed=True, issuer="shop", subject="alice", token="abcd",
        actors=("orders", ""), destination="profiles",
        attached=AttachedRow("exchange", "0123", "alice", "orders", "profiles"),
    )  # fmt: skip
    text = " ".join(" ".join(lines(found)).split())
    assert "caller: alice, of issuer shop, token abcd, used by orders, before it somebody" in text
    assert "attached: token 0123 (exchange), for profiles, of alice, used by orders" in text
    assert "used by" not in " ".join(lines(replace_row(found)))


def replace_row(found: Explanation) -> Explanation:
    values = {name: getattr(found, name) for name in found.__struct_fields__}
    return Explanation(**(values | {"actors": (), "attached": None}))


def test_half_a_surrogate_pair_in_a_chain_does_not_break_a_line() -> None:
    """No UTF-8 can say it, and claims may hold it."""
    batches: list[bytes] = []
    log = AccessLog(batches.append)
    claims = {"sub": "alice", "act": {"sub": "a\ud800", "act": {"sub": "\udc00b"}}}
    principal = Principal("shop", "https://idp.example", "alice", claims=claims)
    ended(log, credential=Credential(principal, b"t", b"d" * 32, 0.0, 0.0))
    log.close()
    found = json.loads(b"".join(batches))
    assert (found["actor"], found["actors"]) == ("a?", ["a?", "?b"])
