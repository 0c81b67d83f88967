"""AdmissionReview ``admission.k8s.io/v1``: what the API server asks, and the form of our answer.

Owns the two documents. What is decided about an object is ``sidecar.kubernetes.deciding``'s, and
how both travel ``sidecar.kubernetes.webhook``'s.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sidecar.kubernetes.results import JsonObject

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"
MAX_WARNINGS: Final = 15
MAX_WARNING_LENGTH: Final = 256
"""The API server cuts longer ones, and all after 4096 characters without a word."""

ObjectKind = Literal["pod", "service", "other"]
Result = Literal["injected", "skipped", "allowed", "refused", "error"]
KINDS: Final[tuple[ObjectKind, ...]] = ("pod", "service", "other")
RESULTS: Final[tuple[Result, ...]] = ("injected", "skipped", "allowed", "refused", "error")

_KINDS: Final[Mapping[tuple[str, str], ObjectKind]] = {
    ("", "pods"): "pod",
    ("", "services"): "service",
}
_FORBIDDEN: Final = 403
_UNAVAILABLE: Final = 503


class ReviewError(Exception):
    """What was sent is not a question that can be answered. The message is one line."""


@dataclass(frozen=True, slots=True)
class Review:
    """One question about one object."""

    uid: str
    kind: ObjectKind
    resource: str
    """As operators write it, group and subresource included."""
    subresource: str
    operation: str
    namespace: str
    name: str
    """Of the object; what it is generated from where it has none yet."""
    is_dry_run: bool
    object: JsonObject = field(repr=False)
    old_object: JsonObject | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of the object."""

    result: Result
    message: str = ""
    """Why it is refused or left alone."""
    patch: Sequence[JsonObject] = field(default=(), repr=False)
    warnings: Sequence[str] = ()

    @property
    def is_allowed(self) -> bool:
        return self.result not in ("refused", "error")


def read(body: bytes) -> Review:
    """Return the question in *body*. Raises ``ReviewError``."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ReviewError("the body is not JSON") from None
    if not isinstance(document, dict):
        raise ReviewError(f"the body is not an {KIND} but {_noun(document)}")
    version, kind = document.get("apiVersion"), document.get("kind")
    if (version, kind) != (API_VERSION, KIND):
        raise ReviewError(
            f"expected {API_VERSION} {KIND}, got {_shown(version)} {_shown(kind)}: the webhook's "
            "admissionReviewVersions must be [v1]"
        )
    request = document.get("request")
    if not isinstance(request, dict):
        raise ReviewError("the AdmissionReview has no request")
    uid = request.get("uid")
    if not isinstance(uid, str) or not uid:
        raise ReviewError("the request has no uid")
    resource = request.get("resource")
    if not isinstance(resource, dict) or not all(
        isinstance(resource.get(key), str) for key in ("group", "resource")
    ):
        raise ReviewError("the request has no resource with group and resource")
    return _review(request, uid, resource["group"], resource["resource"])


def _review(request: Mapping[str, Any], uid: str, group: str, plural: str) -> Review:
    subresource = _text(request, "subResource")
    parts = (f"{plural}.{group}" if group else plural, subresource)
    shown = request.get("object")
    before = request.get("oldObject")
    obj: JsonObject = shown if isinstance(shown, dict) else {}
    operation = _text(request, "operation")
    kind = _KINDS.get((group, plural), "other")
    if kind != "other" and operation in ("CREATE", "UPDATE") and not obj:
        raise ReviewError(f"the request to {operation} {plural} has no object")
    found = obj.get("metadata")
    metadata: Mapping[str, Any] = found if isinstance(found, dict) else {}
    name = _text(request, "name") or _text(metadata, "name")
    if not name and (generated := _text(metadata, "generateName")):
        name = f"{generated}*"
    return Review(
        uid=uid,
        kind=kind,
        resource="/".join(filter(None, parts)),
        subresource=subresource,
        operation=operation,
        # The object's own may be empty: the API server fills it in later.
        namespace=_text(request, "namespace") or _text(metadata, "namespace"),
        name=name,
        is_dry_run=request.get("dryRun") is True,
        object=obj,
        old_object=before if isinstance(before, dict) else None,
    )


def owner_kind(pod: JsonObject) -> str | None:
    """Return the kind of what made *pod*: its controller, or the first of its owners."""
    metadata = pod.get("metadata")
    owners = metadata.get("ownerReferences") if isinstance(metadata, Mapping) else None
    known = (
        [each for each in owners if isinstance(each, Mapping)] if isinstance(owners, list) else []
    )
    for each in (*(each for each in known if each.get("controller") is True), *known):
        if isinstance(kind := each.get("kind"), str):
            return kind
    return None


def written(uid: str, answer: Answer) -> bytes:
    """Return the document that answers the question *uid*."""
    response: dict[str, Any] = {"uid": uid, "allowed": answer.is_allowed}
    if answer.is_allowed and answer.patch:
        operations = json.dumps(list(answer.patch), separators=(",", ":"))
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(operations.encode()).decode("ascii")
    if not answer.is_allowed:
        is_ours = answer.result == "error"
        response["status"] = {
            "code": _UNAVAILABLE if is_ours else _FORBIDDEN,
            "reason": "ServiceUnavailable" if is_ours else "Forbidden",
            "message": answer.message,
        }
    if warnings := _warnings(answer.warnings):
        response["warnings"] = warnings
    document = {"apiVersion": API_VERSION, "kind": KIND, "response": response}
    return json.dumps(document, separators=(",", ":")).encode()


def _warnings(given: Sequence[str]) -> list[str]:
    # They travel as fields of an HTTP response, so each is one line.
    lines = [" ".join(each.split()) for each in given]
    if len(lines) > MAX_WARNINGS:
        more = len(lines) - MAX_WARNINGS + 1
        lines = [*lines[: MAX_WARNINGS - 1], f"and {more} more: see the injector's log"]
    return [
        each if len(each) <= MAX_WARNING_LENGTH else f"{each[: MAX_WARNING_LENGTH - 1]}…"
        for each in lines
    ]


def _text(holder: Mapping[str, Any], key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""


def _noun(value: object) -> str:
    if value is None:
        return "null"
    return {list: "a list", str: "a string", bool: "a boolean"}.get(type(value), "a number")


def _shown(value: object) -> str:
    return value[:60] if isinstance(value, str) and value.isprintable() else "nothing readable"
