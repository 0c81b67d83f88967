"""The live page's two halves on the control socket: the files, and the numbers of a real pod."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sidecar.admin import page
from sidecar.admin.history import MAX_SERIES_PER_STEP, STEP_SECONDS, STEPS, History
from sidecar.core.outcome import Reason
from sidecar.telemetry.metrics import Metrics
from tests.admin.test_control import exchange
from tests.support.http import fetch
from tests.support.pod import pod


async def get(path: Path, target: str) -> tuple[str, bytes]:
    head, _, body = (
        await exchange(
            path, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
    ).partition(b"\r\n\r\n")
    return head.decode(), body


async def live(path: Path, since: str = "0") -> Any:
    head, body = await get(path, f"/live?since={since}")
    assert head.startswith("HTTP/1.1 200 "), head
    return json.loads(body)


async def test_the_page_is_served_and_confined(tmp_path: Path) -> None:
    """Every file is there with its type, and may load nothing from elsewhere."""
    async with pod(tmp_path, control=tmp_path / "c.sock"):
        for target, (_, kind) in page.FILES.items():
            head, body = await get(tmp_path / "c.sock", target)
            assert head.startswith("HTTP/1.1 200 ")
            assert f"Content-Type: {kind}" in head
            assert "script-src 'self'; style-src 'self';" in head
            assert "unsafe" not in head
            assert body
            assert b"<script>" not in body


def test_nothing_of_the_page_is_elsewhere() -> None:
    """No file names another origin, and what a browser loads is among the files."""
    folder = Path(page.__file__).parent
    names = {name for name, _ in page.FILES.values()}
    assert names == {path.name for path in folder.iterdir() if path.suffix not in (".py", "")}
    for name in names:
        text = (folder / name).read_text()
        assert set(re.findall(r"https?://[^\"'\s]+", text)) <= {"http://www.w3.org/2000/svg"}
        assert set(re.findall(r'from "\./([^"]+)"', text)) <= names
        assert "innerHTML" not in text


async def test_what_happened_is_what_is_told(tmp_path: Path) -> None:
    """Requests, refusals and attributions of a pod, as totals and as one step of the history."""
    async with pod(tmp_path, control=tmp_path / "c.sock") as running:
        token = running.mint.token("alice")
        assert (await fetch(running.bound.inbound, "/users/x", bearer=token)).status == 200
        assert (await fetch(running.bound.inbound, "/users/x")).status == 401
        assert (await running.call_out(None)).status == 403
        for sweep in running.wiring.deadlines._also:
            sweep(running.wiring.clock() + STEP_SECONDS)
        told = await live(tmp_path / "c.sock")
        now, (step,) = told["live"], told["history"]
        assert (now["inbound"]["requests"], now["outbound"]["requests"]) == (2, 1)
        (route,) = now["inbound"]["routes"]
        assert (route["name"], route["codes"]) == ("users", {"2xx": 1, "4xx": 1})
        assert sum(route["duration"]) == 2
        assert now["inbound"]["refusals"] == [[["token_missing", "users", "true"], 1]]
        assert now["attributions"] == [[["none", "strict", "attribution_missing"], 1]]
        assert now["reasons"]["token_missing"]["status"] == 401
        assert now["status"]["ready"] is True
        assert (step["seq"], step["inbound"]["requests"]) == (0, 2)
        assert sum(step["inbound"]["duration"]) == sum(step["inbound"]["overhead"]) == 2
        assert step["refusals"] == [
            [["inbound", "token_missing", "users", "true"], 1],
            [["outbound", "attribution_missing", "profiles", "true"], 1],
        ]
        assert (await live(tmp_path / "c.sock", "1"))["history"] == []


@pytest.mark.parametrize("since", ["-1", "x", "1" * 16, "%D9%A3"])
async def test_a_step_that_is_no_number_is_refused(since: str, tmp_path: Path) -> None:
    """What is asked for is a number of at most fifteen digits."""
    async with pod(tmp_path, control=tmp_path / "c.sock"):
        head, _ = await get(tmp_path / "c.sock", f"/live?since={since}")
        assert head.startswith("HTTP/1.1 400 ")


class Steps:
    """A history whose time is turned by hand."""

    def __init__(self) -> None:
        self.metrics = Metrics(version="1")
        self.inbound = self.metrics.direction("inbound", [f"r{i}" for i in range(60)])
        self.now = 0.0
        self.history = History(
            self.metrics, lambda: 7, clock=lambda: self.now, wall_clock=lambda: 1000 + self.now
        )

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.history.sweep(self.now)


def test_a_step_is_taken_when_it_is_over() -> None:
    """Just before there is none; exactly then there is; and one that was late says how long."""
    steps = Steps()
    steps.pass_by(STEP_SECONDS - 0.25)
    assert steps.history.since(0) == []
    steps.pass_by(0.25)
    steps.pass_by(5.0)
    first, second = steps.history.since(0)
    assert (first.seconds, second.seconds, second.time, second.ledger) == (2.0, 5.0, 1007.0, 7)


def test_the_oldest_steps_make_room() -> None:
    """There are never more than so many, and each is what happened in it."""
    steps = Steps()
    for number in range(STEPS + 10):
        for _ in range(number % 3):
            steps.inbound.route("r1").finished(b"GET", 500, 0.002)
        steps.pass_by(STEP_SECONDS)
    kept = steps.history.since(0)
    assert [step.seq for step in kept] == list(range(10, STEPS + 10))
    assert all(step.inbound.requests == step.inbound.errors == step.seq % 3 for step in kept)
    assert [step.seq for step in steps.history.since(STEPS + 8)] == [STEPS + 8, STEPS + 9]
    assert steps.history.since(STEPS + 10) == []


def test_many_series_in_one_step_are_bounded() -> None:
    """The most frequent are told apart, the rest is one number, and nothing is lost."""
    steps = Steps()
    for number in range(60):
        for _ in range(number + 1):
            steps.inbound.reject(Reason.TOKEN_MISSING, f"r{number}", True)
    steps.pass_by(STEP_SECONDS)
    (step,) = steps.history.since(0)
    assert len(step.refusals) == MAX_SERIES_PER_STEP
    assert step.refusals[0] == (("inbound", "token_missing", "r59", "true"), 60)
    assert step.refusals[-1][0] == ("other",) * 4
    assert sum(count for _, count in step.refusals) == sum(range(61))
