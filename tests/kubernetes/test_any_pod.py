"""Whatever is offered as a pod: there is an answer, and it holds together."""

import copy
from collections.abc import Iterator
from typing import Any

import jsonpatch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.kubernetes.results import Injected, Refused
from sidecar.kubernetes.services import check_service
from tests.kubernetes.cases import CASES
from tests.kubernetes.pods import offered

Path = tuple[str | int, ...]

JUNK: st.SearchStrategy[Any] = st.sampled_from(
    (
        None, True, 0, -1, 8080, 15406, 1.5, "", "http", "x/y~z", "${A}", "${", "jwt-sidecar",
        "a: b\n\x00", [], {}, [None], [{}], [[]], {"name": 1}, {"port": {}},
        [{"name": "a"}, {"name": "a"}],
    )
)  # fmt: skip


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place inside *value*."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


ALL_PLACES = [(name, path) for name, (pod, _) in CASES.items() for path in places(pod)]


def changed(pod: Any, path: Path, value: Any) -> Any:
    """A copy of *pod* with *value* at *path*."""
    copied = copy.deepcopy(pod)
    target = copied
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return copied


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(ALL_PLACES), JUNK)
def test_any_value_anywhere(place: tuple[str, Path], junk: Any) -> None:
    """Any value in any place gives a pod, or words; a pod stays as it is from then on."""
    name, path = place
    given_pod, more = CASES[name]
    broken = changed(given_pod, path, junk)
    result = offered(broken, **more)
    if isinstance(result, Refused):
        assert result.message
    elif isinstance(result, Injected):
        patched = jsonpatch.JsonPatch(list(result.patch)).apply(copy.deepcopy(broken))
        assert patched == result.pod
        again = offered(result.pod, **more)
        assert isinstance(again, Injected)
        assert again.patch == ()


SERVICE = {
    "metadata": {"name": "orders"},
    "spec": {
        "selector": {"app": "orders"},
        "type": "ClusterIP",
        "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}],
    },
}


@given(st.sampled_from(list(places(SERVICE))), JUNK)
def test_any_service(path: Path, junk: Any) -> None:
    """Any value in any place of a Service gives words or none."""
    result = offered(CASES["smallest"][0])
    assert isinstance(result, Injected)
    said = check_service(changed(SERVICE, path, junk), pods=[result.pod])
    assert said is None or said.startswith("Service ")
