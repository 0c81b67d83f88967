"""What a trial came to. Its JSON form is public: fields are added, never renamed."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

VERSION: Final = 1
"""Of the JSON form."""
HUNG_UP: Final = "hung up"
"""The ending of a request whose caller left before the answer, as some do on purpose."""
OTHER_CALLS: Final = ""
"""The name of the row for calls that tell no endpoint."""


@dataclass(frozen=True, slots=True)
class EndpointReport:
    """What one endpoint was asked, and what became of the calls it made."""

    endpoint: str
    requests: int
    """Made by users, retries included."""
    answers: Mapping[str, int]
    """How often each status, refusal at the app's door or failure ended a request."""
    ok: int
    """Calls that carried the token of the user they named."""
    wrong: int
    """Calls that carried somebody else's."""
    refused: Mapping[str, int]
    """Calls that the sidecar refused, by reason."""
    after_hang_up: int
    """Of those refused as ``attribution_dead``: the ones whose caller had hung up."""
    anonymous: int
    """Calls that arrived without a token."""
    unjudged: Mapping[str, int]
    """Calls of which it cannot be told for whom they were made: ``no_name`` in it,
    ``several_names``, or a ``foreign_credential`` instead of a token of ours."""

    @property
    def refusals(self) -> int:
        return sum(self.refused.values())

    @property
    def calls(self) -> int:
        """All calls of the endpoint that are known of."""
        unjudged = sum(self.unjudged.values())
        return self.ok + self.wrong + self.refusals + self.anonymous + unjudged


@dataclass(frozen=True, slots=True)
class Misattribution:
    """One call with the wrong token: *user* is whom it named, *subject* whose token it carried."""

    endpoint: str
    user: str
    subject: str
    subject_endpoint: str
    destination: str
    method: str
    path: str
    round: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know: a stable *code*, one sentence, and what to do next if anything."""

    code: str
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """One part of the load."""

    name: str
    concurrency: int
    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome. ``passed`` needs calls that were right and none that was wrong."""

    endpoints: tuple[EndpointReport, ...]
    """In the plan's order; last, if there are any, the calls that tell no endpoint."""
    findings: tuple[Finding, ...]
    """Why it is not passed."""
    notes: tuple[Finding, ...]
    """What should be known besides."""
    examples: tuple[Misattribution, ...]
    """The first few of the calls with a wrong token."""
    rounds: tuple[Round, ...]
    seed: int
    seconds: float

    @property
    def passed(self) -> bool:
        return not self.findings

    @property
    def total(self) -> EndpointReport:
        """All rows together."""
        return total_of(self.endpoints)

    @property
    def wrong_rate_bound(self) -> float | None:
        """With 95 % confidence at most this share of such calls is wrong; the rule of three.

        ``None`` where it says nothing: something was wrong, or nothing was right.
        """
        total = self.total
        return None if total.wrong or not total.ok else min(1.0, 3 / total.ok)

    def as_document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "version": VERSION,
            "passed": self.passed,
            "total": _row(self.total),
            "wrong_rate_bound": self.wrong_rate_bound,
            "endpoints": [_row(row) for row in self.endpoints],
            "findings": [asdict(each) for each in self.findings],
            "notes": [asdict(each) for each in self.notes],
            "examples": [asdict(each) for each in self.examples],
            "rounds": [asdict(each) for each in self.rounds],
            "seed": self.seed,
            "seconds": round(self.seconds, 3),
        }


def total_of(rows: Iterable[EndpointReport]) -> EndpointReport:
    """Add up *rows*."""
    rows = tuple(rows)
    return EndpointReport(
        endpoint="total",
        requests=sum(row.requests for row in rows),
        answers=_sums(row.answers for row in rows),
        ok=sum(row.ok for row in rows),
        wrong=sum(row.wrong for row in rows),
        refused=_sums(row.refused for row in rows),
        after_hang_up=sum(row.after_hang_up for row in rows),
        anonymous=sum(row.anonymous for row in rows),
        unjudged=_sums(row.unjudged for row in rows),
    )


def _row(row: EndpointReport) -> dict[str, Any]:
    return {**asdict(row), "calls": row.calls}


def _sums(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for part in parts:
        sums.update(part)
    return dict(sums.most_common())
