"""What a protected resource says of itself (RFC 9728), and where."""

import json
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"


class ResourceMetadata:
    """The document of one resource, its path, and the parameter of challenges that names it."""

    def __init__(
        self,
        resource: str,
        *,
        authorization_servers: Iterable[str],
        scopes_supported: Iterable[str],
    ) -> None:
        parts = urlsplit(resource)
        # A path of the resource follows the well-known one; a lone slash does not (section 3.1).
        path = WELL_KNOWN + ("" if parts.path == "/" else parts.path)
        self.path = path.encode("ascii")
        self.document = _document(
            resource, tuple(authorization_servers), tuple(sorted(scopes_supported))
        )
        self._parameter = f'resource_metadata="{parts.scheme}://{parts.netloc}{path}"'.encode(
            "ascii"
        )

    def challenged(self, lines: bytes) -> bytes:
        """Return the field *lines* of a refusal, its challenge naming us (section 5.1)."""
        start = lines.find(b"www-authenticate: Bearer")
        if start < 0:
            return lines
        end = lines.index(b"\r\n", start)
        mark = b" " if lines[start:end].endswith(b"Bearer") else b", "
        return lines[:end] + mark + self._parameter + lines[end:]


def _document(resource: str, servers: tuple[str, ...], scopes: tuple[str, ...]) -> bytes:
    said: dict[str, object] = {"resource": resource}
    # A parameter without values is left out (section 3.2).
    if servers:
        said["authorization_servers"] = servers
    if scopes:
        said["scopes_supported"] = scopes
    said["bearer_methods_supported"] = ("header",)
    return json.dumps(said).encode("ascii") + b"\n"
