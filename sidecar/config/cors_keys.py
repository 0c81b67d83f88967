"""The keys of CORS, and how they become ``model.Cors``."""

import re
from typing import Final

from sidecar.config import values
from sidecar.config.endpoints import ORIGIN_PATTERN
from sidecar.config.kinds import INVALID, Boolean, Choice, Invalid, ListOf, Text
from sidecar.config.model import Cors
from sidecar.config.sections import Fields, Key, Section, default_of
from sidecar.config.values import Complaint

_ORIGIN: Final = re.compile(ORIGIN_PATTERN)


def allowed_origin(value: str) -> str:
    """Read an origin as browsers send it (Fetch, section 3.2), or ``*``."""
    if value == "*" or (_ORIGIN.fullmatch(value) and not value.endswith((":443", ":80"))):
        return value
    raise Complaint(
        "must be `*` or an origin as browsers send it: scheme and host in lower case, a port only "
        "where it is not the scheme's own, and nothing after it"
    )


def _cors(fields: Fields) -> Cors | Invalid:
    if fields.values.get("allow_credentials") and "*" in fields.values.get("allow_origins", ()):
        fields.error("allow_credentials", "excludes `*` in `allow_origins`: browsers refuse both")
    return INVALID if fields.is_broken else Cors(**fields.values)


CORS: Final = Section(
    keys=(
        Key("preflight", Choice(("enforce", "pass")),
            "`pass`: a preflight for a path and method that some rule is for goes to the app "
            "without a token. `enforce`: rules judge it like any request.",
            default=default_of(Cors, "preflight")),
        Key("allow_origins", ListOf(Text("origin", allowed_origin)),
            "Whose pages may read the sidecar's refusals, as `https://app.example`, or `*`.",
            default=default_of(Cors, "allow_origins"), default_text="nobody's"),
        Key("allow_credentials", Boolean(),
            "Refusals to requests with cookies may be read too.",
            default=default_of(Cors, "allow_credentials")),
        Key("expose_headers", ListOf(
                Text("field name", values.pseudonym, values.PSEUDONYM_PATTERN)),
            "Fields of refusals that pages may read, besides `WWW-Authenticate`, "
            "`x-sidecar-reason` and `x-sidecar-decision`.",
            default=default_of(Cors, "expose_headers"), default_text="none"),
    ),
    build=_cors,
)  # fmt: skip
