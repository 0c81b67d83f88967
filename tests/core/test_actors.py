"""``sidecar.core.actors``: who uses a token for its subject, as records say it."""

from typing import Any

import pytest

from sidecar.core.actors import MAX_ACTOR_LENGTH, MAX_ACTORS, actor_chain


def nested(*subjects: object) -> dict[str, Any]:
    """Return the ``act`` of a chain, the outermost first."""
    claims: dict[str, Any] = {}
    for each in reversed(subjects):
        claims = {"act": {"sub": each, **claims}}
    return claims


@pytest.mark.parametrize(
    ("claims", "chain"),
    [
        ({}, ()),
        (nested("cart"), ("cart",)),
        (nested("orders", "cart", "shop"), ("orders", "cart", "shop")),
        ({"act": {}}, ("",)),
        ({"act": {"sub": 7}}, ("",)),
        ({"act": {"iss": "https://x.example", "act": {"sub": "cart"}}}, ("", "cart")),
        ({"act": "cart"}, ("",)),
        ({"act": None}, ("",)),
        ({"act": {"sub": "cart", "act": ["shop"]}}, ("cart", "")),
    ],
)
def test_a_chain_is_told_the_outermost_first(
    claims: dict[str, Any], chain: tuple[str, ...]
) -> None:
    """``sub`` of each; one without a name is there and empty, whatever stands in its place."""
    assert actor_chain(claims) == chain


def test_a_chain_is_bounded_in_depth_and_length() -> None:
    """What an issuer may nest as deep as it likes costs a record no more than this."""
    chain = actor_chain(nested(*[f"service-{number}" for number in range(50)]))
    assert chain == tuple(f"service-{number}" for number in range(MAX_ACTORS))
    (long,) = actor_chain(nested("x" * (MAX_ACTOR_LENGTH + 1)))
    assert len(long) == MAX_ACTOR_LENGTH
    assert long.endswith("x…")
    assert actor_chain(nested("x" * MAX_ACTOR_LENGTH)) == ("x" * MAX_ACTOR_LENGTH,)
