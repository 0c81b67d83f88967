"""Choosing ports for the tour."""

import socket

from sidecar.demo.ports import Ports


def test_ports_in_use_are_found_and_replaced() -> None:
    """A port somebody listens on is replaced by a free one; the others stay."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        busy = other.getsockname()[1]
        wanted = Ports(**{**_named(Ports.unusual()), "user_outbound": busy})
        assert wanted.taken() == [busy]
        chosen = wanted.without([busy])
    assert chosen.user_outbound != busy
    assert chosen.taken() == []
    assert {**_named(chosen), "user_outbound": busy} == _named(wanted)


def test_unusual_ports_are_distinct() -> None:
    """No two programs of one tour get the same port."""
    ports = Ports.unusual().all()
    assert len(set(ports)) == len(ports) == 8


def test_a_program_on_ipv6_loopback_is_noticed() -> None:
    """localhost may mean ::1, so a listener there takes the port as well."""
    with socket.socket(socket.AF_INET6) as other:
        other.bind(("::1", 0))
        other.listen()
        busy = other.getsockname()[1]
        assert busy in Ports(user_outbound=busy).taken()


def _named(ports: Ports) -> dict[str, int]:
    return {name: getattr(ports, name) for name in Ports.__dataclass_fields__}
