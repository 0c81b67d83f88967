"""Django as a WSGI app, on its development server or on waitress."""

import logging

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application

from . import django_site, ports

if __name__ == "__main__":
    parser = ports.parser()
    parser.add_argument("server", nargs="?", choices=["runserver", "waitress"], default="runserver")
    parser.add_argument("--view", choices=["sync", "async"], default="sync")
    parser.add_argument("--middleware", action="store_true")
    options = parser.parse_args()
    logging.disable()
    view = django_site.sync_view if options.view == "sync" else django_site.async_view
    django_site.configure(view, middleware=options.middleware)
    application = get_wsgi_application()
    if options.server == "waitress":
        from waitress.server import create_server

        waitress = create_server(application, host="127.0.0.1", port=options.port, threads=16)
        ports.announce(waitress.effective_port)
        waitress.run()
    else:
        ThreadedWSGIServer.request_queue_size = 256
        server = ThreadedWSGIServer(("127.0.0.1", options.port), WSGIRequestHandler)
        server.set_app(application)
        ports.announce(server.server_port)
        server.serve_forever()
