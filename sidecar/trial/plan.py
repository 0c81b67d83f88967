"""What a trial is to do: which app, which of its endpoints, with how much and what kind of load.

Owns the written form of an endpoint and what makes a plan impossible.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sidecar.config import endpoints, values

USER: Final = "{user}"
"""Stands for the user's name in an endpoint and in the destination's answer."""

_METHOD: Final = re.compile(values.METHOD_PATTERN)
_NAME: Final = re.compile(values.NAME_PATTERN)
_TARGET: Final = re.compile(r"/[!-\"$-z|~]*")
_WITHOUT_CONTENT: Final = frozenset({"GET", "HEAD"})
_UNSUPPORTED: Final = frozenset({"CONNECT", "TRACE"})

MAX_CALLS: Final = 1_000_000
MAX_USERS: Final = 10_000
MAX_CONCURRENCY: Final = 1_000


class PlanError(ValueError):
    """The plan cannot be carried out as written; one line that says what to change."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One request that callers make of the app: whatever says ``{user}`` will say who calls."""

    method: str
    target: str
    """Path, and query if there is one."""
    body: str = ""

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Read ``[METHOD ]/path[?query][ BODY]``. Raises ``PlanError``."""
        words = text.strip()
        method = "GET"
        if not words.startswith("/"):
            method, _, words = words.partition(" ")
        target, _, body = words.strip().partition(" ")
        endpoint = cls(method, target, body.strip())
        endpoint.check()
        return endpoint

    def check(self) -> None:
        """Raise ``PlanError`` unless a request can be made of it."""
        if _METHOD.fullmatch(self.method) is None or self.method in _UNSUPPORTED:
            raise PlanError(
                f"endpoint {self.name!r}: write a method and a path, as in 'GET /orders/{USER}'"
            )
        if _TARGET.fullmatch(self.target.replace(USER, "")) is None:
            raise PlanError(
                f"endpoint {self.name!r}: the path must start with / and hold no space, # or "
                f"brace other than {USER}"
            )
        if self.body and self.method in _WITHOUT_CONTENT:
            raise PlanError(f"endpoint {self.name!r}: {self.method} has no body")

    @property
    def name(self) -> str:
        """What the report calls it."""
        return f"{self.method} {self.target}"

    def target_for(self, user: str) -> str:
        return self.target.replace(USER, user)

    def body_for(self, user: str) -> bytes | None:
        return self.body.replace(USER, user).encode() if self.body else None

    @property
    def content_type(self) -> str:
        """What the body looks like."""
        is_json = self.body[:1] in ("{", "[", '"')
        return "application/json" if is_json else "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Plan:
    """One trial. What is impossible raises ``PlanError`` when the plan is made."""

    app: str
    """Where the app listens: ``http://`` and a loopback address."""
    endpoints: tuple[Endpoint, ...]
    destinations: Mapping[str, int]
    """The ports on localhost that the app calls, by a name for each."""
    start: tuple[str, ...] = ()
    """A command that starts the app for the trial; empty: it is running already."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the started app finds in its environment besides ours."""
    carrier: str = "auto"
    """Expected by the sidecar; ``auto`` and ``python`` are loaded into an app that is started."""
    min_assurance: str = "strict"
    token_to_app: str = "withhold"  # noqa: S105 - a word, no secret
    exclusive: str = "off"
    configuration: Mapping[str, object] = field(default_factory=dict)
    """Further configuration of the sidecar, merged into what the plan makes of the rest."""
    calls: int = 2000
    """Requests of users, over all rounds; retries come on top."""
    users: int = 200
    """Shared out among the endpoints, at least two for each."""
    concurrency: tuple[int, ...] = (1, 5, 30)
    """Requests at once, one round for each number."""
    seed: int = 0
    timeout_seconds: float = 120.0
    """For all rounds together."""
    call_timeout_seconds: float = 10.0
    hold_seconds: float = 3.0
    """How long the destination keeps the first call of a held user unanswered, at most."""
    latency_seconds: float = 0.02
    """Longest usual delay of the destination; one answer in fifty takes ten times as long."""
    aborts: float = 0.05
    """Share of callers who hang up before the answer."""
    faults: float = 0.05
    """Share of calls that the destination fails: half by 503, half by closing the connection."""
    answer: str = '{"ok": true, "user": "{user}"}'
    """What the destination answers with 200."""

    def __post_init__(self) -> None:
        self._check_app()
        if not self.endpoints:
            raise PlanError("name at least one endpoint, as in 'GET /orders/{user}'")
        for endpoint in self.endpoints:
            endpoint.check()
        names = [endpoint.name for endpoint in self.endpoints]
        for name in names:
            if names.count(name) > 1:
                raise PlanError(f"endpoint {name!r} is given twice")
        self._check_destinations()
        self._check_amounts()

    def _check_app(self) -> None:
        try:
            origin = endpoints.origin(self.app)
        except values.Complaint as complaint:
            raise PlanError(f"the app's URL {complaint.message}") from None
        if origin.scheme != "http" or not endpoints.is_loopback(origin.host):
            raise PlanError(
                "the app must be http:// on loopback, as in http://127.0.0.1:8080: synthetic "
                "load is for an app on this machine"
            )

    def _check_destinations(self) -> None:
        if not self.destinations:
            raise PlanError("name at least one destination: a port on localhost that the app calls")
        ports = list(self.destinations.values())
        for name, port in self.destinations.items():
            if _NAME.fullmatch(name) is None:
                raise PlanError(f"destination {name!r}: use letters, digits and - . _ in the name")
            if not 0 <= port <= 65_535:
                raise PlanError(f"destination {name}: {port} is no port")
            if port and ports.count(port) > 1:
                raise PlanError(f"destination port {port} is given twice")
            if port == endpoints.origin(self.app).port:
                raise PlanError(f"port {port} cannot be both the app and a destination")

    def _check_amounts(self) -> None:
        _check_range("calls", self.calls, 1, MAX_CALLS)
        _check_range("users", self.users, 2, MAX_USERS)
        if not self.concurrency:
            raise PlanError("concurrency: give at least one number")
        for level in self.concurrency:
            _check_range("concurrency", level, 1, MAX_CONCURRENCY)
        for what, share in (("aborts", self.aborts), ("faults", self.faults)):
            if not 0 <= share <= 0.5:
                raise PlanError(f"{what} must be from 0 to 0.5")


def _check_range(what: str, number: int, least: int, most: int) -> None:
    if not least <= number <= most:
        raise PlanError(f"{what} must be from {least} to {most}, not {number}")
