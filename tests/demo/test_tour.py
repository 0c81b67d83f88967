"""The whole tour: real sidecars, real services, real tokens; and that it can fail."""

import io
import os
import re
import signal
import socket
import sys
from contextlib import AbstractAsyncContextManager

import pytest

from sidecar.demo.ports import Ports
from sidecar.demo.tour import run
from sidecar.testbed.processes import ChildProcess, child_environment, child_process

GUESSING = (sys.executable, "-m", "tests.demo.guessing_sidecar")
DYING = (sys.executable, "-m", "tests.demo.dying_sidecar")
PATIENT = 60.0
"""Seconds; only a broken test waits so long."""


def tour_process(ports: Ports, *, serve: bool) -> AbstractAsyncContextManager[ChildProcess]:
    program = (
        "import sys; from sidecar.demo.ports import Ports; from sidecar.demo.tour import run;"
        f"sys.exit(run(serve={serve}, output=sys.stdout, ports={ports!r}))"
    )
    return child_process("tour", (sys.executable, "-c", program), environment=child_environment())


def test_every_step_holds() -> None:
    """The tour ends with 0, nobody was seen as somebody else, and no token was shown."""
    output, ports = io.StringIO(), Ports.unusual()
    code = run(serve=False, output=output, ports=ports)
    text = output.getvalue()
    assert code == 0, text
    assert "512 calls, 0 wrong" in text
    assert "every step held" in text
    for reason in (
        "token_missing",
        "token_expired",
        "audience_mismatch",
        "signature_invalid",
        "role_missing",
        "attribution_missing",
    ):
        assert reason in text
    assert "eyJ" not in text
    assert ports.taken() == []


def test_the_tour_notices_a_sidecar_that_guesses() -> None:
    """With "the most recent live entry" for attribution, the same load has wrong users in it."""
    output = io.StringIO()
    code = run(serve=False, output=output, ports=Ports.unusual(), user_sidecar_command=GUESSING)
    text = output.getvalue()
    counted = re.search(r"512 calls, (\d+) wrong", text)
    assert counted is not None, text
    assert int(counted[1]) > 0
    assert code == 1
    assert "wrong users seen: expected 0, saw" in text
    assert "did not hold: step 2 (many users at once)" in text


def test_a_sidecar_that_cannot_start_is_told_with_its_last_words() -> None:
    """A port in use ends the tour with the sidecar's own line, and with nothing left running."""
    output, ports = io.StringIO(), Ports.unusual()
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports.user_admin))
        other.listen()
        assert run(serve=False, output=output, ports=ports) == 1
        text = output.getvalue()
        assert "user-service's sidecar ended with exit code 3 before it was ready" in text
        assert "sidecar: cannot start" in text
        assert "Traceback" not in text
        assert ports.taken() == [ports.user_admin]


def test_a_sidecar_that_dies_on_the_way_is_told() -> None:
    """A crash in the middle of the tour is named as what it is, and ends it."""
    output, ports = io.StringIO(), Ports.unusual()
    assert run(serve=False, output=output, ports=ports, user_sidecar_command=DYING) == 1
    text = output.getvalue()
    assert "user-service's sidecar ended with exit code 7; its last lines:" in text
    assert "Traceback" not in text
    assert ports.taken() == []


def test_a_taken_port_of_the_identity_provider_is_one_line() -> None:
    """What the tour itself cannot bind is said in a line, not in a traceback."""
    output, ports = io.StringIO(), Ports.unusual()
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports.identity_provider))
        other.listen()
        assert run(serve=False, output=output, ports=ports) == 1
    expected = f"the identity provider cannot listen on port {ports.identity_provider}"
    assert expected in output.getvalue()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_serving_ends_with_everything_it_started(number: signal.Signals) -> None:
    """--serve prints lines to copy, none with a token in it, and stops cleanly when told to."""
    ports = Ports.unusual()
    async with tour_process(ports, serve=True) as tour:
        await tour.line(re.compile("read the two configuration files"), timeout_seconds=PATIENT)
        os.kill(tour.pid, number)
        await tour.line(re.compile("^  stopping$"), timeout_seconds=PATIENT)
        assert await tour.end(timeout_seconds=PATIENT) == 0
        shown = "\n".join(tour.last_lines(100))
    assert "curl -si http://127.0.0.1:" in shown
    assert "eyJ" not in shown
    assert "Traceback" not in shown
    assert ports.taken() == []


@pytest.mark.parametrize(
    "moment", ["^  profile-service ", "^2. Many users"], ids=["starting", "under load"]
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_tour_leaves_nothing(number: signal.Signals, moment: str) -> None:
    """Ctrl-C or SIGTERM at any moment ends the tour and every process it started."""
    ports = Ports.unusual()
    async with tour_process(ports, serve=False) as tour:
        await tour.line(re.compile(moment), timeout_seconds=PATIENT)
        os.kill(tour.pid, number)
        assert await tour.end(timeout_seconds=PATIENT) == 130
        assert tour.last_lines(1) == ["  stopped"]
    assert ports.taken() == []
