"""The warning about rules that never match, held against the policy that does the matching."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.checks import check
from sidecar.config.model import Allow, Rule
from sidecar.config.problems import Findings, Place
from sidecar.config.reading import Draft, Located
from sidecar.core.attribution import CallTerms
from sidecar.core.policy import Policy, PolicyRule, Requirement

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
]
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
    ),
    min_size=2,
    max_size=5,
)


def policy_rule(index: int, rule: Rule) -> PolicyRule:
    methods = None if rule.methods is None else frozenset(m.encode() for m in rule.methods)
    requirement = None if rule.access is Allow.ANYONE else Requirement()
    return PolicyRule(f"rules[{index}]", rule.paths, methods, requirement, CallTerms(60.0))


@given(RULES)
def test_never_means_never(rules: list[Rule]) -> None:
    """A rule that is said never to match is not the first match of any request."""
    findings = Findings()
    located = [Located(rule, Place("f"), f"rules[{n}]") for n, rule in enumerate(rules)]
    check(Draft(rules=located), findings)
    policy = Policy(policy_rule(n, rule) for n, rule in enumerate(rules))
    matching = {
        rule.name
        for path in PATHS
        for method in METHODS
        if (rule := policy.match(method.encode(), path.encode())) is not None
    }
    assert matching.isdisjoint(warning.path for warning in findings.warnings)
