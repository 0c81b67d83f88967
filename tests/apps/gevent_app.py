"""A WSGI app on gevent's own server, everything monkey-patched."""

from gevent import monkey

monkey.patch_all()

from gevent.pywsgi import WSGIServer  # noqa: E402  # patched first

from . import ports  # noqa: E402
from .wsgi import application  # noqa: E402

if __name__ == "__main__":
    port = ports.parser().parse_args().port
    server = WSGIServer(("127.0.0.1", port), application, log=None, error_log=None)
    server.start()
    ports.announce(server.server_port)
    server.serve_forever()
