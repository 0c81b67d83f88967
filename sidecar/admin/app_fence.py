"""Whether the app can be reached past its sidecar: its port, tried on the pod's own addresses.

Nothing checks who calls an app that listens on every interface: the Service leads to the sidecar,
but whoever knows the pod's address need not take that way. What is found out is where the app has
bound its port; a NetworkPolicy that keeps others from it is not seen from inside the pod.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from sidecar.admin.knocking import answers
from sidecar.config import endpoints
from sidecar.config.model import Address, Inbound

POD_ADDRESSES: Final = "SIDECAR_POD_IPS"
"""Environment variable; in Kubernetes the Downward API's ``status.podIPs``."""
MAX_ADDRESSES: Final = 16
LOOK_SECONDS: Final = 60.0
SOON_SECONDS: Final = 2.0
"""Until the next look while the app does not answer its sidecar either."""

_ELSEWHERE: Final = (
    (socket.AF_INET, "192.0.2.1"),  # RFC 5737
    (socket.AF_INET6, "2001:db8::1"),  # RFC 3849
)


def pod_addresses(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the addresses of this pod: as the environment says, else those it calls out from.

    What is no address is passed over.
    """
    found = list(filter(None, map(_literal, environ.get(POD_ADDRESSES, "").split(","))))
    return tuple(dict.fromkeys(found or _own_addresses()))[:MAX_ADDRESSES]


def _literal(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return None


def _own_addresses() -> list[str]:
    """Ask the routing table from where others would be reached. Nothing is sent."""
    found = []
    for family, elsewhere in _ELSEWHERE:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            found.append(str(probe.getsockname()[0]))
    return found


class AppFence:
    """The latest verdict, and the looks that lead to it.

    An app that does not answer its sidecar has not started, or has ended: there is nothing to
    conclude then, and the verdict that there was stands.
    """

    def __init__(
        self,
        app: Address,
        addresses: Sequence[str],
        *,
        is_ours: Callable[[Address], bool],
        warn: Callable[[str], object],
        tell: Callable[[str], object],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Try *app*'s port on *addresses*, but not where *is_ours* says that we listen.

        *warn* and *tell* are given a line each time the verdict becomes another one.
        """
        self.app = app
        self.exposed: bool | None = None
        """``None``: not known yet."""
        self.where: tuple[str, ...] = ()
        """Where it answers, besides to its sidecar."""
        self._addresses = addresses
        self._is_ours = is_ours
        self._warn = warn
        self._tell = tell
        self._sleep = sleep

    async def run(self) -> None:
        """Look for as long as the sidecar runs: soon while the app is silent, else each minute."""
        if self._addresses:
            while True:
                is_known = await self.look()
                await self._sleep(LOOK_SECONDS if is_known else SOON_SECONDS)

    async def look(self) -> bool:
        """Look once; false means that nothing can be concluded."""
        if not await self._app_answers():
            return False
        places = [Address(each, self.app.port) for each in self._addresses]
        # Whoever has our port there is us: the app cannot have it too.
        found = [
            str(each)
            for each in places
            if not self._is_ours(each) and await answers(each.host, each.port)
        ]
        if not found and not await self._app_answers():
            return False  # it ended meanwhile
        self._conclude(tuple(found))
        return True

    async def _app_answers(self) -> bool:
        return await answers(self.app.host, self.app.port)

    def _conclude(self, where: tuple[str, ...]) -> None:
        before, self.where, self.exposed = self.where, where, bool(where)
        if where and where != before:
            self._warn(f"the app {self._found()}")
        elif before and not where:
            self._tell(f"the app no longer answers on {', '.join(before)}")

    def _found(self) -> str:
        return (
            f"answers on {', '.join(self.where)}, past the sidecar: bind it to {self.app.host}, or "
            "nothing checks who calls it there"
        )

    def warning(self) -> str | None:
        """Return what is wrong now, in one line."""
        return f"the app {self._found()}" if self.exposed else None

    def missing(self) -> str | None:
        """Return what stands between a sidecar that requires the fence and readiness."""
        key = "inbound.require_fenced"
        if self.exposed:
            return f"app: {self._found()} ({key})"
        if not self._addresses:
            return f"app: no address of this pod is known, set {POD_ADDRESSES} ({key})"
        if self.exposed is None:
            return (
                f"app: {self.app} has not answered yet, and may answer past the sidecar too ({key})"
            )
        return None


def app_beside_us(inbound: Inbound) -> Address | None:
    """Return where the app listens, if that is in this pod and somebody may call it."""
    if inbound.listen is None or not endpoints.is_loopback(inbound.app.host):
        return None
    return inbound.app.address
