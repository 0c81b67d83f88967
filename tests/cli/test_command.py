"""The command as a whole: help, version, mistakes in its use, and broken outputs."""

import subprocess
import sys
from pathlib import Path

import pytest

from sidecar import __version__
from sidecar.core.build import COMPILED
from tests.cli.conftest import Run, command, environment

HEAVY = {"aiohttp", "asyncio", "cryptography", "jwt", "prometheus_client", "uvloop", "yaml"}


def test_version(sidecar: Run) -> None:
    """``--version`` is one line."""
    done = sidecar("--version")
    build = " (compiled)" if COMPILED else ""
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"sidecar {__version__}{build}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_teaches(arguments: list[str], sidecar: Run) -> None:
    """The help names the first steps, the exit codes and where to read on."""
    done = sidecar(*arguments)
    shown = done.stdout + done.stderr
    for word in ("sidecar demo", "sidecar init --issuer", "sidecar check --config", "Exit codes"):
        assert word in shown
    assert "docs/configuration.md" in shown


@pytest.mark.parametrize(
    "name", ["run", "check", "init", "schema", "demo", "carrier", "attribution", "status", "drain"]
)
def test_every_command_has_help(name: str, sidecar: Run) -> None:
    """Each command is listed and explains itself."""
    done = sidecar(name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: sidecar {name} ")
    assert f"\n  {name} " in sidecar("--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["run", "--help"], ["attribution", "test", "--help"], ["chek"]],
)
def test_cheap_to_ask(arguments: list[str], tmp_path: Path) -> None:
    """Help, version and typing mistakes load nothing that only a running sidecar needs."""
    script = (
        "import sys\nfrom sidecar.cli import sidecar\n"
        "try:\n    sidecar(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('loaded:', *sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        timeout=60,
        text=True,
        check=True,
    )
    loaded = done.stdout.rpartition("loaded:")[2].split()
    assert "click" in loaded
    assert HEAVY.isdisjoint(loaded)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["chek"], "No such command 'chek'. Did you mean 'check'?"),
        (
            ["zzzz"],
            "The commands are run, check, init, schema, demo, carrier, inject, attribution, "
            "status, reload, drain, explain, reasons, rules, ui.",
        ),
        (["check", "--confg", "x"], "No such option"),
        (["check"], "Missing option '--config'"),
        (["init", "--app", "8080"], "Missing option '--issuer'"),
        (["run"], "give --config FILE, or at least --app, --issuer and --audience"),
        (["run", "--issuer"], "requires an argument"),
        (["carrier", "env", "cobol"], "'cobol' is not"),
    ],
)
def test_wrong_usage(arguments: list[str], expected: str, sidecar: Run) -> None:
    """Wrong usage is exit code 2 with a hint, on standard error."""
    done = sidecar(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_stops_reading(tmp_path: Path) -> None:
    """``sidecar schema | head`` ends without a word about pipes."""
    with subprocess.Popen(
        command(["schema"]),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_takes_nothing(sidecar: Run) -> None:
    """A full disk is one line."""
    with Path("/dev/full").open("w") as full:
        done = sidecar("schema", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == "sidecar: cannot write the output: No space left on device\n"


def test_a_locale_without_the_characters(sidecar: Run) -> None:
    """Text that the terminal cannot encode is escaped, not a crash."""
    done = sidecar("run", "--app", "x" * 100, env=environment(PYTHONIOENCODING="latin-1"))
    assert done.returncode == 3
    assert "xxx\\u2026`" in done.stderr
