"""``aiohttp.web``."""

import logging
from typing import NoReturn

from aiohttp import web

from . import handoffs, ports


async def respond(request: web.Request) -> web.StreamResponse:
    name, out = handoffs.split(request.path_qs)
    if name == "stream":
        response = web.StreamResponse()
        await response.prepare(request)
        async for part in handoffs.stream_async(out):
            await response.write(part)
        return response
    status, body = await handoffs.respond_async(request.path_qs)
    return web.Response(body=body, status=status)


def quiet(_: str) -> None:
    pass


def main() -> NoReturn:
    parser = ports.parser()
    parser.add_argument("--cancel", action="store_true", help="cancel handlers of gone clients")
    options = parser.parse_args()
    logging.disable()
    app = web.Application()
    app.router.add_get("/{_:.*}", respond)
    listener = ports.bind(options.port)
    web.run_app(app, sock=listener, print=quiet, handler_cancellation=options.cancel)
    raise SystemExit


if __name__ == "__main__":
    main()
