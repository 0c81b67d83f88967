"""``sidecar.telemetry.decision_log``: what a record holds, hides and leaves out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.model import Decisions, Log
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Credential, Principal
from sidecar.telemetry.decision_callers import MAX_CALLER_BYTES, Callers, Redaction
from sidecar.telemetry.decision_log import MAX_PATH_BYTES, DecisionLog
from sidecar.telemetry.decision_settings import DecisionLogError, decision_log
from tests.config.cases import VALID_START, lines
from tests.config.conftest import Examine, examined  # noqa: F401 - a fixture
from tests.support.inflight import arrive, call
from tests.support.pod import pod

CLAIMS: dict[str, Any] = {
    "sub": "alice@shop.example",
    "aud": "profiles",
    "azp": "web",
    "email": "alice@shop.example",
    "exp": 1_800_000_300,
    "acr": "gold",
    "act": {"sub": "gateway"},
    "address": {"country": "NO"},
}


def credential(claims: dict[str, Any] = CLAIMS, scopes: tuple[str, ...] = ()) -> Credential:
    principal = Principal(
        "shop", "https://idp.example", claims["sub"], frozenset(scopes), claims=claims
    )
    return Credential(principal, b"eyJ.the.token", b"d" * 32, 1_800_000_300.0, 0.0)


def recorded(
    *, redaction: Redaction | None = None, claims: tuple[tuple[str, ...], ...] = (), **changes: Any
) -> dict[str, Any]:
    """Return the record of one inbound exchange."""
    batches: list[bytes] = []
    log = DecisionLog(batches.append, Callers(claims, redaction, {"shop": "12345678"}))
    values: dict[str, Any] = {
        "decision": "d-1", "method": b"GET", "host": b"h", "path": b"/users/alice@shop.example?q=1",
        "rule": "users", "status": 200, "credential": credential(), "denial": None,
        "enforced": True, "sent": True,
    }  # fmt: skip
    log.inbound(**(values | changes))
    log.close()
    [line] = b"".join(batches).splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_record_holds_what_rules_may_ask() -> None:
    """The usual claims, those asked for by path, and which of these the token did not have."""
    record = recorded(claims=(("address", "country"), ("tenant",)))
    assert record.pop("time")
    assert record == {
        "record": "decision/1", "id": "d-1", "direction": "inbound", "method": "GET", "host": "h",
        "path": "/users/alice@shop.example", "rule": "users", "status": 200, "allowed": True,
        "presented": "verified",
        "caller": {
            "issuer": "shop", "iss": "https://idp.example", "subject": "alice@shop.example",
            "client": "web", "audiences": ["profiles"], "exp": 1_800_000_300, "acr": "gold",
            "act": "gateway", "claims": {"address.country": "NO"}, "absent": ["tenant"],
            "read_as": "12345678",
        },
    }  # fmt: skip


def test_what_an_issuer_says_anew_of_a_token_is_recorded_anew() -> None:
    """An opaque token that is asked about again may have other scopes under the same digest."""
    batches: list[bytes] = []
    log = DecisionLog(batches.append, Callers((), None, {}))
    for scopes in (("read",), ("write",)):
        log.inbound(
            decision="d", method=b"GET", host=b"h", path=b"/", rule="users", status=200,
            credential=credential(scopes=scopes), denial=None, enforced=True, sent=True,
        )  # fmt: skip
    log.close()
    told = [json.loads(line)["caller"]["scopes"] for line in b"".join(batches).splitlines()]
    assert told == [["read"], ["write"]]


@pytest.mark.parametrize(("key", "kind"), [(b"", "sha256:"), (b"secret", "hmac:")])
def test_what_is_redacted_stands_nowhere(key: bytes, kind: str) -> None:
    """Neither as a claim nor in the path; equal values stay equal."""
    record = recorded(
        claims=(("email",),),
        redaction=Redaction(frozenset({("sub",), ("email",), ("act", "sub")}), key),
    )
    assert "alice" not in json.dumps(record)
    assert "gateway" not in json.dumps(record)
    hidden = record["caller"]["subject"]
    assert hidden.startswith(kind)
    assert record["caller"]["claims"]["email"] == hidden
    assert record["path"] == f"/users/{hidden}"
    assert sorted(record["caller"]["redacted"]) == ["act.sub", "email", "sub"]


def test_a_key_makes_another_hash() -> None:
    """Who can guess a value cannot recognise it without the key."""
    paths = frozenset({("sub",)})
    shown = {Redaction(paths, key).hide("alice") for key in (b"", b"one", b"two")}
    assert len(shown) == 3


def test_what_is_too_large_is_named_and_not_described() -> None:
    """The bound holds, and says that it did."""
    many = credential(scopes=tuple(f"scope-{number:04d}" * 9 for number in range(500)))
    record = recorded(credential=many)
    assert record["caller"] == {
        "issuer": "shop", "iss": "https://idp.example", "subject": "alice@shop.example",
        "cut": True,
    }  # fmt: skip
    assert MAX_CALLER_BYTES < 500 * 90
    long = recorded(path=b"/" + b"x" * 9000)
    assert (len(long["path"]), long["cut"]) == (MAX_PATH_BYTES, True)


def test_half_a_surrogate_pair_does_not_break_a_line() -> None:
    """A claim that no UTF-8 can say costs the description, not the record."""
    record = recorded(credential=credential({**CLAIMS, "acr": "\ud800"}))
    assert record["caller"]["cut"] is True


@pytest.mark.parametrize(
    ("denial", "sent", "presented"),
    [
        (None, False, "none"),
        (None, True, "unread"),
        (None, None, "unknown"),
        (Denial(Reason.TOKEN_MISSING), False, "none"),
        (Denial(Reason.TOKEN_EXPIRED), True, "refused"),
        (Denial(Reason.KEYS_UNAVAILABLE), True, "refused"),
        (Denial(Reason.NO_RULE), True, "unread"),
        (Denial(Reason.UPSTREAM_TIMEOUT), False, "none"),
    ],
)
def test_what_became_of_the_token(denial: Denial | None, sent: bool, presented: str) -> None:
    """It decides what a replay can know of a request without caller."""
    assert recorded(credential=None, denial=denial, sent=sent)["presented"] == presented


def test_refusals_alone() -> None:
    """What was allowed is not recorded then; what was only observed is."""
    batches: list[bytes] = []
    log = DecisionLog(batches.append, Callers((), None, {}), refusals_only=True)
    shared: dict[str, Any] = {
        "decision": "d", "method": b"GET", "host": b"", "path": b"/", "rule": "", "status": 200,
        "credential": None, "sent": False,
    }  # fmt: skip
    log.inbound(**shared, denial=None, enforced=True)
    log.inbound(**shared, denial=Denial(Reason.ROLE_MISSING), enforced=False)
    log.close()
    [line] = b"".join(batches).splitlines()
    assert (json.loads(line)["allowed"], json.loads(line)["reason"]) == (True, "role_missing")


async def test_a_call_names_the_request_that_caused_it(tmp_path: Path) -> None:
    """The outbound record has the destination, what was attached, its aud, and the cause."""
    file = str(tmp_path / "decisions")
    keys = Log(level="error", decisions=Decisions(file=file))
    async with pod(tmp_path, automatic=False, log_keys=keys) as running:
        alice = await arrive(running, running.mint.token("alice", azp="web"))
        await call(running, alice.handle)
        await alice.end()
    call_out, request = [json.loads(line) for line in Path(file).read_text().splitlines()]
    assert (call_out["direction"], call_out["destination"], call_out["attached"]) == (
        "outbound", "profiles", "token",
    )  # fmt: skip
    assert (call_out["cause"], call_out["client"], call_out["audiences"]) == (
        request["id"], "web", ["user-service"],
    )  # fmt: skip
    assert call_out["path"] == "/profiles/x"


def test_a_file_that_cannot_be_opened_is_told_at_the_start(examined: Examine) -> None:  # noqa: F811
    """By the key, with the cause."""
    config = examined(VALID_START).config
    assert config is not None
    broken = replace(config, log=Log(decisions=Decisions(file="/nowhere/d")))
    with pytest.raises(DecisionLogError, match=r"log\.decisions\.file: /nowhere/d cannot be"):
        decision_log(broken, lambda _batch: None)
    off = replace(config, log=Log(decisions=Decisions("off", "/nowhere/d")))
    assert decision_log(off, lambda _batch: None) is None


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("{what: some}", "3:25: log.decisions.what: `some` is not one of all, refusals, off"),
        ("{keep: 2}", "3:25: log.decisions.keep: is for a `file`; standard output is not ours"),
        ("{file: d, max_size: 1KiB}", "3:38: log.decisions.max_size: `1KiB` must be from 64KiB"),
        ("{redact: [scope]}", "3:27: log.decisions.redact: holds `scope`, which is needed to"),
        ("{redact: [act]}", "log.decisions.redact: holds `act`, which is an object (did you mean"),
        ("{redact_key: abc}", "log.decisions.redact_key: must be `${NAME}` or `file:PATH`"),
        ("{redact_key: '${K}'}", "log.decisions.redact_key: needs `redact`"),
        ("{claims: ['a..b']}", "log.decisions.claims[0]: `a..b` has an empty name"),
        ("{fil: d}", "log.decisions.fil: unknown key (did you mean `file`?)"),
    ],
)
def test_wrong_keys_are_told(examined: Examine, written: str, problem: str) -> None:  # noqa: F811
    """Each with its place and what to write instead."""
    found = examined(VALID_START + f"log: {{decisions: {written}}}\n", {"K": "secret"})
    assert any(problem in line for line in lines(found.errors)), lines(found.errors)
