"""Who is asked for tokens of destinations under one configuration.

Owns how much of it outlives that configuration: an endpoint that is asked in the same way keeps its
circuit, its turns and what the server said of when to ask again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from weakref import WeakSet

from sidecar.config.model import Client, Config, Discovery, Issuer
from sidecar.credentials.token_endpoint import (
    EndpointUnknownError,
    Surroundings,
    TokenEndpoint,
    Whereabouts,
)
from sidecar.issuers.endpoints import (
    DiscoveredEndpoint,
    GivenEndpoint,
    mtls_token_endpoint_of,
    token_endpoint_of,
)
from sidecar.issuers.sources import SourceError
from sidecar.standing import Standing


@dataclass(frozen=True, slots=True)
class _Asked:
    """What makes an endpoint the one that it is."""

    client: Client
    discovery_url: str
    issuer: str
    allow_plaintext: bool
    ca: str | None


class TokenEndpoints(Mapping[str, TokenEndpoint]):
    """Those of one configuration, by the name of the client."""

    def __init__(
        self, config: Config, standing: Standing, before: "TokenEndpoints | None" = None
    ) -> None:
        self._asked = {
            name: _asked(client, config.issuers) for name, client in config.clients.items()
        }
        self._standing = standing
        self._ever: Final[WeakSet[TokenEndpoint]] = WeakSet() if before is None else before._ever
        """Earlier ones too: what is in progress under an earlier configuration ends under it."""
        self._endpoints = {
            name: self._endpoint(asked, before) for name, asked in self._asked.items()
        }

    def __getitem__(self, name: str) -> TokenEndpoint:
        return self._endpoints[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._endpoints)

    def __len__(self) -> int:
        return len(self._endpoints)

    async def close(self) -> None:
        """Ask nobody any more, under earlier configurations neither."""
        for each in list(self._ever):
            await each.close()

    def _endpoint(self, asked: _Asked, before: "TokenEndpoints | None") -> TokenEndpoint:
        name = asked.client.name
        if before is not None and before._asked.get(name) == asked:
            return before[name]
        standing = self._standing
        endpoint = TokenEndpoint(
            asked.client,
            self._whereabouts(asked),
            Surroundings(standing.fetcher, standing.clock, standing.wall_clock, standing.jitter),
            issuer=asked.issuer,
            allow_plaintext=asked.allow_plaintext,
            ca=asked.ca,
            report=standing.metrics.token_endpoint(name),
        )
        self._ever.add(endpoint)
        return endpoint

    def _whereabouts(self, asked: _Asked) -> Whereabouts:
        if not asked.discovery_url:
            return GivenEndpoint(asked.client.token_endpoint)
        return _Discovered(
            DiscoveredEndpoint(
                asked.discovery_url,
                self._standing.fetcher,
                issuer=asked.issuer,
                allow_plaintext=asked.allow_plaintext,
                ca=asked.ca,
                clock=self._standing.clock,
                find=token_endpoint_of if asked.client.tls is None else mtls_token_endpoint_of,
            )
        )


class _Discovered:
    """What provider metadata say, in the words of whoever asks for tokens."""

    def __init__(self, endpoint: DiscoveredEndpoint) -> None:
        self._endpoint = endpoint
        self.named_by = endpoint.named_by

    async def url(self) -> str:
        try:
            return await self._endpoint.url()
        except SourceError as error:
            raise EndpointUnknownError(
                str(error), misconfigured=error.kind == "issuer_mismatch"
            ) from None


def _asked(client: Client, issuers: Mapping[str, Issuer]) -> _Asked:
    if not client.issuer:
        return _Asked(client, "", "", client.allow_plaintext, client.ca)
    issuer = issuers[client.issuer]
    assert isinstance(issuer.keys, Discovery)  # else the configuration is refused
    return _Asked(
        client,
        issuer.keys.url,
        issuer.issuer,
        client.allow_plaintext or issuer.allow_plaintext,
        client.ca or issuer.ca,
    )
