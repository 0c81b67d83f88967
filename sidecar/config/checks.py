"""What only shows when parts that stand far apart are compared.

Works on the draft that the sections leave behind, so that it also runs where something
else is wrong. What concerns one section alone is checked by that section.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sidecar.config import endpoints
from sidecar.config.model import Address, Allow, Config, Destination, Introspection
from sidecar.config.positions import under
from sidecar.config.problems import Findings, Place, quoted
from sidecar.config.reach import best_assurance
from sidecar.config.reading import Draft, Located
from sidecar.config.rule_checks import check_rules
from sidecar.core.token_request import TokenRequest

MAX_ROUTE_LABELS: Final = 200
"""Values of the metrics' ``route`` label; the routes over it share one."""


def check(draft: Draft, findings: Findings) -> None:
    """Report every conflict between the parts in *draft*."""
    _check_listeners(draft.listeners, findings)
    _check_app(draft, findings)
    _check_issuers(draft.issuer_urls, findings)
    _check_introspecting(draft.introspecting, findings)
    check_rules(draft.rules, findings)
    for what, located in (("rules", draft.rules), ("destinations", draft.destinations)):
        if len(located) > MAX_ROUTE_LABELS:
            first = located[MAX_ROUTE_LABELS]
            message = (
                f"is past the first {MAX_ROUTE_LABELS} {what}, which have metric labels of their "
                "own; the others share the label `other`"
            )
            findings.warn(first.place, first.path, message)


def check_tokens_can_exist(draft: Draft, place: Place, findings: Findings) -> None:
    """Report rules that ask for a token where no issuer could have signed one."""
    if any(rule.value.access is not Allow.ANYONE for rule in draft.rules):
        message = "no issuer is configured, but a rule asks for a token"
        findings.error(place, "issuers", message)


def check_attribution(draft: Draft, config: Config, findings: Findings) -> None:
    """Report requests that linger beside others' turns, and assurance that no call can reach."""
    if config.attribution.exclusive != "off":
        for rule in draft.rules:
            if rule.value.linger_seconds:
                message = (
                    "`linger` and `attribution.exclusive` exclude each other: what lingers is in "
                    "the app during the next caller's turn"
                )
                findings.error(rule.place, rule.path, message)
    if config.inbound.listen is None:
        _check_calls_without_callers(draft, findings)
        return
    best = _RANKS[best_assurance(config)]
    for located in draft.destinations:
        if located.value.attaches and _RANKS[located.value.min_assurance] > best:
            message = (
                f"`min_assurance: {located.value.min_assurance}` is out of reach with "
                f"`attribution.carrier: {config.attribution.carrier}`: every call will be refused"
            )
            findings.warn(located.place, located.path, message)


def check_destination_tokens(draft: Draft, config: Config, findings: Findings) -> None:
    """Report tokens that destinations are not known to take or nobody gives, and borrowed ones."""
    ours: set[str] = set()
    for issuer in config.access_issuers.values():
        ours.update(issuer.audiences or ())
    lets_anyone = any(
        rule.value.access in (Allow.ANYONE, Allow.OPTIONAL_TOKEN) for rule in draft.rules
    )
    for located in draft.destinations:
        destination = located.value
        if (
            "relay" in destination.tokens
            and not destination.audiences
            and ours
            and destination.own_audiences.isdisjoint(ours)
        ):
            message = (
                f"relays tokens that are for {_listed(ours)}, and nobody said that this "
                "destination takes them: write `token: exchange`, or under `audiences` what it "
                "takes (RFC 9700, section 2.3)"
            )
            findings.warn(located.place, located.path, message)
        if lets_anyone and destination.without_context in ("client_credentials", "file"):
            message = (
                "calls that carry no handle get the service's own token, and rules let anyone in: "
                "if the app has no carrier, an anonymous caller borrows that token"
            )
            findings.warn(located.place, under(located.path, "without_context"), message)
        for request in _asked_for_itself(destination):
            client = config.clients[request.client]
            if client.auth == "none" and client.tls is None:
                message = (
                    f"the client {client.name} shows nobody who it is (`auth: none`), and is to "
                    "get a token for itself: servers refuse that (RFC 6749, section 4.4)"
                )
                findings.warn(located.place, located.path, message)


def _asked_for_itself(destination: Destination) -> Iterator[TokenRequest]:
    """Yield the requests for which a client gets a token of its own, too."""
    own = destination.without_context == "client_credentials"
    if (request := destination.token_request) is not None and (own or _is_for_itself(request)):
        yield request
    for rule in destination.rules:
        if (request := rule.token_request) is not None and _is_for_itself(request):
            yield request


def _is_for_itself(request: TokenRequest) -> bool:
    return request.grant == "client_credentials" or request.actor == "client"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(quoted(name) for name in sorted(names))


def _check_calls_without_callers(draft: Draft, findings: Findings) -> None:
    for located in draft.destinations:
        if located.value.attaches and located.value.without_context == "refuse":
            message = (
                "`inbound.listen: off` leaves no request that could have caused a call: every one "
                "will be refused, unless it says `without_context: anonymous`, "
                "`client_credentials` or `file`"
            )
            findings.warn(located.place, located.path, message)


_RANKS: Final = {"compat": 1, "standard": 2, "strict": 3}


def _check_listeners(listeners: Sequence[Located[Address]], findings: Findings) -> None:
    taken: dict[tuple[int, int, str | None], Located[Address]] = {}
    for located in listeners:
        if located.value.port == 0:
            continue
        clash = next(filter(None, (taken.get(key) for key in _rivals(located.value))), None)
        if clash is not None:
            message = f"is taken: {clash.path} at {clash.place} listens there"
            findings.error(located.place, located.path, message)
        for version, host in endpoints.interfaces(located.value.host):
            for key in ((located.value.port, version, host), (located.value.port, version, None)):
                taken.setdefault(key, located)


def _rivals(address: Address) -> Iterator[tuple[int, int, str | None]]:
    """Yield port, IP version and host of what cannot be bound besides; no host stands for any."""
    for version, host in endpoints.interfaces(address.host):
        wildcard = endpoints.WILDCARDS[version]
        yield address.port, version, None if host == wildcard else host
        yield address.port, version, wildcard


def _check_app(draft: Draft, findings: Findings) -> None:
    if draft.app is None:
        return
    for listener in draft.listeners:
        if endpoints.overlap(draft.app.value.address, listener.value):
            message = f"is where the sidecar itself listens: {listener.path} at {listener.place}"
            findings.error(draft.app.place, draft.app.path, message)


def _check_issuers(urls: Sequence[Located[str]], findings: Findings) -> None:
    seen: dict[str, Located[str]] = {}
    for located in urls:
        earlier = seen.setdefault(located.value, located)
        if earlier is not located:
            message = f"is the same issuer as {earlier.path} at {earlier.place}"
            findings.error(located.place, located.path, message)


def _check_introspecting(found: Sequence[Located[Introspection]], findings: Findings) -> None:
    for located in found[1:]:
        message = (
            f"asks about opaque tokens, as {found[0].path} at {found[0].place} does, and such a "
            "token does not say whose it is; write `for: jwt` in all but one"
        )
        findings.error(located.place, located.path, message)
