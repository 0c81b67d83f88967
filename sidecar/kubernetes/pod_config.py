"""The pod's own part of the configuration, and the check of both parts together.

The ConfigMap is the namespace's; what differs from pod to pod comes in an environment variable.
Both are examined as the sidecar will examine them, except for what is only there: variables,
Secrets, files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from sidecar.config import endpoints
from sidecar.config.elsewhere import RemoteExamination, examine_texts
from sidecar.config.flags import Flags, tree_of
from sidecar.config.inbound_keys import DEFAULT_LISTEN
from sidecar.config.keys import DEFAULT_ADMIN_LISTEN
from sidecar.config.load import tree_in
from sidecar.config.merge import merge
from sidecar.config.model import Address, Origin
from sidecar.config.positions import (
    NOT_A_STRING,
    Entry,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
)
from sidecar.config.problems import Findings, Place, Problem
from sidecar.config.values import Complaint
from sidecar.kubernetes import names
from sidecar.kubernetes.annotations import Wishes, at
from sidecar.kubernetes.containers import ENVIRONMENT

OFF: Final = "off"


class ConfigMap:
    """The namespace's part: its text, and what it says itself."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.file = f"ConfigMap {name}, {names.CONFIG_KEY}"
        self.text = text.encode("utf-8", "surrogatepass")
        self._root = tree_in(self.text, self.file, Findings())

    def at(self, *path: str) -> Node | None:
        """Return what stands under *path*, if anything does."""
        node: Node | None = self._root
        for key in path:
            if not isinstance(node, MappingNode) or (entry := node.entries.get(key)) is None:
                return None
            node = entry.value
        return node

    def text_at(self, *path: str) -> str | None:
        """Return the single value under *path* as written."""
        node = self.at(*path)
        return node.text if isinstance(node, ScalarNode) else None

    @property
    def is_outbound_only(self) -> bool:
        """Whether nobody calls pods with this configuration."""
        return self.text_at("inbound", "listen") == OFF

    def app_port(self) -> int | None:
        """Return the port of ``inbound.app``, where it is written out."""
        if (written := self.text_at("inbound", "app")) is None:
            return None
        try:
            origin: Origin = endpoints.origin(written)
        except Complaint:
            return None
        return origin.port

    def listen(self, section: str, default: Address) -> Address | None:
        """Return where *section* listens; ``None`` where that is not written out."""
        node = self.at(section, "listen")
        if node is None:
            return default
        try:
            return endpoints.listen(node.text) if isinstance(node, ScalarNode) else None
        except Complaint:
            return None

    def inbound_listen(self) -> Address | None:
        return self.listen("inbound", DEFAULT_LISTEN)

    def admin_listen(self) -> Address | None:
        return self.listen("admin", DEFAULT_ADMIN_LISTEN)


@dataclass(slots=True)
class PodConfig:
    """The pod's part while it is put together."""

    findings: Findings
    root: MappingNode

    @classmethod
    def empty(cls) -> "PodConfig":
        place = Place(f"env:{names.POD_CONFIG}")
        return cls(Findings(), _tree({"version": 1}, place))

    def add(self, value: Mapping[str, Any], place: str) -> None:
        """Add *value*, which problems say is at *place*."""
        self.root = merge(self.root, _tree(value, Place(place)), self.findings)

    def add_relays(self, items: Sequence[Mapping[str, Any]], places: Sequence[str]) -> None:
        """Add what the sidecar is to ask the app, each with the probe that it is for."""
        place = Place(places[0])
        nodes = [_tree(item, Place(where)) for item, where in zip(items, places, strict=True)]
        tree = MappingNode(place, {"app_probes": Entry(place, SequenceNode(place, tuple(nodes)))})
        self.root = merge(
            self.root, MappingNode(place, {"admin": Entry(place, tree)}), self.findings
        )

    def add_destinations(self, wishes: Wishes) -> None:
        """Add what the annotation says, read as ``sidecar run`` reads its flags."""
        if not wishes.destinations:
            return
        flags = Flags(
            destinations=wishes.destinations, allow_plaintext=wishes.allow_plaintext or False
        )
        found = Findings()
        tree = tree_of(flags, found)
        place = Place(at("destinations"))
        for problem in found.errors:
            self.findings.error(place, problem.path, problem.message, problem.suggestion)
        self.root = merge(self.root, _moved(tree, place), self.findings)

    def text(self) -> str:
        """Return the text of the environment variable."""
        return yaml.dump(
            _plain(self.root), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000
        )


def examine(config_map: ConfigMap, pod_config: PodConfig) -> RemoteExamination:
    """Check both parts together."""
    texts = [(config_map.file, config_map.text)]
    found = examine_texts(texts, trees=[(f"env:{names.POD_CONFIG}", pod_config.root)])
    errors = (*pod_config.findings.errors, *found.errors)
    return RemoteExamination(found.config, found.draft, errors, found.warnings)


def reference_warnings(found: RemoteExamination, secrets: Sequence[str]) -> list[str]:
    """Say which references of the configuration nothing in the pod can resolve."""
    warnings: list[str] = []
    for located in found.draft.references:
        if located.value.startswith("file:"):
            missing = _missing_secret(located.value.removeprefix("file:"), secrets)
        else:
            missing = None if _is_set(located.value) else _NOT_SET
        if missing is not None:
            problem = Problem(
                located.place.file, located.place.line, located.place.column, located.path,
                f"`{located.value}` {missing}", severity="warning",
            )  # fmt: skip
            warnings.append(str(problem))
    return warnings


_NOT_SET: Final = (
    "names a variable that the injected container does not have: put it into a Secret, name that "
    "in jwt-sidecar/secrets, and write `file:/etc/sidecar-secrets/NAME/KEY`"
)


def _is_set(text: str) -> bool:
    return any(f"${{{name}}}" in text for name in ENVIRONMENT)


def _missing_secret(path: str, secrets: Sequence[str]) -> str | None:
    parts = path.removeprefix(f"{names.SECRETS_DIRECTORY}/").split("/")
    if path.startswith(f"{names.SECRETS_DIRECTORY}/"):
        if parts[0] not in secrets:
            return (
                f"is in a Secret that the pod does not mount: add {parts[0]} to jwt-sidecar/secrets"
            )
        return None
    if path.startswith(f"{names.CONFIG_DIRECTORY}/") or not path.startswith("/"):
        return None
    return "is not in the injected container: only the ConfigMap and jwt-sidecar/secrets are"


# --- trees ---


def _tree(value: Any, place: Place) -> Any:
    match value:
        case Mapping():
            entries = {key: Entry(place, _tree(item, place)) for key, item in value.items()}
            return MappingNode(place, entries)
        case list():
            return SequenceNode(place, tuple(_tree(item, place) for item in value))
        case bool():
            return ScalarNode(place, "true" if value else "false")
        case int():
            return ScalarNode(place, str(value))
        case _:
            return ScalarNode(place, value, plain=False)


def _moved(node: Node, place: Place) -> Any:
    match node:
        case MappingNode(entries=entries):
            moved = {key: Entry(place, _moved(each.value, place)) for key, each in entries.items()}
            return MappingNode(place, moved)
        case SequenceNode(items=items):
            return SequenceNode(place, tuple(_moved(item, place) for item in items))
        case ScalarNode(text=text, plain=plain):
            return ScalarNode(place, text, plain)
        case _:
            return node


def _plain(node: Node) -> Any:
    match node:
        case MappingNode(entries=entries):
            return {key: _plain(entry.value) for key, entry in entries.items()}
        case SequenceNode(items=items):
            return [_plain(item) for item in items]
        case ScalarNode(text=text, plain=True):
            return {"true": True, "false": False}.get(text, int(text) if text.isdecimal() else text)
        case ScalarNode(text=text):
            return text
        case _:
            return None


class _Dumper(yaml.SafeDumper):
    """Quotes whatever some YAML reader does not take for a string; the sidecar's is strict."""


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = '"' if NOT_A_STRING.fullmatch(value) or value in ("y", "n", "Y", "N") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _string)
