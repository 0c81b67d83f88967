"""Counts everything a trial sees, and makes the report of it.

Three witnesses speak: the callers of what they asked, the destination of what arrived, and the
sidecar's access log of what it refused.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, assert_never

from sidecar.core.outcome import REASONS_BY_CODE, Reason
from sidecar.trial.arrivals import Anonymous, Arrival, Right, Unjudged, Wrong, judge
from sidecar.trial.cast import Cast, Member
from sidecar.trial.report import HUNG_UP, OTHER_CALLS, EndpointReport, Misattribution

_SHOWN_WRONG: Final = 10
_SHOWN_PATH: Final = 200
MAX_ANSWERS: Final = 100
"""Different endings of requests that are counted each for itself."""


class _Row:
    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.ok = 0
        self.wrong = 0
        self.refused: Counter[str] = Counter()
        self.after_hang_up = 0
        self.anonymous = 0
        self.unjudged: Counter[str] = Counter()

    def report(self, endpoint: str) -> EndpointReport:
        return EndpointReport(
            endpoint=endpoint,
            requests=self.answers.total(),
            answers=dict(self.answers.most_common()),
            ok=self.ok,
            wrong=self.wrong,
            refused=dict(self.refused.most_common()),
            after_hang_up=self.after_hang_up,
            anonymous=self.anonymous,
            unjudged=dict(self.unjudged.most_common()),
        )


class Tally:
    """The counts of one run."""

    def __init__(self, cast: Cast, endpoints: Sequence[str]) -> None:
        self.round = ""
        """The part of the load that is under way."""
        self._cast = cast
        self._rows = {name: _Row() for name in (*endpoints, OTHER_CALLS)}
        self._hung_up: Counter[str] = Counter()
        self._wrong: list[Misattribution] = []

    @property
    def requests(self) -> int:
        """Requests that have ended."""
        return sum(row.answers.total() for row in self._rows.values())

    @property
    def ok(self) -> int:
        return sum(row.ok for row in self._rows.values())

    @property
    def wrong(self) -> int:
        return sum(row.wrong for row in self._rows.values())

    @property
    def refused(self) -> int:
        """As far as the access log has told already."""
        return sum(row.refused.total() for row in self._rows.values())

    def answered(self, member: Member, ending: str) -> None:
        """Count how a request of *member* ended."""
        answers = self._rows[member.endpoint.name].answers
        answers[ending if ending in answers or len(answers) < MAX_ANSWERS else "other"] += 1
        if ending == HUNG_UP:
            self._hung_up[member.name] += 1

    def arrived(self, arrival: Arrival) -> None:
        """Judge and count a call that reached the destination."""
        match judge(arrival):
            case Right(user):
                self._row(user).ok += 1
            case Wrong(user, subject):
                self._row(user).wrong += 1
                self._show(arrival, user, subject)
            case Anonymous(user):
                self._row(user).anonymous += 1
            case Unjudged(cause, user):
                self._row(user).unjudged[cause] += 1
            case never:
                assert_never(never)

    def read_access_log(self, line: str) -> None:
        """Count an outbound refusal that the sidecar logged; other lines are passed over."""
        record = _document(line)
        reason = REASONS_BY_CODE.get(str(record.get("reason")))
        if record.get("direction") != "outbound" or reason is None:
            return
        if reason.facts.fault == "peer":
            return  # it was sent, and the destination counted it
        named = self._cast.named_in((str(record.get("path")), str(record.get("subject"))))
        user = min(named) if len(named) == 1 else None
        row = self._row(user)
        row.refused[reason.code] += 1
        if reason is Reason.ATTRIBUTION_DEAD and user is not None and self._hung_up[user]:
            self._hung_up[user] -= 1  # one hang-up explains one such call
            row.after_hang_up += 1

    def _row(self, user: str | None) -> _Row:
        member = None if user is None else self._cast.member(user)
        return self._rows[OTHER_CALLS if member is None else member.endpoint.name]

    def _show(self, arrival: Arrival, user: str, subject: str) -> None:
        if len(self._wrong) >= _SHOWN_WRONG:
            return
        self._wrong.append(
            Misattribution(
                endpoint=self._endpoint_of(user),
                user=user,
                subject=subject,
                subject_endpoint=self._endpoint_of(subject),
                destination=arrival.destination,
                method=arrival.method,
                path=arrival.path[:_SHOWN_PATH],
                round=self.round,
            )
        )

    def _endpoint_of(self, user: str) -> str:
        member = self._cast.member(user)
        return "" if member is None else member.endpoint.name

    def rows(self) -> tuple[EndpointReport, ...]:
        """The counts of each endpoint, and last, if there are any, of calls that tell none."""
        rows = tuple(row.report(name) for name, row in self._rows.items())
        return rows if rows[-1].calls else rows[:-1]

    @property
    def examples(self) -> tuple[Misattribution, ...]:
        """The first of the calls with a wrong token."""
        return tuple(self._wrong)


def _document(line: str) -> dict[str, Any]:
    try:
        parsed = json.loads(line)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
