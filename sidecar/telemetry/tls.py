"""What is counted of TLS, and the log line of handshakes that failed.

Everybody who can reach a port can make its handshakes fail, so their lines are limited and what
is not said is counted.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

QUIET_SECONDS: Final = 10.0
"""Between two lines about failed handshakes of one listener."""

_log = logging.getLogger("sidecar.tls")


class TlsMetrics:
    """What one endpoint reports of its TLS."""

    __slots__ = (
        "_clock", "_quiet_until", "_unsaid", "certificate_ends", "failed_handshakes",
        "is_current", "name", "reloads",
    )  # fmt: skip

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        """*name* is ``inbound``, or ``outbound`` and the destination's name."""
        self.name = name
        self.certificate_ends: float | None = None
        """Seconds since the epoch; ``None`` where there is no certificate of ours."""
        self.failed_handshakes: dict[str, int] = {}
        self.reloads = {"success": 0, "failure": 0}
        self.is_current = True
        """False while newer files than those in use are there and cannot be used."""
        self._clock = clock
        self._quiet_until = 0.0
        self._unsaid = 0

    def reloaded(self, successful: bool) -> None:
        self.reloads["success" if successful else "failure"] += 1
        self.is_current = successful

    def valid_until(self, ends: datetime) -> None:
        self.certificate_ends = ends.timestamp()

    def handshake_failed(self, kind: str, detail: str, peer: str) -> None:
        """Count by *kind*, of a closed set, and say so now and then."""
        self.failed_handshakes[kind] = self.failed_handshakes.get(kind, 0) + 1
        now = self._clock()
        if now < self._quiet_until:
            self._unsaid += 1
            return
        unsaid, self._unsaid = self._unsaid, 0
        self._quiet_until = now + QUIET_SECONDS
        more = f"; {unsaid} more since the last line" if unsaid else ""
        _log.warning("%s: TLS handshake with %s failed: %s%s", self.name, peer, detail, more)


Samples = Iterable[tuple[tuple[str, ...], float]]


def certificate_samples(endpoints: Iterable[TlsMetrics]) -> Samples:
    for each in endpoints:
        if each.certificate_ends is not None:
            yield (each.name,), each.certificate_ends


def handshake_samples(endpoints: Iterable[TlsMetrics]) -> Samples:
    for each in endpoints:
        for kind, count in each.failed_handshakes.items():
            yield (each.name, kind), count


def reload_samples(endpoints: Iterable[TlsMetrics]) -> Samples:
    for each in endpoints:
        for result, count in each.reloads.items():
            yield (each.name, result), count


def current_samples(endpoints: Iterable[TlsMetrics]) -> Samples:
    for each in endpoints:
        yield (each.name,), int(each.is_current)
