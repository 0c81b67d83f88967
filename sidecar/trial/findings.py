"""What the counts mean: why a trial is not passed, what else should be known, what to do next."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from sidecar.core.outcome import Reason
from sidecar.trial.report import HUNG_UP, OTHER_CALLS, EndpointReport, Finding

_REFUSED: Final = {
    Reason.ATTRIBUTION_MISSING.code: (
        "load the carrier into the app: --start, or `env $(sidecar carrier env python) python "
        "app.py`. With it loaded, such a call comes from a thread, task or timer that no request "
        "waits for, or from a server or client the carrier does not know: make the call while "
        "the request waits for it"
    ),
    Reason.ATTRIBUTION_DEAD.code: (
        "the call came with the handle of a request that had ended: make it before answering. "
        "Where it is a worker that keeps the handle of the request that started it, it mixes up "
        "users as soon as that request happens to be open"
    ),
    Reason.ATTRIBUTION_UNKNOWN.code: (
        "the app sent a handle from before this run: start it anew, and look at what it keeps "
        "between requests"
    ),
    Reason.ATTRIBUTION_AMBIGUOUS.code: (
        "the handle came twice, as from an app that copies all headers and has the carrier too: "
        "remove one"
    ),
    Reason.ATTRIBUTION_ASSURANCE.code: (
        "the handle came without the carrier: load it, or try --min-assurance compat and see "
        "whether anything is wrong then"
    ),
    Reason.ATTRIBUTION_MAX_AGE.code: "raise attribution.max_age if requests are meant to last",
    Reason.ATTRIBUTION_CALL_LIMIT.code: "raise attribution.max_calls, or look for a loop",
    Reason.FOREIGN_CREDENTIAL.code: (
        "the app sends an Authorization of its own: remove that code, or say `app_credentials: "
        "keep` for that destination"
    ),
    Reason.DESTINATION_UNKNOWN.code: (
        "the app calls the port by another name than localhost: list it under the destination's "
        "`hosts`"
    ),
}
_WRONG: Final = (
    "this app mixes up its users and the sidecar was told to believe it: load the carrier and "
    "leave min_assurance at strict"
)
_STRICT_AND_WRONG: Final = (
    "at min_assurance strict this is a defect of the sidecar or its carrier, or something between "
    "users and app that swaps requests: please report it, with how the app makes the call"
)
_OTHERWISE: Final = "docs/reasons.md explains it"
_UNJUDGED: Final = {
    "no_name": (
        "held no user's name",
        "have an endpoint whose calls hold the user's name (from the path, the body or "
        "x-auth-subject) in path, query, header or body",
    ),
    "several_names": (
        "named several users at once",
        "a call made for several users has no one token that is right: make one call for each",
    ),
    "foreign_credential": ("carried a credential that is no user's", "look at what the app sends"),
}
_SHOWN: Final = 3
LEAST_RIGHT: Final = 30
"""Right calls an endpoint needs: with fewer, one in ten may be wrong (3/30) and not be seen."""
_LEAST_SHARE: Final = 0.1
"""Of an endpoint's calls. Where almost all are refused, the few that are not may be luck: calls
with the handle of a request that has ended are harmless until that request happens to be open."""


def failures(rows: Sequence[EndpointReport], *, min_assurance: str) -> Iterator[Finding]:
    """Why the trial is not passed: each endpoint with a wrong call, or with too few right ones."""
    other = next((row for row in rows if row.endpoint == OTHER_CALLS), None)
    for row in rows:
        if row.wrong:
            yield Finding(
                "wrong",
                f"{row.endpoint}: {row.wrong} of {row.ok + row.wrong} calls carried the token of "
                "somebody else",
                _STRICT_AND_WRONG if min_assurance == "strict" else _WRONG,
            )
        elif row is not other and row.ok < max(LEAST_RIGHT, row.calls * _LEAST_SHARE):
            yield _nothing_proved(row, other)


def notes(rows: Sequence[EndpointReport], total: EndpointReport) -> Iterator[Finding]:
    """What did not fail the trial and still should be known."""
    for reason, count in total.refused.items():
        text, advice = f"{_calls(count)} refused: {reason}", advice_for(reason)
        if reason == Reason.ATTRIBUTION_DEAD.code and total.after_hang_up:
            text += f", {total.after_hang_up} of them because their caller had hung up"
            # Callers of this test do so on purpose, and refusing is right.
            advice = advice if count > total.after_hang_up else ""
        yield Finding(reason, text, advice)
    for cause, count in total.unjudged.items():
        what, advice = _UNJUDGED[cause]
        yield Finding(cause, f"{_calls(count)} not judged: {_it(count)} {what}", advice)
    if total.anonymous:
        yield Finding("anonymous", f"{_calls(total.anonymous)} sent on without a token")
    for row in rows:
        failed = {ending: n for ending, n in row.answers.items() if _is_failure(ending)}
        if not row.refusals and sum(failed.values()) * 2 > row.requests:
            yield Finding(
                "answers", f"{row.endpoint}: most requests were answered {_listed(failed)}"
            )


def advice_for(reason: str) -> str:
    """What to do about a refusal."""
    return _REFUSED.get(reason, _OTHERWISE)


def _nothing_proved(row: EndpointReport, other: EndpointReport | None) -> Finding:
    """Say why no call of this endpoint was right, or too few."""
    name = row.endpoint
    if not row.requests:
        return Finding("nothing_proved", f"{name}: no request was made in the time there was")
    if row.calls:
        return _nothing_right(name, row)
    if "upstream_unreachable" in row.answers and not row.answers.keys() & {"200", "201", "204"}:
        return Finding(
            "nothing_proved",
            f"{name}: the app could not be reached",
            "look at what the app wrote before it ended",
        )
    if all(_is_failure(ending) for ending in row.answers if ending != HUNG_UP):
        return Finding(
            "nothing_proved",
            f"{name}: no call was made; every request was answered {_listed(row.answers)}",
            "check method, path and body of the endpoint, and the app's log",
        )
    if other is not None:
        found = _nothing_right(name, other)
        return Finding(found.code, f"{found.text} (none of them told its endpoint)", found.advice)
    return Finding(
        "nothing_proved",
        f"{name}: the app answered and called no destination",
        "name the port on localhost that this endpoint calls with --destination, and have the app "
        "call http://localhost:PORT",
    )


def _nothing_right(name: str, row: EndpointReport) -> Finding:
    parts = []
    advice = "raise --calls"
    if row.anonymous:
        parts.append(f"{_calls(row.anonymous)} sent on without a token")
    for cause, count in row.unjudged.items():
        what, advice = _UNJUDGED[cause]
        parts.append(f"{count} {what}")
    if row.refusals:
        parts.insert(0, f"{_calls(row.refusals)} refused ({_listed(row.refused)})")
        advice = advice_for(next(iter(row.refused)))
    result = "no call was right"
    if row.ok:
        was = "was" if row.ok == 1 else "were"
        result = f"only {row.ok} of {row.calls} calls {was} right, too few to prove anything"
    details = f": {', '.join(parts)}" if parts else ""
    return Finding("nothing_proved", f"{name}: {result}{details}", advice)


def _is_failure(ending: str) -> bool:
    return not ending.startswith(("2", "3")) and ending != HUNG_UP


def _listed(counts: Mapping[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    items = sorted(counts.items(), key=lambda item: -item[1])
    shown = [f"{count} x {what}" for what, count in islice(items, _SHOWN)]
    return ", ".join([*shown, "others"] if len(items) > _SHOWN else shown)


def _calls(count: int) -> str:
    return "1 call was" if count == 1 else f"{count} calls were"


def _it(count: int) -> str:
    return "it" if count == 1 else "they"
