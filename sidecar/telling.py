"""What the operator of this pod is told: status, decisions in words, and the live page.

A part of ``sidecar.assembly``.
"""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from sidecar import __version__, settings
from sidecar.admin import page
from sidecar.admin.app_fence import AppFence
from sidecar.admin.decisions import decision_routes
from sidecar.admin.history import History
from sidecar.admin.live import LiveSource
from sidecar.admin.reload import Outcome
from sidecar.admin.serving import Route
from sidecar.admin.status import Status
from sidecar.admin.status_source import StatusSource
from sidecar.config.model import Address
from sidecar.wiring import Wiring, outbound_name

if TYPE_CHECKING:
    from sidecar.explain.explainer import Explainer


class Condition(Protocol):
    """How the sidecar is, for those who are told."""

    @property
    def wiring(self) -> Wiring: ...
    @property
    def listening(self) -> Mapping[str, Address]: ...
    @property
    def fence(self) -> AppFence | None: ...
    @property
    def last_reload(self) -> Outcome | None: ...
    def missing(self) -> Sequence[str]: ...
    def draining_seconds(self) -> float | None: ...


class Telling:
    """Answers from the configuration that serves now, whichever that is."""

    def __init__(
        self, condition: Condition, *, files: Sequence[str], warnings: Sequence[str]
    ) -> None:
        """*files* are where the configuration was read, *warnings* what was said of it."""
        self._condition = condition
        self._files = files
        self._started_at = condition.wiring.clock()
        self._status = self._status_source(warnings)
        self._explained: tuple[Wiring, Explainer] | None = None
        standing = condition.wiring.standing
        history = History(
            standing.metrics,
            lambda: len(standing.ledger),
            clock=standing.clock,
            wall_clock=time.time,
        )
        standing.deadlines.every_sweep(history.sweep)
        self._live = LiveSource(
            standing.metrics, self.status, history, clock=standing.clock, wall_clock=time.time
        )

    def replaced(self, warnings: Sequence[str]) -> None:
        """Another configuration serves now, of which *warnings* were said."""
        self._status = self._status_source(warnings)

    def status(self) -> Status:
        """Return how the sidecar is."""
        return self._status()

    def routes(self) -> dict[str, Route]:
        """Return what the control socket serves of it, besides the status."""
        return {**decision_routes(self._explainer), **page.routes(), **self._live.routes()}

    def _status_source(self, warnings: Sequence[str]) -> StatusSource:
        condition, wiring = self._condition, self._condition.wiring
        standing = wiring.standing
        return StatusSource(
            wiring.config,
            version=__version__,
            missing=condition.missing,
            draining=condition.draining_seconds,
            stopping=lambda: wiring.inbound.stopped,
            listening=lambda name: condition.listening.get(outbound_name(name)),
            keys=wiring.keys,
            ledger=wiring.ledger,
            verifier=wiring.verifier,
            carriers=standing.carriers,
            outbound=wiring.metrics.direction("outbound", ()),
            clock=wiring.clock,
            wall_clock=time.time,
            circuits=lambda: {
                name: wiring.metrics.introspection(name).circuit for name in wiring.introspection
            },
            destination_circuits=wiring.circuits,
            unclean=lambda: dict(standing.hygiene.counts()),
            lost_lines=lambda: standing.access_log.dropped,
            decisions=wiring.decisions,
            fence=condition.fence,
            files=self._files,
            config_warnings=warnings,
            started_at=self._started_at,
            last_reload=lambda: condition.last_reload,
            clients=wiring.token_endpoints,
            obtained=lambda: len(standing.obtained),
        )

    def _explainer(self) -> "Explainer":
        # Words for operators: a pod in which nobody asks pays neither time nor memory for them.
        from sidecar.explain.source import live_explainer

        wiring = self._condition.wiring
        if self._explained is not None and self._explained[0] is wiring:
            return self._explained[1]
        explainer = live_explainer(
            wiring.config,
            wiring.decisions,
            rules=wiring.rules,
            issuers=map(settings.issuer_policy, wiring.config.access_issuers.values()),
            keys=wiring.keys,
            ledger=wiring.ledger,
            wall_clock=time.time,
        )
        self._explained = wiring, explainer
        return explainer
