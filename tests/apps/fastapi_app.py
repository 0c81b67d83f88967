"""FastAPI on uvicorn."""

from collections.abc import Iterator

from fastapi import BackgroundTasks, Depends, FastAPI, Request
from fastapi.responses import Response, StreamingResponse

from . import handoffs, uvicorn_run, work
from .starlette_app import Passing, target_of


def dependency(out: str) -> Iterator[str]:
    """A sync one: FastAPI enters and leaves it in a worker thread."""
    handoffs.call(out)
    yield out
    handoffs.call(out)


def build(*, middleware: bool, endpoint: str) -> FastAPI:
    app = FastAPI()
    if middleware:
        app.add_middleware(Passing)

    @app.get("/handoff/stream")
    async def stream(out: str) -> Response:
        return StreamingResponse(handoffs.stream_async(out))

    @app.get("/handoff/stream_sync")
    def stream_sync(out: str) -> Response:
        return StreamingResponse(iter(handoffs.Stream(out)))

    @app.get("/handoff/background")
    def background(out: str, tasks: BackgroundTasks) -> None:
        tasks.add_task(handoffs.call, out)
        tasks.add_task(handoffs.calls_async, out)

    @app.get("/handoff/dependency")
    async def depends(out: str = Depends(dependency)) -> None:
        handoffs.call(out)

    @app.get("/background/{client}")
    async def later(request: Request, tasks: BackgroundTasks) -> Response:
        tasks.add_task(work.later, target_of(request))
        return Response(b"[]", background=tasks)

    if endpoint == "async":

        @app.get("/{_:path}")
        async def respond(request: Request) -> Response:
            status, body = await handoffs.respond_async(target_of(request))
            return Response(body, status)

    else:

        @app.get("/{_:path}")
        def respond_sync(request: Request) -> Response:
            status, body = handoffs.respond(target_of(request))
            return Response(body, status)

    return app


if __name__ == "__main__":
    options = uvicorn_run.parser().parse_args()
    uvicorn_run.run(build(middleware=options.middleware, endpoint=options.endpoint), options)
