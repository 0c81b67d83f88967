"""The keys of ``log.decisions``: which decisions are recorded, and what is hidden in them."""

from typing import Final

from sidecar.config import values
from sidecar.config.kinds import INVALID, Choice, Integer, Invalid, ListOf, Text
from sidecar.config.model import Decisions
from sidecar.config.secrets import Secret
from sidecar.config.sections import Fields, Key, Section, default_of
from sidecar.config.token_keys import claim_path
from sidecar.config.written import size
from sidecar.core.claim_paths import ClaimPath, show_claim_path

_NEVER_HIDDEN: Final = frozenset(
    {"iss", "aud", "exp", "iat", "nbf", "acr", "auth_time", "scope", "scp", "roles"}
)
"""What verdicts hang on and a hash would make unreadable."""


def _decisions(fields: Fields) -> Decisions | Invalid:
    if (path := fields.values.get("file")) is not None:
        fields.values["file"] = fields.place("file").resolve(path)
    else:
        for name in ("max_size", "keep"):
            if fields.entry(name) is not None:
                fields.error(name, "is for a `file`; standard output is not ours to rotate")
    for claim in fields.values.get("redact", ()):
        _check_hidden(claim, fields)
    if fields.values.get("redact_key") and not fields.values.get("redact"):
        fields.error("redact_key", "needs `redact`, which says what is hidden with it")
    return INVALID if fields.is_broken else Decisions(**fields.values)


def _check_hidden(claim: ClaimPath, fields: Fields) -> None:
    shown = show_claim_path(claim)
    if claim[0] in _NEVER_HIDDEN:
        fields.error("redact", f"holds `{shown}`, which is needed to decide again")
    elif claim == ("act",):
        fields.error("redact", "holds `act`, which is an object", "act.sub")


_CLAIMS: Final = ListOf(Text("claim path", claim_path, is_free=True))

DECISIONS: Final = Section(
    keys=(
        Key("what", Choice(("all", "refusals", "off")),
            "Which decisions are recorded; to replay other rules takes `all`.",
            default=default_of(Decisions, "what")),
        Key("file", Text("path", values.file_path),
            "Where to, relative to this file's directory, which must exist. Created for the "
            "sidecar's own user alone.",
            default=default_of(Decisions, "file"), default_text="standard output"),
        Key("max_size", size(64 << 10, 1 << 40),
            "Size at which the file becomes `FILE.1`, that one `FILE.2`, and so on.",
            "max_size_bytes", default_of(Decisions, "max_size_bytes")),
        Key("keep", Integer(0, 100),
            "Older files kept; the oldest is removed. `0` starts the file anew.",
            default=default_of(Decisions, "keep")),
        Key("claims", _CLAIMS,
            "Claims recorded besides those that conditions of rules ask for, so that rules to "
            "come can be replayed: `tenant`, `address.country`.",
            default=default_of(Decisions, "claims"), default_text="none"),
        Key("redact", _CLAIMS,
            "Claims recorded as a hash, also where they are a segment of the path: `sub`, `email`.",
            default=default_of(Decisions, "redact"), default_text="none"),
        Key("redact_key", Secret(),
            "Key of the hash, by reference. Without it whoever can guess a value can recognise it.",
            default=default_of(Decisions, "redact_key"), default_text="unkeyed"),
    ),
    build=_decisions,
)  # fmt: skip
