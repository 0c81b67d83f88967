"""``sidecar attribution test`` as a user runs it: whole runs on real processes."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli.trial_report import ProgressLine, lines
from sidecar.testbed.ports import free_ports, is_free
from sidecar.trial.report import EndpointReport, Finding, Misattribution, Report
from sidecar.trial.running import Progress
from tests.cli.conftest import Run, command, environment
from tests.demo.test_story import Terminal

SMALL = ("--calls", "60", "--users", "12", "--concurrency", "1,8")
ENDPOINT = ("--endpoint", "GET /orders/{user}")


def started(way: str) -> list[str]:
    """The arguments for a run of the test app, which is told its ports."""
    app, destination = free_ports(2)
    start = f"{sys.executable} -m tests.trial.app {way}"
    return [
        *("attribution", "test", "--app", str(app), "--destination", f"profiles={destination}"),
        *("--start", start, *ENDPOINT, *SMALL),
    ]


def test_a_right_app(sidecar: Run) -> None:
    """A table, a sentence on what it proves, exit code 0; progress goes to standard error."""
    done = sidecar(*started("right"))
    assert (done.returncode, "passed: " in done.stdout) == (0, True), done.stdout + done.stderr
    head, _, row, *_ = done.stdout.splitlines()
    assert head.split()[:5] == ["endpoint", "requests", "calls", "ok", "wrong"]
    assert row.startswith("GET /orders/{user} ")
    assert "the rate of wrong ones is below 3/" in done.stdout
    rounds = [line.partition(":")[0] for line in done.stderr.splitlines()]
    assert rounds == ["first requests stay open", "1 at a time", "8 at a time"]


def test_a_wrong_app_as_json(sidecar: Run) -> None:
    """Exit code 1, and a document that says which endpoint was wrong with whom."""
    arguments = ("--carrier", "none", "--min-assurance", "compat", "--output", "json")
    done = sidecar(*started("first_for_all"), *arguments)
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert document["passed"] is False
    assert document["findings"][0]["code"] == "wrong"
    assert document["endpoints"][0]["wrong"] == document["total"]["wrong"] > 0
    assert document["examples"][0]["endpoint"] == "GET /orders/{user}"


def test_an_app_without_the_carrier(sidecar: Run) -> None:
    """Nothing proved is exit code 1, with what to do next."""
    done = sidecar(*started("right"), "--carrier", "none")
    assert done.returncode == 1
    assert "FAILED: GET /orders/{user}: no call was right" in done.stdout
    assert "sidecar carrier env python" in done.stdout.partition("What to do next:")[2]


def test_an_app_that_does_not_run(sidecar: Run) -> None:
    """Exit code 3 and one line that says what to do."""
    app, destination = free_ports(2)
    done = sidecar(
        *("attribution", "test", "--app", str(app), "--destination", str(destination), *ENDPOINT)
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        f"sidecar: cannot test: nothing listens on http://127.0.0.1:{app}: start the app first, "
        "or have it started by --start\n"
    )


USUAL: dict[str, str] = {"--app": "8080", "--destination": "9001", "--endpoint": "/x/{user}"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"--app": ""}, "Missing option '--app'"),
        ({"--app": "http://10.0.0.1"}, "the app must be http:// on loopback"),
        ({"--app": "8080/x"}, "the app's URL must be an absolute URL"),
        ({"--destination": "nine"}, "destination 'nine': write PORT or NAME=PORT"),
        ({"--destination": "8080"}, "port 8080 cannot be both the app and a destination"),
        ({"--endpoint": "x"}, "write a method and a path, as in 'GET /orders/{user}'"),
        ({"--concurrency": "1;5"}, "--concurrency '1;5': write numbers with commas"),
        ({"--concurrency": "0"}, "concurrency must be from 1 to 1000, not 0"),
        ({"--calls": "0"}, "calls must be from 1 to 1000000, not 0"),
        ({"--timeout": "120"}, "--timeout '120' needs a unit"),
        ({"--start": "'"}, "--start cannot be split into words"),
        ({"--answer": "@absent.json"}, "absent.json cannot be read: No such file"),
        ({"--min-assurance": "sure"}, "'sure' is not one of"),
    ],
)
def test_wrong_usage(changes: dict[str, str], expected: str, sidecar: Run) -> None:
    """Exit code 2, and a line about the one mistake."""
    options = {**USUAL, **changes}
    words = [word for option in options.items() if option[1] for word in option]
    done = sidecar("attribution", "test", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_test_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C or SIGTERM under load ends everything that was started, with one line."""
    arguments = [*started("right"), "--calls", "2000"]
    ports = [int(arguments[3]), int(arguments[5].partition("=")[2])]
    with subprocess.Popen(
        command(arguments),
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("first requests stay open: ")
            os.kill(process.pid, number)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, output) == (130, "")
    assert errors.splitlines()[-1] == "sidecar: stopped; nothing is left running"
    assert all(map(is_free, ports))


def row(**changes: Any) -> EndpointReport:
    usual: dict[str, Any] = {
        "endpoint": "GET /a", "requests": 10, "answers": {"200": 10}, "ok": 8, "wrong": 0,
        "refused": {"attribution_dead": 2}, "after_hang_up": 1, "anonymous": 0, "unjudged": {},
    }  # fmt: skip
    return EndpointReport(**{**usual, **changes})


def shown(*rows: EndpointReport, **changes: Any) -> str:
    usual: dict[str, Any] = {"findings": (), "notes": (), "examples": (), "rounds": ()}
    return "\n".join(lines(Report(rows, seed=0, seconds=1.0, **{**usual, **changes})))


def test_several_endpoints_have_a_total() -> None:
    """Each endpoint has a line, calls that tell none have one, and there is a sum."""
    text = shown(row(), row(endpoint="", requests=0, ok=0, refused={"attribution_missing": 3}))
    assert [line.split("  ")[0] for line in text.splitlines()[2:5]] == [
        "GET /a", "(tell no endpoint)", "total",
    ]  # fmt: skip
    assert "refused: GET /a: 2 x attribution_dead (1 after their caller had hung up)" in text
    assert "refused: (tell no endpoint): 3 x attribution_missing" in text
    assert "3/8 = 38 %" in text


def test_a_wrong_call_is_spelled_out() -> None:
    """Whose token a call carried, and whom it named; advice is given once."""
    example = Misattribution("GET /a", "ann", "bob", "GET /b", "profiles", "GET", "/p/ann", "r")
    findings = (
        Finding("wrong", "GET /a: wrong", "stop"),
        Finding("wrong", "GET /b: wrong", "stop"),
    )
    text = shown(row(wrong=2), findings=findings, examples=(example,) * 9)
    said = "GET /p/ann at profiles names ann and carried the token of bob, who asked GET /b"
    assert text.count(said) == 3
    assert text.count("FAILED: ") == 2
    assert text.endswith("What to do next:\n  wrong: stop")
    assert "passed" not in text
    assert "95 %" not in text


def test_progress_on_a_terminal_is_one_line() -> None:
    """The line changes in place and is gone in the end."""
    terminal = Terminal("utf-8")
    with ProgressLine(terminal) as line:
        for done in range(1, 1000):
            line.show(Progress("5 at a time", done, 1000, is_over=False, ok=1, wrong=0, refused=0))
        line.show(Progress("5 at a time", 1000, 1000, is_over=True, ok=9, wrong=0, refused=0))
    assert isinstance(terminal.buffer, io.BytesIO)
    text = terminal.buffer.getvalue().decode()
    assert "\n" not in text
    assert text.count("5 at a time") < 20
    assert "1000 of 1000 requests; so far 9 calls right, 0 wrong, 0 refused" in text
    assert text.endswith("\r\x1b[K")
