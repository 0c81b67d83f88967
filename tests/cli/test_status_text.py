"""What a person reads of a status."""

import msgspec
import pytest

from sidecar.admin.status import (
    AppStatus,
    AttributionStatus,
    CarrierStatus,
    ClientStatus,
    DestinationStatus,
    IssuerStatus,
    KeyStatus,
    LedgerStatus,
    Status,
    TokenCacheStatus,
)
from sidecar.cli.status_text import lines

NO_CARRIER = AttributionStatus(carrier="none", expectation="", seen=())
EMPTY = Status(
    version="1.2.3",
    uptime_seconds=5,
    ready=True,
    draining=False,
    missing=(),
    issuers=(),
    ledger=LedgerStatus(entries=0, capacity=1),
    token_cache=TokenCacheStatus(hits=0, misses=0),
    attribution=NO_CARRIER,
    destinations=(),
)


def carrier(name: str, version: str, grade: str, calls: int) -> CarrierStatus:
    return CarrierStatus(name=name, version=version, grade=grade, calls=calls)


def destination(
    name: str, calls: dict[str, int] | None, mode: str = "enforce"
) -> DestinationStatus:
    return DestinationStatus(
        name=name,
        listen="127.0.0.1:9001",
        upstream="http://127.0.0.1:8081",
        token="relay",
        min_assurance="strict",
        mode=mode,
        calls=calls,
    )


def issuer(name: str, *, state: str, age: float | None, error: str = "") -> IssuerStatus:
    return IssuerStatus(
        name=name,
        issuer="https://idp.example",
        state=state,
        keys_age_seconds=age,
        last_error=error,
    )


def text(
    *,
    uptime: float = 5,
    missing: tuple[str, ...] = (),
    draining: bool = False,
    issuers: tuple[IssuerStatus, ...] = (),
    cache: tuple[int, int] = (0, 0),
    attribution: AttributionStatus = NO_CARRIER,
    destinations: tuple[DestinationStatus, ...] = (),
) -> list[str]:
    return list(
        lines(
            Status(
                version="1.2.3",
                uptime_seconds=uptime,
                ready=not missing,
                draining=draining,
                missing=missing,
                issuers=issuers,
                ledger=LedgerStatus(entries=3, capacity=12_500),
                token_cache=TokenCacheStatus(hits=cache[0], misses=cache[1]),
                attribution=attribution,
                destinations=destinations,
            )
        )
    )


def test_calls_that_got_through() -> None:
    """Whoever's token they had, or none."""
    calls = {"attached": 1, "own": 2, "accompanied": 3, "exchange_refused": 4}
    (line,) = [
        each for each in text(destinations=(destination("d", calls),)) if "destination d" in each
    ]
    assert line.endswith("1 attached, 2 own, 3 accompanied, refused or failed: 4 exchange_refused")


def test_clients() -> None:
    """What asks for tokens, what it does not get, and how many are kept."""
    clients = (
        ClientStatus(name="idp", circuit="closed"),
        ClientStatus(name="other", circuit="open", troubles=("exchange for a: no", "b: no")),
    )
    shown = list(lines(msgspec.structs.replace(EMPTY, clients=clients, obtained_tokens=1234)))
    assert "client idp: token endpoint circuit closed, no trouble" in shown
    assert "client other: token endpoint circuit open, exchange for a: no; b: no" in shown
    assert "tokens of destinations: 1,234 kept" in shown
    assert not any("token endpoint" in line for line in lines(EMPTY))


def test_everything_at_once() -> None:
    """One screen, from readiness to the outcomes of calls; the most frequent refusal first."""
    assert text(
        uptime=11_520,
        missing=("issuer b: keys not loaded (no route)",),
        issuers=(
            issuer("a", state="stale", age=400, error="timed out"),
            issuer("b", state="blind", age=None, error="no route"),
        ),
        cache=(973, 27),
        attribution=AttributionStatus(
            carrier="auto",
            expectation="profiles demands min_assurance strict",
            seen=(
                carrier("python", "0.1", "strict", 1_200),
                carrier("", "", "none", 1),
                carrier("other", "", "unrecognised", 2),
            ),
        ),
        destinations=(
            destination(
                "profiles",
                {"attribution_dead": 1, "anonymous": 2, "attached": 1_200, "token_expired": 3},
            ),
            destination("orders", {"attribution_missing": 3}),
            destination("quiet", {}),
            destination("late", None),
            destination("tried", {"attribution_missing": 4}, "observe"),
        ),
    ) == [
        "sidecar 1.2.3, up 3 h 12 min, not ready",
        "  missing: issuer b: keys not loaded (no route)",
        "issuer a: stale, keys 6 min old; last error: timed out",
        "issuer b: blind, no keys; last error: no route",
        "ledger: 3 of 12,500 entries in use",
        "token cache: 97.3% of 1,000 look-ups hit",
        "attribution: carrier auto; a carrier is expected: profiles demands min_assurance strict",
        "  python/0.1 strict: 1,200 calls",
        "  without a carrier: 1 call; start the app with what `sidecar carrier env python` prints "
        "(docs/attribution.md)",
        "  other unrecognised: 2 calls",
        f"destination profiles: {WAY}; 1,200 attached, 2 anonymous, "
        "refused or failed: 3 token_expired, 1 attribution_dead",
        f"destination orders: {WAY}; refused or failed: 3 attribution_missing",
        f"destination quiet: {WAY}; no calls yet",
        f"destination late: {WAY}; calls are counted together with those of others",
        f"destination tried: {WAY}, only observed; refused or failed: 4 attribution_missing",
    ]


WAY = "127.0.0.1:9001 -> http://127.0.0.1:8081, token relay, min_assurance strict"


def test_draining_is_a_state_and_nothing_missing() -> None:
    """Whoever drains is not told to look for a cause."""
    first, second, *_ = text(missing=("draining",), draining=True)
    assert first == "sidecar 1.2.3, up 5 s, draining: finishing what it has, taking no more"
    assert second.startswith("ledger: ")


def test_draining_on_request_is_told_apart() -> None:
    """Until SIGTERM whoever comes is served still, and the person learns since when."""
    said = "draining for 3 s: serving whoever comes, telling them to go elsewhere"
    for stopping, expected in ((False, said), (True, "draining: finishing what it has")):
        status = msgspec.structs.replace(
            EMPTY, draining=True, draining_seconds=3.2, stopping=stopping
        )
        assert next(lines(status)).startswith(f"sidecar 1.2.3, up 5 s, {expected}")


def test_where_the_app_listens() -> None:
    """An app that answers to its sidecar alone is a line; any other is a warning, elsewhere."""
    for exposed, expected in ((False, 1), (True, 0), (None, 0)):
        app = AppStatus(address="127.0.0.1:8080", exposed=exposed)
        told = list(lines(msgspec.structs.replace(EMPTY, app=app)))
        said = "app: 127.0.0.1:8080, which answers on no address of the pod"
        assert told.count(said) == expected


def test_no_carrier_is_asked_for_where_none_is_expected() -> None:
    """Calls without one are shown, without advice."""
    attribution = AttributionStatus(
        carrier="none", expectation="", seen=(carrier("", "", "none", 7),)
    )
    assert text(attribution=attribution)[3:5] == [
        "attribution: carrier none; no carrier is expected",
        "  without a carrier: 7 calls",
    ]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.4, "0 s"),
        (119.9, "119 s"),
        (120, "2 min"),
        (7_199, "119 min"),
        (7_200, "2 h 0 min"),
        (172_799, "47 h 59 min"),
        (172_800, "2 d 0 h"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    """Two units at most, the larger ones."""
    assert text(uptime=seconds)[0] == f"sidecar 1.2.3, up {shown}, ready"


def test_long_lists_are_counted() -> None:
    """A screen has room for twenty of a kind."""
    shown = text(destinations=tuple(destination(f"d{n}", {}) for n in range(23)))
    assert sum(line.startswith("destination ") for line in shown) == 20
    assert shown[-1] == "and 3 more destinations"


def test_a_terminal_is_not_steered() -> None:
    """What a peer's error message may hold is escaped."""
    shown = text(issuers=(issuer("a", state="blind", age=None, error="\x1b[2J\u202e"),))
    assert shown[1] == "issuer a: blind, no keys; last error: \\x1b[2J\\u202e"


def test_keys() -> None:
    """Keys with their last use, the next refresh, and a clock that differs; within a bound."""
    keys = (
        KeyStatus(kid="a", last_used_seconds=3.0),
        KeyStatus(kid="\x1b[2J", last_used_seconds=None),
        KeyStatus(kid=None, last_used_seconds=7200.0),
    )
    told = IssuerStatus(
        name="a",
        issuer="https://idp.example",
        state="fresh",
        keys_age_seconds=42,
        last_error="",
        next_refresh_seconds=258.4,
        keys=keys,
        clock_offset_seconds=-75.0,
    )
    assert text(issuers=(told,))[1:5] == [
        "issuer a: fresh, keys 42 s old, next refresh in 4 min, its clock 75 s behind",
        "  key a: last new token 3 s ago",
        "  key \\x1b[2J: not used yet",
        "  key without kid: last new token 2 h 0 min ago",
    ]
    many = msgspec.structs.replace(told, keys=keys[:1] * 23, clock_offset_seconds=1.0)
    shown = text(issuers=(many,))
    assert shown[1].endswith("next refresh in 4 min")
    assert shown[22] == "  and 3 more keys"
