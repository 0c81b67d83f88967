"""Whose identity arrives: one call, many at once, and calls that no request caused.

Each step does one thing on the stage, tells it, and returns what was not as expected.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from sidecar.core.outcome import Reason
from sidecar.demo.answers import SUBJECT_HEADER, problem_reason, subject_seen
from sidecar.demo.asking import Answer, ask, fetch_token
from sidecar.demo.checks import Miss, at_least, same
from sidecar.demo.crowd import measure_load
from sidecar.demo.stage import Stage
from sidecar.demo.story import Story
from sidecar.testbed.users import ALICE, USERS

CALLS: Final = 512
IN_FLIGHT: Final = 32
LEAST_CALLS: Final = 500
LEAST_IN_FLIGHT: Final = 20
_TOLD_DETAILS: Final = 5


async def one_call(stage: Stage, story: Story) -> list[Miss]:
    """Alice calls user-service; show the way her identity took."""
    story.say("alice asks user-service about herself; user-service asks profile-service.")
    answer = await ask(stage, f"{stage.users_url}/users/alice", await fetch_token(stage, ALICE))
    profile = answer.document.get("profile", {})
    if answer.status != 200:
        return [Miss("alice's call", "200", str(answer))]
    story.table(
        ("where", "what happened"),
        [
            ("caller", "GET /users/alice with alice's token from the identity provider"),
            ("user-service's sidecar", "verified the token and kept it"),
            ("user-service", f"{_told(answer.document)}; called localhost for the profile"),
            ("user-service's sidecar", "found the request behind that call; attached its token"),
            ("profile-service's sidecar", "verified the token again and kept it"),
            ("profile-service", _told(profile)),
        ],
    )
    return [
        *same("subject that user-service saw", "alice", _subject(answer.document)),
        *same("subject that profile-service saw", "alice", subject_seen(answer.document)),
        *same("the token in user-service", "withheld", _token_in(answer.document)),
        *same("the token in profile-service", "withheld", _token_in(profile)),
    ]


def _told(service: dict[str, Any]) -> str:
    return f"was told {SUBJECT_HEADER}: {_subject(service)}; the token was {_token_in(service)}"


def _subject(service: dict[str, Any]) -> str:
    return str(service.get("asked_by", {}).get(SUBJECT_HEADER, "nobody"))


def _token_in(service: dict[str, Any]) -> str:
    return "visible" if "authorization" in service.get("fields_received", ()) else "withheld"


async def many_calls(stage: Stage, story: Story) -> list[Miss]:
    """All users call at once; whom did profile-service see?"""
    story.say(
        f"alice, bob and {len(USERS) - 2} others ask about themselves, {IN_FLIGHT} at a time."
    )
    story.say("profile-service's sidecar verifies each token; is its subject the user in the URL?")
    tokens = {user.name: await fetch_token(stage, user) for user in USERS}
    report = await measure_load(stage.users_url, tokens.__getitem__, list(tokens), CALLS, IN_FLIGHT)
    story.result(f"{report.calls} calls, {report.wrong} wrong")
    story.say(
        f"{report.refused} refused, {report.broken} broken; {report.in_flight_floor} to "
        f"{report.in_flight_peak} in flight on {report.connections} connections; "
        f"{report.seconds:.1f} s"
    )
    counted = _most_frequent(report.details)
    return [
        *at_least("calls made", LEAST_CALLS, report.calls),
        *at_least("calls in flight at all times", LEAST_IN_FLIGHT, report.in_flight_floor),
        *same("wrong users seen", "0", str(report.wrong), counted),
        *same("calls refused", "0", str(report.refused), counted),
        *same("calls broken", "0", str(report.broken), counted),
    ]


def _most_frequent(details: Mapping[str, int]) -> str:
    told = [f"{count} x {what}" for what, count in islice(details.items(), _TOLD_DETAILS)]
    others = len(details) - len(told)
    return ", ".join([*told, f"{others} others"] if others else told)


async def background_calls(stage: Stage, story: Story) -> list[Miss]:
    """Calls that no request caused, or whose request is over, have nobody's identity."""
    story.say("user-service has threads that no request started, or whose request is over.")
    token = await fetch_token(stage, ALICE)
    at_start = await ask(stage, f"{stage.users_url}/warmup", token)
    await ask(stage, f"{stage.users_url}/reports", token, method="POST")
    # Waits in user-service until the thread has called, so that one request of alice's is in
    # flight just then: a sidecar that takes "the only one there is" would be caught here.
    afterwards = await ask(stage, f"{stage.users_url}/reports/last", token)
    calls = [
        ("thread at start-up, no request", at_start, {Reason.ATTRIBUTION_MISSING}),
        (
            "thread of a request that ended",
            afterwards,
            {Reason.ATTRIBUTION_MISSING, Reason.ATTRIBUTION_DEAD},
        ),
    ]
    story.table(
        ("who called profile-service", "status", "reason", "what the sidecar said"),
        [
            (what, *_seen_in_background(answer.document), _detail(answer.document))
            for what, answer, _ in calls
        ],
    )
    return [miss for what, answer, reasons in calls for miss in _kept_out(what, answer, reasons)]


def _seen_in_background(seen: dict[str, Any]) -> tuple[str, str]:
    return str(seen.get("status", "-")), problem_reason(seen.get("answer")) or "-"


def _detail(seen: dict[str, Any]) -> str:
    problem = seen.get("answer")
    if not isinstance(problem, dict):
        return str(seen.get("title", "-"))
    return str(problem.get("detail") or problem.get("title") or "-")


def _kept_out(what: str, answer: Answer, reasons: set[Reason]) -> list[Miss]:
    accepted = {(str(reason.facts.status), reason.code) for reason in reasons}
    seen = _seen_in_background(answer.document)
    if seen in accepted:
        return []
    expected = " or ".join(sorted(" ".join(pair) for pair in accepted))
    return [Miss(what, expected, " ".join(seen))]
