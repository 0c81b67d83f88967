"""The status of a sidecar as lines for a person."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sidecar.admin.status import (
    AttributionStatus,
    CarrierStatus,
    ClientStatus,
    DestinationStatus,
    IssuerStatus,
    KeyStatus,
    Status,
    TokenCacheStatus,
)
from sidecar.cli.reporting import counted
from sidecar.config.problems import printable

MOST_SHOWN: Final = 20
"""Issuers and destinations each; ``--output json`` has them all."""

_CLOCK_SHOWN_SECONDS: Final = 2.0
_WITHOUT: Final = "none"
_DONE: Final = ("attached", "own", "accompanied", "anonymous", "forwarded")


def lines(status: Status) -> Iterator[str]:
    """Yield the lines, each of which a terminal can show."""
    return map(printable, _lines(status))


def _lines(status: Status) -> Iterator[str]:
    yield f"sidecar {status.version}, up {_duration(status.uptime_seconds)}, {_state(status)}"
    if not status.draining:
        for item in status.missing:
            yield f"  missing: {item}"
    yield from _issuers(status.issuers)
    yield f"ledger: {status.ledger.entries:,} of {status.ledger.capacity:,} entries in use"
    yield f"token cache: {_hit_rate(status.token_cache)}"
    yield from _attribution(status.attribution)
    yield from _some("client", [_client(each) for each in status.clients])
    if status.clients:
        yield f"tokens of destinations: {status.obtained_tokens:,} kept"
    yield from _some("destination", [_destination(each) for each in status.destinations])
    if status.app is not None and status.app.exposed is False:
        yield f"app: {status.app.address}, which answers on no address of the pod"
    if status.decisions.recorded:
        yield f"decisions: {status.decisions.recorded:,} made, the latest {_kept(status)}"
    if status.configuration.loaded_at:
        yield _configuration(status)
        yield from _reload_problems(status)
    for warning in (*status.configuration.warnings, *status.warnings)[:MOST_SHOWN]:
        yield f"warning: {warning}"


def _kept(status: Status) -> str:
    return f"{status.decisions.kept:,} can be explained (`sidecar explain`)"


def _configuration(status: Status) -> str:
    configuration = status.configuration
    files = ", ".join(configuration.files) or "the command line"
    return (
        f"configuration: {files}, read {_duration(configuration.loaded_seconds)} ago at "
        f"{configuration.loaded_at}"
    )


def _reload_problems(status: Status) -> Iterator[str]:
    last = status.configuration.last_reload
    if last is None or last.result == "reloaded":
        return
    yield f"warning: a newer configuration was refused at {last.at}; the old one stays in use"
    for problem in last.problems[:MOST_SHOWN]:
        yield f"  {problem}"


def _state(status: Status) -> str:
    if status.draining:
        return _draining(status)
    return "ready" if status.ready else "not ready"


def _draining(status: Status) -> str:
    if status.stopping or status.draining_seconds is None:
        return "draining: finishing what it has, taking no more"
    since = _duration(status.draining_seconds)
    return f"draining for {since}: serving whoever comes, telling them to go elsewhere"


def _some(noun: str, texts: list[str]) -> Iterator[str]:
    for text in texts[:MOST_SHOWN]:
        yield f"{noun} {text}"
    if len(texts) > MOST_SHOWN:
        yield f"and {counted(len(texts) - MOST_SHOWN, f'more {noun}')}"


def _issuers(issuers: Sequence[IssuerStatus]) -> Iterator[str]:
    for issuer in issuers[:MOST_SHOWN]:
        yield f"issuer {_issuer(issuer)}"
        for key in issuer.keys[:MOST_SHOWN]:
            yield f"  {_key(key)}"
        if len(issuer.keys) > MOST_SHOWN:
            yield f"  and {counted(len(issuer.keys) - MOST_SHOWN, 'more key')}"
    if len(issuers) > MOST_SHOWN:
        yield f"and {counted(len(issuers) - MOST_SHOWN, 'more issuer')}"


def _issuer(issuer: IssuerStatus) -> str:
    age = issuer.keys_age_seconds
    keys = "no keys" if age is None else f"keys {_duration(age)} old"
    due = issuer.next_refresh_seconds
    refresh = f", next refresh in {_duration(due)}" if due else ""
    offset = issuer.clock_offset_seconds
    # Its answers name whole seconds, and take a while to come.
    clock = (
        f", its clock {_duration(abs(offset))} {'ahead' if offset > 0 else 'behind'}"
        if offset is not None and abs(offset) >= _CLOCK_SHOWN_SECONDS
        else ""
    )
    if issuer.circuit is not None:
        clock += f", introspection circuit {issuer.circuit}"
    error = f"; last error: {issuer.last_error}" if issuer.last_error else ""
    return f"{issuer.name}: {issuer.state}, {keys}{refresh}{clock}{error}"


def _key(key: KeyStatus) -> str:
    name = "key without kid" if key.kid is None else f"key {key.kid}"
    if key.last_used_seconds is None:
        return f"{name}: not used yet"
    return f"{name}: last new token {_duration(key.last_used_seconds)} ago"


def _hit_rate(cache: TokenCacheStatus) -> str:
    lookups = cache.hits + cache.misses
    if not lookups:
        return "not asked yet"
    return f"{cache.hits / lookups:.1%} of {lookups:,} look-ups hit"


def _attribution(attribution: AttributionStatus) -> Iterator[str]:
    expectation = attribution.expectation
    reason = f"a carrier is expected: {expectation}" if expectation else "no carrier is expected"
    yield f"attribution: carrier {attribution.carrier}; {reason}"
    for each in attribution.seen:
        yield f"  {_carrier(each)}: {_calls(each.calls)}{_hint(each, expectation)}"
    if not attribution.seen:
        yield "  no calls yet"


def _carrier(carrier: CarrierStatus) -> str:
    if carrier.grade == _WITHOUT:
        return "without a carrier"
    version = f"/{carrier.version}" if carrier.version else ""
    return f"{carrier.name}{version} {carrier.grade}"


def _hint(carrier: CarrierStatus, expectation: str) -> str:
    if carrier.grade != _WITHOUT or not expectation:
        return ""
    return "; start the app with what `sidecar carrier env python` prints (docs/attribution.md)"


def _client(client: ClientStatus) -> str:
    troubles = "; ".join(client.troubles) or "no trouble"
    return f"{client.name}: token endpoint circuit {client.circuit}, {troubles}"


def _destination(destination: DestinationStatus) -> str:
    return (
        f"{destination.name}: {destination.listen} -> {destination.upstream}, "
        f"token {destination.token}, min_assurance {destination.min_assurance}"
        f"{', only observed' if destination.mode == 'observe' else ''}"
        f"{'' if destination.circuit is None else f', circuit {destination.circuit}'}; "
        f"{_outcomes(destination.calls)}"
    )


def _outcomes(calls: Mapping[str, int] | None) -> str:
    if calls is None:
        return "calls are counted together with those of others"
    if not calls:
        return "no calls yet"
    done = [f"{calls[outcome]:,} {outcome}" for outcome in _DONE if outcome in calls]
    refused = sorted(
        ((reason, count) for reason, count in calls.items() if reason not in _DONE),
        key=lambda item: -item[1],
    )
    listed = ", ".join(f"{count:,} {reason}" for reason, count in refused)
    return ", ".join([*done, *([f"refused or failed: {listed}"] if listed else [])])


def _calls(number: int) -> str:
    return "1 call" if number == 1 else f"{number:,} calls"


def _duration(seconds: float) -> str:
    """Return the two largest units that matter."""
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"
