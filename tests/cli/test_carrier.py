import os
import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import ROOT, Run, environment

SHOW = "import sys; print('sidecar_carrier' in sys.modules)"


def test_environment_loads_the_carrier(sidecar: Run, tmp_path: Path) -> None:
    """The printed lines, given to ``env``, make an unchanged program load the carrier."""
    done = sidecar("carrier", "env", "python", env=environment(PYTHONPATH=""), cwd=ROOT)
    assert done.returncode == 0
    program = [sys.executable, "-c", SHOW]
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    loaded = subprocess.run(
        ["env", *done.stdout.splitlines(), *program],
        cwd=tmp_path, env=bare, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert loaded.stdout == "True\n"


def test_environment_keeps_what_is_there(sidecar: Run) -> None:
    """An inherited PYTHONPATH stays behind the carrier's directory."""
    first, second = sidecar("carrier", "env", "python").stdout.splitlines()
    directory, _, inherited = first.removeprefix("PYTHONPATH=").partition(os.pathsep)
    assert (Path(directory) / "sitecustomize.py").is_file()
    assert inherited == environment()["PYTHONPATH"]
    assert second == "SIDECAR_CARRIER=grade=strict"


def test_install(sidecar: Run, tmp_path: Path) -> None:
    """The installed copy is complete, works alone, and may be installed over."""
    for _ in range(2):
        done = sidecar("carrier", "install", "volume")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "installed; the app needs PYTHONPATH=volume/python\n"
    loaded = subprocess.run(
        [sys.executable, "-c", SHOW],
        cwd=tmp_path, env={"PYTHONPATH": "volume/python"}, capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    assert loaded.stdout == "True\n"


def test_install_nowhere(sidecar: Run, tmp_path: Path) -> None:
    """A place that takes no files is one line."""
    (tmp_path / "file").write_text("")
    done = sidecar("carrier", "install", "file")
    assert done.returncode == 1
    assert done.stderr.startswith("sidecar: cannot install to file/python: ")
