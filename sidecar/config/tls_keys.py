"""The keys of TLS: of listeners, destinations and clients (``model.ListenerTls`` and its kin)."""

from datetime import UTC, datetime
from typing import Final

from sidecar.config import endpoints, values
from sidecar.config.kinds import INVALID, Choice, Invalid, Text
from sidecar.config.model import ClientTls, DestinationTls, ListenerTls
from sidecar.config.sections import REQUIRED, Fields, Key, Section, default_of

_PATH: Final = Text("path", values.file_path)


def _listener_tls(fields: Fields) -> ListenerTls | Invalid:
    has_ca = fields.entry("client_ca") is not None
    demand = fields.values.pop("client_certificate", None)
    if demand is None:
        demand = "required" if has_ca else "off"
    elif demand == "off" and has_ca:
        fields.error("client_certificate", "is `off`, so that `client_ca` would not be used")
    elif demand != "off" and not has_ca:
        fields.error("client_certificate", f"`{demand}` needs `client_ca` to check it against")
    _check_files(fields, "client_ca")
    return INVALID if fields.is_broken else ListenerTls(client_certificate=demand, **fields.values)


def _destination_tls(fields: Fields) -> DestinationTls | Invalid:
    for one, other in (("certificate", "key"), ("key", "certificate")):
        if fields.entry(one) is not None and fields.entry(other) is None:
            fields.error(one, f"needs `{other}` beside it")
    _check_files(fields, "ca")
    return INVALID if fields.is_broken else DestinationTls(**fields.values)


def _client_tls(fields: Fields) -> ClientTls | Invalid:
    _check_files(fields, "ca")
    return INVALID if fields.is_broken else ClientTls(**fields.values)


def _check_files(fields: Fields, ca: str) -> None:
    """Make paths absolute as seen from the file, and look into what they name."""
    keys = {"certificate": "certificate", "key": "key", "ca": ca}
    for key in keys.values():
        if (path := fields.values.get(key)) is not None:
            fields.values[key] = fields.place(key).resolve(path)
    if fields.reading.is_elsewhere:
        return
    # cryptography comes with it; a configuration without TLS does not need that here.
    from sidecar.tls.files import (
        TlsContents,
        TlsFileError,
        TlsPaths,
        check_authorities,
        check_pair,
        read,
    )

    contents: dict[str, bytes] = {}
    for role, key in keys.items():
        try:
            paths = TlsPaths(**{role: fields.values.get(key) or ""})
            contents[role] = getattr(read(paths), role)
        except TlsFileError as problem:
            fields.error(key, str(problem))
    if fields.is_broken:
        return
    found = TlsContents(**contents)
    try:
        if fields.values.get(ca):
            check_authorities(found)
        if fields.values.get("certificate"):
            concern = check_pair(found).concern(datetime.now(UTC))
            if concern:
                fields.reading.findings.warn(
                    fields.place("certificate"), fields.path_of("certificate"), concern
                )
    except TlsFileError as problem:
        fields.error(keys[problem.role], str(problem))


LISTENER_TLS: Final = Section(
    keys=(
        Key("certificate", _PATH,
            "Our certificate and its intermediates, in PEM. Relative to this file's directory; "
            "read again when it changes, like the others.", default=REQUIRED),
        Key("key", _PATH, "Its private key, in PEM, not encrypted.", default=REQUIRED),
        Key("client_ca", _PATH, "Authorities that vouch for callers' certificates, in PEM."),
        Key("client_certificate", Choice(("off", "optional", "required")),
            "Whether a caller shows a certificate. `optional`: none is fine, a bad one is not.",
            default_text="`required` with `client_ca`, else `off`"),
    ),
    build=_listener_tls,
)  # fmt: skip

DESTINATION_TLS: Final = Section(
    keys=(
        Key("ca", _PATH,
            "Authorities that vouch for the destination, in PEM, instead of the system's. Relative "
            "to this file's directory; read again when it changes, like the others.",
            default=default_of(DestinationTls, "ca"), default_text="the system's"),
        Key("server_name", Text("host", endpoints.host, endpoints.HOST_PATTERN),
            "Name sent (SNI) and required in its certificate.",
            default=default_of(DestinationTls, "server_name"), default_text="host of `upstream`"),
        Key("certificate", _PATH, "Certificate that we show, in PEM.",
            default=default_of(DestinationTls, "certificate")),
        Key("key", _PATH, "Its private key, in PEM, not encrypted.",
            default=default_of(DestinationTls, "key")),
    ),
    build=_destination_tls,
)  # fmt: skip

CLIENT_TLS: Final = Section(
    keys=(
        Key("certificate", _PATH,
            "The client's certificate and its intermediates, in PEM. Relative to this file's "
            "directory; read again when it changes, like the key.", default=REQUIRED),
        Key("key", _PATH, "Its private key, in PEM, not encrypted.", default=REQUIRED),
    ),
    build=_client_tls,
)  # fmt: skip
