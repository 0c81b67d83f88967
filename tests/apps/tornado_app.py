"""Tornado: async and sync handler methods, and its WSGI container."""

import asyncio
import logging

from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.web import Application, FallbackHandler, RequestHandler
from tornado.wsgi import WSGIContainer

from . import handoffs, ports, wsgi


class Async(RequestHandler):
    async def get(self, _: str) -> None:
        name, out = handoffs.split(str(self.request.uri))
        if name == "stream":
            async for part in handoffs.stream_async(out):
                self.write(part)
                await self.flush()
            return
        if name == "tornado_thread":
            await IOLoop.current().run_in_executor(None, handoffs.calls, out)
            return
        status, body = await handoffs.respond_async(str(self.request.uri))
        self.set_status(status)
        self.write(body)


class Sync(RequestHandler):
    def get(self, _: str) -> None:
        status, body = handoffs.respond(str(self.request.uri))
        self.set_status(status)
        self.write(body)


async def main() -> None:
    parser = ports.parser()
    parser.add_argument("handler", nargs="?", choices=["async", "sync", "wsgi"], default="async")
    options = parser.parse_args()
    logging.disable()
    container = WSGIContainer(wsgi.application)
    routes = {
        "async": (r"/(.*)", Async),
        "sync": (r"/(.*)", Sync),
        "wsgi": (r"/.*", FallbackHandler, {"fallback": container}),
    }
    listener = ports.bind(options.port)
    listener.setblocking(False)
    HTTPServer(Application([routes[options.handler]])).add_socket(listener)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
