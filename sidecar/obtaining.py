"""Where the tokens of destinations come from under one configuration.

Which source serves which calls. Asking for tokens and keeping them belongs to
``sidecar.credentials``, and which calls there are to ``sidecar.outbound``.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sidecar import settings
from sidecar.config import model
from sidecar.core.token_request import TokenRequest
from sidecar.outbound.token_choice import Source, TokenChoice, TokenChoices
from sidecar.standing import Standing

if TYPE_CHECKING:
    from sidecar.credentials.token_endpoint import TokenEndpoint
    from sidecar.credentials.token_file import TokenFile
    from sidecar.credentials.token_source import TokenSource
    from sidecar.credentials.transaction_source import TransactionSource

# Most pods relay tokens and need none of these sources: what is imported here takes memory in each.


class Obtaining:
    """The sources of one configuration. What they hold outlives it (``Standing.obtained``)."""

    def __init__(
        self, config: model.Config, standing: Standing, endpoints: "Mapping[str, TokenEndpoint]"
    ) -> None:
        """*endpoints* are what asks for tokens, by the client's name."""
        self._config = config
        self._standing = standing
        self._endpoints = endpoints

    def choices(self, destination: model.Destination) -> TokenChoices:
        """Return what the calls to *destination* get, by method and path."""
        own = self._own(destination)
        return TokenChoices(
            self._choice(destination, destination, own),
            [
                (
                    rule.paths,
                    None if rule.methods is None else frozenset(m.encode() for m in rule.methods),
                    self._choice(destination, rule, own),
                )
                for rule in destination.rules
            ],
        )

    def transactions(self, destination: model.Destination) -> "TransactionSource | None":
        """Return where its calls get a transaction token whose request came without one."""
        request = destination.transaction_request
        if request is None:
            return None
        standing = self._standing
        from sidecar.credentials.transaction_source import TransactionSource

        return TransactionSource(
            request,
            tokens=standing.obtained,
            ask=self._endpoints[request.client].ask,
            clock=standing.clock,
            wall_clock=standing.wall_clock,
            report=standing.metrics.token_exchanges(destination.name),
        )

    def _choice(
        self,
        destination: model.Destination,
        part: model.Destination | model.DestinationRule,
        own: Source | None,
    ) -> TokenChoice:
        """Return what *part* of the destination gets: one of its rules, or the rest."""
        request = part.token_request
        return TokenChoice(
            settings.destination_rules(destination, part.token),
            part.token,
            source=self._source(destination.name, part),
            for_caller=part.token in ("exchange", "jwt_bearer"),
            own=own,
            own_kind=destination.without_context,
            audiences=destination.own_audiences if part.token == "relay" else frozenset(),  # noqa: S105
            asked_for="" if request is None else " ".join(request.audience),
        )

    def _source(self, name: str, part: model.Destination | model.DestinationRule) -> Source | None:
        if part.token == "file":  # noqa: S105 - a choice
            assert part.token_file is not None
            return self._file(name, part.token_file)
        if part.token in ("relay", "none"):
            return None
        assert part.token_request is not None
        return self._asked(name, part.token_request)

    def _own(self, destination: model.Destination) -> Source | None:
        if destination.without_context == "file":
            assert destination.token_file is not None
            return self._file(destination.name, destination.token_file)
        if destination.without_context == "client_credentials":
            return self._asked(destination.name, settings.own_request(destination))
        return None

    def _file(self, destination: str, path: str) -> "TokenFile":
        from sidecar.credentials.token_file import TokenFile

        standing = self._standing
        return TokenFile(
            path,
            clock=standing.clock,
            wall_clock=standing.wall_clock,
            report=standing.metrics.token_exchanges(destination),
        )

    def _asked(self, destination: str, request: TokenRequest) -> "TokenSource":
        from sidecar.credentials.token_source import TokenSource, generation_of

        standing = self._standing
        client = self._config.clients[request.client]
        return TokenSource(
            request,
            # Who asks and where: the name under which that is written changes nothing.
            generation=generation_of(replace(client, name=""), self._issuer(client)),
            tokens=standing.obtained,
            ask=self._endpoints[request.client].ask,
            kept=self._config.obtained_tokens,
            clock=standing.clock,
            wall_clock=standing.wall_clock,
            random=standing.jitter,
            report=standing.metrics.token_exchanges(destination),
            is_bound=client.tls is not None,
        )

    def _issuer(self, client: model.Client) -> str:
        """Return whose token endpoint the client asks, where it is found by discovery."""
        name = client.issuer
        return self._config.issuers[name].issuer if name else ""
