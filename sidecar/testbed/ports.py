"""Ports on loopback that nobody listens on."""

import os
import random
import socket
from typing import Final

_HOST: Final = "127.0.0.1"
_WORKER: Final = "PYTEST_XDIST_WORKER"
_SHARES: Final = 12
_SPARE: Final = range(20_000, 32_000)
"""Below the ports that kernels give out on their own (RFC 6335 and Linux), so that what is free
now is still free when the program that will listen has started."""


def free_ports(count: int) -> list[int]:
    """Return *count* different free ports nobody expects, so that several runs do not meet."""
    spare = _spare(os.environ.get(_WORKER, ""))
    candidates = filter(is_free, random.sample(spare, len(spare)))
    return [next(candidates) for _ in range(count)]


def _spare(worker: str) -> range:
    """Return where to look: pytest's workers have a thousand ports each, and so never meet."""
    number = worker.removeprefix("gw")
    if not number.isdecimal():
        return _SPARE
    share = len(_SPARE) // _SHARES
    first = _SPARE.start + int(number) % _SHARES * share
    return range(first, first + share)


def is_free(port: int) -> bool:
    """Whether nothing listens on *port*, on IPv4 or IPv6 loopback."""
    with socket.socket() as listener:
        # As the programs do that will listen: a connection in TIME_WAIT takes no port away.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except OSError:
            return False
    return not _answers_on_ipv6(port)


def _answers_on_ipv6(port: int) -> bool:
    # `localhost` may mean ::1 first, where another program would answer in our place.
    if not socket.has_ipv6:
        return False
    with socket.socket(socket.AF_INET6) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("::1", port)) == 0
