"""The annotations of a pod: what each may say, and what the pod asks for by them.

Owns names, forms and the table in ``docs/annotations.md``. What a wish does to the pod is
decided elsewhere.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sidecar.config.problems import nearest, quoted
from sidecar.config.values import Complaint
from sidecar.kubernetes import names, quantities
from sidecar.kubernetes.results import JsonObject
from sidecar.kubernetes.settings import InjectorSettings

MAX_ITEMS: Final = 100


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotation that a pod may have."""

    name: str
    """Without prefix."""
    form: str
    meaning: str
    default: str
    parse: Callable[[str], Any]

    @property
    def field(self) -> str:
        return self.name.replace("-", "_")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the annotations of a pod say; ``None`` and empty where they say nothing."""

    inject: bool | None = None
    config: str | None = None
    secrets: tuple[str, ...] = ()
    service_account_token: str | None = None
    """Audience of a token of the pod's service account; ``None``: the sidecar gets none."""
    app_port: int | str | None = None
    """A number, or the name of a port of the app's container."""
    app_container: str | None = None
    destinations: tuple[str, ...] = ()
    allow_plaintext: bool | None = None
    carrier: Literal["none", "python"] | None = None
    carrier_containers: tuple[str, ...] = ()
    probes: Literal["rewrite", "keep"] | None = None
    app_pre_stop_sleep: int | None = None
    native: bool | None = None
    image: str | None = None
    cpu_request: str | None = None
    cpu_limit: str | None = None
    memory_request: str | None = None
    memory_limit: str | None = None


def annotations_of(pod: JsonObject) -> Mapping[str, Any]:
    """Return the pod's annotations, of whatever type their values are."""
    return _mapping(pod, "annotations")


def labels_of(pod: JsonObject) -> Mapping[str, Any]:
    """Return the pod's labels."""
    return _mapping(pod, "labels")


def _mapping(pod: JsonObject, key: str) -> Mapping[str, Any]:
    metadata = pod.get("metadata")
    found = metadata.get(key) if isinstance(metadata, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def parse(annotations: Mapping[str, Any]) -> tuple[Wishes, tuple[str, ...]]:
    """Return what *annotations* wish, and one message for each that is wrong."""
    known = {f"{names.PREFIX}{each.name}": each for each in ANNOTATIONS}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in annotations.items():
        if not key.startswith(names.PREFIX) or key in OF_THE_RESULT:
            continue
        if (annotation := known.get(key)) is None:
            problems.append(_unknown(key, known))
        elif not isinstance(value, str):
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            problems.append(f'{at(key)}: must be a string; write "{shown}"')
        else:
            try:
                values[annotation.field] = annotation.parse(value)
            except Complaint as complaint:
                problems.append(_told(key, value, complaint, annotation))
    return Wishes(**values), tuple(problems)


def at(key: str) -> str:
    """Return how a message names the annotation *key*, with or without prefix."""
    return f"annotation {names.PREFIX}{key.removeprefix(names.PREFIX)}"


def _unknown(key: str, known: Mapping[str, Annotation]) -> str:
    meant = nearest(key.removeprefix(names.PREFIX), [each.name for each in known.values()])
    if meant is not None:
        return f"{at(key)}: there is no such annotation (did you mean `{names.PREFIX}{meant}`?)"
    listed = ", ".join(each.name for each in known.values())
    return f"{at(key)}: there is no such annotation; after `{names.PREFIX}` may stand {listed}"


def _told(key: str, value: str, complaint: Complaint, annotation: Annotation) -> str:
    meant = f" (did you mean `{complaint.suggestion}`?)" if complaint.suggestion else ""
    return f"{at(key)}: {quoted(value)} {complaint.message}{meant}; it takes {annotation.form}"


def wants_none(pod: JsonObject) -> bool:
    """Whether the pod opts out, by label or by annotation."""
    key = f"{names.PREFIX}inject"
    return "false" in (labels_of(pod).get(key), annotations_of(pod).get(key))


def config_of(pod: JsonObject, settings: InjectorSettings) -> str:
    """Return the name of the pod's ConfigMap, or the default where it names none that could be."""
    try:
        return _object_name(str(annotations_of(pod).get(f"{names.PREFIX}config", settings.config)))
    except Complaint:
        return settings.config


def table() -> str:
    """Return all annotations as a Markdown table."""
    rows = [
        f"| `{names.PREFIX}{each.name}` | {each.form.replace('|', chr(92) + '|')} "
        f"| {each.default} | {each.meaning} |\n"
        for each in ANNOTATIONS
    ]
    return "| Annotation | Takes | Default | Meaning |\n| --- | --- | --- | --- |\n" + "".join(rows)


# --- forms ---


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        folded = text.strip().lower()
        is_yes, is_no = folded in ("yes", "on", "1", "true"), folded in ("no", "off", "0", "false")
        raise Complaint("is not a boolean", "true" if is_yes else "false" if is_no else None)
    return text == "true"


def _choice(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise Complaint(f"is not one of {', '.join(words)}", nearest(text, words))
        return text

    return parse


_OBJECT: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_PORT_NAME: Final = re.compile(r"(?=.*[a-z])[a-z0-9](-?[a-z0-9])*")


def _object_name(text: str) -> str:
    if len(text) > 253 or not _OBJECT.fullmatch(text):
        raise Complaint("is not the name of an object: lower-case letters, digits, `-` and `.`")
    return text


def _container(text: str) -> str:
    if len(text) > 63 or not _LABEL.fullmatch(text):
        raise Complaint("is not the name of a container: lower-case letters, digits and `-`")
    return text


def _port(text: str) -> int | str:
    if text.isascii() and text.isdecimal():
        if len(text) > 5 or not 1 <= int(text) <= 65535:
            raise Complaint("is not a port from 1 to 65535")
        return int(text)
    if len(text) > 15 or not _PORT_NAME.fullmatch(text):
        raise Complaint("is neither a port's number nor its name")
    return text


def _seconds(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= 4 and int(text) <= 3600:
        return int(text)
    raise Complaint("is not a whole number of seconds from 0 to 3600", _without_unit(text))


def _without_unit(text: str) -> str | None:
    return text[:-1] if re.fullmatch(r"[0-9]{1,4}s", text) else None


def _audience(text: str) -> str:
    if not re.fullmatch(r"[!-~]{1,512}", text):
        raise Complaint("is not an audience: 1 to 512 visible characters of ASCII")
    return text


def _image(text: str) -> str:
    if not text or len(text) > 1024 or not text.isascii() or re.search(r"[^!-~]", text):
        raise Complaint("is not the name of an image")
    return text


def _items(item: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        parts = [part.strip() for part in text.split(",")]
        if len(parts) > MAX_ITEMS:
            raise Complaint(f"has more than {MAX_ITEMS} items")
        for part in parts:
            if not part:
                raise Complaint("has an empty item: separate items by single commas")
            if parts.count(part) > 1:
                raise Complaint(f"names {quoted(part)} twice")
        return tuple(item(part) for part in parts)

    return parse


def _destination(text: str) -> str:
    return text  # `sidecar.config.flags` knows the form, and says what is wrong with it


_BOOLEAN: Final = '`"true"` or `"false"`'
_NAMES: Final = "names, separated by commas"

ANNOTATIONS: Final[Sequence[Annotation]] = (
    Annotation(
        "inject", _BOOLEAN,
        "`false`: this pod has no sidecar. The label of the same name does the same, and keeps the "
        "pod away from the injector altogether.", "`true`", _boolean,
    ),
    Annotation(
        "config", "name of a ConfigMap",
        "ConfigMap of the pod's namespace whose key `config.yaml` is the sidecar's configuration. "
        "Its other keys are beside it in `/etc/sidecar`, so that `jwks_file: keys.json` works.",
        "`jwt-sidecar`", _object_name,
    ),
    Annotation(
        "secrets", _NAMES,
        "Secrets that are mounted at `/etc/sidecar-secrets/<name>`, for `file:` references, keys "
        "and certificates.", "none", _items(_object_name),
    ),
    Annotation(
        "service-account-token", "an audience",
        "A token of the pod's service account for this audience, which the kubelet renews, at "
        "`/var/run/secrets/jwt-sidecar/token`: with it a client shows an identity provider who it "
        "is (`auth: client_assertion_file`), without any secret.", "none", _audience,
    ),
    Annotation(
        "app-port", "a port's number or name",
        "Where the app listens. Its name, if it has one, then leads to the sidecar.",
        "the only TCP port that a container declares; none declared: outbound only", _port,
    ),
    Annotation(
        "app-container", "name of a container", "The app's container, where there are several.",
        "the one with the app's port", _container,
    ),
    Annotation(
        "destinations", "`[NAME:]PORT=URL`, separated by commas",
        "The app calls `localhost:PORT` to reach URL with the caller's token, as with "
        "`sidecar run --destination`.", "none besides the ConfigMap's", _items(_destination),
    ),
    Annotation(
        "allow-plaintext", _BOOLEAN,
        "Permit `http://` in `destinations`: tokens then cross the network unencrypted, unless a "
        "mesh encrypts it.", "`false`", _boolean,
    ),
    Annotation(
        "carrier", "`none` or `python`",
        "What is loaded into the app so that its calls can be attributed. An image that sets "
        "`PYTHONPATH` itself needs the same value in the container's `env`: it is replaced, and "
        "only what is written there can be kept.", "`none`, or as the injector is set up",
        _choice("none", "python"),
    ),
    Annotation(
        "carrier-containers", _NAMES, "Containers that load the carrier.",
        "the app's container", _items(_container),
    ),
    Annotation(
        "probes", "`rewrite` or `keep`",
        "`rewrite`: the sidecar asks the app on behalf of the kubelet, so that HTTP and TCP probes "
        "work whatever the app listens on.", "`rewrite`", _choice("rewrite", "keep"),
    ),
    Annotation(
        "app-pre-stop-sleep", "seconds",
        "How long the app goes on serving after the pod was asked to end, for Services and load "
        "balancers that notice late. Needs Kubernetes 1.30; less than the pod's grace period.",
        "`0`", _seconds,
    ),
    Annotation(
        "native", _BOOLEAN,
        "`true`: an init container that keeps running (Kubernetes 1.29): it starts before the app "
        "and its other init containers, ends after the app, and lets Jobs finish. `false`: a "
        "container beside the app, for older clusters.", "`true`", _boolean,
    ),
    Annotation("image", "an image", "The sidecar's image.", "the injector's", _image),
    Annotation(
        "cpu-request", "a quantity, or `none`", "CPU set aside for the sidecar.", "`50m`",
        quantities.cpu,
    ),
    Annotation(
        "cpu-limit", "a quantity, or `none`",
        "Most CPU it may use. A limit makes requests wait even where the node is idle.", "`none`",
        quantities.cpu,
    ),
    Annotation(
        "memory-request", "a quantity, or `none`", "Memory set aside for the sidecar.", "`96Mi`",
        quantities.memory_request,
    ),
    Annotation(
        "memory-limit", "a quantity, or `none`",
        "Most memory it may use; at least `64Mi`. Its caches and connections are bounded.",
        "`256Mi`", quantities.memory_limit,
    ),
)  # fmt: skip

OF_THE_RESULT: Final = frozenset((names.STATUS, names.VERSION, names.PORT))
"""Written by us on an injected pod, and not to be written by others."""
