"""How issuers get onto a machine: whole or not at all, and never by running the tests."""

import os
import sys
from pathlib import Path

import pytest

from tests.interop import setup
from tests.interop.needed import needs_program
from tests.interop.programs import PROGRAMS, Program

NOWHERE = Program("no-such-issuer", "1", ("no-such-command",))


def nothing(_workshop: setup.Workshop) -> None:
    """Make nothing."""


def shop(directory: Path, *, limit_seconds: float = 60.0) -> setup.Workshop:
    return setup.Workshop(directory, directory / "log", limit_seconds)


def test_each_program_has_a_maker() -> None:
    """What is listed can be set up, and nothing else."""
    assert set(setup.MAKERS) == {program.name for program in PROGRAMS}


def test_a_changed_source_is_another_program(tmp_path: Path) -> None:
    """What was built of an older source is not found."""
    source = tmp_path / "Source.java"
    source.write_text("1")
    program = Program("issuer", "1", (), (source,))
    before = program.directory
    source.write_text("2")
    assert program.directory != before
    assert program.directory.parent == before.parent


def test_a_program_that_is_not_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test skips and says what to do; where everything must be there, it fails."""
    absent = Program("absent", "1", (sys.executable,))
    monkeypatch.delenv("SIDECAR_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"absent 1 .* \(make interop\)"):
        needs_program(absent)
    monkeypatch.setenv("SIDECAR_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-command on PATH"):
        needs_program(NOWHERE)


def test_a_command_that_is_missing() -> None:
    """Nothing is begun without the commands that it needs."""
    with pytest.raises(setup.SetupError, match="needs no-such-command on PATH"):
        setup.prepare(NOWHERE, nothing)


def test_what_fails_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    """Only what is complete has its name; then it is not made again."""
    program = Program("issuer", "1", (), home=tmp_path)

    def half(workshop: setup.Workshop) -> None:
        (workshop.directory / "half").touch()
        workshop.run("false")

    with pytest.raises(setup.SetupError):
        setup.prepare(program, half)
    assert sorted(path.name for path in tmp_path.glob("*issuer*")) == [".lock-issuer", "issuer.log"]
    setup.prepare(program, lambda workshop: (workshop.directory / "whole").touch())
    setup.prepare(program, half)
    assert [path.name for path in program.directory.iterdir()] == ["whole"]


def test_a_command_that_fails(tmp_path: Path) -> None:
    """Its exit code is told, and what it said is in the log."""
    with pytest.raises(setup.SetupError, match="ended with 7"):
        shop(tmp_path).run("sh", "-c", "echo out of luck; exit 7")
    assert (tmp_path / "log").read_text() == "out of luck\n"


def test_a_command_that_hangs(tmp_path: Path) -> None:
    """It is ended with all that it started, which held a pipe open."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(setup.SetupError, match="took too long"):
            shop(tmp_path, limit_seconds=0.0).run("sh", "-c", f"sleep 600 >{pipe} & wait")
        os.set_blocking(reader, True)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


def test_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    """It is told with the names there are, as wrong usage."""
    assert setup.main(["okta"]) == 2
    assert "unknown: okta; there are keycloak" in capsys.readouterr().err
