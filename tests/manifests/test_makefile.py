"""What ``make`` says on machines that lack something, before it downloads or compiles anything.

Each test runs the real Makefile with a PATH of its own. The interpreters on it are the one that
runs the tests, made to look older or poorer from inside.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "make", "awk", "cat", "cksum", "echo", "find", "grep", "head", "rm", "sed")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

OLD = "import sys; sys.version_info = (3, 9, 18)"
WITHOUT_ENSUREPIP = "import sys; sys.modules['ensurepip'] = None"


class Machine:
    """A copy of the project's manifests, and a PATH with nothing but what a test puts there."""

    def __init__(self, directory: Path) -> None:
        self.tree = directory / "a tree"
        self.tree.mkdir()
        for name in ("Makefile", "constraints.txt", "pyproject.toml", "setup.py"):
            shutil.copy(ROOT / name, self.tree)
        (self.tree / "sidecar").mkdir()
        self._path = directory / "bin"
        self._path.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, tool
            (self._path / tool).symlink_to(found)

    def add_python(self, name: str, *, first: str = "") -> Path:
        """Put an interpreter on PATH that executes *first* before what it is asked to."""
        real = shlex.quote(str(Path(sys.executable).resolve()))
        prepared = shlex.quote(f"{first}; exec(sys.argv.pop(1))")
        return self._add_script(
            name,
            f'[ "$1" = -c ] || exec {real} "$@"\nexec {real} -c {prepared} "$2"'
            if first
            else f'exec {real} "$@"',
        )

    def add_shim(self, name: str) -> None:
        """Put something on PATH that only looks like an interpreter, as pyenv does."""
        self._add_script(name, f"echo 'pyenv: {name}: command not found' >&2\nexit 127")

    def _add_script(self, name: str, body: str) -> Path:
        path = self._path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    def make(self, *arguments: str) -> tuple[int, list[str]]:
        """Run make without a network. Returns its status and the lines that are not make's own."""
        done = subprocess.run(
            [str(self._path / "make"), *arguments],
            cwd=self.tree,
            env={"PATH": str(self._path), "HOME": os.devnull, "PIP_NO_INDEX": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        lines = done.stdout.splitlines()
        return done.returncode, [line for line in lines if not line.startswith("make: ***")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without any Python, in a directory with a space in its name."""
    return Machine(tmp_path)


def test_make_alone_lists_every_target(machine: Machine) -> None:
    """Whoever does not know what there is says ``make``."""
    status, lines = machine.make()
    assert status == 0
    named = {line.split()[1] for line in lines if line.startswith("  make ")}
    assert named >= {"install", "demo", "test", "lint", "check", "format", "bench-quick", "clean"}


@pytest.mark.parametrize("goal", ["install", "demo", "test", "check", "format", "bench-quick"])
def test_no_python_is_one_line_with_the_remedy(machine: Machine, goal: str) -> None:
    """Every target that needs Python says so, and how to name one."""
    machine.add_shim("python3.13")
    status, (line,) = machine.make(goal)
    assert status != 0
    assert line.startswith("No Python that works was found, and 3.11 or newer is needed")
    assert line.endswith(f"make {goal} PYTHON=/path/to/python3")


def test_an_old_python_is_one_line_that_names_its_version(machine: Machine) -> None:
    """An unsupported version is refused before anything is made."""
    machine.add_python("python3", first=OLD)
    status, (line,) = machine.make("demo")
    assert status != 0
    assert line.startswith("python3 is Python 3.9, and 3.11 or newer is needed")
    assert not (machine.tree / ".venv").exists()


def test_a_python_without_ensurepip_names_the_package(machine: Machine) -> None:
    """Debian splits ensurepip off; the remedy names that version's package."""
    machine.add_python("python3", first=WITHOUT_ENSUREPIP)
    status, (line,) = machine.make("install")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert status != 0
    assert f"lacks venv or ensurepip: apt install python{version}-venv" in line


def test_a_named_python_is_the_only_one_tried(machine: Machine) -> None:
    """PYTHON= that does not work is an error, whatever else is on PATH."""
    machine.add_python("python3")
    status, (line,) = machine.make("install", "PYTHON=/nowhere/python3.12")
    assert status != 0
    assert line.startswith("No Python that works was found at /nowhere/python3.12")


def test_the_newest_that_works_repairs_what_an_older_one_left(machine: Machine) -> None:
    """Shims, old and poor interpreters are passed over; a broken .venv is made anew.

    Without a network the packages then cannot be had, which is one line too.
    """
    machine.add_shim("python3.14")
    machine.add_python("python3.13", first=WITHOUT_ENSUREPIP)
    machine.add_python("python3.12")
    machine.add_python("python3", first=OLD)
    broken = machine.tree / ".venv"
    (broken / "bin").mkdir(parents=True)
    (broken / "bin" / "python").symlink_to("/deleted/python")
    (broken / "left-over").touch()

    status, (creating, installing, failed) = machine.make("install")

    assert status != 0
    assert creating == f"Creating .venv with {Path(sys.executable).resolve()} ..."
    assert installing == "Installing . into .venv ..."
    assert failed.startswith("pip failed (")
    assert "Is the network up?" in failed
    assert not (broken / "left-over").exists()
    assert (broken / "install.log").read_text()

    status, again = machine.make("install")
    assert status != 0
    assert again == [installing, failed], "a .venv that works is kept"
