import pytest

from sidecar.config import endpoints, values
from sidecar.config.model import Address, Origin
from sidecar.config.values import Complaint


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30s", 30.0), ("5m", 300.0), ("1h", 3600.0), ("0s", 0.0), ("60s", 60.0)],
)
def test_durations(text: str, seconds: float) -> None:
    """A duration is a whole number and a unit, and is shown as it would be written."""
    assert values.duration(0, 3600)(text) == seconds
    assert values.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [("0B", 0), ("512B", 512), ("64KiB", 65536), ("1MiB", 1 << 20), ("3GiB", 3 << 30)],
)
def test_sizes(text: str, count: int) -> None:
    """A size is a whole number and a binary unit, and is shown as it would be written."""
    assert values.size(0, 1 << 40)(text) == count
    assert values.format_size(count) == text


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "1.5s", "1s ", " 1s", "1 s", "1S2", "٣s", "1e3s", "9999999999s"]
)
def test_no_durations(text: str) -> None:
    """Nothing but digits and a unit is a duration."""
    with pytest.raises(Complaint):
        values.duration(0, 1e12)(text)


def test_bounds_are_inclusive() -> None:
    """Both ends of a range are within it, and the next value is not."""
    parse = values.duration(1, 60)
    assert (parse("1s"), parse("60s")) == (1, 60)
    for text in ("999ms", "61s"):
        with pytest.raises(Complaint, match="must be from 1s to 60s"):
            parse(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9001", Address("127.0.0.1", 9001)),
        ("[::1]:80", Address("::1", 80)),
        ("[0:0:0:0:0:0:0:1]:80", Address("::1", 80)),
        ("localhost:0", Address("localhost", 0)),
        ("0.0.0.0:65535", Address("0.0.0.0", 65535)),
    ],
)
def test_listening_addresses(text: str, address: Address) -> None:
    """An IP address, brackets around version 6, or localhost, and a port."""
    assert endpoints.listen(text) == address


@pytest.mark.parametrize(
    "text",
    ["", ":", "127.0.0.1", "127.0.0.1:", "::1:80", "[::1]", "[127.0.0.1]:80", "[fe80::1%1]:80",
     "127.0.0.1:080", "127.0.0.1:-1", "127.1:80", "0x7f.0.0.1:80", "2130706433:80", "a b:80",
     "127.0.0.1:٨", "LOCALHOST:80"],
)  # fmt: skip
def test_no_listening_addresses(text: str) -> None:
    """Whatever a resolver and a reader could take for different things is refused."""
    with pytest.raises(Complaint):
        endpoints.listen(text)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://app", Origin("http", "app", 80)),
        ("https://a-b.example:8443", Origin("https", "a-b.example", 8443)),
        ("http://[::1]:80", Origin("http", "::1", 80)),
        ("http://my_service:1", Origin("http", "my_service", 1)),
    ],
)
def test_origins(text: str, origin: Origin) -> None:
    """Scheme, host and port, the scheme's own port where none is written."""
    assert endpoints.origin(text) == origin


@pytest.mark.parametrize(
    "text",
    ["app:80", "http://", "http://:80", "http://a:0", "http://a:", "http://a.", "http://a..b",
     "http://-a", "http://A", "HTTP://a", "http://a/", "http://a?b", "http://a#b", "http://u@a",
     "http://1.2.3", "http://0x7f.1", "http://1.2.3.4.5", "http://é", "http://a b", "ftp://a",
     "http://[::1", "http://[::ffff:g]", "http://a\\b", "http://" + "a" * 64, "http://a\n"],
)  # fmt: skip
def test_no_origins(text: str) -> None:
    """Anything after the port, and any host that could be read in two ways, is refused."""
    with pytest.raises(Complaint):
        endpoints.origin(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("localhost.example", False),
        ("my.localhost", False),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    """Loopback is what no resolver can move away from this machine."""
    assert endpoints.is_loopback(host) is expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("127.0.0.1:1", "127.0.0.1:1", True),
        ("0.0.0.0:1", "127.0.0.1:1", True),
        ("[::]:1", "[::1]:1", True),
        ("localhost:1", "[::1]:1", True),
        ("localhost:1", "0.0.0.0:1", True),
        ("127.0.0.1:1", "127.0.0.2:1", False),
        ("127.0.0.1:1", "127.0.0.1:2", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("0.0.0.0:1", "[::1]:1", False),
    ],
)
def test_overlap(one: str, other: str, expected: bool) -> None:
    """Two addresses overlap where they could not both be bound."""
    first, second = endpoints.listen(one), endpoints.listen(other)
    assert endpoints.overlap(first, second) is expected
    assert endpoints.overlap(second, first) is expected


@pytest.mark.parametrize("text", ["/", "/**", "/a/*", "/*/b/**", "/a/", "/a.b/~c/@d:e,f", "/..a"])
def test_path_patterns(text: str) -> None:
    """Literal segments, whole ``*`` segments, and ``**`` at the end."""
    assert values.path_pattern(text) == text


@pytest.mark.parametrize(
    "text", ["https://idp.example", "https://idp.example/Realms/x/", "http://1.2.3.4:80/a:b"]
)
def test_issuers(text: str) -> None:
    """An issuer is kept letter by letter."""
    assert endpoints.issuer(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "https://idp.example:x",
        "https://idp.example:99999",
        "https://a/ b",
        "https://a/<b>",
        "urn:x",
    ],
)
def test_no_issuers(text: str) -> None:
    """What is not an absolute URL of legal characters is no issuer."""
    with pytest.raises(Complaint):
        endpoints.issuer(text)
