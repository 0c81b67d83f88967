"""A token in a file that somebody else replaces: real files, time in the test's hands."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidecar.core.obtained import Failure, ObtainedToken
from sidecar.credentials.token_file import LOOK_SECONDS, MAX_BYTES, TokenFile
from sidecar.telemetry.token_exchanges import TokenExchangeMetrics
from sidecar.testbed.token_mint import TokenMint
from tests.credentials.sources import NOW, Clock

MINT = TokenMint("https://idp.test", audience=["orders"], algorithms=("ES256",))


@dataclass
class Rotated:
    """The file and who reads it."""

    path: Path
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.metrics = TokenExchangeMetrics("orders")
        self.file = TokenFile(
            str(self.path), clock=self.clock, wall_clock=self.clock, report=self.metrics
        )

    def write(self, content: bytes | str) -> None:
        """Put it in place as rotators do, in one step."""
        new = self.path.with_name("new")
        new.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.replace(new, self.path)

    def later(self, seconds: float = LOOK_SECONDS) -> None:
        self.clock.now += seconds

    def got(self) -> str:
        got = self.file.get(None)
        return got.token.decode() if isinstance(got, ObtainedToken) else got.kind

    def why(self) -> str:
        got = self.file.get(None)
        assert isinstance(got, Failure)
        return got.detail.partition(": ")[2]


@pytest.fixture
def rotated(tmp_path: Path) -> Rotated:
    """With nothing in it."""
    return Rotated(tmp_path / "token")


def test_an_opaque_token_is_sent_as_it_is(rotated: Rotated) -> None:
    """Without its line end; it is good until somebody replaces it."""
    rotated.write("s3cret~+/=\n")
    assert rotated.got() == "s3cret~+/="
    rotated.later(1e9)
    assert rotated.got() == "s3cret~+/="


def test_a_replaced_token_is_seen_within_a_second(rotated: Rotated) -> None:
    """And not looked for in between: one look a second, however many calls there are."""
    rotated.write("first")
    assert rotated.got() == "first"
    rotated.write("second")
    rotated.later(LOOK_SECONDS - 0.01)
    assert rotated.got() == "first"
    rotated.later(0.01)
    assert rotated.got() == "second"


def test_the_symlink_swap_of_a_projected_volume(tmp_path: Path) -> None:
    """The path stays, and what a link on the way points to is another directory."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(name)
        os.utime(tmp_path / name / "token", ns=(10**18, 10**18))
    data = tmp_path / "..data"
    data.symlink_to("one")
    (tmp_path / "token").symlink_to("..data/token")
    rotated = Rotated(tmp_path / "token")
    assert rotated.got() == "one"
    (tmp_path / "..new").symlink_to("two")
    os.replace(tmp_path / "..new", data)
    rotated.later()
    assert rotated.got() == "two"


def test_touched_only(rotated: Rotated) -> None:
    """The same token written again is the same token, which a call has in hand."""
    rotated.write("same")
    first = rotated.file.get(None)
    rotated.write("same\n")
    rotated.later()
    assert rotated.file.get(None) is first


def test_the_one_before_is_good_in_hand(rotated: Rotated) -> None:
    """A call under way when the file is replaced is not disturbed."""
    rotated.write("first")
    first = rotated.file.get(None)
    assert isinstance(first, ObtainedToken)
    rotated.write("second")
    rotated.later()
    assert rotated.file.still_good(first)
    rotated.path.unlink()
    rotated.later()
    assert not rotated.file.still_good(first)


# --- JWTs ---


@pytest.mark.parametrize(("after", "got"), [(-0.01, True), (0, False), (1, False)])
def test_a_jwt_ends_with_its_exp(rotated: Rotated, after: float, got: bool) -> None:
    """Not a moment later, in hand or not."""
    rotated.write(MINT.token("me", exp=int(NOW) + 60))
    token = rotated.file.get(None)
    assert isinstance(token, ObtainedToken)
    rotated.later(60 + after)
    assert isinstance(rotated.file.get(None), ObtainedToken) is got
    assert rotated.file.still_good(token) is got
    if not got:
        assert rotated.why() == "holds a token that has expired, and nobody has replaced it"
        rotated.write("fresh")
        rotated.later()
        assert rotated.got() == "fresh"


@pytest.mark.parametrize("exp", [None, "soon", True])
def test_a_jwt_without_a_usable_end(rotated: Rotated, exp: object) -> None:
    """Is like any opaque token: its destination judges it."""
    rotated.write(MINT.token("me", exp=exp))
    rotated.later(1e6)
    assert isinstance(rotated.file.get(None), ObtainedToken)


@pytest.mark.parametrize("token", ["a.b.c", "..", "a.b.c.d.e", "eyJ9.eyJ9.x", "e30.W10.x"])
def test_what_only_looks_like_a_jwt(rotated: Rotated, token: str) -> None:
    """Is opaque, too."""
    rotated.write(token)
    assert rotated.got() == token


# --- no token ---


def instead(file: Rotated, make: Callable[[Path], None]) -> None:
    file.path.unlink()
    make(file.path)


BAD: dict[str, tuple[Callable[[Rotated], object], str]] = {
    "gone": (lambda file: file.path.unlink(), "cannot be read: No such file or directory"),
    "empty": (lambda file: file.write(""), "is empty"),
    "an empty line": (lambda file: file.write("\n"), "is empty"),
    "two lines": (lambda file: file.write("a\nb\n"), "is not one line of visible ASCII characters"),
    "two words": (lambda file: file.write("a b"), "is not one line of visible ASCII characters"),
    "a field more": (
        lambda file: file.write("a\r\nx-admin: 1"), "is not one line of visible ASCII characters"),
    "NUL": (lambda file: file.write(b"a\0b"), "is not one line of visible ASCII characters"),
    "not ASCII": (lambda file: file.write("ä"), "is not one line of visible ASCII characters"),
    "too long": (lambda file: file.write("a" * (MAX_BYTES + 1)), "is larger than 16KiB"),
    "a pipe": (
        lambda file: instead(file, os.mkfifo), "is not a regular file"),
    "a directory": (
        lambda file: instead(file, Path.mkdir), "cannot be read: Is a directory"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "why"), BAD.values(), ids=BAD)
def test_what_is_no_token(
    rotated: Rotated,
    spoil: Callable[[Rotated], object],
    why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is sent from the next look on, never what was there before; then it is good again."""
    caplog.set_level(logging.INFO)
    rotated.write("good")
    assert rotated.got() == "good"
    spoil(rotated)
    rotated.later()
    assert rotated.why() == why
    assert rotated.why() == why
    assert caplog.text.count(why) == 1
    assert rotated.metrics.results["unavailable"] == 2
    if rotated.path.is_dir():
        rotated.path.rmdir()
    rotated.write("good")
    rotated.later()
    assert rotated.got() == "good"
    assert "is good again" in caplog.text


def test_never_there(rotated: Rotated) -> None:
    """A path that is not there yet is no defect; it is looked at once a second."""
    assert rotated.why() == "cannot be read: No such file or directory"
    rotated.write("good")
    rotated.later()
    assert rotated.got() == "good"


# --- refused ---


def test_a_refused_token_is_looked_for_at_once(rotated: Rotated) -> None:
    """If another is there meanwhile it is used; else nothing helps, and nothing is forgotten."""
    rotated.write("first")
    first = rotated.file.get(None)
    assert isinstance(first, ObtainedToken)
    assert not rotated.file.refused(first, None)
    assert rotated.got() == "first"
    rotated.write("second")
    assert rotated.file.refused(first, None)
    assert rotated.got() == "second"
    rotated.path.unlink()
    assert not rotated.file.refused(first, None)


def test_nothing_of_the_token_is_told(rotated: Rotated, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the log nor in a failure."""
    caplog.set_level(logging.DEBUG)
    rotated.write("s3cret s3cret")
    failure = rotated.file.get(None)
    assert "s3cret" not in f"{failure!r} {caplog.text} {rotated.file!r}"
