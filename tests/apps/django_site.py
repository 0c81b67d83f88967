"""A Django project in one module: sync and async views, and a middleware of either kind."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.utils.decorators import sync_and_async_middleware, sync_only_middleware

from . import handoffs


def sync_view(request: HttpRequest, _: str) -> HttpResponse | StreamingHttpResponse:
    target = request.get_full_path()
    name, out = handoffs.split(target)
    if name == "stream":
        return StreamingHttpResponse(handoffs.Stream(out))
    status, body = handoffs.respond(target)
    return HttpResponse(body, status=status)


async def async_view(request: HttpRequest, _: str) -> HttpResponse | StreamingHttpResponse:
    target = request.get_full_path()
    name, out = handoffs.split(target)
    if name == "stream":
        return StreamingHttpResponse(handoffs.stream_async(out))
    status, body = await handoffs.respond_async(target)
    return HttpResponse(body, status=status)


Handler = Callable[[HttpRequest], Any]


@sync_only_middleware
def in_thread(get_response: Handler) -> Handler:
    """Makes Django go through a thread to reach an async view, and back."""
    return lambda request: get_response(request)


@sync_and_async_middleware
def either(get_response: Handler) -> Handler | Callable[[HttpRequest], Awaitable[Any]]:
    if asyncio.iscoroutinefunction(get_response):

        async def middleware(request: HttpRequest) -> Any:
            return await get_response(request)

        return middleware
    return get_response


def configure(view: Callable[..., Any], *, middleware: bool) -> None:
    """Set Django up with *view* for every path."""
    names = [f"{__name__}.either", f"{__name__}.in_thread"]
    settings.configure(
        ALLOWED_HOSTS=["*"],
        LOGGING_CONFIG=None,
        MIDDLEWARE=names if middleware else [],
        ROOT_URLCONF=(path("<path:_>", view),),
        SECRET_KEY="no secret",
    )
    django.setup()
