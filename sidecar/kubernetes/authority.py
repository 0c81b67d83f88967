"""The injector's own authority among replicas: one Secret, and two webhook configurations.

Owns how replicas agree. Each asks for the Secret again and again and serves what is in it; whoever
finds something due writes it, and who comes second finds that the Secret has changed and takes
what the first one wrote. What is due is ``sidecar.kubernetes.certificates``' to say.
"""

import asyncio
import base64
import logging
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sidecar.kubernetes.api import Api, ApiError
from sidecar.kubernetes.certificates import (
    Material,
    MaterialError,
    from_secret,
    renewed,
    service_names,
    to_secret,
)
from sidecar.kubernetes.results import JsonObject
from sidecar.tls.contexts import server_context
from sidecar.tls.files import TlsContents, TlsFileError, TlsPaths, check_pair
from sidecar.tls.rotation import RotationReport

LOOK_SECONDS: Final = 20.0
"""Between two looks: so long, at most, is a reapplied manifest without its ``caBundle``."""
RETRY_SECONDS: Final = 2.0
"""Until there is a certificate to serve with."""
MAX_ATTEMPTS: Final = 5
CONFIGURATIONS: Final = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")

_CONFLICT: Final = 409
_log = logging.getLogger("sidecar.injector")


@dataclass(frozen=True, slots=True)
class Place:
    """Names of what the authority is kept in, and made for."""

    namespace: str
    secret: str
    service: str
    configurations: str


class OwnAuthority:
    """Serves with what the Secret holds, and keeps what the API server trusts in step with it."""

    def __init__(
        self,
        api: Api,
        place: Place,
        *,
        report: RotationReport,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._place = place
        self._names = service_names(place.service, place.namespace)
        self._report = report
        self._now = now
        self._sleep = sleep
        self._material: Material | None = None
        self._context: ssl.SSLContext | None = None
        self._is_trusted = False
        self._told = ""

    def current(self) -> ssl.SSLContext | None:
        """Return what to serve with, once there is something."""
        return self._context

    def missing(self) -> str:
        """Say what stands between us and being called, or nothing."""
        if self._context is None or not self._is_trusted:
            return f"certificate: {self._told or 'not there yet'}"
        return ""

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await self._sleep(LOOK_SECONDS if not self.missing() else RETRY_SECONDS)

    async def look(self) -> None:
        """Take, renew and announce what is due; say once what does not work."""
        problem = ""
        try:
            material = await self._shared()
            await asyncio.to_thread(self._serve, material)
            for plural in CONFIGURATIONS:
                await self._announce(plural, material.bundle)
            self._is_trusted = True
        except (ApiError, MaterialError, TlsFileError) as error:
            problem = str(error)
        if problem and problem != self._told:
            _log.error("own certificate authority: %s", problem)
        self._told = problem

    async def _shared(self) -> Material:
        """Return what all replicas serve with from now on, having written it if it was due."""
        for _ in range(MAX_ATTEMPTS):
            secret = await self._api.secret(self._place.namespace, self._place.secret)
            kept = None if secret is None else self._kept(secret)
            due = await asyncio.to_thread(renewed, kept, self._names, self._now())
            if kept is not None and due is kept:
                return kept
            try:
                await self._write(secret, due)
            except ApiError as error:
                if error.status != _CONFLICT:
                    raise
                continue  # another replica was first: what it wrote is as good
            _log.info("Secret %s: %s", self._place.secret, "renewed" if secret else "created")
            return due
        raise ApiError(f"Secret {self._place.secret} changes faster than it can be written")

    def _kept(self, secret: JsonObject) -> Material | None:
        try:
            kept = from_secret(secret.get("data"))
            renewed(kept, self._names, self._now())  # which reads it
        except MaterialError as error:
            _log.warning("Secret %s is made anew: %s", self._place.secret, error)
            return None
        return kept

    async def _write(self, secret: JsonObject | None, material: Material) -> None:
        namespace = self._place.namespace
        metadata: dict[str, Any] = {"name": self._place.secret, "namespace": namespace}
        document = {"apiVersion": "v1", "kind": "Secret", "data": to_secret(material)}
        if secret is None:
            metadata["labels"] = {
                "app.kubernetes.io/name": "jwt-sidecar",
                "app.kubernetes.io/component": "injector",
            }
            await self._api.create_secret(
                namespace, {**document, "type": "Opaque", "metadata": metadata}
            )
            return
        # Its resourceVersion goes with it: who read an older one is refused.
        await self._api.update_secret(namespace, {**secret, "data": to_secret(material)})

    def _serve(self, material: Material) -> None:
        """Use *material* for new connections. Blocks for some milliseconds."""
        served = self._material
        if served is not None and served.certificate == material.certificate:
            return
        contents = TlsContents(certificate=material.certificate, key=material.key)
        validity = check_pair(contents)
        self._context = context_of(contents)
        self._material = material
        self._report.valid_until(validity.ends)
        until = validity.ends.strftime("%Y-%m-%dT%H:%M:%SZ")
        _log.info("a certificate for %s is in use, valid until %s", self._names[0], until)

    async def _announce(self, plural: str, bundle: bytes) -> None:
        """Have the API server trust *bundle*, where it does not yet."""
        name = self._place.configurations
        found = await self._api.webhooks(plural, name)
        if found is None:
            if plural == CONFIGURATIONS[0]:
                raise ApiError(f"there is no {plural} {name}: nothing is injected until it is made")
            return
        wanted = base64.b64encode(bundle).decode("ascii")
        stale = [
            each["name"]
            for each in found.get("webhooks") or ()
            if (each.get("clientConfig") or {}).get("caBundle") != wanted
        ]
        if not stale:
            return
        # By name and for one state of the object: what others write meanwhile stays.
        await self._api.patch_webhooks(
            plural,
            name,
            {
                "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
                "webhooks": [
                    {"name": each, "clientConfig": {"caBundle": wanted}} for each in stale
                ],
            },
        )
        _log.info("%s %s: caBundle written for %s", plural, name, ", ".join(stale))


def context_of(contents: TlsContents) -> ssl.SSLContext:
    """Return a context of what is in no file. Raises ``TlsFileError``.

    OpenSSL, as Python has it, reads files only, and the injector's root is read-only.
    """
    pem = contents.certificate.rstrip(b"\n") + b"\n" + contents.key
    descriptor = _memory_file()
    try:
        path = f"/proc/self/fd/{descriptor}"
        rest = memoryview(pem)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        return server_context(TlsPaths(certificate=path, key=path), contents, "off")
    finally:
        os.close(descriptor)


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("sidecar-injector", os.MFD_CLOEXEC)
    raise TlsFileError("key", "cannot be kept in memory here: give --certificate and --key")
