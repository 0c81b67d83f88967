"""The API client against a scripted API server over real TLS."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sidecar.kubernetes.api import (
    MAX_ANSWER_BYTES,
    MAX_PAGES,
    Api,
    ApiError,
    Server,
    SettingError,
    connected,
    server_of,
)
from tests.support.certificates import Authority, server_context


@dataclass
class Scripted:
    """Answers in turn; remembers what it was asked."""

    token: Path
    url: str = ""
    answers: list[Any] = field(default_factory=list)
    seen: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        self.bodies.append(await request.read())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, tuple):
            status, document = answer
            return web.json_response(document, status=status, headers={"Location": "/elsewhere"})
        if isinstance(answer, bytes):
            return web.Response(body=answer)
        return web.json_response(answer)


@asynccontextmanager
async def scripted(
    tmp_path: Path, *answers: Any, seconds: float = 3.0
) -> AsyncIterator[tuple[Scripted, Api]]:
    authority = Authority()
    context: ssl.SSLContext = server_context(authority.issue("127.0.0.1"), tmp_path)
    token = tmp_path / "token"
    token.write_text("first\n")
    made = Scripted(token, answers=list(answers))
    runner = web.ServerRunner(web.Server(made.handle))  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    made.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    server = Server(made.url, authority.write(tmp_path), str(token))
    try:
        async with connected(server, timeout_seconds=seconds) as api:
            yield made, api
    finally:
        await runner.cleanup()


async def test_a_config_map_is_asked_for_as_the_service_account(tmp_path: Path) -> None:
    async with scripted(tmp_path, {"data": {}}) as (made, api):
        assert await api.config_map("shop", "jwt-sidecar") == {"data": {}}
    (request,) = made.seen
    assert request.path == "/api/v1/namespaces/shop/configmaps/jwt-sidecar"
    assert request.headers["Authorization"] == "Bearer first"


async def test_what_is_not_there_is_none_and_no_error(tmp_path: Path) -> None:
    async with scripted(tmp_path, (404, {"message": "not found"})) as (_, api):
        assert await api.config_map("shop", "x") is None
        assert await api.secret("shop", "x") is None
        assert await api.webhooks("mutatingwebhookconfigurations", "x") is None


async def test_a_name_cannot_lead_to_another_path(tmp_path: Path) -> None:
    async with scripted(tmp_path, {}) as (made, api):
        await api.config_map("shop/../system", "a/../../secrets/b?x")
    assert made.seen[0].raw_path.startswith("/api/v1/namespaces/shop%2F..%2Fsystem/configmaps/a%2F")


async def test_an_error_says_what_was_asked_and_answered(tmp_path: Path) -> None:
    async with scripted(tmp_path, (403, {"message": "may not\nread"})) as (_, api):
        with pytest.raises(
            ApiError, match=r"ConfigMap x in namespace shop.*403: may not read"
        ) as e:
            await api.config_map("shop", "x")
    assert e.value.status == 403
    assert "first" not in str(e.value)


async def test_a_rotated_token_is_read_again_when_the_old_one_is_refused(tmp_path: Path) -> None:
    async with scripted(tmp_path, {}, (401, {}), {}) as (made, api):
        await api.config_map("shop", "x")
        made.token.write_text("second")
        await api.config_map("shop", "x")
    tokens = [each.headers["Authorization"] for each in made.seen]
    assert tokens == ["Bearer first", "Bearer first", "Bearer second"]


@pytest.mark.parametrize("text", ["", "two\nlines", "\xff"])
async def test_a_token_that_is_none_is_an_error(tmp_path: Path, text: str) -> None:
    async with scripted(tmp_path, {}) as (made, api):
        made.token.write_text(text)
        with pytest.raises(ApiError, match="service account's token"):
            await api.config_map("shop", "x")
        made.token.unlink()
        with pytest.raises(ApiError, match="cannot be read: No such file"):
            await api.config_map("shop", "x")


async def test_a_list_is_read_page_by_page_and_ends(tmp_path: Path) -> None:
    pages = [{"items": [{"n": 1}], "metadata": {"continue": "c"}}, {"items": [{"n": 2}]}]
    async with scripted(tmp_path, *pages) as (made, api):
        found = await api.pods("shop", {"b": "2", "a": "1"})
    assert (list(found.items), found.is_cut) == ([{"n": 1}, {"n": 2}], False)
    assert made.seen[0].query["labelSelector"] == "a=1,b=2"
    assert made.seen[1].query["continue"] == "c"


async def test_a_list_without_end_is_cut(tmp_path: Path) -> None:
    page = {"items": [{}], "metadata": {"continue": "c"}}
    async with scripted(tmp_path, page) as (made, api):
        found = await api.services("shop")
    assert (len(found.items), found.is_cut) == (MAX_PAGES, True)
    assert len(made.seen) == MAX_PAGES


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"[" * 100_000])
async def test_an_answer_that_is_none_is_an_error(tmp_path: Path, answer: bytes) -> None:
    async with scripted(tmp_path, answer) as (_, api):
        with pytest.raises(ApiError, match="no JSON object"):
            await api.config_map("shop", "x")


async def test_an_answer_without_end_is_not_kept(tmp_path: Path) -> None:
    async with scripted(tmp_path, b" " * (MAX_ANSWER_BYTES + 1)) as (_, api):
        with pytest.raises(ApiError, match="larger than 8MiB"):
            await api.config_map("shop", "x")


async def test_a_server_of_another_authority_is_not_asked(tmp_path: Path) -> None:
    """Its token would be the attacker's."""
    async with scripted(tmp_path, {}) as (made, _):
        assert made.url
        (tmp_path / "other").mkdir()
        ca = Authority().write(tmp_path / "other")
        async with connected(Server(made.url, ca, str(made.token))) as api:
            with pytest.raises(ApiError, match="cannot be reached"):
                await api.config_map("shop", "x")
    assert made.seen == []


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    async with scripted(tmp_path, (307, {"message": "elsewhere"})) as (made, api):
        with pytest.raises(ApiError, match="307"):
            await api.config_map("shop", "x")
    assert len(made.seen) == 1


async def test_a_patch_goes_out_by_strategic_merge(tmp_path: Path) -> None:
    async with scripted(tmp_path, {}) as (made, api):
        await api.patch_webhooks("mutatingwebhookconfigurations", "x", {"webhooks": []})
    assert made.seen[0].content_type == "application/strategic-merge-patch+json"
    assert json.loads(made.bodies[0]) == {"webhooks": []}


@pytest.mark.parametrize(
    ("minor", "found"), [("34", 34), ("29+", 29), ("", None), ("x", None), (28, 28)]
)
async def test_the_version_is_its_minor_number(
    tmp_path: Path, minor: object, found: int | None
) -> None:
    async with scripted(tmp_path, {"major": "1", "minor": minor}) as (_, api):
        if found is None:
            with pytest.raises(ApiError, match="--native"):
                await api.minor_version()
        else:
            assert await api.minor_version() == found


def test_in_a_pod_the_server_is_known() -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    assert server_of(environ).url == "https://[fd00::1]:443"
    assert server_of(environ).token.endswith("/serviceaccount/token")
    with pytest.raises(SettingError, match="KUBERNETES_SERVICE_HOST is not set"):
        server_of({})


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1", "10.0.0.1", "https://", "https://u@h", "https://h?x"]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingError, match="--api-server"):
        server_of({}, url=url)
