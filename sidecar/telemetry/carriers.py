"""Which carriers the app's calls report, and the one warning when they report none.

Owns the counts behind ``sidecar status`` and the metric. What a report is worth for attribution is
``sidecar.core.attribution``'s to say; here it is only remembered.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.core.attribution import Grade, grade_of

NONE: Final = "none"
UNRECOGNISED: Final = "unrecognised"
LABELS: Final = (Grade.STRICT.label, Grade.STANDARD.label, NONE, UNRECOGNISED)

OTHER: Final = "other"
MAX_NAMED: Final = 8
"""Carriers told apart. The app writes the report, so it could invent one per call."""
MAX_REMEMBERED: Final = 32
"""Values kept as received; over it the next new one costs reading it, each time."""
MAX_REMEMBERED_BYTES: Final = 128

# Too short for a token or a whole handle, should an app write one there: this is shown.
_NAME: Final = re.compile(rb"([A-Za-z][A-Za-z0-9._-]{0,23})/([0-9A-Za-z][0-9A-Za-z.+-]{0,15}) *;")

WARNING: Final = (
    "calls come without a carrier, so nobody can tell which request caused them (%s): start the "
    "app with what `sidecar carrier env python` prints; docs/attribution.md says why. Said once, "
    "counted as sidecar_carrier_calls_total"
)


@dataclass(slots=True)
class Carrier:
    """Calls whose reports say the same."""

    name: str
    """``other`` over the bound or for a name that is none; empty where there was no report."""
    version: str
    label: str
    """One of ``LABELS``: the grade reported, or why there is none."""
    calls: int = 0


class Carriers:
    """Counts calls by what they report. A call that says what an earlier one said is one addition.

    At the bounds everything is still counted, under the name ``other``.
    """

    def __init__(self, expectation: str, warn: Callable[[str, str], object]) -> None:
        """*expectation* says why calls should have a carrier; empty where they need not.

        *warn* takes a format and its argument, once, at the first call without a report.
        """
        self.expectation = expectation
        self._warn = warn
        self._by_report: dict[tuple[bytes, ...], Carrier] = {}
        self._carriers: dict[tuple[str, str, str], Carrier] = {}
        self._named = 0

    def saw(self, reports: tuple[bytes, ...]) -> None:
        """Count one call with these values of the self-report."""
        carrier = self._by_report.get(reports)
        if carrier is None:
            carrier = self._learn(reports)
        carrier.calls += 1

    def seen(self) -> Iterable[Carrier]:
        """Return what was seen so far, in the order of first appearance."""
        return self._carriers.values()

    def by_label(self) -> Mapping[str, int]:
        """Return the number of calls by each of ``LABELS``."""
        counts = dict.fromkeys(LABELS, 0)
        for carrier in self._carriers.values():
            counts[carrier.label] += carrier.calls
        return counts

    def _learn(self, reports: tuple[bytes, ...]) -> Carrier:
        carrier = self._carrier(*_read(reports))
        if not reports and self.expectation:
            self._warn(WARNING, self.expectation)
        # No report is always remembered, so that it is warned about once.
        is_small = sum(map(len, reports)) <= MAX_REMEMBERED_BYTES
        if not reports or (is_small and len(self._by_report) < MAX_REMEMBERED):
            self._by_report[reports] = carrier
        return carrier

    def _carrier(self, name: str, version: str, label: str) -> Carrier:
        key = (name, version, label)
        known = self._carriers.get(key)
        if known is not None:
            return known
        if name not in ("", OTHER):
            if self._named >= MAX_NAMED:
                return self._carrier(OTHER, "", label)
            self._named += 1
        return self._carriers.setdefault(key, Carrier(name, version, label))


def _read(reports: tuple[bytes, ...]) -> tuple[str, str, str]:
    """Return name, version and label of a report."""
    if not reports:
        return "", "", NONE
    grade = grade_of(reports, Grade.STRICT)
    if grade is Grade.COMPAT:
        return OTHER, "", UNRECOGNISED
    match = _NAME.match(reports[0])
    if match is None:
        return OTHER, "", grade.label
    return match[1].decode(), match[2].decode(), grade.label
