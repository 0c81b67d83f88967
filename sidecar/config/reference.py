"""The table of all keys in ``docs/configuration.md``, made from the tables the parser uses."""

import json
from collections.abc import Iterator
from typing import Any

from sidecar.config.claim_condition_keys import ClaimConditionsKind
from sidecar.config.demand_keys import ClientRolesKind, DemandKind
from sidecar.config.identity_keys import HeadersKind
from sidecar.config.keys import ROOT
from sidecar.config.kinds import Kind, ListOf, Planned
from sidecar.config.resource_metadata_keys import ResourceMetadataKind
from sidecar.config.rule_keys import RequireKind
from sidecar.config.sections import REQUIRED, Key, MapOf, Section
from sidecar.config.token_source_keys import TokenSourceKind

HEADER = "| Key | Type | Default | Bounds | Meaning |\n| --- | --- | --- | --- | --- |\n"


def markdown() -> str:
    """Return one Markdown table with a row for every key."""
    return HEADER + "".join(_row(path, key) for path, key in documented(ROOT, ""))


def documented(section: Section[Any], prefix: str) -> Iterator[tuple[str, Key]]:
    """Yield each key with its path, sections before what is in them."""
    for key in section.keys:
        if isinstance(key.kind, Planned):
            continue
        path = f"{prefix}{key.name}"
        yield path, key
        nested = _nested(key.kind)
        if nested is not None:
            suffix, inner = nested
            yield from documented(inner, f"{path}{suffix}.")


def _nested(kind: Kind[Any]) -> tuple[str, Section[Any]] | None:
    match kind:
        case Section():
            return "", kind
        case MapOf(section=section):
            return ".<name>", section
        case ListOf(item=Section() as item):
            return "[]", item
        case ListOf(item=TokenSourceKind() as item):
            return "[]", item.section
        case HeadersKind():
            return ".<name>", kind.section
        case RequireKind() | ResourceMetadataKind():
            return "", kind.section
        case ClientRolesKind():
            return ".<name>", kind.demand.any_of
        case ClaimConditionsKind():
            return ".<name>", kind.section
        case DemandKind():
            return "", kind.any_of
        case _:
            return None


def _row(path: str, key: Key) -> str:
    cells = (f"`{path}`", key.kind.label, default_text(key), key.kind.bounds, key.meaning)
    return f"| {' | '.join(cells)} |\n"


def default_text(key: Key) -> str:
    """Return what stands in the column of defaults."""
    if key.default is REQUIRED:
        return "**required**"
    if key.default_text:
        return key.default_text
    if not key.has_default:
        return ""
    shown = key.kind.show(key.default)
    return f"`{shown if isinstance(shown, str) else json.dumps(shown)}`"
