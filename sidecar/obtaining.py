"""Where the tokens of destinations come from under one configuration.

A part of ``sidecar.wiring``: which source serves which calls. Obtaining and keeping tokens belongs
to ``sidecar.credentials``.
"""

from sidecar import settings
from sidecar.config import model
from sidecar.core.token_request import TokenRequest
from sidecar.outbound.token_choice import Source, TokenChoice, TokenChoices


def token_choices(destination: model.Destination) -> TokenChoices:
    """Return what the calls to *destination* get, by method and path."""
    own = _own(destination)

    def choice(
        token: model.TokenKind, request: TokenRequest | None, file: str | None
    ) -> TokenChoice:
        return TokenChoice(
            settings.destination_rules(destination, token),
            token,
            source=_source(token, request, file),
            for_caller=token in ("exchange", "jwt_bearer"),
            own=own,
            own_kind=destination.without_context,
            asked_for="" if request is None else " ".join(request.audience),
            audiences=destination.own_audiences if token == "relay" else frozenset(),  # noqa: S105 - a choice
        )

    return TokenChoices(
        choice(destination.token, destination.token_request, destination.token_file),
        [
            (
                rule.paths,
                None if rule.methods is None else frozenset(m.encode() for m in rule.methods),
                choice(rule.token, rule.token_request, rule.token_file),
            )
            for rule in destination.rules
        ],
    )


def _own(destination: model.Destination) -> Source | None:
    if destination.without_context not in ("client_credentials", "file"):
        return None
    raise NotImplementedError


def _source(
    token: model.TokenKind, request: TokenRequest | None, file: str | None
) -> Source | None:
    if token in ("relay", "none"):
        return None
    raise NotImplementedError
