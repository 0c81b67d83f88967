"""What outlives a configuration: clocks, counts, logs, and the ledger of requests in progress.

Made once per process, from the configuration it starts with. What here was made of that
configuration cannot change without a restart (``sidecar.config.restart``).
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from sidecar import __version__, settings
from sidecar.config import model
from sidecar.credentials.admission import ExclusiveAdmission
from sidecar.credentials.ledger import HandleSource, Ledger
from sidecar.credentials.obtained_tokens import ObtainedTokens
from sidecar.credentials.sharing import Sharing
from sidecar.fetch.client import Fetcher, Lookup
from sidecar.telemetry.access_log import AccessLog
from sidecar.telemetry.carriers import Carriers
from sidecar.telemetry.decision_settings import decision_log
from sidecar.telemetry.decisions import Decisions
from sidecar.telemetry.hygiene import TokenHygiene
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.writer import DescriptorWriter
from sidecar.wire.deadlines import Deadlines

_STANDARD_OUTPUT = 1


class Standing:
    """What every configuration of one process shares."""

    def __init__(
        self,
        config: model.Config,
        *,
        write_access_log: Callable[[bytes], object] | None = None,
        wall_clock: Callable[[], float] = time.time,
        keys_clock: Callable[[], float] = time.time,
        keys_sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        issuer_lookup: Lookup | None = None,
    ) -> None:
        """See ``sidecar.wiring.Wiring``. Raises ``DecisionLogError``."""
        self.clock = time.monotonic
        self.wall_clock = wall_clock
        self.keys_clock = keys_clock
        self.keys_sleep = keys_sleep
        self.jitter = random.random
        self.deadlines = Deadlines(self.clock)
        self.metrics = Metrics(version=__version__, started_at=wall_clock())
        output = write_access_log or DescriptorWriter(_STANDARD_OUTPUT)
        self.access_log = AccessLog(output, config.log.access)
        self.decision_log = decision_log(config, output)
        self.decisions = Decisions(
            refusals=config.explain.refusals,
            permits=config.explain.permits,
            wall_clock=wall_clock,
        )
        is_kept = config.explain.refusals or config.explain.permits
        self.kept = self.decisions if is_kept else None
        """Where decisions are kept, if any are."""
        self.ledger = Ledger(config.attribution.ledger_capacity, clock=self.clock)
        self.obtained = ObtainedTokens(
            max_entries=config.obtained_tokens.max_entries,
            max_bytes=config.obtained_tokens.max_bytes,
        )
        self.sharing = Sharing(
            self.obtained,
            clock=self.clock,
            wall_clock=wall_clock,
            report=self.metrics.shared_tokens,
        )
        self.fetcher = Fetcher(lookup=issuer_lookup)
        self.hygiene = TokenHygiene(self.clock, logging.getLogger("sidecar.tokens").warning)
        self.carriers = Carriers(
            settings.carrier_expectation(config), logging.getLogger("sidecar.carriers").warning
        )
        self.ids = HandleSource()
        self.admission = self._admission(config.attribution)
        self._watch()

    def close_logs(self) -> None:
        """Write what is left, and no more after that."""
        self.access_log.close()
        if self.decision_log is not None:
            self.decision_log.close()

    def _admission(self, attribution: model.Attribution) -> ExclusiveAdmission | None:
        if attribution.exclusive == "off":
            return None
        admission = ExclusiveAdmission(
            attribution.exclusive,
            wait_seconds=attribution.exclusive_wait_seconds,
            quiet_seconds=attribution.exclusive_quiet_seconds,
            max_waiting=attribution.exclusive_queue,
            clock=self.clock,
            call_later=lambda delay, call: asyncio.get_running_loop().call_later(delay, call),
            close=self.ledger.close,
        )
        self.deadlines.every_sweep(admission.sweep)
        self.metrics.watch_admission(lambda: admission.waiting)
        return admission

    def _watch(self) -> None:
        metrics = self.metrics
        metrics.watch_ledger(lambda: len(self.ledger), self.ledger.capacity)
        metrics.watch_obtained_tokens(lambda: len(self.obtained))
        metrics.watch_carriers(self.carriers.by_label)
        metrics.watch_hygiene(self.hygiene.counts)
        metrics.watch_access_log(lambda: self.access_log.dropped)
        self.deadlines.every_sweep(lambda _now: self.access_log.flush())
        if (decisions := self.decision_log) is not None:
            metrics.watch_decision_log(lambda: decisions.dropped)
            self.deadlines.every_sweep(lambda _now: decisions.flush())
        self.deadlines.every_sweep(self.ledger.sweep)
