"""What a plan accepts, and the one line it has for everything else."""

from typing import Any

import pytest

from sidecar.trial.plan import Endpoint, Plan, PlanError

USUAL: dict[str, Any] = {
    "app": "http://127.0.0.1:8080",
    "endpoints": (Endpoint("GET", "/orders/{user}"),),
    "destinations": {"profiles": 9001},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /orders/{user}", Endpoint("GET", "/orders/{user}")),
        ("/orders/{user}", Endpoint("GET", "/orders/{user}")),
        ("  POST   /carts/{user}?x=1  ", Endpoint("POST", "/carts/{user}?x=1")),
        ('PUT /c {"a": "{user}"}', Endpoint("PUT", "/c", '{"a": "{user}"}')),
        ("GET /me", Endpoint("GET", "/me")),
    ],
)
def test_endpoints_as_written(text: str, expected: Endpoint) -> None:
    """Method and body may be left out; a path without {user} leaves the name to x-auth-subject."""
    assert Endpoint.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "GET", "get /x", "orders", "GET orders", "GET /{id}", "GET /a#b", "GET /x {}", "TRACE /"],
)
def test_what_is_no_endpoint(text: str) -> None:
    """A mistake is told with the text it is in."""
    with pytest.raises(PlanError, match="endpoint "):
        Endpoint.parse(text)


def test_the_user_is_named_everywhere() -> None:
    """Every {user} becomes the name; the kind of content is seen from the body."""
    endpoint = Endpoint.parse('POST /a/{user}?b={user} {"c": "{user}"}')
    assert endpoint.target_for("ann") == "/a/ann?b=ann"
    assert endpoint.body_for("ann") == b'{"c": "ann"}'
    assert endpoint.content_type == "application/json"
    assert Endpoint.parse("POST /a a={user}").content_type == "application/x-www-form-urlencoded"
    assert Endpoint.parse("POST /a").body_for("ann") is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"app": "http://10.0.0.1:8080"}, "must be http:// on loopback"),
        ({"app": "http://shop.example"}, "must be http:// on loopback"),
        ({"app": "https://127.0.0.1"}, "must be http:// on loopback"),
        ({"app": "http://127.0.0.1:8080/x"}, "the app's URL must end after host and port"),
        ({"app": "8080"}, "the app's URL must be an absolute URL"),
        ({"endpoints": ()}, "at least one endpoint"),
        ({"endpoints": (Endpoint("GET", "/a"), Endpoint("GET", "/a"))}, "'GET /a' is given twice"),
        ({"destinations": {}}, "at least one destination"),
        ({"destinations": {"a": 9001, "b": 9001}}, "port 9001 is given twice"),
        ({"destinations": {"a b": 9001}}, "destination 'a b'"),
        ({"destinations": {"a": 70000}}, "70000 is no port"),
        ({"destinations": {"a": 8080}}, "both the app and a destination"),
        ({"calls": 0}, "calls must be from 1 to 1000000, not 0"),
        ({"users": 1}, "users must be from 2"),
        ({"concurrency": ()}, "at least one number"),
        ({"concurrency": (1, 2000)}, "concurrency must be from 1 to 1000, not 2000"),
        ({"faults": 0.9}, "faults must be from 0 to 0.5"),
    ],
)
def test_what_is_no_plan(changes: dict[str, Any], expected: str) -> None:
    """What cannot be carried out is refused when the plan is made."""
    with pytest.raises(PlanError) as caught:
        Plan(**{**USUAL, **changes})
    assert expected in str(caught.value)


@pytest.mark.parametrize("app", ["http://localhost:8080", "http://[::1]:8080", "http://127.9.9.9"])
def test_loopback_in_every_form(app: str) -> None:
    """The app may be named by any loopback name or literal."""
    assert Plan(**{**USUAL, "app": app}).app == app
