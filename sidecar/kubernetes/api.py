"""The few calls to the Kubernetes API that an injector makes.

Owns credentials, trust, timeouts and bounds. Nothing is watched: each question is asked when its
answer is needed, so that there is no copy of a cluster to keep, and none to be out of date.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp

from sidecar import __version__
from sidecar.fetch.trust import Trust, TrustError
from sidecar.kubernetes.results import JsonObject

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_SECONDS: Final = 3.0
"""Two calls one after the other fit into the time that the webhook has."""
MAX_ANSWER_BYTES: Final = 8 << 20
PAGE_ITEMS: Final = 200
MAX_PAGES: Final = 10
MAX_CONNECTIONS: Final = 32
TOKEN_SECONDS: Final = 60.0
"""A projected token is replaced long before it ends."""
MAX_TOKEN_BYTES: Final = 64 << 10

_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404
_STRATEGIC: Final = "application/strategic-merge-patch+json"
_SERVER_HOST: Final = "KUBERNETES_SERVICE_HOST"
_SERVER_PORT: Final = "KUBERNETES_SERVICE_PORT"


class ApiError(Exception):
    """The API server did not do what it was asked. The message is one line.

    *status* is what it answered; 0 where there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class SettingError(Exception):
    """How the API server is reached is not known. The message is one line."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where the API server is and who we are there."""

    url: str
    ca: str
    token: str
    """Both are paths of files."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Objects of a list; there are more where *is_cut*."""

    items: Sequence[JsonObject]
    is_cut: bool


def server_of(
    environ: Mapping[str, str], *, url: str = "", ca: str = "", token: str = ""
) -> Server:
    """Return the server of the flags, or of the pod that this runs in. Raises ``SettingError``."""
    if not url:
        host, port = environ.get(_SERVER_HOST, ""), environ.get(_SERVER_PORT, "443")
        if not host:
            raise SettingError(
                f"no cluster: {_SERVER_HOST} is not set, as it is in every pod; elsewhere give "
                "--api-server, --api-ca and --api-token-file"
            )
        url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    try:
        parts = urlsplit(url)
        is_good = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or parts.query or parts.fragment or "@" in parts.netloc:
        raise SettingError("--api-server: must be an https:// URL, as in https://10.0.0.1:6443")
    return Server(url.rstrip("/"), ca or str(ACCOUNT / "ca.crt"), token or str(ACCOUNT / "token"))


class Api:
    """One API server, as one service account sees it."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        server: Server,
        *,
        clock: Callable[[], float] = time.monotonic,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._session = session
        self._server = server
        self._trust = Trust(server.ca)
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._token = ""
        self._token_until = float("-inf")

    async def minor_version(self) -> int:
        """Return the server's 34 of 1.34. Raises ``ApiError``."""
        answer = await self._ask("GET", "/version", "its version")
        # Managed clusters write `34+`.
        major, minor = (str(answer.get(key, "")).rstrip("+") for key in ("major", "minor"))
        if major != "1" or not minor.isdecimal():
            raise ApiError("the API server's /version names no version 1.x: give --native")
        return int(minor)

    async def config_map(self, namespace: str, name: str) -> JsonObject | None:
        path = _path("api/v1", namespace, "configmaps", name)
        return await self._get(path, f"ConfigMap {name} in namespace {namespace}")

    async def secret(self, namespace: str, name: str) -> JsonObject | None:
        path = _path("api/v1", namespace, "secrets", name)
        return await self._get(path, f"Secret {name} in namespace {namespace}")

    async def create_secret(self, namespace: str, secret: JsonObject) -> JsonObject:
        what = f"Secret {secret['metadata']['name']} in namespace {namespace}"
        path = _path("api/v1", namespace, "secrets")
        return await self._ask("POST", path, f"to create {what}", body=secret)

    async def update_secret(self, namespace: str, secret: JsonObject) -> JsonObject:
        """Replace a Secret that has not changed since it was read: else ``ApiError`` 409."""
        name = secret["metadata"]["name"]
        path = _path("api/v1", namespace, "secrets", name)
        what = f"to update Secret {name} in namespace {namespace}"
        return await self._ask("PUT", path, what, body=secret)

    async def services(self, namespace: str) -> Listed:
        path = _path("api/v1", namespace, "services")
        return await self._list(path, f"the Services of namespace {namespace}")

    async def pods(self, namespace: str, labels: Mapping[str, str]) -> Listed:
        path = _path("api/v1", namespace, "pods")
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        return await self._list(path, f"the pods of namespace {namespace}", labels=selector)

    async def webhooks(self, plural: str, name: str) -> JsonObject | None:
        path = f"/apis/admissionregistration.k8s.io/v1/{plural}/{quote(name, safe='')}"
        return await self._get(path, f"{plural} {name}")

    async def patch_webhooks(self, plural: str, name: str, patch: JsonObject) -> JsonObject:
        path = f"/apis/admissionregistration.k8s.io/v1/{plural}/{quote(name, safe='')}"
        return await self._ask(
            "PATCH", path, f"to change {plural} {name}", body=patch, content_type=_STRATEGIC
        )

    async def _get(self, path: str, what: str) -> JsonObject | None:
        try:
            return await self._ask("GET", path, f"for {what}")
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    async def _list(self, path: str, what: str, *, labels: str = "") -> Listed:
        items: list[JsonObject] = []
        query = {"limit": str(PAGE_ITEMS)}
        if labels:
            query["labelSelector"] = labels
        for _ in range(MAX_PAGES):
            page = await self._ask("GET", path, f"for {what}", query=query)
            found = page.get("items")
            items += [each for each in found or () if isinstance(each, dict)]
            metadata = page.get("metadata")
            more = metadata.get("continue") if isinstance(metadata, dict) else None
            if not more or not isinstance(more, str):
                return Listed(items, is_cut=False)
            query["continue"] = more
        return Listed(items, is_cut=True)

    async def _ask(
        self,
        method: str,
        path: str,
        what: str,
        *,
        body: JsonObject | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> JsonObject:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                status, content = await self._exchange(method, path, body, query, content_type)
                if status == _UNAUTHORIZED and self._forget_token():
                    status, content = await self._exchange(method, path, body, query, content_type)
        except TimeoutError:
            within = f"within {self._timeout_seconds:g}s"
            raise ApiError(f"the API server, asked {what}, did not answer {within}") from None
        except (aiohttp.ClientError, OSError) as error:
            cause = getattr(error, "strerror", None) or type(error).__name__
            raise ApiError(f"the API server, asked {what}, cannot be reached: {cause}") from None
        document = _document(content)
        if not 200 <= status < 300:
            said = document.get("message") if document is not None else None
            told = " ".join(said.split())[:500] if isinstance(said, str) else "without a message"
            raise ApiError(f"the API server, asked {what}, answered {status}: {told}", status)
        if document is None:
            raise ApiError(f"the API server, asked {what}, answered no JSON object")
        return document

    async def _exchange(
        self,
        method: str,
        path: str,
        body: JsonObject | None,
        query: Mapping[str, str] | None,
        content_type: str,
    ) -> tuple[int, bytes]:
        headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {await self._bearer()}",
            "User-Agent": f"jwt-sidecar-injector/{__version__}",
        }
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = content_type
        try:
            context = await asyncio.to_thread(self._trust.context)
        except TrustError as error:
            raise ApiError(f"the API server's authority: {self._server.ca} {error}") from None
        async with self._session.request(
            method,
            self._server.url + path,
            params=query,
            data=data,
            headers=headers,
            ssl=context,
            allow_redirects=False,
        ) as answer:
            content = bytearray()
            async for chunk in answer.content.iter_any():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    limit = f"{MAX_ANSWER_BYTES >> 20}MiB"
                    raise ApiError(f"the API server's answer is larger than {limit}")
            return answer.status, bytes(content)

    async def _bearer(self) -> str:
        if self._clock() >= self._token_until:
            self._token = await asyncio.to_thread(_token_in, self._server.token)
            self._token_until = self._clock() + TOKEN_SECONDS
        return self._token

    def _forget_token(self) -> bool:
        """Have the token read anew, unless it was only just."""
        was_kept = self._token_until - TOKEN_SECONDS < self._clock()
        self._token_until = float("-inf")
        return was_kept


@asynccontextmanager
async def connected(
    server: Server, *, timeout_seconds: float = TIMEOUT_SECONDS
) -> AsyncIterator[Api]:
    """An ``Api`` with connections of its own, closed at the end."""
    connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ttl_dns_cache=10)
    async with aiohttp.ClientSession(
        connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield Api(session, server, timeout_seconds=timeout_seconds)


def _path(root: str, namespace: str, plural: str, name: str = "") -> str:
    parts = f"/{root}/namespaces/{quote(namespace, safe='')}/{plural}"
    return f"{parts}/{quote(name, safe='')}" if name else parts


def _token_in(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            token = file.read(MAX_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or "not a token"
        raise ApiError(f"the service account's token: {path} cannot be read: {cause}") from None
    if not token or not token.isprintable():
        raise ApiError(f"the service account's token: {path} holds none")
    return token


def _document(content: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
