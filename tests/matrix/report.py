"""Write what the matrix saw as a page that a person can read."""

import importlib.metadata
import platform
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.matrix.cells import Errand, Result
from tests.matrix.expectations import Outcome, expected
from tests.matrix.pods import GRADES, Terms
from tests.matrix.servers import Server

_HEAD = """\
# The attribution matrix

Written by `make matrix`; do not edit. The test starts real apps behind a real sidecar. Many users ask at once, every call names its true user in its URL, and the destination compares that with the subject of the token that arrived. **Wrong** means: the token was genuine, alive, and somebody else's.

How to read it: a *cell* is one server, client, style and grade. Each ordinary cell asks for 10 users one at a time, 20 at five, 40 at thirty and 200 at two hundred at a time (servers that differ from another only in settings: 20 at five and 100 at once), with random delays, kept-alive connections, 5 % of the callers hanging up and 5 % of the calls failing and being made again. *Refused* calls went nowhere: a refusal can be repaired, a call in the wrong name cannot. At the grades `strict` and `standard` the app has loaded our carrier; at `compat` it has OpenTelemetry instead, as `opentelemetry-instrument` starts it, and callers send a `traceparent`. Where callers take turns, one load of 40 callers at once is enough, and weak evidence is held to `standard`. What a style does is in `tests/apps/styles_sync.py` and `styles_async.py`.
"""

_MEANINGS: Mapping[Outcome, str] = {
    Outcome.OK: "every call carries its own user's token (callers who hung up aside)",
    Outcome.NONE: "every call is refused, because it carries no handle",
    Outcome.DEAD: "every call is refused: no handle, or one whose request has ended",
    Outcome.OWN: "its own user's token, or refused",
    Outcome.LINGERS: "its own user's token, after the response; refused once its caller has left",
    Outcome.COUNTED: "wrong by nature at this grade; the number shows how often",
    Outcome.LEADS: "the request's own code calls for others: wrong by nature at every grade",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One cell that was run."""

    server: Server
    errand: Errand
    result: Result
    deviations: Sequence[str]

    @property
    def regime(self) -> str:
        """The grade, and what else the configuration said."""
        return f"`{self.errand.grade}`{_SUFFIXES[self.errand.terms]}"

    @property
    def expected(self) -> Outcome:
        return expected(self.errand.style, self.errand.grade, self.errand.terms)


_SUFFIXES: Mapping[Terms, str] = {
    "usual": "",
    "exclusive": ", `exclusive: credential`",
    "linger": ", `linger: 5s`",
}


@dataclass(frozen=True, slots=True)
class Untested:
    """A server or client that could not be run, and why."""

    what: str
    why: str


def render(rows: Sequence[Row], untested: Sequence[Untested], seconds: float) -> str:
    """Return the page."""
    return "\n".join(
        [
            _HEAD,
            *_summary(rows, seconds),
            *_by_style(rows),
            *_by_server(rows),
            *_by_client(rows),
            *_deviations(rows),
            *_untested(untested),
            *_versions(rows),
        ]
    )


def _summary(rows: Sequence[Row], seconds: float) -> Iterator[str]:
    yield "## In short\n"
    yield "| Grade | Cells | Calls | Right | Refused | Wrong where the code is its own | Wrong by nature (below) | Cells not as expected |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for regime, of_grade in _by_regime(rows):
        natural = sum(row.result.wrong for row in of_grade if _is_natural(row))
        total = sum(row.result.wrong for row in of_grade)
        yield _line(
            regime,
            len(of_grade),
            sum(row.result.calls for row in of_grade),
            sum(row.result.right for row in of_grade),
            sum(row.result.refused.total() for row in of_grade),
            total - natural,
            natural,
            sum(bool(row.deviations) for row in of_grade),
        )
    yield f"\n{len(rows)} cells in {seconds / 60:.0f} minutes.\n"


def _is_natural(row: Row) -> bool:
    return row.expected in (Outcome.COUNTED, Outcome.LEADS)


def _by_style(rows: Sequence[Row]) -> Iterator[str]:
    yield "## By style\n"
    yield "Servers and clients taken together.\n"
    for outcome, meaning in _MEANINGS.items():
        yield f"- **{outcome.value}**: {meaning}"
    for regime, of_grade in _by_regime(rows):
        yield f"\n### Grade {regime}\n"
        yield "| Style | Expected | Cells | Right | Refused | Wrong | As expected |"
        yield "| --- | --- | ---: | ---: | --- | ---: | --- |"
        for name, group in _grouped(of_grade, lambda row: row.errand.name.replace("_", " ")):
            yield _style_line(name, group)
    yield ""


def _by_regime(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The rows by grade, the usual configuration before the others."""
    order = {each: number for number, each in enumerate((*GRADES, *_SUFFIXES))}
    ordered = sorted(rows, key=lambda row: (order[row.errand.terms], order[row.errand.grade]))
    yield from _grouped(ordered, lambda row: row.regime)


def _style_line(name: str, group: Sequence[Row]) -> str:
    right, wrong, refused = _sums(group)
    wrong_in = f" in {sum(bool(row.result.wrong) for row in group)} cells" if wrong else ""
    return _line(
        name,
        group[0].expected.value,
        len(group),
        right,
        _told(refused),
        f"**{wrong}**{wrong_in}" if wrong else 0,
        "no" if any(row.deviations for row in group) else "yes",
    )


def _by_server(rows: Sequence[Row]) -> Iterator[str]:
    yield "## By server\n"
    yield "Without the styles that are wrong by nature.\n"
    yield from _table(rows, "Server", lambda row: row.server.name)


def _by_client(rows: Sequence[Row]) -> Iterator[str]:
    yield "## By client\n"
    yield "Without the styles that are wrong by nature.\n"
    yield from _table(rows, "Client", lambda row: f"`{row.errand.client}`")


def _table(rows: Sequence[Row], title: str, key: Callable[[Row], str]) -> Iterator[str]:
    yield f"| {title} | Grade | Cells | Right | Refused | Wrong | Not as expected |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    ordinary = [row for row in rows if not _is_natural(row)]
    for name, of_name in _grouped(ordinary, key):
        for regime, group in _grouped(of_name, lambda row: row.regime):
            right, wrong, refused = _sums(group)
            deviating = sum(bool(row.deviations) for row in group)
            yield _line(name, regime, len(group), right, refused.total(), wrong, deviating)
    yield ""


def _deviations(rows: Sequence[Row]) -> Iterator[str]:
    yield "## Not as expected\n"
    deviating = [row for row in rows if row.deviations]
    for row in deviating:
        errand = row.errand
        yield (
            f"- {row.regime}, {row.server.name}, {errand.client}, {errand.name}: "
            f"{'; '.join(row.deviations)} (of {row.result.calls} calls)"
        )
    yield "" if deviating else "Nothing.\n"


def _untested(untested: Sequence[Untested]) -> Iterator[str]:
    yield "## Untested\n"
    yield "Not run is not supported.\n"
    for each in (*untested, *_NO_PROGRAM):
        yield f"- {each.what}: {each.why}"
    yield ""


_NO_PROGRAM = (
    Untested(
        "other Pythons", "the matrix ran in one; `tests/carriers` tries each from 3.8 to 3.13"
    ),
    Untested("uWSGI, mod_wsgi, Daphne, Granian, Sanic, Twisted, eventlet, trio", "no app here"),
    Untested("gRPC, WebSocket and HTTP/2 clients, pycurl", "no app here; the carrier knows none"),
    Untested("task queues (Celery, RQ)", "their workers serve no request, so they have no handle"),
    Untested("finalizers", "what a destructor calls out for, it does in whoever's frame it runs"),
    Untested("Node, Java, Go, .NET, Ruby, PHP", "there is no carrier, and no test"),
)


def _versions(rows: Sequence[Row]) -> Iterator[str]:
    names = {need for row in rows for need in row.server.needs} | _CLIENT_LIBRARIES
    yield "## Versions\n"
    told = [f"Python {platform.python_version()}"]
    for name in sorted(names, key=str.lower):
        try:
            told.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            told.append(f"{name} absent")
    yield ", ".join(told) + "."


_CLIENT_LIBRARIES = {
    "aiohttp",
    "anyio",
    "botocore",
    "httpcore",
    "httpx",
    "opentelemetry-distro",
    "opentelemetry-sdk",
    "requests",
    "urllib3",
}


def _sums(rows: Iterable[Row]) -> tuple[int, int, Counter[str]]:
    right, wrong, refused = 0, 0, Counter[str]()
    for row in rows:
        right += row.result.right
        wrong += row.result.wrong
        refused += row.result.refused
    return right, wrong, refused


def _told(refused: Counter[str]) -> str:
    return ", ".join(
        f"{reason.removeprefix('attribution_')} {count}" for reason, count in refused.most_common()
    )


def _grouped(rows: Sequence[Row], key: Callable[[Row], str]) -> Iterator[tuple[str, list[Row]]]:
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    yield from groups.items()


def _line(*values: object) -> str:
    return "| " + " | ".join(str(value) for value in values) + " |"
