"""Services that would lead past the sidecar: found at admission, whichever comes second."""

from collections.abc import Iterable

from sidecar.kubernetes.results import JsonObject


def check_service(service: JsonObject, *, pods: Iterable[JsonObject]) -> str | None:
    """Say why *service* would bypass the sidecars of *pods*, and the line to write; or nothing.

    *pods* are the injected ones of the Service's namespace (``metadata`` and ``spec``, as the
    API server has them); those that the selector does not choose are passed over here.
    """
    raise NotImplementedError
