"""What a listener says around its decisions: CORS, the resource's metadata, Server-Timing."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from sidecar.config.model import Allow, Cors, Demand, Require, ResourceMetadata, Rule
from tests.support.http import Fields, Response, fetch
from tests.support.pod import RULES, Pod, pod, records

PAGE = "https://app.example"
RESOURCE = "https://api.example/shop"
WELL_KNOWN = "/.well-known/oauth-protected-resource"
METADATA_URL = f"https://api.example{WELL_KNOWN}/shop"


async def preflight(
    running: Pod, path: str, wanted: str = "GET", *, fields: Fields = (), body: bytes = b""
) -> Response:
    """Ask as a browser does before a request that is not simple (Fetch, 4.9)."""
    asked = [("origin", PAGE), ("access-control-request-method", wanted), *fields]
    return await fetch(running.bound.inbound, path, method="OPTIONS", fields=asked, body=body)


def cors(**fields: object) -> dict[str, object]:
    """Configure CORS for pages of one origin."""
    return {"cors": Cors(**{"allow_origins": (PAGE,), **fields})}  # type: ignore[arg-type]


async def test_a_page_of_a_listed_origin_may_read_a_refusal(tmp_path: Path) -> None:
    """Fetch, 4.10 (CORS check): the origin is echoed; 3.3.3: what else may be read is exposed."""
    settings = cors(allow_credentials=True, expose_headers=("retry-after",))
    async with pod(tmp_path, inbound=settings) as running:
        answer = await fetch(running.bound.inbound, "/users/x", fields=[("Origin", PAGE)])
        assert answer.status == 401
        assert answer.values("access-control-allow-origin") == [PAGE]
        assert answer.values("vary") == ["Origin"]
        assert answer.values("access-control-allow-credentials") == ["true"]
        (exposed,) = answer.values("access-control-expose-headers")
        assert exposed.split(", ") == [
            "WWW-Authenticate", "x-sidecar-reason", "x-sidecar-decision", "retry-after",
        ]  # fmt: skip


@pytest.mark.parametrize(
    "origins", [["https://evil.example"], ["null"], [], [PAGE, PAGE], ["https://app.example.evil"]]
)
async def test_nobody_elses_page_may(origins: list[str], tmp_path: Path) -> None:
    """Neither another origin, nor none, nor two."""
    async with pod(tmp_path, inbound=cors()) as running:
        fields = [("origin", origin) for origin in origins]
        answer = await fetch(running.bound.inbound, "/users/x", fields=fields)
        assert answer.status == 401
        assert [name for name, _ in answer.fields if name.startswith("access-control")] == []


async def test_any_page_may_where_the_operator_says_so(tmp_path: Path) -> None:
    """``*`` is said as it is, without credentials."""
    async with pod(tmp_path, inbound=cors(allow_origins=("*",))) as running:
        answer = await fetch(running.bound.inbound, "/users/x", fields=[("origin", "https://x.y")])
        assert answer.values("access-control-allow-origin") == ["*"]
        assert answer.values("access-control-allow-credentials") == []


async def test_what_the_app_says_of_cors_is_its_own(tmp_path: Path) -> None:
    """An answer of the app gets nothing added and nothing taken away."""
    async with pod(tmp_path, inbound=cors()) as running:
        answer = await fetch(running.bound.inbound, "/open/x", fields=[("origin", PAGE)])
        assert (answer.status, answer.body) == (200, b"ok")
        assert [name for name, _ in answer.fields if name.startswith("access-control")] == []


async def test_a_preflight_is_judged_like_any_request_by_default(tmp_path: Path) -> None:
    """``enforce``: no token, no answer of the app."""
    async with pod(tmp_path, inbound=cors()) as running:
        assert (await preflight(running, "/users/x")).reason == "token_missing"
        assert running.app.received == []


async def test_a_preflight_passes_in_nobodys_name(tmp_path: Path) -> None:
    """``pass``: the app answers it, and learns of no caller, whatever was sent along."""
    async with pod(tmp_path, inbound=cors(preflight="pass")) as running:
        token = running.mint.token("alice")
        fields = [("authorization", f"Bearer {token}"), ("x-auth-subject", "root")]
        answer = await preflight(running, "/users/%61", fields=fields)
        assert (answer.status, answer.body) == (200, b"ok")
        (request,) = running.app.received
        assert (request.method, request.target) == ("OPTIONS", "/users/a")
        assert [
            n for n, _ in request.fields if n.startswith("x-auth") or n == "authorization"
        ] == []
    assert [each["route"] for each in records(running)] == ["preflight"]


async def test_the_calls_of_a_preflight_have_no_credential(tmp_path: Path) -> None:
    """Its entry is anonymous, so that it can cause no call in anybody's name."""
    async with pod(tmp_path, inbound=cors(preflight="pass"), automatic=False) as running:
        task = asyncio.create_task(preflight(running, "/users/x"))
        request = await running.app.next()
        answer = await running.call_out(request.handle)
        assert (answer.status, answer.reason) == (403, "anonymous_origin")
        request.answer(204, body=b"")
        assert (await task).status == 204


async def test_only_a_real_preflight_for_what_some_rule_is_for_passes(tmp_path: Path) -> None:
    """Everything else that is OPTIONS is judged by the rules."""
    rules = (
        *RULES,
        Rule("read", ("/read",), Require(roles=Demand(("ADMIN",))), ("GET", "OPTIONS")),
    )
    async with pod(tmp_path, rules=rules, inbound=cors(preflight="pass")) as running:
        address = running.bound.inbound
        assert (await preflight(running, "/read", "DELETE")).reason == "token_missing"
        assert (await preflight(running, "/nowhere")).reason == "no_rule"
        assert (await preflight(running, "/users/..%2fx")).reason == "path_ambiguous"
        assert (await preflight(running, "/read", body=b"x")).reason == "token_missing"
        twice = [("access-control-request-method", "GET")]
        assert (await preflight(running, "/read", fields=twice)).reason == "token_missing"
        for fields in ([], [("origin", PAGE)], [("access-control-request-method", "GET")]):
            answer = await fetch(address, "/read", method="OPTIONS", fields=fields)
            assert answer.reason == "token_missing"
        both = [("origin", PAGE), ("access-control-request-method", "GET")]
        assert (await fetch(address, "/read", fields=both)).reason == "token_missing"
        assert running.app.received == []
        assert (await preflight(running, "/read")).status == 200


async def test_the_metadata_are_served_without_a_token_and_named_in_challenges(
    tmp_path: Path,
) -> None:
    """RFC 9728, 3.1 to 3.3 and 5.1: where they are, what they say, and how a client learns it."""
    rules = (*RULES, Rule("rest", ("/**",), Require(scopes=Demand(("a", "b"), "any"))))
    settings = {"resource_metadata": ResourceMetadata(RESOURCE)}
    async with pod(tmp_path, rules=rules, inbound=settings) as running:
        address = running.bound.inbound
        answer = await fetch(address, f"{WELL_KNOWN}/shop")
        assert (answer.status, answer.values("content-type")) == (200, ["application/json"])
        assert json.loads(answer.body) == {
            "resource": RESOURCE,
            "authorization_servers": ["https://issuer.example"],
            "scopes_supported": ["a", "b", "billing.write"],
            "bearer_methods_supported": ["header"],
        }
        head = await fetch(address, f"{WELL_KNOWN}/shop", method="HEAD")
        assert (head.status, head.body) == (200, b"")
        for method, path in (("POST", f"{WELL_KNOWN}/shop"), ("GET", WELL_KNOWN)):
            answer = await fetch(address, path, method=method)
            assert (answer.status, answer.reason) == (401, "token_missing")
            named = f'resource_metadata="{METADATA_URL}"'
            assert answer.values("www-authenticate") == [f"Bearer {named}"]
        answer = await fetch(address, "/users/x", bearer="nonsense")
        (challenge,) = answer.values("www-authenticate")
        assert challenge.startswith('Bearer error="invalid_token", ')
        assert challenge.endswith(f", {named}")
        assert running.app.received == []
    assert [each["status"] for each in records(running)] == [200, 200, 401, 401, 401]


async def test_a_resource_without_a_path_has_the_plain_well_known_one(tmp_path: Path) -> None:
    """RFC 9728, 3.1: a lone slash after the host goes; what the operator lists is what is said."""
    metadata = ResourceMetadata("https://api.example/", ("https://as.example",), ("x",))
    async with pod(tmp_path, inbound={"resource_metadata": metadata, **cors()}) as running:
        answer = await fetch(running.bound.inbound, WELL_KNOWN, fields=[("origin", PAGE)])
        assert json.loads(answer.body)["authorization_servers"] == ["https://as.example"]
        assert json.loads(answer.body)["scopes_supported"] == ["x"]
        assert answer.values("access-control-allow-origin") == [PAGE]


async def test_without_it_the_path_is_the_apps(tmp_path: Path) -> None:
    """An app that serves its own metadata goes on doing so."""
    rules = (Rule("own", (f"{WELL_KNOWN}/**",), Allow.ANYONE),)
    async with pod(tmp_path, rules=rules) as running:
        assert (await fetch(running.bound.inbound, WELL_KNOWN)).body == b"ok"


async def test_answers_say_how_long_the_sidecar_took(tmp_path: Path) -> None:
    """One metric on each answer, the app's own and refusals; the app's own metrics stay."""
    async with pod(tmp_path, inbound={"server_timing": True}, automatic=False) as running:
        task = asyncio.create_task(fetch(running.bound.inbound, "/open/x"))
        (await running.app.next()).answer(fields=[("server-timing", "db;dur=1")])
        own, ours = (await task).values("server-timing")
        assert own == "db;dur=1"
        assert re.fullmatch(r"auth;dur=\d+\.\d{3}", ours)
        refused = await fetch(running.bound.inbound, "/users/x")
        assert len(refused.values("server-timing")) == 1
    async with pod(tmp_path) as running:
        assert (await fetch(running.bound.inbound, "/open/x")).values("server-timing") == []
