"""The annotations: what each takes, and what is said where it is something else."""

from pathlib import Path

import pytest

from sidecar.kubernetes.annotations import ANNOTATIONS, table
from sidecar.kubernetes.injection import config_name
from tests.kubernetes.pods import SETTINGS, container, injected, pod, refused, sidecar_of

PAGE = Path(__file__).parents[2] / "docs" / "annotations.md"

WRONG = [
    ("inject", "yes", "`yes` is not a boolean (did you mean `true`?); it takes"),
    ("inject", "nope", "`nope` is not a boolean; it takes"),
    ("config", "My_Config", "`My_Config` is not the name of an object: lower-case letters"),
    ("config", "", "`` is not the name of an object"),
    ("secrets", "a,,b", "`a,,b` has an empty item: separate items by single commas"),
    ("secrets", "a, a", "`a, a` names `a` twice"),
    (
        "service-account-token",
        "a b",
        "`a b` is not an audience: 1 to 512 visible characters of ASCII",
    ),
    ("secrets", ",".join(f"s{n}" for n in range(101)), "has more than 100 items"),
    ("app-port", "0", "`0` is not a port from 1 to 65535"),
    ("app-port", "65536", "`65536` is not a port from 1 to 65535"),
    ("app-port", "HTTP", "`HTTP` is neither a port's number nor its name"),
    ("app-port", "sixteen-letters-", "is neither a port's number nor its name"),
    ("app-port", "web", "no container has a TCP port named `web`; the names are http"),
    ("app-container", "App", "`App` is not the name of a container"),
    ("app-container", "ap", "there is no container `ap`; the pod has app"),
    ("destinations", "9001:https://a", "`9001:https://a` is not [NAME:]PORT=URL, as in 9001="),
    ("destinations", "9001=https://a/path", "outbound.destinations.a.upstream: `https://a/path` "
     "must end after host and port, without path or query (did you mean `https://a`?)"),
    ("destinations", "9001=http://a.shop", "outbound.destinations.a.upstream: a credential would "
     "be sent over http:// beyond loopback"),
    ("destinations", "9001=https://a, 9001=https://b", "outbound.destinations.b.listen: is taken"),
    ("destinations", "8080=https://a", "inbound.app: is where the sidecar itself listens"),
    ("allow-plaintext", "1", "`1` is not a boolean (did you mean `true`?)"),
    ("carrier", "pyhton", "`pyhton` is not one of none, python (did you mean `python`?)"),
    ("carrier", "node", "`node` is not one of none, python"),
    ("carrier-containers", "app", 'has no effect without jwt-sidecar/carrier: "python"'),
    ("probes", "off", "`off` is not one of rewrite, keep"),
    ("app-pre-stop-sleep", "5s", "`5s` is not a whole number of seconds from 0 to 3600 "
     "(did you mean `5`?)"),
    ("app-pre-stop-sleep", "30", "`30` is not less than the pod's terminationGracePeriodSeconds"),
    ("native", "True", "`True` is not a boolean (did you mean `true`?)"),
    ("image", "a b", "`a b` is not the name of an image"),
    ("cpu-request", "ten", "`ten` is not a quantity such as 10m, 0.5, 64Mi or 1Gi"),
    ("cpu-request", "64Mi", "`64Mi` is not a quantity of CPU"),
    ("cpu-limit", "0", "`0` must be at least 1m"),
    ("memory-request", "64m", "`64m` counts thousandths of a byte (did you mean `64Mi`?)"),
    ("memory-request", "64", "`64` must be at least 1Mi"),
    ("memory-limit", "32Mi", "`32Mi` must be at least 64Mi: with less the sidecar cannot start"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_wrong(name: str, value: str, message: str) -> None:
    """A value that cannot be is refused by name, with the value and what to write."""
    told = refused(pod(annotations={name: value}))
    assert message in told
    assert len(told.splitlines()) == 1
    assert f"annotation jwt-sidecar/{name}" in told


def test_all_at_once() -> None:
    """All that is wrong is said at once."""
    told = refused(pod(annotations={"probes": "x", "native": "x", "carier": "python"}))
    assert [line.partition(": ")[0] for line in told.splitlines()] == [
        "annotation jwt-sidecar/probes",
        "annotation jwt-sidecar/native",
        "annotation jwt-sidecar/carier",
    ]


def test_unknown() -> None:
    """An annotation that does not exist is refused, with the one that was probably meant."""
    assert refused(pod(annotations={"carier": "python"})) == (
        "annotation jwt-sidecar/carier: there is no such annotation (did you mean "
        "`jwt-sidecar/carrier`?)"
    )
    assert refused(pod(annotations={"zzz": ""})).endswith(
        "may stand inject, config, secrets, service-account-token, app-port, app-container, "
        "destinations, allow-plaintext, carrier, carrier-containers, probes, app-pre-stop-sleep, "
        "native, image, cpu-request, cpu-limit, memory-request, memory-limit"
    )


@pytest.mark.parametrize(("value", "written"), [(True, "true"), (8080, "8080")])
def test_not_a_string(value: object, written: str) -> None:
    """What YAML made a boolean or a number needs quotes, and is shown with them."""
    told = refused(pod(annotations={"app-port": value}))
    assert told == f'annotation jwt-sidecar/app-port: must be a string; write "{written}"'


@pytest.mark.parametrize(
    ("annotations", "resources"),
    [
        ({}, ({"cpu": "50m", "memory": "96Mi"}, {"memory": "256Mi"})),
        ({"memory-limit": "none"}, ({"cpu": "50m", "memory": "96Mi"}, None)),
        (
            {"cpu-limit": "5m"},  # the default request gives way
            ({"cpu": "5m", "memory": "96Mi"}, {"cpu": "5m", "memory": "256Mi"}),
        ),
        (
            {"memory-request": "1Gi"},
            ({"cpu": "50m", "memory": "1Gi"}, {"memory": "1Gi"}),
        ),
        (
            {"cpu-request": "none", "memory-request": "none", "memory-limit": "0.1Gi"},
            (None, {"memory": "0.1Gi"}),
        ),
    ],
)
def test_resources(annotations: dict[str, str], resources: tuple[object, object]) -> None:
    """Resources are the injector's, and the pod's own where it names some."""
    found = sidecar_of(injected(pod(annotations=annotations)))["resources"]
    assert (found.get("requests"), found.get("limits")) == resources


@pytest.mark.parametrize(
    ("what", "more", "less"), [("cpu", "1", "100m"), ("memory", "1Gi", "1000M")]
)
def test_request_over_limit(what: str, more: str, less: str) -> None:
    """Of request and limit of the pod itself, neither gives way."""
    told = refused(pod(annotations={f"{what}-request": more, f"{what}-limit": less}))
    assert told == (
        f"annotation jwt-sidecar/{what}-request: `{more}` is more than jwt-sidecar/{what}-limit, "
        f"`{less}`"
    )


def test_config_name() -> None:
    """The ConfigMap's name is known before anything else is looked at."""
    assert config_name(pod(), SETTINGS) == "jwt-sidecar"
    assert config_name(pod(annotations={"config": "other", "probes": "x"}), SETTINGS) == "other"
    assert config_name(pod(annotations={"config": "Not A Name"}), SETTINGS) == "jwt-sidecar"
    assert config_name({"spec": {}, "metadata": None}, SETTINGS) == "jwt-sidecar"


def test_image() -> None:
    """The image is the injector's, and the pod's own where it names one."""
    assert sidecar_of(injected(pod()))["image"] == SETTINGS.image
    assert sidecar_of(injected(pod(annotations={"image": "other:2"})))["image"] == "other:2"


def test_documentation() -> None:
    """The page has the table of what there is (`sidecar inject --annotations`)."""
    text = PAGE.read_text()
    begin, end = "<!-- annotations -->\n", "<!-- /annotations -->\n"
    assert text.partition(begin)[2].partition(end)[0] == table()
    for each in ANNOTATIONS:
        assert each.meaning in text


def test_of_others() -> None:
    """Annotations of others are none of ours."""
    injected(pod(container("app", 8080), annotations={"other.example/inject": "zzz"}))
