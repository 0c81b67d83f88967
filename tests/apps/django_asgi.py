"""Django as an ASGI app on uvicorn."""

from django.core.asgi import get_asgi_application

from . import django_site, uvicorn_run

if __name__ == "__main__":
    options = uvicorn_run.parser().parse_args()
    view = django_site.sync_view if options.endpoint == "sync" else django_site.async_view
    django_site.configure(view, middleware=options.middleware)
    uvicorn_run.run(get_asgi_application(), options)
