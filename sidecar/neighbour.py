"""The app beside us: whether it is still there, and whether others reach it past us.

A part of ``sidecar.assembly``.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from sidecar.admin.app_fence import AppFence, app_beside_us
from sidecar.admin.app_presence import AppPresence
from sidecar.admin.serving import Route
from sidecar.config import endpoints, model
from sidecar.wiring import Wiring

_log = logging.getLogger("sidecar.app")


class Neighbour:
    """What is known of the app that one configuration names."""

    def __init__(
        self,
        wiring: Wiring,
        *,
        addresses: Sequence[str] | None,
        taken: Callable[[], Iterable[model.Address]],
        calling: Callable[[], int],
    ) -> None:
        """*addresses* are the pod's own; ``None``: the app is not looked for there.

        *taken* gives the addresses at which we listen, *calling* how many connections the app has
        open to us in order to call others.
        """
        self._config = wiring.config
        app = app_beside_us(wiring.config.inbound)
        self.presence = AppPresence(app, calling, clock=wiring.clock)
        self.fence: AppFence | None = None
        if app is not None and addresses is not None:

            def is_ours(address: model.Address) -> bool:
                return any(endpoints.overlap(address, each) for each in taken())

            self.fence = AppFence(
                app, addresses, is_ours=is_ours, warn=_log.warning, tell=_log.info
            )

    def is_for(self, config: model.Config) -> bool:
        """Whether *config* names the same app."""
        return app_beside_us(config.inbound) == app_beside_us(self._config.inbound)

    def exposed(self) -> bool | None:
        """Return whether the app answers past us; ``None``: that is not known."""
        return None if self.fence is None else self.fence.exposed

    def missing(self, config: model.Config) -> list[str]:
        """Return what stands between a sidecar that requires the fence and readiness."""
        if self.fence is None or not config.inbound.require_fenced:
            return []
        return [*filter(None, [self.fence.missing()])]


def app_probes(wiring: Wiring) -> Mapping[str, Route]:
    """Return what asks the app on behalf of whoever probes it."""
    config = wiring.config
    if not config.admin.app_probes:
        return {}
    # TLS and relays are for those who need them.
    from sidecar.admin.app_probes import app_probe_routes

    app = app_beside_us(config.inbound)
    host = "127.0.0.1" if app is None else app.host
    return app_probe_routes(config.admin.app_probes, host, clock=wiring.clock)
