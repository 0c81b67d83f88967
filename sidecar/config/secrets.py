"""The kind of value that is secret: a reference to it, and never the secret itself.

A configuration file ends up in repositories, tickets and `sidecar check`'s output.
"""

import re
from typing import Final

from sidecar.config.kinds import INVALID, REFERENCE, Invalid, Schema, Written, read_string
from sidecar.config.positions import BrokenNode, Node, ScalarNode
from sidecar.config.reading import Reading

MAX_SECRET_LENGTH: Final = 4096

_WHOLE_REFERENCE: Final = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}|file:(?!//).+")


class Secret:
    """``${NAME}`` or ``file:PATH``. No message quotes what is written, nor what it stands for."""

    label = "`${NAME}` or `file:PATH`"
    bounds = f"{MAX_SECRET_LENGTH} characters"

    def read(self, node: Node, path: str, reading: Reading) -> str | Invalid:
        match node:
            case BrokenNode():
                return INVALID
            case ScalarNode(text=text) if _WHOLE_REFERENCE.fullmatch(text):
                pass
            case _:
                message = (
                    "must be `${NAME}` or `file:PATH`, so that the secret itself is not in the file"
                )
                reading.findings.error(node.place, path, message)
                return INVALID
        match read_string(node, path, reading, "a reference"):
            case Written(text=secret) if 0 < len(secret) <= MAX_SECRET_LENGTH:
                if secret.isprintable():
                    return secret
                reading.findings.error(node.place, path, "names a secret with control characters")
            case Written(text=""):
                reading.findings.error(node.place, path, "names a secret that is empty")
            case Written():
                message = f"names a secret of over {MAX_SECRET_LENGTH} characters"
                reading.findings.error(node.place, path, message)
        return INVALID

    def schema(self) -> Schema:
        return dict(REFERENCE)

    def show(self, _value: object) -> object:
        return ""
