"""Which ports the tour's programs listen on: the README's if they are free, else any."""

import socket
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace

_HOST = "127.0.0.1"


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
        """Ports of which none is in use right now, so that two tours can run at once."""
        names = [each.name for each in fields(cls)]
        with ExitStack() as held:
            # All are held until all are known, so that no two are the same.
            return cls(**{name: _bind(held, 0) for name in names})

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


def _bind(held: ExitStack, port: int) -> int:
    listener = held.enter_context(socket.socket())
    # As the programs do that will listen: a connection in TIME_WAIT does not make a port taken.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((_HOST, port))
    number: int = listener.getsockname()[1]
    return number


def _is_free(port: int) -> bool:
    with ExitStack() as held:
        try:
            _bind(held, port)
        except OSError:
            return False
        return not _answers_on_ipv6(port)


def _answers_on_ipv6(port: int) -> bool:
    # `localhost` may mean ::1 first, where another program could answer in our place.
    with socket.socket(socket.AF_INET6) if socket.has_ipv6 else ExitStack() as probe:
        if isinstance(probe, ExitStack):
            return False
        probe.settimeout(0.5)
        return probe.connect_ex(("::1", port)) == 0
