"""Files of certificate authorities, looked at while the configuration is checked.

Reading them for use, and again when they change, belongs to ``sidecar.fetch``.
"""


def problem_with(path: str) -> str | None:
    """Say why the authorities at *path* cannot be used, or nothing."""
    # cryptography comes with it; a configuration without such a file does not need that.
    from sidecar.tls.files import TlsFileError, TlsPaths, check_authorities, read

    try:
        check_authorities(read(TlsPaths(ca=path)))
    except TlsFileError as error:
        return str(error)
    return None
