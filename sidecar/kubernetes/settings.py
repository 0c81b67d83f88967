"""What an injector is told once, for all pods: the image, and the defaults of the annotations."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Resources:
    """Quantities as Kubernetes writes them; an empty one is not set."""

    cpu_request: str = "50m"
    cpu_limit: str = ""
    """None by default: throttling makes every request slow where a neighbour is idle."""
    memory_request: str = "96Mi"
    memory_limit: str = "256Mi"


@dataclass(frozen=True, slots=True)
class InjectorSettings:
    """Defaults that an annotation of the pod may override, and what no pod may choose."""

    image: str
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    native: bool = True
    """Whether the cluster knows init containers that keep running (Kubernetes 1.29)."""
    resources: Resources = field(default_factory=Resources)
    config: str = "jwt-sidecar"
    carrier: Literal["none", "python"] = "none"
    probes: Literal["rewrite", "keep"] = "rewrite"
    app_pre_stop_sleep: int = 0
    """Seconds that the app goes on serving after its pod was asked to end."""
