"""Which failures to connect would be the same a moment later."""

import socket


class HandshakeError(ConnectionError):
    """TLS came to nothing: the two sides do not agree, and would not the next time."""


def is_lasting(error: OSError) -> bool:
    """Whether there would be no connection a moment later either."""
    if isinstance(error, socket.gaierror):
        return error.errno != socket.EAI_AGAIN
    return isinstance(error, HandshakeError)
