"""Who used a token for its subject, read back from a record: what other rules may ask of it."""

from typing import Any

import pytest
from msgspec import json

from sidecar.core.conditions import Actors, OneOf
from sidecar.core.principal import Principal
from sidecar.rehearsal.rejudging import Callers
from sidecar.telemetry.decision_callers import Callers as Recording
from sidecar.telemetry.decision_callers import Redaction


def read_back(act: Any, redaction: Redaction | None = None) -> Principal:
    """Record a caller with this ``act`` and read it."""
    claims = {"sub": "alice", "act": act}
    principal = Principal("shop", "https://i.example", "alice", claims=claims)
    recorded = Recording((), redaction, {}).recorded(principal)
    found = Callers().read(bytes(recorded.content))
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("act", "read"),
    [
        ({"sub": "orders"}, {"sub": "orders"}),
        ({"sub": "orders", "act": {"sub": "cart"}}, {"sub": "orders", "act": {"sub": "cart"}}),
        ({"act": {"sub": "cart"}}, {"act": {"sub": "cart"}}),
        ({}, {}),
        ("orders", {}),
    ],
)
def test_the_chain_is_what_it_was(act: Any, read: dict[str, Any]) -> None:
    """Each actor's ``sub`` in its place; what else stood there is not recorded."""
    claims = read_back(act).claims
    assert claims["act"] == read
    assert json.decode(json.encode(claims))["act"] == read


def test_other_rules_may_ask_for_the_one_before() -> None:
    """A condition on the chain is judged as it would have been, and ``actor`` by the outermost."""
    claims = read_back({"sub": "orders", "act": {"sub": "cart"}}).claims
    assert OneOf(("act", "act", "sub"), ("cart",)).is_met(claims, [])
    assert Actors(frozenset({"orders"})).refuse(claims) is None
    assert Actors(frozenset({"cart"})).refuse(claims) is not None


def test_what_is_hashed_is_not_taken_for_the_actor() -> None:
    """Of a chain in hashes only the outermost is there, which replay knows to be one."""
    claims = read_back(
        {"sub": "orders", "act": {"sub": "cart"}}, Redaction(frozenset({("act", "sub")}))
    ).claims
    assert claims["act"].keys() == {"sub"}
    assert claims["act"]["sub"].startswith("sha256:")
