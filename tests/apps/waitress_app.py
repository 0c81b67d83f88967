"""A WSGI app on waitress."""

import logging

from waitress.server import create_server

from . import ports
from .wsgi import application

if __name__ == "__main__":
    logging.disable()
    port = ports.parser().parse_args().port
    server = create_server(application, host="127.0.0.1", port=port, threads=16)
    ports.announce(server.effective_port)
    server.run()
