"""Certificates, keys and authorities on disk: read within bounds and held against each other.

Owns what a set of files must be to be used. When to look again belongs to ``sidecar.tls.rotation``,
where a path was configured to ``sidecar.config``.
"""

import os
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

MAX_FILE_BYTES: Final = 1 << 20
"""A system's bundle of authorities has a quarter of it."""

Role = Literal["certificate", "key", "ca"]


@dataclass(frozen=True, slots=True)
class TlsPaths:
    """Which files one endpoint uses; empty where it has none. A certificate comes with its key."""

    certificate: str = ""
    key: str = ""
    ca: str = ""
    """Authorities that vouch for the other side."""


@dataclass(frozen=True, slots=True)
class TlsContents:
    """What was in them at one moment."""

    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)
    ca: bytes = b""


@dataclass(frozen=True, slots=True)
class Validity:
    """When all certificates of a chain are valid, and whether they are."""

    starts: datetime
    ends: datetime

    def concern(self, now: datetime) -> str:
        """Return what an operator should hear about it, or nothing.

        The last tenth of its time is late for every usual rotation: an hour's certificate is
        replaced at the half, one of ninety days at two thirds.
        """
        if now >= self.ends:
            return f"expired at {_shown(self.ends)}"
        if now < self.starts:
            return f"is not valid before {_shown(self.starts)}"
        if (self.ends - now) * 10 < self.ends - self.starts:
            return f"expires at {_shown(self.ends)}, in less than a tenth of its lifetime"
        return ""


class TlsFileError(Exception):
    """A file cannot be used. The message is one line without the path; *role* says which it is."""

    def __init__(self, role: Role, message: str) -> None:
        super().__init__(message)
        self.role: Role = role


def read(paths: TlsPaths) -> TlsContents:
    """Return the contents of all files. Raises ``TlsFileError``. May block."""
    return TlsContents(
        _content("certificate", paths.certificate),
        _content("key", paths.key),
        _content("ca", paths.ca),
    )


def check_pair(contents: TlsContents) -> Validity:
    """Return when the certificate chain is valid, having checked that the key is its first one's.

    Raises ``TlsFileError``.
    """
    # Both take a while to import, and a configuration without TLS needs neither.
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        chain = x509.load_pem_x509_certificates(contents.certificate)
    except ValueError:
        raise TlsFileError("certificate", "holds no certificate in PEM") from None
    try:
        key = load_pem_private_key(contents.key, password=None)
    except TypeError:
        raise TlsFileError(
            "key", "is encrypted, and there is nobody to ask for a password"
        ) from None
    except Exception:  # cryptography has several, and says that there may be more
        raise TlsFileError("key", "holds no usable private key in PEM") from None
    if key.public_key() != chain[0].public_key():
        raise TlsFileError("key", "does not fit the certificate")
    return Validity(
        max(each.not_valid_before_utc for each in chain),
        min(each.not_valid_after_utc for each in chain),
    )


def check_authorities(contents: TlsContents) -> None:
    """Raises ``TlsFileError`` if there is no certificate that may be an authority."""
    from cryptography import x509

    try:
        x509.load_pem_x509_certificates(contents.ca)
    except ValueError:
        raise TlsFileError("ca", "holds no certificate in PEM") from None


def _content(role: Role, path: str) -> bytes:
    if not path:
        return b""
    try:
        content = _first_bytes(path, MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TlsFileError(role, f"cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise TlsFileError(role, str(error)) from None
    if len(content) > MAX_FILE_BYTES:
        raise TlsFileError(role, f"is larger than {MAX_FILE_BYTES // 1024}KiB")
    return content


def _first_bytes(path: str, count: int) -> bytes:
    """Read a regular file: a pipe would wait for a writer, and a device may never end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError:
        raise ValueError("is not a path") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("is not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(count)
    finally:
        os.close(descriptor)


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
