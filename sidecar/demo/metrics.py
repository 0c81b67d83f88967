"""What a sidecar's ``/metrics`` said, and what moved between two times of asking."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

TOLD: Final[Mapping[str, Sequence[str]]] = {
    "sidecar_requests_total": ("direction", "code"),
    "sidecar_rejections_total": ("direction", "reason"),
    "sidecar_attributions_total": ("method", "grade", "outcome"),
    "sidecar_token_cache_lookups_total": ("result",),
}
"""The counters the tour tells about, each summed over every label but these."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The told counters at one moment, by series as written in a query: ``name{label="…"}``."""

    series: Mapping[str, int]

    @classmethod
    def of(cls, exposition: str) -> "Reading":
        """Read the Prometheus text format. Raises ``ValueError`` for anything else."""
        sums: Counter[str] = Counter()
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                if sample.name in TOLD:
                    shown = {label: sample.labels[label] for label in TOLD[sample.name]}
                    sums[series(sample.name, **shown)] += int(sample.value)
        return cls(dict(sums))

    def since(self, before: "Reading") -> dict[str, int]:
        """By how much each series moved, those that did not move left out."""
        changes = {name: value - before.series.get(name, 0) for name, value in self.series.items()}
        return {name: change for name, change in changes.items() if change}


def series(name: str, **labels: str) -> str:
    """Write one series of the table: *labels* are those that ``TOLD`` names, in its order."""
    return name + "{" + ", ".join(f'{label}="{labels[label]}"' for label in TOLD[name]) + "}"
