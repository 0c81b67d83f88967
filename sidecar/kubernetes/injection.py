"""A pod to the same pod with its sidecar: one function, without I/O and without a clock."""

from collections.abc import Callable, Mapping, Sequence

from sidecar.kubernetes.results import Injected, JsonObject, Refused, Skipped
from sidecar.kubernetes.settings import InjectorSettings


def config_name(pod: JsonObject, settings: InjectorSettings) -> str:
    """Return the name of the ConfigMap that ``inject`` will ask for, whatever else is wrong."""
    raise NotImplementedError


def inject(
    pod: Mapping[str, object],
    *,
    namespace: str,
    owner_kind: str | None,
    settings: InjectorSettings,
    config: Callable[[str], str | None],
    services: Sequence[Mapping[str, object]] = (),
) -> Injected | Skipped | Refused:
    """Return *pod* with its sidecar, or why not.

    *pod* has ``metadata`` and ``spec``: a Pod, or the template of a workload. *owner_kind* is
    ``Job``, ``Deployment``, …; ``None`` for a Pod of its own. *config* gives the text under the
    key ``config.yaml`` of the namespace's ConfigMap of that name, or ``None``. *services* are
    those of the namespace, as far as they are known.
    """
    raise NotImplementedError
