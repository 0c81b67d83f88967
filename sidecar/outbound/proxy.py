"""The forward proxy: which destination a URL names, and what may go where none does.

A listed destination is served as on its own port, token included. Everything else gets no
credential of ours, and ``CONNECT`` never one: what goes through it cannot be read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final, Literal

from sidecar.core.headers import AUTHORIZATION, CARRIER, CONTEXT, RESERVED
from sidecar.core.names import DECISION_LENGTH
from sidecar.core.outcome import Denial, Reason
from sidecar.core.own_credentials import is_ours
from sidecar.core.propagation import FIRST_MARK, carried_back
from sidecar.core.token_sources import TokenSources
from sidecar.credentials.ledger import HandleSource, Ledger
from sidecar.outbound.addresses import Addresses
from sidecar.outbound.exchange import drop_handles
from sidecar.outbound.handler import OutboundHandler
from sidecar.telemetry.exchanges import ExchangeReporter
from sidecar.telemetry.metrics import RouteMetrics
from sidecar.wire.answers import refusal
from sidecar.wire.exchange import Action, Answer, Exchange, Forward, Pending, Timing
from sidecar.wire.forward_proxy import OriginPools
from sidecar.wire.heads import RequestHead, ResponseHead

UNLISTED: Final = "unlisted"
CONNECT: Final = "connect"
"""Routes of the metrics, beside the destinations."""

_CONNECT_METHOD: Final = b"CONNECT"
_ESTABLISHED: Final = 200


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """What the operator decided about the listener."""

    unlisted: Literal["forward", "refuse"]
    connect_ports: frozenset[int]
    issuers: frozenset[str]
    """``iss`` of every issuer that is trusted: their tokens go to listed destinations alone."""
    sources: TokenSources | None = None
    """Where callers may have their token; ``None``: in ``Authorization`` alone."""
    total_timeout_seconds: float | None = None
    """Of a request to somewhere unlisted."""


class ProxyHandler:
    """Makes an exchange of each request for somewhere else."""

    def __init__(
        self,
        *,
        settings: ProxySettings,
        listed: Mapping[str, OutboundHandler],
        ledger: Ledger,
        addresses: Addresses,
        origins: OriginPools,
        route: Callable[[str], RouteMetrics],
        reporter: ExchangeReporter,
        ids: HandleSource,
        bypassed: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        """*listed* has the handler of each ``host:port`` that means a destination.

        *bypassed* is told the destination's name when ``CONNECT`` goes to one of its hosts.
        """
        self.settings = settings
        self.listed = listed
        self.hosts = {
            authority.rpartition(":")[0]: handler.settings.name
            for authority, handler in listed.items()
        }
        self.ledger = ledger
        self.addresses = addresses
        self.origins = origins
        self.unlisted = route(UNLISTED)
        self.connect = route(CONNECT)
        self.reporter = reporter
        self.ids = ids
        self.bypassed = bypassed
        self.clock = clock

    def begin(self, head: RequestHead, peer: str) -> Exchange:
        if head.proxied and head.method != _CONNECT_METHOD:
            host, port = _split(head.proxied)
            handler = self.listed.get(f"{host}:{port}")
            if handler is not None:
                return handler.begin(head, peer)
        self.reporter.begun()
        return UnlistedExchange(self, head)

    def malformed(self, reason: Reason, detail: str) -> Answer:
        denial = Denial(reason, detail, public=True)
        decision = self.ids.draw(DECISION_LENGTH).decode()
        self.reporter.refused_message(denial, self.unlisted, decision)
        return refusal(denial, decision=decision, to_app=True)


class Bypasses:
    """Counts tunnels past a destination's token rule, and warns once about each destination."""

    def __init__(self, count: Callable[[str], None], warn: Callable[[str, str], None]) -> None:
        """*warn* gets a message with one ``%s`` for the destination's name."""
        self._count = count
        self._warn = warn
        self._warned: set[str] = set()

    def __call__(self, destination: str) -> None:
        self._count(destination)
        if destination not in self._warned:
            self._warned.add(destination)
            self._warn(
                "the app opens CONNECT tunnels to a host of the destination %s: no token can be "
                "attached to what goes through them; call it by http:// through the proxy, or on "
                "its own port",
                destination,
            )


class UnlistedExchange:
    """One request to somewhere that is no destination, or a tunnel to anywhere."""

    __slots__ = (
        "_connects", "_decision", "_denial", "_ends_at", "_found", "_handler", "_head", "_host",
        "_port", "_route",
    )  # fmt: skip

    def __init__(self, handler: ProxyHandler, head: RequestHead) -> None:
        self._handler = handler
        self._head = head
        self._decision = handler.ids.draw(DECISION_LENGTH).decode()
        self._connects = head.method == _CONNECT_METHOD
        self._route = handler.connect if self._connects else handler.unlisted
        self._host, self._port = _split(head.proxied)
        self._denial: Denial | None = None
        self._found: tuple[str, ...] | Denial | None = None
        seconds = handler.settings.total_timeout_seconds
        self._ends_at = inf if seconds is None else handler.clock() + seconds

    def start(self) -> Action:
        """Refuse what is not allowed by its name; otherwise find out where it is."""
        handler = self._handler
        if not self._head.proxied:
            return self._refuse(
                Denial(
                    Reason.DESTINATION_UNKNOWN,
                    "this listener is a forward proxy: it serves absolute URLs and CONNECT",
                )
            )
        destination = handler.hosts.get(self._host) if self._connects else None
        if self._connects and self._port not in handler.settings.connect_ports:
            return self._refuse(
                Denial(Reason.TARGET_FORBIDDEN, "`outbound.connect_ports` has no such port")
            )
        if handler.settings.unlisted == "refuse" and destination is None:
            return self._refuse(
                Denial(
                    Reason.DESTINATION_UNLISTED,
                    "no destination has this name, host or upstream (`outbound.unlisted: refuse`)",
                )
            )
        if destination is not None:
            handler.bypassed(destination)
        self._clean()
        self._found = handler.addresses.known(self._host, self._port)
        if self._found is None:
            return Pending(self._find(), self._ends_at)
        return self._forward()

    async def _find(self) -> None:
        self._found = await self._handler.addresses.find(self._host, self._port)

    def resume(self) -> Action:
        return self._forward()

    def _forward(self) -> Action:
        """Go to where the addresses were checked, and nowhere else."""
        found = self._found
        assert found is not None
        if isinstance(found, Denial):
            return self._refuse(found)
        pool = self._handler.origins.get(found, self._port, for_tunnels=self._connects)
        if pool is None:
            return self._refuse(
                Denial(Reason.OVERLOADED, "connections to too many origins are in use")
            )
        return Forward(pool, self._head.target, self._ends_at)

    def _clean(self) -> None:
        """Remove handles, reserved names and credentials of ours; the app's own may pass."""
        head, handler = self._head, self._handler
        for mark, index, value in head.marked:
            line = b""
            if mark == AUTHORIZATION:
                if not is_ours(value, handler.settings.issuers, handler.ledger):
                    continue
            elif mark >= FIRST_MARK:
                line = carried_back(mark, head.lines[index], value, handler.ledger.original).line
            elif mark not in (CONTEXT, CARRIER, RESERVED):
                continue
            head.lines[index] = line
        if handler.settings.sources is not None:
            issuers, ledger = handler.settings.issuers, handler.ledger
            handler.settings.sources.hold_back(
                head.lines, head.marked, lambda value: is_ours(value, issuers, ledger)
            )
        drop_handles(head)

    def commit(self) -> bytes | Answer:
        return b""

    def again(self, head: ResponseHead) -> Action | None:  # noqa: ARG002
        return None

    def respond(self, head: ResponseHead) -> None:
        for mark, index, _ in head.marked:
            if mark in (RESERVED, CONTEXT, CARRIER):
                head.lines[index] = b""

    def fail(self, reason: Reason, detail: str) -> Answer:
        return self._refuse(Denial(reason, detail))

    def finish(self, status: int, timing: Timing, fault: Reason | None, *, whole: bool) -> None:  # noqa: ARG002
        if fault is not None:
            self._denial = Denial(fault, "the response was begun and could not be completed")
        self._handler.reporter.ended(
            method=self._head.method,
            path=self._head.target,
            route=self._route,
            status=status,
            duration_seconds=timing.duration,
            overhead_seconds=timing.overhead,
            decision=self._decision,
            credential=None,
            denial=self._denial,
            destination=self._head.proxied.decode("ascii"),
            host=self._head.host,
            tunnel=self._connects and status == _ESTABLISHED,
        )

    def _refuse(self, denial: Denial) -> Answer:
        self._denial = denial
        return refusal(denial, decision=self._decision, to_app=True)


def _split(authority: bytes) -> tuple[str, int]:
    """Return host and port of what the wire has checked to be an authority."""
    host, colon, port = authority.decode("ascii").lower().rpartition(":")
    if not colon or port.endswith("]"):  # no port, or the end of an IPv6 address
        host, port = authority.decode("ascii").lower(), "80"
    return host.removeprefix("[").removesuffix("]").removesuffix("."), int(port)
