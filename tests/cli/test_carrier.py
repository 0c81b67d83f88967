import os
import resource
import subprocess
import sys
import tomllib
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


CONFIGURATION = """
version: 1
issuers:
  shop: {issuer: https://keycloak.example/realms/shop, audiences: [any]}
inbound:
  listen: 127.0.0.1:0
  app: http://127.0.0.1:8080
  rules: [{paths: [/**], require: authenticated}]
admin: {listen: 127.0.0.1:0}
outbound:
  destinations:
    profile-service:
      listen: 127.0.0.1:9001
      upstream: http://127.0.0.1:9101
    price-service:
      listen: "[::1]:9002"
      upstream: http://127.0.0.1:9102
      min_assurance: standard
"""


def test_environment_of_a_configuration(sidecar: Run, tmp_path: Path) -> None:
    """The targets are the configuration's outbound listeners, and no others."""
    (tmp_path / "sidecar.yaml").write_text(CONFIGURATION)
    done = sidecar("carrier", "env", "python", "--config", "sidecar.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == [
        "SIDECAR_CARRIER=grade=strict",
        "SIDECAR_TARGETS=127.0.0.1:9001,[::1]:9002",
    ]


def test_environment_of_the_standard_grade(sidecar: Run, tmp_path: Path) -> None:
    """A destination that would refuse the grade is named, beside the variables."""
    (tmp_path / "sidecar.yaml").write_text(CONFIGURATION)
    done = sidecar("carrier", "env", "python", "--grade", "standard", "-c", "sidecar.yaml")
    assert done.stdout.splitlines()[1] == "SIDECAR_CARRIER=grade=standard"
    assert done.stderr == (
        "sidecar: profile-service demands `min_assurance: strict`: it will refuse grade=standard\n"
    )


def test_environment_without_known_listeners(sidecar: Run, tmp_path: Path) -> None:
    """Where no target can be named none is printed, and that is said."""
    text = CONFIGURATION.replace("127.0.0.1:9001", "127.0.0.1:0").partition("    price-service")[0]
    (tmp_path / "sidecar.yaml").write_text(text)
    done = sidecar("carrier", "env", "python", "-c", "sidecar.yaml")
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == (
        "sidecar: no listener with a known port: "
        "every plain-HTTP call to loopback gets the handle\n"
        "sidecar: profile-service listens on a port that is not known yet: "
        "not in SIDECAR_TARGETS\n"
    )


def test_environment_of_a_broken_configuration(sidecar: Run, tmp_path: Path) -> None:
    """Nothing is printed for ``env`` to take, and the problems are."""
    (tmp_path / "sidecar.yaml").write_text(CONFIGURATION.replace("inbound:", "inbond:"))
    done = sidecar("carrier", "env", "python", "-c", "sidecar.yaml")
    assert (done.returncode, done.stdout) == (1, "")
    assert "inbond" in done.stderr
    assert done.stderr.endswith("found\n")


def test_environment_that_a_shell_would_split(sidecar: Run) -> None:
    """A path with a space is printed, and said to be no use unquoted."""
    inherited = f"{environment()['PYTHONPATH']}{os.pathsep}/a b"
    done = sidecar("carrier", "env", "python", env=environment(PYTHONPATH=inherited))
    assert done.stdout.splitlines()[0].endswith("/a b")
    assert done.stderr == (
        "sidecar: PYTHONPATH contains a space, where `env $(...)` would split it\n"
    )


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


def test_install_again_writes_nothing(sidecar: Run, tmp_path: Path) -> None:
    """What is installed already is left alone, so its place may be read-only by then."""

    def written() -> set[tuple[Path, int, int]]:
        found = [(path, path.lstat()) for path in [volume, *volume.rglob("*")]]
        return {(path, status.st_ino, status.st_mtime_ns) for path, status in found}

    volume = tmp_path / "volume"
    sidecar("carrier", "install", "volume")
    before = written()
    assert sidecar("carrier", "install", "volume").returncode == 0
    assert written() == before


def test_installed_files_are_for_everybody(sidecar: Run, tmp_path: Path) -> None:
    """An app of another user can read them, whatever the umask of the one who installed."""
    sidecar("carrier", "install", "deep/volume", umask=0o077)
    volume = tmp_path / "deep" / "volume"
    home = (volume / "python").resolve()
    for path in (tmp_path / "deep", volume, home, *home.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)


IMPORTS_LATE = """
import sys
print(flush=True)
sys.stdin.readline()
import asyncio, http.client, sidecar_carrier.held
print(sidecar_carrier.held.__file__)
"""


def test_update_under_a_running_app(sidecar: Run, tmp_path: Path) -> None:
    """An app that runs while another version is installed keeps to the one it started with."""
    other = tmp_path / "volume" / ".python-of-old"
    sidecar("carrier", "install", "volume")
    link = tmp_path / "volume" / "python"
    link.resolve().rename(other)
    link.unlink()
    link.symlink_to(other.name)
    with subprocess.Popen(
        [sys.executable, "-c", IMPORTS_LATE],
        cwd=tmp_path, env={"PYTHONPATH": "volume/python"}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as app:  # fmt: skip
        assert app.stdout is not None
        app.stdout.readline()
        assert sidecar("carrier", "install", "volume").returncode == 0
        said, _ = app.communicate("\n", timeout=60)
    assert link.resolve() != other
    assert Path(said.strip()) == other / "sidecar_carrier" / "held.py"


def test_install_over_a_directory(sidecar: Run, tmp_path: Path) -> None:
    """A plain directory in its place, such as a copy made by hand, is replaced as a whole."""
    old = tmp_path / "volume" / "python"
    old.mkdir(parents=True)
    (old / "left_over.py").write_text("")
    assert sidecar("carrier", "install", "volume").returncode == 0
    assert (old / "sitecustomize.py").is_file()
    assert not (old / "left_over.py").exists()


def test_package_contains_every_module() -> None:
    """What the distribution is told to contain is all that the carrier consists of."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        patterns = tomllib.load(file)["tool"]["setuptools"]["package-data"]["sidecar.carriers"]
    directory = ROOT / "sidecar" / "carriers"
    packaged = {path for pattern in patterns for path in directory.glob(pattern)}
    assert packaged == set((directory / "python").rglob("*.py"))


def test_install_nowhere(sidecar: Run, tmp_path: Path) -> None:
    """A place that takes no files is one line."""
    (tmp_path / "file").write_text("")
    done = sidecar("carrier", "install", "file")
    assert done.returncode == 1
    assert done.stderr == "sidecar: cannot install to file/python: Not a directory\n"
    assert done.stdout == ""


def test_install_without_room(sidecar: Run, tmp_path: Path) -> None:
    """A volume that takes no more is one line, and half a carrier is never found there."""

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

    done = sidecar("carrier", "install", "volume", preexec_fn=no_room)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("sidecar: cannot install to volume/python: ")
    assert "File too large" in line
    assert list((tmp_path / "volume").iterdir()) == []
