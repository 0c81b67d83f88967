"""The keys of one issuer, and how they become ``model.Issuer``."""

import os
from typing import Final

from sidecar.config import endpoints, token_keys, transaction_keys, values
from sidecar.config.introspection_keys import INTROSPECTION
from sidecar.config.kinds import INVALID, Boolean, Choice, Invalid, ListOf, Text, read_string
from sidecar.config.model import (
    ASYMMETRIC_ALGORITHMS,
    TRANSACTION_PROFILE,
    Discovery,
    Introspection,
    Issuer,
    JwksFile,
    JwksUri,
)
from sidecar.config.positions import Node, SequenceNode
from sidecar.config.reading import Located, Reading
from sidecar.config.sections import REQUIRED, Fields, Key, Section, default_of
from sidecar.config.written import duration, free_text
from sidecar.core.families import SPIFFE_SCHEME

DISCOVERY_SUFFIX: Final = "/.well-known/openid-configuration"
ANY_AUDIENCE: Final = "any"


class Audiences:
    """A list of audiences, or the word ``any``, which becomes ``None``."""

    label = "list of string, or `any`"
    bounds = ""
    _list = ListOf(free_text("string"))

    def read(self, node: Node, path: str, reading: Reading) -> tuple[str, ...] | Invalid | None:
        if isinstance(node, SequenceNode):
            return self._list.read(node, path, reading)
        match read_string(node, path, reading, "a list of audiences or the word any"):
            case Invalid():
                return INVALID
            case written if written.text == ANY_AUDIENCE:
                message = "`any` accepts a token that was issued for any other service"
                reading.findings.warn(node.place, path, message)
                return None
            case _:
                return self._list.read(node, path, reading)

    def schema(self) -> dict[str, object]:
        return {"anyOf": [{"const": ANY_AUDIENCE}, self._list.schema()]}

    def show(self, value: object) -> object:
        return value


def _build(fields: Fields) -> Issuer | Invalid:
    token_keys.check_family(fields)
    transaction_keys.check_issuer(fields)
    source = _source(fields)
    if "issuer" in fields.values:
        _note_issuer(fields)
    _bound_refresh(fields)
    _check_files(fields, source)
    if isinstance(asked := fields.values.get("introspection"), Introspection):
        _check_introspection(fields, asked, source)
    if fields.is_broken or source is None:
        return INVALID
    kept = {name: value for name, value in fields.values.items() if name not in _SOURCES}
    return Issuer(name=fields.name, keys=source, **kept)


_SOURCES: Final = ("jwks_uri", "jwks_file", "discovery_url")


def _source(fields: Fields) -> JwksFile | JwksUri | Discovery | None:
    given = [name for name in _SOURCES if fields.entry(name) is not None]
    for name in given[1:]:
        fields.error(name, f"is a second place for the keys, besides `{given[0]}`")
    match given:
        case ["jwks_file", *_]:
            path = fields.values.get("jwks_file")
            return _checked_file(fields, path) if path is not None else None
        case [name, *_]:
            url = fields.values.get(name)
            if url is None:
                return None
            _require_encryption(fields, name, url)
            return JwksUri(url) if name == "jwks_uri" else Discovery(url)
        case _:
            issuer = fields.values.get("issuer")
            if issuer is None:
                return None
            if issuer.startswith(SPIFFE_SCHEME):
                message = "has no discovery: name the trust bundle as `jwks_uri` or `jwks_file`"
                fields.error("issuer", message)
                return None
            _require_encryption(fields, "issuer", issuer)
            return Discovery(issuer.rstrip("/") + DISCOVERY_SUFFIX)


def _checked_file(fields: Fields, path: str) -> JwksFile | None:
    # cryptography comes with the key set; a file without keys on disk does not need it here.
    from sidecar.config.key_files import problem_with

    path = fields.place("jwks_file").resolve(path)
    if fields.reading.is_elsewhere:
        return JwksFile(path)
    if (problem := problem_with(path, token_keys.key_use(fields))) is not None:
        fields.error("jwks_file", problem)
    return JwksFile(path)


def _bound_refresh(fields: Fields) -> None:
    """Let the bounds hold the interval: those that were not written give way."""
    interval = fields.values.get("refresh_interval_seconds")
    for name, target, beyond in (
        ("refresh_min", "refresh_min_seconds", min),
        ("refresh_max", "refresh_max_seconds", max),
    ):
        bound = fields.values.get(target)
        if interval is None or bound is None or beyond(bound, interval) == bound:
            continue
        if fields.entry(name) is None:
            fields.values[target] = interval
        else:
            side = "above" if name == "refresh_min" else "below"
            fields.error(name, f"is {side} `refresh_interval`")


def _check_files(fields: Fields, source: JwksFile | JwksUri | Discovery | None) -> None:
    """Make paths absolute as seen from the file, and look into what they name."""
    for name in ("ca", "keys_cache"):
        path = fields.values.get(name)
        if path is None:
            continue
        asks = name == "ca" and fields.entry("introspection") is not None
        if isinstance(source, JwksFile) and not asks:
            fields.error(name, "is for keys that are fetched; `jwks_file` is on disk already")
        fields.values[name] = path = fields.place(name).resolve(path)
        if fields.reading.is_elsewhere:
            continue
        problem = problem_with_authorities(path) if name == "ca" else _problem_with_directory(path)
        if problem:
            fields.error(name, problem)


def problem_with_authorities(path: str) -> str:
    """Say why the authorities at *path* cannot be used, or nothing."""
    # cryptography comes with the check; a configuration without such a file does not need it.
    from sidecar.tls.files import TlsFileError, TlsPaths, check_authorities, read

    try:
        check_authorities(read(TlsPaths(ca=path)))
    except TlsFileError as problem:
        return str(problem)
    return ""


def _problem_with_directory(path: str) -> str:
    try:
        return "" if os.path.isdir(path) else "is not a directory"
    except ValueError:
        return "is not a path"


def _require_encryption(fields: Fields, key: str, url: str) -> None:
    if endpoints.is_plaintext(url) and not fields.values.get("allow_plaintext", True):
        message = (
            "keys would be fetched over http://, where anyone on the way can replace them; "
            "use https:// or write `allow_plaintext: true`"
        )
        fields.error(key, message)


def _check_introspection(
    fields: Fields, asked: Introspection, source: JwksFile | JwksUri | Discovery | None
) -> None:
    if asked.url is None and isinstance(source, JwksFile | JwksUri):
        message = "needs a `url`: without discovery nothing else names the endpoint"
        fields.error("introspection", message)
    is_plaintext = asked.url is not None and endpoints.is_plaintext(asked.url)
    if is_plaintext and not fields.values.get("allow_plaintext", True):
        message = (
            "would send tokens and the client's secret over http://, where anyone on the way can "
            "read them; use https:// or write `allow_plaintext: true`"
        )
        fields.error("introspection", message)
    if asked.about != "jwt":
        place, path = fields.place("introspection"), fields.path_of("introspection")
        fields.reading.draft.introspecting.append(Located(asked, place, path))


def _note_issuer(fields: Fields) -> None:
    issuer = fields.values["issuer"]
    place, path = fields.place("issuer"), fields.path_of("issuer")
    if fields.values.get("profile") != TRANSACTION_PROFILE:  # it may be another's, too
        fields.reading.draft.issuer_urls.append(Located(issuer, place, path))
    if endpoints.authority_of(issuer) != endpoints.authority_of(issuer).lower():
        message = "has an upper-case host; it is compared with `iss` exactly, letter by letter"
        fields.reading.findings.warn(place, path, message)


_URL = Text("URL", endpoints.url, endpoints.URL_PATTERN)

ISSUER: Final = Section(
    keys=(
        Key("issuer", Text("URL", token_keys.issuer, token_keys.ISSUER_PATTERN),
            "The `iss` claim, compared exactly. Without query and fragment. For `profile: spiffe` "
            "`spiffe://` and the trust domain.", default=REQUIRED),
        Key("audiences", Audiences(),
            "`aud` must hold one of them. `any` checks nothing and is warned about.",
            default=REQUIRED),
        Key("discovery_url", _URL,
            "Provider metadata that names the key set; its `issuer` must equal `issuer`.",
            default_text="`issuer` + `/.well-known/openid-configuration`"),
        Key("jwks_uri", _URL, "The key set itself, instead of discovery."),
        Key("jwks_file", Text("path", values.file_path),
            "A key set on disk, instead of discovery. Relative to this file's directory."),
        Key("algorithms",
            ListOf(Choice(
                ASYMMETRIC_ALGORITHMS,
                planned=("HS256", "HS384", "HS512"),
                never=(("none", "is never accepted"),),
            )),
            "Accepted values of `alg`; the key must allow it too.",
            default=default_of(Issuer, "algorithms"), default_text="all of them"),
        Key("profile",
            Choice(token_keys.PROFILES),
            "Whose tokens these are: where scopes and roles live, what every token must say "
            "([profiles](profiles.md)).", default=default_of(Issuer, "profile")),
        *token_keys.OVERRIDES,
        Key("leeway", duration(0, 300), "Clock difference tolerated in `exp`, `nbf` and `iat`.",
            "leeway_seconds", default_of(Issuer, "leeway_seconds")),
        Key("max_token_age", duration(1, 30 * 86400),
            "Refuse tokens issued longer ago than this (`iat`).", "max_token_age_seconds",
            default_of(Issuer, "max_token_age_seconds"), "unlimited"),
        Key("require_exp", Boolean(), "Refuse tokens without `exp`.",
            default=default_of(Issuer, "require_exp")),
        Key("hygiene", token_keys.HYGIENE,
            "What is worth a warning in tokens that are good.",
            default=default_of(Issuer, "hygiene"), default_text="nothing"),
        Key("refresh_interval", duration(10, 86400),
            "Time between two fetches of the keys where the answer has no `max-age`.",
            "refresh_interval_seconds", default_of(Issuer, "refresh_interval_seconds")),
        Key("refresh_min", duration(10, 86400),
            "Least time between two fetches, whatever the answer says.",
            "refresh_min_seconds", default_of(Issuer, "refresh_min_seconds")),
        Key("refresh_max", duration(10, 86400),
            "Most time between two fetches, whatever the answer says: so long may a key still be "
            "accepted that the issuer withdrew.",
            "refresh_max_seconds", default_of(Issuer, "refresh_max_seconds")),
        Key("stale_for", duration(60, 30 * 86400),
            "How long keys stay in force while the issuer cannot be asked; then 503.",
            "stale_for_seconds", default_of(Issuer, "stale_for_seconds")),
        Key("startup", Choice(("wait", "serve")),
            "`wait`: ready only while there are keys. `serve`: ready without, and tokens get 503.",
            default=default_of(Issuer, "startup")),
        Key("keys_cache", Text("path", values.file_path),
            "Directory for a copy of the fetched keys, used at a start while the issuer is down.",
            default=default_of(Issuer, "keys_cache"), default_text="none"),
        Key("ca", Text("path", values.file_path),
            "Authorities (PEM) that vouch for the issuer's servers; read again when it changes.",
            default=default_of(Issuer, "ca"), default_text="the system's"),
        Key("refresh_cooldown", duration(1, 3600),
            "Least time between two fetches that unknown `kid` values may cause.",
            "refresh_cooldown_seconds", default_of(Issuer, "refresh_cooldown_seconds")),
        Key("allow_plaintext", Boolean(),
            "Permit `http://` beyond loopback when fetching keys and introspecting.",
            default=default_of(Issuer, "allow_plaintext")),
        Key("introspection", INTROSPECTION,
            "Ask the issuer about tokens (RFC 7662): those that are no JWT, or all.",
            default=default_of(Issuer, "introspection"), default_text="off"),
    ),
    build=_build,
)  # fmt: skip
