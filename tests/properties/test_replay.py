"""Whatever was asked and decided: replayed under the rules that decided it, nothing flips."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import decode

from sidecar.config.model import Config
from sidecar.config.parser import parse
from sidecar.config.positions import MappingNode, compose
from sidecar.config.problems import Findings
from sidecar.core.outcome import REASONS_BY_CODE, Denial
from sidecar.core.principal import Credential, Principal
from sidecar.rehearsal.judging import Asked, Judge
from sidecar.rehearsal.rejudging import Callers as Readers
from sidecar.rehearsal.rejudging import recorded_verdict, rejudge
from sidecar.telemetry.decision_callers import Callers, Redaction
from sidecar.telemetry.decision_log import DecisionLog
from sidecar.telemetry.decision_records import DecisionRecord
from sidecar.telemetry.decision_settings import readings, recorded_claims

TEXT = """\
version: 1
issuers: {shop: {issuer: "https://idp.example", audiences: any}}
inbound:
  rules:
    - {paths: [/open], allow: anyone}
    - {paths: [/a/**], require: {roles: [A], scopes: {any: [x, y]}}}
    - {paths: ["/u/{id}"], require: {claims: {sub: {segment: id}}}}
    - {paths: [/t], require: {claims: {t.u: {one_of: [1, "1", true]}}}, mode: observe}
    - {paths: [/f], require: {acr: [gold], max_auth_age: 60s}}
    - {paths: [/g], require: {actor: [gate]}}
    - {paths: [/h], hosts: [h.example], require: authenticated}
"""


def _config() -> Config:
    findings = Findings()
    root = compose(TEXT, "sidecar.yaml", findings)
    assert isinstance(root, MappingNode)
    config = parse(root, findings, {})
    assert config is not None, findings.errors
    return config


CONFIG = _config()
JUDGE = Judge(CONFIG)
NAMES = st.frozensets(st.sampled_from(["A", "x", "y", "z"]))
JSON: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers(0, 2) | st.text()
CLAIMS = st.fixed_dictionaries(
    {"sub": st.text("ab/%é", min_size=1), "exp": st.just(9_999_999_999)},
    optional={
        "t": JSON | st.fixed_dictionaries({"u": JSON | st.lists(JSON)}),
        "acr": st.just("gold") | JSON,
        "auth_time": st.integers(1_799_999_900, 1_800_000_100) | JSON,
        "act": st.just({"sub": "gate"}) | JSON,
        "azp": JSON,
    },
)
PATHS = st.sampled_from(
    [
        "/open",
        "/a",
        "/A/b/",
        "/u/a",
        "/u/b",
        "/u/%C3%A9",
        "/t",
        "/f",
        "/g",
        "/h",
        "/x",
        "/a//",
        "/;",
    ]
)


@given(CLAIMS, NAMES, NAMES, PATHS, st.sampled_from(["", "h.example"]), st.booleans())
def test_nothing_flips(
    claims: dict[str, Any],
    scopes: frozenset[str],
    roles: frozenset[str],
    path: str,
    host: str,
    hidden: bool,
) -> None:
    """Also where the subject is only recorded as a hash."""
    principal = Principal("shop", "https://idp.example", claims["sub"], scopes, roles, claims)
    now = 1_800_000_000.0
    found = JUDGE.find(Asked(b"GET", path.encode(), host.encode(), now))
    denial: Denial | None
    credential: Credential | None
    if isinstance(found, Denial):
        denial, rule, enforced, credential = found, "", True, None
    else:
        verdict = JUDGE.authorize(found, principal, now)
        looks = found.rule.looks_at_tokens
        denial = Denial(REASONS_BY_CODE[verdict.reason]) if verdict.reason else None
        rule, enforced = found.rule.name, not verdict.allowed
        credential = Credential(principal, b"t", b"d", now + 300, 0.0) if looks else None
    batches: list[bytes] = []
    redaction = Redaction(frozenset({("sub",)})) if hidden else None
    log = DecisionLog(
        batches.append,
        Callers(recorded_claims(CONFIG), redaction, readings(CONFIG)),
        clock=lambda: now,
    )
    log.inbound(
        decision="d", method=b"GET", host=host.encode(), path=path.encode(), rule=rule, status=200,
        credential=credential, denial=denial, enforced=enforced, sent=True,
        patterns=() if isinstance(found, Denial) else found.rule.paths,
    )  # fmt: skip
    log.close()
    record = decode(b"".join(batches), type=DecisionRecord)
    known = Readers().read(bytes(record.caller)) if record.presented == "verified" else None
    again = rejudge(record, known, JUDGE)
    before = recorded_verdict(record)
    assert (again.allowed, again.reason) == (before.allowed, before.reason)  # type: ignore[union-attr]
