"""``sidecar.core.forwarded``: whose word about the way counts, and how ours is written."""

import pytest

from sidecar.core.forwarded import FORWARDING, FieldSet, ForwardingFields, classifier
from sidecar.core.headers import AUTHORIZATION, RESERVED, classify

TRUSTED = "10.1.2.3"
STRANGER = "192.0.2.9"
MARK = classifier(classify)


def rewritten(
    *sent: str,
    peer: str = STRANGER,
    write: FieldSet = "x-forwarded",
    trust: tuple[str, ...] = ("10.0.0.0/8", "fd00::/8"),
    scheme: bytes = b"https",
    host: bytes = b"shop.example",
) -> list[str]:
    """Return the lines that the app gets for what was *sent*: what is left, then ours."""
    lines = [f"{line}\r\n".encode("latin-1") for line in sent]
    marked = []
    for index, line in enumerate(lines):
        name, _, value = line.partition(b":")
        if mark := MARK(name.lower()):
            marked.append((mark, index, value.strip()))
    ours = ForwardingFields(trust=trust, write=write, scheme=scheme).rewrite(
        lines, marked, peer, host
    )
    return (b"".join(lines) + ours).decode("latin-1").split("\r\n")[:-1]


SPOOFED = (
    "X-Forwarded-For: 1.1.1.1",
    "x-forwarded-for: 2.2.2.2, 3.3.3.3",
    "X_Forwarded_For: 4.4.4.4",
    "X-Forwarded_For: 4.4.4.4",
    "X.Forwarded.For: 4.4.4.4",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Port: 443",
    "X-Forwarded-Prefix: /admin",
    "X-Forwarded-Server: evil",
    "X-Forwarded-Client-Cert: Subject=admin",
    "Forwarded: for=1.1.1.1",
    'forwarded: for="[::1]";proto=https',
    "X-Real-IP: 1.1.1.1",
    "X_Real_IP: 1.1.1.1",
    "X-Client-IP: 1.1.1.1",
    "True-Client-IP: 1.1.1.1",
    "X-Envoy-External-Address: 1.1.1.1",
    "X-Original-Forwarded-For: 1.1.1.1",
)
OURS = [
    "x-forwarded-for: 192.0.2.9",
    "x-forwarded-proto: https",
    "x-forwarded-host: shop.example",
]


@pytest.mark.parametrize(
    ("write", "ours"),
    [
        ("x-forwarded", OURS),
        ("forwarded", ["forwarded: for=192.0.2.9;proto=https;host=shop.example"]),
        ("both", [*OURS, "forwarded: for=192.0.2.9;proto=https;host=shop.example"]),
        ("off", []),
    ],
)
def test_a_stranger_is_not_believed(write: FieldSet, ours: list[str]) -> None:
    """Everything it wrote of the kind is gone, in every spelling; what else it wrote is not."""
    sent = ("Accept: */*", *SPOOFED, "X-Forward: 1", "Via: 1.1 x")
    expected = ["Accept: */*", "X-Forward: 1", "Via: 1.1 x", *ours]
    assert rewritten(*sent, write=write) == expected


def test_each_spoofed_field_alone() -> None:
    """None of them depends on another."""
    for line in SPOOFED:
        assert rewritten(line) == OURS


def test_a_trusted_proxy_is_continued() -> None:
    """Its list gets the proxy's own address; scheme and host are those first asked for."""
    assert rewritten(
        "X-Forwarded-For: 198.51.100.7",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: www.example",
        "X-Forwarded-Port: 80",
        "X-Real-IP: 198.51.100.7",
        peer=TRUSTED,
    ) == [
        "X-Forwarded-Port: 80",
        "X-Real-IP: 198.51.100.7",
        "x-forwarded-for: 198.51.100.7, 10.1.2.3",
        "x-forwarded-proto: http",
        "x-forwarded-host: www.example",
    ]


def test_several_fields_are_one_list() -> None:
    """Frameworks read the first or the last of several, so there is one, in order."""
    assert rewritten(
        "X-Forwarded-For: 198.51.100.7",
        "Forwarded: for=198.51.100.7",
        "X-Forwarded-For:",
        "x-forwarded-for: 198.51.100.8, 198.51.100.9",
        "Forwarded: for=198.51.100.8;by=_hidden, for=unknown",
        peer=TRUSTED,
        write="both",
    ) == [
        "x-forwarded-for: 198.51.100.7, 198.51.100.8, 198.51.100.9, 10.1.2.3",
        "x-forwarded-proto: https",
        "x-forwarded-host: shop.example",
        "forwarded: for=198.51.100.7, for=198.51.100.8;by=_hidden, for=unknown, "
        "for=10.1.2.3;proto=https;host=shop.example",
    ]


def test_odd_spellings_are_removed_from_a_trusted_proxy_too() -> None:
    """It may pass on what it does not know, and a WSGI app would know it."""
    assert rewritten("X_Forwarded_For: 1.1.1.1", "x-forwarded_proto: https", peer=TRUSTED) == [
        "x-forwarded-for: 10.1.2.3",
        "x-forwarded-proto: https",
        "x-forwarded-host: shop.example",
    ]


def test_off_leaves_a_trusted_proxy_alone() -> None:
    """Only strangers' fields are removed then."""
    sent = ("X-Forwarded-For: 198.51.100.7", "Forwarded: for=198.51.100.7")
    assert rewritten(*sent, peer=TRUSTED, write="off") == list(sent)


@pytest.mark.parametrize(
    "value",
    ['for="1.1.1.1', 'for="a\\"', 'for=1.1.1.1;host="', 'for="\\', '"', "for=\\", 'a"b"c"'],
)
def test_a_quotation_without_end_does_not_swallow_ours(value: str) -> None:
    """A proxy passes on what a caller began; what cannot be continued is dropped."""
    assert rewritten(f"Forwarded: {value}", peer=TRUSTED, write="forwarded") == [
        "forwarded: for=10.1.2.3;proto=https;host=shop.example"
    ]


def test_quotations_with_an_end_are_continued() -> None:
    """Commas and escaped quotes inside them are theirs."""
    value = 'for="[2001:db8::7]:47";secret="a, b \\" c", for=192.0.2.1'
    assert rewritten(f"Forwarded: {value}", peer=TRUSTED, write="forwarded") == [
        f"forwarded: {value}, for=10.1.2.3;proto=https;host=shop.example"
    ]


@pytest.mark.parametrize(
    ("peer", "alone", "node"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1", '"[2001:db8::1]"'),
        ("2001:DB8:0:0::1", "2001:db8::1", '"[2001:db8::1]"'),
        ("fe80::1%eth0", "fe80::1", '"[fe80::1]"'),
        ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("", "unknown", "unknown"),
        ("/run/x.sock", "unknown", "unknown"),
    ],
)
def test_addresses(peer: str, alone: str, node: str) -> None:
    """IPv6 stands alone in one field, in brackets and quotes in the other (RFC 7239, 6)."""
    assert rewritten(peer=peer, write="both", host=b"") == [
        f"x-forwarded-for: {alone}",
        "x-forwarded-proto: https",
        f"forwarded: for={node};proto=https",
    ]


@pytest.mark.parametrize(
    ("peer", "is_trusted"),
    [
        ("10.0.0.0", True),
        ("10.255.255.255", True),
        ("9.255.255.255", False),
        ("11.0.0.0", False),
        ("::ffff:10.0.0.1", True),
        ("fd12::1", True),
        ("fd12::1%eth0", True),
        ("fe80::1", False),
        ("", False),
        ("unknown", False),
    ],
)
def test_who_is_trusted(peer: str, is_trusted: bool) -> None:
    """Networks are compared as numbers; a mapped IPv4 address is that IPv4 address."""
    fields = ForwardingFields(trust=("10.0.0.0/8", "fd00::/8"), write="both", scheme=b"http")
    for _ in range(2):
        assert fields.hop(peer).is_trusted is is_trusted


@pytest.mark.parametrize(
    ("host", "written"),
    [
        (b"shop.example", "shop.example"),
        (b"shop.example:8443", '"shop.example:8443"'),
        (b"[2001:db8::1]:8443", '"[2001:db8::1]:8443"'),
        (b"a=b", '"a=b"'),
    ],
)
def test_hosts_are_quoted_where_they_must_be(host: bytes, written: str) -> None:
    """A colon ends no token (RFC 7239, 4)."""
    (line,) = rewritten(write="forwarded", host=host)
    assert line == f"forwarded: for=192.0.2.9;proto=https;host={written}"


def test_peers_are_remembered_within_a_bound() -> None:
    """However many callers there are."""
    fields = ForwardingFields(trust=(), write="both", scheme=b"http")
    for number in range(10_000):
        fields.hop(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        assert len(fields._hops) <= 4_096


def test_marks_of_others_go_before() -> None:
    """A field that is somebody else's business stays that."""
    assert MARK(b"authorization") == AUTHORIZATION
    assert MARK(b"x-auth-subject") == RESERVED
    assert MARK(b"x-forwarded-for") == FORWARDING
    assert MARK(b"accept") == 0
