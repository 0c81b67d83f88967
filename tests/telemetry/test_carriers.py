"""``sidecar.telemetry.carriers``: what calls report of their carrier, bounded, and one warning."""

import random

import pytest

from sidecar.telemetry.carriers import LABELS, MAX_NAMED, MAX_REMEMBERED, Carriers

STRICT = b"python/0.1; grade=strict"


class Warnings:
    """Collects what would be logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, message: str, argument: str) -> None:
        self.lines.append(message % argument)


def watched(expectation: str = "profiles demands min_assurance strict") -> Carriers:
    return Carriers(expectation, Warnings())


def table(carriers: Carriers) -> list[tuple[str, str, str, int]]:
    return [(each.name, each.version, each.label, each.calls) for each in carriers.seen()]


def test_calls_are_counted_by_name_version_and_grade() -> None:
    """Spellings of one report are one carrier; another grade is another line."""
    carriers = watched()
    for report in (STRICT, STRICT, b"python/0.1 ;  grade=strict", b"node/2.0-rc.1; grade=standard"):
        carriers.saw((report,))
    carriers.saw(())
    assert table(carriers) == [
        ("python", "0.1", "strict", 3),
        ("node", "2.0-rc.1", "standard", 1),
        ("", "", "none", 1),
    ]
    assert carriers.by_label() == {"strict": 3, "standard": 1, "none": 1, "unrecognised": 0}


@pytest.mark.parametrize(
    ("reports", "label"),
    [
        ((b"python/0.1",), "unrecognised"),
        ((b"",), "unrecognised"),
        ((b"python/0.1; grade=perfect",), "unrecognised"),
        ((STRICT, STRICT), "unrecognised"),
        ((b"\xff/1; grade=strict",), "unrecognised"),
        ((b"python; grade=strict",), "strict"),
        ((b"py\x1b[2J/1; grade=strict",), "unrecognised"),
        ((b"<script>/1; grade=strict",), "strict"),
        ((b"sdc1" + b"a" * 28 + b"/1; grade=strict",), "strict"),
        ((b"a/" + b"9" * 17 + b"; grade=standard",), "standard"),
        ((b"x" * 60_000 + b"/1; grade=standard",), "standard"),
    ],
)
def test_what_is_no_name_is_counted_and_not_shown(reports: tuple[bytes, ...], label: str) -> None:
    """The grade counts as attribution counts it; text that may be anything is `other`."""
    carriers = watched()
    carriers.saw(reports)
    assert table(carriers) == [("other", "", label, 1)]
    assert carriers.by_label()[label] == 1


def test_one_warning_at_the_first_call_without_a_report() -> None:
    """The warning says why, what to do and where to read; it is not repeated."""
    warnings = Warnings()
    carriers = Carriers("profiles demands min_assurance strict", warnings)
    carriers.saw((STRICT,))
    assert warnings.lines == []
    for _ in range(3):
        carriers.saw(())
        carriers.saw((STRICT,))
    (line,) = warnings.lines
    for part in ("profiles demands", "`sidecar carrier env python`", "docs/attribution.md"):
        assert part in line
    assert "\n" not in line


def test_no_warning_where_none_is_expected() -> None:
    """A pod that need not have a carrier is left alone; its calls are counted all the same."""
    warnings = Warnings()
    carriers = Carriers("", warnings)
    carriers.saw(())
    assert (warnings.lines, carriers.by_label()["none"]) == ([], 1)


def test_an_app_that_invents_reports_fills_nothing() -> None:
    """Names over the bound are `other`, every call is counted once, and the warning stays one."""
    warnings = Warnings()
    carriers = Carriers("it is", warnings)
    dice = random.Random(7)
    for number in range(20_000):
        grade = dice.choice(["strict", "standard", "perfect"])
        carriers.saw((f"app{number}/{number}; grade={grade}".encode(),))
    for _ in range(5):
        carriers.saw(())
    named = [each for each in carriers.seen() if each.name not in ("other", "")]
    assert len(named) == MAX_NAMED
    assert len(table(carriers)) == MAX_NAMED + len(LABELS)
    assert sum(carriers.by_label().values()) == 20_005
    assert len(carriers._by_report) <= MAX_REMEMBERED + 1
    assert len(warnings.lines) == 1
