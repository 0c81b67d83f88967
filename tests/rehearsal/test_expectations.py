"""``sidecar rules test``: cases judged by the code that judges requests, and wrong ones."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.rehearsal.conftest import Done, rules

CONFIG = """\
version: 1
issuers:
  shop: {issuer: "https://idp.example/realms/shop", audiences: [profiles], profile: keycloak}
  strict: {issuer: "https://at.example", audiences: [profiles], profile: rfc9068,
           algorithms: [PS256]}
inbound:
  rules:
    - {name: health, paths: [/healthz], methods: [GET], allow: anyone}
    - {name: admin, paths: [/admin/**], require: {roles: [ADMIN]}}
    - {name: own, paths: ["/users/{id}"], require: {claims: {sub: {segment: id}}}}
    - {name: fresh, paths: [/pay], require: {max_auth_age: 300s}}
    - {name: north, paths: [/n/**], hosts: [north.example], require: authenticated}
    - {name: watched, paths: [/watched], mode: observe, require: {scopes: [a.b]}}
    - {name: either, paths: [/either], allow: optional_token}
"""
TOKENS = """\
version: 1
now: 2027-01-15T08:00:00Z
tokens:
  alice: {issuer: shop, claims: {scope: profile.read, realm_access: {roles: [USER]}}}
  root: {issuer: shop, claims: {realm_access: {roles: [ADMIN]}, auth_time: 1800000000}}
  late: {issuer: shop, claims: {auth_time: 1799999000}}
  foreign: {issuer: shop, claims: {aud: orders}}
  naked: {issuer: shop, without: [exp]}
  ended: {issuer: shop, claims: {exp: 1799999000}}
  at: {issuer: strict, claims: {client_id: web, jti: x}}
  lax: {issuer: strict}
  id: {issuer: strict, typ: JWT, claims: {client_id: web, jti: x}}
  stranger: {issuer: shop, claims: {iss: "https://evil.example"}}
cases:
"""


def outcome_of(directory: Path, cases: str, *more: str, config: str = CONFIG) -> Done:
    (directory / "sidecar.yaml").write_text(config)
    (directory / "t.yaml").write_text(cases)
    return rules(directory, "test", "t.yaml", "-c", "sidecar.yaml", *more)


@pytest.mark.parametrize(
    "case",
    [
        "request: GET /healthz, expect: {allowed: health}",
        "request: POST /healthz, expect: {refused: no_rule}",
        "request: GET /admin/x, expect: {refused: token_missing, rule: admin}",
        "request: POST /admin/x, token: alice, expect: {refused: role_missing, rule: admin}",
        "request: GET /ADMIN/, token: root, expect: {allowed: admin}",
        "request: GET /users/alice?x=1, token: alice, expect: allowed",
        "request: GET /users/root, token: alice, expect: {refused: claim_condition}",
        "request: GET /pay, token: root, expect: {allowed: fresh}",
        "request: GET /pay, token: late, expect: {refused: authentication_insufficient}",
        "request: GET /n/x, token: alice, host: north.example, expect: {allowed: north}",
        "request: GET /n/x, token: alice, host: south.example, expect: {refused: no_rule}",
        "request: GET /watched, token: alice, expect: allowed",
        "request: GET /watched, token: alice, expect: {observed: scope_missing, rule: watched}",
        "request: GET /either, expect: {allowed: either}",
        "request: GET /either, token: ended, expect: {refused: token_expired}",
        "request: GET /healthz, token: ended, expect: allowed",
        "request: GET /admin, token: foreign, expect: {refused: audience_mismatch}",
        "request: GET /admin, token: naked, expect: {refused: claim_missing}",
        "request: GET /admin, token: at, expect: {refused: role_missing}",
        "request: GET /admin, token: lax, expect: {refused: claim_missing}",
        "request: GET /admin, token: id, expect: {refused: token_type}",
        "request: GET /admin, token: stranger, expect: {refused: issuer_mismatch}",
        "request: GET /admin/..;/healthz, token: root, expect: {refused: path_ambiguous}",
    ],
)
def test_a_case_comes_out_as_a_request_would(tmp_path: Path, case: str) -> None:
    """Paths, hosts, issuers, times and rules are those of the listener."""
    done = outcome_of(tmp_path, f"{TOKENS}  - {{{case}}}\n")
    assert (done.returncode, done.stdout, done.stderr) == (
        0, "1 case: 1 as expected, 0 not\n", "",
    )  # fmt: skip


def test_a_difference_says_all_there_is(tmp_path: Path) -> None:
    """One line: where, what was expected, what came out under which rule, and why."""
    done = outcome_of(
        tmp_path, TOKENS + "  - {name: x, request: GET /admin, token: alice, expect: allowed}\n"
    )
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "t.yaml:15:5: x: expected allowed, but it is refused: role_missing (rule admin): "
        "the rule requires all of [ADMIN]; the token has [USER]",
        "1 case: 0 as expected, 1 not",
    ]


@pytest.mark.parametrize(
    ("expect", "is_met"),
    [
        ("refused", True),
        ("{refused: role_missing}", True),
        ("{refused: scope_missing}", False),
        ("{refused: role_missing, rule: own}", False),
        ("{observed: role_missing}", False),
        ("{allowed: admin}", False),
    ],
)
def test_only_what_is_written_is_held_against_a_case(
    tmp_path: Path, expect: str, is_met: bool
) -> None:
    """Outcome, reason and rule each make a difference."""
    case = f"  - {{request: GET /admin, token: alice, expect: {expect}}}\n"
    assert (outcome_of(tmp_path, TOKENS + case).returncode == 0) is is_met


def test_rules_that_no_case_falls_under(tmp_path: Path) -> None:
    """They are named on request, and fail on request."""
    case = TOKENS + "  - {request: GET /healthz, expect: allowed}\n"
    assert outcome_of(tmp_path, case).returncode == 0
    told = outcome_of(tmp_path, case, "--coverage")
    assert told.returncode == 0
    assert "1 of 7 rules exercised\n  no case falls under the rule admin\n" in told.stdout
    assert outcome_of(tmp_path, case, "--fail-uncovered").returncode == 1


def test_output_for_ci(tmp_path: Path) -> None:
    """JSON and JUnit hold the same results, whatever a name holds."""
    cases = TOKENS + (
        '  - {name: "<&\\"\\u00e9", request: GET /admin, expect: allowed}\n'
        "  - {request: GET /healthz, expect: allowed}\n"
    )
    found = json.loads(outcome_of(tmp_path, cases, "-o", "json").stdout)
    assert [(each["passed"], each["reason"], each["rule"]) for each in found["cases"]] == [
        (False, "token_missing", "admin"), (True, "", "health"),
    ]  # fmt: skip
    suite = ElementTree.fromstring(outcome_of(tmp_path, cases, "-o", "junit").stdout)
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [len(case) for case in suite] == [1, 0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("version: 1\ncases: []\n", "t.yaml:2:8: cases: must not be empty"),
        ("version: 1\n", "t.yaml:1:1: cases: is required"),
        ("version: 2\ncases: [{request: GET /, expect: allowed}]\n", "version: must be 1, not `2`"),
        ("version: 1\ncases: [{request: GET, expect: allowed}]\n",
         "t.yaml:2:19: cases[0].request: `GET` is not a method and a path, such as"),
        ("version: 1\ncases: [{request: GET /, expct: allowed}]\n",
         "t.yaml:2:26: cases[0].expct: unknown key (did you mean `expect`?)"),
        ("version: 1\ncases: [{request: GET /, expect: alowed}]\n", "(did you mean `allowed`?)"),
        ("version: 1\ncases: [{request: GET /, expect: {refused: role_mising}}]\n",
         "is no reason for a refusal (did you mean `role_missing`?)"),
        ("version: 1\ncases: [{request: GET /, expect: {allowed: helth}}]\n",
         "`helth` is no rule of the configuration (did you mean `health`?)"),
        ("version: 1\ncases: [{request: GET /, expect: {rule: admin}}]\n",
         "needs one of `allowed`, `refused` and `observed`"),
        ("version: 1\ncases: [{request: GET /, token: bob, expect: allowed}]\n",
         "`bob` is none of `tokens`"),
        ("version: 1\nnow: yesterday\ncases: [{request: GET /, expect: allowed}]\n",
         "t.yaml:2:6: now: `yesterday` is not a time such as"),
        ("version: 1\ntokens: {a: {issuer: shp}}\ncases: [{request: GET /, expect: allowed}]\n",
         "tokens.a.issuer: `shp` is none of the configuration's `issuers` (did you mean `shop`?)"),
        ("version: 1\ntokens: {a: {}}\ncases: [{request: GET /, expect: allowed}]\n",
         "tokens.a.issuer: is needed, because the configuration has 2 issuers"),
        ("version: 1\ntokens: {a: {claims: {x: on}}}\ncases: [{request: GET /, expect: allowed}]\n",
         "tokens.a.claims.x: `on` needs quotes to be a string"),
        ("version: 1\ntokens: {a: {claims: [x]}}\ncases: [{request: GET /, expect: allowed}]\n",
         "tokens.a.claims: must be a map of claims"),
        ("a: [\n", "is not YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    """Nothing is judged by a file with a mistake."""
    done = outcome_of(tmp_path, text)
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr


def test_a_broken_configuration_and_a_missing_file_are_told(tmp_path: Path) -> None:
    """Both are wrong usage, not a case that fails."""
    broken = outcome_of(tmp_path, TOKENS, config="version: 1\ninbund: {}\n")
    assert broken.returncode == 2
    assert "(did you mean `inbound`?)" in broken.stderr
    missing = rules(tmp_path, "test", "missing.yaml", "-c", "sidecar.yaml")
    assert missing.returncode == 2
