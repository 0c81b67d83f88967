"""``sidecar.telemetry.log_files``: a log that stays within its bound, whatever happens to it."""

import os
from pathlib import Path

import pytest

from sidecar.telemetry.log_files import RotatingFile


def sizes(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in directory.iterdir()}


def test_older_files_are_kept_up_to_a_number(tmp_path: Path) -> None:
    """The newest is always under its own name; what is older than ``keep`` is gone."""
    write = RotatingFile(str(tmp_path / "d"), max_bytes=25, keep=2)
    for number in range(9):
        write(b"line %d....\n" % number)
    write.close()
    names = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert names == {
        "d": b"line 8....\n",
        "d.1": b"line 6....\nline 7....\n",
        "d.2": b"line 4....\nline 5....\n",
    }


def test_without_older_files_it_starts_anew(tmp_path: Path) -> None:
    """``keep: 0`` bounds all there is by one file."""
    write = RotatingFile(str(tmp_path / "d"), max_bytes=25, keep=0)
    for number in range(5):
        write(b"line %d....\n" % number)
    write.close()
    assert sizes(tmp_path) == {"d": 11}


def test_what_was_there_is_kept_and_half_a_line_is_ended(tmp_path: Path) -> None:
    """A restart appends, and never glues a line to one that a crash left unfinished."""
    (tmp_path / "d").write_bytes(b"whole\nhal")
    write = RotatingFile(str(tmp_path / "d"), max_bytes=1000, keep=1)
    write(b"next\n")
    write.close()
    assert (tmp_path / "d").read_bytes() == b"whole\nhal\nnext\n"


def test_a_file_that_somebody_moved_is_opened_anew(tmp_path: Path) -> None:
    """Whoever rotates by other means need not tell us."""
    write = RotatingFile(str(tmp_path / "d"), max_bytes=1000, keep=1)
    write(b"first\n")
    (tmp_path / "d").rename(tmp_path / "moved")
    write(b"second\n")
    write.close()
    assert (tmp_path / "moved").read_bytes() == b"first\n"
    assert (tmp_path / "d").read_bytes() == b"second\n"


def test_a_file_that_cannot_grow_is_told_once(tmp_path: Path) -> None:
    """Each failure loses its batch and says so to the caller, and only the first to people."""
    told: list[object] = []
    write = RotatingFile("/dev/full", max_bytes=1000, keep=1, warn=lambda *said: told.append(said))
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            write(b"line\n")
    write.close()
    assert len(told) == 1


def test_the_file_is_its_owners(tmp_path: Path) -> None:
    """Who called what is nobody else's business."""
    before = os.umask(0)
    try:
        RotatingFile(str(tmp_path / "d"), max_bytes=1000, keep=1).close()
    finally:
        os.umask(before)
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o600


def test_a_pipe_without_a_reader_does_not_hold_up_the_start(tmp_path: Path) -> None:
    """It cannot be opened, and that is said at once."""
    os.mkfifo(tmp_path / "d")
    with pytest.raises(OSError, match="No such device"):
        RotatingFile(str(tmp_path / "d"), max_bytes=1000, keep=1)
