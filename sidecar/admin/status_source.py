"""Collect the status of a running sidecar from the parts that know it."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from sidecar.admin.app_fence import AppFence
from sidecar.admin.reload import Outcome
from sidecar.admin.status import (
    AppStatus,
    AttributionStatus,
    CarrierStatus,
    ClientStatus,
    ConfigurationStatus,
    DecisionsStatus,
    DestinationStatus,
    IssuerStatus,
    KeyStatus,
    LedgerStatus,
    ReloadStatus,
    Status,
    TokenCacheStatus,
)
from sidecar.admin.status_warnings import client_warnings, issuer_warnings, other_warnings
from sidecar.config.model import Address, Config, Destination
from sidecar.core.keyset import VerificationKey
from sidecar.core.verification import Verifier
from sidecar.credentials.ledger import Ledger
from sidecar.issuers.keys import IssuerKeys
from sidecar.telemetry.carriers import Carriers
from sidecar.telemetry.decisions import Decisions
from sidecar.telemetry.metrics import OTHER, Direction

_LONGEST_TEXT = 500
_MOST_PROBLEMS = 20


class ClientState(Protocol):
    """What is known of a token endpoint."""

    @property
    def circuit(self) -> str: ...
    @property
    def troubles(self) -> tuple[str, ...]: ...


class StatusSource:
    """Asks everybody at once, on the loop, so that the parts agree with each other."""

    def __init__(
        self,
        config: Config,
        *,
        version: str,
        missing: Callable[[], Sequence[str]],
        draining: Callable[[], float | None],
        stopping: Callable[[], bool],
        listening: Callable[[str], Address | None],
        keys: Mapping[str, IssuerKeys],
        ledger: Ledger,
        verifier: Verifier,
        carriers: Carriers,
        outbound: Direction,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        circuits: Callable[[], Mapping[str, str]],
        destination_circuits: Callable[[], Mapping[str, str]],
        unclean: Callable[[], Mapping[tuple[str, str], int]],
        lost_lines: Callable[[], int],
        decisions: Decisions,
        started_at: float,
        last_reload: Callable[[], Outcome | None],
        clients: Mapping[str, ClientState] | None = None,
        obtained: Callable[[], int] = lambda: 0,
        fence: AppFence | None = None,
        files: Sequence[str] = (),
        config_warnings: Sequence[str] = (),
    ) -> None:
        """*listening* gives the address that was bound for a destination.

        *circuits* are those of introspection by issuer, *unclean* the unwise tokens by issuer and
        kind, *draining* the seconds since it began. The configuration was read from *files* just
        now, with *config_warnings*. The sidecar *started_at* that time of *clock*; *last_reload*
        is what came of the latest reload. *clients* ask for tokens, of which so many are
        *obtained* and kept.
        """
        self._config = config
        self._version = version
        self._missing = missing
        self._draining = draining
        self._stopping = stopping
        self._listening = listening
        self._keys = keys
        self._ledger = ledger
        self._verifier = verifier
        self._carriers = carriers
        self._outbound = outbound
        self._clock = clock
        self._wall_clock = wall_clock
        self._circuits = circuits
        self._destination_circuits = destination_circuits
        self._unclean = unclean
        self._lost_lines = lost_lines
        self._decisions = decisions
        self._fence = fence
        self._files = tuple(files)
        self._config_warnings = tuple(config_warnings)
        self._started_at = started_at
        self._last_reload = last_reload
        self._clients = {} if clients is None else clients
        self._obtained = obtained
        self._loaded_at = wall_clock()
        self._loaded_clock = clock()

    def __call__(self) -> Status:
        """Return the status as of now."""
        missing = tuple(_text(item) for item in self._missing())
        issuers = tuple(self._issuer(name, keys) for name, keys in self._keys.items())
        ledger = LedgerStatus(entries=len(self._ledger), capacity=self._ledger.capacity)
        attribution = self._attribution()
        destinations = tuple(map(self._destination, self._config.outbound.destinations.values()))
        warnings = [
            warning
            for issuer in issuers
            for warning in issuer_warnings(issuer, self._config.issuers[issuer.name].leeway_seconds)
        ]
        clients = tuple(self._client(name, state) for name, state in self._clients.items())
        warnings += [warning for client in clients for warning in client_warnings(client)]
        warnings += other_warnings(
            ledger, attribution, destinations, unclean=self._unclean(),
            lost_lines=self._lost_lines(),
        )  # fmt: skip
        if self._fence is not None and (exposure := self._fence.warning()) is not None:
            warnings.append(exposure)
        draining = self._draining()
        return Status(
            version=self._version,
            uptime_seconds=round(self._clock() - self._started_at, 3),
            ready=not missing,
            draining=draining is not None,
            draining_seconds=_rounded(draining),
            stopping=self._stopping(),
            app=self._app(),
            clients=clients,
            obtained_tokens=self._obtained(),
            missing=missing,
            issuers=issuers,
            ledger=ledger,
            token_cache=TokenCacheStatus(hits=self._verifier.hits, misses=self._verifier.misses),
            attribution=attribution,
            destinations=destinations,
            configuration=ConfigurationStatus(
                files=tuple(map(_text, self._files)),
                loaded_at=_instant(self._loaded_at),
                loaded_seconds=round(self._clock() - self._loaded_clock, 3),
                last_reload=self._reload(),
                warnings=tuple(map(_text, self._config_warnings)),
            ),
            decisions=DecisionsStatus(recorded=self._decisions.recorded, kept=self._decisions.kept),
            warnings=tuple(map(_text, warnings)),
        )

    def _client(self, name: str, state: ClientState) -> ClientStatus:
        troubles = tuple(map(_text, state.troubles[:_MOST_PROBLEMS]))
        return ClientStatus(name=name, circuit=state.circuit, troubles=troubles)

    def _reload(self) -> ReloadStatus | None:
        last = self._last_reload()
        if last is None:
            return None
        return ReloadStatus(
            result=last.result,
            at=_instant(last.at),
            problems=tuple(map(_text, last.problems[:_MOST_PROBLEMS])),
        )

    def _app(self) -> AppStatus | None:
        fence = self._fence
        if fence is None:
            return None
        return AppStatus(address=str(fence.app), exposed=fence.exposed, where=fence.where)

    def _issuer(self, name: str, keys: IssuerKeys) -> IssuerStatus:
        fetched_at = keys.fetched_at
        # A clock that was set back makes no key younger than new.
        age = None if fetched_at is None else max(0.0, self._wall_clock() - fetched_at)
        return IssuerStatus(
            name=name,
            issuer=self._config.issuers[name].issuer,
            state=keys.state,
            keys_age_seconds=_rounded(age),
            last_error=_text(keys.last_error),
            next_refresh_seconds=round(max(0.0, keys.next_refresh_seconds), 3),
            keys=tuple(self._key(name, key) for key in keys.keys),
            clock_offset_seconds=_rounded(keys.clock_offset_seconds),
            clock_bound_seconds=round(keys.clock_bound_seconds, 3),
            clock_compared_seconds=_rounded(
                None
                if keys.clock_compared_at is None
                else max(0.0, self._wall_clock() - keys.clock_compared_at)
            ),
            circuit=self._circuits().get(name),
        )

    def _key(self, issuer_name: str, key: VerificationKey) -> KeyStatus:
        last_used = self._verifier.last_used(issuer_name, key)
        age = None if last_used is None else max(0.0, self._wall_clock() - last_used)
        kid = None if key.kid is None else _text(key.kid)
        return KeyStatus(kid=kid, last_used_seconds=_rounded(age))

    def _attribution(self) -> AttributionStatus:
        return AttributionStatus(
            carrier=self._config.attribution.carrier,
            expectation=self._carriers.expectation,
            seen=tuple(
                CarrierStatus(
                    name=each.name, version=each.version, grade=each.label, calls=each.calls
                )
                for each in self._carriers.seen()
            ),
        )

    def _destination(self, destination: Destination) -> DestinationStatus:
        route = self._outbound.route(destination.name)
        return DestinationStatus(
            name=destination.name,
            listen=str(self._listening(destination.name) or destination.listen),
            upstream=str(destination.upstream),
            token=", ".join(dict.fromkeys(reversed(destination.tokens))),
            min_assurance=destination.min_assurance,
            mode=destination.mode or self._config.outbound.mode,
            calls=None if route.name == OTHER else dict(route.outcomes),
            circuit=self._destination_circuits().get(destination.name),
        )


def _instant(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _text(text: str) -> str:
    """Return *text*, which may quote a peer, as one short line that UTF-8 can say."""
    return " ".join(text.split())[:_LONGEST_TEXT].encode("utf-8", "replace").decode()
