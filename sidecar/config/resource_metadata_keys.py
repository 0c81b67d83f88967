"""The keys of the resource's metadata (RFC 9728), as ``model.ResourceMetadata``."""

import re
from typing import Final

from sidecar.config import values
from sidecar.config.endpoints import url
from sidecar.config.kinds import INVALID, Invalid, Kind, ListOf, Schema, Text
from sidecar.config.model import ResourceMetadata
from sidecar.config.positions import MappingNode, Node
from sidecar.config.reading import Reading
from sidecar.config.sections import REQUIRED, Key, Section, assemble, default_of
from sidecar.config.values import Complaint

RESOURCE_PATTERN: Final = r"^https://[a-z0-9.:\[\]_-]+(/[A-Za-z0-9._~!$&'()*+,=:@/-]*)?$"


def resource(value: str) -> str:
    """Read the identifier of a resource: https, without query and fragment (section 1.2)."""
    if not re.fullmatch(RESOURCE_PATTERN, value):
        raise Complaint("must be an https:// URL of a host and a path, without query and fragment")
    return url(value)


_RESOURCE: Final = Text("https URL", resource, RESOURCE_PATTERN)


class ResourceMetadataKind:
    """The resource alone, or a map with more."""

    label = "https URL, or map"
    bounds = ""
    section: Final = Section(
        keys=(
            Key("resource", _RESOURCE, "The URL that callers use for this service.",
                default=REQUIRED),
            Key("authorization_servers", ListOf(Text("URL", url)),
                "Who issues tokens for it.",
                default=default_of(ResourceMetadata, "authorization_servers"),
                default_text="the `issuers`"),
            Key("scopes_supported", ListOf(Text("string", values.scope, is_free=True)),
                "Scopes that requests may need.",
                default=default_of(ResourceMetadata, "scopes_supported"),
                default_text="those that rules require"),
        ),
        build=assemble(ResourceMetadata),
    )  # fmt: skip

    def read(self, node: Node, path: str, reading: Reading) -> ResourceMetadata | Invalid:
        if isinstance(node, MappingNode):
            return self.section.read(node, path, reading)
        named = _RESOURCE.read(node, path, reading)
        return INVALID if isinstance(named, Invalid) else ResourceMetadata(named)

    def schema(self) -> Schema:
        return {"anyOf": [_RESOURCE.schema(), self.section.schema()]}

    def show(self, value: object) -> object:
        return value


RESOURCE_METADATA: Final[Kind[ResourceMetadata]] = ResourceMetadataKind()
