"""Starlette on uvicorn."""

from starlette.applications import Starlette
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from . import handoffs, uvicorn_run


class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


def target_of(request: Request) -> str:
    return f"{request.url.path}?{request.url.query}"


async def respond(request: Request) -> Response:
    status, body = await handoffs.respond_async(target_of(request))
    return Response(body, status)


def respond_sync(request: Request) -> Response:
    status, body = handoffs.respond(target_of(request))
    return Response(body, status)


async def stream(request: Request) -> Response:
    return StreamingResponse(handoffs.stream_async(request.query_params["out"]))


async def stream_sync(request: Request) -> Response:
    return StreamingResponse(iter(handoffs.Stream(request.query_params["out"])))


async def background(request: Request) -> Response:
    out = request.query_params["out"]
    later = BackgroundTask(handoffs.call, out), BackgroundTask(handoffs.calls_async, out)
    return Response(b"ok", background=BackgroundTasks(later))


async def websocket(socket: WebSocket) -> None:
    await socket.accept()
    await handoffs.calls_async(socket.query_params["out"])
    await socket.close()


def build(*, middleware: bool, endpoint: str = "async") -> Starlette:
    return Starlette(
        routes=[
            Route("/handoff/stream", stream),
            Route("/handoff/stream_sync", stream_sync),
            Route("/handoff/background", background),
            WebSocketRoute("/handoff/websocket", websocket),
            Route("/{_:path}", respond if endpoint == "async" else respond_sync),
        ],
        middleware=[Middleware(Passing), Middleware(Passing)] if middleware else [],
    )


if __name__ == "__main__":
    options = uvicorn_run.parser().parse_args()
    uvicorn_run.run(build(middleware=options.middleware, endpoint=options.endpoint), options)
