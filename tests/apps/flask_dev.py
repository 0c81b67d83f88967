"""Flask on werkzeug's development server."""

import logging

import flask
from werkzeug.serving import WSGIRequestHandler, make_server

from . import handoffs, ports

app = flask.Flask(__name__)


class KeepAlive(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"


@app.get("/<path:_>")
def respond(_: str) -> flask.Response:
    target = handoffs.wsgi_target(flask.request.environ)
    name, out = handoffs.split(target)
    if name == "stream":
        stream = handoffs.Stream(out)
        response = flask.Response(iter(stream))
        response.call_on_close(stream.close)
        return response
    status, body = handoffs.respond(target)
    return flask.Response(body, status)


if __name__ == "__main__":
    logging.disable()
    port = ports.parser().parse_args().port
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=KeepAlive)
    ports.announce(server.server_port)
    server.serve_forever()
