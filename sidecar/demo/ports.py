"""Which ports the tour's programs listen on: the README's if they are free, else others."""

import random
import socket
from dataclasses import dataclass, fields, replace

_HOST = "127.0.0.1"
_SPARE = range(20_000, 32_000)
"""Below the ports that kernels give out on their own (RFC 6335 and Linux), so that what is free
now is still free when the program that will listen has started."""


@dataclass(frozen=True, slots=True)
class Ports:
    """One port for each listener of the tour; the defaults are the ones the README shows."""

    identity_provider: int = 9000
    user_service: int = 8080
    user_inbound: int = 15406
    user_outbound: int = 9001
    user_admin: int = 15490
    profile_service: int = 8081
    profile_inbound: int = 15416
    profile_admin: int = 15491

    @classmethod
    def unusual(cls) -> "Ports":
        """Free ports nobody expects, so that several tours can run at once."""
        candidates = filter(_is_free, random.sample(_SPARE, len(_SPARE)))
        return cls(**{each.name: next(candidates) for each in fields(cls)})

    def taken(self) -> list[int]:
        """Those of these ports on which something listens already."""
        return [port for port in self.all() if not _is_free(port)]

    def without(self, taken: list[int]) -> "Ports":
        """The same ports, with free ones in place of those *taken*."""
        spare = Ports.unusual()
        return replace(
            self,
            **{
                each.name: getattr(spare, each.name)
                for each in fields(self)
                if getattr(self, each.name) in taken
            },
        )

    def all(self) -> list[int]:
        """All of them, in the order of the fields."""
        return [getattr(self, each.name) for each in fields(self)]


def _is_free(port: int) -> bool:
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
