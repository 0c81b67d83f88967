from pathlib import Path

import pytest

from tests.cli.conftest import Run

WANTED = ("init", "--issuer", "https://idp.example/realms/shop", "--app", "8080")


def test_printed_file_is_accepted(sidecar: Run, tmp_path: Path) -> None:
    """What ``init`` prints is what ``check`` accepts, without a warning."""
    printed = sidecar(*WANTED, "--audience", "my-service")
    assert (printed.returncode, printed.stderr) == (0, "")
    (tmp_path / "sidecar.yaml").write_text(printed.stdout)
    checked = sidecar("check", "--config", "sidecar.yaml")
    assert checked.returncode == 0
    assert "issuer main: https://idp.example/realms/shop for my-service" in checked.stdout


def test_written_file(sidecar: Run, tmp_path: Path) -> None:
    """``--output`` writes a new file and says what to do next."""
    done = sidecar(*WANTED, "--output", "sidecar.yaml")
    assert (done.returncode, done.stdout) == (0, "")
    assert "sidecar check --config sidecar.yaml" in done.stderr
    assert (tmp_path / "sidecar.yaml").read_text() == sidecar(*WANTED).stdout


def test_never_overwrites(sidecar: Run, tmp_path: Path) -> None:
    """A file that exists is left as it is."""
    (tmp_path / "sidecar.yaml").write_text("mine")
    done = sidecar(*WANTED, "--output", "sidecar.yaml")
    assert (done.returncode, done.stderr) == (1, "sidecar: sidecar.yaml exists; it is unchanged\n")
    assert (tmp_path / "sidecar.yaml").read_text() == "mine"


def test_unwritable(sidecar: Run) -> None:
    """A place that takes no file is one line."""
    done = sidecar(*WANTED, "--output", "absent/sidecar.yaml")
    expected = "sidecar: cannot write absent/sidecar.yaml: No such file or directory\n"
    assert (done.returncode, done.stderr) == (1, expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--issuer", "idp", "--app", "8080"],
            "--issuer: issuers.default.issuer: `idp` must be an absolute URL that starts with "
            "http:// or https://\n",
        ),
        (
            ["--issuer", "https://idp", "--app", "0"],
            "--app: inbound.app: `http://127.0.0.1:0` must have a port from 1 to 65535\n",
        ),
    ],
)
def test_bad_values(arguments: list[str], expected: str, sidecar: Run) -> None:
    """A file that could not be used is not printed."""
    done = sidecar("init", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
