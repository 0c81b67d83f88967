"""What both directions of TLS are like: versions, ALPN, and who must prove what.

Verification of a destination cannot be switched off, so there is no argument for it.
"""

import ssl
from typing import Final, Literal

from sidecar.tls.alerts import AlertingContext
from sidecar.tls.files import TlsContents, TlsFileError, TlsPaths

ClientCertificate = Literal["off", "optional", "required"]

ALPN: Final = ("http/1.1",)

_VERIFY: Final = {
    "off": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


def server_context(
    paths: TlsPaths, contents: TlsContents, demand: ClientCertificate
) -> ssl.SSLContext:
    """Return what a listener speaks TLS with. Raises ``TlsFileError``."""
    context = AlertingContext(ssl.PROTOCOL_TLS_SERVER)
    _prepare(context)
    _load_pair(context, paths)
    if demand != "off":
        _load_authorities(context, contents)
    context.verify_mode = _VERIFY[demand]
    return context


def client_context(paths: TlsPaths, contents: TlsContents) -> ssl.SSLContext:
    """Return what a destination is spoken to with: its name and chain are checked.

    Without authorities of its own the system's are used. Raises ``TlsFileError``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which checks both
    _prepare(context)
    context.hostname_checks_common_name = False  # RFC 9110, 4.3.4
    if paths.ca:
        _load_authorities(context, contents)
    else:
        context.load_default_certs()
    if paths.certificate:
        _load_pair(context, paths)
    return context


def _prepare(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(ALPN)
    # Who is listed is trusted, an intermediate authority too: Envoy and Go do the same.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _load_pair(context: ssl.SSLContext, paths: TlsPaths) -> None:
    try:
        # A password would be asked for on the terminal.
        context.load_cert_chain(paths.certificate, paths.key, password=lambda: b"")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "unknown"
        said = str(reason).replace("_", " ").lower()
        raise TlsFileError("certificate", f"cannot be used with its key: {said}") from None


def _load_authorities(context: ssl.SSLContext, contents: TlsContents) -> None:
    # Bundles have comments between the certificates, and those may be in any encoding.
    text = contents.ca.decode("ascii", "replace").replace("\ufffd", "?")
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise TlsFileError("ca", "holds no certificate in PEM") from None
