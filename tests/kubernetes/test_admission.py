"""AdmissionReview v1 in and out: the documents, without a server."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.kubernetes.admission import (
    MAX_WARNING_LENGTH,
    MAX_WARNINGS,
    Answer,
    ReviewError,
    owner_kind,
    read,
    written,
)
from tests.kubernetes.reviews import UID, review

_KEYS = {
    "apiVersion", "kind", "request", "uid", "resource", "group", "object", "oldObject", "metadata",
    "name", "generateName", "namespace", "operation", "subResource", "dryRun", "spec",
}  # fmt: skip


def _read(document: Any) -> Any:
    return read(json.dumps(document).encode())


def test_a_pod_to_be_created_is_read() -> None:
    """As kube-apiserver asks about the pod of a ReplicaSet: no name yet, and no namespace in it."""
    found = _read(review({"metadata": {"generateName": "orders-5d8-"}, "spec": {}}, dryRun=True))
    assert (found.uid, found.kind, found.operation) == (UID, "pod", "CREATE")
    assert (found.namespace, found.name) == ("shop", "orders-5d8-*")
    assert found.is_dry_run
    assert found.object["spec"] == {}


def test_what_is_asked_about_is_told_apart() -> None:
    deployments = {"group": "apps", "version": "v1", "resource": "deployments"}
    assert _read(review({}, resource=deployments)).resource == "deployments.apps"
    assert _read(review({}, resource=deployments)).kind == "other"
    other = review({"spec": {}}, subResource="ephemeralcontainers", operation="UPDATE")
    assert _read(other).subresource == "ephemeralcontainers"
    gone = review(None, operation="DELETE", oldObject={"spec": {}})
    assert _read(gone).object == {}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "a list"),
        (b"null", "null"),
        (b"{}", "nothing readable"),
        (b'{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}', "v1beta1"),
        (b'{"apiVersion": "admission.k8s.io/v1", "kind": "Pod"}', "Pod"),
        (b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}', "no request"),
    ],
)
def test_what_is_no_question_is_refused_in_words(body: bytes, said: str) -> None:
    with pytest.raises(ReviewError, match=said):
        read(body)


@given(
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(sorted(_KEYS)), inner),
    ).map(lambda document: json.dumps(document).encode())
)
def test_any_bytes_are_a_question_or_an_error(body: bytes) -> None:
    """Nothing else is raised, whatever is where something else belongs."""
    try:
        found = read(body)
    except ReviewError as error:
        assert "\n" not in str(error)  # noqa: PT017 - or a value, as good
    else:
        assert found.uid


@given(
    st.dictionaries(
        st.sampled_from(sorted(_KEYS)),
        st.none()
        | st.text()
        | st.booleans()
        | st.just({"metadata": 7, "spec": []})
        | st.just({"group": "", "resource": "pods"}),
    )
)
def test_any_request_is_a_question_or_an_error(request_: dict[str, Any]) -> None:
    document = review({"spec": {}})
    document["request"] |= request_
    try:
        found = _read(document)
    except ReviewError:
        return
    json.loads(written(found.uid, Answer("refused", found.name)))


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"uid": ""}, "no uid"),
        ({"uid": 7}, "no uid"),
        ({"resource": "pods"}, "no resource"),
        ({"resource": {"group": ""}}, "no resource"),
        ({"object": None}, "no object"),
        ({"object": []}, "no object"),
    ],
)
def test_a_request_without_what_it_needs_is_refused(request_: dict[str, Any], said: str) -> None:
    document = review({"spec": {}})
    document["request"] |= request_
    with pytest.raises(ReviewError, match=said):
        _read(document)


def test_a_patch_goes_out_as_base64_of_rfc_6902() -> None:
    operations = [{"op": "add", "path": "/metadata/labels", "value": {"größe": "\ud800"}}]
    document = json.loads(written(UID, Answer("injected", patch=operations, warnings=("a\nb",))))
    assert (document["apiVersion"], document["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response = document["response"]
    assert (response["uid"], response["allowed"]) == (UID, True)
    assert response["patchType"] == "JSONPatch"
    assert json.loads(base64.b64decode(response["patch"])) == operations
    assert response["warnings"] == ["a b"]


def test_without_changes_there_is_no_patch() -> None:
    """The API server takes an empty one for an error."""
    response = json.loads(written(UID, Answer("skipped", "as it wants")))["response"]
    assert response == {"uid": UID, "allowed": True}


@pytest.mark.parametrize(
    ("result", "code", "reason"),
    [("refused", 403, "Forbidden"), ("error", 503, "ServiceUnavailable")],
)
def test_a_refusal_says_why_and_changes_nothing(result: Any, code: int, reason: str) -> None:
    answer = Answer(result, "one\ntwo", patch=[{"op": "remove", "path": "/spec"}])
    response = json.loads(written(UID, answer))["response"]
    assert response == {
        "uid": UID,
        "allowed": False,
        "status": {"code": code, "reason": reason, "message": "one\ntwo"},
    }


def test_warnings_fit_into_what_the_api_server_passes_on() -> None:
    many = [f"{number} {'x' * 1000}" for number in range(40)]
    warnings = json.loads(written(UID, Answer("injected", warnings=many)))["response"]["warnings"]
    assert len(warnings) == MAX_WARNINGS
    assert all(len(each) <= MAX_WARNING_LENGTH for each in warnings)
    assert warnings[-1].startswith("and 26 more")
    assert sum(map(len, warnings)) < 4096


@pytest.mark.parametrize(
    ("owners", "kind"),
    [
        (None, None),
        ([], None),
        ("ReplicaSet", None),
        ([7, {"kind": 7}], None),
        ([{"kind": "Job"}], "Job"),
        ([{"kind": "Foo"}, {"kind": "Job", "controller": True}], "Job"),
    ],
)
def test_who_made_a_pod_is_its_controller(owners: Any, kind: str | None) -> None:
    assert owner_kind({"metadata": {"ownerReferences": owners}}) == kind
    assert owner_kind({}) is None
