"""The latest decisions on the control socket: a list of them, and one with its steps.

Owns what may be asked and its limits. What the answers say is the explainer's.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response
from msgspec.json import encode

from sidecar.admin.serving import Route, response
from sidecar.core.outcome import REASONS_BY_CODE

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 1_000
_JSON: Final = "application/json"
_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_ID: Final = re.compile(r"[0-9a-z]{1,64}", re.ASCII)
_PATH: Final = "/decisions"
_KNOWN: Final = frozenset({"limit", "before", "refused", "reason"})


class Explains(Protocol):
    """Who knows the decisions. What it returns becomes JSON."""

    def latest(self, *, limit: int, before: int | None, refused: bool, reason: str) -> Any: ...
    def explain(self, decision: str) -> Any | None: ...


def decision_routes(explainer: Callable[[], Explains]) -> Mapping[str, Route]:
    """Return what answers by path. *explainer* is asked for when somebody asks."""

    async def latest(request: BaseRequest) -> Response:
        asked = _asked(request.query)
        if isinstance(asked, str):
            return _error(400, asked)
        return response(200, encode(explainer().latest(**asked)), _JSON)

    async def one(request: BaseRequest) -> Response:
        decision = request.path.removeprefix(f"{_PATH}/")
        found = explainer().explain(decision) if _ID.fullmatch(decision) else None
        if found is None:
            return _error(404, "no such decision is kept: it may be too old, or of another sidecar")
        return response(200, encode(found), _JSON)

    return {_PATH: Route(latest), f"{_PATH}/*": Route(one)}


def _asked(query: Mapping[str, str]) -> dict[str, Any] | str:
    """Return what *query* asks for, or what is wrong with it."""
    if unknown := sorted(set(query) - _KNOWN):
        return f"unknown parameter {unknown[0][:40]!r}; there are {', '.join(sorted(_KNOWN))}"
    limit, before = query.get("limit", str(DEFAULT_LIMIT)), query.get("before")
    if not _NUMBER.fullmatch(limit) or not 1 <= int(limit) <= MAX_LIMIT:
        return f"limit must be a number from 1 to {MAX_LIMIT}"
    if before is not None and not _NUMBER.fullmatch(before):
        return "before must be the seq of a decision"
    if query.get("refused", "0") not in ("0", "1"):
        return "refused must be 0 or 1"
    if (reason := query.get("reason", "")) and reason not in REASONS_BY_CODE:
        return "reason must be the code of one"
    return {
        "limit": int(limit),
        "before": None if before is None else int(before),
        "refused": query.get("refused") == "1",
        "reason": reason,
    }


def _error(status: int, why: str) -> Response:
    return response(status, encode({"error": why}), _JSON)
