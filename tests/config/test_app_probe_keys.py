"""``admin.app_probes``: what is accepted, and what is said about the rest."""

import pytest

from sidecar.config.model import AppProbe
from tests.config.cases import VALID_START, lines
from tests.config.conftest import Examine


def written(probe: str) -> str:
    return f"{VALID_START}admin: {{app_probes: [{probe}]}}\n"


def test_what_is_accepted(examined: Examine) -> None:
    """Items keep their order, which is their number."""
    found = examined(
        VALID_START + "admin:\n  app_probes:\n"
        "    - {port: 8080}\n"
        "    - {port: 8081, path: '/a/b?c=%20d', scheme: https, timeout: 250ms,\n"
        "       headers: {Host: health.example, Authorization: 'Basic ${SECRET}'}}\n"
        "    - {port: 5432, tcp: true}\n",
        {"SECRET": "eDp5"},
    )
    assert found.errors == ()
    assert found.config is not None
    assert found.config.admin.app_probes == (
        AppProbe(8080),
        AppProbe(
            8081,
            "/a/b?c=%20d",
            "https",
            (("Host", "health.example"), ("Authorization", "Basic eDp5")),
            timeout_seconds=0.25,
        ),
        AppProbe(5432, tcp=True),
    )


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        ("{}", ["3:22: admin.app_probes[0].port: is required"]),
        ("8080", ["3:22: admin.app_probes[0]: must be a map, not a single value"]),
        (
            "{port: http}",
            ["3:29: admin.app_probes[0].port: must be a whole number from 1 to 65535, not `http`"],
        ),
        (
            "{port: 1, path: healthz}",
            [
                "3:38: admin.app_probes[0].path: `healthz` must start with `/` (did you mean "
                "`/healthz`?)"
            ],
        ),
        (
            "{port: 1, path: '/a b'}",
            [
                "3:38: admin.app_probes[0].path: `/a b` holds a character that no path can have, "
                "or is too long"
            ],
        ),
        (
            '{port: 1, path: "/a\\r\\nX: y"}',
            [
                "3:38: admin.app_probes[0].path: `/a\\r\\nX: y` holds a character that no path can "
                "have, or is too long"
            ],
        ),
        (
            "{port: 1, scheme: HTTPS}",
            [
                "3:40: admin.app_probes[0].scheme: `HTTPS` is not one of http, https (did you "
                "mean `https`?)"
            ],
        ),
        (
            "{port: 1, timeout: 2m}",
            ["3:41: admin.app_probes[0].timeout: `2m` must be from 100ms to 60s"],
        ),
        (
            "{port: 1, tcp: true, path: /x}",
            [
                "3:49: admin.app_probes[0].path: is for HTTP; with `tcp: true` a connection is all "
                "that is tried"
            ],
        ),
        (
            "{port: 1, pth: /x}",
            ["3:32: admin.app_probes[0].pth: unknown key (did you mean `path`?)"],
        ),
        (
            "{port: 1, headers: [a]}",
            [
                "3:41: admin.app_probes[0].headers: must be a map of headers, as {Host: "
                "health.example}"
            ],
        ),
        (
            "{port: 1, headers: {Connection: close}}",
            [
                "3:42: admin.app_probes[0].headers.Connection: this name is the relay's own: it is "
                "about the message, not the question"
            ],
        ),
        (
            "{port: 1, headers: {Content_Length: '5'}}",
            [
                "3:42: admin.app_probes[0].headers.Content_Length: this name is the relay's own: "
                "it is about the message, not the question"
            ],
        ),
        (
            '{port: 1, headers: {"a b": x}}',
            [
                '3:42: admin.app_probes[0].headers.a b: this name is not the name of a header'
            ],
        ),
        (
            '{port: 1, headers: {a: "x\\r\\ny: z"}}',
            [
                "3:45: admin.app_probes[0].headers.a: `x\\r\\ny: z` must be 1 to 1,024 visible "
                "characters of ASCII, spaces between them"
            ],
        ),
        (
            "{port: 1, headers: {a: x, A: y}}",
            ["3:48: admin.app_probes[0].headers.A: is the same header as `a`"],
        ),
    ],
)  # fmt: skip
def test_errors(probe: str, expected: list[str], examined: Examine) -> None:
    """Each says where, and what to write instead where that is known."""
    assert lines(examined(written(probe)).errors) == expected


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("x-auth-subject", ""),
        ("X_Auth_Roles", ""),
        ("x-sidecar-context", ""),
        ("X-Sidecar-Anything", ""),
        ("x-who-subject", "inbound: {identity: {prefix: x-who-}}"),
        ("X-User-Email", "inbound: {identity: {headers: {x-user-email: {claim: email}}}}"),
        ("app-jwt", "inbound: {identity: {signed: {audience: a, header: app-jwt}}}"),
    ],
)
def test_what_the_app_would_believe(name: str, more: str, examined: Examine) -> None:
    """A probe speaks for nobody: what tells the app who calls is refused in any spelling."""
    found = examined(f"{written(f'{{port: 1, headers: {{{name}: x}}}}')}{more}\n")
    assert lines(found.errors) == [
        f"3:22: admin.app_probes[0].headers.{name}: is reserved: the app believes the sidecar what "
        "it says"
    ]


def test_with_another_prefix_the_usual_one_is_free(examined: Examine) -> None:
    """Reserved is what this configuration reserves."""
    probe = "{port: 1, headers: {x-auth-subject: x}}"
    found = examined(f"{written(probe)}inbound: {{identity: {{prefix: x-who-}}}}\n")
    assert found.errors == ()


@pytest.mark.parametrize(
    ("port", "listener"),
    [
        (15406, "inbound.listen at sidecar.yaml:1:1"),
        (15490, "admin.listen at sidecar.yaml:3:8"),
        (9001, "outbound.destinations.d.listen at sidecar.yaml:4:39"),
    ],
)
def test_the_sidecar_is_not_the_app(port: int, listener: str, examined: Examine) -> None:
    """A relay to the admin port would ask itself."""
    found = examined(
        f"{written(f'{{port: {port}}}')}outbound: {{destinations: {{d: {{listen: '127.0.0.1:9001', "
        "upstream: 'http://[::1]:2'}}}\n"
    )
    assert lines(found.errors) == [
        f"3:22: admin.app_probes[0].port: is where the sidecar itself listens: {listener}"
    ]


def test_how_many(examined: Examine) -> None:
    """At most 32 probes, at most 16 headers each."""
    probes = ", ".join(f"{{port: {n}}}" for n in range(1, 33))
    assert examined(written(probes)).errors == ()
    found = examined(written(f"{probes}, {{port: 33}}"))
    assert lines(found.errors) == ["3:21: admin.app_probes: must not be more than 32"]
    headers = ", ".join(f"h{n}: x" for n in range(17))
    found = examined(written(f"{{port: 1, headers: {{{headers}}}}}"))
    assert lines(found.errors) == ["3:41: admin.app_probes[0].headers: must not be more than 16"]


def test_the_fence_needs_an_app_beside_it(examined: Examine) -> None:
    """An app on another machine cannot be fenced by binding loopback."""
    found = examined(f"{VALID_START}inbound: {{app: 'http://app:8080', require_fenced: true}}\n")
    assert lines(found.errors) == ["3:51: inbound.require_fenced: needs an app on loopback"]
    found = examined(f"{VALID_START}inbound: {{require_fenced: yes}}\n")
    assert lines(found.errors) == [
        "3:27: inbound.require_fenced: must be true or false, not `yes` (did you mean `true`?)"
    ]
    found = examined(f"{VALID_START}inbound: {{require_fenced: true}}\n")
    assert found.config is not None
    assert found.config.inbound.require_fenced
