"""A document that is no key set: what an operator reads, from a real server or on disk."""

import gzip
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.config.model import Discovery, JwksUri
from sidecar.core.documents import found_instead
from sidecar.issuers.endpoints import introspection_endpoint_of
from sidecar.issuers.sources import SourceError, jwks_uri_of
from tests.issuers.conftest import Benches
from tests.issuers.support import ISSUER, Provider, issuer

HTML = b"\n <!DOCTYPE html><html><title>Sign in</title>s3cret"
LOGIN_PAGE = (
    "not JSON (it begins like HTML; is this the right URL, or a login page in front of it?)"
)


@pytest.mark.parametrize(
    ("source", "cause"),
    [(JwksUri, "the key set is not usable: the key set is "),
     (Discovery, "the provider metadata is ")],
)  # fmt: skip
async def test_a_login_page_with_status_200(
    benches: Benches, provider: Provider, server: TestServer,
    source: type[JwksUri | Discovery], cause: str,
) -> None:  # fmt: skip
    """Status 200 and HTML, as gateways answer: the state of the keys says what it is."""
    provider.answer = lambda: web.Response(body=HTML, content_type="text/html")
    bench = benches.make(issuer(source(str(server.make_url("/jwks")))))
    async with bench.running():
        await bench.time.asleep()
    assert bench.keys.last_error == cause + LOGIN_PAGE
    assert not bench.is_loaded()


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (HTML, " (it begins like HTML; is this the right URL, or a login page in front of it?)"),
        (b"<?xml version='1.0'?>", " (it begins like XML; is this the right URL?)"),
        (b"-----BEGIN PUBLIC KEY-----", " (it begins like PEM; a key set is JSON (RFC 7517))"),
        (b"eyJhbGciOiJ", " (it begins like a signed token; the plain document is needed)"),
        (gzip.compress(b"{}", mtime=0), " (it is compressed with gzip)"),
        (b"\xef\xbb\xbf{}", " (it begins with a byte order mark)"),
        (b"\xef\xbb\xbf<HTML>", " (it begins like HTML; is this the right URL, or a login page "
                                "in front of it?)"),
        (b"", " (it is empty)"),
        (b" \r\n", " (it is empty)"),
        (b" " * 1000 + b"x", ""),
        (b"keys: []", ""),
        (b'{"keys": [}', ""),
    ],
)  # fmt: skip
def test_guesses(document: bytes, found: str) -> None:
    """The usual mistakes are called by their name, and nothing is guessed of others."""
    assert found_instead(document) == found


def test_metadata_that_is_a_page() -> None:
    """Both readers of provider metadata say so, and quote nothing."""
    for read in (jwks_uri_of, introspection_endpoint_of):
        with pytest.raises(SourceError) as caught:
            read(HTML, issuer=ISSUER)
        assert str(caught.value) == f"the provider metadata is {LOGIN_PAGE}"


@pytest.mark.parametrize(
    ("said", "configured"),
    [(ISSUER + "/", ISSUER), (ISSUER, ISSUER + "/")],
)
def test_a_slash_too_many(said: str, configured: str) -> None:
    """The difference that is easily overlooked is named, and is a difference all the same."""
    metadata = json.dumps({"issuer": said, "jwks_uri": "https://idp.test/keys"}).encode()
    for read in (jwks_uri_of, introspection_endpoint_of):
        with pytest.raises(SourceError) as caught:
            read(metadata, issuer=configured)
        assert caught.value.kind == "issuer_mismatch"
        assert str(caught.value) == (
            f"the provider metadata says issuer {said}, configured is {configured}: "
            "they differ in the slash at the end"
        )
