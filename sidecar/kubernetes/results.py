"""What comes of a pod that is offered for injection."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

JsonObject: TypeAlias = Mapping[str, Any]
"""A Kubernetes object, or a part of one, as JSON; nothing here changes it."""


@dataclass(frozen=True, slots=True)
class Injected:
    """The pod with its sidecar."""

    pod: JsonObject
    patch: tuple[JsonObject, ...]
    """RFC 6902, from the pod as given; empty where it has its sidecar already."""
    warnings: tuple[str, ...] = ()
    """For the admission response: one line each."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """The pod stays as it is, as it asked for."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The pod cannot have a sidecar as it is; *message* says what to write instead."""

    message: str


@dataclass(slots=True)
class Notes:
    """What there is to say of one pod, collected so that all of it is said at once."""

    refusals: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
