"""Rules: which one a request falls under, and whether its caller meets it."""

from sidecar.core.attribution import CallTerms
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


def found(policy: Policy, method: bytes, path: bytes) -> str | None:
    """Return the name of the rule that matches."""
    match = policy.match(method, path)
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
    rights = {"scopes": Names(frozenset({"x"})), "roles": Names(frozenset({"X"}))}
    both = Requirement(issuers=frozenset({"a"}), audiences=frozenset({"a"}), **rights)
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
