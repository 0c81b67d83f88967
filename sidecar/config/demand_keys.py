"""Names of which all, or one, must be there, and how they are written."""

from typing import Final

from sidecar.config.kinds import INVALID, Invalid, Kind, ListOf, Schema
from sidecar.config.model import Demand
from sidecar.config.positions import MappingNode, Node, under
from sidecar.config.reading import Reading
from sidecar.config.sections import REQUIRED, Fields, Key, Section
from sidecar.config.written import free_text


class DemandKind:
    """A list, which asks for all its names, or ``{any: [...]}``, which asks for one."""

    bounds = ""

    def __init__(self, item: Kind[str]) -> None:
        self._list = ListOf(item)
        self.any_of: Section[Demand] = Section(
            (Key("any", self._list, "One of them is enough.", default=REQUIRED),), _any
        )
        self.label = f"{self._list.label}, or `{{any: [...]}}`"

    def read(self, node: Node, path: str, reading: Reading) -> Demand | Invalid:
        if isinstance(node, MappingNode):
            return self.any_of.read(node, path, reading)
        names = self._list.read(node, path, reading)
        return INVALID if isinstance(names, Invalid) else Demand(names)

    def schema(self) -> Schema:
        return {"anyOf": [self._list.schema(), self.any_of.schema()]}

    def show(self, value: object) -> object:
        return value


def _any(fields: Fields) -> Demand | Invalid:
    return INVALID if fields.is_broken else Demand(fields.values["any"], "any")


class ClientRolesKind:
    """A map from the id of a client to what ``DemandKind`` takes."""

    label = "map of client to list of string, or `{any: [...]}`"
    bounds = ""
    demand: Final = DemandKind(free_text("string"))

    def read(
        self, node: Node, path: str, reading: Reading
    ) -> tuple[tuple[str, Demand], ...] | Invalid:
        if not isinstance(node, MappingNode):
            message = "must be a map of client ids to roles, as {orders: [admin]}"
            reading.findings.error(node.place, path, message)
            return INVALID
        if not node.entries:
            reading.findings.error(node.place, path, "must not be empty")
            return INVALID
        found = [
            (client, self.demand.read(entry.value, under(path, client), reading))
            for client, entry in node.entries.items()
        ]
        sound = tuple((client, each) for client, each in found if not isinstance(each, Invalid))
        return sound if len(sound) == len(found) else INVALID

    def schema(self) -> Schema:
        return {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": self.demand.schema(),
        }

    def show(self, value: object) -> object:
        return value
