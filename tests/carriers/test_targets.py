"""Which names and addresses are the sidecar's: a table."""

import pytest

from sidecar.carriers.python.sidecar_carrier.targets import Targets

DEFAULT = ""
LISTED = "127.0.0.1:9001, localhost:9002,profile-service:80,[::1]:9003"


@pytest.mark.parametrize(
    ("setting", "host", "port", "address", "expected"),
    [
        (DEFAULT, "localhost", 1, "127.0.0.1", True),
        (DEFAULT, "LocalHost.", 1, "::1", True),
        (DEFAULT, "127.8.9.10", 65535, "127.8.9.10", True),
        (DEFAULT, "::1", 80, "::1", True),
        (DEFAULT, "localhost", 80, "10.0.0.1", False),
        (DEFAULT, "127.0.0.1", 80, "10.0.0.1", False),
        (DEFAULT, "profile-service", 80, "127.0.0.1", False),
        (DEFAULT, "127.0.0.1.example", 80, "127.0.0.1", False),
        (DEFAULT, "1270.0.0.1", 80, "127.0.0.1", False),
        (DEFAULT, "10.0.0.1", 80, "10.0.0.1", False),
        (LISTED, "127.0.0.1", 9001, "127.0.0.1", True),
        (LISTED, "localhost", 9001, "127.0.0.1", True),
        (LISTED, "localhost", 9001, "::1", False),
        (LISTED, "127.0.0.1", 9002, "127.0.0.1", True),
        (LISTED, "127.0.0.2", 9002, "127.0.0.2", False),
        (LISTED, "localhost", 9003, "::1", True),
        (LISTED, "localhost", 9004, "127.0.0.1", False),
        (LISTED, "Profile-Service", 80, "10.0.0.7", True),
        (LISTED, "profile-service", 81, "10.0.0.7", False),
    ],
)
def test_reach(setting: str, host: str, port: int, address: str, expected: bool) -> None:
    """A connection is the sidecar's by the name that was called and the address it reached."""
    targets = Targets.parse(setting)
    reached = targets.names(host, port) and targets.reach(host, port, address)
    assert reached is expected


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (("127.0.0.1", 9001), True),
        (("::1", 9001, 0, 0), True),
        (("127.0.0.1", 1080), False),
        (("10.0.0.1", 9001), False),
        ("", False),
        (b"/run/a.sock", False),
        (None, False),
    ],
)
def test_lead(peer: object, expected: bool) -> None:
    """What a socket says of its peer decides: a unix socket or a SOCKS proxy is not the sidecar."""
    assert Targets.parse("").lead("localhost", 9001, peer) is expected


def test_entry_that_is_no_address(capfd: pytest.CaptureFixture[str]) -> None:
    """An unreadable entry is reported once and widens nothing: the others stay the only ones."""
    targets = Targets.parse("9001,localhost:http")
    assert not targets.reach("localhost", 9001, "127.0.0.1")
    assert not targets.reach("localhost", 80, "127.0.0.1")
