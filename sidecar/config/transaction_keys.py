"""The keys of transaction tokens, as ``model.TransactionTokens``, and what they must fit with.

An issuer of them is an entry of ``issuers`` with a profile of its own, so that its keys are found
and kept like any other's, while nothing it signs is ever an access token.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sidecar.config import values
from sidecar.config.identity_keys import HeadersKind, standard_names
from sidecar.config.kinds import INVALID, Boolean, Choice, Invalid, Text
from sidecar.config.model import (
    TRANSACTION_PROFILE,
    Identity,
    Inbound,
    Issuer,
    Outbound,
    TransactionTokens,
)
from sidecar.config.positions import MappingNode, under
from sidecar.config.problems import nearest
from sidecar.config.reading import Located
from sidecar.config.sections import REQUIRED, Fields, Key, Section, default_of
from sidecar.core.token_request import TRANSACTION_TOKEN

REQUEST: Final = "transaction_request"
_OF_ACCESS_TOKENS: Final = (
    "token_types", "roles_from", "scopes_from", "required_claims", "introspection",
)  # fmt: skip


def _tokens(fields: Fields) -> TransactionTokens | Invalid:
    if fields.is_broken:
        return INVALID
    tokens = TransactionTokens(**fields.values)
    located = Located(tokens, fields.place("issuer"), fields.path_of("issuer"))
    fields.reading.draft.transactions.append(located)
    return tokens


TRANSACTION_TOKENS: Final = Section(
    keys=(
        Key("issuer", Text("name", values.name, values.NAME_PATTERN),
            "Who issues them: a name under `issuers`, with `profile: transaction_token`. Its one "
            "`audiences` is the trust domain.", default=REQUIRED),
        Key("require", Boolean(),
            "Refuse requests that come with an access token and without a transaction token.",
            default=default_of(TransactionTokens, "require")),
        Key("subject", Choice(("any", "same")),
            "`same`: its `sub` must be the access token's. Within a trust domain the two may name "
            "one and the same in different ways, or the access token may be the calling "
            "service's.", default=default_of(TransactionTokens, "subject")),
        Key("headers", HeadersKind(),
            "What the app is told of it besides its `txn` in `x-auth-transaction`; as "
            "`inbound.identity.headers`.",
            default=default_of(TransactionTokens, "headers"), default_text="none"),
    ),
    build=_tokens,
)  # fmt: skip


def check_issuer(fields: Fields) -> None:
    """Report what an issuer of transaction tokens cannot have."""
    if fields.values.get("profile") != TRANSACTION_PROFILE:
        return
    for name in _OF_ACCESS_TOKENS:
        if fields.entry(name) is not None:
            fields.error(name, f"is for access tokens, not for `profile: {TRANSACTION_PROFILE}`")
    audiences = fields.values.get("audiences", ())
    if audiences is None or len(audiences) > 1:
        fields.error("audiences", "must be one trust domain: its tokens are good in no other")
    if fields.values.get("require_exp") is False:
        fields.error("require_exp", "must be true: a transaction has an end")


def settle_transaction(fields: Fields) -> None:
    """Hold a destination's transaction token and what it is asked for with together."""
    wanted, request = fields.values.get("transaction_token"), fields.values.get(REQUEST)
    given = fields.entry(REQUEST) is not None
    if wanted is None or (given and request is None):
        return
    if wanted != "request":
        if given:
            fields.error(REQUEST, "is for `transaction_token: request`")
        return
    if request is None:
        message = f"needs `{REQUEST}`: the client that asks, the trust domain, and the purpose"
        fields.error("transaction_token", message)
        return
    if len(request.audience) != 1:
        fields.error(REQUEST, "needs one `audience`: the trust domain")
    if not request.scopes:
        fields.error(REQUEST, "needs `scopes`: the purpose of the transaction")
    if request.requested_type:
        fields.error(REQUEST, "asks for a transaction token, whatever `requested_type`")
    fields.values[REQUEST] = replace(request, grant="exchange", requested_type=TRANSACTION_TOKEN)


def issues_no_access_tokens(issuers: Mapping[str, Issuer] | None) -> bool:
    """Whether no request can have an access token; ``None``: they could not be read."""
    return issuers is not None and all(
        each.profile == TRANSACTION_PROFILE for each in issuers.values()
    )


def check_headers(fields: Fields) -> None:
    """Report headers of ``inbound.transaction_tokens`` that ``identity`` has, too."""
    tokens: TransactionTokens | None = fields.values.get("transaction_tokens")
    identity: Identity | None = fields.values.get("identity")
    entry = fields.entry("transaction_tokens")
    if tokens is None or identity is None or entry is None:
        return
    usual = f"{identity.prefix}transaction"
    ours = {header.compared for header in identity.headers} | set(standard_names(identity.prefix))
    if identity.signed is not None:
        ours.add(identity.signed.header)
    if usual in ours:
        message = f"`{usual}` is a header of `identity` already, and tells of its `txn`"
        fields.error("transaction_tokens", message)
    assert isinstance(entry.value, MappingNode)
    written = entry.value.entries.get("headers")
    if written is None or not isinstance(written.value, MappingNode):
        return
    inside = under(fields.path_of("transaction_tokens"), "headers")
    for name, each in written.value.entries.items():
        if name.lower() in ours or name.lower() == usual:
            fields.is_broken = True
            fields.reading.findings.error(
                each.place, under(inside, name), "this name is taken: it is sent already"
            )


def check_transactions(fields: Fields) -> None:
    """Report what of the whole configuration does not fit together about transaction tokens."""
    draft, findings = fields.reading.draft, fields.reading.findings
    issuers: Mapping[str, Issuer] | None = fields.values.get("issuers")
    inbound: Inbound | None = fields.values.get("inbound")
    outbound: Outbound | None = fields.values.get("outbound")
    if issuers is not None:
        theirs = [n for n, each in issuers.items() if each.profile == TRANSACTION_PROFILE]
        for located in draft.transactions:
            if located.value.issuer not in theirs:
                message = f"names no issuer with `profile: {TRANSACTION_PROFILE}`"
                findings.error(
                    located.place, located.path, message, nearest(located.value.issuer, theirs)
                )
        for mentioned in draft.issuer_names:
            if mentioned.value in theirs:
                message = "issues transaction tokens, and no request is let in by one of those"
                findings.error(mentioned.place, mentioned.path, message)
        named = {located.value.issuer for located in draft.transactions}
        for name in theirs:
            if inbound is not None and name not in named:
                message = (
                    "issues transaction tokens that nobody looks at: "
                    f"`inbound.transaction_tokens: {{issuer: {name}}}` does"
                )
                findings.warn(fields.place("issuers"), under("issuers", name), message)
    if inbound is not None and outbound is not None and inbound.transaction_tokens is None:
        for destination in draft.destinations:
            if destination.value.transaction_token == "pass":  # noqa: S105 - a word
                message = (
                    "`transaction_token: pass` needs `inbound.transaction_tokens`: what nobody "
                    "verified is not passed on"
                )
                findings.error(destination.place, destination.path, message)
