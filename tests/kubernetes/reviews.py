"""AdmissionReview v1 documents as kube-apiserver 1.34 sends them."""

from typing import Any

UID = "430dc046-22f3-490c-8160-ec998317ccb5"
PODS = {"group": "", "version": "v1", "resource": "pods"}
SERVICES = {"group": "", "version": "v1", "resource": "services"}


def review(obj: Any, **request: Any) -> dict[str, Any]:
    """A question about *obj*; *request* replaces parts of it."""
    resource = request.get("resource", PODS)
    kind = {"group": "", "version": "v1", "kind": "Pod" if resource is PODS else "Service"}
    return {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": UID,
            "kind": kind,
            "resource": PODS,
            "requestKind": kind,
            "requestResource": resource,
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {
                "username": "system:serviceaccount:kube-system:replicaset-controller",
                "groups": ["system:serviceaccounts", "system:authenticated"],
            },
            "object": obj,
            "oldObject": None,
            "dryRun": False,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
            **request,
        },
    }
