"""The file's form as JSON Schema 2020-12, for editors and CI.

It knows names, types, words and bounds of one file; what compares values with each other or
with the world is checked by ``sidecar check`` alone.
"""

from typing import Any

from sidecar.config.keys import ROOT
from sidecar.config.references import PATTERN


def json_schema() -> dict[str, Any]:
    """Return the schema of a complete configuration in one file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:jwt-sidecar:config:1",
        "title": "jwt-sidecar configuration",
        **ROOT.schema(),
        "$defs": {
            "reference": {
                "description": "A string with ${NAME} of the environment, or file:PATH.",
                "type": "string",
                "pattern": PATTERN,
            }
        },
    }
