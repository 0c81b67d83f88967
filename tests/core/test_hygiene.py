"""What is worth a warning in a token that is good."""

from typing import Any

import pytest

from sidecar.core.hygiene import HygieneLimits, unclean
from sidecar.core.verification import IssuerPolicy, Verified, Verifier
from tests.core.signing import ISSUER, NOW, claims, key_set, sign

LIMITS = HygieneLimits(3600, 1000, frozenset({"email", "phone_number"}))


@pytest.mark.parametrize(
    ("said", "size", "kinds"),
    [
        ({"iat": 0, "exp": 3600}, 1000, []),
        ({"iat": 0, "exp": 3601}, 1000, ["lifetime"]),
        ({"nbf": 0, "exp": 3601}, 1000, ["lifetime"]),
        ({"iat": 0}, 1000, ["lifetime"]),
        ({"exp": 3601}, 1000, []),
        ({"iat": 0, "exp": 3600}, 1001, ["size"]),
        ({"iat": 0, "exp": 3600, "email": "a@b.test"}, 1, ["claim"]),
        ({"email": 1, "phone_number": 2}, 1001, ["lifetime", "size", "claim"]),
    ],
)
def test_kinds(said: dict[str, Any], size: int, kinds: list[str]) -> None:
    """Just over a limit is unclean, exactly at it is not, and each kind is told once."""
    assert list(unclean(LIMITS, said, size)) == kinds
    assert list(unclean(HygieneLimits(), said, size)) == []


def test_a_token_is_judged_when_it_is_new_and_never_refused() -> None:
    """The second use of a token is no second finding; a refused token is none at all."""
    found: list[tuple[str, str]] = []
    limits = HygieneLimits(unwanted_claims=frozenset({"email"}))
    verifier = Verifier(
        [IssuerPolicy("shop", ISSUER, None, hygiene=limits)],
        render=lambda _: b"",
        max_token_bytes=4096,
        cache_max_entries=2,
        cache_max_bytes=64 * 1024,
        unclean_token=lambda issuer, kind: found.append((issuer, kind)),
    )
    verifier.install("shop", key_set())
    token = sign(claims(email="alice@example.test"))
    for _ in range(3):
        assert isinstance(verifier.verify(token, now=NOW), Verified)
    assert found == [("shop", "claim")]
    verifier.verify(sign(claims(email="alice@example.test", exp=1)), now=NOW)
    assert len(found) == 1
