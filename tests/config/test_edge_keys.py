"""CORS, resource metadata and Server-Timing in the file: what is accepted, and what is not."""

import pytest

from sidecar.config.model import Cors, ResourceMetadata
from tests.config.cases import VALID_START, lines
from tests.config.conftest import Examine


def inbound(rest: str) -> str:
    return f"{VALID_START}inbound: {{{rest}}}\n"


def test_what_is_accepted(examined: Examine) -> None:
    """Nothing by default; one line for the metadata, or a map."""
    found = examined(VALID_START).config
    assert found is not None
    assert (found.inbound.cors, found.inbound.resource_metadata) == (None, None)
    assert not found.inbound.server_timing
    found = examined(
        inbound(
            'cors: {preflight: pass, allow_origins: ["https://a.example:8443"],'
            " allow_credentials: true, expose_headers: [etag]},"
            ' resource_metadata: "https://api.example/", server_timing: true'
        )
    ).config
    assert found is not None
    assert found.inbound.cors == Cors("pass", ("https://a.example:8443",), True, ("etag",))
    assert found.inbound.resource_metadata == ResourceMetadata("https://api.example/")
    assert found.inbound.server_timing
    found = examined(
        inbound(
            'resource_metadata: {resource: "https://api.example/v1", scopes_supported: [a],'
            ' authorization_servers: ["https://as.example"]}'
        )
    ).config
    assert found is not None
    assert found.inbound.resource_metadata == ResourceMetadata(
        "https://api.example/v1", ("https://as.example",), ("a",)
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('cors: {allow_origins: ["*"], allow_credentials: true}', "browsers refuse both"),
        ('cors: {allow_origins: ["https://a.example/"]}', "an origin as browsers send it"),
        ('cors: {allow_origins: ["https://A.example"]}', "an origin as browsers send it"),
        ('cors: {allow_origins: ["https://a.example:443"]}', "an origin as browsers send it"),
        ('cors: {allow_origins: ["null"]}', "an origin as browsers send it"),
        ('cors: {expose_headers: ["a b"]}', "expose_headers"),
        ("cors: {preflight: ignore}", "preflight"),
        ('resource_metadata: "http://api.example/"', "must be an https:// URL"),
        ('resource_metadata: "https://api.example/#x"', "must be an https:// URL"),
        ('resource_metadata: "https://api.example/?x"', "must be an https:// URL"),
        ("resource_metadata: {scopes_supported: [a]}", "resource"),
        ("server_timing: yes", "server_timing"),
    ],
)
def test_what_is_refused(written: str, expected: str, examined: Examine) -> None:
    """Each mistake is one error on its line that says what to write."""
    (line,) = lines(examined(inbound(written)).errors)
    assert line.startswith("3:")
    assert expected in line
