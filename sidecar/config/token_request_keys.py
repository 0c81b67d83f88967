"""The keys of a destination's token, where it is another than the caller's own.

Owns what fits together: which kind of token is asked for, and with what. That the client exists is
checked when all clients are read.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sidecar.config import values
from sidecar.config.kinds import INVALID, Boolean, Choice, Invalid, ListOf, Schema, Text
from sidecar.config.mentions import Mention
from sidecar.config.model import DestinationRule
from sidecar.config.positions import BrokenNode, MappingNode, Node, under
from sidecar.config.problems import nearest
from sidecar.config.reading import Reading
from sidecar.config.sections import REQUIRED, Fields, Key, Section, default_of
from sidecar.config.values import Complaint
from sidecar.config.written import free_text
from sidecar.core.token_request import (
    ACCESS_TOKEN,
    JWT,
    TRANSACTION_TOKEN,
    Grant,
    TokenRequest,
)

TOKENS: Final = ("relay", "exchange", "jwt_bearer", "client_credentials", "file", "none")
GRANTS: Final[Mapping[str, Grant]] = {
    "exchange": "exchange",
    "jwt_bearer": "jwt_bearer",
    "client_credentials": "client_credentials",
}
"""Kinds of token that are asked for, and how."""

MAX_PARAMETERS: Final = 16

_TYPES: Final[Mapping[str, str]] = {
    "access_token": ACCESS_TOKEN,
    "jwt": JWT,
    "id_token": "urn:ietf:params:oauth:token-type:id_token",
    "txn_token": TRANSACTION_TOKEN,
}
_URI: Final = r"^[A-Za-z][A-Za-z0-9+.-]*:[!-~]{1,510}$"
_PARAMETER: Final = r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$"
_OURS: Final = frozenset(
    ("grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type",
     "subject_token", "subject_token_type", "actor_token", "actor_token_type",
     "requested_token_type", "assertion", "audience", "resource", "scope")
)  # fmt: skip
"""Parameters with a key of their own, or none on purpose."""


def _token_type(value: str) -> str:
    if (known := _TYPES.get(value)) is not None:
        return known
    if not re.fullmatch(_URI, value):
        words = ", ".join(_TYPES)
        raise Complaint(f"is neither a URI nor one of {words}", nearest(value, _TYPES))
    return value


def _shown_type(value: str) -> str:
    return next((word for word, uri in _TYPES.items() if uri == value), value)


def _resource(value: str) -> str:
    if not re.fullmatch(_URI, value) or "#" in value:
        raise Complaint("must be an absolute URI without fragment (RFC 8707, section 2)")
    return value


class _ParametersKind:
    """A map from names to values."""

    label = "map by parameter"
    bounds = f"{MAX_PARAMETERS} parameters"
    value: Final = free_text("string")

    def read(
        self, node: Node, path: str, reading: Reading
    ) -> tuple[tuple[str, str], ...] | Invalid:
        if isinstance(node, BrokenNode):
            return INVALID
        if not isinstance(node, MappingNode):
            message = "must be a map of parameters, as {requested_token_use: on_behalf_of}"
            reading.findings.error(node.place, path, message)
            return INVALID
        found: list[tuple[str, str]] = []
        for name, entry in node.entries.items():
            inside = under(path, name)
            value = self.value.read(entry.value, inside, reading)
            if name in _OURS:
                message = "has a key of its own, or follows from `token` and the client"
                reading.findings.error(entry.place, inside, message)
            elif not re.fullmatch(_PARAMETER, name):
                message = "this name must be 1 to 64 letters, digits, `_`, `.` or `-`"
                reading.findings.error(entry.place, inside, message)
            elif not isinstance(value, Invalid):
                found.append((name, value))
        if len(node.entries) > MAX_PARAMETERS:
            reading.findings.error(node.place, path, f"must not be more than {MAX_PARAMETERS}")
            return INVALID
        return tuple(found) if len(found) == len(node.entries) else INVALID

    def schema(self) -> Schema:
        return {
            "type": "object",
            "maxProperties": MAX_PARAMETERS,
            "propertyNames": {"pattern": _PARAMETER},
            "additionalProperties": self.value.schema(),
        }

    def show(self, value: Any) -> Any:
        return dict(value)


def _token_request(fields: Fields) -> TokenRequest | Invalid:
    actor, file = fields.values.get("actor"), fields.values.get("actor_file")
    if actor == "file" and file is None and fields.entry("actor_file") is None:
        fields.error("actor", "needs `actor_file`, the path of the actor's token")
    elif file is not None and actor is not None and actor != "file":
        fields.error("actor_file", "is read with `actor: file`")
    if fields.is_broken:
        return INVALID
    if file is None:
        del fields.values["actor_file"]
    else:
        fields.values["actor_file"] = fields.place("actor_file").resolve(file)
    # What is asked for follows from `token`, beside this section.
    return TokenRequest(grant="exchange", **fields.values)


_URIS: Final = Text("URI", _resource, _URI)
_AUDIENCES: Final = ListOf(free_text("string"))

TOKEN_REQUEST: Final = Section(
    keys=(
        Key("client", Mention(lambda draft: draft.client_names),
            "Who asks: a name under `clients`.", default=REQUIRED),
        Key("audience", _AUDIENCES, "For whom the token is to be (`audience`, RFC 8693).",
            default=default_of(TokenRequest, "audience"), default_text="not sent"),
        Key("resource", ListOf(_URIS), "Where it is to be used (`resource`, RFC 8707).",
            default=default_of(TokenRequest, "resource"), default_text="not sent"),
        Key("scopes", ListOf(Text("string", values.scope, is_free=True)),
            "What it is to be good for.",
            default=default_of(TokenRequest, "scopes"), default_text="not sent"),
        Key("requested_type", Text("`access_token`, `jwt`, or URI", _token_type,
                                   format=_shown_type),
            "Type of token asked for, with `token: exchange`; what comes back must be of it.",
            default=default_of(TokenRequest, "requested_type"), default_text="not sent"),
        Key("subject_type", Text("`access_token`, `jwt`, or URI", _token_type,
                                 format=_shown_type),
            "What the caller's token is called, with `token: exchange`.",
            default=default_of(TokenRequest, "subject_type")),
        Key("actor", Choice(("none", "client", "file")),
            "Who is said to act for the caller, with `token: exchange`: nobody, the client by a "
            "token that it gets for itself, or whoever `actor_file` is about.",
            default=default_of(TokenRequest, "actor")),
        Key("actor_file", Text("path", values.file_path),
            "The actor's token, read again when it changes. Relative to this file's directory.",
            default=None, default_text="none"),
        Key("subject_may_change", Boolean(),
            "Take a token with another `sub` than the caller's.",
            default=default_of(TokenRequest, "subject_may_change")),
        Key("accepted_audiences", _AUDIENCES,
            "One of them must be in `aud` of what comes back, if that is a JWT.",
            default=default_of(TokenRequest, "accepted_audiences"),
            default_text="those of `audience`"),
        Key("parameters", _ParametersKind(), "Sent besides, as a vendor wants it.",
            default=default_of(TokenRequest, "parameters"), default_text="none"),
    ),
    build=_token_request,
)  # fmt: skip

TOKEN_KEY: Final = Key(
    "token",
    Choice(TOKENS),
    "`relay` sends the token of the request that caused the call; `exchange` (RFC 8693) and "
    "`jwt_bearer` (RFC 7523) one that is obtained for its caller; `client_credentials` and `file` "
    "one of the service itself; `none` sends none.",
)
REQUEST_KEY: Final = Key(
    "token_request", TOKEN_REQUEST, "What is asked for, where a token is obtained.", default=None,
    default_text="none",
)  # fmt: skip
FILE_KEY: Final = Key(
    "token_file", Text("path", values.file_path),
    "With `token: file`, where the token is; read again when it changes. Relative to this file's "
    "directory.", default=None, default_text="none",
)  # fmt: skip

_FOR_EXCHANGE: Final = ("requested_type", "subject_type", "actor")


def settle_token(fields: Fields, without_context: str = "") -> None:
    """Hold the token of *fields* and what it is asked for with together, and report what lacks.

    *without_context* may ask for a token, too.
    """
    token = fields.values.get("token")
    if token is None:
        return
    wanted = (token, without_context)
    _settle_request(fields, token, wanted)
    file = fields.values.get("token_file")
    if "file" in wanted:
        if file is not None:
            fields.values["token_file"] = fields.place("token_file").resolve(file)
        elif fields.entry("token_file") is None:
            key = "token" if token == "file" else "without_context"  # noqa: S105 - a word
            fields.error(key, "needs `token_file`, the path of the token")
    elif file is not None:
        fields.error("token_file", "is read with `token: file`")


def _settle_request(fields: Fields, token: str, wanted: tuple[str, str]) -> None:
    request = fields.values.get("token_request")
    asked = [each for each in wanted if each in GRANTS]
    if not asked:
        if request is not None:
            fields.error(
                "token_request",
                "is for a token that is obtained: `token: exchange`, `jwt_bearer` or "
                "`client_credentials`",
            )
        return
    if request is None:
        if fields.entry("token_request") is None:
            key = "token" if token in GRANTS else "without_context"
            fields.error(key, "needs `token_request`, at least `token_request: {client: NAME}`")
        return
    request = replace(request, grant=GRANTS[asked[0]])
    default = TokenRequest("", "exchange")
    if request.grant != "exchange":
        for name in _FOR_EXCHANGE:
            if getattr(request, name) != getattr(default, name):
                message = f"`{name}` is for `token: exchange`"
                fields.error("token_request", message)
    fields.values["token_request"] = request


def _rule(fields: Fields) -> DestinationRule | Invalid:
    settle_token(fields)
    return INVALID if fields.is_broken else DestinationRule(**fields.values)


DESTINATION_RULE: Final = Section(
    keys=(
        Key("paths", ListOf(Text("path pattern", values.path_pattern)),
            "Where it holds: `/**` at the end is everything below, `*` or `{name}` one segment. "
            "Compared in lower case and without a trailing slash.", default=REQUIRED),
        Key("methods", ListOf(Text("method", values.method, values.METHOD_PATTERN)),
            "For which methods.", default=None, default_text="every method"),
        replace(TOKEN_KEY, default=REQUIRED),
        REQUEST_KEY,
        FILE_KEY,
    ),
    build=_rule,
)  # fmt: skip
