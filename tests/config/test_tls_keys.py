"""TLS and forwarding fields in the file: what is accepted, and every way in which it is not."""

from pathlib import Path

import pytest

from sidecar.config.model import DestinationTls, Forwarded, ListenerTls
from tests.config.cases import VALID_START, lines
from tests.config.conftest import Examine
from tests.support.certificates import HOUR, Authority


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> Authority:
    """Beside the configuration: an authority, a pair, and files that are none of it."""
    authority = Authority()
    authority.write(tmp_path)
    authority.issue("a.test").write(tmp_path)
    authority.issue("b.test").write(tmp_path, "other")
    authority.issue("a.test", password=b"secret").write(tmp_path, "locked")
    authority.issue("a.test", starts=-2 * HOUR, ends=-HOUR).write(tmp_path, "old")
    authority.issue("a.test", starts=HOUR, ends=2 * HOUR).write(tmp_path, "early")
    authority.issue("a.test", starts=-95 * HOUR, ends=5 * HOUR).write(tmp_path, "late")
    (tmp_path / "empty").touch()
    (tmp_path / "junk.pem").write_text(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    )
    (tmp_path / "huge").write_bytes(b"#" * ((1 << 20) + 1))
    return authority


def inbound(rest: str) -> str:
    return f"{VALID_START}inbound: {{{rest}}}\n"


def destination(rest: str) -> str:
    return f"{VALID_START}outbound: {{destinations: {{d: {{listen: 127.0.0.1:1, {rest}}}}}}}\n"


PAIR = "certificate: tls.crt, key: tls.key"


def test_a_listener_with_tls(examined: Examine, tmp_path: Path) -> None:
    """Paths start at the file's directory; callers need no certificate unless there is a CA."""
    found = examined(inbound(f"tls: {{{PAIR}}}"))
    assert (lines(found.errors), lines(found.warnings)) == ([], [])
    assert found.config is not None
    pair = str(tmp_path / "tls.crt"), str(tmp_path / "tls.key")
    assert found.config.inbound.tls == ListenerTls(*pair)
    found = examined(inbound(f"tls: {{{PAIR}, client_ca: ca.crt}}"))
    assert found.config is not None
    assert found.config.inbound.tls == ListenerTls(*pair, str(tmp_path / "ca.crt"), "required")
    found = examined(inbound(f"tls: {{{PAIR}, client_ca: ca.crt, client_certificate: optional}}"))
    assert found.config is not None
    assert found.config.inbound.tls == ListenerTls(*pair, str(tmp_path / "ca.crt"), "optional")


def test_a_destination_with_tls(examined: Examine, tmp_path: Path) -> None:
    """Everything has a default: the system's authorities, the URL's host, no certificate."""
    found = examined(destination("upstream: https://d.example"))
    assert (lines(found.errors), lines(found.warnings)) == ([], [])
    assert found.config is not None
    plain = found.config.outbound.destinations["d"]
    assert (plain.upstream.port, plain.tls) == (443, None)
    found = examined(
        destination(f"upstream: https://d.example:8, tls: {{ca: ca.crt, server_name: x.y, {PAIR}}}")
    )
    assert found.config is not None
    assert found.config.outbound.destinations["d"].tls == DestinationTls(
        str(tmp_path / "ca.crt"), "x.y", str(tmp_path / "tls.crt"), str(tmp_path / "tls.key")
    )


def test_forwarding_fields(examined: Examine) -> None:
    """Absent means left alone; present means that nobody is trusted."""
    found = examined(VALID_START)
    assert found.config is not None
    assert (found.config.inbound.forwarded, found.config.inbound.via) == (None, None)
    found = examined(inbound("forwarded: {}"))
    assert found.config is not None
    assert found.config.inbound.forwarded == Forwarded((), "x-forwarded")
    text = inbound(
        "via: edge-1, forwarded: {trust: [10.0.0.0/8, 'fd00::/8', 192.0.2.1], set: both}"
    )
    found = examined(text + "outbound: {via: pod}\n")
    assert found.config is not None
    assert found.config.inbound.forwarded == Forwarded(
        ("10.0.0.0/8", "fd00::/8", "192.0.2.1/32"), "both"
    )
    assert (found.config.inbound.via, found.config.outbound.via) == ("edge-1", "pod")


LISTENER = {
    "nothing": ("", ["tls.certificate: is required", "tls.key: is required"]),
    "no key": ("certificate: tls.crt", ["tls.key: is required"]),
    "no such file": (
        "certificate: absent.crt, key: tls.key",
        ["tls.certificate: cannot be read: No such file or directory"],
    ),
    "a directory": (
        "certificate: ., key: tls.key",
        ["tls.certificate: is not a regular file"],
    ),
    "too large": (
        "certificate: tls.crt, key: huge",
        ["tls.key: is larger than 1024KiB"],
    ),
    "the two swapped": (
        "certificate: tls.key, key: tls.crt",
        ["tls.certificate: holds no certificate in PEM"],
    ),
    "no key in the file": (
        "certificate: tls.crt, key: tls.crt",
        ["tls.key: holds no usable private key in PEM"],
    ),
    "a broken certificate": (
        "certificate: junk.pem, key: tls.key",
        ["tls.certificate: holds no certificate in PEM"],
    ),
    "an empty file": (
        "certificate: empty, key: tls.key",
        ["tls.certificate: holds no certificate in PEM"],
    ),
    "another's key": (
        "certificate: tls.crt, key: other.key",
        ["tls.key: does not fit the certificate"],
    ),
    "an encrypted key": (
        "certificate: locked.crt, key: locked.key",
        ["tls.key: is encrypted, and there is nobody to ask for a password"],
    ),
    "no authority in the file": (
        f"{PAIR}, client_ca: empty",
        ["tls.client_ca: holds no certificate in PEM"],
    ),
    "a demand without authorities": (
        f"{PAIR}, client_certificate: required",
        ["tls.client_certificate: `required` needs `client_ca` to check it against"],
    ),
    "authorities without a demand": (
        f"{PAIR}, client_ca: ca.crt, client_certificate: off",
        ["tls.client_certificate: is `off`, so that `client_ca` would not be used"],
    ),
    "another word": (
        f"{PAIR}, client_certificate: maybe",
        ["tls.client_certificate: `maybe` is not one of off, optional, required"],
    ),
    "switching verification off": (
        f"{PAIR}, insecure: true",
        ["tls.insecure: unknown key"],
    ),
}


def _without_place(problems: list[str]) -> list[str]:
    return [each.split(": ", 1)[1] for each in problems]


@pytest.mark.parametrize(("written", "expected"), LISTENER.values(), ids=LISTENER)
def test_a_listener_that_cannot_speak_tls(
    examined: Examine, written: str, expected: list[str]
) -> None:
    """The problem is told at the key, before anything is started."""
    found = examined(inbound(f"tls: {{{written}}}"))
    assert found.config is None
    assert _without_place(lines(found.errors)) == [f"inbound.{each}" for each in expected]


DESTINATION = {
    "TLS for plain HTTP": (
        "upstream: http://127.0.0.1:9, tls: {ca: ca.crt}",
        "tls: is for an `upstream` that starts with https://",
    ),
    "a certificate without its key": (
        "upstream: https://d, tls: {certificate: tls.crt}",
        "tls.certificate: needs `key` beside it",
    ),
    "a key without its certificate": (
        "upstream: https://d, tls: {key: tls.key}",
        "tls.key: needs `certificate` beside it",
    ),
    "authorities that are none": (
        "upstream: https://d, tls: {ca: tls.key}",
        "tls.ca: holds no certificate in PEM",
    ),
    "authorities that are absent": (
        "upstream: https://d, tls: {ca: absent}",
        "tls.ca: cannot be read: No such file or directory",
    ),
    "a key that does not fit": (
        "upstream: https://d, tls: {certificate: tls.crt, key: other.key}",
        "tls.key: does not fit the certificate",
    ),
    "a name with a port": (
        "upstream: https://d, tls: {server_name: 'd:443'}",
        "tls.server_name: `d:443` must be a host name without port (did you mean `d`?)",
    ),
    "switching verification off": (
        "upstream: https://d, tls: {verify: false}",
        "tls.verify: unknown key",
    ),
    "calling itself": (
        "upstream: https://localhost:1",
        "upstream: is this destination's own `listen`",
    ),
}


@pytest.mark.parametrize(("written", "expected"), DESTINATION.values(), ids=DESTINATION)
def test_a_destination_that_cannot_be_verified(
    examined: Examine, written: str, expected: str
) -> None:
    """The same, and nothing switches verification off."""
    found = examined(destination(written))
    assert found.config is None
    assert _without_place(lines(found.errors)) == [f"outbound.destinations.d.{expected}"]


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("old", "expired at "),
        ("early", "is not valid before "),
        ("late", "expires at "),
    ],
)
def test_a_certificate_whose_time_is_over_soon(examined: Examine, name: str, begins: str) -> None:
    """It may be replaced while the sidecar runs, so it is a warning."""
    found = examined(inbound(f"tls: {{certificate: {name}.crt, key: {name}.key}}"))
    assert found.config is not None
    ((warning),) = _without_place(lines(found.warnings))
    assert warning.removeprefix("warning: ").startswith(f"inbound.tls.certificate: {begins}")


FORWARDING = {
    "bits after the prefix": (
        "forwarded: {trust: [10.0.0.1/8]}",
        "forwarded.trust[0]: `10.0.0.1/8` has bits after its prefix (did you mean `10.0.0.0/8`?)",
    ),
    "a host name": (
        "forwarded: {trust: [proxy.example]}",
        "forwarded.trust[0]: `proxy.example` must be addresses such as 10.0.0.0/8 or fd00::/8",
    ),
    "nobody, written out": (
        "forwarded: {trust: []}",
        "forwarded.trust: must not be empty",
    ),
    "another set": (
        "forwarded: {set: x-real-ip}",
        "forwarded.set: `x-real-ip` is not one of x-forwarded, forwarded, both, off",
    ),
    "a name with spaces": (
        "via: 'my proxy'",
        "via: `my proxy` must be 1 to 64 letters, digits, `.`, `_` or `-`",
    ),
    "a name that ends the line": (
        'via: "a\\r\\nx: y"',
        "via: `a\\r\\nx: y` must be 1 to 64 letters, digits, `.`, `_` or `-`",
    ),
    "a name for YAML": (
        "via: off",
        'via: must be a name; `off` needs quotes to be one (did you mean `"off"`?)',
    ),
}


@pytest.mark.parametrize(("written", "expected"), FORWARDING.values(), ids=FORWARDING)
def test_forwarding_that_cannot_be(examined: Examine, written: str, expected: str) -> None:
    """Networks are written exactly, and a pseudonym is one token."""
    found = examined(inbound(written))
    assert found.config is None
    assert _without_place(lines(found.errors)) == [f"inbound.{expected}"]
