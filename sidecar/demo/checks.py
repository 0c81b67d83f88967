"""What a step of the tour expected and did not see."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Miss:
    """Something that was not as it should be."""

    what: str
    expected: str
    seen: str

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected}, saw {self.seen or 'nothing'}"


def same(what: str, expected: str, seen: str, more: str = "") -> list[Miss]:
    """No miss if *seen* is *expected*; *more* explains what was seen."""
    if seen == expected:
        return []
    return [Miss(what, expected, f"{seen} ({more})" if more else seen)]


def at_least(what: str, least: int, seen: int) -> list[Miss]:
    """No miss if *seen* reaches *least*."""
    return [] if seen >= least else [Miss(what, f"at least {least}", str(seen))]
