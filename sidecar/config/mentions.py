"""Names that stand for something elsewhere in the configuration."""

from collections.abc import Callable
from typing import Final

from sidecar.config import values
from sidecar.config.kinds import Invalid, Schema, Text
from sidecar.config.positions import Node
from sidecar.config.reading import Draft, Located, Reading


class Mention:
    """A name, noted to be looked for among those that there are."""

    label = "name"
    bounds = ""
    _text: Final = Text("name", values.name, values.NAME_PATTERN)

    def __init__(self, noted: Callable[[Draft], list[Located[str]]]) -> None:
        """*noted* says where in a draft such names are noted."""
        self._noted = noted

    def read(self, node: Node, path: str, reading: Reading) -> str | Invalid:
        name = self._text.read(node, path, reading)
        if not isinstance(name, Invalid):
            self._noted(reading.draft).append(Located(name, node.place, path))
        return name

    def schema(self) -> Schema:
        return self._text.schema()

    def show(self, value: object) -> object:
        return value
