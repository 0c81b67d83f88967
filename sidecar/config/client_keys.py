"""The keys of one client, and how they become ``model.Client``.

Owns what goes with which way to authenticate. That destinations name clients there are belongs to
``sidecar.config.outbound_keys``.
"""

from collections.abc import Mapping
from typing import Final

from sidecar.config import endpoints, values
from sidecar.config.issuer_keys import problem_with_authorities
from sidecar.config.kinds import INVALID, Boolean, Choice, Integer, Invalid, Text
from sidecar.config.model import Client, Discovery, Issuer
from sidecar.config.problems import Findings, nearest, quoted
from sidecar.config.reading import Draft, Located
from sidecar.config.references import ReferenceProblem, read_regular_file
from sidecar.config.secrets import Secret
from sidecar.config.sections import REQUIRED, Fields, Key, Section, default_of
from sidecar.config.tls_keys import CLIENT_TLS
from sidecar.config.written import duration, free_text

MAX_ASSERTION_BYTES: Final = 16 * 1024

_NEEDED: Final = {
    "client_secret_basic": "client_secret",
    "client_secret_post": "client_secret",
    "private_key_jwt": "key",
    "client_assertion_file": "assertion_file",
    "tls_client_auth": "tls",
}
_ALLOWED: Final = {
    "client_secret": ("client_secret_basic", "client_secret_post"),
    "key": ("private_key_jwt",),
    "algorithm": ("private_key_jwt",),
    "key_id": ("private_key_jwt",),
    "certificate": ("private_key_jwt",),
    "assertion_audience": ("private_key_jwt",),
    "assertion_file": ("client_assertion_file",),
}
"""``tls`` is for all of them: an endpoint may demand a certificate besides."""
_ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip


def _client(fields: Fields) -> Client | Invalid:
    _check_endpoint(fields)
    _check_authentication(fields)
    _check_files(fields)
    return INVALID if fields.is_broken else Client(name=fields.name, **fields.values)


def _check_endpoint(fields: Fields) -> None:
    given = [name for name in ("issuer", "token_endpoint") if fields.entry(name) is not None]
    if not given:
        message = "is required, or `token_endpoint`: one of them says where tokens are asked for"
        fields.error("issuer", message)
    elif len(given) > 1:
        fields.error("token_endpoint", "is a second place to ask, besides `issuer`")
    if (issuer := fields.values.get("issuer")) and len(given) == 1:
        place, path = fields.place("issuer"), fields.path_of("issuer")
        fields.reading.draft.client_issuers.append(Located(issuer, place, path))
    url = fields.values.get("token_endpoint")
    if not url:
        return
    if endpoints.is_plaintext(url) and not fields.values.get("allow_plaintext", True):
        message = (
            "would send tokens and the client's credential over http://, where anyone on the way "
            "can read them; use https:// or write `allow_plaintext: true`"
        )
        fields.error("token_endpoint", message)
    elif fields.entry("tls") is not None and not url.startswith("https://"):
        fields.error("tls", "would not be used: only over https:// a certificate is shown")
    if fields.values.get("assertion_audience") == "issuer":
        message = "`issuer` stands for the URL of `issuer`, which is not written; write the URL"
        fields.error("assertion_audience", message)


def _check_authentication(fields: Fields) -> None:
    auth = fields.values.get("auth")
    if auth is None:
        return
    foreign = [
        name
        for name, allowed in _ALLOWED.items()
        if fields.entry(name) is not None and auth not in allowed
    ]
    if foreign and fields.entry("auth") is None:
        allowed = _ALLOWED[foreign[0]][0]
        fields.error(foreign[0], f"needs `auth: {allowed}` beside it; without it, a secret is sent")
        return
    for name in foreign:
        goes_with = " or ".join(f"`auth: {each}`" for each in _ALLOWED[name])
        fields.error(name, f"would not be used with `auth: {auth}`; it goes with {goes_with}")
    needed = _NEEDED.get(auth)
    if needed is not None and fields.entry(needed) is None:
        fields.error(needed, f"is required with `auth: {auth}`")


def _check_files(fields: Fields) -> None:
    """Make paths absolute as seen from the file, and look into what they name."""
    for name in ("key", "certificate", "assertion_file", "ca"):
        if fields.values.get(name):
            fields.values[name] = fields.place(name).resolve(fields.values[name])
    if fields.reading.is_elsewhere:
        return
    if path := fields.values.get("key"):
        algorithm = fields.values.get("algorithm", "")
        certificate = fields.values.get("certificate", "")
        if (found := _problem_with_key(path, algorithm, certificate)) is not None:
            fields.error(*found)
    if (path := fields.values.get("ca")) and (cause := problem_with_authorities(path)):
        fields.error("ca", cause)
    if path := fields.values.get("assertion_file"):
        try:
            read_regular_file(path, MAX_ASSERTION_BYTES)
        except ReferenceProblem as problem:
            # Whoever writes it may start after us.
            fields.reading.findings.warn(
                fields.place("assertion_file"),
                fields.path_of("assertion_file"),
                f"{problem}; until it can be, no token is obtained",
            )


def _problem_with_key(path: str, algorithm: str, certificate: str) -> tuple[str, str] | None:
    """Return which of the keys names a file that cannot be used, and why."""
    # cryptography comes with it; a configuration without such a key does not need it here.
    from sidecar.core.assertion_key import (
        MAX_KEY_FILE_BYTES,
        read_assertion_key,
        read_key_certificate,
    )

    at = "key"
    try:
        key = read_assertion_key(read_regular_file(path, MAX_KEY_FILE_BYTES), algorithm=algorithm)
        if certificate:
            at = "certificate"
            held = read_key_certificate(read_regular_file(certificate, MAX_KEY_FILE_BYTES))
            if not key.fits(held):
                return at, "is not one of `key`"
    except (ReferenceProblem, ValueError) as problem:
        return at, str(problem)
    return None


def check_client_issuers(
    draft: Draft, known: Mapping[str, object], issuers: Mapping[str, Issuer], findings: Findings
) -> None:
    """Report issuers of clients that are not *known*, or do not say where to ask for tokens."""
    for located in draft.client_issuers:
        if located.value not in known:
            message = f"{quoted(located.value)} is none of `issuers`"
            findings.error(located.place, located.path, message, nearest(located.value, known))
        elif (issuer := issuers.get(located.value)) and not isinstance(issuer.keys, Discovery):
            message = (
                f"{quoted(located.value)} has no discovery, which would name its token endpoint; "
                "write `token_endpoint` here instead"
            )
            findings.error(located.place, located.path, message)


_PATH: Final = Text("path", values.file_path)

CLIENT: Final = Section(
    keys=(
        Key("issuer", free_text("name"),
            "One of `issuers`: its discovery document names the token endpoint. This or "
            "`token_endpoint`."),
        Key("token_endpoint", Text("URL", endpoints.url, endpoints.URL_PATTERN),
            "Where tokens are asked for."),
        Key("client_id", free_text("string"), "Who asks.", default=REQUIRED),
        Key("auth", Choice((*_NEEDED, "none"), planned=("client_secret_jwt",)),
            "How the client shows who it is ([clients](clients.md)).",
            default=default_of(Client, "auth")),
        Key("client_secret", Secret(), "Its secret, by reference; for `client_secret_basic` and "
            "`client_secret_post`."),
        Key("key", _PATH,
            "Private key (PEM, not encrypted, or one JWK) with which `private_key_jwt` signs. "
            "Relative to this file's directory; read again when it changes, like the others."),
        Key("algorithm", Choice(_ALGORITHMS, never=(("none", "is never used"),)),
            "`alg` of that signature.",
            default_text="that of the JWK, else RS256, EdDSA or the curve's"),
        Key("key_id", free_text("string"), "`kid` of that signature.",
            default_text="that of the JWK, else none"),
        Key("certificate", _PATH,
            "Certificate (PEM) of that key, whose thumbprint goes along (`x5t#S256`): Entra knows "
            "keys by it."),
        Key("assertion_audience", free_text("`token_endpoint`, `issuer` or string"),
            "`aud` of that assertion: the URL of the token endpoint or of the issuer, or what "
            "is written.", default=default_of(Client, "assertion_audience")),
        Key("assertion_file", _PATH,
            "A JWT that says who the client is, such as a projected service account token of "
            "Kubernetes; for `client_assertion_file`."),
        Key("tls", CLIENT_TLS,
            "The certificate shown to the endpoint; alone with `tls_client_auth`, or besides.",
            default=default_of(Client, "tls"), default_text="none"),
        Key("ca", _PATH, "Authorities (PEM) that vouch for the endpoint, instead of the system's.",
            default=default_of(Client, "ca"), default_text="those of `issuer`, else the system's"),
        Key("allow_plaintext", Boolean(),
            "Permit `http://` beyond loopback; that of `issuer` permits it, too.",
            default=default_of(Client, "allow_plaintext")),
        Key("timeout", duration(0.1, 30), "Longest wait for an answer, and before it for a turn.",
            "timeout_seconds", default_of(Client, "timeout_seconds")),
        Key("retries", Integer(0, 5),
            "Further attempts where none was answered, or with 502, 503 or 504; all of them "
            "together at most a fifth of what is asked.", default=default_of(Client, "retries")),
        Key("max_concurrent", Integer(1, 1000), "Requests under way at once.",
            default=default_of(Client, "max_concurrent")),
        Key("max_waiting", Integer(0, 100_000), "Requests waiting for their turn; more are 503.",
            default=default_of(Client, "max_waiting")),
    ),
    build=_client,
)  # fmt: skip
