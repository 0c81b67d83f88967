"""Count what happens, cheaply, and tell Prometheus when it asks.

Owns the counts and their bounds. Counting is plain integers, because every request pays for it;
metric families are made only when somebody scrapes. Names and labels are in
``sidecar.telemetry.catalogue``; serving the text belongs to ``sidecar.admin``. One thread counts
and renders, so there are no locks.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Final, cast

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from sidecar.core.build import COMPILED
from sidecar.core.outcome import Reason
from sidecar.telemetry import (
    catalogue,
    destinations,
    introspection,
    shared_tokens,
    tls,
    token_endpoint,
    token_exchanges,
)
from sidecar.telemetry.catalogue import Family
from sidecar.telemetry.histogram import Histogram

OTHER: Final = "other"
"""The label value of everything outside a closed set or over a bound."""

NO_ROUTE: Final = "none"
"""The route of an exchange that ended before any rule or destination was found."""

MAX_ROUTES: Final = 200
MAX_CODES_PER_ROUTE: Final = 32
MAX_TALLY_SERIES: Final = 256
MAX_ISSUERS: Final = 100

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", OTHER)
ISSUER_STATES: Final = ("loading", "fresh", "stale", "blind")

DURATION_BOUNDS: Final[tuple[float, ...]] = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
OVERHEAD_BOUNDS: Final[tuple[float, ...]] = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
)  # fmt: skip

_METHOD_INDEX: Final = {name.encode(): index for index, name in enumerate(METHODS[:-1])}
_OTHER_METHOD: Final = len(METHODS) - 1
_OPENMETRICS: Final = "application/openmetrics-text"


class Tally:
    """Counts by label values. Over *max_series* a new combination counts as all ``other``."""

    __slots__ = ("_counts", "_max_series")

    def __init__(self, *, max_series: int = MAX_TALLY_SERIES) -> None:
        self._counts: dict[tuple[str, ...], int] = {}
        self._max_series = max_series

    def add(self, *labels: str) -> None:
        count = self._counts.get(labels)
        if count is None and len(self._counts) >= self._max_series:
            labels = (OTHER,) * len(labels)
            count = self._counts.get(labels)
        self._counts[labels] = (count or 0) + 1

    def items(self) -> Iterable[tuple[tuple[str, ...], int]]:
        return self._counts.items()


class RouteMetrics:
    """Requests and durations of one route. Resolved once, kept by whoever reports to it."""

    __slots__ = ("_other_codes", "_rows", "duration", "name", "outcomes")

    def __init__(self, name: str) -> None:
        self.name = name
        self.outcomes: dict[str, int] = {}
        """What came of the calls to a destination, by the code of the refusal or what was done."""
        self.duration = Histogram(DURATION_BOUNDS)
        self._rows: dict[int, list[int]] = {}
        self._other_codes = [0] * len(METHODS)

    def finished(self, method: bytes, code: int, duration_seconds: float) -> None:
        """Count one exchange that ended with status *code*.

        A peer chooses codes and a caller methods. Methods outside ``METHODS``, codes outside 100
        to 599 and, per route, codes after the first ``MAX_CODES_PER_ROUTE`` are ``other``.
        """
        row = self._rows.get(code)
        if row is None:
            row = self._row(code)
        row[_METHOD_INDEX.get(method, _OTHER_METHOD)] += 1
        self.duration.observe(duration_seconds)

    def counted(self, method: bytes, code: int) -> None:
        """Count one exchange whose duration says nothing about latency."""
        row = self._rows.get(code)
        if row is None:
            row = self._row(code)
        row[_METHOD_INDEX.get(method, _OTHER_METHOD)] += 1

    def came_to(self, outcome: str) -> None:
        """Count one call; *outcome* is of a closed set."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def _row(self, code: int) -> list[int]:
        if not 100 <= code <= 599 or len(self._rows) >= MAX_CODES_PER_ROUTE:
            return self._other_codes
        return self._rows.setdefault(code, [0] * len(METHODS))

    def requests(self) -> Iterator[tuple[str, str, int]]:
        """Yield method, code and count of everything that was counted at least once."""
        rows = [(str(code), row) for code, row in self._rows.items()]
        for code, row in (*rows, (OTHER, self._other_codes)):
            for method, count in zip(METHODS, row, strict=True):
                if count:
                    yield method, code, count

    def totals(self) -> tuple[int, int]:
        """Return how many exchanges were counted, and how many of those ended with a 5xx."""
        everything = sum(self._other_codes)
        failed = 0
        for code, row in self._rows.items():
            count = sum(row)
            everything += count
            if code >= 500:
                failed += count
        return everything, failed


class Direction:
    """What is counted for all inbound, or all outbound, exchanges."""

    __slots__ = ("_other", "_refusals", "_routes", "in_flight", "name", "overhead", "retries")

    def __init__(self, name: str) -> None:
        self.name = name
        self.in_flight = 0
        """The exchange adds one when it begins and takes one away when it ends."""
        self.retries = 0
        self.overhead = Histogram(OVERHEAD_BOUNDS)
        self._other = RouteMetrics(OTHER)
        self._routes = {NO_ROUTE: RouteMetrics(NO_ROUTE), OTHER: self._other}
        self._refusals: dict[tuple[str, str, bool], int] = {}

    def declare(self, routes: Iterable[str]) -> None:
        """Give each name its own series while fewer than ``MAX_ROUTES`` have one."""
        for name in routes:
            if name not in self._routes and len(self._routes) < MAX_ROUTES + 2:
                self._routes[name] = RouteMetrics(name)

    def route(self, name: str) -> RouteMetrics:
        """Return the metrics of a declared route, or those of ``other``."""
        return self._routes.get(name, self._other)

    def reject(self, reason: Reason, route: str, enforced: bool) -> None:
        """Count a refusal; *enforced* is false where it was only observed."""
        key = (reason.code, route if route in self._routes else OTHER, enforced)
        self._refusals[key] = self._refusals.get(key, 0) + 1

    def routes(self) -> Iterable[RouteMetrics]:
        return self._routes.values()

    def refusals(self) -> Iterable[tuple[tuple[str, str, bool], int]]:
        """Return counts by reason code, route and whether the refusal was enforced."""
        return self._refusals.items()


class IssuerMetrics:
    """What one issuer's keys report about themselves."""

    __slots__ = ("last_success", "name", "refreshes", "state")

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = ISSUER_STATES[0]
        self.last_success = 0.0
        self.refreshes = Tally(max_series=16)

    def state_changed(self, state: str) -> None:
        """Take one of ``ISSUER_STATES``; raise ValueError on another, which is a defect of ours."""
        if state not in ISSUER_STATES:
            raise ValueError(f"unknown issuer state {state!r}")
        self.state = state

    def refreshed(self, result: str) -> None:
        """Count an attempt to load the key set by its *result*."""
        self.refreshes.add(result)

    def succeeded(self, at: float) -> None:
        """Remember when, in seconds since the epoch, the key set was last loaded."""
        self.last_success = at


class _TokenCache:
    """Totals over every cache watched so far: a reload starts a new one at zero."""

    __slots__ = ("_hits", "_hits_before", "_misses", "_misses_before")

    def __init__(self, hits: Callable[[], int], misses: Callable[[], int]) -> None:
        self._hits, self._misses = hits, misses
        self._hits_before = self._misses_before = 0

    def replace(self, hits: Callable[[], int], misses: Callable[[], int]) -> None:
        self._hits_before, self._misses_before = self.hits, self.misses
        self._hits, self._misses = hits, misses

    @property
    def hits(self) -> int:
        return self._hits_before + self._hits()

    @property
    def misses(self) -> int:
        return self._misses_before + self._misses()


class Metrics:
    """Everything this process counts, in a registry of its own."""

    def __init__(self, *, version: str, started_at: float = 0.0) -> None:
        """*started_at* is when the first configuration came into force, in epoch seconds."""
        self._version = version
        self._directions: dict[str, Direction] = {}
        self._issuers: dict[str, IssuerMetrics] = {}
        self._attributions = Tally()
        self._connects_past = Tally()
        self._connect_retries = Tally()
        self._caller_deadlines = Tally()
        self._destinations: destinations.DestinationsView | None = None
        self._relayed_outside = Tally()
        self._carriers: Callable[[], Mapping[str, int]] | None = None
        self._ledger: tuple[Callable[[], int], int] | None = None
        self._tunnels: Callable[[], Mapping[str, int]] | None = None
        self._admission_waiting: Callable[[], int] | None = None
        self._token_cache: _TokenCache | None = None
        self._hygiene: Callable[[], Iterable[tuple[tuple[str, str], int]]] | None = None
        self._access_log_dropped: Callable[[], int] | None = None
        self._app_exposed: Callable[[], bool | None] | None = None
        self._decision_log_dropped: Callable[[], int] | None = None
        self._tls: dict[str, tls.TlsMetrics] = {}
        self._introspections: dict[str, introspection.IntrospectionMetrics] = {}
        self._token_exchanges: dict[str, token_exchanges.TokenExchangeMetrics] = {}
        self._obtained_tokens: Callable[[], int] | None = None
        self._clients: dict[str, token_endpoint.TokenEndpointMetrics] = {}
        self._shared_tokens: shared_tokens.SharedTokenMetrics | None = None
        self._reloads = {"success": 0, "failure": 0}
        self._last_reload_successful = True
        self._config_since = started_at
        self._registry = CollectorRegistry()
        self._registry.register(cast(Collector, self))  # which is one by its methods
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def direction(self, name: str, routes: Iterable[str]) -> Direction:
        """Return the metrics of direction *name*; asked again, add *routes* and keep counting."""
        direction = self._directions.setdefault(name, Direction(name))
        direction.declare(routes)
        return direction

    def issuer(self, name: str) -> IssuerMetrics:
        """Return the metrics of issuer *name*; over ``MAX_ISSUERS`` those of ``other``."""
        if name not in self._issuers and len(self._issuers) >= MAX_ISSUERS:
            name = OTHER
        return self._issuers.setdefault(name, IssuerMetrics(name))

    def attributed(self, method: str, grade: str, outcome: str) -> None:
        """Count one outbound call that was attributed, or refused for want of attribution."""
        self._attributions.add(method, grade, outcome)

    def attributions(self) -> Iterable[tuple[tuple[str, ...], int]]:
        """Return counts by method, grade and outcome."""
        return self._attributions.items()

    def connected_past(self, route: str) -> None:
        """Count one ``CONNECT`` to a host of the destination *route*."""
        self._connects_past.add(route)

    def relayed_outside(self, destination: str) -> None:
        """Count one caller's token that went to *destination* without being for it."""
        self._relayed_outside.add(destination)

    def connect_retried(self, destination: str) -> None:
        """Count one connection to *destination* that is tried once more."""
        self._connect_retries.add(destination)

    def caller_deadline(self, result: str) -> None:
        """Count one request whose caller said how long it waits; *result* is of a closed set."""
        self._caller_deadlines.add(result)

    def watch_destinations(self, view: destinations.DestinationsView) -> None:
        """Ask *view* at each scrape, in place of the one before."""
        self._destinations = view

    def watch_carriers(self, calls: Callable[[], Mapping[str, int]]) -> None:
        """Ask *calls* at each scrape for the calls by each value of the label."""
        self._carriers = calls

    def watch_ledger(self, entries: Callable[[], int], capacity: int) -> None:
        """Ask *entries* for the number of live entries at each scrape."""
        self._ledger = entries, capacity

    def watch_tunnels(self, open_now: Callable[[], Mapping[str, int]]) -> None:
        """Ask *open_now* at each scrape for the number of open tunnels by direction."""
        self._tunnels = open_now

    def watch_admission(self, waiting: Callable[[], int]) -> None:
        """Ask *waiting* for the number of queued requests at each scrape."""
        self._admission_waiting = waiting

    def watch_token_cache(self, hits: Callable[[], int], misses: Callable[[], int]) -> None:
        """Ask at each scrape; a second cache goes on counting where the first one stopped."""
        if self._token_cache is None:
            self._token_cache = _TokenCache(hits, misses)
        else:
            self._token_cache.replace(hits, misses)

    def watch_app_exposure(self, exposed: Callable[[], bool | None]) -> None:
        """Ask *exposed* at each scrape; ``None`` is not known, and then there is no sample."""
        self._app_exposed = exposed

    def watch_hygiene(self, counts: Callable[[], Iterable[tuple[tuple[str, str], int]]]) -> None:
        """Ask *counts* at each scrape for the unwise tokens by issuer and kind."""
        self._hygiene = counts

    def watch_access_log(self, dropped: Callable[[], int]) -> None:
        """Ask *dropped* for the number of lost access log lines at each scrape."""
        self._access_log_dropped = dropped

    def watch_decision_log(self, dropped: Callable[[], int]) -> None:
        """Ask *dropped* for the number of lost decisions at each scrape."""
        self._decision_log_dropped = dropped

    def tls(self, endpoint: str, clock: Callable[[], float]) -> tls.TlsMetrics:
        """Return the metrics of one endpoint that has TLS; there are as many as are configured."""
        return self._tls.setdefault(endpoint, tls.TlsMetrics(endpoint, clock))

    def watch_only(
        self, *, issuers: Container[str], tls: Container[str], clients: Container[str] = ()
    ) -> None:
        """Forget what was reported of other issuers, endpoints and clients: nobody does now."""
        self._clients = {
            name: each for name, each in self._clients.items() if name in clients or name == OTHER
        }
        self._issuers = {
            name: each for name, each in self._issuers.items() if name in issuers or name == OTHER
        }
        self._introspections = {
            name: each
            for name, each in self._introspections.items()
            if name in issuers or name == OTHER
        }
        self._tls = {name: each for name, each in self._tls.items() if name in tls}

    def introspection(self, issuer: str) -> introspection.IntrospectionMetrics:
        """Return the metrics of asking *issuer*; over ``MAX_ISSUERS`` those of ``other``."""
        known = self._introspections
        name = issuer if issuer in known or len(known) < MAX_ISSUERS else OTHER
        return known.setdefault(name, introspection.IntrospectionMetrics(name))

    def token_exchanges(self, destination: str) -> token_exchanges.TokenExchangeMetrics:
        """Return the metrics of a destination's own tokens; over ``MAX_ROUTES`` of ``other``."""
        known = self._token_exchanges
        name = destination if destination in known or len(known) < MAX_ROUTES else OTHER
        return known.setdefault(name, token_exchanges.TokenExchangeMetrics(name))

    def shared_tokens(self) -> shared_tokens.SharedTokenMetrics:
        """Return the metrics of what pods share; there is one such store at a time."""
        if self._shared_tokens is None:
            self._shared_tokens = shared_tokens.SharedTokenMetrics()
        return self._shared_tokens

    def watch_obtained_tokens(self, kept: Callable[[], int]) -> None:
        """Ask *kept* for the number of tokens that are kept at each scrape."""
        self._obtained_tokens = kept

    def token_endpoint(self, client: str) -> token_endpoint.TokenEndpointMetrics:
        """Return the metrics of *client*; over ``MAX_CLIENTS`` those of ``other``."""
        known = self._clients
        name = client if client in known or len(known) < token_endpoint.MAX_CLIENTS else OTHER
        return known.setdefault(name, token_endpoint.TokenEndpointMetrics(name))

    def config_reloaded(self, successful: bool, at: float) -> None:
        """Count an attempt to reload *at* a time, in seconds since the epoch.

        Start-up is none: it either succeeds or ends the process.
        """
        self._reloads["success" if successful else "failure"] += 1
        self._last_reload_successful = successful
        if successful:
            self._config_since = at

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the exposition and its content type, OpenMetrics where *accept* lists it.

        The encoder is chosen by our own word: prometheus-client would repeat parameters of
        *accept* in the content type.
        """
        names = (part.partition(";")[0].strip() for part in accept.split(","))
        encode, content_type = choose_encoder(_OPENMETRICS if _OPENMETRICS in names else "")
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """Yield every family that has something to say."""
        yield from self._exchanges()
        yield from self._issuer_families()
        yield _counter(catalogue.ATTRIBUTIONS, self._attributions.items())
        yield _counter(catalogue.CONNECTS_PAST, self._connects_past.items())
        yield _counter(catalogue.RELAYED_OUTSIDE, self._relayed_outside.items())
        if self._carriers is not None:
            calls = [((label,), count) for label, count in self._carriers().items()]
            yield _counter(catalogue.CARRIER_CALLS, calls)
        if self._ledger is not None:
            entries, capacity = self._ledger
            yield _gauge(catalogue.LEDGER_ENTRIES, [((), entries())])
            yield _gauge(catalogue.LEDGER_CAPACITY, [((), capacity)])
        if self._tunnels is not None:
            tunnels = [((name,), count) for name, count in self._tunnels().items()]
            yield _gauge(catalogue.TUNNELS_OPEN, tunnels)
        if self._admission_waiting is not None:
            yield _gauge(catalogue.ADMISSION_WAITING, [((), self._admission_waiting())])
        if (cache := self._token_cache) is not None:
            lookups = [(("hit",), cache.hits), (("miss",), cache.misses)]
            yield _counter(catalogue.TOKEN_CACHE_LOOKUPS, lookups)
        if self._hygiene is not None:
            yield _counter(catalogue.TOKEN_HYGIENE, self._hygiene())
        if self._access_log_dropped is not None:
            yield _counter(catalogue.ACCESS_LOG_DROPPED, [((), self._access_log_dropped())])
        if self._decision_log_dropped is not None:
            yield _counter(catalogue.DECISION_LOG_DROPPED, [((), self._decision_log_dropped())])
        if self._tls:
            yield from self._tls_families()
        if self._introspections:
            yield from self._introspection_families()
        if self._shared_tokens is not None:
            yield _counter(catalogue.SHARED_TOKENS, self._shared_tokens.result_samples())
        if self._token_exchanges:
            yield from self._token_exchange_families()
        if self._clients:
            yield from self._client_families()
        yield from self._destination_families()
        if circuits := [*self._circuits()]:
            yield _gauge(catalogue.CIRCUIT_STATE, circuits)
        if self._app_exposed is not None and (exposed := self._app_exposed()) is not None:
            yield _gauge(catalogue.APP_EXPOSED, [((), int(exposed))])
        reloads = [((result,), count) for result, count in self._reloads.items()]
        yield _counter(catalogue.CONFIG_RELOADS, reloads)
        last = [((), int(self._last_reload_successful))]
        yield _gauge(catalogue.CONFIG_LAST_RELOAD_SUCCESSFUL, last)
        yield _gauge(catalogue.CONFIG_LAST_RELOAD_SUCCESS, [((), self._config_since)])
        build = self._version, "true" if COMPILED else "false"
        yield _gauge(catalogue.BUILD_INFO, [(build, 1)])

    def _exchanges(self) -> Iterator[Metric]:
        directions = self._directions.values()
        yield _counter(
            catalogue.REQUESTS,
            (
                ((direction.name, route.name, method, code), count)
                for direction in directions
                for route in direction.routes()
                for method, code, count in route.requests()
            ),
        )
        yield _histogram(
            catalogue.REQUEST_DURATION,
            (
                ((direction.name, route.name), route.duration)
                for direction in directions
                for route in direction.routes()
                if route.duration.count
            ),
        )
        yield _histogram(catalogue.OVERHEAD, (((d.name,), d.overhead) for d in directions))
        yield _gauge(catalogue.IN_FLIGHT, (((d.name,), d.in_flight) for d in directions))
        yield _counter(catalogue.UPSTREAM_RETRIES, (((d.name,), d.retries) for d in directions))
        yield _counter(
            catalogue.REJECTIONS,
            (
                ((direction.name, reason, route, "true" if enforced else "false"), count)
                for direction in directions
                for (reason, route, enforced), count in direction.refusals()
            ),
        )

    def _tls_families(self) -> Iterator[Metric]:
        own = self._tls.values()
        yield _counter(catalogue.TLS_HANDSHAKE_FAILURES, tls.handshake_samples(own))
        yield _counter(catalogue.TLS_RELOADS, tls.reload_samples(own))
        yield _gauge(catalogue.TLS_LAST_RELOAD_SUCCESSFUL, tls.current_samples(own))
        yield _gauge(catalogue.TLS_CERTIFICATE_EXPIRY, tls.certificate_samples(own))

    def _introspection_families(self) -> Iterator[Metric]:
        asked = self._introspections.values()
        yield _counter(catalogue.INTROSPECTIONS, introspection.result_samples(asked))
        durations = (((each.name,), each.duration) for each in asked)
        yield _histogram(catalogue.INTROSPECTION_DURATION, durations)

    def _client_families(self) -> Iterator[Metric]:
        asked = self._clients.values()
        yield _counter(catalogue.TOKEN_ENDPOINT_REQUESTS, token_endpoint.result_samples(asked))
        durations = (((each.name,), each.duration) for each in asked)
        yield _histogram(catalogue.TOKEN_ENDPOINT_DURATION, durations)
        in_flight = (((each.name,), each.in_flight) for each in asked)
        yield _gauge(catalogue.TOKEN_ENDPOINT_IN_FLIGHT, in_flight)

    def _destination_families(self) -> Iterator[Metric]:
        yield _counter(catalogue.CONNECT_RETRIES, self._connect_retries.items())
        yield _counter(catalogue.CALLER_DEADLINES, self._caller_deadlines.items())
        if (seen := self._destinations) is not None:
            yield _gauge(catalogue.DESTINATION_IN_FLIGHT, seen.in_flight_samples())

    def _circuits(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """Yield the state of every circuit, whatever it is in front of."""
        yield from introspection.circuit_samples(self._introspections.values())
        yield from token_endpoint.circuit_samples(self._clients.values())
        if self._shared_tokens is not None:
            yield from self._shared_tokens.circuit_samples()
        if self._destinations is not None:
            yield from self._destinations.circuit_samples()

    def _token_exchange_families(self) -> Iterator[Metric]:
        own = self._token_exchanges.values()
        yield _counter(catalogue.TOKEN_EXCHANGES, token_exchanges.result_samples(own))
        durations = (((each.name,), each.duration) for each in own)
        yield _histogram(catalogue.TOKEN_EXCHANGE_DURATION, durations)
        if self._obtained_tokens is not None:
            yield _gauge(catalogue.OBTAINED_TOKENS, [((), self._obtained_tokens())])

    def _issuer_families(self) -> Iterator[Metric]:
        issuers = self._issuers.values()
        yield _gauge(
            catalogue.ISSUER_STATE,
            (((i.name, state), int(i.state == state)) for i in issuers for state in ISSUER_STATES),
        )
        yield _counter(
            catalogue.JWKS_REFRESHES,
            (((i.name, *labels), count) for i in issuers for labels, count in i.refreshes.items()),
        )
        yield _gauge(catalogue.JWKS_LAST_SUCCESS, (((i.name,), i.last_success) for i in issuers))


def _counter(family: Family, samples: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    metric = CounterMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in samples:
        metric.add_metric(labels, value)
    return metric


def _gauge(family: Family, samples: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in samples:
        metric.add_metric(labels, value)
    return metric


def _histogram(family: Family, samples: Iterable[tuple[tuple[str, ...], Histogram]]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, histogram in samples:
        metric.add_metric(labels, histogram.cumulative(), histogram.sum)
    return metric
