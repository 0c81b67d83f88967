"""The rules for URLs and addresses, as tables."""

import pytest
from yarl import URL

from sidecar.fetch import guard


@pytest.mark.parametrize(
    ("address", "cause"),
    [
        ("169.254.169.254", "link-local"),
        ("169.254.0.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%25eth0", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("::169.254.169.254", "link-local"),
        ("2002:a9fe:a9fe::", "link-local"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("64:ff9b::a9fe:a9fe%1", "link-local"),
        ("64:ff9b:1::a9fe:a9fe", "link-local"),
        ("64:ff9b:1:a9fe:a9:fe00::", "link-local"),
        ("64:ff9b:1::6464:64c8", "metadata"),
        ("64:ff9b:1::", "unspecified"),
        ("::ffff:0:169.254.169.254", "link-local"),
        ("::ffff:169.254.169.254%lo", "link-local"),
        ("fd00:ec2::254%25eth0", "metadata"),
        ("fd00:ec2::254%eth0", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("::ffff:100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("::ffff:0.0.0.0", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("not-an-address", "not an IP address"),
    ],
)
def test_dangerous_addresses_are_refused(address: str, cause: str) -> None:
    """Link-local, metadata, unspecified and group addresses are refused in every notation."""
    assert cause in (guard.why_address_refused(address) or "")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "fd00::1",
     "fd00::1%eth0", "64:ff9b:1::a00:1", "64:ff9b:1:a00:0:100::",
     "8.8.8.8", "2606:4700::1111", "169.253.255.255", "169.255.0.0", "1.0.0.0"],
)  # fmt: skip
def test_private_and_public_addresses_are_allowed(address: str) -> None:
    """Loopback, private and public addresses may be asked, right up to the refused ranges."""
    assert guard.why_address_refused(address) is None


@pytest.mark.parametrize(
    "text",
    ["", " https://idp.test/", "https://idp.test/a b", "https://idp\n.test/",
     "https://\uff11\uff16\uff19.254.169.254/", "https://idp.test\\@evil.test/", "https://idp.test:99999/"],
)  # fmt: skip
def test_ambiguous_text_is_no_url(text: str) -> None:
    """Text that two parsers could read differently is not parsed at all."""
    assert guard.parse_url(text) is None


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("ftp://idp.test/", "not an http"),
        ("file:///etc/passwd", "not an http"),
        ("//idp.test/keys", "not an http"),
        ("https:///keys", "not an http"),
        ("https://user:secret@idp.test/", "credentials"),
        ("https://:secret@idp.test/", "credentials"),
        ("https://127.1/", "usual form"),
        ("https://2852039166/", "usual form"),
        ("https://0xa9fea9fe/", "usual form"),
        ("https://0251.0376.0251.0376/", "usual form"),
        ("https://0xa9.0xfe.0xa9.0xfe/", "usual form"),
        ("https://169.254.43518/", "usual form"),
        ("https://025177524776/", "usual form"),
        ("https://idp.test../", "usual form"),
        ("https://[fe80::1%25eth0]/", "link-local"),
        ("https://[fd00:ec2::254%25eth0]/", "metadata"),
        ("https://[::ffff:169.254.169.254]/", "link-local"),
        ("https://[::ffff:a9fe:a9fe%25eth0]/", "link-local"),
        ("https://[64:ff9b::a9fe:a9fe]/", "link-local"),
        ("https://[2002:a9fe:a9fe::1]/", "link-local"),
        ("https://169.254.169.254./", "usual form"),
        ("https://idp%2etest/", "usual form"),
        ("http://idp.test/", "plain http"),
        ("http://10.0.0.1/", "plain http"),
        ("http://localhost.idp.test/", "plain http"),
        ("https://169.254.169.254/", "link-local"),
        ("https://[fd00:ec2::254]/", "metadata"),
        ("https://[::]/", "unspecified"),
    ],
)
def test_urls_that_may_not_be_fetched(text: str, cause: str) -> None:
    """A URL is refused for its scheme, credentials, host notation or literal address."""
    url = guard.parse_url(text)
    assert url is not None
    refused = guard.why_url_refused(url, allow_plaintext=False)
    assert cause in (refused or "")
    assert "secret" not in (refused or "")


@pytest.mark.parametrize(
    "text",
    ["https://idp.test/keys?v=1", "https://10.0.0.1:8443/", "http://127.0.0.1:8080/",
     "http://127.9.9.9/", "http://[::1]:8080/", "http://localhost/", "http://localhost./"],
)  # fmt: skip
def test_urls_that_may_be_fetched(text: str) -> None:
    """https goes anywhere that is not refused, plain http to loopback."""
    assert guard.why_url_refused(URL(text), allow_plaintext=False) is None


def test_plaintext_can_be_allowed() -> None:
    """The operator may allow plain http, which allows no refused address."""
    assert guard.why_url_refused(URL("http://idp.test/"), allow_plaintext=True) is None
    refused = guard.why_url_refused(URL("http://169.254.169.254/"), allow_plaintext=True)
    assert "link-local" in (refused or "")


@pytest.mark.parametrize(
    ("origin", "target", "cause"),
    [
        ("https://idp.test/", "http://idp.test/", "plain http"),
        ("https://127.0.0.1/", "http://127.0.0.1/", "plain http"),
        ("https://idp.test/", "https://localhost/", "loopback"),
        ("http://idp.test/", "http://127.0.0.1:8080/", "loopback"),
        ("http://idp.test/", "http://[::ffff:127.0.0.1]/", "loopback"),
        ("https://idp.test/", "https://keys.test/", None),
        ("http://idp.test/", "https://keys.test/", None),
        ("http://127.0.0.1:1/", "http://localhost:2/", None),
    ],
)
def test_hops(origin: str, target: str, cause: str | None) -> None:
    """No server may weaken the transport, and no remote one may point us at this pod."""
    refused = guard.why_hop_refused(URL(origin), URL(target))
    assert refused is None if cause is None else cause in (refused or "")
