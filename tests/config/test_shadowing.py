"""The warning about rules that never match, held against the policy that does the matching."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.checks import check
from sidecar.config.model import Allow, Attribution, Rule
from sidecar.config.problems import Findings, Place
from sidecar.config.reading import Draft, Located
from sidecar.core.policy import Policy, PolicyRule
from sidecar.settings import policy_rule

PATTERNS = [
    "/",
    "/**",
    "/a",
    "/A",
    "/a/",
    "/a/**",
    "/a/b",
    "/a/B/**",
    "/a/*",
    "/*",
    "/b",
    "/a/b/**",
    "/{x}",
    "/a/{x}/**",
]
HOSTS = ["a.example.org", "*.example.org"]
PATHS = ["/", "/a", "/A", "/a/", "/a/b", "/a/B", "/a/b/", "/a/b/c", "/A/x", "/b", "/B/", "/c/d"]
METHODS = ["GET", "PUT", "POST"]

RULES = st.lists(
    st.builds(
        Rule,
        name=st.just(""),
        paths=st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3, unique=True).map(tuple),
        access=st.sampled_from(Allow),
        methods=st.none()
        | st.lists(st.sampled_from(METHODS[:2]), min_size=1, unique=True).map(tuple),
        hosts=st.none() | st.lists(st.sampled_from(HOSTS), min_size=1, unique=True).map(tuple),
    ),
    min_size=2,
    max_size=5,
)


def numbered(index: int, rule: Rule) -> PolicyRule:
    return policy_rule(replace(rule, name=f"rules[{index}]"), "enforce", Attribution())


@given(RULES)
def test_never_means_never(rules: list[Rule]) -> None:
    """A rule that is said never to match is not the first match of any request."""
    findings = Findings()
    located = [Located(rule, Place("f"), f"rules[{n}]") for n, rule in enumerate(rules)]
    check(Draft(rules=located), findings)
    policy = Policy(numbered(n, rule) for n, rule in enumerate(rules))
    matching = {
        rule.name
        for path in PATHS
        for method in METHODS
        for host in (b"", b"a.example.org", b"A.example.org.", b"b.example.org")
        if (rule := policy.match(method.encode(), path.encode(), host)) is not None
    }
    assert matching.isdisjoint(warning.path for warning in findings.warnings)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (Rule("", ("/users/*",), Allow.AUTHENTICATED), Rule("", ("/users/me",), Allow.ANYONE)),
        (Rule("", ("/{a}/x",), Allow.AUTHENTICATED), Rule("", ("/*/X/",), Allow.AUTHENTICATED)),
        (
            Rule("", ("/**",), Allow.AUTHENTICATED, hosts=("*.example.org",)),
            Rule("", ("/a",), Allow.AUTHENTICATED, hosts=("b.example.org",)),
        ),
        (
            Rule("", ("/**",), Allow.AUTHENTICATED, ("GET",)),
            Rule("", ("/a",), Allow.OPTIONAL_TOKEN, ("GET",)),
        ),
    ],
)
def test_a_rule_behind_a_wider_one_is_reported(earlier: Rule, later: Rule) -> None:
    """Wildcards and hosts too; and not the other way round."""

    def warned(*rules: Rule) -> list[str]:
        findings = Findings()
        located = [Located(rule, Place("f"), f"rules[{n}]") for n, rule in enumerate(rules)]
        check(Draft(rules=located), findings)
        return [warning.path for warning in findings.warnings]

    assert warned(earlier, later) == ["rules[1]"]
    assert warned(later, earlier) == [] or earlier.paths == ("/{a}/x",)
