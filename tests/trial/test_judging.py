"""From what a call says and carries to a verdict, a count and a sentence."""

import json
from typing import Any

import pytest

from sidecar.trial.arrivals import Anonymous, Arrival, Judgement, Right, Unjudged, Wrong, judge
from sidecar.trial.cast import Cast, without_names
from sidecar.trial.findings import failures, notes
from sidecar.trial.plan import Endpoint
from sidecar.trial.report import HUNG_UP, Finding, Report, total_of
from sidecar.trial.tally import MAX_ANSWERS, Tally

ORDERS, CARTS = Endpoint("GET", "/orders/{user}"), Endpoint("POST", "/carts")


@pytest.fixture
def cast() -> Cast:
    return Cast((ORDERS, CARTS), 6, lambda name: f"token-of-{name}")


@pytest.fixture
def tally(cast: Cast) -> Tally:
    return Tally(cast, [ORDERS.name, CARTS.name])


def arrival(*named: str, subject: str | None = None, credential: bool = True) -> Arrival:
    return Arrival("profiles", "GET", "/p", frozenset(named), credential, subject)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (arrival("a", subject="a"), Right("a")),
        (arrival("a", subject="b"), Wrong("a", "b")),
        (arrival("a", credential=False), Anonymous("a")),
        (arrival(credential=False), Anonymous(None)),
        (arrival(subject="a"), Unjudged("no_name", "a")),
        (arrival("a", "b", subject="a"), Unjudged("several_names", "a")),
        (arrival("a"), Unjudged("foreign_credential", "a")),
    ],
)
def test_verdicts(call: Arrival, expected: Judgement) -> None:
    """Only one name and one token of ours make a call right or wrong."""
    assert judge(call) == expected


def test_names_are_unguessable_and_tell_the_endpoint(cast: Cast) -> None:
    """Each endpoint has users of its own; no two runs share a name."""
    names = {member.name for member in cast.members}
    assert len(names) == 6
    assert all(len(name) == 23 and name.startswith("sdu") for name in names)
    assert {member.endpoint for member in cast.of(ORDERS)} == {ORDERS}
    others = Cast((ORDERS,), 6, str)
    assert names.isdisjoint(member.name for member in others.members)
    assert cast.named_in([others.members[0].name]) == frozenset()


def test_every_endpoint_has_two_users_at_least() -> None:
    """With one user nobody could be mixed up."""
    cast = Cast((ORDERS, CARTS), 1, str)
    assert len(cast.of(ORDERS)) == len(cast.of(CARTS)) == 2


def test_names_are_found_wherever_they_stand(cast: Cast) -> None:
    """In any case, glued to other text, and behind what only begins like a name."""
    one, two = (member.name for member in cast.of(ORDERS)[:2])
    assert cast.named_in([f"/a/{one}", f'{{"x":"{two.upper()}"}}']) == {one, two}
    assert cast.named_in([f"x{one}y"]) == {one}
    assert cast.named_in([f"sdu{one}"]) == {one}
    assert cast.named_in([one[:-1], ""]) == frozenset()
    assert without_names(f"/a/{one}/{two.upper()}") == "/a/{user}/{user}"


def test_a_token_stays_out_of_sight(cast: Cast) -> None:
    """Failure messages show no token."""
    assert "token-of" not in repr(cast.members[0])


def line(**record: Any) -> str:
    return json.dumps({"direction": "outbound", "path": "/", **record})


def test_refusals_are_read_from_the_access_log(cast: Cast, tally: Tally) -> None:
    """Outbound refusals count for the endpoint that the path tells; what was sent does not."""
    user = cast.of(ORDERS)[0].name
    tally.read_access_log(line(reason="attribution_missing", path=f"/profiles/{user}"))
    tally.read_access_log(line(reason="attribution_missing", path="/profiles"))
    tally.read_access_log(line(reason="foreign_credential", subject=cast.of(CARTS)[0].name))
    tally.read_access_log(line(reason="upstream_reset", path=f"/profiles/{user}"))
    tally.read_access_log(line(direction="inbound", reason="token_expired"))
    tally.read_access_log(line())
    tally.read_access_log("no JSON")
    tally.read_access_log("[]")
    assert [row.refused for row in tally.rows()] == [
        {"attribution_missing": 1},
        {"foreign_credential": 1},
        {"attribution_missing": 1},
    ]
    assert tally.refused == 3


def test_a_hang_up_explains_one_dead_call(cast: Cast, tally: Tally) -> None:
    """Callers who leave on purpose do not count against the app."""
    member = cast.of(ORDERS)[0]
    tally.answered(member, HUNG_UP)
    for _ in range(2):
        tally.read_access_log(line(reason="attribution_dead", path=f"/{member.name}"))
    row = tally.rows()[0]
    assert (row.refused, row.after_hang_up) == ({"attribution_dead": 2}, 1)


def test_endings_are_bounded(cast: Cast, tally: Tally) -> None:
    """An app with endless status codes costs no endless memory."""
    for status in range(2 * MAX_ANSWERS):
        tally.answered(cast.of(ORDERS)[0], str(status))
    row = tally.rows()[0]
    assert (len(row.answers), row.requests) == (MAX_ANSWERS + 1, 2 * MAX_ANSWERS)


def report_of(tally: Tally) -> Report:
    rows = tally.rows()
    return Report(
        endpoints=rows,
        findings=tuple(failures(rows, min_assurance="strict")),
        notes=tuple(notes(rows, total_of(rows))),
        examples=tally.examples,
        rounds=(),
        seed=0,
        seconds=1.0,
    )


def test_right_calls_pass_and_say_how_much_that_is(cast: Cast, tally: Tally) -> None:
    """With N right and none wrong the rate is below 3/N."""
    for endpoint in (ORDERS, CARTS):
        for _ in range(150):
            name = cast.of(endpoint)[0].name
            tally.arrived(arrival(name, subject=name))
    report = report_of(tally)
    assert report.passed
    assert (report.total.ok, report.wrong_rate_bound) == (300, 0.01)


def right(cast: Cast, tally: Tally, count: int) -> None:
    name = cast.of(ORDERS)[0].name
    tally.answered(cast.of(ORDERS)[0], "200")
    for _ in range(count):
        tally.arrived(arrival(name, subject=name))


@pytest.mark.parametrize(
    ("count", "refused", "expected"),
    [
        (29, 0, "only 29 of 29 calls were right, too few to prove anything"),
        (30, 0, ""),
        (30, 270, ""),
        (30, 271, "only 30 of 301 calls were right, too few to prove anything: 271 calls were "
            "refused (attribution_dead)"),
        (1, 1, "only 1 of 2 calls was right, too few to prove anything: 1 call was refused "
            "(attribution_dead)"),
    ],
)  # fmt: skip
def test_a_few_right_calls_prove_nothing(
    count: int, refused: int, expected: str, cast: Cast, tally: Tally
) -> None:
    """An endpoint needs 30 right calls, and one in ten: a worker with a dead handle has luck."""
    right(cast, tally, count)
    for _ in range(refused):
        path = f"/{cast.of(ORDERS)[0].name}"
        tally.read_access_log(line(reason="attribution_dead", path=path))
    texts = [each.text for each in failures(tally.rows()[:1], min_assurance="compat")]
    assert texts == ([f"GET /orders/{{user}}: {expected}"] if expected else [])


def test_one_endpoint_that_proves_nothing_fails(cast: Cast, tally: Tally) -> None:
    """A right endpoint does not stand for another."""
    right(cast, tally, 30)
    tally.answered(cast.of(CARTS)[0], "200")
    report = report_of(tally)
    assert [finding.text for finding in report.findings] == [
        "POST /carts: the app answered and called no destination"
    ]


def test_a_wrong_call_is_shown_with_both_users(cast: Cast, tally: Tally) -> None:
    """Whom the call named, whose token it carried, and which endpoint each had asked."""
    one, other = cast.of(ORDERS)[0].name, cast.of(CARTS)[0].name
    tally.round = "5 at a time"
    for _ in range(50):
        tally.arrived(arrival(one, subject=other))
    report = report_of(tally)
    assert report.findings[0].text == (
        "GET /orders/{user}: 50 of 50 calls carried the token of somebody else"
    )
    assert len(report.examples) == 10
    example = report.examples[0]
    assert (example.user, example.endpoint) == (one, ORDERS.name)
    assert (example.subject, example.subject_endpoint) == (other, CARTS.name)
    assert example.round == "5 at a time"


@pytest.mark.parametrize(
    ("min_assurance", "expected"), [("strict", "please report it"), ("compat", "load the carrier")]
)
def test_what_to_do_about_a_wrong_call(
    min_assurance: str, expected: str, cast: Cast, tally: Tally
) -> None:
    """Weak evidence that was believed can be made stronger; strong evidence must not be wrong."""
    one, other = (member.name for member in cast.of(ORDERS)[:2])
    tally.arrived(arrival(one, subject=other))
    assert expected in next(failures(tally.rows(), min_assurance=min_assurance)).advice


def nothing(cast: Cast, tally: Tally, *, ending: str = "502") -> Finding:
    """The finding about an endpoint that was asked once."""
    tally.answered(cast.of(ORDERS)[0], ending)
    return next(failures(tally.rows(), min_assurance="strict"))


def test_nothing_proved_because_of_refusals(cast: Cast, tally: Tally) -> None:
    """The most frequent reason decides what to do next."""
    user = cast.of(ORDERS)[0].name
    for reason in ("attribution_dead", "attribution_missing", "attribution_missing"):
        tally.read_access_log(line(reason=reason, path=f"/{user}"))
    found = nothing(cast, tally)
    assert found.text == (
        "GET /orders/{user}: no call was right: 3 calls were refused (2 x attribution_missing, "
        "1 x attribution_dead)"
    )
    assert "sidecar carrier env python" in found.advice


def test_nothing_proved_because_calls_tell_no_endpoint(cast: Cast, tally: Tally) -> None:
    """What the calls of nobody in particular came to is told where nothing else is known."""
    tally.read_access_log(line(reason="attribution_missing"))
    found = nothing(cast, tally)
    # The request itself failed, which says more than a call that may not be this endpoint's.
    assert "every request was answered 502" in found.text
    assert "(none of them told its endpoint)" in nothing(cast, tally, ending="200").text


def test_nothing_proved_because_the_app_is_gone(cast: Cast, tally: Tally) -> None:
    """An app that cannot be reached is told as such."""
    found = nothing(cast, tally, ending="upstream_unreachable")
    assert found.text == "GET /orders/{user}: the app could not be reached"


def test_nothing_proved_for_want_of_time(tally: Tally) -> None:
    """An endpoint nobody came to is not passed."""
    assert "no request was made" in next(failures(tally.rows(), min_assurance="strict")).text


def test_calls_without_a_token_prove_nothing(cast: Cast, tally: Tally) -> None:
    """A destination that takes calls without context is told as such."""
    tally.arrived(arrival(cast.of(ORDERS)[0].name, credential=False))
    assert nothing(cast, tally).text.endswith(
        "no call was right: 1 call was sent on without a token"
    )
    assert "anonymous" in [note.code for note in report_of(tally).notes]


def test_every_kind_of_unjudged_call_is_explained(cast: Cast, tally: Tally) -> None:
    """Nothing is left out silently."""
    one, two = (member.name for member in cast.of(ORDERS)[:2])
    tally.arrived(arrival(subject=one))
    tally.arrived(arrival(one, two, subject=one))
    tally.arrived(arrival(one))
    codes = [note.code for note in report_of(tally).notes]
    assert codes == ["no_name", "several_names", "foreign_credential"]


def test_the_document_is_plain_data(cast: Cast, tally: Tally) -> None:
    """The JSON form has every field, the empty ones too, and no token."""
    name = cast.of(ORDERS)[0].name
    tally.arrived(arrival(name, subject=cast.of(CARTS)[0].name))
    document = json.loads(json.dumps(report_of(tally).as_document()))
    assert list(document) == [
        "version", "passed", "total", "wrong_rate_bound", "endpoints", "findings", "notes",
        "examples", "rounds", "seed", "seconds",
    ]  # fmt: skip
    assert list(document["endpoints"][0]) == [
        "endpoint", "requests", "answers", "ok", "wrong", "refused", "after_hang_up",
        "anonymous", "unjudged", "calls",
    ]  # fmt: skip
    assert "token-of" not in json.dumps(document)
