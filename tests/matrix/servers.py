"""The servers of the matrix: which program, and what must be installed for it."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["blocking", "asyncio", "greenlets"]


@dataclass(frozen=True, slots=True)
class Server:
    """A program of ``tests.apps``; *kind* says which styles it can do."""

    name: str
    module: str
    kind: Kind
    arguments: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    """Distributions, for their versions and for whether this server can be tested."""
    is_variant: bool = False
    """Differs from another one only below the styles: gets the shorter list of them."""

    def command(self, port: int = 0) -> tuple[str, ...]:
        """Arguments for the interpreter."""
        return ("-m", f"tests.apps.{self.module}", str(port), *self.arguments)


SERVERS: tuple[Server, ...] = (
    Server("http.server", "http_server_app", "blocking"),
    Server("aiohttp.web", "aiohttp_app", "asyncio", needs=("aiohttp",)),
)
