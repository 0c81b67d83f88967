"""Good and unwise tokens, counted each and warned of rarely."""

from sidecar.telemetry.hygiene import QUIET_SECONDS, TokenHygiene


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_each_is_counted_and_the_first_of_an_hour_is_warned_of() -> None:
    """Just before the hour is over nothing is said, and at it the count so far."""
    clock = Clock()
    said: list[str] = []
    hygiene = TokenHygiene(clock, lambda text, *words: said.append(text % words))
    for _ in range(5):
        hygiene.saw("shop", "lifetime")
    assert said == [
        "issuer shop: its tokens live longer than hygiene.max_lifetime, or for ever: 1 so far"
    ]
    clock.now += QUIET_SECONDS - 0.001
    hygiene.saw("shop", "lifetime")
    assert len(said) == 1
    clock.now += 0.001
    hygiene.saw("shop", "lifetime")
    assert said[1].endswith(": 7 so far")
    assert dict(hygiene.counts()) == {("shop", "lifetime"): 7}


def test_issuers_and_kinds_are_told_apart() -> None:
    """One kind's hour does not silence another, nor another issuer."""
    said: list[str] = []
    hygiene = TokenHygiene(Clock(), lambda text, *words: said.append(text % words))
    for issuer in ("shop", "bank"):
        hygiene.saw(issuer, "size")
        hygiene.saw(issuer, "claim")
    assert len(said) == 4
    assert dict(hygiene.counts()) == {
        ("shop", "size"): 1, ("shop", "claim"): 1, ("bank", "size"): 1, ("bank", "claim"): 1,
    }  # fmt: skip
