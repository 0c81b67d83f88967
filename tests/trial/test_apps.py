"""Whole trials of an app that calls out rightly, wrongly or not at all: real processes."""

import re
import socket
import sys

import pytest

from sidecar.testbed.ports import free_ports
from sidecar.testbed.processes import ProcessError, child_environment, child_process
from sidecar.trial.plan import Endpoint
from sidecar.trial.report import Report
from sidecar.trial.running import FIRST_ROUND, Progress, run_trial
from sidecar.trial.stage import TrialError
from tests.trial.conftest import ORDERS, Try, plan_for

COMPAT = {"carrier": "none", "min_assurance": "compat"}
LISTENING = re.compile("^listening on ")
GUESSING = (sys.executable, "-m", "tests.demo.guessing_sidecar")
DYING = (sys.executable, "-m", "tests.demo.dying_sidecar")


def codes(report: Report) -> list[str]:
    return [finding.code for finding in report.findings]


def said(report: Report) -> str:
    return "\n".join(f"{each.text}: {each.advice}" for each in (*report.findings, *report.notes))


async def test_a_right_app_passes(try_app: Try) -> None:
    """With the carrier, every call that is judged has the token of the user it names."""
    carts = Endpoint("POST", "/carts/{user}?x=1", '{"owner": "{user}"}')
    report = await try_app("right", endpoints=(ORDERS, carts), calls=160)
    assert report.passed, said(report)
    assert (report.total.wrong, report.total.anonymous, report.total.unjudged) == (0, 0, {})
    assert set(report.total.refused) <= {"attribution_dead", "attribution_unknown"}
    assert report.total.refusals == report.total.after_hang_up
    assert [row.endpoint for row in report.endpoints] == [ORDERS.name, carts.name]
    assert all(row.ok >= 20 for row in report.endpoints)
    assert sum(each.requests for each in report.rounds) == report.total.requests >= 160


async def test_an_app_that_sends_the_first_handle_with_every_call(try_app: Try) -> None:
    """It is caught while the first request is open, and the report says which endpoint."""
    report = await try_app("first_for_all", **COMPAT)
    (row,) = report.endpoints
    assert (report.passed, codes(report)) == (False, ["wrong"])
    assert row.wrong >= 5
    assert report.wrong_rate_bound is None
    example = report.examples[0]
    assert (example.endpoint, example.round) == (ORDERS.name, FIRST_ROUND)
    assert example.user in example.path
    assert example.subject not in example.path


async def test_a_lazily_started_worker_is_caught(try_app: Try) -> None:
    """The killer: the first request starts a worker and stays open while others use the worker."""
    report = await try_app("lazy_worker", **COMPAT)
    assert codes(report) == ["wrong"]
    assert report.total.wrong >= 5


async def test_a_worker_that_escapes_being_wrong_proves_nothing(try_app: Try) -> None:
    """With no call of its own, the first request ends before the worker goes on: mostly luck."""
    report = await try_app("only_by_worker", **COMPAT)
    assert codes(report) in (["nothing_proved"], ["wrong"])
    assert report.total.refused["attribution_dead"] > 50


async def test_the_strict_carrier_lets_no_worker_be_wrong(try_app: Try) -> None:
    """The same app with the carrier: the worker's calls are refused, the others are right."""
    report = await try_app("lazy_worker_carried")
    assert report.passed, said(report)
    assert report.total.wrong == 0
    assert report.total.ok >= 20
    assert report.total.refused["attribution_missing"] >= 20


async def test_without_the_carrier(try_app: Try) -> None:
    """Everything is refused: that proves nothing, and the advice is to load the carrier."""
    report = await try_app("right", carrier="none")
    assert codes(report) == ["nothing_proved"]
    assert report.total.ok == 0
    assert set(report.total.refused) == {"attribution_missing"}
    assert "sidecar carrier env python" in said(report)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("silent", "the app answered and called no destination"),
        ("nameless", "held no user's name"),
        ("absent", "no call was made; every request was answered"),
    ],
)
async def test_what_proves_nothing_is_no_success(way: str, expected: str, try_app: Try) -> None:
    """An app whose calls cannot be judged fails the trial, with the reason."""
    report = await try_app(way)
    assert codes(report) == ["nothing_proved"]
    assert expected in report.findings[0].text
    assert report.findings[0].advice
    assert report.wrong_rate_bound is None


async def test_calls_after_the_response(try_app: Try) -> None:
    """Late calls are waited for and counted as refused."""
    report = await try_app("afterwards", **COMPAT)
    assert codes(report) == ["nothing_proved"]
    total = report.total
    # The table of ended handles has a fixed size: now and then one has the slot of another.
    assert "attribution_dead" in total.refused
    assert set(total.refused) <= {"attribution_dead", "attribution_unknown"}
    # A thread may be faster than the end of the answer it was started behind.
    assert (total.wrong, total.refusals + total.ok) == (0, total.requests)
    assert total.refusals > 0.8 * total.requests


async def test_an_app_that_crashes(try_app: Try) -> None:
    """The trial ends early and tells the app's last words."""
    report = await try_app("crashing")
    assert "app_ended" in codes(report)
    assert "the app ended with exit code 7 after" in said(report)
    assert "out of cheese" in said(report)


async def test_calls_for_several_users(try_app: Try) -> None:
    """A call that names two users is neither right nor wrong."""
    report = await try_app("batched")
    assert report.total.wrong == 0
    assert report.total.unjudged["several_names"] > 0
    assert codes(report) == ["nothing_proved"]


async def test_a_running_app_that_ends() -> None:
    """The trial does not go on against nothing."""
    port, destination = free_ports(2)
    environment = child_environment(
        PORT=str(port), DESTINATION_PROFILES=f"http://localhost:{destination}"
    )
    command = (sys.executable, "-m", "tests.trial.app", "crashing")
    async with child_process("app", command, environment=environment) as app:
        await app.line(LISTENING, timeout_seconds=20)
        report = await run_trial(
            plan_for(
                "",
                app=f"http://127.0.0.1:{port}",
                start=(),
                destinations={"profiles": destination},
                calls=5000,
            )
        )
    assert "app_ended" in codes(report)
    assert report.total.requests < 1000


async def test_an_app_that_is_running_already() -> None:
    """It is tested as it is, and the report says what that cannot show."""
    (port, destination) = free_ports(2)
    environment = child_environment(
        PORT=str(port), DESTINATION_PROFILES=f"http://localhost:{destination}"
    )
    command = (sys.executable, "-m", "tests.trial.app", "by_hand")
    async with child_process("app", command, environment=environment) as app:
        await app.line(LISTENING, timeout_seconds=20)
        seen: list[Progress] = []
        report = await run_trial(
            plan_for(
                "",
                app=f"http://127.0.0.1:{port}",
                start=(),
                destinations={"profiles": destination},
                calls=60,
                **COMPAT,
            ),
            progress=seen.append,
        )
        app.check()
    assert report.passed, said(report)
    assert report.notes[0].code == "already_running"
    assert [each.round for each in seen if each.is_over] == [each.name for each in report.rounds]


async def test_the_time_is_bounded(try_app: Try) -> None:
    """A trial without time left ends with what it has."""
    report = await try_app("right", calls=100_000, timeout_seconds=1.0)
    assert "time_over" in [note.code for note in report.notes]
    assert report.total.requests < 100_000


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"start": ()}, "nothing listens on http://127.0.0.1:"),
        ({"start": ("no-such-program",)}, "cannot start 'no-such-program': No such file"),
        ({"start": (sys.executable, "-c", "exit(5)")}, "the app ended with exit code 5 before"),
        ({"carrier": "cobol"}, "does not accept this: attribution.carrier: `cobol` is not one of"),
        ({"configuration": {"inbound": {"port": 1}}}, "does not accept this: inbound.port"),
    ],
)
async def test_what_cannot_start(changes: dict[str, object], expected: str, try_app: Try) -> None:
    """Each reason is one line."""
    with pytest.raises(TrialError) as caught:
        await try_app("right", **changes)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_ports_in_use(try_app: Try) -> None:
    """A destination that still runs, or an app that does, is named before anything is started."""
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(TrialError, match=f"port {port} of destination profiles is taken"):
            await try_app("right", destinations={"profiles": port})
        with pytest.raises(TrialError, match="something listens on"):
            await try_app("right", app=f"http://127.0.0.1:{port}")


async def test_a_sidecar_that_guesses_is_caught() -> None:
    """The trial judges the sidecar as much as the app: one that guesses is wrong."""
    report = await run_trial(plan_for("right"), sidecar_command=GUESSING)
    assert codes(report) == ["wrong"]


async def test_a_sidecar_that_dies() -> None:
    """A sidecar that ends on the way is an error of its own, not a result."""
    with pytest.raises(ProcessError, match="the sidecar ended with exit code 7"):
        await run_trial(plan_for("right"), sidecar_command=DYING)
