"""What recorded requests make of the rules, as text and as a change that ``patch`` applies."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.rehearsal.conftest import rules
from tests.rehearsal.test_replay import BASE, record

TWO = "any: [profile.read, reports.read]  # the second was for the old client"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("reported")
    asyncio.run(record(directory, BASE))
    return directory


def report(directory: Path, output: str = "text", name: str = "sidecar.yaml") -> str:
    done = rules(directory, "report", "decisions.jsonl", "-c", name, "-o", output)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_what_was_never_used_is_named(log: Path) -> None:
    """Rules without traffic, names that no permit depended on, and what observing hides."""
    lines = report(log).splitlines()
    assert lines[0].startswith("13 calls, 20")
    assert "rule open: no traffic" in lines
    assert "rule reports: scopes reports.read: required, and no permit depended on it" in lines
    assert "rule watched: observes; enforcing it would refuse 1 call of 1" in lines
    assert "  1 role_missing: bob of shop" in lines
    assert "2 calls under no rule" in lines
    assert "# Warning: 13 calls in 0.0 days is little evidence." in lines


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch is not installed")
@pytest.mark.parametrize(
    "written",
    [
        TWO,
        "any: [reports.read, profile.read]",
        'any: ["profile.read","reports.read", other]',
        "any:\n          # who reads\n          - profile.read  # all\n          - reports.read\n",
    ],
)
def test_the_change_can_be_applied_and_flips_nothing(log: Path, written: str) -> None:
    """``patch`` takes it, ``check`` accepts what comes of it, the log is decided as it was."""
    path = log / "patched.yaml"
    path.write_text((log / "sidecar.yaml").read_text().replace(TWO, written))
    change = report(log, "diff", "patched.yaml")
    assert "# calm: observe: enforcing would refuse none of 1 calls" in change
    subprocess.run(
        ["patch", "patched.yaml"], input=change, text=True, cwd=log, check=True, capture_output=True
    )
    after = path.read_text()
    assert "reports.read" not in after
    assert "profile.read" in after
    assert "# Probes carry no token." in after
    assert ("# the second" in written) == ("# the second was for the old client" in after)
    assert ("# who reads" in written) == ("# who reads" in after)
    assert "{name: calm, paths: [/calm], require: authenticated, mode: enforce}" in after
    assert "{name: watched, paths: [/watched], require: {roles: [ADMIN]}, mode: observe}" in after
    assert rules(log, "replay", "decisions.jsonl", "-c", "patched.yaml").returncode == 0
    assert report(log, "diff", "patched.yaml").count("\n") == 2  # nothing is left to suggest


def outbound(**changes: object) -> str:
    written = {
        "record": "decision/1", "time": "2027-01-15T08:00:00.000Z", "id": "o", "direction":
        "outbound", "method": "GET", "path": "/x", "status": 200, "allowed": True, "destination":
        "profiles", "attached": "token", "issuer": "shop", "audiences": ["user-service"],
    }  # fmt: skip
    return json.dumps(written | changes) + "\n"


def test_a_token_for_us_alone_that_was_relayed_is_told(log: Path) -> None:
    """Not one whose audience names the destination, or somebody we cannot know."""
    (log / "relayed").write_text(
        outbound()
        + outbound(audiences=["user-service", "profiles"])
        + outbound(audiences=["urn:elsewhere"])
        + outbound(attached="none", audiences=[])
    )
    done = rules(log, "report", "relayed", "-c", "sidecar.yaml")
    assert (
        "destination profiles: 1 token of shop relayed that are for this service alone "
        "(aud: user-service)"
    ) in done.stdout
    assert done.stdout.count("destination ") == 1


def test_nothing_recorded_is_wrong_usage(log: Path) -> None:
    """An empty file is no evidence that nothing is used."""
    (log / "empty").write_text("")
    done = rules(log, "report", "empty", "-c", "sidecar.yaml")
    assert (done.returncode, done.stdout) == (2, "")
