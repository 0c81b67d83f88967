"""What is carried along while a configuration is read: findings, environment, cross-references.

Owns the draft against which ``sidecar.config.checks`` compares things that stand far apart
in the file. Its lists hold only what was read without error, so that one mistake is
reported once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sidecar.config.model import (
    Address,
    AppProbe,
    Destination,
    Introspection,
    Origin,
    Rule,
    TransactionTokens,
)
from sidecar.config.problems import Findings, Place
from sidecar.config.watching import digest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Located(Generic[T]):
    """A value, where it was written and under which path."""

    value: T
    place: Place
    path: str


@dataclass(slots=True)
class Draft:
    """Whatever must be compared with something elsewhere in the configuration."""

    listeners: list[Located[Address]] = field(default_factory=list)
    issuer_urls: list[Located[str]] = field(default_factory=list)
    introspecting: list[Located[Introspection]] = field(default_factory=list)
    """Those that are asked about opaque tokens."""
    rules: list[Located[Rule]] = field(default_factory=list)
    """Those without a name of their own have the empty one until all are read."""
    issuer_names: list[Located[str]] = field(default_factory=list)
    """Those that rules mention."""
    transactions: list[Located[TransactionTokens]] = field(default_factory=list)
    """At most one, and where it names its issuer."""
    client_names: list[Located[str]] = field(default_factory=list)
    """Those that destinations mention."""
    client_issuers: list[Located[str]] = field(default_factory=list)
    """Those whose token endpoint a client asks."""
    app: Located[Origin] | None = None
    destinations: list[Located[Destination]] = field(default_factory=list)
    app_probes: list[Located[AppProbe]] = field(default_factory=list)
    references: list[Located[str]] = field(default_factory=list)
    """Those that can only be followed elsewhere."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One pass over one configuration."""

    findings: Findings
    environ: Mapping[str, str]
    files: dict[str, bytes] = field(default_factory=dict)
    """Digests of the files that were read, by path: what to look at to see a change."""
    draft: Draft = field(default_factory=Draft)
    is_elsewhere: bool = False
    """Whether the configuration is for another machine: its variables and files are not here."""

    def saw(self, path: str, content: bytes) -> None:
        """Take note of what was in the file at *path*; empty where it could not be read."""
        self.files[path] = digest(content)
