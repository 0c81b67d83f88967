"""Which cells there are: every server with every style, every client with the pool styles.

Not the full product: what a style does in one server with one client says most of what it does
with the others, and the clients take turns over the styles so that every pair of server and
client occurs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.apps import styles_async, styles_sync
from tests.apps.clients import BLOCKING, NON_BLOCKING
from tests.matrix.cells import Errand, Load
from tests.matrix.expectations import STYLES, Outcome, expected
from tests.matrix.pods import Grade, Terms
from tests.matrix.servers import SERVERS, Kind, Server

FULL = (
    Load(users=10, in_flight=1),
    Load(users=20, in_flight=5, abort_share=0.05, error_share=0.05),
    Load(users=40, in_flight=30, abort_share=0.05, error_share=0.05),
    Load(users=200, in_flight=200, abort_share=0.05, error_share=0.05),
)
TRACEPARENT = (("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),)
"""What callers send at the grade compat: without it, there is no tracestate to put handles in."""
VARIANT = (
    Load(users=20, in_flight=5, abort_share=0.05, error_share=0.05),
    Load(users=100, in_flight=100, abort_share=0.05, error_share=0.05),
)
"""For servers that differ from another one only below the styles."""
OPEN = (Load(users=200, in_flight=30, error_share=0.05),)
"""For the first request that stays open: each of its loads would need a worker of its own."""
COSTLY = (Load(users=20, in_flight=5),)
"""For styles that start a process for each call."""
TURNS = (Load(users=40, in_flight=40, abort_share=0.05, error_share=0.05),)
"""Where callers take turns: each waits for the pause after the one before it."""
MANY_CALLS = (Load(users=10, in_flight=1), Load(users=90, in_flight=30, abort_share=0.05))
"""For a style that makes many calls for each request."""

_STARTS_PROCESSES = frozenset({"fork", "child_process", "multiprocessing_child"})
_NEEDS_GREENLETS = frozenset({"lazy_greenlet", "gevent_spawn"})
_NOT_FOR_GREENLETS = frozenset(
    {"asyncio_run", "loop_of_the_thread", "fork", "child_process", "multiprocessing_child"}
)
"""They block all greenlets, or go on with them in the child."""
_NEEDS_ONE_LOOP = frozenset(
    {"detached_task", "batcher", "lazy_task", "lazy_thread", "lazy_in_executor"}
)
"""Of those for variants: what they start lives in the loop, or waits for it."""
_STAYS_OPEN = frozenset({"leader_pool", "leader_group"}) | {
    style for style in STYLES if style.startswith("lazy_")
}
_OF_VARIANTS = frozenset(
    {
        "direct",
        "gather",
        "task_group",
        "wait_for",
        "to_thread",
        "run_in_executor",
        "executor_block",
        "asyncio_run",
        "bare_task",
        "executor_shared",
        "thread",
        "detached_thread",
        "detached_task",
        "lazy_thread",
        "lazy_task",
        "lazy_in_executor",
        "batcher",
    }
)
_POOL_STYLES = {
    "blocking": ("direct", "executor_block"),
    "asyncio": ("direct", "gather"),
    "greenlets": ("direct",),
}

_THOROUGH = frozenset({"http.server", "gunicorn gevent", "aiohttp.web"})
"""Where every client and the lower grade are measured: one server of each kind."""


@dataclass(frozen=True, slots=True)
class Group:
    """The cells of one app process."""

    server: Server
    grade: Grade
    cells: tuple[tuple[Errand, tuple[Load, ...]], ...]
    terms: Terms = "usual"


def groups() -> Iterator[Group]:
    """All cells, those of one process together."""
    for number, server in enumerate(SERVERS):
        yield Group(server, "strict", tuple(_cells(server, "strict", number)))
    for number, server in enumerate(SERVERS):
        if server.name in _THOROUGH:
            yield Group(server, "standard", tuple(_cells(server, "standard", number)))
    for number, server in enumerate(SERVERS):
        if server.is_traced:
            yield Group(server, "compat", tuple(_cells(server, "compat", number)))
    for name, grade, terms in _UNUSUAL:
        number, server = next((n, each) for n, each in enumerate(SERVERS) if each.name == name)
        yield Group(server, grade, tuple(_unusual_cells(server, grade, terms, number)), terms)


def _cells(server: Server, grade: Grade, number: int) -> Iterator[tuple[Errand, tuple[Load, ...]]]:
    clients = _clients(server.kind, grade)
    for turn, style in enumerate(_styles(server, grade)):
        # A child that inherited connections would share them with its parent.
        own = style in _STARTS_PROCESSES
        client = "http_client" if own else clients[(turn + number) % len(clients)]
        fields = TRACEPARENT if grade == "compat" else ()
        yield Errand(style, client, grade, fields=fields), _load(style, server)
        if style in _STAYS_OPEN:
            yield Errand(style, client, grade, True, fields), OPEN
    if server.name in _THOROUGH and grade == "strict":
        for style in _POOL_STYLES[server.kind]:
            for client in clients:
                yield Errand(style, client, grade), FULL[-1:]


_FASTAPI = "FastAPI, uvicorn asyncio h11"
_FLASK = "Flask, werkzeug"
_UNUSUAL: tuple[tuple[str, Grade, Terms], ...] = (
    ("aiohttp.web", "strict", "exclusive"),
    ("http.server", "standard", "exclusive"),
    ("aiohttp.web", "standard", "exclusive"),
    (_FLASK, "compat", "exclusive"),
    (_FASTAPI, "compat", "exclusive"),
    ("http.server", "standard", "linger"),
    (_FASTAPI, "strict", "linger"),
    (_FASTAPI, "standard", "linger"),
    (_FASTAPI, "compat", "linger"),
)


def _unusual_cells(
    server: Server, grade: Grade, terms: Terms, number: int
) -> Iterator[tuple[Errand, tuple[Load, ...]]]:
    """Where *terms* change something: what would be wrong or refused without them."""
    styles = dict.fromkeys((*_styles(server, "strict"), "background"))
    clients = _clients(server.kind, grade)
    fields = TRACEPARENT if grade == "compat" else ()
    for turn, style in enumerate(styles):
        changed = expected(style, grade, terms) is not expected(style, grade)
        late = terms == "linger" and expected(style, grade) is Outcome.DEAD
        if style == "background" and server.name != _FASTAPI:
            continue
        if changed or late or style == "direct":
            client = clients[(turn + number) % len(clients)]
            load = TURNS if terms == "exclusive" else VARIANT
            yield Errand(style, client, grade, fields=fields, terms=terms), load


def _styles(server: Server, grade: Grade) -> Iterator[str]:
    module = styles_async if server.kind in ("asyncio", "loops") else styles_sync
    for style in module.STYLES:
        if server.kind == "greenlets" and style in _NOT_FOR_GREENLETS:
            continue
        if server.kind != "greenlets" and style in _NEEDS_GREENLETS:
            continue
        if server.kind == "loops" and style in _NEEDS_ONE_LOOP:
            continue
        if server.is_variant and style not in _OF_VARIANTS:
            continue
        if style != "direct" and _is_dull(style, grade):
            continue
        yield style


def _is_dull(style: str, grade: Grade) -> bool:
    """Whether the style was tried at the strict grade and has nothing to add at this one."""
    same = expected(style, "strict") is expected(style, grade)
    return grade != "strict" and same and expected(style, grade) is not Outcome.LEADS


def _clients(kind: Kind, grade: Grade) -> tuple[str, ...]:
    blocking = _INSTRUMENTED if grade == "compat" else tuple(BLOCKING)
    match kind:
        case "blocking":
            return blocking + tuple(NON_BLOCKING)
        case "asyncio" | "loops":
            # In turns, so that neighbours in the list of styles are of both kinds.
            first = ("httpx_async", "requests_session", "aiohttp", "httpx")
            return first + tuple(name for name in blocking if name not in first)
        case "greenlets":
            return blocking


_INSTRUMENTED = ("urllib_request", "urllib3_block", "requests_session", "httpx")
"""OpenTelemetry has nothing for ``http.client`` itself."""


def _load(style: str, server: Server) -> tuple[Load, ...]:
    if style in _STARTS_PROCESSES:
        return COSTLY
    if style == "asyncio_run":
        return MANY_CALLS
    return VARIANT if server.is_variant else FULL
