"""The part of JSON Schema 2020-12 that our schema uses, to check documents against it.

An unknown keyword raises, so that the schema cannot come to use what is not checked here.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description", "default"}
TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
}


def is_valid(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    """Say whether *value* meets *schema*, a part of *root*."""
    return all(
        _meets(value, keyword, argument, schema, root)
        for keyword, argument in schema.items()
        if keyword not in ANNOTATIONS
    )


def _meets(
    value: Any, keyword: str, argument: Any, schema: Mapping[str, Any], root: Mapping[str, Any]
) -> bool:
    match keyword:
        case "type":
            return TYPES[argument](value)
        case "const":
            return bool(value == argument)
        case "enum":
            return value in argument
        case "anyOf":
            return any(is_valid(value, each, root) for each in argument)
        case "$ref":
            return is_valid(value, root["$defs"][argument.removeprefix("#/$defs/")], root)
        case "pattern":
            return not isinstance(value, str) or re.search(argument, value) is not None
        case "minLength":
            return not isinstance(value, str) or len(value) >= argument
        case "minimum":
            return not TYPES["integer"](value) or value >= argument
        case "maximum":
            return not TYPES["integer"](value) or value <= argument
        case "minItems":
            return not isinstance(value, list) or len(value) >= argument
        case "items":
            return not isinstance(value, list) or all(is_valid(v, argument, root) for v in value)
        case "minProperties":
            return not isinstance(value, dict) or len(value) >= argument
        case "maxProperties":
            return not isinstance(value, dict) or len(value) <= argument
        case "required":
            return not isinstance(value, dict) or all(name in value for name in argument)
        case "propertyNames":
            return not isinstance(value, dict) or all(is_valid(k, argument, root) for k in value)
        case "properties":
            return not isinstance(value, dict) or all(
                is_valid(value[name], each, root)
                for name, each in argument.items()
                if name in value
            )
        case "additionalProperties":
            if not isinstance(value, dict):
                return True
            others = [v for k, v in value.items() if k not in schema.get("properties", {})]
            if argument is False:
                return not others
            return all(is_valid(other, argument, root) for other in others)
    raise LookupError(keyword)
