"""What each step of an outbound decision wanted and found."""

from collections.abc import Callable, Mapping
from typing import Final

from sidecar.config.model import Destination, DestinationRule
from sidecar.core.outcome import Denial, Reason
from sidecar.core.parts import REST, Parts
from sidecar.core.reason_texts import Step
from sidecar.explain.case import Case
from sidecar.explain.known import Known
from sidecar.explain.rows import StepRow
from sidecar.explain.steps import Look, answered_here, ends_at, told
from sidecar.explain.transactions import went_out
from sidecar.explain.words import listed, shown, span

ORDER: Final[tuple[Step, ...]] = (
    "message", "host", "target", "credential", "evidence", "entry", "obtain", "transaction",
    "forward",
)  # fmt: skip
_PLACES: Final[Mapping[str, str]] = {
    "header": "the context header",
    "placeholder": "the placeholder in Authorization",
    "relayed": "the caller's own token, relayed by the app",
    "baggage": "baggage",
    "tracestate": "tracestate",
    "request_id": "a request id of ours",
    "trace_id": "a trace id of ours",
    "none": "nothing that names a request",
}
_OWN: Final = ("client_credentials", "file")
_OTHERS: Final[Mapping[str, str]] = {
    "unlisted": "no destination: it may go there without any credential of ours",
    "connect": "a tunnel, which no token can be attached to",
}


def outbound_steps(case: Case, known: Known) -> tuple[tuple[StepRow, ...], tuple[str, ...]]:
    """Return the steps, and advice that belongs to this very call."""
    outbound = _Outbound(case, known)
    order = ORDER if outbound.passes else tuple(each for each in ORDER if each != "transaction")
    end = ends_at(case.denial, order, verified=False)
    return told(order, outbound.looks(), case.denial, end=end, enforced=case.enforced), ()


class _Outbound:
    """Looks at one call, a step at a time."""

    def __init__(self, case: Case, known: Known) -> None:
        self._case = case
        self._known = known
        destinations = known.config.outbound.destinations
        self._destination: Destination | None = destinations.get(case.destination)
        self._gets: Destination | DestinationRule | None = _part(self._destination, case)
        """What says which token the call gets; ``None``: nobody can tell."""

    def looks(self) -> Mapping[Step, Callable[[], Look]]:
        return {
            "message": self._message, "host": self._host, "target": self._target,
            "credential": self._credential, "evidence": self._evidence, "entry": self._entry,
            "obtain": self._obtain,
            "transaction": lambda: went_out(self._case, self._destination, self._known),
            "forward": self._forward,
        }  # fmt: skip

    @property
    def passes(self) -> bool:
        """Whether calls have a transaction token."""
        return self._destination is not None and self._destination.carries_transaction

    @property
    def _is_nobodys(self) -> bool:
        """Whether it does not matter whose call it is."""
        return self._token == "none" and not self.passes  # noqa: S105 - a choice

    def _message(self) -> Look:
        case = self._case
        if not case.method:
            return Look("a request that can be read in one way", "no request")
        path = case.path.decode("latin-1")
        return Look("", f"{shown(case.method.decode('latin-1'))} {shown(path)}")

    def _host(self) -> Look:
        host = shown(self._case.host.decode("latin-1")) or "none"
        if self._destination is None:
            return Look(fits=None, outcome="skipped")
        names = ["localhost", "loopback addresses", *self._destination.hosts]
        return Look(f"one of {listed(names)}, or the proxy's own choice", host)

    def _target(self) -> Look:
        case = self._case
        if self._destination is not None:
            return Look("", f"{case.destination} at {self._destination.upstream}")
        if not case.destination:
            return Look(fits=None, outcome="skipped")
        what = _OTHERS.get(case.route, "")
        return Look("an address that may be called", shown(case.destination), what)

    def _credential(self) -> Look:
        destination = self._destination
        if destination is None:
            return _nothing("no credential of ours goes there")
        if destination.app_credentials == "keep":
            return Look("the app's own may pass (app_credentials: keep)", self._sent())
        return Look("none of the app's own, or the caller's token itself", self._sent())

    def _sent(self) -> str:
        if self._case.denial is None or not self._case.evidence:
            return ""
        own = "Authorization" in self._case.evidence
        return "the app sent an Authorization" if own else "the app sent none"

    def _evidence(self) -> Look:
        case, destination = self._case, self._destination
        if destination is None:
            return _nothing("no token is attached there")
        if self._is_nobodys:
            return _nothing("token: none, so it does not matter whose call it is")
        wanted = f"one live request, named by evidence that is at least {destination.min_assurance}"
        note = f"what the call carries: {case.evidence}" if case.evidence else ""
        if not case.method_of:
            return Look(wanted, "", note, fits=None, outcome="skipped")
        if case.method_of == "none":
            return Look(wanted, _PLACES["none"], note)
        return Look(wanted, f"{_PLACES.get(case.method_of, case.method_of)} ({case.grade})", note)

    def _entry(self) -> Look:
        case, destination = self._case, self._destination
        if destination is None or self._is_nobodys or not case.method_of:
            return Look(fits=None, outcome="skipped")
        attribution = self._known.config.attribution
        wanted = (
            f"a request in progress, at most {span(attribution.max_age_seconds)} old, with at most "
            f"{attribution.max_calls:,} calls, and a token that has not expired"
        )
        causes = [self._known.cause(each) for each in case.causes if each]
        if not causes:
            known = "none" if case.method_of == "none" else "none that is known any more"
            return Look(wanted, known, self._known.ledger, fits=None)
        return Look(wanted, " and ".join(causes), self._known.ledger)

    @property
    def _token(self) -> str:
        return "none" if self._gets is None else self._gets.token

    def _obtain(self) -> Look:
        case, destination, gets = self._case, self._destination, self._gets
        if destination is None or gets is None:
            return Look(fits=None, outcome="skipped")
        token = self._token
        if case.method_of == "none" and destination.without_context in _OWN:
            token, gets = destination.without_context, destination
        if token == "relay":  # noqa: S105 - a choice
            return _nothing("token: relay, so the caller's own token is sent on")
        if token == "none":  # noqa: S105 - a choice
            return Look(fits=None, outcome="skipped")
        wanted = f"{_KINDS[token]} (token: {token})"
        if (request := gets.token_request) is not None and token != "file":  # noqa: S105
            audience = f", audience {listed(request.audience)}" if request.audience else ""
            wanted = f"{wanted}, asked for by the client {request.client}{audience}"
        attached = case.attached
        if attached is None:
            return Look(wanted, "", fits=None)
        of = f" of {shown(attached.subject)}" if attached.subject else ""
        by = f", used by {shown(attached.actor)}" if attached.actor else ""
        return Look(wanted, f"token {attached.token}{of}{by}")

    def _forward(self) -> Look:
        where = self._destination.upstream if self._destination else self._case.destination
        status = self._case.status
        if answered_here(self._case.denial, self._case.enforced):
            return Look(f"the answer of {where}", "nothing is sent", fits=None, outcome="skipped")
        wanted = f"the answer of {where}{_bounds(self._destination)}"
        if self._case.denial is not None and self._case.denial.reason in _KEPT_OUT:
            return Look(wanted, "nothing is sent")
        return Look(wanted, f"status {status}", fits=None if status == 499 else True)


_KEPT_OUT: Final = (Reason.DESTINATION_UNAVAILABLE, Reason.DESTINATION_BUSY)


def _bounds(destination: Destination | None) -> str:
    """Return what has to be so for a call to be made and to go on."""
    if destination is None:
        return ""
    limits = destination.limits
    bounds = []
    if limits.total_timeout_seconds is not None:
        bounds.append(f"within {span(limits.total_timeout_seconds)}")
    if limits.max_concurrent is not None:
        bounds.append(f"with at most {limits.max_concurrent:,} calls at once")
    if destination.circuit is not None:
        bounds.append(f"after fewer than {destination.circuit.failures:,} failures in a row")
    return "".join(f", {each}" for each in bounds)


_KINDS: Final[Mapping[str, str]] = {
    "exchange": "a token for the caller, made of the caller's",
    "jwt_bearer": "a token for the caller, granted for the caller's",
    "client_credentials": "a token of the service itself",
    "file": "the token in a file",
}


def _part(destination: Destination | None, case: Case) -> Destination | DestinationRule | None:
    """Return what says which token the call gets: a rule of *destination*, or that itself."""
    if destination is None:
        return None
    parts = Parts(
        [
            (
                rule.paths,
                None if rule.methods is None else frozenset(m.encode() for m in rule.methods),
            )
            for rule in destination.rules
        ]
    )
    number = parts.find(case.method, case.path)
    if isinstance(number, Denial):
        return None
    return destination if number == REST else destination.rules[number]


def _nothing(why: str) -> Look:
    return Look(note=why, fits=None, outcome="skipped")
