"""By which hosts and ports a forward proxy knows a destination."""

from collections.abc import Iterator

from sidecar.config.model import Destination

HTTP_PORT = 80


def authorities(destination: Destination) -> Iterator[tuple[str, int]]:
    """Yield host and port of every URL that means *destination*.

    Its name and its ``hosts`` have the usual port or the upstream's; the upstream has its own.
    Another port of the same host is another server, which no rule gave a token.
    """
    upstream = destination.upstream
    for host in dict.fromkeys((destination.name.lower(), *map(_bare, destination.hosts))):
        for port in dict.fromkeys((HTTP_PORT, upstream.port)):
            yield host, port
    yield upstream.host, upstream.port


def _bare(host: str) -> str:
    return host.lower().removeprefix("[").removesuffix("]")
