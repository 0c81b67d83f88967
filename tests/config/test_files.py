"""Several files as one configuration, and files that cannot be read."""

import os
from pathlib import Path

import pytest

from sidecar.config.load import MAX_FILE_BYTES, examine, load
from sidecar.config.model import Address
from sidecar.config.problems import ConfigError
from tests.config.cases import VALID_START


def written(directory: Path, *texts: str) -> list[str]:
    paths = [directory / f"{number}.yaml" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return [str(path) for path in paths]


def test_maps_merge_by_key(tmp_path: Path) -> None:
    """Files complete each other down to single keys, and each may say its version."""
    paths = written(
        tmp_path,
        VALID_START + "inbound: {listen: '127.0.0.1:1'}\nlog: {level: debug}\n",
        "version: 1\ninbound: {app: 'http://127.0.0.1:2', limits: {max_fields: 7}}\n",
        "issuers: {b: {issuer: 'https://b.example', audiences: [x]}}\n",
    )
    config = load(paths)
    assert list(config.issuers) == ["a", "b"]
    assert (config.inbound.listen, config.inbound.app.port) == (Address("127.0.0.1", 1), 2)
    assert (config.inbound.limits.max_fields, config.log.level) == (7, "debug")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("log: {level: info}", "log: {level: info}", "log.level"),
        ("log: {level: info}", "log: info", "log"),
        ("inbound: {rules: [a]}", "inbound: {rules: [b]}", "inbound.rules"),
        ("log: {}", "version: 2", "version"),
    ],
)
def test_nothing_is_given_twice(one: str, other: str, expected: str, tmp_path: Path) -> None:
    """A value in two files is an error at the second that names the first."""
    paths = written(tmp_path, f"version: 1\n{one}\n", f"{other}\n")
    errors = [error for error in examine(paths).errors if "given twice" in error.message]
    [error] = errors
    assert (error.file, error.path) == (paths[1], expected)
    assert f"is given twice; the first is at {paths[0]}:" in error.message


def test_problems_keep_the_order_of_the_files(tmp_path: Path) -> None:
    """The files are reported in the order they were given, not by name."""
    paths = written(tmp_path, VALID_START + "b: 1\n", "a: 1\n")
    assert [error.file for error in examine(paths).errors] == paths
    assert [error.file for error in examine(paths[::-1]).errors] == paths[::-1]


def test_unreadable(tmp_path: Path) -> None:
    """What cannot be read is named with the cause, every file of it."""
    paths = [str(tmp_path / "absent.yaml"), str(tmp_path), "\0"]
    assert [str(error) for error in examine(paths).errors] == [
        f"{tmp_path}/absent.yaml: cannot be read: No such file or directory",
        f"{tmp_path}: cannot be read: Is a directory",
        "\\x00: is not a path",
    ]


def test_size_is_bounded(tmp_path: Path) -> None:
    """A file may be 1 MiB long and not a byte longer."""
    [path] = written(tmp_path, VALID_START.ljust(MAX_FILE_BYTES, "\n"))
    assert examine([path]).errors == ()
    [path] = written(tmp_path, VALID_START.ljust(MAX_FILE_BYTES + 1, "\n"))
    assert [error.message for error in examine([path]).errors] == ["is larger than 1024KiB"]


def test_a_broken_file_hides_no_other(tmp_path: Path) -> None:
    """Syntax errors of all files are reported together, without what follows from them."""
    paths = written(tmp_path, "a: [\n", "b: {\n")
    assert [error.file for error in examine(paths).errors] == paths


def test_a_broken_value_contradicts_nothing(tmp_path: Path) -> None:
    """A value that could not be read is reported for that, in either file, and not as a second."""
    paths = written(tmp_path, VALID_START + "log: *a\nadmin: {}\n", "log: {}\nadmin: *b\n")
    aliases = [error.path for error in examine(paths).errors]
    assert aliases == ["log", "admin"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"5s", None),
        (b"5s\r\n", None),
        (b"5s\n\n", "is not a duration"),
        (b"\xff", "names a file that is not UTF-8"),
        (b"5" * 65537, "names a file that is larger than 64KiB"),
    ],
)
def test_referenced_files(content: bytes, expected: str | None, tmp_path: Path) -> None:
    """A referenced file is small text, taken without its last line end."""
    (tmp_path / "grace").write_bytes(content)
    [path] = written(tmp_path, VALID_START + "drain_timeout: file:grace\n")
    errors = [error.message for error in examine([path]).errors]
    assert len(errors) == (expected is not None)
    assert all(str(expected) in message for message in errors)


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    """A reference to a pipe without a writer is refused at once."""
    os.mkfifo(tmp_path / "pipe")
    [path] = written(tmp_path, VALID_START + "drain_timeout: file:pipe\n")
    [error] = examine([path]).errors
    assert error.message == "`file:pipe` names a file that is not a regular file"


def test_load_raises_everything(tmp_path: Path) -> None:
    """The error of ``load`` carries all problems and the warnings."""
    paths = written(
        tmp_path, "version: 1\nissuers: {a: {issuer: x, audiences: any}}\nlog: {level: x}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(paths)
    assert [problem.path for problem in caught.value.problems] == ["issuers.a.issuer", "log.level"]
    assert [warning.path for warning in caught.value.warnings] == ["issuers.a.audiences"]
    assert f"{paths[0]}:3:14: log.level: `x` is not one of" in str(caught.value)


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    """A file saved with a byte order mark is read like any other."""
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + VALID_START.encode())
    assert examine([str(path)]).errors == ()


def test_terminal_escapes_are_shown_not_obeyed(tmp_path: Path) -> None:
    """Keys and values of a file cannot steer the terminal that shows its problems."""
    [path] = written(tmp_path, VALID_START + '"\\e[2J": 1\nlog: {level: "\\e[31m\\n"}\n')
    for error in examine([path]).errors:
        assert str(error).isprintable()
