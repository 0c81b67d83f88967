"""Where key sets come from: files as operators change them, URLs, provider metadata."""

import json
import os
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from sidecar.config.model import Discovery, JwksFile, JwksUri
from sidecar.fetch.client import Fetcher, FetchError
from sidecar.issuers.sources import (
    DiscoverySource,
    FileSource,
    SourceError,
    UriSource,
    jwks_uri_of,
    source_of,
)
from tests.issuers.support import ISSUER, Provider, issuer, jwks


async def why_unreadable(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        await FileSource(str(path)).read()
    assert caught.value.kind == "invalid_document"
    return str(caught.value)


@pytest.mark.parametrize(
    ("keys", "source"),
    [
        (JwksFile("keys.json"), FileSource),
        (JwksUri("https://idp.test/keys"), UriSource),
        (Discovery("https://idp.test/metadata"), DiscoverySource),
    ],
)
def test_source_of_each_kind(
    keys: JwksFile | JwksUri | Discovery, source: type[object], fetcher: Fetcher
) -> None:
    """Each way to configure keys has its source."""
    assert isinstance(source_of(issuer(keys), fetcher), source)


async def test_file_is_read(tmp_path: Path) -> None:
    """A file's content is returned as it is."""
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks("one"))
    assert (await FileSource(str(path)).read()).content == jwks("one")


async def test_file_at_the_limit(tmp_path: Path) -> None:
    """A file of 256 KiB is read, one byte more is refused."""
    path = tmp_path / "jwks.json"
    path.write_bytes(b" " * 262_144)
    assert len((await FileSource(str(path)).read()).content) == 262_144
    path.write_bytes(b" " * 262_145)
    assert "larger than 262144 bytes" in await why_unreadable(path)


async def test_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there is an error with its path."""
    path = tmp_path / "absent.json"
    assert await why_unreadable(path) == f"{path}: cannot be read: No such file or directory"


async def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A named pipe without a writer is refused at once, and so is a directory."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "not a regular file" in await why_unreadable(pipe)
    assert "not a regular file" in await why_unreadable(tmp_path)


async def test_impossible_path() -> None:
    """A path that no file system accepts is an error like any other."""
    assert "cannot be read" in await why_unreadable(Path("keys\0.json"))


async def test_refused_files_leave_no_descriptor_open(tmp_path: Path) -> None:
    """Trying again and again does not use up descriptors."""
    before = os.listdir("/dev/fd")
    for _ in range(20):
        await why_unreadable(tmp_path)
    assert len(os.listdir("/dev/fd")) < len(before) + 20


async def test_file_change_is_seen(tmp_path: Path) -> None:
    """A file has changed when it is written, replaced, removed or created."""
    path = tmp_path / "jwks.json"
    path.write_bytes(b"{}")
    source = FileSource(str(path))
    await source.read()
    assert not source.changed()

    path.write_bytes(b"{ }")
    assert source.changed()
    await source.read()
    assert not source.changed()

    replacement = tmp_path / "new.json"
    replacement.write_bytes(b"[ ]")
    status = path.stat()
    os.utime(replacement, ns=(status.st_atime_ns, status.st_mtime_ns))
    replacement.rename(path)
    assert source.changed()
    await source.read()

    path.unlink()
    assert source.changed()
    with pytest.raises(SourceError):
        await source.read()
    assert not source.changed()
    path.write_bytes(b"{}")
    assert source.changed()


async def test_turned_link_is_seen(tmp_path: Path) -> None:
    """A mounted secret is swapped by turning a link to a directory; that is a change."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "jwks.json").write_bytes(jwks(name))
    data = tmp_path / "..data"
    data.symlink_to("one")
    source = FileSource(str(data / "jwks.json"))
    assert (await source.read()).content == jwks("one")
    turned = tmp_path / "..tmp"
    turned.symlink_to("two")
    turned.rename(data)
    assert source.changed()
    assert (await source.read()).content == jwks("two")


async def test_uri_is_fetched(server: TestServer, fetcher: Fetcher) -> None:
    """A key set's URL is fetched, and never seen to change by itself."""
    source = UriSource(str(server.make_url("/jwks")), fetcher, allow_plaintext=False)
    assert (await source.read()).content == jwks("one")
    assert not source.changed()


async def test_uri_is_guarded(fetcher: Fetcher) -> None:
    """Plain http to another host is refused unless the issuer allows it."""
    with pytest.raises(FetchError, match="plain http"):
        await UriSource("http://192.0.2.1/", fetcher, allow_plaintext=False).read()


def discovery(server: TestServer, fetcher: Fetcher) -> DiscoverySource:
    url = str(server.make_url("/metadata"))
    return DiscoverySource(url, fetcher, issuer=ISSUER, allow_plaintext=False)


async def test_metadata_names_the_keys(
    provider: Provider, server: TestServer, fetcher: Fetcher
) -> None:
    """The key set is fetched from where the issuer's own metadata says."""
    provider.metadata = {"issuer": ISSUER, "jwks_uri": str(server.make_url("/jwks"))}
    source = discovery(server, fetcher)
    assert (await source.read()).content == jwks("one")
    assert not source.changed()


async def test_metadata_of_another_issuer(
    provider: Provider, server: TestServer, fetcher: Fetcher
) -> None:
    """Metadata of another issuer is refused, names both, and its keys are not asked for."""
    other = "https://idp.test/realms/other"
    provider.metadata = {"issuer": other, "jwks_uri": str(server.make_url("/jwks"))}
    with pytest.raises(SourceError) as caught:
        await discovery(server, fetcher).read()
    assert other in str(caught.value)
    assert ISSUER in str(caught.value)
    assert caught.value.kind == "issuer_mismatch"
    assert provider.requests == 0


@pytest.mark.parametrize(
    "jwks_uri",
    ["http://192.0.2.1/jwks", "http://169.254.169.254/", "https://[fd00:ec2::254]/", "jwks", "",
     "file:///etc/passwd"],
)  # fmt: skip
async def test_jwks_uri_is_guarded(
    provider: Provider, server: TestServer, fetcher: Fetcher, jwks_uri: str
) -> None:
    """What metadata names is held to the same rules as what the operator names."""
    provider.metadata = {"issuer": ISSUER, "jwks_uri": jwks_uri}
    with pytest.raises(FetchError) as caught:
        await discovery(server, fetcher).read()
    assert caught.value.kind == "refused_address"


async def test_remote_metadata_cannot_name_this_pod(provider: Provider, server: TestServer) -> None:
    """Metadata from another host cannot make us ask what listens on loopback."""
    provider.metadata = {"issuer": ISSUER, "jwks_uri": str(server.make_url("/jwks"))}

    async def lookup(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    async with Fetcher(lookup=lookup) as fetcher:
        url = f"http://idp.test:{server.port}/metadata"
        source = DiscoverySource(url, fetcher, issuer=ISSUER, allow_plaintext=True)
        with pytest.raises(FetchError, match="remote server named a loopback URL"):
            await source.read()
    assert provider.requests == 0


@pytest.mark.parametrize(
    "said",
    [ISSUER + "/", ISSUER.upper(), " " + ISSUER, ISSUER.replace("https", "http"), "", None, 1,
     [ISSUER], {}],
)  # fmt: skip
def test_issuer_must_be_identical(said: object) -> None:
    """The issuer is compared character for character (RFC 8414, section 3.3)."""
    metadata = json.dumps({"issuer": said, "jwks_uri": "https://idp.test/keys"}).encode()
    with pytest.raises(SourceError) as caught:
        jwks_uri_of(metadata, issuer=ISSUER)
    assert caught.value.kind == "issuer_mismatch"


def test_issuer_said_is_shown_safely() -> None:
    """What the metadata says is shown on one short line, whatever it is."""
    metadata = json.dumps({"issuer": "x\n\x1b[2J" * 1000}).encode()
    with pytest.raises(SourceError) as caught:
        jwks_uri_of(metadata, issuer=ISSUER)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "metadata",
    [b"", b"<html>", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"issuer": "a", "issuer": "b"}',
     json.dumps({"issuer": ISSUER}).encode(),
     json.dumps({"issuer": ISSUER, "jwks_uri": ["https://idp.test/keys"]}).encode()],
)  # fmt: skip
def test_metadata_must_be_metadata(metadata: bytes) -> None:
    """Whatever is not provider metadata is an error that says so."""
    with pytest.raises(SourceError) as caught:
        jwks_uri_of(metadata, issuer=ISSUER)
    assert "provider metadata" in str(caught.value)
    assert caught.value.kind == "invalid_document"
