"""The path of the control socket at which the operator has the configuration read again."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response
from msgspec import Struct
from msgspec.json import encode

from sidecar.admin.serving import Route, response

RELOAD_PATH: Final = "/reload"


class Outcome(Protocol):
    """What came of a reload."""

    @property
    def result(self) -> str: ...
    @property
    def at(self) -> float: ...
    @property
    def problems(self) -> Sequence[str]: ...
    @property
    def warnings(self) -> Sequence[str]: ...


class ReloadAnswer(Struct, frozen=True, kw_only=True):
    """The answer, whatever came of it."""

    result: str
    """``reloaded`` or ``refused``."""
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def reload_routes(reload: Callable[[], Awaitable[Outcome]]) -> dict[str, Route]:
    """Return the route that has *reload* done, and answers when it is."""

    async def answer(_request: BaseRequest) -> Response:
        outcome = await reload()
        told = ReloadAnswer(
            result=outcome.result,
            problems=tuple(outcome.problems),
            warnings=tuple(outcome.warnings),
        )
        return response(200, encode(told), "application/json")

    return {RELOAD_PATH: Route(answer, methods=("POST",))}
