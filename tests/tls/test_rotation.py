"""``sidecar.tls.rotation``: what works stays in use until something else works."""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest

from sidecar.tls.contexts import client_context, server_context
from sidecar.tls.files import TlsContents, TlsFileError, TlsPaths
from sidecar.tls.rotation import RotatingContext, Rotation
from tests.support.certificates import HOUR, Authority, Pair

BUILD = partial(server_context, demand="off")


class Report:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.results: list[bool] = []
        self.ends: list[datetime] = []

    def reloaded(self, successful: bool) -> None:
        self.results.append(successful)

    def valid_until(self, ends: datetime) -> None:
        self.ends.append(ends)


class Mount:
    """A directory as Kubernetes mounts a secret: links to ``..data``, a link that is turned."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0

    def publish(self, pair: Pair) -> TlsPaths:
        """Replace both files in one step; return their paths."""
        self._count += 1
        version = self._directory / f"..{self._count}"
        version.mkdir()
        pair.write(version)
        turning = self._directory / "..data_tmp"
        turning.symlink_to(version.name)
        turning.rename(self._directory / "..data")
        for name in ("tls.crt", "tls.key"):
            with suppress(FileExistsError):
                (self._directory / name).symlink_to(f"..data/{name}")
        return TlsPaths(str(self._directory / "tls.crt"), str(self._directory / "tls.key"))


def renamed(directory: Path, pair: Pair, *, only: str = "") -> TlsPaths:
    """Replace the files one after the other, each by a rename."""
    for name, content in (("tls.crt", pair.certificate), ("tls.key", pair.key)):
        if only in name:
            (directory / "new").write_bytes(content)
            (directory / "new").rename(directory / name)
    return TlsPaths(str(directory / "tls.crt"), str(directory / "tls.key"))


def turned_into_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.fixture
def authority() -> Authority:
    return Authority()


def rotating(paths: TlsPaths, report: Report) -> RotatingContext:
    return RotatingContext("inbound", paths, BUILD, report=report)


async def test_files_that_stay_are_not_loaded_again(tmp_path: Path, authority: Authority) -> None:
    """Neither looking nor touching makes a new context."""
    report = Report()
    paths = renamed(tmp_path, authority.issue("a"))
    context = rotating(paths, report)
    before = context.context
    os.utime(paths.certificate, (1, 1))
    await Rotation([context]).look()
    assert context.context is before
    assert report.results == []


@pytest.mark.parametrize("way", ["rename", "links"])
async def test_a_new_pair_is_taken(tmp_path: Path, authority: Authority, way: str) -> None:
    """At the next look, however it was put there, and told with its end."""
    report = Report()
    first, second = authority.issue("a"), authority.issue("a", ends=5 * HOUR)
    publish: Callable[[Pair], TlsPaths]
    publish = Mount(tmp_path).publish if way == "links" else partial(renamed, tmp_path)
    context = rotating(publish(first), report)
    changed: list[bool] = []
    context.changed = lambda: changed.append(True)
    before = context.context
    publish(second)
    await Rotation([context]).look()
    assert context.context is not before
    assert (report.results, changed) == ([True], [True])
    assert report.ends == [first.not_after, second.not_after]
    await Rotation([context]).look()
    assert report.results == [True]


async def test_half_of_a_pair_is_waited_for(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Between the two steps of a replacement nothing is said, and the old pair works."""
    report = Report()
    second = authority.issue("a")
    context = rotating(renamed(tmp_path, authority.issue("a")), report)
    before = context.context
    renamed(tmp_path, second, only="crt")
    await Rotation([context]).look()
    assert context.context is before
    renamed(tmp_path, second, only="key")
    await Rotation([context]).look()
    assert context.context is not before
    assert report.results == [True]
    assert "stay in use" not in caplog.text


BAD: dict[str, tuple[Callable[[Path, Authority], object], str]] = {
    "another's key": (
        lambda directory, ca: renamed(directory, ca.issue("a"), only="key"),
        "tls.key does not fit the certificate",
    ),
    "no key": (
        lambda directory, _ca: (directory / "tls.key").unlink(),
        "tls.key cannot be read: No such file or directory",
    ),
    "half a file": (
        lambda directory, _ca: os.truncate(directory / "tls.crt", 200),
        "tls.crt holds no certificate in PEM",
    ),
    "an empty file": (
        lambda directory, _ca: os.truncate(directory / "tls.key", 0),
        "tls.key holds no usable private key in PEM",
    ),
    "an encrypted key": (
        lambda directory, ca: renamed(directory, ca.issue("a", password=b"x")),
        "tls.key is encrypted, and there is nobody to ask for a password",
    ),
    "a pipe": (
        lambda directory, _ca: turned_into_a_pipe(directory / "tls.crt"),
        "tls.crt is not a regular file",
    ),
}


@pytest.mark.parametrize(("spoil", "said"), BAD.values(), ids=BAD)
async def test_a_bad_pair_leaves_the_old_one(
    tmp_path: Path,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path, Authority], object],
    said: str,
) -> None:
    """It is counted and told once, however long it stays, and a good one is taken after it."""
    report = Report()
    context = rotating(renamed(tmp_path, authority.issue("a")), report)
    before = context.context
    spoil(tmp_path, authority)
    with caplog.at_level(logging.INFO, "sidecar.tls"):
        for _ in range(5):
            await Rotation([context]).look()
    assert context.context is before
    assert report.results == [False]
    assert caplog.messages == [f"inbound: the old certificates stay in use: {tmp_path}/{said}"]
    renamed(tmp_path, authority.issue("a"))
    await Rotation([context]).look()
    assert context.context is not before
    assert report.results == [False, True]


async def test_a_second_bad_pair_is_told_too(tmp_path: Path, authority: Authority) -> None:
    """And going back to the first files is no reload, but ends the complaint."""
    report = Report()
    good = authority.issue("a")
    context = rotating(renamed(tmp_path, good), report)
    look = Rotation([context]).look
    for _ in range(2):
        renamed(tmp_path, authority.issue("a"), only="key")
        for _ in range(3):
            await look()
    assert report.results == [False, False]
    renamed(tmp_path, good)
    await look()
    renamed(tmp_path, authority.issue("a"), only="key")
    for _ in range(3):
        await look()
    assert report.results == [False, False, False]


async def test_another_authority_is_taken(tmp_path: Path, authority: Authority) -> None:
    """A destination's CA bundle is followed as well, comments in any encoding included."""
    report = Report()
    ca = tmp_path / "ca.crt"
    ca.write_bytes(authority.pem)
    context = RotatingContext("outbound d", TlsPaths(ca=str(ca)), client_context, report=report)
    before = context.context
    ca.write_bytes("# Autorité\n".encode("latin-1") + Authority().pem + authority.pem)
    await Rotation([context]).look()
    assert context.context is not before
    assert len(context.context.get_ca_certs()) == 2
    assert report.ends == []


async def test_files_that_change_while_they_are_read(tmp_path: Path, authority: Authority) -> None:
    """What was checked is what is used: ``ssl`` reads the files by itself."""
    paths = renamed(tmp_path, authority.issue("a"))
    later = authority.issue("a", ends=7 * HOUR)
    times: list[int] = []

    def build(paths: TlsPaths, contents: TlsContents) -> ssl.SSLContext:
        times.append(1)
        if len(times) == 1:
            renamed(tmp_path, later)
        return BUILD(paths, contents)

    report = Report()
    RotatingContext("inbound", paths, build, report=report)
    assert len(times) == 2
    assert report.ends == [later.not_after]

    def restless(paths: TlsPaths, contents: TlsContents) -> ssl.SSLContext:
        renamed(tmp_path, authority.issue("a"))
        return BUILD(paths, contents)

    with pytest.raises(TlsFileError, match="changes while it is read"):
        RotatingContext("inbound", paths, restless, report=report)


async def test_the_rotation_goes_on_until_it_is_cancelled(
    tmp_path: Path, authority: Authority
) -> None:
    """It looks after each pause, and a bad set does not end it."""
    report = Report()
    context = rotating(renamed(tmp_path, authority.issue("a")), report)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            (tmp_path / "tls.key").unlink()
        if len(pauses) == 4:
            renamed(tmp_path, authority.issue("a"))
        if len(pauses) == 6:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Rotation([context], sleep=sleep).run()
    assert report.results == [False, True]
    assert set(pauses) == {2.0}


def test_contexts_are_strict(tmp_path: Path, authority: Authority) -> None:
    """TLS 1.2 at least, one protocol, no renegotiation; a destination is always verified."""
    paths = renamed(tmp_path, authority.issue("a"))
    contents = TlsContents(ca=authority.pem)
    ours = server_context(paths, contents, "off")
    theirs = client_context(TlsPaths(ca="x"), contents)
    for context in (ours, theirs):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.options & ssl.OP_NO_COMPRESSION
    assert ours.verify_mode is ssl.CERT_NONE
    assert server_context(paths, contents, "optional").verify_mode is ssl.CERT_OPTIONAL
    assert server_context(paths, contents, "required").verify_mode is ssl.CERT_REQUIRED
    assert (theirs.verify_mode, theirs.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert not theirs.hostname_checks_common_name
    system = client_context(TlsPaths(), TlsContents())
    assert (system.verify_mode, system.check_hostname) == (ssl.CERT_REQUIRED, True)
