"""What is legal and probably not meant: it is said, and the configuration is used."""

import pytest

from tests.config.cases import VALID_START, lines
from tests.config.conftest import Examine

CASES = {
    "any audience": (
        "version: 1\nissuers: {a: {issuer: 'https://a.example', audiences: any}}\n",
        [
            "2:55: warning: issuers.a.audiences: `any` accepts a token that was issued for any "
            "other service"
        ],
    ),
    "upper-case issuer": (
        "version: 1\nissuers: {a: {issuer: 'https://A.example', audiences: [x]}}\n",
        [
            "2:23: warning: issuers.a.issuer: has an upper-case host; it is compared with `iss` "
            "exactly, letter by letter"
        ],
    ),
    "app beyond loopback": (
        VALID_START + "inbound: {app: http://app:8080}\n",
        [
            "3:16: warning: inbound.app: is beyond loopback: identity headers cross a network, "
            "and any peer can send its own"
        ],
    ),
    "token longer than any head": (
        VALID_START + "inbound: {max_token: 16KiB, limits: {max_head: 8KiB}}\n",
        [
            "3:22: warning: inbound.max_token: is more than `limits.max_head`, so that no such "
            "token can arrive"
        ],
    ),
    "assurance out of reach": (
        VALID_START + "attribution: {carrier: none}\n"
        "outbound: {destinations: {d: {listen: '127.0.0.1:1', upstream: 'http://[::1]:2'}}}\n",
        [
            "4:30: warning: outbound.destinations.d: `min_assurance: strict` is out of reach with "
            "`attribution.carrier: none`: every call will be refused"
        ],
    ),
    "roles of clients that no token has": (
        VALID_START + "inbound: {rules: [{paths: [/a], require: {client_roles: {c: [r]}}}]}\n",
        [
            "3:19: warning: inbound.rules[0]: asks for `client_roles`, which only tokens of an "
            "issuer with `profile: keycloak` have, and there is none: every request will be refused"
        ],
    ),
    "a proxy's key without the proxy": (
        f"{VALID_START}outbound: {{unlisted: refuse, connect_ports: [8443]}}\n",
        [
            "3:22: warning: outbound.unlisted: has no effect without `proxy`",
            "3:45: warning: outbound.connect_ports: has no effect without `proxy`",
        ],
    ),
}

D = "outbound: {destinations: {d: {listen: '127.0.0.1:1', upstream: 'http://[::1]:2', %s}}}\n"
ASSURANCE = {
    "carrier: opentelemetry": ("", "min_assurance: standard", False),
    "carrier: none": ("", "min_assurance: compat", True),
    "carrier: none, exclusive: credential": ("", "min_assurance: standard", True),
    "carrier: none, exclusive: request": ("", "min_assurance: strict", False),
    "carrier: opentelemetry, max_calls: 1": (
        "inbound: {token_to_app: placeholder}\n",
        "min_assurance: standard",
        True,
    ),
    "carrier: opentelemetry, max_calls: 2": (
        "inbound: {token_to_app: placeholder}\n",
        "min_assurance: strict",
        False,
    ),
    "carrier: none, max_calls: 3": (
        "inbound: {token_to_app: forward}\n",
        "min_assurance: strict",
        True,
    ),
    "carrier: none, max_calls: 4": ("", "token: none", True),
}

SHADOWED = {
    "the same path": ("[/a], require: authenticated", "[/a], require: {roles: [r]}"),
    "everything before": ("[/**], allow: anyone", "[/a, /b/**], require: authenticated"),
    "below a prefix": ("[/a/**], require: authenticated", "[/a/b/c], allow: anyone"),
    "the prefix itself": ("[/a/**], require: authenticated", "[/a], allow: anyone"),
    "another case": ("[/A], require: authenticated", "[/a/], require: {roles: [r]}"),
    "every method before one": (
        "[/a], require: authenticated",
        "[/a], methods: [GET], require: {roles: [r]}",
    ),
    "anyone before anyone": ("[/a], allow: anyone", "[/a], methods: [GET], allow: anyone"),
}

NOT_SHADOWED = {
    "another method": (
        "[/a], methods: [GET], allow: anyone",
        "[/a], methods: [PUT], allow: anyone",
    ),
    "one method before every": (
        "[/a], methods: [GET], require: authenticated",
        "[/a], require: authenticated",
    ),
    "one path left": ("[/a], require: authenticated", "[/a, /b], require: authenticated"),
    "anyone is exact": ("[/a], allow: anyone", "[/a], require: authenticated"),
    "a name that begins alike": ("[/a/**], require: authenticated", "[/ab], allow: anyone"),
    "narrow before wide": ("[/a/b], require: authenticated", "[/a/**], allow: anyone"),
}


def with_rules(*rules: str) -> str:
    indented = "".join(f"    - {{paths: {rule}}}\n" for rule in rules)
    return f"{VALID_START}inbound:\n  rules:\n{indented}"


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_warning(text: str, expected: list[str], examined: Examine) -> None:
    """A warning names its place and leaves the configuration usable."""
    found = examined(text)
    assert lines(found.warnings) == expected
    assert found.config is not None


@pytest.mark.parametrize(
    ("attribution", "inbound", "destination", "reachable"),
    [(attribution, *rest) for attribution, rest in ASSURANCE.items()],
)
def test_assurance_that_no_call_can_reach(
    attribution: str, inbound: str, destination: str, reachable: bool, examined: Examine
) -> None:
    """The carrier decides, and what else the pod has: turns, a placeholder, the token itself."""
    found = examined(f"{VALID_START}attribution: {{{attribution}}}\n{inbound}{D % destination}")
    assert (found.warnings == ()) is reachable
    assert found.config is not None


@pytest.mark.parametrize("rules", SHADOWED.values(), ids=SHADOWED.keys())
def test_rule_that_never_matches(rules: tuple[str, str], examined: Examine) -> None:
    """A rule that earlier ones leave nothing to is named."""
    [warning] = examined(with_rules(*rules)).warnings
    assert (warning.line, warning.path) == (6, "inbound.rules[1]")
    assert "never matches" in warning.message


@pytest.mark.parametrize("rules", NOT_SHADOWED.values(), ids=NOT_SHADOWED.keys())
def test_rule_that_still_matches(rules: tuple[str, str], examined: Examine) -> None:
    """A rule with something left to match is not warned about."""
    assert examined(with_rules(*rules)).warnings == ()


def test_more_rules_than_metric_labels(examined: Examine) -> None:
    """Over 200 rules are legal; the first whose label is shared is named."""
    rules = [f"[/r{n}], allow: anyone" for n in range(201)]
    [warning] = examined(with_rules(*rules)).warnings
    assert warning.path == "inbound.rules[200]"
    assert "share the label `other`" in warning.message
    assert examined(with_rules(*rules[:200])).warnings == ()
