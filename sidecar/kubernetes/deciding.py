"""What becomes of an object that the API server asks about.

Owns which questions go to the API before a pod is decided, and what it means when they are not
answered: a pod whose configuration cannot be read is refused, because it would run unprotected.
Nothing is remembered from one question to the next: a Service that was made a moment ago, with the
pod or before it, is what a memory would miss.
The decision itself is ``sidecar.kubernetes.injection``'s, or ``sidecar.kubernetes.services``'.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, assert_never

from sidecar.kubernetes import names
from sidecar.kubernetes.admission import Answer, Review, owner_kind
from sidecar.kubernetes.annotations import wants_none
from sidecar.kubernetes.api import ApiError, Listed
from sidecar.kubernetes.injection import INJECTED as INJECTED_STATUS
from sidecar.kubernetes.injection import config_name, inject, is_injected
from sidecar.kubernetes.results import Injected, JsonObject, Refused, Skipped
from sidecar.kubernetes.services import check_service
from sidecar.kubernetes.settings import InjectorSettings
from sidecar.kubernetes.shape import problems_of

MAX_CONFIG_BYTES: Final = 256 << 10
"""Of a ConfigMap's text: everybody who may write one has it parsed here."""
CONFIGURATIONS_ROLE: Final = "jwt-sidecar-configurations"

_FORBIDDEN: Final = 403
_log = logging.getLogger("sidecar.injector")


class Cluster(Protocol):
    """What is asked of the API."""

    async def config_map(self, namespace: str, name: str) -> JsonObject | None: ...
    async def services(self, namespace: str) -> Listed: ...
    async def pods(self, namespace: str, labels: Mapping[str, str]) -> Listed: ...


@dataclass(frozen=True, slots=True)
class Account:
    """Who we are in the cluster, for messages that say which right is missing."""

    namespace: str
    name: str = "jwt-sidecar-injector"


class Decider:
    """Answers reviews. Raises nothing that a caller should know: a fault is an answer too."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Callable[[], InjectorSettings | None],
        *,
        account: Account,
        executor: Executor,
    ) -> None:
        """*settings* gives ``None`` while they are not known yet.

        *executor* is where a pod is decided: a large configuration takes as long as it takes, and
        probes are answered meanwhile.
        """
        self._cluster = cluster
        self._settings = settings
        self._account = account
        self._executor = executor

    async def decide(self, review: Review, *, timeout_seconds: float) -> Answer:
        """Return the answer to *review*, within *timeout_seconds*."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._decide(review)
        except TimeoutError:
            return Answer(
                "error", f"jwt-sidecar: no decision within {timeout_seconds:g}s: try again"
            )
        except ApiError as error:
            return Answer("error", self._told(review, error))
        except Exception:
            _log.exception("%s %s in %s", review.kind, review.name, review.namespace)
            return Answer("error", "jwt-sidecar: the injector failed: its log says why")

    async def _decide(self, review: Review) -> Answer:
        match review.kind:
            case "pod":
                if review.operation != "CREATE" or review.subresource:
                    return Answer("skipped", "only the creation of a pod is of interest")
                return await self._pod(review)
            case "service":
                if review.operation not in ("CREATE", "UPDATE") or review.subresource:
                    return Answer("skipped", "it leads nowhere else than before")
                return await self._service(review)
            case "other":
                return Answer(
                    "refused",
                    f"jwt-sidecar: this webhook is for pods and services, not for "
                    f"{review.resource}: take them out of the webhook configuration's rules",
                )
            case never:
                assert_never(never)

    async def _pod(self, review: Review) -> Answer:
        settings = self._settings()
        if settings is None:
            return Answer("error", "jwt-sidecar: the injector does not know the cluster yet")
        pod = review.object
        texts: dict[str, str] = {}
        known = Listed((), is_cut=False)
        if not problems_of(pod) and not wants_none(pod) and not is_injected(pod):
            name = config_name(pod, settings)
            config_map, known = await asyncio.gather(
                self._cluster.config_map(review.namespace, name),
                self._cluster.services(review.namespace),
            )
            text = _text_of(config_map)
            if text is not None and len(text) > MAX_CONFIG_BYTES:
                return Answer(
                    "refused",
                    f"jwt-sidecar: ConfigMap {name}: {names.CONFIG_KEY} is larger than "
                    f"{MAX_CONFIG_BYTES >> 10}KiB",
                )
            if text is not None:
                texts[name] = text
        result = await asyncio.get_running_loop().run_in_executor(
            self._executor,
            partial(
                inject,
                pod,
                namespace=review.namespace,
                owner_kind=owner_kind(pod),
                settings=settings,
                config=texts.get,
                services=known.items,
            ),
        )
        match result:
            case Injected(_, patch, warnings):
                cut = ("not all Services of the namespace were checked",) if known.is_cut else ()
                return Answer("injected", patch=patch, warnings=(*warnings, *cut))
            case Skipped(reason):
                return Answer("skipped", reason)
            case Refused(message):
                return Answer("refused", f"jwt-sidecar: {message}")
            case never:
                assert_never(never)

    async def _service(self, review: Review) -> Answer:
        service = review.object
        labels = _selector(service)
        if not labels:
            return Answer("allowed")
        injected = {**labels, names.STATUS: INJECTED_STATUS}
        pods = await self._cluster.pods(review.namespace, injected)
        message = check_service(service, pods=pods.items)
        if message is None:
            return Answer("allowed")
        if review.old_object is not None and _leads(review.old_object) == _leads(service):
            # It did before: refusing its owner's label or a controller's finalizer helps nobody.
            return Answer("allowed", warnings=(f"jwt-sidecar: {message}",))
        return Answer("refused", f"jwt-sidecar: {message}")

    def _told(self, review: Review, error: ApiError) -> str:
        message = f"jwt-sidecar: cannot be decided: {error}"
        if error.status == _FORBIDDEN and review.kind == "pod":
            who = f"{self._account.namespace}:{self._account.name}"
            message += (
                "\nThe injector may read the ConfigMap jwt-sidecar everywhere; for one of another "
                "name its service account needs a RoleBinding in the namespace: kubectl create "
                f"rolebinding {CONFIGURATIONS_ROLE} --clusterrole={CONFIGURATIONS_ROLE} "
                f"--serviceaccount={who} -n {review.namespace}"
            )
        return message


def _text_of(config_map: JsonObject | None) -> str | None:
    data = config_map.get("data") if config_map is not None else None
    text = data.get(names.CONFIG_KEY) if isinstance(data, Mapping) else None
    return text if isinstance(text, str) else None


def _selector(service: JsonObject) -> Mapping[str, str]:
    spec = service.get("spec")
    found = spec.get("selector") if isinstance(spec, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def _leads(service: JsonObject) -> tuple[Any, Any]:
    spec = service.get("spec")
    return (spec.get("selector"), spec.get("ports")) if isinstance(spec, Mapping) else (None, None)
