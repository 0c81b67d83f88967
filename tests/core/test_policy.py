"""Rules: which one a request falls under, and whether its caller meets it."""

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.attribution import CallTerms
from sidecar.core.conditions import Authentication, SameAsSegment
from sidecar.core.outcome import Denial, Reason
from sidecar.core.policy import (
    Names,
    Permit,
    Policy,
    PolicyRule,
    Requirement,
    authorize,
)
from sidecar.core.principal import Principal

ALICE = Principal("shop", "https://issuer.example", "alice", frozenset({"read"}), frozenset({"A"}))


def rule(
    name: str,
    *paths: str,
    methods: set[bytes] | None = None,
    requirement: Requirement | None = Requirement(),  # noqa: B008 - immutable
    enforced: bool = True,
) -> PolicyRule:
    """Make a rule that needs a token unless said otherwise."""
    return PolicyRule(
        name, paths, frozenset(methods) if methods else None, requirement, CallTerms(60.0), enforced
    )


def found(policy: Policy, method: bytes, path: bytes, host: bytes = b"") -> str | None:
    """Return the name of the rule that matches."""
    match = policy.match(method, path, host)
    return match.name if match else None


def test_the_first_rule_that_matches_wins() -> None:
    """Order decides, not how specific a pattern is."""
    policy = Policy([rule("all", "/**"), rule("users", "/users")])
    assert found(policy, b"GET", b"/users") == "all"
    policy = Policy([rule("users", "/users"), rule("all", "/**")])
    assert found(policy, b"GET", b"/users") == "users"
    assert found(policy, b"GET", b"/other") == "all"


def test_no_match_is_no_rule() -> None:
    """A path outside every pattern has no rule."""
    assert found(Policy([rule("users", "/users")]), b"GET", b"/admin") is None
    assert found(Policy([]), b"GET", b"/") is None


def test_a_method_that_a_rule_does_not_list_goes_on_to_the_next() -> None:
    """Methods are part of the match."""
    policy = Policy([rule("read", "/a", methods={b"GET"}), rule("rest", "/**")])
    assert found(policy, b"GET", b"/a") == "read"
    assert found(policy, b"POST", b"/a") == "rest"
    assert found(policy, b"get", b"/a") == "rest"


def test_a_star_is_exactly_one_segment() -> None:
    """``*`` matches one segment that is not empty."""
    policy = Policy([rule("one", "/users/*/orders")])
    assert found(policy, b"GET", b"/users/7/orders") == "one"
    assert found(policy, b"GET", b"/users/7/8/orders") is None
    assert found(policy, b"GET", b"/users/orders") is None


def test_two_stars_match_the_prefix_itself_and_everything_below() -> None:
    """``/admin/**`` covers /admin, /admin/ and below, and nothing that only begins alike."""
    policy = Policy([rule("admin", "/admin/**")])
    for path in (b"/admin", b"/admin/", b"/admin/x", b"/admin/x/y"):
        assert found(policy, b"GET", path) == "admin", path
    assert found(policy, b"GET", b"/administrator") is None


def test_a_requirement_cannot_be_dodged_by_case_or_a_trailing_slash() -> None:
    """Rules that require something match case-insensitively and ignore one trailing slash."""
    policy = Policy([rule("admin", "/Admin/users")])
    for path in (b"/Admin/users", b"/admin/users", b"/ADMIN/USERS/"):
        assert found(policy, b"GET", path) == "admin", path


def test_a_rule_for_anyone_matches_exactly() -> None:
    """What needs no token is written exactly: no other case, no trailing slash."""
    policy = Policy([rule("health", "/healthz", requirement=None)])
    assert found(policy, b"GET", b"/healthz") == "health"
    for path in (b"/Healthz", b"/healthz/", b"/healthz/x", b"/x/healthz"):
        assert found(policy, b"GET", path) is None, path


def test_rules_of_both_kinds_keep_their_order() -> None:
    """An open rule before a closed one wins, and the other way round."""
    first = Policy([rule("open", "/a", requirement=None), rule("closed", "/a")])
    assert found(first, b"GET", b"/a") == "open"
    assert found(first, b"GET", b"/A") == "closed"
    second = Policy([rule("closed", "/a"), rule("open", "/a", requirement=None)])
    assert found(second, b"GET", b"/a") == "closed"


def test_ten_thousand_rules_are_all_reachable() -> None:
    """The tree finds each of many rules, including ones under wildcards."""
    policy = Policy([rule(str(n), f"/s{n}/*/end") for n in range(10_000)])
    for n in (0, 1, 4_999, 9_999):
        assert found(policy, b"GET", b"/s%d/x/end" % n) == str(n)


def test_anyone_is_permitted_without_a_principal() -> None:
    """A rule without requirement gives a permit that carries no identity."""
    permit = authorize(rule("open", "/", requirement=None), ALICE)
    assert isinstance(permit, Permit)
    assert permit.principal is None


def test_no_principal_is_refused_even_when_only_observing() -> None:
    """Observing is for rights: a missing token stays a refusal."""
    result = authorize(rule("closed", "/", enforced=False), None)
    assert isinstance(result, Denial)
    assert result.reason is Reason.TOKEN_MISSING


def test_all_scopes_or_any_scope() -> None:
    """``all`` wants every name, ``any`` one of them."""
    both = rule("r", "/", requirement=Requirement(scopes=Names(frozenset({"read", "write"}))))
    either = rule(
        "r", "/", requirement=Requirement(scopes=Names(frozenset({"read", "write"}), "any"))
    )
    denied = authorize(both, ALICE)
    assert isinstance(denied, Denial)
    assert denied.reason is Reason.SCOPE_MISSING
    assert denied.scope == "read write"
    assert "[read]" in denied.detail
    assert isinstance(authorize(either, ALICE), Permit)


def test_a_missing_role_names_what_is_required_and_what_is_held() -> None:
    """The operator reads both sides in the detail."""
    denied = authorize(
        rule("r", "/", requirement=Requirement(roles=Names(frozenset({"ADMIN"})))), ALICE
    )
    assert isinstance(denied, Denial)
    assert denied.reason is Reason.ROLE_MISSING
    assert "[ADMIN]" in denied.detail
    assert "[A]" in denied.detail
    assert not denied.public


def test_an_observing_rule_permits_and_says_what_it_would_have_refused() -> None:
    """The permit carries the denial that was not enforced."""
    observing = rule(
        "r", "/", requirement=Requirement(roles=Names(frozenset({"ADMIN"}))), enforced=False
    )
    permit = authorize(observing, ALICE)
    assert isinstance(permit, Permit)
    assert permit.unmet is not None
    assert permit.unmet.reason is Reason.ROLE_MISSING


def issued(issuer_name: str, aud: object) -> Principal:
    return Principal(issuer_name, "https://x.example", "bob", claims={"aud": aud})


def refused(requirement: Requirement, principal: Principal) -> Denial:
    denial = authorize(rule("r", "/", requirement=requirement), principal)
    assert isinstance(denial, Denial)
    return denial


def test_a_rule_may_take_tokens_of_some_issuers_only() -> None:
    """By their names in the configuration; the detail names both sides."""
    requirement = Requirement(issuers=frozenset({"shop", "partners"}))
    permit = authorize(rule("r", "/", requirement=requirement), issued("shop", "a"))
    assert isinstance(permit, Permit)
    denial = refused(requirement, issued("staff", "a"))
    assert denial.reason is Reason.ISSUER_MISMATCH
    assert denial.detail == "the rule takes tokens of [partners, shop]; this one is of staff"
    assert (denial.reason.facts.status, denial.reason.facts.error) == (401, "invalid_token")


def test_a_rule_may_ask_for_an_audience() -> None:
    """One of several is enough, of several in the token too."""
    requirement = Requirement(audiences=frozenset({"orders", "billing"}))
    for aud in ("orders", ["billing"], ["x", "orders"]):
        permit = authorize(rule("r", "/", requirement=requirement), issued("shop", aud))
        assert isinstance(permit, Permit)
    for aud in ("x", "order", ["Orders"], []):
        denial = refused(requirement, issued("shop", aud))
        assert denial.reason is Reason.AUDIENCE_MISMATCH
        assert denial.detail.startswith("the rule takes tokens for [billing, orders]; this one")
    without = Principal("shop", "https://x.example", "bob")
    assert refused(requirement, without).reason is Reason.AUDIENCE_MISMATCH


def test_who_issued_a_token_and_for_whom_comes_before_its_rights() -> None:
    """Another token is needed in any case, whatever this one may do."""
    both = Requirement(
        scopes=Names(frozenset({"x"})),
        roles=Names(frozenset({"X"})),
        issuers=frozenset({"a"}),
        audiences=frozenset({"a"}),
    )
    assert refused(both, issued("b", "b")).reason is Reason.ISSUER_MISMATCH
    assert refused(both, issued("a", "b")).reason is Reason.AUDIENCE_MISMATCH
    assert refused(both, issued("a", "a")).reason is Reason.SCOPE_MISSING


def test_observing_covers_issuer_and_audience_of_a_rule() -> None:
    """The token is genuine and meant for this service: what is observed is the rule."""
    requirement = Requirement(issuers=frozenset({"a"}))
    permit = authorize(rule("r", "/", requirement=requirement, enforced=False), issued("b", "x"))
    assert isinstance(permit, Permit)
    assert permit.unmet is not None
    assert permit.unmet.reason is Reason.ISSUER_MISMATCH


def test_roles_of_a_client_are_asked_for_by_client() -> None:
    """A realm role, or the same role of another client, does not do."""
    required = Requirement(
        client_roles=(
            ("orders", Names(frozenset({"admin"}))),
            ("my.app", Names(frozenset({"a", "b"}), "any")),
        )
    )
    guarded = rule("r", "/", requirement=required)
    held = {"orders": frozenset({"admin"}), "my.app": frozenset({"b"})}
    bob = Principal("shop", "https://issuer.example", "bob", client_roles=held)
    assert isinstance(authorize(guarded, bob), Permit)
    elsewhere = {"billing": frozenset({"admin"}), "my.app": frozenset({"a"})}
    for principal in (
        Principal("shop", "https://issuer.example", "eve", roles=frozenset({"admin", "a"})),
        Principal("shop", "https://issuer.example", "eve", client_roles=elsewhere),
    ):
        denied = authorize(guarded, principal)
        assert isinstance(denied, Denial)
        assert denied.reason is Reason.ROLE_MISSING
        assert "of the client orders" in denied.detail


def for_hosts(name: str, *hosts: str, anyone: bool = False) -> PolicyRule:
    """Make a rule for every path of *hosts*."""
    made = rule(name, "/**", requirement=None if anyone else Requirement())
    return replace(made, hosts=hosts)


def test_a_rule_may_be_for_some_hosts() -> None:
    """By the name in Host, without its port, in any case; the others go on to the next rule."""
    policy = Policy([for_hosts("api", "api.example", "*.api.example"), rule("rest", "/**")])
    assert policy.asks_for_host
    for host in (b"api.example", b"API.example:8443", b"eu.api.example"):
        assert found(policy, b"GET", b"/x", host) == "api", host
    for host in (b"", b"example", b"x.eu.api.example", b".api.example", b"[::1]:80"):
        assert found(policy, b"GET", b"/x", host) == "rest", host
    assert not Policy([rule("rest", "/**")]).asks_for_host


def test_a_requirement_cannot_be_dodged_by_a_dot_after_the_host() -> None:
    """The app may take both for the same; what lets anyone in is for the name as it is written."""
    closed = Policy([for_hosts("closed", "admin.example"), rule("open", "/**", requirement=None)])
    assert found(closed, b"GET", b"/x", b"Admin.Example.:80") == "closed"
    opened = Policy([for_hosts("open", "www.example", anyone=True), rule("closed", "/**")])
    assert found(opened, b"GET", b"/x", b"www.example") == "open"
    assert found(opened, b"GET", b"/x", b"www.example.") == "closed"


def test_order_decides_between_hosts_too() -> None:
    """Not how specific a host is."""
    wide, narrow = for_hosts("wide", "*.example.org"), for_hosts("narrow", "a.example.org")
    assert found(Policy([wide, narrow]), b"GET", b"/", b"a.example.org") == "wide"
    assert found(Policy([narrow, wide]), b"GET", b"/", b"a.example.org") == "narrow"
    everywhere = rule("everywhere", "/**")
    assert found(Policy([everywhere, narrow]), b"GET", b"/", b"a.example.org") == "everywhere"


PATTERNS = ["/", "/**", "/a", "/A", "/a/", "/{x}", "/a/{x}/**", "/*/b", "/a/b"]
HOSTS = ["a.example.org", "*.example.org", "b.example.org"]
RULES = st.lists(
    st.builds(
        lambda paths, methods, anyone, hosts: replace(
            rule("", *paths, methods=methods, requirement=None if anyone else Requirement()),
            hosts=hosts,
        ),
        st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2),
        st.none() | st.sets(st.sampled_from([b"GET", b"PUT"]), min_size=1),
        st.booleans(),
        st.none() | st.lists(st.sampled_from(HOSTS), min_size=1, max_size=2).map(tuple),
    ),
    max_size=8,
)


def matches_one(each: PolicyRule, method: bytes, path: str, host: str) -> bool:
    """Say whether one rule is for a request, as the documentation says it."""
    exact = each.requirement is None
    if each.methods is not None and method not in each.methods:
        return False
    if each.hosts is not None:
        name = host.lower() if exact else host.lower().removesuffix(".")
        if not any(
            name == pattern
            or (pattern[:2] == "*." and name.split(".", 1)[1:] == [pattern[2:]] and name[0] != ".")
            for pattern in each.hosts
        ):
            return False
    if not exact:
        path = path.lower()
        path = path[:-1] if path.endswith("/") and path != "/" else path
    for pattern in each.paths:
        written = pattern
        if not exact:
            written = written.lower()
            written = written[:-1] if written.endswith("/") and written != "/" else written
        regex = re.sub(r"\{\w+\}|\*(?!\*)(?<!\*\*)", "[^/]+", written.replace("/**", "@"))
        if re.fullmatch(regex.replace("@", "(?:/.*)?"), path):
            return True
    return False


@given(
    RULES,
    st.sampled_from([b"GET", b"PUT", b"POST"]),
    st.sampled_from(["/", "/a", "/A", "/a/", "/a/b", "/A/B/", "/a/b/c", "/x/b", "/x"]),
    st.sampled_from(["", "a.example.org", "A.example.org.", "b.example.org", "x.y.example.org"]),
)
def test_the_first_match_is_that_of_trying_one_rule_after_the_other(
    rules: list[PolicyRule], method: bytes, path: str, host: str
) -> None:
    """Whatever the trees do to be quick."""
    named = [replace(each, name=str(index)) for index, each in enumerate(rules)]
    expected = next((each.name for each in named if matches_one(each, method, path, host)), None)
    assert found(Policy(named), method, path.encode(), host.encode()) == expected


def test_rules_that_never_match_do_not_make_the_others_slower() -> None:
    """Ten thousand rules for one path and method leave one to look at."""
    policy = Policy([rule(str(n), "/a", methods={b"PUT"}) for n in range(10_000)])
    policy_and_more = Policy(
        [*(rule(str(n), "/a", methods={b"PUT"}) for n in range(10_000)), rule("last", "/a")]
    )
    assert found(policy, b"PUT", b"/a") == "0"
    assert found(policy, b"GET", b"/a") is None
    assert found(policy_and_more, b"GET", b"/a") == "last"
    assert len(policy_and_more._everywhere.folded.matching([b"a"])) == 2


def test_an_optional_token_gives_an_identity_where_there_is_one() -> None:
    """And a permit either way."""
    optional = replace(rule("o", "/", requirement=None), optional=True)
    assert optional.looks_at_tokens
    with_token, without = authorize(optional, ALICE), authorize(optional, None)
    assert isinstance(with_token, Permit)
    assert isinstance(without, Permit)
    assert (with_token.principal, without.principal) == (ALICE, None)


def test_a_stronger_authentication_is_asked_for_last() -> None:
    """Whoever lacks a role would log in again for nothing."""
    authentication = Authentication(("phr",), 600)
    both = rule(
        "r",
        "/",
        requirement=Requirement(roles=Names(frozenset({"X"})), authentication=authentication),
    )
    assert both.asks_for_time
    assert not rule("r", "/").asks_for_time
    assert refused_at(both, ALICE, 0.0) is Reason.ROLE_MISSING
    may = Principal(
        "shop", "i", "bob", roles=frozenset({"X"}), claims={"acr": "phr", "auth_time": 0}
    )
    assert refused_at(both, may, 601.0) is Reason.AUTHENTICATION_INSUFFICIENT
    assert refused_at(both, may, 600.0) is None


def refused_at(guarded: PolicyRule, principal: Principal, now: float) -> Reason | None:
    """Return why *principal* is refused at *now*."""
    result = authorize(guarded, principal, b"/", now)
    return result.reason if isinstance(result, Denial) else None


def test_a_condition_sees_the_path_in_its_own_case() -> None:
    """The rule matches in any case, and its conditions to the letter."""
    own = rule("own", "/users/{user}/**", requirement=Requirement(
        conditions=(SameAsSegment(("sub",), "user", 1),)))  # fmt: skip
    alice = Principal("shop", "i", "alice", claims={"sub": "alice"})
    policy = Policy([own])
    for path, permitted in (
        (b"/users/alice", True),
        (b"/USERS/alice/orders", True),
        (b"/users/Alice", False),
        (b"/users/bob/alice", False),
        (b"/users/", False),
    ):
        match = policy.match(b"GET", path)
        result = None if match is None else authorize(match, alice, path)
        assert isinstance(result, Permit) is permitted, path
