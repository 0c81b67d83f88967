"""The latest decisions: what is kept, for how long, and what never is."""

from typing import Any

import pytest

from sidecar.core.attribution import Claim, Evidence
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Credential, Principal
from sidecar.telemetry.decisions import (
    MAX_PATH_BYTES,
    MAX_SAID_BYTES,
    Decisions,
    said_by,
    shown,
)

TOKEN = b"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


def add(decisions: Decisions, name: str, reason: Reason | None = None, **changes: Any) -> None:
    facts: dict[str, Any] = {
        "direction": "inbound", "method": b"GET", "path": b"/x", "host": b"", "route": "r",
        "status": 200, "duration_seconds": 0.0, "overhead_seconds": 0.0, "credential": None,
        "denial": None if reason is None else Denial(reason), "enforced": True, **changes,
    }  # fmt: skip
    decisions.add(decision=name, **facts)


def kept(decisions: Decisions, **asked: Any) -> list[str]:
    return [each.id for each in decisions.newest(1000, **asked)]


def decisions(refusals: int = 4, permits: int = 2) -> Decisions:
    return Decisions(refusals=refusals, permits=permits, wall_clock=lambda: 7.0)


def test_permits_push_out_no_refusal() -> None:
    """However many there are; the oldest permit goes."""
    ring = decisions()
    add(ring, "refused", Reason.NO_RULE)
    for number in range(9):
        add(ring, f"p{number}")
    assert kept(ring) == ["p8", "p7", "refused"]
    assert (ring.recorded, ring.kept) == (10, 3)
    assert ring.find("p0") is None
    assert (found := ring.find("refused")) is not None
    assert found.at == 7.0


def test_a_flood_pushes_out_itself() -> None:
    """The oldest goes of the kind that has most: by route, reason and direction."""
    ring = decisions()
    add(ring, "rare", Reason.ROLE_MISSING, route="admin")
    add(ring, "other", Reason.NO_RULE, route="none")
    for number in range(50):
        add(ring, f"f{number}", Reason.TOKEN_EXPIRED)
    assert kept(ring) == ["f49", "f48", "other", "rare"]


def test_as_many_kinds_as_there_is_room() -> None:
    """Then the oldest of all goes, and never the newcomer."""
    ring = decisions(refusals=3)
    for number in range(6):
        add(ring, f"k{number}", Reason.NO_RULE, route=f"r{number}")
    assert kept(ring) == ["k5", "k4", "k3"]


def test_what_is_asked_for() -> None:
    """The newest first, in pages, refused ones alone, by reason."""
    ring = decisions()
    add(ring, "a", Reason.NO_RULE)
    add(ring, "b", Reason.ROLE_MISSING, enforced=False)
    add(ring, "c")
    assert kept(ring) == ["c", "b", "a"]
    assert kept(ring, refused=True) == ["a"]
    assert kept(ring, before=2) == ["a"]
    assert kept(ring, reason="role_missing") == ["b"]
    assert [each.id for each in ring.newest(1)] == ["c"]


@pytest.mark.parametrize(("refusals", "permits"), [(0, 0), (0, 1), (1, 0)])
def test_none_where_none_is_wanted(refusals: int, permits: int) -> None:
    """Zero keeps nothing of that sort."""
    ring = decisions(refusals, permits)
    add(ring, "a", Reason.NO_RULE)
    add(ring, "b")
    assert kept(ring) == ["b"] * permits + ["a"] * refusals
    assert ring.keeps_permits is (permits > 0)


def test_what_is_never_kept() -> None:
    """No query, no signature, no token, no handle; what callers choose is cut."""
    ring = decisions()
    handle = b"sdc1" + b"a" * 28
    evidence = Evidence((handle,), (b"python/0.1; grade=strict",), (Claim("baggage", handle),))
    principal = Principal("shop", "https://x", "a", claims={"sub": "a"})
    add(ring, "a", Reason.TOKEN_EXPIRED, path=b"/x?secret", token=TOKEN, evidence=evidence)
    add(ring, "b", path=b"/" + b"x" * 9000, host=b"h" * 9000,
        credential=Credential(principal, TOKEN * 100, b"d" * 32, 0.0, 0.0))  # fmt: skip
    for each in ring.newest(2):
        values = repr([vars_of(each), vars_of(each.said), vars_of(each.principal)])
        for secret in ("secret", "c2lnbmF0dXJl", "signature", handle.decode(), "eyJ"):
            assert secret not in values
        assert len(each.path) <= MAX_PATH_BYTES
    assert ring.newest(2)[0].principal is not principal, "its claims are too large"
    (first,) = ring.newest(2)[1:]
    assert (first.path, first.evidence) == (
        b"/x",
        "header, baggage, carrier python/0.1; grade=strict",
    )


def vars_of(value: object) -> list[object]:
    """Return everything *value* holds, compiled or not."""
    return [getattr(value, name) for name in dir(value) if not name.startswith("_")]


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"opaque",
        b"a.b",
        b"a.b.c.d",
        b"a.b.c.d.e",
        b"!.!.c",
        b"a" * 2 * MAX_SAID_BYTES + b".b.c",
    ],
)
def test_what_is_no_jwt_is_not_kept(token: bytes) -> None:
    """An opaque token is a secret as a whole; a large one would take the memory of others."""
    assert said_by(token) is None


def test_what_a_jwt_says() -> None:
    """Header and claims, without the signature."""
    said = said_by(TOKEN)
    assert said is not None
    assert (said.header, said.claims) == (b'{"alg":"ES256"}', b'{"sub":"a"}')


def test_evidence_is_named_and_not_shown() -> None:
    """A carrier that reports nonsense is not quoted."""
    assert shown(Evidence()) == ""
    assert shown(Evidence(carrier=(b"<script>",))) == "an unreadable carrier report"
    assert shown(Evidence(statement=b"x")) == "an Authorization of the app's own"


def test_of_a_large_transaction_token_its_name_is_kept() -> None:
    """The token is bounded by kilobytes, and so many decisions are kept."""
    claims = {"txn": "t", "sub": "s", "req_wl": "w", "scope": "x", "tctx": ["y" * 5000]}
    principal = Principal("tts", "https://t.example", "s", claims=claims)
    small, large = (
        Credential(principal, b"t" * size, b"d" * 32, 0.0, 0.0)
        for size in (MAX_SAID_BYTES, MAX_SAID_BYTES + 1)
    )
    ring = decisions()
    add(ring, "small", transaction=small)
    add(ring, "large", transaction=large)
    for name, kept_claims in (
        ("small", claims), ("large", {"txn": "t", "sub": "s", "req_wl": "w"}),
    ):  # fmt: skip
        found = ring.find(name)
        assert found is not None
        assert found.transaction is not None
        assert found.transaction.claims == kept_claims
        assert not any(isinstance(each, bytes) and b"ttt" in each for each in vars_of(found))
