"""``/drain`` on the control socket: ``POST`` begins, ``GET`` tells how far it is."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response
from msgspec.json import encode

from sidecar.admin.drain_status import DRAIN_PATH, DrainStatus
from sidecar.admin.serving import Route, response


def drain_routes(
    begin: Callable[[], None], tell: Callable[[], Awaitable[DrainStatus]]
) -> Mapping[str, Route]:
    """Return what answers by path. *begin* may be asked any number of times."""

    async def answer(request: BaseRequest) -> Response:
        if request.method == "POST":
            begin()
        return response(200, encode(await tell()), "application/json")

    return {DRAIN_PATH: Route(answer, ("GET", "HEAD", "POST"))}
