"""What rules ask of single claims, of the actor, and of how somebody was authenticated."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.conditions import (
    Actors,
    Authentication,
    Condition,
    Contains,
    OneOf,
    SameAsSegment,
    refuse_claims,
)
from sidecar.core.outcome import Reason
from sidecar.core.problem import challenge

NOW = 1_800_000_000.0
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("value", "found", "is_met"),
    [
        ("north", "north", True),
        ("north", "North", False),
        ("north", ["north"], False),
        (True, True, True),
        (True, 1, False),
        (True, "true", False),
        (1, True, False),
        (1, 1, True),
        (1, 1.0, True),
        (1, "1", False),
        (0, False, False),
        ("1", 1, False),
        ("", None, False),
    ],
)
def test_equality_is_that_of_json(value: str | int | bool, found: object, is_met: bool) -> None:
    """``true`` is no number, a number is no string, and a list is not what is in it."""
    assert OneOf(("c",), (value,)).is_met({"c": found}, []) is is_met


def test_one_of_several_values_anywhere_in_the_claims() -> None:
    """By the path of the claim."""
    condition = OneOf(("org", "tenant"), ("north", "south", 7))
    assert condition.is_met({"org": {"tenant": "south"}}, [])
    assert condition.is_met({"org": {"tenant": 7}}, [])
    for claims in ({}, {"org": "north"}, {"org": {"tenant": "east"}}, {"org.tenant": "north"}):
        assert not condition.is_met(claims, [])


@pytest.mark.parametrize(
    ("found", "has_all", "has_any"),
    [
        (["a", "b", "c"], True, True),
        (["a"], False, True),
        ("a", False, True),
        ("a b", False, False),
        ([], False, False),
        ([1, True, None], False, False),
        ({"a": 1, "b": 2}, False, False),
        (None, False, False),
    ],
)
def test_a_list_contains_all_or_one(found: object, has_all: bool, has_any: bool) -> None:
    """A string is a list of one, as in ``aud``; nothing else is a list."""
    names = frozenset({"a", "b"})
    assert Contains(("g",), names).is_met({"g": found}, []) is has_all
    assert Contains(("g",), names, "any").is_met({"g": found}, []) is has_any


@pytest.mark.parametrize(
    ("segment", "claim", "is_met"),
    [
        (b"alice", "alice", True),
        (b"alice", "Alice", False),
        (b"ALICE", "alice", False),
        (b"a%40x.example", "a@x.example", True),
        (b"a@x.example", "a@x.example", True),
        (b"%C3%A9ve", "éve", True),
        (b"42", 42, True),
        (b"042", 42, False),
        (b"42", 42.0, False),
        (b"1", True, False),
        (b"", "", False),
        (b"alice;x", "alice", False),
        (b"null", None, False),
        (b"alice", ["alice"], False),
    ],
)
def test_a_segment_is_the_claim_octet_by_octet(segment: bytes, claim: object, is_met: bool) -> None:
    """Once it is decoded, as the app will do; the app's own leniency is nobody's right."""
    condition = SameAsSegment(("sub",), "user", 1)
    assert condition.is_met({"sub": claim}, [b"users", segment]) is is_met


def test_a_path_that_ends_before_the_segment_does_not_meet_it() -> None:
    """``/users/**`` also matches ``/users``."""
    assert not SameAsSegment(("sub",), "user", 1).is_met({"sub": "alice"}, [b"users"])


def test_a_claim_that_no_path_can_say() -> None:
    """Half a surrogate pair has no octets."""
    assert not SameAsSegment(("sub",), "user", 0).is_met({"sub": "\ud800"}, [b"x"])


@given(JSON, st.lists(st.binary(max_size=6), max_size=2))
def test_any_claim_and_any_path_give_an_answer(found: Any, segments: list[bytes]) -> None:
    """And a denial never tells the claim's value, nor that of the path."""
    conditions: tuple[Condition, ...] = (
        SameAsSegment(("c",), "x", 0),
        OneOf(("c",), ("never said", 4_294_967_297)),
        Contains(("c",), frozenset({"never said"})),
    )
    for condition in conditions:
        denial = refuse_claims((condition,), {"c": found}, segments)
        if denial is not None:
            assert denial.reason is Reason.CLAIM_CONDITION
            assert denial.detail == f"the rule requires {condition}; the token says otherwise"


def test_a_denial_names_the_first_condition_that_is_not_met() -> None:
    """What was wanted, and whether there was such a claim."""
    conditions: tuple[Condition, ...] = (
        OneOf(("tenant",), ("north",)),
        OneOf(("verified",), (True, 1)),
        Contains(("groups",), frozenset({"staff", "desk"}), "any"),
        SameAsSegment(("sub",), "user", 0),
    )
    said = []
    for claims in (
        {},
        {"tenant": "south"},
        {"tenant": "north"},
        {"tenant": "north", "verified": True, "groups": ["x"]},
        {"tenant": "north", "verified": True, "groups": ["desk"], "sub": "bob"},
    ):
        denial = refuse_claims(conditions, claims, [b"alice"])
        assert denial is not None
        said.append(denial.detail.removeprefix("the rule requires "))
    assert said == [
        "tenant to be north; the token has no such claim",
        "tenant to be north; the token says otherwise",
        "verified to be one of [true, 1]; the token has no such claim",
        "groups to contain one of [desk, staff]; the token says otherwise",
        "sub to be the path's {user}; the token says otherwise",
    ]


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ({"sub": "orders"}, None),
        ({"sub": "orders", "act": {"sub": "evil"}}, None),
        ({"sub": "evil", "act": {"sub": "orders"}}, "evil"),
        ({"sub": ["orders"]}, "nobody"),
        ({"client_id": "orders"}, "nobody"),
        ("orders", "nobody"),
        (None, "nobody"),
    ],
)
def test_only_the_outermost_actor_counts(act: object, reason: str | None) -> None:
    """RFC 8693, 4.1: what is nested tells the history and is not to be decided by."""
    denial = Actors(frozenset({"orders", "billing"})).refuse({"act": act})
    if reason is None:
        assert denial is None
    else:
        assert denial is not None
        assert denial.reason is Reason.ACTOR_REFUSED
        assert denial.detail == (
            "the rule takes tokens that [billing, orders] use for somebody; this one names "
            f"{reason} (act.sub)"
        )


def test_an_actor_may_be_asked_for_or_ruled_out() -> None:
    """Also one that is malformed: whoever wrote it meant somebody."""
    asked = Actors(frozenset({"orders"})).refuse({})
    assert asked is not None
    assert "this one has no act" in asked.detail
    alone = Actors(frozenset())
    assert alone.refuse({}) is None
    for act in ({"sub": "orders"}, None, "x"):
        denial = alone.refuse({"act": act})
        assert denial is not None
        assert denial.reason is Reason.ACTOR_REFUSED


@pytest.mark.parametrize(
    ("auth_time", "detail"),
    [
        (NOW - 600, None),
        (NOW, None),
        (NOW + 60, None),
        (NOW - 601, "the token's was 601 s ago"),
        (NOW + 61, "in the future"),
        (None, "does not say when"),
        ("1800000000", "does not say when"),
        (True, "does not say when"),
    ],
)
def test_the_age_of_an_authentication(auth_time: object, detail: str | None) -> None:
    """Counted from ``auth_time``; a clock may be a minute behind."""
    claims = {} if auth_time is None else {"auth_time": auth_time}
    denial = Authentication(max_age_seconds=600).refuse(claims, NOW)
    if detail is None:
        assert denial is None
    else:
        assert denial is not None
        assert denial.reason is Reason.AUTHENTICATION_INSUFFICIENT
        assert detail in denial.detail


def test_the_challenge_says_what_to_ask_for() -> None:
    """RFC 9470, section 3: both, in one challenge, preferred values first."""
    authentication = Authentication(("phrh", "phr"), 900)
    assert authentication.refuse({"acr": "phr", "auth_time": NOW}, NOW) is None
    for claims in (
        {"acr": "pwd", "auth_time": NOW},
        {"acr": ["phr"], "auth_time": NOW},
        {"acr": "phr", "auth_time": NOW - 901},
        {},
    ):
        denial = authentication.refuse(claims, NOW)
        assert denial is not None
        assert challenge(denial) == (
            'Bearer error="insufficient_user_authentication", '
            'error_description="A stronger or more recent authentication is required", '
            'acr_values="phrh phr", max_age="900"'
        )
