"""``admin.control``: a path, and what is said about anything else."""

from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.config.flags import Flags
from sidecar.config.load import control_path, examine, load
from sidecar.config.model import Address
from tests.config.cases import VALID_START, lines
from tests.config.conftest import Examine

OPEN = Flags(app="1", anyone_paths=("/**",))
TCP = "asks for TCP, which is not supported by this version; use unix:/path/to/control.sock"


def written(directory: Path, text: str) -> str:
    path = directory / "sidecar.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("127.0.0.1:15491", f"`127.0.0.1:15491` {TCP}"),
        ("tcp://127.0.0.1:15491", f"`tcp://127.0.0.1:15491` {TCP}"),
        ("'15491'", f"`15491` {TCP}"),
        ("'[::1]:15491'", f"`[::1]:15491` {TCP}"),
        ("http://localhost", f"`http://localhost` {TCP}"),
        ("/run/x", "`/run/x` needs `unix:` before the path (did you mean `unix:/run/x`?)"),
        (
            "unix:///run/x",
            "`unix:///run/x` must be a path after `unix:` (did you mean `unix:/run/x`?)",
        ),
        ("'unix:'", "`unix:` must name a file after `unix:`"),
        ("unix:/run/", "`unix:/run/` must name a file after `unix:`"),
        ("true", "`true` must be unix:/path/to/control.sock or off"),
        ("x.sock", "`x.sock` must be unix:/path/to/control.sock or off"),
        ('"unix:/run/\\0x"', "`unix:/run/\\x00x` must not hold control characters"),
        ("''", "`` must be unix:/path/to/control.sock or off"),
        ("[unix:/x]", "must be `unix:` and a path, or `off`, not a list"),
    ],
)
def test_anything_else_is_refused(value: str, message: str, examined: Examine) -> None:
    """A value that names no socket is answered with the form of one that does."""
    text = f"{VALID_START}admin: {{control: {value}}}\n"
    assert lines(examined(text).errors) == [f"3:18: admin.control: {message}"]


def test_a_relative_path_starts_beside_the_file(tmp_path: Path) -> None:
    """As with other paths, the working directory of whoever starts it does not matter."""
    file = written(tmp_path, f"{VALID_START}admin: {{control: 'unix:run/c.sock'}}\n")
    assert load([file]).admin.control == str(tmp_path / "run/c.sock")


def test_the_length_counts_with_the_directory(tmp_path: Path) -> None:
    """A path that just fits into a socket's name is accepted; one byte more has its position."""
    room = 107 - len(f"{tmp_path}/")
    for name in ("x" * room, "é" * (room // 2)):
        file = written(tmp_path, f"{VALID_START}admin: {{control: 'unix:{name}'}}\n")
        assert load([file]).admin.control == f"{tmp_path}/{name}"
    file = written(tmp_path, f"{VALID_START}admin: {{control: 'unix:{'é' * (room // 2 + 1)}'}}\n")
    (line,) = lines(examine([file]).errors)
    assert line.startswith("3:18: admin.control: is a path of 10")
    assert line.endswith("its directory included; a socket's may have 107")


@pytest.mark.parametrize("given", ["c.sock", "unix:c.sock"])
def test_the_flag_takes_a_path(given: str) -> None:
    """On the command line ``unix:`` may be left out, and the working directory is the start."""
    admin = load([], flags=replace(OPEN, control=given)).admin
    assert (admin.control, admin.listen) == ("c.sock", Address("0.0.0.0", 15490))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("127.0.0.1:1", f"--control: admin.control: `127.0.0.1:1` {TCP}"),
        ("", "--control: admin.control: `unix:` must name a file after `unix:`"),
        (
            "/" + "x" * 107,
            "--control: admin.control: is a path of 108 bytes, its directory included; a "
            "socket's may have 107",
        ),
    ],
)
def test_a_wrong_flag_is_named(given: str, expected: str) -> None:
    """A problem of the flag has the flag as its place."""
    flags = replace(OPEN, control=given)
    assert [str(error) for error in examine([], flags=flags).errors] == [expected]


def test_off_on_the_command_line() -> None:
    """The word means the same there; a file of that name is ``./off``."""
    for given, expected in (("off", None), ("./off", "./off")):
        flags = replace(OPEN, control=given)
        assert load([], flags=flags).admin.control == expected


# --- finding the socket of a sidecar that runs ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("admin: {control: 'unix:/run/c'}\n", "/run/c"),
        ("admin: {control: 'unix:${HERE}/c'}\n", "/here/c"),
        ("admin: {control: off}\n", None),
        ("version: 7\nlgo: {}\nadmin: {control: 'unix:/run/c'}\n", "/run/c"),
        ("issuers: {a: {jwks_file: gone}}\nadmin: {control: 'unix:/run/c'}\n", "/run/c"),
        ("version: 1\n", None),
    ],
)
def test_only_the_socket_is_looked_for(text: str, expected: str | None, tmp_path: Path) -> None:
    """What is wrong elsewhere in the file does not keep anybody from asking what is wrong."""
    file = written(tmp_path, text)
    assert control_path([file], environ={"HERE": "/here"}) == (expected, ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("admin: [", "is not YAML"),
        ("admin: {control: '${GONE}/c'}\n", "names the environment variable GONE"),
        ("admin: 7\n", "must be a map"),
    ],
)
def test_what_hides_the_socket_is_said(text: str, expected: str, tmp_path: Path) -> None:
    """A file in which it cannot be found is answered with the problem."""
    path, (problem,) = control_path([written(tmp_path, text)], environ={})
    assert path is None
    assert expected in str(problem)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The cause is named."""
    path, (problem,) = control_path([str(tmp_path / "absent")])
    assert path is None
    assert "cannot be read" in str(problem)
